use crate::random_map::{Random, random_map};
use basalt_cluster::crush::{CrushMap, EditError, Location, Mode, Problem, RuleKind, text};
use proptest::prelude::*;

const ONE: u32 = 0x10000;

fn at(map: &CrushMap, words: &str) -> Location {
    Location::parse(map, words.split_whitespace()).unwrap()
}

/// Two racks of two hosts of two OSDs each, the last OSD of each host an SSD.
fn small_cluster() -> CrushMap {
    let mut map = CrushMap::new_default();
    for id in 0..8 {
        let place = at(&map, &format!("host=h{} rack=r{} root=default", id / 2, id / 4));
        assert_eq!(map.create_or_move_device(id, ONE, &place), Ok(true));
        map.set_device_class(id, if id % 2 == 0 { "hdd" } else { "ssd" }).unwrap();
    }
    map
}

fn weight_of(map: &CrushMap, name: &str) -> u32 {
    map.bucket(map.item_id(name).unwrap()).unwrap().weight()
}

fn shown(map: &CrushMap, shadows: bool) -> Vec<String> {
    let line = |line: basalt_cluster::crush::TreeLine<'_>| {
        format!(
            "{} {}{} {} {}",
            line.id,
            "  ".repeat(line.depth as usize),
            line.type_name,
            line.name,
            f64::from(line.weight) / 65536.0
        )
    };
    map.tree(shadows).map(line).collect()
}

#[test]
fn the_default_map_is_that_of_a_new_cluster() {
    let map = CrushMap::new_default();
    assert_eq!(map.check(), Ok(()));
    assert_eq!(map.type_id("root"), Some(11));
    assert_eq!(map.item_id("default"), Some(-1));
    assert_eq!(map.rule_id("replicated_rule"), Some(0));
    assert_eq!(text::compile(&map.to_string()).unwrap(), map);
}

#[test]
fn weights_are_carried_up_to_the_root() {
    let mut map = small_cluster();
    assert_eq!((weight_of(&map, "default"), weight_of(&map, "r0"), weight_of(&map, "h3")), (8 * ONE, 4 * ONE, 2 * ONE));
    map.reweight("osd.7", 5 * ONE).unwrap();
    assert_eq!(
        (weight_of(&map, "default"), weight_of(&map, "r1"), weight_of(&map, "h3")),
        (12 * ONE, 8 * ONE, 6 * ONE)
    );
    assert_eq!((weight_of(&map, "default~ssd"), weight_of(&map, "default~hdd")), (8 * ONE, 4 * ONE));
    assert_eq!(map.reweight_subtree("r1", 2 * ONE), Ok(4));
    assert_eq!(weight_of(&map, "default"), 12 * ONE);
    assert_eq!(map.validate(), []);
}

#[test]
fn the_tree_is_in_the_order_in_which_ceph_shows_it() {
    let mut map = small_cluster();
    map.add_bucket("lonely", "rack").unwrap();
    map.move_item("h1", &at(&map, "rack=r1")).unwrap();
    let lines = shown(&map, false);
    assert_eq!(lines[0], format!("{} rack lonely 0", map.item_id("lonely").unwrap()));
    let names: Vec<&str> = lines[1..].iter().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    let expected =
        "default r0 h0 osd.0 osd.1 r1 h1 osd.2 osd.3 h2 osd.4 osd.5 h3 osd.6 osd.7".split(' ').collect::<Vec<_>>();
    assert_eq!(names, expected);
    assert_eq!(lines[1], "-1 root default 8");
    assert!(shown(&map, true).iter().any(|line| line.contains("root default~ssd 4")));
    let root = map.tree(false).find(|line| line.name == "default").unwrap();
    assert_eq!(root.children, [map.item_id("r1").unwrap(), map.item_id("r0").unwrap()]);
}

