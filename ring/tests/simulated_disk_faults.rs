//! Each fault of a simulated disk does what it is named after, and nothing else.

use basalt_ring::sim::{Disk, Operations, PowerFailure, Process, World};
use basalt_ring::{BLOCK, Device, DeviceInfo, DeviceKind, DeviceOptions, Ring, local};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

const SIZE: u64 = 1 << 20;
const ONE_BLOCK: u64 = BLOCK as u64;
const SECTOR: usize = 512;

fn world(seed: u64) -> (World, Process, Disk) {
    let world = World::new(seed);
    let process = world.process("one", IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let disk = disk(&world, "/disk");
    (world, process, disk)
}

fn disk(world: &World, path: &str) -> Disk {
    let info = DeviceInfo {
        kind: DeviceKind::Block,
        size: SIZE,
        sector_size: 512,
        rotational: false,
        volatile_cache: true,
        discard: true,
    };
    world.add_disk(path, info)
}

async fn open(ring: &Ring, path: &str) -> std::io::Result<Device> {
    let options = DeviceOptions { write: true, exclusive: true, ..DeviceOptions::default() };
    ring.open_device(Path::new(path), options).await
}

async fn write(ring: &Ring, device: &Device, block: u64, fill: u8) -> Result<(), Option<i32>> {
    let mut data = ring.buffer(BLOCK);
    data.fill(fill);
    device.write(block * ONE_BLOCK, data.freeze()).await.map_err(|error| error.raw_os_error())
}

async fn read(ring: &Ring, device: &Device, block: u64) -> Result<Vec<u8>, Option<i32>> {
    let (outcome, buffer) = device.read(block * ONE_BLOCK, ring.buffer(BLOCK)).await;
    outcome.map(|()| buffer.to_vec()).map_err(|error| error.raw_os_error())
}

async fn flush(device: &Device) -> Result<(), Option<i32>> {
    device.flush().await.map_err(|error| error.raw_os_error())
}

fn block(fill: u8) -> Vec<u8> {
    vec![fill; BLOCK]
}

const EIO: Option<i32> = Some(libc::EIO);
const ENODEV: Option<i32> = Some(libc::ENODEV);

#[test]
fn the_chosen_write_is_lost_and_no_other() {
    for seed in 0..20 {
        let (world, process, disk) = world(seed);
        let ring = process.ring();
        world.block_on(async {
            let device = open(&ring, "/disk").await.expect("there");
            disk.lose_write(2);
            for at in 0..4 {
                write(&ring, &device, at, 7).await.expect("acknowledged, at least");
            }
            flush(&device).await.expect("flushable");
            for at in 0..4 {
                let expected = if at == 2 { block(0) } else { block(7) };
                assert!(read(&ring, &device, at).await == Ok(expected), "block {at}");
            }
            disk.lose_next_write();
            write(&ring, &device, 0, 9).await.expect("acknowledged, at least");
            write(&ring, &device, 1, 9).await.expect("writable");
        });
        assert_eq!(disk.operations(), Operations { reads: 4, writes: 6, flushes: 1 });
        assert_eq!((disk.image()[0], disk.image()[BLOCK]), (7, 9));
        disk.power_cut();
        assert!(disk.image()[2 * BLOCK..3 * BLOCK] == block(0), "lost for good");
    }
}

#[test]
fn a_torn_write_is_acknowledged_and_never_mended() {
    let mut torn = 0;
    for seed in 0..40 {
        let (world, process, disk) = world(seed);
        let ring = process.ring();
        world.block_on(async {
            let device = open(&ring, "/disk").await.expect("there");
            disk.tear_write(1);
            write(&ring, &device, 0, 1).await.expect("writable");
            write(&ring, &device, 0, 2).await.expect("acknowledged, at least");
            flush(&device).await.expect("flushable");
        });
        disk.power_cut();
        let image = disk.image();
        let sectors: Vec<u8> = image[..BLOCK].chunks(SECTOR).map(|sector| sector[0]).collect();
        assert!(sectors.iter().all(|fill| [0, 1, 2].contains(fill)), "{sectors:?}");
        torn += u32::from(sectors.contains(&2) && sectors.iter().any(|fill| *fill != 2));
    }
    assert!(torn > 5, "torn in {torn} of 40");
}

#[test]
fn misdirected_writes_land_where_they_are_sent() {
    let (world, process, disk) = world(1);
    let ring = process.ring();
    world.block_on(async {
        let device = open(&ring, "/disk").await.expect("there");
        disk.misdirect_write(0, SECTOR as i64);
        disk.misdirect_write_to(1, 9 * ONE_BLOCK);
        disk.misdirect_write_to(2, u64::MAX);
        for at in 0..3 {
            write(&ring, &device, at, at as u8 + 1).await.expect("acknowledged, at least");
        }
    });
    let image = disk.image();
    assert!(image[SECTOR..SECTOR + BLOCK] == block(1) && image[..SECTOR].iter().all(|byte| *byte == 0));
    assert!(image[9 * BLOCK..10 * BLOCK] == block(2) && image[2 * BLOCK..3 * BLOCK] == block(0));
    assert!(image[SIZE as usize - BLOCK..] == block(3), "never beyond the end");
}

#[test]
fn a_stale_read_returns_what_the_last_write_overwrote() {
    let (world, process, disk) = world(2);
    let ring = process.ring();
    world.block_on(async {
        let device = open(&ring, "/disk").await.expect("there");
        write(&ring, &device, 0, 1).await.expect("writable");
        disk.keep_overwritten();
        assert_eq!(read(&ring, &device, 0).await, Ok(block(1)), "keeping alone changes nothing");
        write(&ring, &device, 0, 2).await.expect("writable");
        write(&ring, &device, 0, 3).await.expect("writable");
        disk.stale_read(1);
        let found = [read(&ring, &device, 0).await, read(&ring, &device, 0).await, read(&ring, &device, 0).await];
        assert_eq!(found, [Ok(block(3)), Ok(block(2)), Ok(block(3))]);
        disk.stale_reads(SECTOR as u64, SECTOR as u64);
        let mut expected = block(3);
        expected[SECTOR..2 * SECTOR].fill(2);
        for _ in 0..2 {
            assert_eq!(read(&ring, &device, 0).await.as_ref(), Ok(&expected), "as often as it is read");
        }
        disk.heal();
        assert_eq!(read(&ring, &device, 0).await, Ok(block(3)));
    });
}

#[test]
fn a_latent_sector_error_ends_where_it_is_written() {
    let (world, process, disk) = world(3);
    let ring = process.ring();
    world.block_on(async {
        let device = open(&ring, "/disk").await.expect("there");
        disk.fail_reads_until_written(ONE_BLOCK + 512, 3 * ONE_BLOCK);
        for (at, expected) in [(0, Ok(block(0))), (1, Err(EIO)), (2, Err(EIO)), (4, Err(EIO)), (5, Ok(block(0)))] {
            assert_eq!(read(&ring, &device, at).await, expected, "block {at}");
        }
        write(&ring, &device, 2, 2).await.expect("writable");
        for (at, expected) in [(1, Err(EIO)), (2, Ok(block(2))), (3, Err(EIO)), (4, Err(EIO))] {
            assert_eq!(read(&ring, &device, at).await, expected, "block {at}");
        }
        disk.lose_next_write();
        write(&ring, &device, 3, 3).await.expect("acknowledged, at least");
        assert_eq!(read(&ring, &device, 3).await, Err(EIO), "a lost write heals nothing");
    });
}

#[test]
fn errors_strike_the_operations_they_are_meant_for() {
    let (world, process, disk) = world(4);
    let ring = process.ring();
    world.block_on(async {
        let device = open(&ring, "/disk").await.expect("there");
        disk.fail_reads(0, ONE_BLOCK, libc::EIO);
        disk.fail_writes(ONE_BLOCK, ONE_BLOCK, libc::EIO);
        assert_eq!((write(&ring, &device, 0, 1).await, read(&ring, &device, 0).await), (Ok(()), Err(EIO)));
        assert_eq!(write(&ring, &device, 1, 1).await, Err(EIO));
        read(&ring, &device, 1).await.expect("only writes fail there");
        disk.heal();
        disk.fail_write(1, libc::EIO);
        disk.fail_read(1, libc::EIO);
        disk.fail_flush(1, libc::EIO);
        for expected in [Ok(()), Err(EIO), Ok(())] {
            assert_eq!(write(&ring, &device, 0, 1).await, expected);
            assert_eq!(read(&ring, &device, 5).await.map(drop), expected);
            assert_eq!(flush(&device).await, expected);
        }
    });
}

#[test]
fn one_flush_alone_can_lie() {
    let mut lost = 0;
    for seed in 0..40 {
        let (world, process, disk) = world(seed);
        let ring = process.ring();
        disk.lie_about_flush(1);
        world.block_on(async {
            let device = open(&ring, "/disk").await.expect("there");
            for at in 0..2 {
                write(&ring, &device, at, 1).await.expect("writable");
                flush(&device).await.expect("so it says");
            }
        });
        disk.power_cut();
        assert!(disk.image()[..BLOCK] == block(1), "the first one was honest");
        lost += u32::from(disk.image()[BLOCK..2 * BLOCK] != block(1));
    }
    assert!(lost > 5, "lost in {lost} of 40");
}

#[test]
fn a_slow_device_or_place_is_slow_and_right() {
    let took = |prepare: &dyn Fn(&Disk), at: u64| {
        let (world, process, disk) = world(5);
        let ring = process.ring();
        prepare(&disk);
        world.block_on(async {
            let device = open(&ring, "/disk").await.expect("there");
            let start = ring.now();
            write(&ring, &device, at, 1).await.expect("writable");
            assert_eq!(read(&ring, &device, at).await, Ok(block(1)));
            ring.now().since(start)
        })
    };
    let usual = took(&|_| (), 0);
    assert!(usual < Duration::from_millis(10), "{usual:?}");
    assert!(took(&|disk| disk.slow_down(10, Duration::ZERO), 0) > usual * 9);
    assert!(took(&|disk| disk.slow_down(1, Duration::from_secs(1)), 0) > Duration::from_secs(2));
    let place = |disk: &Disk| disk.slow_down_range(3 * ONE_BLOCK, 1, 1, Duration::from_secs(1));
    assert!(took(&place, 3) > Duration::from_secs(2));
    assert_eq!(took(&place, 2), usual);
}

#[test]
fn what_hangs_goes_on_when_released_and_only_then() {
    let (world, process, disk) = world(6);
    let ring = process.ring();
    world.block_on(async {
        let device = open(&ring, "/disk").await.expect("there");
        disk.hang_range(ONE_BLOCK, ONE_BLOCK);
        let start = |at: u64| {
            let (ring, device) = (ring.clone(), device.clone());
            ring.clone().spawn(async move { write(&ring, &device, at, 1).await })
        };
        let (hung, free) = (start(1), start(2));
        free.await.expect("another place");
        ring.sleep(Duration::from_secs(100)).await;
        assert!(!hung.is_finished());
        assert!(ring.timeout(Duration::from_secs(1), flush(&device)).await.is_err(), "a flush waits for it");
        disk.release();
        hung.await.expect("released");
        flush(&device).await.expect("flushable");
        assert_eq!(read(&ring, &device, 1).await, Ok(block(1)));
    });
}

#[test]
fn a_kill_or_a_power_cut_lets_go_of_what_hangs() {
    for kill in [true, false] {
        let (world, process, disk) = world(7);
        let ring = process.ring();
        disk.hang();
        let (ended, ends) = local::once();
        let task = ring.spawn({
            let ring = ring.clone();
            async move {
                let device = open(&ring, "/disk").await.expect("there");
                let outcome = local::join(write(&ring, &device, 0, 1), flush(&device)).await;
                ended.send(outcome);
            }
        });
        world.run_for(Duration::from_secs(1));
        assert!(!task.is_finished());
        if kill {
            process.kill();
        } else {
            disk.power_cut();
        }
        let outcome = world.block_on(ends);
        assert_eq!(outcome, if kill { None } else { Some((Err(EIO), Err(EIO))) });
        // What was held is over; to release it does nothing.
        let before = disk.image();
        disk.release();
        world.run_for(Duration::from_secs(1));
        assert!(disk.image() == before);
        world.block_on(async {
            let ring = process.ring();
            let device = open(&ring, "/disk").await.expect("nobody has it open any more");
            write(&ring, &device, 1, 1).await.expect("writable");
        });
    }
}

#[test]
fn a_device_that_vanished_is_gone_for_all_until_it_comes_back() {
    let (mut done, mut not_done) = (0, 0);
    for seed in 0..30 {
        let (world, process, disk) = world(seed);
        let ring = process.ring();
        world.block_on(async {
            let device = open(&ring, "/disk").await.expect("there");
            write(&ring, &device, 0, 1).await.expect("writable");
            let in_flight = ring.spawn({
                let (ring, device) = (ring.clone(), device.clone());
                async move { write(&ring, &device, 1, 1).await }
            });
            ring.sleep(Duration::from_micros(1)).await;
            disk.vanish();
            assert_eq!(in_flight.await, Err(ENODEV));
            assert_eq!(read(&ring, &device, 0).await, Err(ENODEV));
            assert_eq!(write(&ring, &device, 0, 2).await, Err(ENODEV));
            assert_eq!(flush(&device).await, Err(ENODEV));
            let missing = open(&ring, "/disk").await.err().expect("it is not there");
            assert_eq!(missing.raw_os_error(), ENODEV);
            disk.come_back();
            assert_eq!(read(&ring, &device, 0).await, Err(ENODEV), "a handle of before");
            let device = open(&ring, "/disk").await.expect("back");
            assert_eq!(read(&ring, &device, 0).await, Ok(block(1)));
            match read(&ring, &device, 1).await.expect("readable")[0] {
                0 => not_done += 1,
                _ => done += 1,
            }
        });
    }
    assert!(done > 3 && not_done > 3, "done {done}, not done {not_done}");
}

#[test]
fn the_power_fails_at_each_event_of_all_disks_together() {
    let run = |event: u64| {
        let (world, process, first) = world(8);
        let second = disk(&world, "/second");
        let ring = process.ring();
        let power = PowerFailure::at(&[&first, &second], event);
        let written = world.block_on(async {
            let devices = [open(&ring, "/disk").await.expect("there"), open(&ring, "/second").await.expect("there")];
            let mut written = 0;
            for round in 1..4 {
                for device in &devices {
                    if write(&ring, device, 0, round).await.is_err() || flush(device).await.is_err() {
                        return written;
                    }
                    written += 1;
                }
            }
            written
        });
        assert_eq!(power.has_happened(), event < 24);
        if power.has_happened() {
            world.block_on(power.happened());
        }
        (power.events(), written, [first.image()[0], second.image()[0]])
    };
    let (events, all, _) = run(u64::MAX);
    assert_eq!((events, all), (24, 6), "two operations, each submitted and completed");
    for event in 0..events {
        let (_, written, [first, second]) = run(event);
        assert_eq!(written, event / 4, "what was flushed before the cut");
        let (at_least, at_most) = (written.div_ceil(2), written / 2);
        assert!(u64::from(first) >= at_least && u64::from(second) >= at_most, "event {event}: {first}, {second}");
    }
}
