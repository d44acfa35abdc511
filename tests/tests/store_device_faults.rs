//! Devices that hang, crawl, vanish, cannot read a sector, or lie about flushes: what does not need them goes on, what does says which device it
//! is, and what was acknowledged is there when they are back.

use basalt_blockstore::fsck::FaultKind;
use basalt_blockstore::{ObjectId, ObjectKey, Placement, Store};
use basalt_ring::Ring;
use basalt_ring::sim::Disk;
use basalt_tests::lives::{Birth, End};
use basalt_tests::model::Step;
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, formatted, transact};
use basalt_tests::verdict::{Verdict, Verdicts};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const POOL: u32 = 4;
const BLOCK: u64 = 4096;

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

fn content(name: &str) -> Vec<u8> {
    Random::new(name.bytes().map(u64::from).sum()).bytes(5 * BLOCK as usize)
}

async fn write(ring: &Ring, store: &Store, name: &str, placement: Placement) -> basalt_blockstore::Result<()> {
    let steps = [Step::Write { offset: 0, data: content(name) }];
    transact(ring, store, &object(name), &steps, placement).await
}

async fn reads_well(store: &Store, name: &str) {
    let read = store.read(&object(name), 0, u64::MAX).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(*read.data == *content(name), "{name}");
}

const LONG: Duration = Duration::from_secs(60);

/// While one device of a tiered store hangs, nothing that needs it is acknowledged, and reads of the other go on.
fn hang(hanging: Placement) {
    let (hot_hangs, shape) = (hanging == Placement::Hot, Shape::SMALL_TIERED);
    let mut sim = formatted(1, shape);
    let ring = sim.ring();
    let disk = if hot_hangs { sim.hot.clone().expect("a hot disk") } else { sim.base.clone() };
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        write(&ring, &store, "on hot", Placement::Hot).await.expect("write");
        write(&ring, &store, "on base", Placement::Base).await.expect("write");
        ring.sleep(Duration::from_millis(100)).await;
        disk.hang();
        let (reachable, stuck) = if hot_hangs { ("on base", "on hot") } else { ("on hot", "on base") };
        if !hot_hangs {
            write(&ring, &store, "during", Placement::Hot).await.expect("base is not needed for that");
            reads_well(&store, "during").await;
        }
        let waiting = ring.spawn({
            let (ring, store) = (ring.clone(), store.clone());
            async move { write(&ring, &store, "waiting", hanging).await }
        });
        let reading = ring.spawn({
            let store = store.clone();
            async move { reads_well(&store, stuck).await }
        });
        let flushing = ring.spawn({
            let store = store.clone();
            async move {
                let id = store.stat(&object("on hot")).await.expect("stat").expect("there").id;
                store.flush(&[id], POOL).await
            }
        });
        for _ in 0..10 {
            ring.sleep(LONG).await;
            reads_well(&store, reachable).await;
        }
        assert!(!waiting.is_finished(), "acknowledged by a device that hangs");
        assert!(!reading.is_finished() && !flushing.is_finished());
        assert_eq!(store.fenced(), None, "slow is not dead");
        disk.release();
        waiting.await.expect("released");
        reading.await;
        assert_eq!(flushing.await.expect("released").0, 5 * BLOCK);
        for name in ["on hot", "on base", "waiting"] {
            reads_well(&store, name).await;
        }
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, shape);
}

#[test]
fn a_hanging_base_device_stops_only_what_needs_it() {
    hang(Placement::Base);
}

#[test]
fn a_hanging_hot_device_acknowledges_nothing_and_leaves_base_readable() {
    hang(Placement::Hot);
}

#[test]
fn what_hung_at_a_power_cut_was_never_acknowledged_and_leaves_a_sound_store() {
    for seed in 0..20 {
        for hot_hangs in [true, false] {
            let shape = Shape::SMALL_TIERED;
            let mut sim = formatted(seed, shape);
            let ring = sim.ring();
            let store = sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                write(&ring, &store, "before", Placement::Hot).await.expect("write");
                store
            });
            if hot_hangs { sim.hot.as_ref().expect("a hot disk") } else { &sim.base }.hang();
            let waiting = ring.spawn({
                let (ring, store) = (ring.clone(), store.clone());
                async move {
                    let placement = if hot_hangs { Placement::Hot } else { Placement::Base };
                    write(&ring, &store, "hung", placement).await
                }
            });
            sim.world.run_for(LONG);
            assert!(!waiting.is_finished());
            drop((waiting, store));
            sim.power_cut();
            for disk in sim.disks() {
                disk.heal();
            }
            let ring = sim.ring();
            sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                reads_well(&store, "before").await;
                if store.stat(&object("hung")).await.expect("stat").is_some() {
                    reads_well(&store, "hung").await;
                }
                store.close().await.expect("close");
            });
            simulated::assert_sound(&mut sim, shape);
        }
    }
}

