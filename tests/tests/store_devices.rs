//! Devices that do not belong together, or not to this store, are refused by name; so is what would be destroyed by a format.

use basalt_blockstore::{Devices, Error, FormatOptions, OpenOptions, Store, store_id_from};
use basalt_ring::sim::{Disk, World};
use basalt_ring::{Device, DeviceInfo, DeviceKind, DeviceOptions, Ring};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const MIB: u64 = 1 << 20;

fn disk(world: &World, path: &str, size: u64) -> Disk {
    let info = DeviceInfo {
        kind: DeviceKind::Block,
        size,
        sector_size: 512,
        rotational: false,
        volatile_cache: true,
        discard: false,
    };
    world.add_disk(path, info)
}

async fn device(ring: &Ring, path: &str) -> Device {
    let options = DeviceOptions { write: true, ..DeviceOptions::default() };
    ring.open_device(Path::new(path), options).await.expect("a simulated disk opens")
}

async fn devices(ring: &Ring, base: &str, hot: Option<&str>) -> Devices {
    let hot = match hot {
        Some(hot) => Some(device(ring, hot).await),
        None => None,
    };
    Devices { base: device(ring, base).await, hot }
}

fn format_options(osd: u32, force: bool) -> FormatOptions {
    let store_id = store_id_from(osd.into());
    FormatOptions { osd, store_id, fsid: [osd as u8; 16], wal_bytes: None, force }
}

fn world() -> (World, Ring) {
    let world = World::new(1);
    let process = world.process("osd", IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let ring = process.ring();
    (world, ring)
}

fn refusal<T>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Refused(message)) => message,
        Err(error) => panic!("refused, but how: {error:?}"),
        Ok(_) => panic!("taken"),
    }
}

async fn open(ring: &Ring, base: &str, hot: Option<&str>, options: OpenOptions) -> Result<Store, Error> {
    Store::open(ring, devices(ring, base, hot).await, options).await
}

