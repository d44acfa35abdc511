//! What only the simulator can do: power cuts, kills, cut links, injected errors, and the same run again.

use basalt_ring::sim::{Disk, DiskEvent, Image, Process, World};
use basalt_ring::{BLOCK, Device, DeviceInfo, DeviceKind, DeviceOptions, Ring, local, mailbox};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SIZE: u64 = 1 << 20;
const SECTOR: usize = 512;

fn info(volatile_cache: bool) -> DeviceInfo {
    DeviceInfo {
        kind: DeviceKind::Block,
        size: SIZE,
        sector_size: 512,
        rotational: false,
        volatile_cache,
        discard: true,
    }
}

fn world(seed: u64, volatile_cache: bool) -> (World, Process, Disk) {
    let world = World::new(seed);
    let process = world.process("one", ONE);
    let disk = world.add_disk("/disk", info(volatile_cache));
    (world, process, disk)
}

async fn open(ring: &Ring) -> Device {
    let options = DeviceOptions { write: true, exclusive: true, ..DeviceOptions::default() };
    ring.open_device(Path::new("/disk"), options).await.expect("the disk is there, and free")
}

async fn write(ring: &Ring, device: &Device, block: u64, fill: u8) {
    let mut data = ring.buffer(BLOCK);
    data.fill(fill);
    device.write(block * BLOCK as u64, data.freeze()).await.expect("writable");
}

fn block(image: &[u8], block: usize) -> &[u8] {
    &image[block * BLOCK..(block + 1) * BLOCK]
}

#[test]
fn a_flushed_write_survives_a_power_cut() {
    for seed in 0..50 {
        let (world, process, disk) = world(seed, true);
        let ring = process.ring();
        world.block_on(async {
            let device = open(&ring).await;
            write(&ring, &device, 3, 1).await;
            device.flush().await.expect("flushable");
        });
        disk.power_cut();
        assert!(block(&disk.image(), 3) == [1; BLOCK]);
    }
}

#[test]
fn a_completed_write_survives_where_there_is_no_cache() {
    for seed in 0..50 {
        let (world, process, disk) = world(seed, false);
        let ring = process.ring();
        world.block_on(async {
            let device = open(&ring).await;
            write(&ring, &device, 3, 1).await;
        });
        disk.power_cut();
        assert!(block(&disk.image(), 3) == [1; BLOCK]);
    }
}

#[test]
fn an_unflushed_write_survives_whole_in_part_or_not_at_all() {
    let (mut whole, mut part, mut none) = (0, 0, 0);
    for seed in 0..200 {
        let (world, process, disk) = world(seed, true);
        let ring = process.ring();
        world.block_on(async {
            let device = open(&ring).await;
            write(&ring, &device, 3, 1).await;
            device.flush().await.expect("flushable");
            write(&ring, &device, 3, 2).await;
        });
        assert!(block(&disk.image(), 3) == [2; BLOCK], "a read sees it");
        disk.power_cut();
        let image = disk.image();
        let sectors: Vec<u8> = block(&image, 3)
            .chunks(SECTOR)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is never torn");
                sector[0]
            })
            .collect();
        assert!(sectors.iter().all(|fill| [1, 2].contains(fill)), "nothing but old and new: {sectors:?}");
        match sectors.iter().filter(|fill| **fill == 2).count() {
            8 => whole += 1,
            0 => none += 1,
            _ => part += 1,
        }
    }
    assert!(whole > 20 && part > 20 && none > 20, "whole {whole}, part {part}, none {none} of 200");
}

/// A flush promises nothing about what completes after it was called.
#[test]
fn a_flush_covers_only_what_completed_before_it() {
    let mut lost = false;
    for seed in 0..100 {
        let (world, process, disk) = world(seed, true);
        let ring = process.ring();
        world.block_on(async {
            let device = open(&ring).await;
            write(&ring, &device, 1, 1).await;
            let (flushed, ()) = local::join(device.flush(), write(&ring, &device, 2, 2)).await;
            flushed.expect("flushable");
        });
        disk.power_cut();
        let image = disk.image();
        assert!(block(&image, 1) == [1; BLOCK]);
        lost |= block(&image, 2) != [2; BLOCK];
    }
    assert!(lost, "in no run was the later write lost");
}

