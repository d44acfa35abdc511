//! When data goes to its device: small data that comes while another group is in flight goes out with its own group's record, so that
//! neighbours are one write; large data at once, since it takes the device longer than the record does.

use basalt_blockstore::{ObjectKey, Placement};
use basalt_ring::sim::DiskEvent;
use basalt_tests::model::Step;
use basalt_tests::simulated_store::{self as simulated, Shape, formatted, submit, transact};
use std::time::Duration;

const SHAPE: Shape = Shape { base_bytes: 16 << 20, hot_bytes: 0, wal_bytes: 256 << 10 };
const BLOCK: usize = 4096;
const LARGE: usize = 128 << 10;

fn object(number: u8) -> ObjectKey {
    ObjectKey { pool: 5, pg: 0, name: vec![b'a' + number].into() }
}

/// Its data is all of one byte, which nothing else begins with.
fn write(number: u8, bytes: usize) -> [Step; 1] {
    [Step::Write { offset: 0, data: vec![0xA0 + number; bytes] }]
}

#[test]
fn small_data_waits_for_the_group_in_flight_and_large_data_does_not() {
    let sim = formatted(5, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        for number in 0..6 {
            let step = write(15, if number == 5 { LARGE } else { BLOCK });
            transact(&ring, &store, &object(number), &step, Placement::Base).await.expect("written");
        }
        sim.base.record();
        let alone = submit(&ring, &store, &object(0), &write(0, BLOCK), Placement::Base).await.expect("submitted");
        // Its group is taken up, and takes a disk's time from here on.
        ring.sleep(Duration::from_nanos(1)).await;
        let mut others = Vec::new();
        for number in 1..6 {
            let step = write(number, if number == 5 { LARGE } else { BLOCK });
            others.push(submit(&ring, &store, &object(number), &step, Placement::Base).await.expect("submitted"));
        }
        alone.durable().await.expect("durable");
        for commit in others {
            commit.durable().await.expect("durable");
        }
        let events = sim.base.take_events();
        let first_flush = events.iter().position(|event| matches!(event, DiskEvent::Flushed { .. })).expect("a flush");
        let data_of = |events: &[DiskEvent]| {
            let mut numbers: Vec<u8> = events
                .iter()
                .filter_map(|event| match event {
                    DiskEvent::WriteSubmitted { data, .. } => data[0].checked_sub(0xA0).filter(|number| *number < 6),
                    _ => None,
                })
                .collect();
            numbers.sort_unstable();
            numbers
        };
        assert_eq!(data_of(&events[..first_flush]), [0, 5]);
        assert_eq!(data_of(&events[first_flush..]), [1, 2, 3, 4]);
        store.close().await.expect("close");
    });
}
