//! Pools that cache others: what may be a tier of what, whose settings count where, and what the health says.

use super::harness::{Harness, boot, report, session_of};
use basalt_cluster::map::CacheMode;
use basalt_net::message::monitor::*;

fn tier(harness: &mut Harness, command: TierCommand) -> CommandReply {
    harness.command(AdminCommand::Tier(command))
}

fn add(base: &str, cache: &str) -> TierCommand {
    TierCommand::Add { base: base.into(), cache: cache.into(), even_if_it_holds_objects: false }
}

fn overlay(base: &str, cache: &str) -> TierCommand {
    TierCommand::SetOverlay { base: base.into(), cache: cache.into() }
}

#[track_caller]
fn must(harness: &mut Harness, command: AdminCommand) -> String {
    let reply = harness.command(command);
    assert_eq!(reply.errno, 0, "{}", reply.message);
    reply.message
}

fn rule(harness: &mut Harness, name: &str, class: &str) {
    let change = CrushChange::RuleCreateReplicated {
        name: name.into(),
        root: "default".into(),
        failure_domain: "host".into(),
        class: Some(class.into()),
    };
    let mode = ChangeMode { sure: true, dry_run: false };
    must(harness, AdminCommand::Change { change: MapChange::Crush(change), mode });
}

fn pool(harness: &mut Harness, name: &str, rule: &str) {
    let create =
        AdminCommand::PoolCreate { name: name.into(), pg_num: Some(8), rule: Some(rule.into()), size: Some(2) };
    must(harness, create);
}

/// `hot` bytes of an OSD's slice; `None`: it is an SSD itself.
fn with_osds(slices: &[Option<u64>]) -> Harness {
    let mut harness = Harness::new();
    for (osd, slice) in (0u32..).zip(slices) {
        let boot = OsdBoot { hot_bytes: slice.unwrap_or(0), rotational: slice.is_some(), ..boot(osd) };
        harness.request(session_of(osd), MonitorRequest::Boot(boot));
        harness.request(session_of(osd), MonitorRequest::Report(report(osd)));
    }
    harness
}

/// Hard disks with slices, and the two pools of the usual tutorial.
fn tutorial() -> Harness {
    let mut harness = with_osds(&[Some(1 << 38); 6]);
    rule(&mut harness, "slow", "hdd");
    rule(&mut harness, "fast", "ssd");
    pool(&mut harness, "cold", "slow");
    pool(&mut harness, "hot", "fast");
    harness
}

#[test]
fn the_usual_tutorial_works_word_for_word() {
    let mut harness = tutorial();
    let said = tier(&mut harness, add("cold", "hot"));
    assert_eq!(said.errno, 0, "{}", said.message);
    assert!(
        said.message.starts_with("pool 'hot' is now (or already was) a tier of 'cold'\nnote: "),
        "{}",
        said.message
    );
    let mode = TierCommand::CacheMode { cache: "hot".into(), mode: "writeback".into() };
    assert_eq!(tier(&mut harness, mode).message, "set cache-mode for pool 'hot' to writeback");
    assert_eq!(tier(&mut harness, overlay("cold", "hot")).message, "overlay for 'cold' is now (or already was) 'hot'");
    for (variable, value) in [
        ("target_max_bytes", "1G"),
        ("hit_set_type", "bloom"),
        ("hit_set_count", "8"),
        ("hit_set_period", "3600"),
        ("cache_min_flush_age", "60"),
        ("cache_min_evict_age", "120"),
        ("min_read_recency_for_promote", "2"),
        ("min_write_recency_for_promote", "1"),
        ("cache_target_dirty_ratio", "0.3"),
        ("cache_target_dirty_high_ratio", "0.5"),
        ("cache_target_full_ratio", "0.7"),
    ] {
        must(
            &mut harness,
            AdminCommand::PoolSet { name: "hot".into(), variable: variable.into(), value: value.into() },
        );
    }
    let map = harness.map();
    let (crush, cold) = (map.crush_map(), map.pool_by_name("cold").unwrap());
    for osd in 0..6 {
        let settings = map.tier_settings_on(cold, osd, &crush);
        assert_eq!((settings.cache_mode, settings.target_max_bytes), (CacheMode::Writeback, 1 << 30));
        assert_eq!((settings.hit_set_count, settings.cache_target_dirty_ratio), (8, 0.3));
        assert!(map.pool_by_name("hot").unwrap().is_pinned_on(osd, &crush), "it is at home on the slices");
        assert!(!cold.is_pinned_on(osd, &crush));
    }
    let detail = must(&mut harness, AdminCommand::PoolLs { detail: true });
    assert!(detail.contains(" tiers 2 read_tier 2 write_tier 2 "), "{detail}");
    assert!(detail.contains(" tier_of 1 cache_mode writeback target_bytes 1073741824 "), "{detail}");
    let status = harness.json(AdminCommand::TierStatus { pool: Some("hot".into()) });
    assert_eq!((&status[0]["cached_pool"], &status[0]["mode"]), (&"cold".into(), &"writeback".into()));
}