#[test]
fn operations_in_flight_fail_at_a_power_cut_and_handles_die() {
    let (world, process, disk) = world(7, true);
    let ring = process.ring();
    world.block_on(async {
        let device = open(&ring).await;
        let (running, own) = (device.clone(), ring.clone());
        let writing = ring.spawn(async move { running.write(0, own.buffer(BLOCK).freeze()).await });
        ring.yield_now().await;
        ring.yield_now().await;
        disk.power_cut();
        assert_eq!(writing.await.expect_err("the power is gone").raw_os_error(), Some(libc::EIO));
        let (result, _) = device.read(0, ring.buffer(BLOCK)).await;
        assert_eq!(result.expect_err("opened before the cut").raw_os_error(), Some(libc::EIO));
        let again = open(&ring).await;
        drop(device);
        assert!(again.read(0, ring.buffer(BLOCK)).await.0.is_ok());
        let options = DeviceOptions { exclusive: true, ..DeviceOptions::default() };
        let busy = ring.open_device(Path::new("/disk"), options).await.err().expect("the new handle has it");
        assert_eq!(busy.raw_os_error(), Some(libc::EBUSY), "closing the dead handle freed nothing");
    });
}

#[test]
fn injected_errors_strike_where_they_were_put() {
    let (world, process, disk) = world(3, true);
    let ring = process.ring();
    world.block_on(async {
        let device = open(&ring).await;
        disk.fail_range(BLOCK as u64 + 100, 1, libc::EIO);
        disk.fail_flushes(libc::ENOSPC);
        let (result, buffer) = device.read(0, ring.buffer(2 * BLOCK)).await;
        assert_eq!(result.expect_err("it touches the range").raw_os_error(), Some(libc::EIO));
        let result = device.write(0, buffer.freeze()).await;
        assert_eq!(result.expect_err("it touches the range").raw_os_error(), Some(libc::EIO));
        write(&ring, &device, 2, 2).await;
        assert_eq!(device.flush().await.expect_err("injected").raw_os_error(), Some(libc::ENOSPC));
        disk.heal();
        device.flush().await.expect("healed");
        assert!(device.read(BLOCK as u64, ring.buffer(BLOCK)).await.0.is_ok());
    });
    disk.flip(2 * BLOCK as u64, 0x81);
    disk.power_cut();
    assert_eq!(disk.image()[2 * BLOCK], 2 ^ 0x81, "rot is on the medium");
}

#[test]
fn a_lying_flush_makes_nothing_durable_and_a_misdirected_write_lands_elsewhere() {
    let mut lost = false;
    for seed in 0..40 {
        let (world, process, disk) = world(seed, true);
        let ring = process.ring();
        disk.lie_about_flushes();
        disk.misdirect_next_write(BLOCK as i64);
        world.block_on(async {
            let device = open(&ring).await;
            write(&ring, &device, 0, 9).await;
            device.flush().await.expect("it says so");
        });
        assert_eq!((disk.image()[0], disk.image()[BLOCK]), (0, 9));
        disk.power_cut();
        lost |= disk.image()[BLOCK] == 0;
    }
    assert!(lost, "in no run was the write lost");
}

/// Some writes and flushes at depth, so that they overlap and reorder.
async fn churn(ring: Ring, writes: u64) {
    let device = open(&ring).await;
    let slots = local::Semaphore::new(8);
    for index in 0..writes {
        let permit = slots.acquire(1).await;
        let (ring, device) = (ring.clone(), device.clone());
        drop(ring.clone().spawn(async move {
            // A slot's block is never written twice at once: its order would be undefined.
            write(&ring, &device, index, index as u8 + 1).await;
            if index % 5 == 0 {
                device.flush().await.expect("flushable");
            }
            drop(permit);
        }));
    }
    slots.acquire(8).await;
}

