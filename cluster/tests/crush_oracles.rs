//! CRUSH against every answer that Ceph's own tools gave: `tests/oracles/crush/`.

use basalt_cluster::crush::{CrushMap, ITEM_NONE, Mapper, Workspace, hash, text};
use basalt_cluster::{PgId, object_hash};
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/crush")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn compiled(name: &str) -> CrushMap {
    text::compile(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The maps, by name.
fn maps() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| file.strip_suffix(".txt").map(str::to_owned))
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    assert_eq!(names, ["home-cluster", "racks"]);
    names
}

fn show(osds: &[i32]) -> String {
    let osds: Vec<String> = osds.iter().map(i32::to_string).collect();
    format!("[{}]", osds.join(","))
}

#[test]
fn a_map_decompiles_to_what_crushtool_prints() {
    for name in maps() {
        let expected = read(&format!("{name}.decompiled.txt"));
        let map = compiled(&format!("{name}.txt"));
        assert_eq!(map.check(), Ok(()));
        assert_eq!(map.to_string(), expected, "{name}");
        let again = text::compile(&expected).unwrap();
        assert_eq!(again.to_string(), expected, "{name}, compiled from what was decompiled");
    }
}

#[test]
fn every_mapping_is_what_crushtool_prints() {
    let mut compared = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = file.strip_suffix(".mappings") else { continue };
        let [name, rule, count] = stem.split('.').collect::<Vec<_>>()[..] else { panic!("{file}") };
        let rule: u32 = rule.strip_prefix("rule").unwrap().parse().unwrap();
        let count: usize = count.strip_prefix("rep").unwrap().parse().unwrap();
        for source in [format!("{name}.txt"), format!("{name}.decompiled.txt")] {
            let map = compiled(&source);
            let mut weights = vec![0x10000u32; map.device_count() as usize];
            if name == "racks" {
                (weights[0], weights[5], weights[11]) = (0, 0x8000, 0x4000);
            }
            compared += compare(&file, &map.mapper(), rule, count, &weights);
        }
    }
    assert_eq!(compared, 2 * 1024 * 13);
}

fn compare(file: &str, mapper: &Mapper, rule: u32, count: usize, weights: &[u32]) -> usize {
    let (mut workspace, mut out) = (Workspace::new(), Vec::new());
    let mut compared = 0;
    for line in read(file).lines() {
        let x: u32 = line.split(" x ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        mapper.do_rule(rule, x, count, weights, &mut workspace, &mut out);
        assert_eq!(format!("CRUSH rule {rule} x {x} {}", show(&out)), line, "{file}");
        compared += 1;
    }
    compared
}

#[test]
fn every_object_goes_where_osdmaptool_puts_it() {
    let map = compiled("home-cluster.txt");
    let mapper = map.mapper_of_pool(1);
    let text = read("home-cluster.objects");
    let mut lines = text.lines();
    let pool = lines.next().unwrap();
    let number = |word: &str| -> u32 {
        pool.split(&format!(" {word} ")).nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    let (size, rule, pg_num) = (number("size"), number("crush_rule"), number("pg_num"));
    let (mut workspace, mut out) = (Workspace::new(), Vec::new());
    let mut compared = 0;
    for line in lines {
        let (name, rest) = line.trim().strip_prefix("object '").unwrap().split_once("' -> ").unwrap();
        let seed = object_hash::stable_modulo(object_hash::rjenkins(name.as_bytes()), pg_num);
        let pg = PgId { pool: 1, seed };
        let x = hash::placement_seed(pg.pool, seed, pg_num);
        mapper.do_rule(rule, x, size as usize, &[0x10000; 10], &mut workspace, &mut out);
        out.retain(|osd| *osd != ITEM_NONE);
        assert_eq!(format!("{pg} -> {}", show(&out)), rest, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 900);
}