#[test]
fn a_slow_base_device_does_not_slow_the_hot_one() {
    let shape = Shape::SMALL_TIERED;
    let mut sim = formatted(2, shape);
    let ring = sim.ring();
    sim.base.slow_down(50, Duration::from_millis(200));
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        write(&ring, &store, "first", Placement::Hot).await.expect("write");
        let id = store.stat(&object("first")).await.expect("stat").expect("there").id;
        let start = ring.now();
        let flushing = ring.spawn({
            let store = store.clone();
            async move { store.flush(&[id], POOL).await }
        });
        for number in 0..20 {
            let start = ring.now();
            write(&ring, &store, &format!("{number}"), Placement::Hot).await.expect("write");
            reads_well(&store, &format!("{number}")).await;
            let took = ring.now().since(start);
            assert!(took < Duration::from_millis(50), "{took:?}");
        }
        flushing.await.expect("flushed in the end");
        assert!(ring.now().since(start) > Duration::from_millis(400), "a write and a flush of the slow device");
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, shape);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    Base,
    Hot,
    Both,
}

/// `unplugged`: it loses what was in its cache, too.
fn vanish(seed: u64, shape: Shape, gone: Gone, unplugged: bool) {
    let label = format!("seed {seed}, {gone:?} of {shape:?}, unplugged {unplugged}");
    let mut sim = formatted(seed, shape);
    let ring = sim.ring();
    let mut random = Random::new(seed);
    let store = sim.world.block_on(async { simulated::open(&ring, shape).await.expect("open") });
    let acknowledged = Rc::new(RefCell::new(Vec::new()));
    let failures = Rc::new(RefCell::new(Vec::new()));
    drop(ring.spawn({
        let (ring, store, mut random) = (ring.clone(), store.clone(), random.clone());
        let (acknowledged, failures) = (acknowledged.clone(), failures.clone());
        async move {
            for number in 0..60 {
                let placement = if random.chance(60) { Placement::Hot } else { Placement::Base };
                let name = format!("{number}");
                match write(&ring, &store, &name, placement).await {
                    Ok(()) => acknowledged.borrow_mut().push(name),
                    Err(error) => failures.borrow_mut().push(error),
                }
            }
        }
    }));
    sim.world.run_for(Duration::from_micros(random.below(15_000)));
    let disks: Vec<Disk> = match gone {
        Gone::Base => vec![sim.base.clone()],
        Gone::Hot => sim.hot.iter().cloned().collect(),
        Gone::Both => sim.disks().into_iter().cloned().collect(),
    };
    disks.iter().for_each(Disk::vanish);
    sim.world.run_for(Duration::from_secs(1));
    let names = |text: &str| disks.iter().any(|disk| text.contains(disk.path().to_str().expect("a path")));
    let fenced = store.fenced().unwrap_or_else(|| panic!("{label}: goes on without a device"));
    assert!(names(&fenced), "{label}: {fenced}");
    assert!(!failures.borrow().is_empty(), "{label}");
    for error in failures.borrow().iter() {
        assert!(names(&error.to_string()) && [libc_enodev(), 5].contains(&error.errno()), "{label}: {error}");
    }
    sim.world.block_on(async {
        let error = store.read(&object("0"), 0, 1).await.map(drop).expect_err("a fenced store");
        assert!(names(&error.to_string()), "{label}: {error}");
    });
    drop(store);
    disks.iter().for_each(Disk::come_back);
    if unplugged {
        sim.power_cut()
    } else {
        sim.restart()
    }
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.unwrap_or_else(|error| panic!("{label}: {error}"));
        for name in acknowledged.take() {
            reads_well(&store, &name).await;
        }
        write(&ring, &store, "after", Placement::Hot).await.expect("all is well again");
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, shape);
}

/// `ENODEV` on Linux.
fn libc_enodev() -> i32 {
    19
}

#[test]
fn a_store_whose_device_vanishes_is_fenced_by_name_and_whole_when_it_is_back() {
    for seed in 0..10 {
        for unplugged in [false, true] {
            for gone in [Gone::Base, Gone::Hot, Gone::Both] {
                vanish(seed, Shape::SMALL_TIERED, gone, unplugged);
            }
            vanish(seed, Shape::SMALL_PLAIN, Gone::Base, unplugged);
        }
    }
}