#[test]
fn recorded_events_rebuild_the_image() {
    for volatile_cache in [true, false] {
        let (world, process, disk) = world(11, volatile_cache);
        disk.record();
        let before = disk.snapshot();
        world.block_on(churn(process.ring(), 40));
        disk.mark(7);
        let events = disk.take_events();
        assert_eq!(events.last(), Some(&DiskEvent::Mark(7)));
        let mut image: Image = before;
        let mut submitted = std::collections::BTreeMap::new();
        let mut completed = std::collections::BTreeSet::new();
        for event in &events {
            match event {
                DiskEvent::WriteSubmitted { write, offset, data } => {
                    assert!(submitted.insert(*write, (*offset, data.clone())).is_none());
                }
                DiskEvent::WriteCompleted { write } => {
                    let (offset, data) = &submitted[write];
                    image.write(*offset, data);
                    assert!(completed.insert(*write));
                }
                DiskEvent::Flushed { durable } => {
                    assert!(durable.iter().all(|write| completed.remove(write)), "durable once, and completed before");
                }
                DiskEvent::Mark(_) => {}
            }
        }
        assert_eq!(submitted.len(), 40);
        assert!(image.to_vec() == disk.image());
        assert_eq!(completed.is_empty(), !volatile_cache, "without a cache all that completed is durable");
        assert!(disk.take_events().is_empty(), "taken");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let (world, process, disk) = world(seed, true);
        let two = world.process("two", TWO);
        let (server, client) = (process.ring(), two.ring());
        world.block_on(async {
            local::join(churn(server.clone(), 30), exchange(&server, &client)).await;
        });
        disk.power_cut();
        (world.trace_hash(), world.elapsed(), disk.image())
    };
    let (hash, elapsed, image) = run(42);
    let (same_hash, same_elapsed, same_image) = run(42);
    assert_eq!((hash, elapsed), (same_hash, same_elapsed));
    assert!(image == same_image);
    assert_ne!(hash, run(43).0);
}

async fn connect(server: &Ring, client: &Ring) -> (basalt_ring::Socket, basalt_ring::Socket) {
    let listener = server.listen(SocketAddr::new(ONE, 0)).await.expect("a free port");
    let (accepted, connected) = local::join(listener.accept(), client.connect(listener.local_address())).await;
    (accepted.expect("connected"), connected.expect("connected"))
}

async fn exchange(server: &Ring, client: &Ring) {
    let (accepted, connected) = connect(server, client).await;
    for round in 0..20 {
        let mut data = client.buffer(1000 * round + 1);
        client.fill_random(&mut data);
        let data = data.freeze();
        let receive = accepted.receive_exact(server.buffer(data.len()));
        let ((sent, _), (received, buffer)) = local::join(connected.send(vec![data.clone()]), receive).await;
        sent.expect("connected");
        received.expect("connected");
        assert!(buffer[..] == data[..]);
    }
}

#[test]
fn a_killed_process_resets_its_peers_and_frees_its_devices() {
    for seed in 0..20 {
        let (world, process, _disk) = world(seed, true);
        let two = world.process("two", TWO);
        let (server, client) = (process.ring(), two.ring());
        let (held, dropped) = local::once::<()>();
        let (accepted, connected) = world.block_on(connect(&server, &client));
        drop(server.spawn({
            let server = server.clone();
            async move {
                let _held = held;
                let _device = open(&server).await;
                accepted.send(vec![server.buffer(10).freeze()]).await.0.expect("connected");
                std::future::pending::<()>().await
            }
        }));
        world.run_for(Duration::from_millis(10));
        process.kill();
        world.block_on(async {
            assert_eq!(dropped.await, None, "its tasks are gone");
            // What had arrived before is still read.
            connected.receive_exact(client.buffer(10)).await.0.expect("sent before the kill");
            let (result, _) = connected.receive(client.buffer(10)).await;
            assert_eq!(result.expect_err("the peer is dead").kind(), ErrorKind::ConnectionReset);
            let error = server.open_device(Path::new("/disk"), DeviceOptions::default()).await.err();
            assert_eq!(error.expect("an old life's ring").raw_os_error(), Some(libc::ECANCELED));
            open(&process.ring()).await;
        });
        let never = server.spawn(async { panic!("spawned by the dead") });
        world.run_for(Duration::from_millis(1));
        assert!(never.is_finished());
    }
}

#[test]
fn a_kill_keeps_completed_writes_and_maybe_those_in_flight() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let (world, process, disk) = world(seed, true);
        let ring = process.ring();
        drop(ring.spawn({
            let ring = ring.clone();
            async move {
                let device = open(&ring).await;
                write(&ring, &device, 1, 1).await;
                write(&ring, &device, 2, 2).await;
            }
        }));
        let image = loop {
            world.run_for(Duration::from_micros(5));
            if disk.image()[BLOCK] == 1 {
                process.kill();
                break disk.image();
            }
        };
        world.run_for(Duration::from_secs(1));
        assert!(image == disk.image(), "nothing of the dead process lands later");
        assert!(block(&image, 1) == [1; BLOCK]);
        assert!([[0; BLOCK], [2; BLOCK]].iter().any(|whole| block(&image, 2) == whole), "never torn by a kill alone");
        outcomes.insert(image[2 * BLOCK]);
    }
    assert_eq!(outcomes.len(), 2, "both outcomes are seen: {outcomes:?}");
}

