//! `osd crush …` and `osd setcrushmap`: edits in Ceph's words; what would lose data or leave a pool without a place is refused.

use super::harness::Harness;
use basalt_cluster::crush::{CrushMap, text};
use basalt_net::message::monitor::*;
use serde_json::json;

fn words(place: &str) -> Vec<String> {
    place.split_whitespace().map(str::to_owned).collect()
}

fn edit(harness: &mut Harness, change: CrushChange) -> CommandReply {
    edit_with(harness, change, ChangeMode::default())
}

fn edit_with(harness: &mut Harness, change: CrushChange, mode: ChangeMode) -> CommandReply {
    harness.command(AdminCommand::Change { change: MapChange::Crush(change), mode })
}

fn set_map(harness: &mut Harness, map: &[u8], sure: bool) -> CommandReply {
    let change = MapChange::CrushMap { map: map.to_vec() };
    harness.command(AdminCommand::Change { change, mode: ChangeMode { dry_run: false, sure } })
}

fn text_of(harness: &mut Harness) -> String {
    harness.command(AdminCommand::Crush(CrushQuestion::Map)).message
}

#[test]
fn edits_are_answered_in_the_words_of_ceph() {
    let mut harness = Harness::with_osds(4, 0);
    let name = |name: &str| name.to_owned();
    let h0 = harness.map().crush_map().item_id("h0").unwrap();
    let rack = |place: &str| CrushChange::AddBucket { name: name("r1"), type_name: name("rack"), place: words(place) };
    for (change, expected) in [
        (rack(""), "added bucket r1 type rack to crush map".to_owned()),
        (rack(""), "bucket 'r1' already exists".into()),
        (
            CrushChange::AddBucket { name: name("r2"), type_name: name("rack"), place: words("root=default") },
            "added bucket r2 type rack to location {root=default}".into(),
        ),
        (
            CrushChange::Move { name: name("h0"), place: words("root=default rack=r2") },
            format!("moved item id {h0} name 'h0' to location {{rack=r2,root=default}} in crush map"),
        ),
        (
            CrushChange::Move { name: name("h0"), place: words("rack=r2") },
            format!("no need to move item id {h0} name 'h0' to location {{rack=r2}} in crush map"),
        ),
        (
            CrushChange::Set { osd: 0, weight: 2.0, place: words("host=h0"), is_new: false },
            "set item id 0 name 'osd.0' weight 2 at location {host=h0} to crush map".into(),
        ),
        (
            CrushChange::Reweight { name: name("osd.1"), weight: 1.5 },
            "reweighted item id 1 name 'osd.1' to 1.5 in crush map".into(),
        ),
        (
            CrushChange::ReweightSubtree { name: name("h0"), weight: 1.0 },
            format!("reweighted subtree id {h0} name 'h0' to 1 in crush map"),
        ),
        (CrushChange::Rm { name: name("nosuch") }, "device 'nosuch' does not appear in the crush map".into()),
        (CrushChange::RenameBucket { from: name("r1"), to: name("r9") }, "renamed bucket r1 into r9".into()),
        (CrushChange::RmDeviceClass { osds: vec![0, 1] }, "done removing class of osd(s): 0,1".into()),
        (
            CrushChange::SetDeviceClass { class: name("nvme"), osds: vec![0, 1] },
            "set osd(s) 0,1 to class 'nvme'".into(),
        ),
        (CrushChange::Tunables { profile: name("hammer") }, "adjusted tunables profile to hammer".into()),
    ] {
        let reply = edit(&mut harness, change);
        assert_eq!((reply.errno, reply.message), (0, expected));
    }
    let r9 = harness.map().crush_map().item_id("r9").unwrap();
    let reply = edit(&mut harness, CrushChange::Rm { name: name("r9") });
    assert_eq!(reply.message, format!("removed item id {r9} name 'r9' from crush map"));
    let tree = harness.json(AdminCommand::OsdTree);
    let osd = tree["nodes"].as_array().unwrap().iter().find(|node| node["id"] == 0).unwrap().clone();
    assert_eq!((&osd["device_class"], &osd["crush_weight"], &osd["depth"]), (&json!("nvme"), &json!(1.0), &json!(3)));
}

