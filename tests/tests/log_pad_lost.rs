//! A record that does not fit before the ring's end is preceded by a pad, and both were written under one flush. If a crash kept the record and
//! took the pad, replay ended before the pad, and the group was given up, as it may be: nobody had been told that it was durable. The
//! seal of the new life was then written where the pad should have been, and right behind it stood the old record, whole: the next start
//! took it for the last record of the log, and what had been given up was back, over whatever was done since.
//!
//! The pad is flushed before its record is written. Found by thinking about lost seals.

use basalt_blockstore::{ObjectKey, Placement};
use basalt_ring::sim::{DiskEvent, Image, Recording};
use basalt_tests::model::{Model, Step};
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, submit, transact};
use std::collections::BTreeMap;

const SHAPE: Shape = Shape::SMALL_PLAIN;

fn object() -> ObjectKey {
    ObjectKey { pool: 1, pg: 0, name: b"album".as_slice().into() }
}

fn pair(key: u8, length: usize) -> [Step; 1] {
    [Step::SetOmap { key: vec![key], value: vec![key; length] }]
}

/// Of a record of the log: whether it is a pad.
fn is_pad(data: &[u8]) -> Option<bool> {
    (data.starts_with(b"BWAL")).then(|| data[40] == 1)
}

/// A crash after so many records of one block, in the middle of one of two blocks: the record is there, and of all else only what had to be.
/// `None` if no pad was needed.
fn crash(records: u8) -> Option<Image> {
    let sim = formatted(1, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        for number in 0..records {
            transact(&ring, &store, &object(), &pair(number % 10, 30), Placement::Base).await.expect("room");
        }
        let mut image = sim.base.snapshot();
        let recording = Recording::of(&sim.disks());
        let commit = submit(&ring, &store, &object(), &pair(99, 5000), Placement::Base).await.expect("room");
        commit.durable().await.expect("healthy disks");
        let mut writes = BTreeMap::new();
        let mut padded = false;
        for (_, event) in recording.take() {
            match event {
                DiskEvent::WriteSubmitted { write, offset, data } => {
                    if padded && is_pad(&data) == Some(false) {
                        image.write(offset, &data);
                        return Some(image);
                    }
                    padded |= is_pad(&data) == Some(true);
                    writes.insert(write, (offset, data));
                }
                DiskEvent::Flushed { durable } => {
                    for (offset, data) in durable.iter().filter_map(|write| writes.remove(write)) {
                        image.write(offset, &data);
                    }
                }
                DiskEvent::WriteCompleted { .. } | DiskEvent::Mark(_) => {}
            }
        }
        None
    })
}

#[test]
fn a_group_that_was_given_up_never_comes_back() {
    let mut crashes = 0;
    for image in (40..140).filter_map(crash) {
        crashes += 1;
        for closed in [true, false] {
            let mut sim = SimulatedStore::new(2, SHAPE);
            sim.base.restore(image.clone());
            let mut states = Vec::new();
            for _ in 0..3 {
                let ring = sim.ring();
                let state = sim.world.block_on(async {
                    let store = simulated::open(&ring, SHAPE).await.expect("open");
                    let state = Model::of(&store).await.expect("a healthy disk");
                    if closed {
                        store.close().await.expect("close");
                    }
                    state
                });
                states.push(state);
                sim.restart();
            }
            assert!(states[1] == states[0] && states[2] == states[0], "closed {closed}: it is not what it was");
        }
    }
    assert!(crashes > 0, "no record needed a pad");
}