#[test]
fn a_cut_link_holds_bytes_back_until_it_heals() {
    for seed in 0..20 {
        let world = World::new(seed);
        let (one, two) = (world.process("one", ONE), world.process("two", TWO));
        let (server, client) = (one.ring(), two.ring());
        world.block_on(async {
            let (accepted, connected) = connect(&server, &client).await;
            world.cut(TWO, ONE);
            for index in 0..100u8 {
                let mut data = client.buffer(100);
                data.fill(index);
                connected.send(vec![data.freeze()]).await.0.expect("into the send buffer");
                client.sleep(Duration::from_micros(30)).await;
                if index == 50 {
                    // The other direction still works.
                    accepted.send(vec![server.buffer(1).freeze()]).await.0.expect("connected");
                    connected.receive_exact(client.buffer(1)).await.0.expect("the way back is open");
                }
            }
            let mut early = accepted.receive_multi();
            assert!(server.timeout(Duration::from_secs(30), early.next()).await.is_err(), "nothing gets through");
            drop(early);
            world.heal(TWO, ONE);
            for index in 0..100u8 {
                let (result, buffer) = accepted.receive_exact(server.buffer(100)).await;
                result.expect("it was held back, not lost");
                assert!(buffer.iter().all(|byte| *byte == index), "in order");
            }
        });
    }
}