#[test]
fn the_map_is_shown_by_its_parts() {
    let mut harness = Harness::with_osds(4, 0);
    let ask = |harness: &mut Harness, question| harness.json(AdminCommand::Crush(question));
    assert_eq!(ask(&mut harness, CrushQuestion::RuleLs), json!(["replicated_rule"]));
    let rule = ask(&mut harness, CrushQuestion::RuleDump { name: Some("replicated_rule".into()) });
    assert_eq!((&rule["rule_id"], &rule["steps"][0]["op"]), (&json!(0), &json!("take")));
    assert_eq!(ask(&mut harness, CrushQuestion::RuleDump { name: None })[0], rule);
    assert_eq!(ask(&mut harness, CrushQuestion::ClassLs), json!(["hdd"]));
    assert_eq!(ask(&mut harness, CrushQuestion::ClassLsOsd { class: "hdd".into() }), json!([0, 1, 2, 3]));
    assert_eq!(ask(&mut harness, CrushQuestion::ClassLsOsd { class: "gold".into() }), json!([]));
    assert_eq!(ask(&mut harness, CrushQuestion::Ls { bucket: "h1".into() }), json!(["osd.2", "osd.3"]));
    assert_eq!(ask(&mut harness, CrushQuestion::Tunables)["profile"], "jewel");
    assert_eq!(ask(&mut harness, CrushQuestion::Dump)["devices"].as_array().unwrap().len(), 4);
    let plain = ask(&mut harness, CrushQuestion::Tree { shadows: false })["nodes"].as_array().unwrap().len();
    let shadows = ask(&mut harness, CrushQuestion::Tree { shadows: true })["nodes"].as_array().unwrap().len();
    assert_eq!((plain, shadows), (7, 14));
    for question in [CrushQuestion::Ls { bucket: "h9".into() }, CrushQuestion::RuleDump { name: Some("x".into()) }] {
        assert_eq!(harness.command(AdminCommand::Crush(question)).errno, libc::ENOENT);
    }
    let df = harness.json(AdminCommand::OsdDfTree);
    let root = &df["nodes"][0];
    assert_eq!((&root["type"], &root["kb"]), (&json!("root"), &json!(4u64 << 30)));
    assert_eq!(harness.json(AdminCommand::OsdDf)["nodes"].as_array().unwrap().len(), 4);
}

#[test]
fn wrong_edits_are_refused_with_ceph_s_errno_and_a_reason() {
    let mut harness = Harness::with_osds(4, 0);
    harness.create_pool("data", 8, 2);
    let before = harness.map().clone();
    let name = |name: &str| name.to_owned();
    for (change, errno, words) in [
        (
            CrushChange::AddBucket { name: name("x"), type_name: name("shelf"), place: vec![] },
            libc::EINVAL,
            "there is no type of buckets 'shelf'",
        ),
        (CrushChange::Move { name: name("h9"), place: words("root=default") }, libc::ENOENT, "item 'h9' does not"),
        (CrushChange::Move { name: name("h0"), place: words("default") }, libc::EINVAL, "'default' is no place"),
        (
            CrushChange::Set { osd: 9, weight: 1.0, place: words("host=h0"), is_new: true },
            libc::ENOENT,
            "osd.9 does not exist",
        ),
        (CrushChange::Reweight { name: name("osd.0"), weight: -1.0 }, libc::EINVAL, "a weight of -1 is not within"),
        (CrushChange::Rm { name: name("h0") }, libc::ENOTEMPTY, "bucket 'h0' is not empty"),
        (CrushChange::SetDeviceClass { class: name("ssd"), osds: vec![0] }, libc::EBUSY, "osd.0 has already bound"),
        (CrushChange::Tunables { profile: name("best") }, libc::EINVAL, "there are no tunables of the profile 'best'"),
        (
            CrushChange::RuleCreateReplicated {
                name: name("r"),
                root: name("default"),
                failure_domain: name("host"),
                class: Some(name("gold")),
            },
            libc::ENOENT,
            "device class 'gold' does not exist",
        ),
        (
            CrushChange::RuleCreateSimple {
                name: name("r"),
                root: name("default"),
                failure_domain: name("host"),
                mode: name("any"),
            },
            libc::EINVAL,
            "'any' is no mode of a rule",
        ),
        (
            CrushChange::RuleRm { name: name("replicated_rule") },
            libc::EBUSY,
            "crush rule 'replicated_rule' (0) is in use",
        ),
    ] {
        let reply = edit(&mut harness, change);
        assert_eq!(reply.errno, errno, "{}", reply.message);
        assert!(reply.message.starts_with(words), "{}", reply.message);
    }
    assert_eq!(harness.map(), &before);
    let reply = edit(&mut harness, CrushChange::RuleRm { name: name("nosuch") });
    assert_eq!((reply.errno, reply.message.as_str()), (0, "rule nosuch does not exist"));
}

