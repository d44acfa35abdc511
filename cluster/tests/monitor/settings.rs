//! `config set|get|dump`, and the placement variables of pools.

use super::harness::Harness;
use basalt_net::message::monitor::*;
use serde_json::json;

fn set(harness: &mut Harness, name: &str, value: &str) -> CommandReply {
    harness.command(AdminCommand::ConfigSet { who: "global".into(), name: name.into(), value: value.into() })
}

fn get(who: &str, name: Option<&str>) -> AdminCommand {
    AdminCommand::ConfigGet { who: who.into(), name: name.map(str::to_owned) }
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
        assert_eq!(harness.json(get("global", Some(name)))[name], shown);
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
    assert_eq!(harness.command(get("global", Some("nosuch"))).errno, libc::ENOENT);
    assert_eq!(harness.map(), &before);
}

#[test]
fn the_nearest_of_what_is_set_for_daemons_counts_and_each_says_whose_it_is() {
    let mut harness = Harness::with_osds(2, 0);
    let name = "osd_memory_target";
    let mut must = |command: AdminCommand| {
        let reply = harness.command(command);
        assert_eq!(reply.errno, 0, "{}", reply.message);
        reply.message
    };
    let set = |who: &str, name: &str, value: &str| AdminCommand::ConfigSet {
        who: who.into(),
        name: name.into(),
        value: value.into(),
    };
    assert_eq!(must(set("global", name, "2G")), "set osd_memory_target of global to 2147483648");
    must(set("osd", name, "3G"));
    must(set("osd.1", name, "5G"));
    let said = must(set("osd", "osd_busy_poll_us", "50"));
    assert_eq!(said, "set osd_busy_poll_us of osd to 50; daemons read it when they start");
    for (who, value) in
        [("global", "2147483648"), ("osd", "3221225472"), ("osd.0", "3221225472"), ("osd.1", "5368709120")]
    {
        assert_eq!(must(get(who, Some(name))), value, "{who}");
    }
    let all = harness.json(get("osd.1", None));
    let of = |name: &str| all.as_array().unwrap().iter().find(|option| option["name"] == name).unwrap().clone();
    assert_eq!((of(name)["source"].clone(), of("osd_busy_poll_us")["source"].clone()), (json!("osd.1"), json!("osd")));
    assert_eq!(
        of("osd_op_complaint_time"),
        json!({ "name": "osd_op_complaint_time", "value": 1, "source": "default" })
    );
    let dump = harness.json(AdminCommand::ConfigDump);
    assert_eq!(dump.as_array().unwrap().len(), 8 + 4);
    let rm = AdminCommand::ConfigRm { who: "osd.1".into(), name: name.into() };
    assert_eq!(harness.command(rm).message, "osd_memory_target of osd.1 is no longer set");
    assert_eq!(harness.map().option(1, name).map(|(who, _)| who.to_string()), Some("osd".into()));
    let rm = AdminCommand::ConfigRm { who: "global".into(), name: "osd_max_backfills".into() };
    assert_eq!(harness.command(rm).message, "osd_max_backfills is 2 again, its default");
}

#[test]
fn options_are_refused_where_they_have_no_meaning_or_are_out_of_range() {
    let mut harness = Harness::with_osds(1, 0);
    let before = harness.map().clone();
    for (who, name, value, words) in [
        ("client", "osd_memory_target", "2G", "'client' has no options: global, mon, osd and osd.N have"),
        ("osd.x", "osd_memory_target", "2G", "'osd.x' has no options"),
        ("mon", "osd_memory_target", "2G", "osd_memory_target is an option of OSDs"),
        ("osd.0", "osd_busy_poll_us", "5", "osd_busy_poll_us is one for all OSDs of a host"),
        ("osd.0", "osd_max_backfills", "5", "osd_max_backfills is the whole cluster's"),
        ("osd", "osd_memory_target", "1M", "osd_memory_target 1048576 is not within 67108864 and"),
        ("osd", "osd_scrub_bytes_per_second", "1k", "osd_scrub_bytes_per_second 1024 is not within 65536 and"),
        ("osd", "osd_op_complaint_time", "1ms", "osd_op_complaint_time 0.001 is not within 0.01 and"),
        ("osd", "osd_busy_poll_us", "10001", "osd_busy_poll_us 10001 is not within 0 and 10000"),
        ("osd", "osd_busy_poll_us", "5s", "error parsing value '5s' of osd_busy_poll_us"),
    ] {
        let command = AdminCommand::ConfigSet { who: who.into(), name: name.into(), value: value.into() };
        let reply = harness.command(command);
        assert_eq!(reply.errno, libc::EINVAL, "{who} {name} {value}: {}", reply.message);
        assert!(reply.message.starts_with(words), "{}", reply.message);
    }
    assert_eq!(harness.map(), &before);
    let command =
        AdminCommand::ConfigSet { who: "osd".into(), name: "osd_scrub_bytes_per_second".into(), value: "0".into() };
    assert_eq!(harness.command(command).errno, 0, "0 stands for the default pace");
}

#[test]
fn help_tells_type_range_and_when_an_option_applies() {
    let mut harness = Harness::with_osds(1, 0);
    let help = |name: Option<&str>| AdminCommand::ConfigHelp { name: name.map(str::to_owned) };
    let text = harness.command(help(Some("osd_busy_poll_us"))).message;
    assert_eq!(
        text,
        "osd_busy_poll_us - How long a core looks for work before it sleeps.\n  (uint, microseconds) default: 0, least: 0, most: 10000, \
         0: it sleeps at once\n  applies after a restart of the host's daemon, unless the host's file gives it"
    );
    let all = harness.json(help(None));
    assert_eq!(all.as_array().unwrap().len(), 14);
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .all(|option| option["min"].as_f64() <= option["default"].as_f64() || !option["zero"].is_null())
    );
    assert_eq!(harness.command(help(Some("nosuch"))).errno, libc::ENOENT);
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