#[test]
fn a_tier_is_taken_away_step_by_step() {
    let mut harness = tutorial();
    tier(&mut harness, add("cold", "hot"));
    tier(&mut harness, TierCommand::CacheMode { cache: "hot".into(), mode: "writeback".into() });
    tier(&mut harness, overlay("cold", "hot"));
    let rm = || TierCommand::Rm { base: "cold".into(), cache: "hot".into() };
    assert_eq!(tier(&mut harness, rm()).errno, libc::EBUSY);
    for (name, words) in [("hot", "pool 'hot' is a tier of 'cold'"), ("cold", "pool 'cold' has tiers 'hot'")] {
        let reply = harness.command(AdminCommand::PoolRm { name: name.into(), again: name.into(), sure: true });
        assert_eq!((reply.errno, reply.message.as_str()), (libc::EBUSY, words));
    }
    let none = TierCommand::CacheMode { cache: "hot".into(), mode: "none".into() };
    assert_eq!(tier(&mut harness, none).errno, libc::EINVAL);
    assert_eq!(tier(&mut harness, TierCommand::CacheMode { cache: "hot".into(), mode: "proxy".into() }).errno, 0);
    let said = tier(&mut harness, TierCommand::RmOverlay { base: "cold".into() });
    assert!(
        said.message.starts_with("there is now (or already was) no overlay for 'cold'\nnote: "),
        "{}",
        said.message
    );
    let map = harness.map();
    let settings = map.tier_settings_on(map.pool_by_name("cold").unwrap(), 0, &map.crush_map());
    assert_eq!(settings.cache_mode, CacheMode::None, "who takes a tier away expects no cache");
    assert_eq!(tier(&mut harness, rm()).message, "pool 'hot' is now (or already was) not a tier of 'cold'");
    assert_eq!(harness.command(AdminCommand::PoolRm { name: "hot".into(), again: "hot".into(), sure: true }).errno, 0);
}

#[test]
fn add_cache_does_it_all_at_once() {
    let mut harness = tutorial();
    let command = || TierCommand::AddCache { base: "cold".into(), cache: "hot".into(), size: "10G".into() };
    let said = tier(&mut harness, command());
    assert!(said.message.starts_with("pool 'hot' is now (or already was) a cache tier of 'cold'"), "{}", said.message);
    let map = harness.map();
    let settings = map.tier_settings_on(map.pool_by_name("cold").unwrap(), 0, &map.crush_map());
    assert_eq!((settings.cache_mode, settings.target_max_bytes), (CacheMode::Writeback, 10 << 30));
    assert_eq!(tier(&mut harness, command()).errno, 0, "once more is no harm");
    let wrong = TierCommand::AddCache { base: "cold".into(), cache: "hot".into(), size: "much".into() };
    assert_eq!(tier(&mut harness, wrong).errno, libc::EINVAL);
}