#[test]
fn a_change_that_leaves_too_few_places_needs_to_be_meant() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    let away = || CrushChange::Move { name: "h2".into(), place: words("root=elsewhere") };
    let dry = edit_with(&mut harness, away(), ChangeMode { dry_run: true, sure: false });
    assert!(
        dry.errno == 0 && dry.message.contains("needs --yes-i-really-mean-it: the rule of pool 'data'"),
        "{}",
        dry.message
    );
    let reply = edit(&mut harness, away());
    assert_eq!(reply.errno, libc::EPERM);
    assert_eq!(
        reply.message,
        "the rule of pool 'data' would find only 2 OSDs for some of its pgs, and its size is 3 (8 pgs): pass --yes-i-really-mean-it to do it all the same, or --dry-run to see what would move"
    );
    let reply = edit_with(&mut harness, away(), ChangeMode { dry_run: false, sure: true });
    assert_eq!(reply.errno, 0, "{}", reply.message);
}

#[test]
fn a_map_goes_out_as_text_and_comes_in_again_in_either_form() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    let epoch = harness.map().epoch();
    let shown = text_of(&mut harness);
    assert_eq!(set_map(&mut harness, shown.as_bytes(), false).errno, 0);
    assert_eq!(harness.map().epoch(), epoch, "the same map is no change");
    // The operator gives osd.5 half its weight.
    let mut changed = text::compile(&shown).unwrap();
    changed.reweight("osd.5", 0x8000).unwrap();
    let reply = set_map(&mut harness, changed.to_string().as_bytes(), false);
    assert_eq!((reply.errno, reply.message.as_str()), (0, "set crush map"));
    changed.reweight("osd.5", 0x4000).unwrap();
    let mut encoded = Vec::new();
    changed.encode(&mut encoded);
    assert_eq!(set_map(&mut harness, &encoded, false).errno, 0);
    assert_eq!(harness.map().crush_map(), changed);
}

#[test]
fn a_map_that_is_wrong_loses_data_or_leaves_a_pool_without_a_place_is_refused_however_it_is_meant() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    let before = harness.map().clone();
    let good = text_of(&mut harness);
    let empty = CrushMap::new_default().to_string();
    let no_rules = good.split("# rules").next().unwrap().to_owned();
    let emptied = {
        let mut map = text::compile(&good).unwrap();
        for osd in 0..6 {
            map.reweight(&format!("osd.{osd}"), 0).unwrap();
        }
        map.to_string()
    };
    for (bytes, words) in [
        (b"\xff\xfe".to_vec(), "neither a crush map in text"),
        (b"device 0 osd.0\nhost h0 {".to_vec(), ""),
        (empty.into_bytes(), "that would lose data"),
        (no_rules.into_bytes(), "is in use by pool 'data'"),
        (emptied.into_bytes(), "pool 'data' would be left without a place"),
    ] {
        for sure in [false, true] {
            let reply = set_map(&mut harness, &bytes, sure);
            assert!(reply.errno != 0 && reply.message.contains(words), "{} does not say: {words}", reply.message);
            assert_eq!(reply.message.lines().count(), 1, "{}", reply.message);
        }
    }
    assert_eq!(harness.map(), &before);
}