#[test]
fn a_slow_link_delays_and_broken_connections_end_on_both_sides() {
    for seed in 0..20 {
        let world = World::new(seed);
        let (one, two) = (world.process("one", ONE), world.process("two", TWO));
        let (server, client) = (one.ring(), two.ring());
        world.block_on(async {
            let (accepted, connected) = connect(&server, &client).await;
            world.slow_down(TWO, ONE, Duration::from_secs(1));
            let began = world.elapsed();
            connected.send(vec![client.buffer(1).freeze()]).await.0.expect("connected");
            accepted.receive_exact(server.buffer(1)).await.0.expect("late, and not lost");
            assert!(world.elapsed() - began >= Duration::from_secs(1));
            world.slow_down(TWO, ONE, Duration::ZERO);
            let began = world.elapsed();
            connected.send(vec![client.buffer(1).freeze()]).await.0.expect("connected");
            accepted.receive_exact(server.buffer(1)).await.0.expect("connected");
            assert!(world.elapsed() - began < Duration::from_millis(10));

            connected.send(vec![client.buffer(1).freeze()]).await.0.expect("connected");
            world.reset_connections(ONE, TWO);
            for (socket, ring) in [(&accepted, &server), (&connected, &client)] {
                let error = socket.receive_exact(ring.buffer(1)).await.0.expect_err("what was on its way is lost");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                let error = socket.send(vec![ring.buffer(1).freeze()]).await.0.expect_err("it is over");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            drop((accepted, connected));
            exchange(&server, &client).await;
        });
    }
}

#[test]
fn connecting_across_a_cut_times_out_and_nowhere_is_unreachable() {
    let world = World::new(5);
    let (one, two) = (world.process("one", ONE), world.process("two", TWO));
    let (server, client) = (one.ring(), two.ring());
    world.block_on(async {
        let listener = server.listen(SocketAddr::new(ONE, 4000)).await.expect("free");
        world.cut(ONE, TWO);
        let error = client.connect(listener.local_address()).await.err().expect("no answer gets back");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        world.heal(ONE, TWO);
        client.connect(listener.local_address()).await.expect("healed");
        let nowhere = SocketAddr::new(Ipv4Addr::new(10, 9, 9, 9).into(), 4000);
        let error = client.connect(nowhere).await.err().expect("nobody has it");
        assert_eq!(error.kind(), ErrorKind::HostUnreachable);
        let error = client.listen(listener.local_address()).await.err().expect("not an address of its own");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn connections_leave_from_the_nearest_address() {
    let world = World::new(6);
    let (one, two) = (world.process("one", ONE), world.process("two", TWO));
    let cluster = |last| IpAddr::V4(Ipv4Addr::new(192, 168, 0, last));
    one.add_address(cluster(1));
    two.add_address(cluster(2));
    let (server, client) = (one.ring(), two.ring());
    world.block_on(async {
        let listener = server.listen("0.0.0.0:5000".parse().expect("an address")).await.expect("free");
        for (target, source) in [(ONE, TWO), (cluster(1), cluster(2))] {
            let connected = client.connect(SocketAddr::new(target, 5000)).await.expect("listening on all");
            assert_eq!(connected.local_address().ip(), source);
            assert_eq!(listener.accept().await.expect("connected").peer_address(), connected.local_address());
        }
    });
}

#[test]
fn the_wall_clock_jumps_and_the_monotonic_one_does_not() {
    let (world, process, _disk) = world(1, true);
    let ring = process.ring();
    let (now, wall) = (ring.now(), ring.unix_time());
    process.shift_wall_clock(-3_600_000_000_000);
    assert_eq!(ring.now(), now);
    assert_eq!(wall.0 - ring.unix_time().0, 3_600_000_000_000);
    world.run_for(Duration::from_secs(5));
    assert_eq!(ring.now().since(now), Duration::from_secs(5));
}

#[test]
fn a_spinning_task_reaches_its_deadline() {
    let (world, process, _disk) = world(1, true);
    let ring = process.ring();
    world.block_on(async {
        let deadline = ring.now() + Duration::from_micros(100);
        while ring.now() < deadline {
            ring.spawn(async {}).await;
        }
    });
}

#[test]
#[should_panic(expected = "seed 77")]
fn a_deadlock_names_the_seed() {
    World::new(77).block_on(std::future::pending::<()>());
}

#[test]
fn a_world_drops_what_runs_in_it() {
    let marker = Rc::new(());
    let (world, process, _disk) = world(1, true);
    let ring = process.ring();
    for _ in 0..10 {
        let (ring, marker) = (ring.clone(), marker.clone());
        drop(ring.clone().spawn(async move {
            let _device = ring.open_device(Path::new("/other"), DeviceOptions::default()).await;
            let _marker = marker;
            ring.sleep(Duration::from_secs(1000)).await;
        }));
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(Rc::strong_count(&marker), 11);
    drop(world);
    assert_eq!(Rc::strong_count(&marker), 1);
}

#[test]
fn a_mailbox_is_bounded_and_tells_when_an_end_is_gone() {
    let (world, process, _disk) = world(1, true);
    let ring = process.ring();
    let (sender, mut receiver) = mailbox::channel(2);
    assert_eq!((sender.try_send(1), sender.try_send(2), sender.try_send(3)), (Ok(()), Ok(()), Err(3)));
    let other = sender.clone();
    drop(sender);
    world.block_on(async {
        assert_eq!((receiver.receive().await, receiver.receive().await), (Some(1), Some(2)));
        let waiting = ring.spawn(async move {
            let value = receiver.receive().await;
            (value, receiver.receive().await, receiver)
        });
        ring.sleep(Duration::from_millis(1)).await;
        other.try_send(4).expect("room");
        ring.sleep(Duration::from_millis(1)).await;
        assert!(!waiting.is_finished());
        let last = other.clone();
        drop(other);
        drop(last);
        let (value, end, receiver) = waiting.await;
        assert_eq!((value, end), (Some(4), None));
        drop(receiver);
    });
    let (sender, receiver) = mailbox::channel(2);
    drop(receiver);
    assert_eq!(sender.try_send(1), Err(1));
}

proptest! {
    /// Whatever is written, flushed and cut: each sector holds its last durable content or one written since.
    #[test]
    fn a_power_cut_leaves_each_sector_old_or_new(seed: u64, steps in proptest::collection::vec((0u64..4, any::<bool>()), 1..30)) {
        let (world, process, disk) = world(seed, true);
        let ring = process.ring();
        let mut possible: Vec<Vec<u8>> = vec![vec![0]; 4];
        world.block_on(async {
            let device = open(&ring).await;
            for (index, (target, flush)) in steps.iter().enumerate() {
                let fill = index as u8 + 1;
                write(&ring, &device, *target, fill).await;
                possible[*target as usize].push(fill);
                if *flush {
                    device.flush().await.expect("flushable");
                    for fills in &mut possible {
                        let last = fills.pop().expect("never empty");
                        *fills = vec![last];
                    }
                }
            }
        });
        disk.power_cut();
        let image = disk.image();
        for (index, fills) in possible.iter().enumerate() {
            for sector in block(&image, index).chunks(SECTOR) {
                prop_assert!(fills.contains(&sector[0]) && sector.iter().all(|byte| *byte == sector[0]));
            }
        }
    }
}
