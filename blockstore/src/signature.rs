//! Recognizes what a device already holds, so that `mkfs` does not destroy it unasked. Offsets and magic numbers as documented by each
//! format (for most see util-linux's libblkid).

use crate::error::{Error, Result};
use crate::superblock;
use basalt_ring::{BLOCK, Device, Ring};

const PROBE_BYTES: usize = 18 * BLOCK;

struct Signature {
    name: &'static str,
    offset: usize,
    magic: &'static [u8],
}

const SIGNATURES: &[Signature] = &[
    Signature { name: "a Basalt store", offset: 0, magic: b"BASALTSB" },
    Signature { name: "a Basalt store", offset: 4096, magic: b"BASALTSB" },
    Signature { name: "a Ceph BlueStore device", offset: 0, magic: b"bluestore block device" },
    Signature { name: "an ext2, ext3 or ext4 filesystem", offset: 1080, magic: &[0x53, 0xef] },
    Signature { name: "an XFS filesystem", offset: 0, magic: b"XFSB" },
    Signature { name: "a Btrfs filesystem", offset: 65600, magic: b"_BHRfS_M" },
    Signature { name: "a bcachefs filesystem", offset: 4120, magic: &[0xc6, 0x85, 0x73, 0xf6] },
    Signature { name: "an F2FS filesystem", offset: 1024, magic: &[0x10, 0x20, 0xf5, 0xf2] },
    Signature { name: "an NTFS filesystem", offset: 3, magic: b"NTFS    " },
    Signature { name: "an exFAT filesystem", offset: 3, magic: b"EXFAT   " },
    Signature { name: "an ISO 9660 filesystem", offset: 32769, magic: b"CD001" },
    Signature { name: "a squashfs filesystem", offset: 0, magic: b"hsqs" },
    Signature { name: "swap space", offset: 4086, magic: b"SWAPSPACE2" },
    Signature { name: "an LVM physical volume", offset: 512, magic: b"LABELONE" },
    Signature { name: "a LUKS volume", offset: 0, magic: &[b'L', b'U', b'K', b'S', 0xba, 0xbe] },
    Signature { name: "a member of a Linux RAID", offset: 4096, magic: &[0xfc, 0x4e, 0x2b, 0xa9] },
    Signature { name: "a member of a Linux RAID", offset: 0, magic: &[0xfc, 0x4e, 0x2b, 0xa9] },
    Signature { name: "a GPT partition table", offset: 512, magic: b"EFI PART" },
    Signature { name: "a GPT partition table", offset: 4096, magic: b"EFI PART" },
    Signature { name: "a partition table or boot sector", offset: 510, magic: &[0x55, 0xaa] },
];

/// What the device holds, if it is known.
pub(crate) async fn find(ring: &Ring, device: &Device) -> Result<Option<&'static str>> {
    let length = PROBE_BYTES.min((device.info().size as usize) / BLOCK * BLOCK);
    let (outcome, buffer) = device.read(0, ring.buffer(length)).await;
    outcome.map_err(|e| Error::device("read", device, &e))?;
    let holds = |s: &&Signature| buffer.get(s.offset..s.offset + s.magic.len()) == Some(s.magic);
    if let Some(signature) = SIGNATURES.iter().find(holds) {
        return Ok(Some(signature.name));
    }
    // A copy at the end may be all that is left of a store whose beginning was overwritten.
    let copies = superblock::read(ring, device).await?;
    let left = copies.newest.is_some() || copies.without_quorum || copies.foreign.is_some();
    Ok(left.then_some("a Basalt store"))
}