#[test]
fn devices_of_another_store_or_place_are_refused_and_nothing_is_changed() {
    let (world, ring) = world();
    for path in ["/a/base", "/a/hot", "/b/base", "/b/hot", "/plain"] {
        disk(&world, path, 16 * MIB);
    }
    world.block_on(async {
        for (osd, base, hot) in [(1, "/a/base", Some("/a/hot")), (2, "/b/base", Some("/b/hot")), (3, "/plain", None)] {
            let both = devices(&ring, base, hot).await;
            Store::format(&ring, &both, format_options(osd, false)).await.expect("format");
        }
        let images = ["/a/base", "/a/hot", "/b/base", "/b/hot", "/plain"]
            .map(|path| world.disk(path).expect("it is there").image());
        let cases: [(&str, Option<&str>, &[&str]); 7] = [
            ("/a/base", Some("/b/hot"), &["/b/hot", "/a/base", "osd.1", "osd.2"]),
            ("/a/hot", Some("/a/base"), &["/a/hot", "is the hot device of osd.1"]),
            ("/a/hot", None, &["/a/hot", "is the hot device of osd.1"]),
            ("/a/base", None, &["/a/base", "hot device"]),
            ("/a/base", Some("/b/base"), &["/b/base", "is not a hot device"]),
            ("/plain", Some("/a/hot"), &["/plain", "has no hot device"]),
            ("/a/base", Some("/plain"), &["/plain", "is not a hot device"]),
        ];
        for (base, hot, parts) in cases {
            let message = refusal(open(&ring, base, hot, OpenOptions::default()).await);
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
        let other = OpenOptions { expect_osd: Some(9), ..OpenOptions::default() };
        let message = refusal(open(&ring, "/plain", None, other).await);
        assert!(message.contains("osd.3") && message.contains("osd.9"), "{message}");
        let other = OpenOptions { expect_fsid: Some([9; 16]), ..OpenOptions::default() };
        let message = refusal(open(&ring, "/plain", None, other).await);
        assert!(message.contains("cluster"), "{message}");
        let after = ["/a/base", "/a/hot", "/b/base", "/b/hot", "/plain"]
            .map(|path| world.disk(path).expect("it is there").image());
        assert!(images == after, "a refused store was written to");
        for (base, hot) in [("/a/base", Some("/a/hot")), ("/b/base", Some("/b/hot")), ("/plain", None)] {
            open(&ring, base, hot, OpenOptions::default()).await.expect("open").close().await.expect("close");
        }
    });
}

#[test]
fn a_device_that_shrank_or_was_never_formatted_is_refused() {
    let (world, ring) = world();
    let whole = disk(&world, "/whole", 16 * MIB);
    let shrunk = disk(&world, "/shrunk", 12 * MIB);
    let grown = disk(&world, "/grown", 20 * MIB);
    disk(&world, "/empty", 16 * MIB);
    world.block_on(async {
        let format = devices(&ring, "/whole", None).await;
        Store::format(&ring, &format, format_options(1, false)).await.expect("format");
        let image = whole.image();
        shrunk.set_image(&image[..12 << 20]);
        let message = refusal(open(&ring, "/shrunk", None, OpenOptions::default()).await);
        assert!(message.contains("/shrunk has shrunk") && message.contains("16777216"), "{message}");
        let message = refusal(open(&ring, "/empty", None, OpenOptions::default()).await);
        assert!(message.contains("/empty holds no Basalt store"), "{message}");
        let mut longer = image.clone();
        longer.resize(20 << 20, 0);
        grown.set_image(&longer);
        for _ in 0..2 {
            let store = open(&ring, "/grown", None, OpenOptions::default()).await.expect("a larger device will do");
            store.close().await.expect("close");
        }
    });
}

#[test]
fn a_format_refuses_what_is_too_small_or_holds_something_unless_forced() {
    let (world, ring) = world();
    disk(&world, "/small", MIB);
    disk(&world, "/large", 16 * MIB);
    let used = disk(&world, "/used", 16 * MIB);
    world.block_on(async {
        for (base, hot) in [("/small", None), ("/large", Some("/small")), ("/small", Some("/large"))] {
            let devices = devices(&ring, base, hot).await;
            let message = refusal(Store::format(&ring, &devices, format_options(1, true)).await);
            assert!(message.contains("too small"), "{message}");
        }
        let signatures: [(usize, &[u8], &str); 6] = [
            (1080, &[0x53, 0xef], "ext4"),
            (0, b"XFSB", "XFS"),
            (65_600, b"_BHRfS_M", "Btrfs"),
            (510, &[0x55, 0xaa], "partition"),
            (512, b"EFI PART", "GPT"),
            (0, b"LUKS\xba\xbe", "LUKS"),
        ];
        for (at, magic, name) in signatures {
            let mut image = vec![0; 16 << 20];
            image[at..at + magic.len()].copy_from_slice(magic);
            used.set_image(&image);
            for (base, hot) in [("/used", None), ("/large", Some("/used"))] {
                let devices = devices(&ring, base, hot).await;
                let message = refusal(Store::format(&ring, &devices, format_options(1, false)).await);
                assert!(
                    message.contains("/used") && message.contains(name) && message.contains("--force"),
                    "{message}"
                );
                assert!(used.image() == image, "a refused device was written to");
            }
        }
        let alone = devices(&ring, "/used", None).await;
        Store::format(&ring, &alone, format_options(1, true)).await.expect("forced");
        let message = refusal(Store::format(&ring, &alone, format_options(2, false)).await);
        assert!(message.contains("Basalt store"), "{message}");
        // Also when nothing but a copy at the end is left of it.
        for block in [0, 1] {
            used.flip(block * 4096, 0xff);
        }
        let message = refusal(Store::format(&ring, &alone, format_options(2, false)).await);
        assert!(message.contains("Basalt store"), "{message}");
    });
}
