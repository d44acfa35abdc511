//! The scrub inside the daemon: by itself, when asked, over restarts, and not while it is forbidden.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_blockstore::ObjectKey;
use basalt_cluster::config::ScrubSettings;
use basalt_net::message::monitor::{AdminCommand, ScrubReport};
use basalt_net::message::object::{Operation, OsdCommand};
use basalt_ring::sim::Disk;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

fn options(interval: Duration, bytes_per_second: u64) -> ClusterOptions {
    ClusterOptions {
        base_bytes: 128 << 20,
        scrub: ScrubSettings { interval, bytes_per_second: Some(bytes_per_second) },
        ..ClusterOptions::default()
    }
}

const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

fn report(cluster: &SimulatedCluster) -> ScrubReport {
    cluster.with_osd(|osd| osd.report().scrub)
}

async fn sleep(cluster: &SimulatedCluster, time: Duration) {
    cluster.client.ring().sleep(time).await;
}

/// Waits until a pass that begins after now has ended.
async fn next_pass(cluster: &SimulatedCluster) -> ScrubReport {
    let before = report(cluster).finished_unix_s;
    for _ in 0..6000 {
        sleep(cluster, Duration::from_millis(100)).await;
        let now = report(cluster);
        if now.finished_unix_s > before && !now.is_running {
            return now;
        }
    }
    panic!("no pass has ended: {:?}", report(cluster));
}

async fn ask(cluster: &SimulatedCluster) -> ScrubReport {
    // Passes end in different seconds.
    sleep(cluster, Duration::from_millis(1100)).await;
    let reply = cluster.peer().await.command(OsdCommand::DeepScrub).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
    next_pass(cluster).await
}

async fn set_flag(cluster: &SimulatedCluster, flag: &str, is_set: bool) {
    let reply = cluster.monitor.command(AdminCommand::OsdSetFlag { flag: flag.into(), is_set }).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
    cluster.wait_for_map().await;
}

async fn health(cluster: &SimulatedCluster) -> serde_json::Value {
    // A report's interval.
    sleep(cluster, Duration::from_millis(2500)).await;
    let reply = cluster.monitor.command(AdminCommand::HealthDetail).await;
    serde_json::from_str(&reply.json).expect("JSON")
}

/// No two blocks of no two objects are alike.
fn bytes(seed: usize) -> Vec<u8> {
    let block = |index: usize| [(1 + 16 * seed + index).to_le_bytes().as_slice(), &[index as u8; 4088]].concat();
    (0..16).flat_map(block).collect()
}

async fn write_objects(cluster: &SimulatedCluster, count: usize) {
    let peer = cluster.peer().await;
    for index in 0..count {
        peer.write_full(POOL, format!("object {index}").as_bytes(), &bytes(index)).await;
    }
}

/// Damages a block of an object; returns its address.
fn damage(disk: &Disk, seed: usize, block: usize) -> u64 {
    damage_each(disk, seed..seed + 1, block)
}

/// Damages the same block of several objects; returns the last one's address.
fn damage_each(disk: &Disk, seeds: Range<usize>, block: usize) -> u64 {
    let image = disk.image();
    let places: HashMap<&[u8], usize> = image.chunks(4096).enumerate().map(|(place, found)| (found, place)).collect();
    let mut at = 0;
    for seed in seeds {
        at = places[&bytes(seed)[block * 4096..][..4096]] as u64 * 4096;
        disk.flip(at + 100, 1);
    }
    at
}

