use crate::plain_mapper::Plain;
use crate::random_map::{Random, random_map};
use basalt_cluster::crush::{CrushMap, ITEM_NONE, Workspace, text};
use proptest::prelude::*;

fn map_of(seed: u64) -> Option<(CrushMap, u32)> {
    let (text, rules) = random_map(seed);
    match text::compile(&text) {
        Ok(map) => Some((map, rules)),
        // A class that no device happens to have.
        Err(error) if error.message.contains("no device has class") => None,
        Err(error) => panic!("{error}\n{text}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_mapper_maps_as_the_plain_one(seed in any::<u64>()) {
        let Some((map, rules)) = map_of(seed) else { return Ok(()) };
        let mut random = Random(seed ^ 1);
        let mut reweights = vec![0x10000u32; map.device_count() as usize];
        for _ in 0..random.below(4) {
            let device = random.below(reweights.len().max(1) as u64) as usize;
            if let Some(reweight) = reweights.get_mut(device) {
                *reweight = random.pick(&[0, 1, 0x4000, 0x8000, 0xffff]);
            }
        }
        if random.chance(8) {
            reweights.truncate(random.below(40) as usize);
        }
        let pool = random.pick(&[0, 3, 7]);
        let mapper = map.mapper_of_pool(pool);
        let (mut workspace, mut out) = (Workspace::new(), Vec::new());
        for rule in 0..rules {
            for count in [1, 3, 6] {
                for _ in 0..24 {
                    let x = random.bits() as u32;
                    let plain = Plain { map: &map, choose_args: map.choose_args_of(pool), reweights: &reweights, x };
                    mapper.do_rule(rule, x, count, &reweights, &mut workspace, &mut out);
                    prop_assert_eq!(&out, &plain.do_rule(rule, count), "rule {} x {} count {}\n{}", rule, x, count, map);
                }
            }
        }
    }
}

fn flat_map(weights: &[u32]) -> CrushMap {
    let mut text = String::from("type 0 osd\ntype 1 root\n");
    for id in 0..weights.len() {
        text = format!("device {id} osd.{id}\n{text}");
    }
    text += "root default {\n id -1\n alg straw2\n hash 0\n";
    for (id, weight) in weights.iter().enumerate() {
        text += &format!(" item osd.{id} weight {}\n", f64::from(*weight) / 65536.0);
    }
    text += "}\nrule r {\n id 0\n type replicated\n min_size 1\n max_size 10\n step take default\n step choose firstn 0 type osd\n step emit\n}\n";
    text::compile(&text).unwrap()
}

/// Draws of heavy items are alike so often that the first of them must win, and of light ones the rounding matters.
#[test]
fn draws_that_are_nearly_alike_are_told_apart_exactly() {
    for weights in
        [vec![100 * 65536; 64], vec![1; 64], (6_553_500..6_553_600).collect(), (1..100).collect(), vec![0, 0, 0, 3]]
    {
        let map = flat_map(&weights);
        let (mapper, reweights) = (map.mapper(), vec![0x10000; weights.len()]);
        let (mut workspace, mut out) = (Workspace::new(), Vec::new());
        for x in 0..20_000 {
            let plain = Plain { map: &map, choose_args: None, reweights: &reweights, x };
            mapper.do_rule(0, x, 1, &reweights, &mut workspace, &mut out);
            assert_eq!(out, plain.do_rule(0, 1), "x {x}");
        }
    }
}

#[test]
fn one_workspace_serves_mappers_of_different_maps() {
    let maps: Vec<(CrushMap, u32)> = (0..20).filter_map(map_of).collect();
    let mut shared = Workspace::new();
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for x in 0..200 {
        for (map, rules) in &maps {
            let (mapper, reweights) = (map.mapper(), vec![0x10000; map.device_count() as usize]);
            for rule in 0..*rules {
                mapper.do_rule(rule, x, 4, &reweights, &mut shared, &mut out);
                mapper.do_rule(rule, x, 4, &reweights, &mut Workspace::new(), &mut expected);
                assert_eq!(out, expected);
            }
        }
    }
}

#[test]
fn a_rule_that_is_not_there_maps_to_nothing() {
    let mapper = CrushMap::new_default().mapper();
    let mut out = vec![1, 2, 3];
    mapper.do_rule(7, 0, 3, &[], &mut Workspace::new(), &mut out);
    assert!(out.is_empty());
    // No devices yet.
    mapper.do_rule(0, 0, 3, &[], &mut Workspace::new(), &mut out);
    assert!(out.iter().all(|osd| *osd == ITEM_NONE));
}