/// A flush of a device tells of an error once. If it is a mover that hears it, and only tries again, the next group's flush succeeds, although
/// what the group wrote may be gone.
#[test]
fn a_mover_whose_write_or_flush_fails_fences_the_store() {
    let shape = Shape::SMALL_TIERED;
    for (fails, flushes) in [(Placement::Base, false), (Placement::Base, true), (Placement::Hot, false)] {
        let mut sim = formatted(8, shape);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            write(&ring, &store, "dirty", Placement::Hot).await.expect("write");
            write(&ring, &store, "cold", Placement::Base).await.expect("write");
            ring.sleep(Duration::from_millis(100)).await;
            let (hot, _) = store.list_hot((0, ObjectId(0)), 100).await.expect("list");
            let objects: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
            let disk = if fails == Placement::Base { sim.base.clone() } else { sim.hot.clone().expect("a hot disk") };
            if flushes {
                disk.fail_flush(0, 5)
            } else {
                disk.fail_write(0, 5)
            }
            let moved = match fails {
                Placement::Base => store.flush(&objects, POOL).await.map(drop),
                _ => store.promote(&object("cold"), 0, u64::MAX).await.map(drop),
            };
            moved.expect_err("the device said so");
            let fenced = store.fenced().unwrap_or_else(|| panic!("{fails:?}, flush {flushes}: goes on"));
            assert!(fenced.contains(disk.path().to_str().expect("a path")), "{fenced}");
            write(&ring, &store, "after", Placement::Base).await.expect_err("a fenced store");
        });
        sim.restart();
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("the cause is gone");
            reads_well(&store, "dirty").await;
            reads_well(&store, "cold").await;
            store.close().await.expect("close");
        });
        simulated::assert_sound(&mut sim, shape);
    }
}

/// Base is seldom written to where there is a hot slice: without this, an OSD that has lost it would stay up for as long as clients only
/// read, and answer them with errors although others have the data.
#[test]
fn a_read_that_finds_its_device_gone_fences_the_store() {
    let shape = Shape::SMALL_TIERED;
    for (gone, placement) in [(Gone::Base, Placement::Base), (Gone::Hot, Placement::Hot)] {
        let mut sim = formatted(7, shape);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            write(&ring, &store, "object", placement).await.expect("write");
            store.close().await.expect("close");
        });
        sim.restart();
        let ring = sim.ring();
        let disk = if gone == Gone::Base { sim.base.clone() } else { sim.hot.clone().expect("a hot disk") };
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            store.stat(&object("object")).await.expect("its node is in memory from here on");
            disk.vanish();
            store.read(&object("object"), 0, u64::MAX).await.map(drop).expect_err("there is nothing to read from");
            let fenced = store.fenced().unwrap_or_else(|| panic!("{gone:?}: goes on without a device"));
            assert!(fenced.contains(disk.path().to_str().expect("a path")), "{fenced}");
            let error = store.read(&object("object"), 0, 1).await.map(drop).expect_err("a fenced store");
            assert!(error.to_string().contains("fenced"), "{error}");
        });
    }
}

fn find(disk: &Disk, block: &[u8]) -> u64 {
    let image = disk.image();
    let found: Vec<usize> =
        image.chunks(BLOCK as usize).enumerate().filter(|(_, b)| *b == block).map(|(i, _)| i).collect();
    assert_eq!(found.len(), 1, "the block is on the disk once");
    found[0] as u64 * BLOCK
}

#[test]
fn a_latent_sector_error_in_data_is_named_and_ends_when_the_data_is_written_again() {
    for (shape, placement) in [
        (Shape::SMALL_TIERED, Placement::Hot),
        (Shape::SMALL_TIERED, Placement::Base),
        (Shape::SMALL_PLAIN, Placement::Base),
    ] {
        let mut sim = formatted(3, shape);
        let disk = match (placement, &sim.hot) {
            (Placement::Hot, Some(hot)) => hot.clone(),
            _ => sim.base.clone(),
        };
        let ring = sim.ring();
        let whole = content("photo");
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            write(&ring, &store, "photo", placement).await.expect("write");
            let at = find(&disk, &whole[2 * BLOCK as usize..3 * BLOCK as usize]);
            disk.fail_reads_until_written(at + 512, 512);
            let error = store.read(&object("photo"), 2 * BLOCK, 10).await.map(drop).expect_err("unreadable");
            let message = error.to_string();
            for part in ["4.0/photo", disk.path().to_str().expect("a path"), &format!("byte {at}")] {
                assert!(message.contains(part), "{part}: {message}");
            }
            assert_eq!((error.errno(), store.fenced()), (5, None));
            let read = store.read(&object("photo"), 0, 2 * BLOCK).await.expect("the blocks before it");
            assert!(*read.data == whole[..2 * BLOCK as usize]);
            // As a repair from a replica does.
            let steps =
                [Step::Write { offset: 2 * BLOCK, data: whole[2 * BLOCK as usize..3 * BLOCK as usize].to_vec() }];
            transact(&ring, &store, &object("photo"), &steps, placement).await.expect("write");
            reads_well(&store, "photo").await;
            store.close().await.expect("close");
        });
        simulated::assert_sound(&mut sim, shape);
    }
}