#[test]
fn what_is_damaged_is_in_the_health_until_it_is_written_anew_and_looked_at_again() {
    let cluster = SimulatedCluster::new(41, options(NEVER, 8 << 20));
    cluster.world.block_on(async {
        write_objects(&cluster, 20).await;
        assert_eq!(ask(&cluster).await.errors, 0);
        let at = damage(&cluster.base, 7, 3);
        let found = ask(&cluster).await;
        assert_eq!((found.errors, found.findings.len()), (1, 1), "{found:?}");
        let check = health(&cluster).await["checks"]["OSD_SCRUB_ERRORS"].clone();
        assert_eq!(check["severity"], "HEALTH_ERR");
        assert_eq!(check["summary"]["message"], "1 scrub errors");
        let detail = check["detail"][0]["message"].as_str().expect("a line").to_owned();
        for part in [
            "osd.0: object 1.",
            "/object 7 at byte 12288: checksum mismatch",
            "on the base device base",
            &at.to_string(),
        ] {
            assert!(detail.contains(part), "{part}: {detail}");
        }
        cluster.peer().await.write_full(POOL, b"object 7", &bytes(7)).await;
        assert_eq!(report(&cluster).errors, 1, "nobody has looked yet");
        assert_eq!(ask(&cluster).await.errors, 0);
        assert!(health(&cluster).await["checks"].get("OSD_SCRUB_ERRORS").is_none());
    });
}

#[test]
fn what_has_a_second_copy_is_repaired_and_is_no_error() {
    let options = ClusterOptions { hot_bytes: 64 << 20, ..options(NEVER, 8 << 20) };
    let cluster = SimulatedCluster::new(42, options);
    cluster.world.block_on(async {
        cluster.set("cache_mode", "writeback").await;
        cluster.set("cache_max_dirty_age", "5").await;
        write_objects(&cluster, 20).await;
        sleep(&cluster, Duration::from_secs(30)).await;
        damage(&cluster.base, 3, 0);
        damage(cluster.hot.as_ref().expect("a hot disk"), 4, 15);
        let found = ask(&cluster).await;
        assert_eq!((found.errors, found.repaired), (0, 2), "{found:?}");
        // The tier knows of the block that is dirty again, and flushes it.
        sleep(&cluster, Duration::from_secs(30)).await;
        assert_eq!(cluster.with_osd(|osd| osd.store().pool_usage(POOL).hot_dirty_bytes), 0);
        let found = ask(&cluster).await;
        assert_eq!((found.errors, found.repaired), (0, 2), "{found:?}");
        let peer = cluster.peer().await;
        for index in 0..20 {
            assert_eq!(peer.read_all(POOL, format!("object {index}").as_bytes()).await, Ok(bytes(index)));
        }
        assert_eq!(cluster.with_osd(|osd| osd.report().checksum_errors), 0);
    });
}

#[test]
fn it_comes_by_itself_once_an_interval_unless_a_flag_forbids_it() {
    let cluster = SimulatedCluster::new(43, options(Duration::from_secs(100), 8 << 20));
    cluster.world.block_on(async {
        write_objects(&cluster, 5).await;
        let made = report(&cluster).finished_unix_s;
        let first = next_pass(&cluster).await;
        assert!((99..130).contains(&(first.finished_unix_s - made)), "{first:?}");
        assert!(first.pass_bytes > 5 * (64 << 10), "{first:?}");
        for flag in ["noscrub", "nodeep-scrub"] {
            set_flag(&cluster, flag, true).await;
            let before = report(&cluster).finished_unix_s;
            sleep(&cluster, Duration::from_secs(300)).await;
            assert_eq!(report(&cluster).finished_unix_s, before, "{flag} holds it");
            set_flag(&cluster, flag, false).await;
            next_pass(&cluster).await;
        }
        // An operator who asks for it means it.
        set_flag(&cluster, "nodeep-scrub", true).await;
        ask(&cluster).await;
    });
}

