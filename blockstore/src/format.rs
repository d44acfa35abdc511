//! Making a store: an empty tree, empty allocation maps, then the superblocks, in this order, so that half a format is no store.

use crate::checksum::Seed;
use crate::error::{Error, Result};
use crate::features::Features;
use crate::index::{Node, NodePointer, node_checksum};
use crate::layout::Layout;
use crate::limits::BLOCK_BYTES;
use crate::replay;
use crate::signature;
use crate::store::{Devices, FormatOptions};
use crate::superblock::{Role, Superblock};
use crate::wal::Side;
use basalt_ring::{BLOCK, Device, Ring};

pub(crate) async fn format(ring: &Ring, devices: &Devices, options: FormatOptions) -> Result<()> {
    let layout =
        Layout::new(devices.base.info().size, devices.hot.as_ref().map(|hot| hot.info().size), options.wal_bytes)?;
    for device in [Some(&devices.base), devices.hot.as_ref()].into_iter().flatten() {
        let path = device.path().display();
        if !BLOCK_BYTES.is_multiple_of(u64::from(device.info().sector_size.max(1))) {
            return Err(Error::Refused(format!(
                "{path} has sectors of {} bytes; a store needs sectors that divide {BLOCK_BYTES}",
                device.info().sector_size
            )));
        }
        if !options.force
            && let Some(holds) = signature::find(ring, device).await?
        {
            return Err(Error::Refused(format!("{path} holds {holds}; to destroy it, format with --force")));
        }
    }
    let index = devices.hot.as_ref().unwrap_or(&devices.base);
    let side = if devices.hot.is_some() { Side::Hot } else { Side::Base };

    // The old superblocks go first: from here on the devices hold no store, until the new ones are written last.
    for device in [Some(&devices.base), devices.hot.as_ref()].into_iter().flatten() {
        let blocks = device.info().size / BLOCK_BYTES;
        for block in Layout::superblock_copies(blocks) {
            put(ring, device, block, &[0; BLOCK]).await?;
        }
        device.flush().await.map_err(|e| Error::device("flush", device, &e))?;
        if device.info().discard {
            let (first, end) = layout.data_range(device.path() == index.path() && side == Side::Hot);
            if let Err(error) = device.discard(first * BLOCK_BYTES, (end - first) * BLOCK_BYTES).await {
                tracing::debug!(device = %device.path().display(), %error, "the discard of the whole device failed; going on without");
            }
        }
    }
    for block in (layout.wal_at..layout.wal_at + layout.wal_blocks).step_by(256) {
        let count = 256.min(layout.wal_at + layout.wal_blocks - block);
        put(ring, index, block, &vec![0; count as usize * BLOCK]).await?;
    }

    let generation = 1;
    let mut allocators = [Some(replay::empty_allocator(&layout, side, false)), None];
    if side == Side::Hot {
        allocators[1] = Some(replay::empty_allocator(&layout, Side::Base, false));
    }
    let root = Node::empty_leaf(generation);
    let bytes = root.encode();
    let own = allocators[0].as_mut().ok_or_else(|| Error::Invalid("no device for the index".to_owned()))?;
    let run = own
        .allocate_node(root.blocks())
        .ok_or_else(|| Error::Refused("the device is too small for an index".to_owned()))?;
    let mut root = NodePointer { block: run.at, blocks: root.blocks(), crc: 0, generation };
    root.crc = node_checksum(&options.store_id, &root, &bytes);
    put(ring, index, root.block, &bytes).await?;
    let mut digests = [0; 2];
    for ((allocator, at), digest) in
        allocators.iter_mut().zip([layout.own_pages_at, layout.base_pages_at]).zip(&mut digests)
    {
        let Some(allocator) = allocator else { continue };
        let images = allocator.freeze();
        *digest = allocator.digest(&images, generation);
        for image in images {
            let block = at + 2 * image.page;
            put(ring, index, block, &image.encode(&options.store_id, block, generation)).await?;
            put(ring, index, block + 1, &[0; BLOCK]).await?;
        }
    }
    index.flush().await.map_err(|e| Error::device("flush", index, &e))?;

    let superblock = Superblock {
        features: Features::CURRENT,
        sequence: 1,
        store_id: options.store_id,
        fsid: options.fsid,
        osd: options.osd,
        layout,
        replay_lsn: 0,
        next_object: 1,
        index_blocks: root.blocks.into(),
        generation,
        root,
        clean: true,
        role: if side == Side::Hot { Role::Hot } else { Role::BaseAlone },
        // Of this device first above; base before hot here.
        pages_digests: if side == Side::Hot { [digests[1], digests[0]] } else { digests },
    };
    // The device that decides comes last.
    if side == Side::Hot {
        Superblock { role: Role::BaseBesideHot, ..superblock.clone() }.write(ring, &devices.base).await?;
    }
    superblock.write(ring, index).await
}

async fn put(ring: &Ring, device: &Device, block: u64, bytes: &[u8]) -> Result<()> {
    let mut buffer = ring.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    let written = device.write(block * BLOCK_BYTES, buffer.freeze()).await;
    written.map_err(|e| Error::device("write", device, &e))
}

/// A store id that is random by its seed, for tests that must be the same each time.
pub fn store_id_from(seed: u64) -> [u8; 16] {
    let mut id = [0; 16];
    for (index, part) in id.chunks_exact_mut(4).enumerate() {
        let crc = Seed::new(&[0; 16], b"SEED", seed, index as u64).checksum(&[]);
        part.copy_from_slice(&crc.to_le_bytes());
    }
    id
}