#[test]
fn moving_an_item_takes_its_weight_along_and_makes_what_is_missing() {
    let mut map = small_cluster();
    assert_eq!(map.move_item("h0", &at(&map, "root=default rack=r9 row=w")), Ok(true));
    assert_eq!(map.move_item("h0", &at(&map, "rack=r9")), Ok(false));
    assert_eq!((weight_of(&map, "r9"), weight_of(&map, "w"), weight_of(&map, "r0")), (2 * ONE, 2 * ONE, 2 * ONE));
    assert_eq!(weight_of(&map, "default"), 8 * ONE);
    assert_eq!(map.move_item("osd.0", &at(&map, "host=h3")), Ok(true));
    assert_eq!((weight_of(&map, "h0"), weight_of(&map, "h3")), (ONE, 3 * ONE));
    // A daemon that starts elsewhere keeps its weight; one that is told a weight takes it.
    assert_eq!(map.create_or_move_device(0, 9 * ONE, &at(&map, "host=h2")), Ok(true));
    assert_eq!((weight_of(&map, "h2"), weight_of(&map, "h3")), (3 * ONE, 2 * ONE));
    assert_eq!(map.create_or_move_device(0, 9 * ONE, &at(&map, "host=h2 root=default")), Ok(false));
    assert_eq!(map.set_device(0, 9 * ONE, &at(&map, "host=h2 root=default")), Ok(true));
    assert_eq!(weight_of(&map, "h2"), 11 * ONE);
    assert_eq!(map.device_class(0), Some("hdd"));
}

#[test]
fn shadows_keep_their_ids_through_changes() {
    let mut map = small_cluster();
    let shadow = map.item_id("default~ssd").unwrap();
    let rule = map.create_replicated_rule("fast", "default", "host", Some("ssd"), Mode::Firstn).unwrap();
    map.move_item("h0", &at(&map, "rack=r1")).unwrap();
    map.rename_bucket("h0", "renamed").unwrap();
    map.rename_class("ssd", "flash").unwrap();
    assert_eq!(map.item_id("default~flash"), Some(shadow));
    assert!(map.to_string().contains("step take default class flash"), "{map}");
    for id in [1, 3, 5, 7] {
        assert_eq!(map.remove_device_class(id), Ok(true));
    }
    // The rule still takes it, so it stays, empty.
    assert_eq!(map.item_id("default~flash"), Some(shadow));
    assert_eq!(weight_of(&map, "default~flash"), 0);
    let problems = map.rule_problems(rule);
    assert!(matches!(&problems[..], [Problem::RuleTakesNoDevices { .. }, ..]), "{problems:?}");
    map.remove_rule("fast").unwrap();
    assert_eq!(map.item_id("default~flash"), None);
    assert_eq!(map.class_id("flash"), None);
}

#[test]
fn rules_are_made_as_ceph_makes_them() {
    let mut map = small_cluster();
    assert_eq!(map.create_replicated_rule("r1", "default", "rack", None, Mode::Firstn), Ok(1));
    assert_eq!(map.create_rule("ec", "default", "osd", Some("hdd"), Mode::Indep, RuleKind::Erasure), Ok(2));
    let text = map.to_string();
    assert!(text.contains("rule r1 {\n\tid 1\n\ttype replicated\n\tmin_size 1\n\tmax_size 10\n\tstep take default\n\tstep chooseleaf firstn 0 type rack\n\tstep emit\n}"));
    assert!(text.contains("rule ec {\n\tid 2\n\ttype erasure\n\tmin_size 3\n\tmax_size 20\n\tstep set_chooseleaf_tries 5\n\tstep set_choose_tries 100\n\tstep take default class hdd\n\tstep choose indep 0 type osd\n\tstep emit\n}"));
    map.rename_rule("ec", "ec2").unwrap();
    let dump = map.dump();
    assert_eq!(dump["rules"][2]["rule_name"], "ec2");
    assert_eq!(dump["rules"][1]["steps"][1], serde_json::json!({"op": "chooseleaf_firstn", "num": 0, "type": "rack"}));
    assert_eq!(dump["rules"][2]["steps"][2]["item_name"], "default~hdd");
    assert_eq!(
        dump["buckets"][0]["items"][0],
        serde_json::json!({"id": map.item_id("r0"), "weight": 4 * ONE, "pos": 0})
    );
    assert_eq!(dump["devices"][0], serde_json::json!({"id": 0, "name": "osd.0", "class": "hdd"}));
    assert_eq!(dump["tunables"]["profile"], "jewel");
    assert_eq!(dump["choose_args"], serde_json::json!({}));
    map.remove_rule("r1").unwrap();
    assert_eq!(map.create_replicated_rule("again", "r0", "host", None, Mode::Firstn), Ok(1));
}