#[test]
fn a_restart_goes_on_near_where_it_was_and_remembers_what_was_found() {
    // 320 objects of 64 KiB at 64 KiB/s, and what is damaged is read twice: 640 seconds.
    let cluster = SimulatedCluster::new(44, options(NEVER, 64 << 10));
    cluster.world.block_on(async {
        write_objects(&cluster, 320).await;
        damage_each(&cluster.base, 0..320, 5);
        cluster.peer().await.command(OsdCommand::DeepScrub).await;
        sleep(&cluster, Duration::from_secs(200)).await;
        let so_far = report(&cluster);
        assert!(so_far.is_running && so_far.errors > 60, "{so_far:?}");
    });
    cluster.crash_host();
    cluster.world.block_on(async {
        cluster.start_host().await;
        sleep(&cluster, Duration::from_secs(3)).await;
        let after = report(&cluster);
        assert!(after.is_running && after.errors > 40, "{after:?}");
        let begun = cluster.client.ring().now();
        let ended = next_pass(&cluster).await;
        assert_eq!(ended.errors, 320, "each once");
        let took = cluster.client.ring().now().since(begun);
        assert!(took < Duration::from_secs(560), "{took:?}: it began anew");
    });
    cluster.world.block_on(cluster.stop_host());
    cluster.world.block_on(async {
        cluster.start_host().await;
        sleep(&cluster, Duration::from_secs(3)).await;
        assert_eq!(report(&cluster).errors, 320);
    });
}

#[test]
fn clients_come_first_but_the_pass_goes_on() {
    let cluster = SimulatedCluster::new(45, options(NEVER, 1 << 20));
    cluster.world.block_on(async {
        write_objects(&cluster, 40).await;
        let peer = cluster.peer().await;
        peer.command(OsdCommand::DeepScrub).await;
        let begun = cluster.client.ring().now();
        // One request after the other, and another beside it: there is never a quiet moment.
        let other = cluster.peer().await;
        let ring = cluster.client.ring();
        let busy = ring.spawn(async move {
            for _ in 0..4000 {
                other.read_all(POOL, b"object 1").await.expect("read");
            }
        });
        while !report(&cluster).is_running {
            sleep(&cluster, Duration::from_millis(10)).await;
        }
        while report(&cluster).is_running {
            let operations = vec![Operation::Read { offset: 0, length: u64::MAX }];
            peer.ask(POOL, b"object 0", operations, &[]).await;
            assert!(ring.now().since(begun) < Duration::from_secs(60), "{:?}", report(&cluster));
        }
        busy.abort();
        assert_eq!(report(&cluster).errors, 0);
    });
}

#[test]
fn its_record_is_no_object_of_a_pool_and_stays() {
    let cluster = SimulatedCluster::new(46, options(NEVER, 8 << 20));
    cluster.world.block_on(async {
        write_objects(&cluster, 2).await;
        ask(&cluster).await;
        // Longer than removed pools live.
        sleep(&cluster, Duration::from_secs(30)).await;
        let (pools, kept) = cluster.with_osd(|osd| {
            let pools: Vec<u32> = osd.report().pools.iter().map(|pool| pool.pool).collect();
            (pools, osd.store().pool_usage(0).objects)
        });
        assert_eq!((pools, kept), (vec![POOL], 1));
        let (reply, _) = cluster.peer().await.ask(0, b"scrub", vec![Operation::Stat], &[]).await;
        assert_ne!(reply.errno, 0, "no client sees it");
    });
}

#[test]
fn a_cold_object_in_many_pieces_is_put_into_few_on_the_way() {
    let cluster = SimulatedCluster::new(47, options(NEVER, 8 << 20));
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let names: [&[u8]; 2] = [b"one", b"other"];
        for index in 0..64 {
            for name in names {
                let operations = vec![Operation::Write { offset: index * 4096, length: 4096 }];
                peer.done(POOL, name, operations, &vec![index as u8; 4096]).await;
            }
        }
        ask(&cluster).await;
        let store = cluster.with_osd(|osd| osd.store().clone());
        for name in names {
            let pg = peer.map().pg_of(POOL, name).expect("a pool").seed;
            let object = ObjectKey { pool: POOL, pg, name: name.into() };
            let left = store.rewrite(&object).await.expect("rewrite").fragments_before;
            assert!(left <= 2, "{left} pieces are left of {}", name.escape_ascii());
            let expected: Vec<u8> = (0..64).flat_map(|index| vec![index; 4096]).collect();
            assert_eq!(peer.read_all(POOL, name).await, Ok(expected));
        }
    });
}
