//! `config set|get|dump`, and the placement variables of pools.

use super::harness::Harness;
use basalt_net::message::monitor::*;
use serde_json::json;

fn set(harness: &mut Harness, name: &str, value: &str) -> CommandReply {
    harness.command(AdminCommand::ConfigSet { name: name.into(), value: value.into() })
}

#[test]
fn settings_take_units_and_are_in_the_next_map() {
    let mut harness = Harness::with_osds(1, 0);
    for (name, value, shown) in [
        ("mon_osd_down_out_interval", "20m", json!(1200)),
        ("osd_heartbeat_grace", "2500ms", json!(2.5)),
        ("osd_max_backfills", "7", json!(7)),
        ("osd_recovery_bytes_per_second", "64M", json!(64 << 20)),
        ("osd_recovery_client_slowdown_max", "1.5", json!(1.5)),
    ] {
        let reply = set(&mut harness, name, value);
        assert_eq!((reply.errno, reply.message), (0, format!("set {name} to {shown}")));
        assert_eq!(harness.json(AdminCommand::ConfigGet { name: name.into() })[name], shown);
    }
    assert_eq!(harness.map().settings.mon_osd_down_out_interval_ms, 1_200_000);
    let epoch = harness.map().epoch();
    set(&mut harness, "osd_max_backfills", "7");
    assert_eq!(harness.map().epoch(), epoch, "what is so already makes no map");
    let dump = harness.json(AdminCommand::ConfigDump);
    let names: Vec<&str> = dump.as_array().unwrap().iter().map(|option| option["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 8);
    assert!(names.is_sorted());
}

#[test]
fn settings_that_make_no_sense_are_refused_with_the_reason() {
    let mut harness = Harness::with_osds(1, 0);
    let before = harness.map().clone();
    for (name, value, errno, words) in [
        ("nosuch", "1", libc::ENOENT, "unrecognized config option 'nosuch': there are mon_osd_down_out_interval"),
        ("osd_max_backfills", "many", libc::EINVAL, "error parsing value 'many' of osd_max_backfills"),
        ("osd_max_backfills", "0", libc::EINVAL, "osd_max_backfills 0 is not within 1 and 1000"),
        ("osd_heartbeat_grace", "1s", libc::EINVAL, "osd_heartbeat_grace 1000 ms is less than three times"),
        ("osd_heartbeat_grace", "soon", libc::EINVAL, "error parsing value 'soon'"),
        ("osd_recovery_client_slowdown_max", "NaN", libc::EINVAL, "error parsing value 'NaN'"),
        ("osd_recovery_client_slowdown_max", "0.5", libc::EINVAL, "osd_recovery_client_slowdown_max 0.5 is not"),
        ("osd_recovery_bytes_per_second", "1Q", libc::EINVAL, "error parsing value '1Q'"),
    ] {
        let reply = set(&mut harness, name, value);
        assert_eq!(reply.errno, errno, "{name} {value}: {}", reply.message);
        assert!(reply.message.starts_with(words), "{}", reply.message);
    }
    assert_eq!(harness.command(AdminCommand::ConfigGet { name: "nosuch".into() }).errno, libc::ENOENT);
    assert_eq!(harness.map(), &before);
}

#[test]
fn a_pool_changes_its_rule_its_size_and_its_placement_groups_placement() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    let rule = CrushChange::RuleCreateReplicated {
        name: "by_osd".into(),
        root: "default".into(),
        failure_domain: "osd".into(),
        class: None,
    };
    let change = |change, dry_run, sure| AdminCommand::Change { change, mode: ChangeMode { dry_run, sure } };
    assert_eq!(harness.command(change(MapChange::Crush(rule), false, false)).errno, 0);
    let pool_set = |variable: &str, value: &str| MapChange::PoolSet {
        name: "data".into(),
        variable: variable.into(),
        value: value.into(),
    };
    let tried = harness.json(change(pool_set("crush_rule", "by_osd"), true, false));
    assert!(tried["pgs_moved"].as_u64().unwrap() > 0);
    assert_eq!(harness.map().pools[0].crush_rule, 0);
    let reply = harness.command(change(pool_set("crush_rule", "by_osd"), false, false));
    assert_eq!((reply.errno, reply.message.as_str()), (0, "set pool 1 crush_rule to by_osd"));
    assert_eq!(harness.map().pools[0].crush_rule, 1);
    let get = AdminCommand::PoolGet { name: "data".into(), variable: "crush_rule".into() };
    assert_eq!(harness.command(get).message, "crush_rule: by_osd");
    // By OSDs there are places for five copies, by hosts for three.
    assert_eq!(harness.command(change(pool_set("size", "5"), false, false)).errno, 0);
    let reply = harness.command(change(pool_set("crush_rule", "replicated_rule"), false, false));
    assert_eq!(reply.errno, libc::EPERM);
    assert!(reply.message.starts_with("the rule of pool 'data' would find only 3 OSDs"), "{}", reply.message);
    assert_eq!(harness.command(change(pool_set("crush_rule", "replicated_rule"), false, true)).errno, 0);
    assert_eq!(harness.command(change(pool_set("pgp_num", "4"), false, true)).errno, 0);
    assert_eq!(harness.map().pools[0].pgp_num, 4);
    let reply = harness.command(change(pool_set("pgp_num", "9"), false, false));
    assert_eq!(reply.message, "pgp_num must be between 1 and pg_num, which is set to 8");
    let create = |rule: &str| AdminCommand::PoolCreate {
        name: "new".into(),
        pg_num: Some(4),
        rule: Some(rule.into()),
        size: Some(2),
    };
    let reply = harness.command(create("nosuch"));
    assert_eq!(
        (reply.errno, reply.message.as_str()),
        (libc::ENOENT, "crush rule nosuch does not exist: there are replicated_rule, by_osd")
    );
    assert_eq!(harness.command(create("by_osd")).errno, 0);
    assert_eq!(harness.map().pool_by_name("new").unwrap().crush_rule, 1);
}