#[test]
fn what_can_not_be_done_is_refused_in_words_and_changes_nothing() {
    let mut map = small_cluster();
    map.create_replicated_rule("racks", "r0", "host", Some("ssd"), Mode::Firstn).unwrap();
    map.add_bucket("empty", "host").unwrap();
    let before = map.clone();
    let refusals = [
        (
            map.remove("h0").unwrap_err(),
            "bucket 'h0' is not empty: it has 2 items, 'osd.0' among them",
            libc::ENOTEMPTY,
        ),
        (map.remove("nothing").unwrap_err(), "item 'nothing' does not exist", libc::ENOENT),
        (map.remove("r0~ssd").unwrap_err(), "'r0~ssd' is the shadow of a bucket", libc::EINVAL),
        (map.add_bucket("h0", "host").unwrap_err(), "bucket 'h0' already exists", libc::EEXIST),
        (map.add_bucket("a b", "host").unwrap_err(), "'a b' can't be a name", libc::EINVAL),
        (
            map.add_bucket("x", "shelf").unwrap_err(),
            "there is no type of buckets 'shelf': there are host, chassis",
            libc::EINVAL,
        ),
        (map.add_bucket("x", "osd").unwrap_err(), "there is no type of buckets 'osd'", libc::EINVAL),
        (map.move_item("r0", &at(&map, "host=empty")).unwrap_err(), "a host can't hold a rack", libc::EINVAL),
        (
            map.move_item("h0", &at(&map, "rack=empty")).unwrap_err(),
            "'empty' is a host, and the place says that it is a rack",
            libc::EINVAL,
        ),
        (map.move_item("default", &at(&map, "rack=r0")).unwrap_err(), "a rack can't hold a root", libc::EINVAL),
        (map.reweight("h0", ONE).unwrap_err(), "'h0' is a bucket, and this is done to devices only", libc::EINVAL),
        (map.reweight("osd.0", u32::MAX).unwrap_err(), "is not within 0 and 100", libc::EINVAL),
        (
            map.rename_bucket("osd.0", "x").unwrap_err(),
            "'osd.0' is a device, and this is done to buckets only",
            libc::ENOTDIR,
        ),
        (map.rename_bucket("h0", "h1").unwrap_err(), "'h1' is already the name of item", libc::EEXIST),
        (
            map.set_device_class(0, "ssd").unwrap_err(),
            "osd.0 has already bound to class 'hdd', can not reset class to 'ssd'",
            libc::EBUSY,
        ),
        (map.set_device_class(99, "ssd").unwrap_err(), "item 'osd.99' does not exist", libc::ENOENT),
        (
            map.create_replicated_rule("racks", "default", "host", None, Mode::Firstn).unwrap_err(),
            "rule 'racks' already exists",
            libc::EEXIST,
        ),
        (
            map.create_replicated_rule("x", "nowhere", "host", None, Mode::Firstn).unwrap_err(),
            "item 'nowhere' does not exist",
            libc::ENOENT,
        ),
        (
            map.create_replicated_rule("x", "default", "host", Some("tape"), Mode::Firstn).unwrap_err(),
            "device class 'tape' does not exist: there are hdd, ssd",
            libc::ENOENT,
        ),
        (map.remove_rule("x").unwrap_err(), "rule 'x' does not exist: there are replicated_rule, racks", libc::ENOENT),
        (
            map.set_tunables_profile("best").unwrap_err(),
            "no tunables of the profile 'best': there are legacy, argonaut",
            libc::EINVAL,
        ),
        (map.set_tunable("choose_total_tries", 1 << 20).unwrap_err(), "10000 is the most", libc::EINVAL),
        (Location::parse(&map, ["default"]).unwrap_err(), "'default' is no place", libc::EINVAL),
        (Location::parse(&map, ["host=a", "host=b"]).unwrap_err(), "two buckets of type host", libc::EINVAL),
        (Location::parse(&map, []).unwrap_err(), "no place is given", libc::EINVAL),
    ];
    for (error, expected, errno) in refusals {
        assert!(error.to_string().contains(expected), "{error}\n{expected}");
        assert_eq!(error.errno(), errno, "{error}");
    }
    assert_eq!(map, before);
    for osd in ["osd.0", "osd.1", "osd.2", "osd.3"] {
        map.remove(osd).unwrap();
    }
    map.remove("h0").unwrap();
    map.remove("h1").unwrap();
    let error = map.remove("r0").unwrap_err();
    assert_eq!(error, EditError::InUse { name: "r0".into(), rules: "'racks'".into() });
    map.remove_rule("racks").unwrap();
    map.remove("r0").unwrap();
    assert_eq!(map.check(), Ok(()));
}

