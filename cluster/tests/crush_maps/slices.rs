//! A device with a slice of a faster one in front of it counts in two classes, and weighs in each what it has there.

use basalt_cluster::crush::{CrushMap, Location, Mapper, Mode, Workspace, text};

const ONE: u32 = 0x10000;

/// Three hosts of two disks of 4 TiB; each has a slice but osd.5, and osd.6 is an SSD of its own on a fourth host.
fn map() -> CrushMap {
    let mut map = CrushMap::new_default();
    for id in 0..7 {
        let words = [format!("host=h{}", id / 2), "root=default".to_owned()];
        let place = Location::parse(&map, words.iter().map(String::as_str)).unwrap();
        map.create_or_move_device(id, 4 * ONE, &place).unwrap();
        map.set_device_class(id, if id == 6 { "ssd" } else { "hdd" }).unwrap();
    }
    let slices: Vec<_> = (0..5).map(|id| (id, Some(("ssd", ONE / 4 * (1 + id % 2))))).collect();
    assert_eq!(map.set_slices(&slices), Ok(true));
    map
}

fn chosen(map: &CrushMap, rule: u32, size: usize) -> Vec<Vec<i32>> {
    let mapper: Mapper = map.mapper();
    let (mut workspace, mut out) = (Workspace::new(), Vec::new());
    let mut all = Vec::new();
    for x in 0..4096 {
        mapper.do_rule(rule, x, size, &[ONE; 7], &mut workspace, &mut out);
        all.push(out.clone());
    }
    all
}

#[test]
fn a_rule_of_either_class_finds_the_device_by_what_it_has_there() {
    let mut map = map();
    let slow = map.create_replicated_rule("slow", "default", "host", Some("hdd"), Mode::Firstn).unwrap();
    let fast = map.create_replicated_rule("fast", "default", "osd", Some("ssd"), Mode::Firstn).unwrap();
    let weight = |name: &str| map.bucket(map.item_id(name).unwrap()).unwrap().weight();
    assert_eq!((weight("default"), weight("default~hdd")), (28 * ONE, 24 * ONE));
    assert_eq!(weight("default~ssd"), 4 * ONE + ONE / 4 * (1 + 2 + 1 + 2 + 1));
    for osds in chosen(&map, slow, 3) {
        assert!(osds.len() == 3 && osds.iter().all(|osd| (0..6).contains(osd)), "{osds:?}");
    }
    let mut counts = [0u32; 7];
    for osds in chosen(&map, fast, 1) {
        counts[osds[0] as usize] += 1;
    }
    assert_eq!(counts[5], 0, "it has no slice");
    assert!(counts[..5].iter().all(|count| (100..600).contains(count)), "{counts:?}");
    assert!((2500..3300).contains(&counts[6]), "4 of 5.75 TiB: {counts:?}");
}

#[test]
fn a_text_says_what_slices_there_are_and_reads_back() {
    let map = map();
    let shown = map.to_string();
    assert!(shown.contains("device 1 osd.1 class hdd slice ssd weight 0.500000\n"), "{shown}");
    assert!(shown.contains("device 5 osd.5 class hdd\n"), "{shown}");
    assert_eq!(text::compile(&shown).unwrap(), map);
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    assert_eq!(CrushMap::decode(&bytes).unwrap(), map);
    assert_eq!(map.dump()["devices"][1]["slice"], serde_json::json!({"class": "ssd", "weight": ONE / 2}));
    for wrong in ["slice", "slice ssd", "slice ssd weight", "slice ssd weight -1", "slice ssd weight 1e9"] {
        let text = shown.replace("slice ssd weight 0.500000", wrong);
        assert!(text::compile(&text).is_err(), "{wrong}");
    }
}

#[test]
fn a_map_whose_slices_are_gone_is_as_if_there_had_never_been_any() {
    let mut with = map();
    for id in 0..5 {
        assert_eq!(with.set_slices(&[(id, None), (99, None)]), Ok(true));
        assert_eq!(with.set_slices(&[(id, None)]), Ok(false));
    }
    let mut bytes = Vec::new();
    with.encode(&mut bytes);
    assert_eq!(bytes[8], 1, "older programs read it");
    assert!(!with.to_string().contains("slice"));
    assert_eq!(with.bucket(with.item_id("default~ssd").unwrap()).unwrap().weight(), 4 * ONE, "of osd.6 alone");
}

#[test]
fn a_device_that_is_drained_by_its_weight_is_drained_in_both_classes() {
    let mut map = map();
    let before = map.bucket(map.item_id("h0~ssd").unwrap()).unwrap().weight();
    map.reweight("osd.1", 0).unwrap();
    let after = map.bucket(map.item_id("h0~ssd").unwrap()).unwrap().weight();
    assert_eq!((before, after), (ONE / 4 * 3, ONE / 4));
}
