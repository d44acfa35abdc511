//! The conformance suite on the simulated driver, over several seeds each.

mod conformance;

use basalt_ring::sim::World;
use basalt_ring::{DeviceInfo, DeviceKind};
use conformance::sockets::Ends;
use conformance::{concurrency, devices, sockets};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const SEEDS: std::ops::Range<u64> = 0..8;
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn disk(rotational: bool, volatile_cache: bool) -> DeviceInfo {
    let size = devices::DEVICE_BYTES;
    DeviceInfo { kind: DeviceKind::Block, size, sector_size: 4096, rotational, volatile_cache, discard: true }
}

macro_rules! on_one_ring {
    ($($module:ident :: $claim:ident),* $(,)?) => {$(
        #[test]
        fn $claim() {
            for seed in SEEDS {
                let world = World::new(seed);
                let ring = world.process("only", SERVER).ring();
                world.block_on($module::$claim(&ring));
            }
        }
    )*};
}

on_one_ring!(
    concurrency::timers_fire_in_order,
    concurrency::a_timeout_drops_what_it_gives_up,
    concurrency::ten_thousand_tasks_run,
    concurrency::a_yield_lets_others_run,
    concurrency::aborted_tasks_are_dropped,
    concurrency::semaphores_are_fair,
    concurrency::keys_are_locked_apart,
    concurrency::joined_futures_keep_their_order,
    concurrency::randomness_is_not_constant,
);

macro_rules! on_a_device {
    ($($claim:ident),* $(,)?) => {$(
        #[test]
        fn $claim() {
            for seed in SEEDS {
                let world = World::new(seed);
                let ring = world.process("only", SERVER).ring();
                world.add_disk("/dev/disk", disk(seed % 2 == 0, seed % 3 == 0));
                world.block_on(devices::$claim(&ring, Path::new("/dev/disk")));
                world.block_on(devices::$claim(&ring, Path::new("/created/on/demand")));
            }
        }
    )*};
}

on_a_device!(
    the_size_is_reported_and_kept,
    a_read_returns_what_was_written,
    windows_of_one_buffer_are_read_at_once,
    a_large_write_is_whole,
    beyond_the_end_is_an_error,
    a_device_opened_for_reading_is_not_written,
    a_missing_device_is_not_found,
    an_exclusive_device_opens_once,
    a_discarded_range_leaves_its_neighbours,
    neighbours_written_at_once_land_where_they_belong,
    neighbours_that_cannot_be_written_fail_each,
    operations_dropped_in_flight_keep_their_buffers,
    many_operations_at_once_all_complete,
);

macro_rules! on_two_ends {
    ($($claim:ident),* $(,)?) => {$(
        #[test]
        fn $claim() {
            for seed in SEEDS {
                let world = World::new(seed);
                let server = world.process("server", SERVER).ring();
                let client = world.process("client", CLIENT).ring();
                world.block_on(sockets::$claim(&Ends { server, client, address: SERVER }));
            }
        }
    )*};
}

on_two_ends!(
    gathered_slices_arrive_in_order,
    more_slices_than_the_kernel_takes_at_once_arrive,
    a_big_transfer_both_ways_is_whole,
    the_end_of_a_stream_is_seen,
    a_shutdown_ends_a_receive_in_flight,
    nobody_listening_is_refused,
    an_address_in_use_is_refused,
    a_listener_accepts_many,
    a_multishot_receive_sees_every_byte,
    a_dropped_receive_loses_nothing_but_itself,
);
