//! The model of a rotating disk, in virtual time, and once in real time.

use basalt_ring::local::{join, join_all};
use basalt_ring::sim::World;
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{BLOCK, Device, DeviceInfo, DeviceKind, DeviceOptions, Ring, RotatingModel};
use std::path::Path;
use std::time::Duration;

const SIZE: u64 = 1 << 30;

async fn open(ring: &Ring, path: &Path) -> Device {
    let options = DeviceOptions {
        write: true,
        create_size: Some(SIZE),
        model: Some(RotatingModel::HDD_7200),
        ..DeviceOptions::default()
    };
    ring.open_device(path, options).await.expect("creatable")
}

fn simulate<T>(test: impl AsyncFnOnce(&Ring, &Device) -> T) -> T {
    let world = World::new(1);
    let ring = world.process("only", [10, 0, 0, 1].into()).ring();
    world.block_on(async {
        let device = open(&ring, Path::new("/disk")).await;
        assert!(device.info().rotational);
        test(&ring, &device).await
    })
}

async fn random_reads(ring: &Ring, device: &Device, count: u64, depth: u64) -> Duration {
    let start = ring.now();
    for _ in 0..count / depth {
        let reads = (0..depth).map(|_| {
            let offset = ring.random_u64() % (SIZE / BLOCK as u64) * BLOCK as u64;
            device.read(offset, ring.buffer(BLOCK))
        });
        for (result, _) in join_all(reads.collect()).await {
            result.expect("readable");
        }
    }
    ring.now().since(start)
}

#[test]
fn sequential_writes_run_at_the_disks_rate() {
    let took = simulate(async |ring, device| {
        let start = ring.now();
        for index in 0..180u64 {
            device.write(index << 20, ring.buffer(1 << 20).freeze()).await.expect("writable");
        }
        ring.now().since(start)
    });
    // 180 MiB at 180 MB/s, plus what the simulated medium below takes in places.
    assert!(took > Duration::from_millis(1040) && took < Duration::from_millis(1400), "{took:?}");
}

#[test]
fn every_gap_costs_a_seek() {
    let took = simulate(async |ring, device| {
        let start = ring.now();
        for index in 1..=100u64 {
            device.write(index << 20, ring.buffer(BLOCK).freeze()).await.expect("writable");
        }
        ring.now().since(start)
    });
    assert!(took > Duration::from_millis(100 * 5), "{took:?}");
}

#[test]
fn random_reads_pay_for_the_seek_and_half_a_turn() {
    let took = simulate(async |ring, device| random_reads(ring, device, 200, 1).await) / 200;
    assert!(took > Duration::from_millis(8) && took < Duration::from_millis(17), "{took:?} each");
}

#[test]
fn a_queue_is_served_faster_than_one_by_one() {
    let alone = simulate(async |ring, device| random_reads(ring, device, 320, 1).await);
    let queued = simulate(async |ring, device| random_reads(ring, device, 320, 32).await);
    assert!(queued.mul_f64(1.3) < alone, "{queued:?} at depth 32, {alone:?} at depth 1");
}

#[test]
fn the_queue_is_served_in_elevator_order() {
    let order = simulate(async |ring, device| {
        // Holds the actuator while the others line up behind it.
        let first = device.read(500 << 20, ring.buffer(BLOCK));
        let order = std::cell::RefCell::new(Vec::new());
        let others = [700u64, 100, 600, 300, 900].map(|place| {
            let order = &order;
            async move {
                device.read(place << 20, ring.buffer(BLOCK)).await.0.expect("readable");
                order.borrow_mut().push(place);
            }
        });
        let others = join_all(Vec::from(others));
        let (first, _) = join(first, others).await;
        first.0.expect("readable");
        order.into_inner()
    });
    assert_eq!(order, [600, 700, 900, 100, 300]);
}

#[test]
fn a_flush_costs_half_a_turn_only_after_a_write() {
    let (idle, dirty) = simulate(async |ring, device| {
        let mut took = Vec::new();
        for write in [false, true] {
            if write {
                device.write(0, ring.buffer(BLOCK).freeze()).await.expect("writable");
            }
            let start = ring.now();
            device.flush().await.expect("flushable");
            took.push(ring.now().since(start));
        }
        (took[0], took[1])
    });
    assert!(idle < Duration::from_millis(4), "{idle:?}");
    assert!(dirty > Duration::from_micros(4166), "{dirty:?}");
}

#[test]
fn who_gives_up_waiting_passes_the_actuator_on() {
    simulate(async |ring, device| {
        for patience in [1, 3, 5, 9, 13, 20] {
            let slow = device.read(900 << 20, ring.buffer(BLOCK));
            let slow = ring.timeout(Duration::from_millis(patience), slow);
            let gone = ring.timeout(Duration::from_millis(patience / 2), device.read(100 << 20, ring.buffer(BLOCK)));
            // Whichever of them got through, the actuator must be free in the end.
            let _outcomes = join(slow, gone).await;
        }
        let last = ring.timeout(Duration::from_secs(1), device.read(0, ring.buffer(BLOCK))).await;
        last.expect("the actuator is free").0.expect("readable");
    });
}

#[test]
fn the_model_holds_in_real_time() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable target directory");
    let path = directory.path().join("disk");
    let took = uring::run(UringConfig::default(), |ring| async move {
        let device = open(&ring, &path).await;
        random_reads(&ring, &device, 20, 1).await / 20
    });
    let took = took.expect("io_uring works here");
    assert!(took > Duration::from_millis(7), "{took:?} each is faster than the disk");
}

#[test]
fn the_simulated_medium_keeps_its_own_kind() {
    let world = World::new(2);
    let ring = world.process("only", [10, 0, 0, 1].into()).ring();
    let info = DeviceInfo {
        kind: DeviceKind::Block,
        size: SIZE,
        sector_size: 4096,
        rotational: false,
        volatile_cache: false,
        discard: false,
    };
    world.add_disk("/ssd", info);
    let device = world.block_on(ring.open_device(Path::new("/ssd"), DeviceOptions::default())).expect("it exists");
    assert!(!device.info().rotational && !device.info().volatile_cache);
}