#[test]
fn odd_maps_are_told_what_is_odd_about_them() {
    let text = "device 0 osd.0\ndevice 1 osd.1\ntype 0 osd\ntype 1 host\ntype 2 rack\ntype 10 root\n\
        host h {\n alg straw2\n item osd.0 weight 1\n}\nroot r {\n alg straw2\n item h weight 2\n}\nroot e {\n alg straw2\n}\n\
        rule a {\n id 0\n type replicated\n min_size 1\n max_size 2\n step choose firstn 0 type host\n}\n\
        rule b {\n id 1\n type replicated\n min_size 1\n max_size 2\n step take r\n step chooseleaf firstn 0 type rack\n step emit\n}\n\
        rule c {\n id 2\n type replicated\n min_size 1\n max_size 2\n step take e\n step emit\n}\n";
    let mut map = text::compile(text).unwrap();
    let problems: Vec<String> = map.validate().iter().map(Problem::to_string).collect();
    assert_eq!(
        problems,
        [
            "bucket 'h' weighs 2.000 in 'r', and what is in it weighs 1.000",
            "rule 'a' chooses before it takes anything: begin with 'step take'",
            "rule 'a' emits nothing: end it with 'step emit'",
            "rule 'b' looks for items of type rack in 'r', where there are none",
            "rule 'c' takes 'e', where there are no devices with a weight",
            "device 'osd.1' is in no bucket, so nothing goes there",
        ]
    );
    map.reweight_all().unwrap();
    assert_eq!(map.validate().len(), 5);
    assert_eq!(weight_of(&map, "r"), ONE);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_map_fits_together_after_every_edit(seed in any::<u64>()) {
        let Ok(mut map) = text::compile(&random_map(seed).0) else { return Ok(()) };
        let mut random = Random(seed ^ 2);
        let names = ["osd.0", "osd.3", "host0", "host1", "rack0", "row0", "root0", "new0", "new1"];
        for _ in 0..40 {
            let (name, other) = (random.pick(&names), random.pick(&names));
            let kind = random.pick(&["host", "rack", "row", "root"]);
            let weight = random.below(3) as u32 * ONE / 2;
            let id = random.below(12) as u32;
            let place = Location::parse(&map, [format!("{kind}={other}").as_str()]);
            let before = map.clone();
            let outcome = match random.below(12) {
                0 => map.add_bucket(name, kind).map(drop),
                1..=2 => place.and_then(|place| map.move_item(name, &place)).map(drop),
                3 => place.and_then(|place| map.set_device(id, weight, &place)).map(drop),
                4 => place.and_then(|place| map.create_or_move_device(id, weight, &place)).map(drop),
                5 => map.reweight(name, weight),
                6 => map.remove(name),
                7 => map.rename_bucket(name, other),
                8 => map.set_device_class(id, random.pick(&["hdd", "ssd", "tape"])).map(drop),
                9 => map.remove_device_class(id).map(drop),
                10 => map.create_replicated_rule("made", name, kind, random.pick(&[None, Some("hdd")]), Mode::Firstn).map(drop),
                _ => map.remove_rule(random.pick(&["made", "r0", "r1"])),
            };
            prop_assert_eq!(map.check(), Ok(()));
            if let Err(error) = outcome {
                prop_assert_eq!(&map, &before, "{}", error);
            }
            let mut bytes = Vec::new();
            map.encode(&mut bytes);
            prop_assert_eq!(CrushMap::decode(&bytes).unwrap(), map.clone());
            // Read again, classes are numbered by the devices' order, so shadows may be listed in another one; from then on they stay.
            let read = text::compile(&map.to_string()).unwrap_or_else(|error| panic!("{error}\n{map}"));
            prop_assert_eq!(text::compile(&read.to_string()).unwrap().to_string(), read.to_string());
        }
        let before = map.clone();
        match map.reweight_all() {
            Ok(()) => {
                let differs = |problem: &Problem| matches!(problem, Problem::WeightDiffers { .. });
                prop_assert!(!map.validate().iter().any(differs));
            }
            // In a uniform bucket a device weighs what the bucket beside it does, and that may be more than a device can.
            Err(error) => prop_assert_eq!(map, before, "{}", error),
        }
    }
}
