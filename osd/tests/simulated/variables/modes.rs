//! `cache_mode`: where writes land, whether reads promote, and what becomes of what is hot.

use crate::tiered_pool::{A_WHILE, KIB, MIB, TieredPool, on_a_tiered_pool};
use basalt_net::message::monitor::AdminCommand;
use std::time::Duration;

/// What a pool does in a mode that it is changed to while it has an object that is hot and clean, and one that is cold.
#[derive(Debug, PartialEq)]
struct Behaviour {
    writes_land_hot: bool,
    reads_promote: bool,
    keeps_clean_copies: bool,
}

async fn behaviour(pool: &TieredPool<'_>, mode: &str) -> Behaviour {
    // Cold is what was written while writes went to base.
    pool.set_mode_when_clean("proxy").await;
    pool.write("cold", 64 * KIB).await;
    pool.set("cache_mode", "writeback").await;
    pool.write("warm", 64 * KIB).await;
    pool.clean().await;
    pool.set_mode_when_clean(mode).await;
    let dirtied = pool.dirtied_by(pool.write("new", 64 * KIB)).await;
    let reads = async {
        for _ in 0..3 {
            pool.visit("cold").await;
        }
    };
    let promoted = pool.promoted_by(reads).await;
    assert!([0, 64 * KIB].contains(&dirtied) && [0, 64 * KIB].contains(&promoted), "{dirtied} {promoted}");
    let keeps_clean_copies = pool.hot_bytes("warm").await > 0;
    for name in ["cold", "warm", "new"] {
        assert_eq!(pool.read(name).await, vec![0x5c; 64 << 10], "{name} in {mode}");
    }
    Behaviour { writes_land_hot: dirtied > 0, reads_promote: promoted > 0, keeps_clean_copies }
}

fn check(seed: u64, mode: &str, expected: Behaviour) {
    on_a_tiered_pool(seed, async |pool| assert_eq!(behaviour(&pool, mode).await, expected, "{mode}"));
}

#[test]
fn cache_mode_writeback_writes_hot_and_promotes() {
    check(200, "writeback", Behaviour { writes_land_hot: true, reads_promote: true, keeps_clean_copies: true });
}

#[test]
fn cache_mode_readproxy_writes_hot_and_does_not_promote() {
    check(201, "readproxy", Behaviour { writes_land_hot: true, reads_promote: false, keeps_clean_copies: true });
}

#[test]
fn cache_mode_proxy_makes_nothing_hot() {
    check(202, "proxy", Behaviour { writes_land_hot: false, reads_promote: false, keeps_clean_copies: true });
}

#[test]
fn cache_mode_readonly_writes_to_base_and_promotes() {
    check(203, "readonly", Behaviour { writes_land_hot: false, reads_promote: true, keeps_clean_copies: true });
}

#[test]
fn cache_mode_none_has_nothing_hot() {
    check(204, "none", Behaviour { writes_land_hot: false, reads_promote: false, keeps_clean_copies: false });
}

#[test]
fn cache_mode_proxy_flushes_what_is_dirty_and_writeback_leaves_it() {
    on_a_tiered_pool(205, async |pool| {
        pool.write_many("o", 8, 64 * KIB).await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_bytes, 8 * 64 * KIB, "far below every ratio nothing is flushed");
        pool.set("cache_mode", "readproxy").await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_bytes, 8 * 64 * KIB);
        pool.set("cache_mode", "proxy").await;
        pool.wait_for("flushed", |report| report.dirty_bytes == 0).await;
        assert_eq!(pool.report().clean_bytes, 8 * 64 * KIB, "it stays hot, as copies");
    });
}

/// As an operator takes a tier away: refused while anything is dirty, then by way of `proxy`, until `osd tier status` says that it is done.
#[test]
fn cache_mode_leaves_writeback_by_draining() {
    on_a_tiered_pool(206, async |pool| {
        let status = async || {
            let reply = pool.cluster.command(AdminCommand::TierStatus { pool: Some("data".into()) }).await;
            serde_json::from_str::<serde_json::Value>(&reply.json).expect("JSON")[0].clone()
        };
        pool.write_many("o", 32, MIB).await;
        pool.sleep(Duration::from_secs(2)).await;
        let refused = pool.try_set("cache_mode", "none").await;
        assert_eq!(refused.errno, libc::EINVAL);
        assert!(refused.message.contains("The way out: set 'proxy'"), "{}", refused.message);
        // Held for long enough to be looked at.
        let agent = async |is_stopped| {
            let flag = AdminCommand::OsdSetFlag { flag: "notieragent".into(), is_set: is_stopped };
            assert_eq!(pool.cluster.command(flag).await.errno, 0);
            pool.cluster.wait_for_map().await;
        };
        agent(true).await;
        pool.set("cache_mode", "proxy").await;
        pool.sleep(Duration::from_secs(5)).await;
        let shown = status().await;
        assert_eq!((&shown["draining"], &shown["drained"]), (&true.into(), &false.into()));
        assert_eq!(shown["drain"]["dirty_bytes_left"], 32 * MIB);
        agent(false).await;
        let mut waited = 0;
        while status().await["drained"] != true {
            waited += 1;
            assert!(waited < 600, "{}", status().await);
            pool.sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(pool.report().dirty_bytes, 0);
        pool.set("cache_mode", "none").await;
        pool.wait_for("emptied", |report| report.hot_bytes == 0).await;
        for index in 0..32 {
            assert_eq!(pool.read(&format!("o {index}")).await, vec![0x5c; 1 << 20]);
        }
    });
}