/// Superblock copies and the slots of allocation pages stand in for each other.
#[test]
fn a_latent_sector_error_in_one_of_two_copies_does_not_keep_a_store_from_opening() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        let mut sim = formatted(4, shape);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            write(&ring, &store, "photo", Placement::Hot).await.expect("write");
            store.close().await.expect("close");
        });
        let images: Vec<_> = sim.disks().into_iter().map(Disk::snapshot).collect();
        let index_disk = images.len() - 1;
        let mut outcomes = Vec::new();
        for block in [0, 1, 8, 9] {
            for (disk, image) in sim.disks().into_iter().zip(&images) {
                disk.restore(image.clone());
            }
            let disk = sim.disks()[index_disk].clone();
            disk.fail_reads_until_written(block * BLOCK, BLOCK);
            sim.restart();
            let ring = sim.ring();
            let outcome = sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await?;
                reads_well(&store, "photo").await;
                write(&ring, &store, "another", Placement::Hot).await?;
                store.close().await
            });
            match &outcome {
                Ok(()) => {
                    disk.heal();
                    simulated::assert_sound(&mut sim, shape);
                }
                Err(error) => {
                    let message = error.to_string();
                    assert!(
                        message.contains(disk.path().to_str().expect("a path")) && block >= 8,
                        "{block}: {message}"
                    );
                }
            }
            outcomes.push(outcome.is_ok());
        }
        assert_eq!(outcomes[..2], [true, true], "superblocks");
        assert_eq!(
            outcomes[2..].iter().filter(|opened| **opened).count(),
            1,
            "the slot that is not in use: {outcomes:?}"
        );
    }
}

/// What a disk that lies about flushes does to a store in a power cut: counted, since one device alone cannot tell an older state of itself
/// from the newest. Whatever is lost, nothing wrong is ever read.
#[test]
fn a_disk_that_lies_about_flushes_loses_data_but_never_makes_wrong_bytes() {
    let kinds: [(&str, Shape, &[usize]); 4] = [
        ("base of two", Shape::SMALL_TIERED, &[0]),
        ("hot of two", Shape::SMALL_TIERED, &[1]),
        ("both", Shape::SMALL_TIERED, &[0, 1]),
        ("the only one", Shape::SMALL_PLAIN, &[0]),
    ];
    let seeds = std::env::var("BASALT_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    for (name, shape, liars) in kinds {
        for from_the_start in [true, false] {
            let mut verdicts = Verdicts::default();
            for seed in 0..seeds {
                let birth = Birth::new(shape, seed, &[End::PowerCut], 40);
                let mut disks: Vec<Disk> = Vec::new();
                birth.live("honest", |sim| disks = sim.disks().into_iter().cloned().collect());
                let label = format!("seed {seed}, {name} lies");
                let verdict = birth.live(&label, |sim| {
                    for liar in liars {
                        let flushes = disks[*liar].operations().flushes;
                        let honest = if from_the_start { 0 } else { flushes - flushes.min(1 + seed % 8) };
                        (honest..honest + 1000).for_each(|flush| sim.disks()[*liar].lie_about_flush(flush));
                    }
                });
                assert!(verdict != Verdict::Fenced, "{label}: a lie was noticed before the power went");
                verdicts.count(verdict);
            }
            let when = if from_the_start { "from the start" } else { "about its last 1 to 8 flushes" };
            println!("{name} lies {when}: {verdicts}");
            assert!(verdicts.detected() > 0, "{name}: {verdicts}");
        }
    }
}

/// The kinds that fsck gives such faults are part of what operators script against.
#[test]
fn an_unreadable_block_of_data_is_a_data_fault() {
    let shape = Shape::SMALL_PLAIN;
    let mut sim = formatted(5, shape);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        write(&ring, &store, "photo", Placement::Base).await.expect("write");
        store.close().await.expect("close");
    });
    let at = find(&sim.base, &content("photo")[..BLOCK as usize]);
    sim.base.fail_reads_until_written(at, 1);
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    assert!(matches!(report.faults.as_slice(), [fault] if fault.kind == FaultKind::Data), "{:?}", report.faults);
    assert!(report.faults[0].message.contains("4.0/photo"), "{}", report.faults[0]);
}