#[test]
fn a_tier_on_other_osds_is_refused_with_the_reason_and_the_way_out() {
    let mut harness = with_osds(&[Some(0), Some(0), Some(0), Some(0), None, None, None, None]);
    rule(&mut harness, "slow", "hdd");
    rule(&mut harness, "fast", "ssd");
    pool(&mut harness, "cold", "slow");
    pool(&mut harness, "hot", "fast");
    let refusal = tier(&mut harness, add("cold", "hot"));
    assert_eq!(refusal.errno, libc::EINVAL);
    for words in
        ["osd.4, osd.5", "other OSDs than the replicas of 'cold' (osd.0, osd.1", "give the OSDs of 'cold' hot slices"]
    {
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
}

#[test]
fn what_can_be_no_tier_is_refused() {
    let mut harness = tutorial();
    pool(&mut harness, "other", "slow");
    let refused = |harness: &mut Harness, command: TierCommand, errno: i32, words: &str| {
        let reply = tier(harness, command);
        assert_eq!(reply.errno, errno, "{}", reply.message);
        assert!(reply.message.contains(words), "{}", reply.message);
    };
    refused(&mut harness, add("nopool", "hot"), libc::ENOENT, "unrecognized pool 'nopool'");
    refused(&mut harness, add("cold", "cold"), libc::EINVAL, "a tier of itself");
    refused(&mut harness, overlay("cold", "hot"), libc::EINVAL, "tier pool 'hot' is not a tier of 'cold'");
    let mode = TierCommand::CacheMode { cache: "hot".into(), mode: "writeback".into() };
    refused(&mut harness, mode, libc::EINVAL, "pool 'hot' is not a tier");
    assert_eq!(tier(&mut harness, add("cold", "hot")).errno, 0);
    refused(&mut harness, add("other", "hot"), libc::EINVAL, "already a tier of 'cold'");
    refused(&mut harness, add("hot", "other"), libc::EINVAL, "tiers have no tiers");
    refused(&mut harness, add("other", "cold"), libc::EINVAL, "tiers have no tiers");
    let wrong = TierCommand::CacheMode { cache: "hot".into(), mode: "fast".into() };
    refused(&mut harness, wrong, libc::EINVAL, "fast");
    let holds = PoolReport { pool: 3, objects: 5, data_bytes: 5 << 20, ..PoolReport::default() };
    for osd in 0..6 {
        let report = OsdReport { pools: vec![holds.clone()], ..report(osd) };
        harness.request(session_of(osd), MonitorRequest::Report(report));
    }
    refused(&mut harness, add("cold", "other"), libc::ENOTEMPTY, "is not empty; --force-nonempty to force");
    let forced = TierCommand::Add { base: "cold".into(), cache: "other".into(), even_if_it_holds_objects: true };
    assert_eq!(tier(&mut harness, forced).errno, 0);
}

#[test]
fn a_cached_pool_on_a_disk_without_a_slice_is_a_warning_that_names_it() {
    let mut harness = with_osds(&[Some(1 << 38), Some(1 << 38), Some(0), Some(1 << 38)]);
    rule(&mut harness, "slow", "hdd");
    pool(&mut harness, "cold", "slow");
    let health = harness.json(AdminCommand::HealthDetail);
    let detail = &health["checks"]["CACHE_POOL_NO_HOT_SLICE"]["detail"];
    let words = "pool 'cold' is cached, and osd.2 has no hot slice for it: its writes wait for a hard disk";
    assert_eq!(detail, &serde_json::json!([{ "message": words }]));
    must(
        &mut harness,
        AdminCommand::PoolSet { name: "cold".into(), variable: "cache_mode".into(), value: "none".into() },
    );
    let health = harness.json(AdminCommand::HealthDetail);
    assert!(health["checks"]["CACHE_POOL_NO_HOT_SLICE"].is_null(), "{health}");
}

/// Every OSD says that so much of pool 1 is dirty, by the map of this epoch.
fn tell_dirty(harness: &mut Harness, osds: u32, epoch: u32, dirty_bytes: u64) {
    for osd in 0..osds {
        let pools = vec![PoolReport { pool: 1, dirty_bytes, hot_bytes: dirty_bytes, ..PoolReport::default() }];
        harness.request(session_of(osd), MonitorRequest::Report(OsdReport { epoch, pools, ..report(osd) }));
    }
}

fn set_mode(harness: &mut Harness, mode: &str) -> CommandReply {
    harness.command(AdminCommand::PoolSet { name: "cold".into(), variable: "cache_mode".into(), value: mode.into() })
}

#[test]
fn a_pool_that_leaves_writeback_shows_how_far_it_is_and_when_it_is_done() {
    let mut harness = with_osds(&[Some(1 << 38); 4]);
    rule(&mut harness, "slow", "hdd");
    pool(&mut harness, "cold", "slow");
    let status =
        |harness: &mut Harness| harness.json(AdminCommand::TierStatus { pool: Some("cold".into()) })[0].clone();
    let events = |harness: &mut Harness| harness.json(AdminCommand::Status)["progress_events"].clone();
    let before = harness.map().epoch();
    tell_dirty(&mut harness, 4, before, 100 << 20);
    harness.tick_for(1);
    assert_eq!((&status(&mut harness)["draining"], &status(&mut harness)["drain"]), (&false.into(), &().into()));

    let refused = set_mode(&mut harness, "none");
    assert_eq!(refused.errno, libc::EINVAL);
    let way_out = "while 400 MiB of pool 'cold' are dirty. The way out: set 'proxy', wait until `osd tier status cold` shows it drained, then 'none'";
    assert!(refused.message.ends_with(way_out), "{}", refused.message);
    let said = set_mode(&mut harness, "proxy");
    assert!(said.message.contains("note: 400 MiB are dirty and are flushed now"), "{}", said.message);

    for step in 0..=8 {
        let epoch = harness.map().epoch();
        tell_dirty(&mut harness, 4, epoch, (100 - 10 * step) << 20);
        harness.tick_for(1);
    }
    let shown = status(&mut harness);
    assert_eq!((&shown["draining"], &shown["drained"]), (&true.into(), &false.into()));
    let expected =
        serde_json::json!({ "dirty_bytes_left": 80 << 20, "percent": 80.0, "elapsed_s": 8, "remaining_s": 2 });
    assert_eq!(shown["drain"], expected);
    let event = &events(&mut harness)["drain cold"];
    assert_eq!(event["message"], "Pool 'cold' leaves its hot tier: 80 MiB dirty (8s)");
    assert_eq!((&event["progress"], &event["remaining_s"]), (&0.8.into(), &2.into()));
    assert_eq!(set_mode(&mut harness, "none").errno, libc::EINVAL);

    // By the map of before, a write could still have made something dirty.
    tell_dirty(&mut harness, 4, before, 0);
    harness.tick_for(1);
    let shown = status(&mut harness);
    assert_eq!((&shown["draining"], &shown["drained"]), (&false.into(), &false.into()));
    let epoch = harness.map().epoch();
    tell_dirty(&mut harness, 4, epoch, 0);
    harness.tick_for(1);
    let shown = status(&mut harness);
    assert_eq!((&shown["draining"], &shown["drained"], &shown["drain"]), (&false.into(), &true.into(), &().into()));
    assert_eq!(events(&mut harness), serde_json::json!({}));
    assert_eq!(set_mode(&mut harness, "none").errno, 0);
    assert_eq!(set_mode(&mut harness, "writeback").errno, 0);
    harness.tick_for(1);
    assert_eq!(status(&mut harness)["drained"], false);
}

#[test]
fn a_cache_pool_is_drained_by_what_it_caches() {
    let mut harness = tutorial();
    tier(&mut harness, add("cold", "hot"));
    let mode = |mode: &str| TierCommand::CacheMode { cache: "hot".into(), mode: mode.into() };
    assert_eq!(tier(&mut harness, mode("writeback")).errno, 0);
    tier(&mut harness, overlay("cold", "hot"));
    tell_dirty(&mut harness, 6, 1, 1 << 20);
    let refused = tier(&mut harness, mode("none")).message;
    let words = "allowed. 6 MiB are dirty; the way out: `osd tier cache-mode hot proxy`, wait until";
    assert!(refused.contains(words), "{refused}");
    assert_eq!(tier(&mut harness, mode("proxy")).errno, 0);
    harness.tick_for(1);
    for name in ["hot", "cold"] {
        let shown = harness.json(AdminCommand::TierStatus { pool: Some(name.into()) });
        assert_eq!(shown[0]["drain"]["dirty_bytes_left"], 6 << 20, "{shown}");
    }
}

#[test]
fn a_drain_that_stands_still_is_a_warning_that_says_why() {
    let mut harness = with_osds(&[Some(1 << 38); 4]);
    rule(&mut harness, "slow", "hdd");
    pool(&mut harness, "cold", "slow");
    tell_dirty(&mut harness, 4, 1, 1 << 20);
    assert_eq!(set_mode(&mut harness, "proxy").errno, 0);
    let warning = |harness: &mut Harness| {
        harness.json(AdminCommand::HealthDetail)["checks"]["CACHE_POOL_DRAIN_STALLED"]["detail"][0]["message"].clone()
    };
    let wait = |harness: &mut Harness, seconds: u64| {
        for _ in 0..seconds {
            let epoch = harness.map().epoch();
            tell_dirty(harness, 4, epoch, 1 << 20);
            harness.tick_for(1);
        }
    };
    wait(&mut harness, 50);
    assert!(warning(&mut harness).is_null());
    wait(&mut harness, 20);
    let said = warning(&mut harness);
    let words = "pool 'cold' leaves its hot tier, and its 4 MiB dirty have become no less for ";
    assert!(said.as_str().is_some_and(|said| said.starts_with(words)), "{said}");
    assert!(said.as_str().is_some_and(|said| said.ends_with("base devices of osd.0, osd.1, osd.2, osd.3")), "{said}");
    must(&mut harness, AdminCommand::OsdSetFlag { flag: "notieragent".into(), is_set: true });
    let said = warning(&mut harness);
    assert!(said.as_str().is_some_and(|said| said.contains("the flag notieragent is set")), "{said}");
    tell_dirty(&mut harness, 4, 1, 1 << 10);
    harness.tick_for(1);
    assert!(warning(&mut harness).is_null(), "it goes on");
}
