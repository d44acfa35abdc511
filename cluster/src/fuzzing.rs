//! What a fuzzer feeds: maps as bytes, and what people write.
//!
//! Whatever is taken must be the same after it was written and read again; nothing may panic. `seeds` are well-formed inputs to begin from.

use crate::config::Config;
use crate::crush::{self, CrushMap, Step, Workspace};
use crate::map::{CacheMode, Map, MapFlags, Osd, PgId, PlacementGroup, Pool, Quota, TierSettings};
use crate::pool_settings::{self, Surroundings, VARIABLES};
use crate::quantity;
use std::path::Path;

/// A target's name, what it does with an input, and inputs to begin from.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

pub const TARGETS: &[Target] = &[
    ("cluster_map", cluster_map, cluster_map_seeds),
    ("cluster_config", cluster_config, cluster_config_seeds),
    ("pool_settings", pool_settings, pool_settings_seeds),
    ("crush_text", crush_text, crush_text_seeds),
    ("crush_map", crush_map, crush_map_seeds),
];

const HEADER_BYTES: usize = 16;

/// A map of each format version; its header is put right. Whoever reads one places objects by it and shows its settings.
pub fn cluster_map(bytes: &[u8]) {
    let newest = Map::new([0; 16], 0).encode();
    let header: Vec<u8> = newest.into_iter().take(8).collect();
    for version in [1u32, 2, 3] {
        let crc = crc32c::crc32c(bytes).to_le_bytes();
        read_map(&[&header, &version.to_le_bytes()[..], &crc, bytes].concat());
    }
}

fn read_map(whole: &[u8]) {
    let Ok(map) = Map::decode(whole) else { return };
    let again = Map::decode(&map.encode());
    // Compared as text, in which what is not a number equals itself.
    assert!(again.is_ok_and(|again| format!("{again:?}") == format!("{map:?}")));
    let around = surroundings();
    for pool in &map.pools {
        assert!(map.place(pool.id, b"some object").is_some_and(|placement| placement.pg.pool == pool.id));
        for variable in VARIABLES {
            assert!(pool_settings::get(pool, &around, variable).is_ok(), "{variable}");
        }
        let _judged = pool.tier.policy().validate();
    }
}

fn surroundings() -> Surroundings {
    let rules = vec![(0, "replicated_rule".into())];
    Surroundings { osds_existing: 3, has_hot_slices: true, is_pinned: false, dirty_bytes: 1 << 20, rules }
}

fn pool(id: u32, cache_mode: CacheMode) -> Pool {
    Pool {
        tier: TierSettings { cache_mode, ..TierSettings::default() },
        quota: Quota { bytes_max: 5, objects_max: 0 },
        applications: vec!["rbd".into()],
        pgs: vec![PlacementGroup { in_sync: vec![0, 1], primary: Some(0), reign: 1, changed_epoch: 1 }; 2],
        ..Pool::new(id, format!("pool-{id}"), 2, 2, 1)
    }
}

fn cluster_map_seeds() -> Vec<Vec<u8>> {
    let empty = Map::new([7; 16], 1_700_000_000);
    let osd = |id| Osd {
        id,
        exists: true,
        is_up: true,
        is_in: true,
        auto_out: false,
        weight: 1.0,
        reweight: 1.0,
        host: "host".into(),
        public_address: "127.0.0.1:6800".into(),
        cluster_address: "127.0.1.1:6801".into(),
        store_id: [3; 16],
        life: 9,
        base_bytes: 1 << 40,
        hot_bytes: 0,
        rotational: true,
        up_since_epoch: 1,
        down_since_epoch: 0,
        up_since_unix_s: 5,
        down_since_unix_s: 0,
        in_since_unix_s: 5,
    };
    let full = Map {
        osds: vec![osd(0), osd(1)],
        pools: vec![pool(1, CacheMode::None), pool(2, CacheMode::Writeback)],
        pool_id_max: 2,
        flags: MapFlags(1),
        ..empty.clone()
    };
    [empty, full].map(|map| map.encode().split_off(HEADER_BYTES)).to_vec()
}

/// A configuration file.
pub fn cluster_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("/etc/basalt/basalt.toml");
    let Ok(config) = Config::parse(text, path) else { return };
    let written = config.to_toml();
    match Config::parse(&written, path) {
        Ok(again) => assert_eq!(again, config),
        Err(error) => panic!("what was written is not read: {error}\n{written}"),
    }
}

fn cluster_config_seeds() -> Vec<Vec<u8>> {
    let whole = r#"
fsid = "11111111-2222-3333-4444-555555555555"
key_file = "key"
monitors = ["127.0.0.1:6789", "[::1]:6789"]
[monitor]
name = "a"
listen = "127.0.0.1:6789"
data = "mon"
[osd]
host = "host-a"
public_address = "127.0.0.1:0"
cluster_address = "127.0.1.1:0"
memory_target = "1G"
max_object_size = 4096
[[osd.device]]
id = 0
base = "osd.0/base"
hot = "/dev/hot"
core = 1
base_model = "hdd"
wal_bytes = "16M"
[[osd.device]]
id = 1
base = "osd.1/base"
"#;
    let least = "fsid = '11111111-2222-3333-4444-555555555555'\nkey_file = 'k'\nmonitors = ['127.0.0.1:1']\n";
    vec![whole.into(), least.into()]
}

/// `variable value`, a line each, one after the other on one pool; and each value as every kind of amount.
pub fn pool_settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut pool = pool(1, CacheMode::Writeback);
    let around = surroundings();
    for line in text.lines().take(64) {
        let (variable, value) = line.split_once(' ').unwrap_or(("size", line));
        amounts(value);
        let _id = value.parse::<PgId>();
        let before = pool.clone();
        let outcome = match variable {
            "max_bytes" | "max_objects" => pool_settings::set_quota(&mut pool.quota, variable, value).map(drop),
            _ => pool_settings::set(&mut pool, &around, variable, value),
        };
        match outcome {
            Ok(()) => assert_eq!(pool.tier.policy().validate(), Ok(()), "{line}"),
            Err(_) => assert_eq!(pool, before, "{line}"),
        }
        let shown = pool_settings::get(&pool, &around, variable).map(|value| pool_settings::as_text(&value));
        let set_again = shown.is_ok_and(|shown| {
            let mut again = pool.clone();
            pool_settings::set(&mut again, &around, variable, &shown).is_ok() && again != pool
        });
        assert!(!set_again, "{line}: what is shown is another value when it is set");
    }
}

fn amounts(text: &str) {
    if let Ok(bytes) = quantity::parse_bytes(text) {
        assert_eq!(quantity::parse_bytes(&bytes.to_string()), Ok(bytes));
        assert!(!quantity::format_bytes(bytes).is_empty());
    }
    if let Ok(count) = quantity::parse_count(text) {
        assert_eq!(quantity::parse_count(&count.to_string()), Ok(count));
        assert!(!quantity::format_count(count).is_empty());
    }
    if let Ok(duration) = quantity::parse_duration(text) {
        assert_eq!(quantity::parse_duration(&format!("{}ms", duration.as_millis())), Ok(duration));
        assert!(!quantity::format_age(duration).is_empty());
    }
}

fn pool_settings_seeds() -> Vec<Vec<u8>> {
    let values = ["1", "0.5", "true", "64K", "10m", "bloom", "writeback", "off", "max"];
    let all: String =
        VARIABLES.iter().zip(values.iter().cycle()).map(|(name, value)| format!("{name} {value}\n")).collect();
    vec![
        all.into(),
        b"cache_mode proxy\ncache_mode writeback\ncache_target_dirty_ratio .3\ncache_min_flush_age 500ms\n".to_vec(),
        b"max_bytes 1.5Gi\nmax_objects 3M\nsize 3\nmin_size 2\nhit_set_count 8\n".to_vec(),
    ]
}

/// A CRUSH map in text. Whoever takes it prints, stores and carries it out.
pub fn crush_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match crush::text::compile(text) {
        Ok(map) => use_crush_map(&map),
        Err(error) => assert!(error.line > 0 && error.column > 0 && !error.message.is_empty()),
    }
}

/// A CRUSH map as bytes; its header is put right.
pub fn crush_map(bytes: &[u8]) {
    let mut whole = Vec::new();
    CrushMap::new_default().encode(&mut whole);
    whole.truncate(12);
    whole.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    whole.extend_from_slice(bytes);
    if let Ok(map) = CrushMap::decode(&whole) {
        let mut again = Vec::new();
        map.encode(&mut again);
        assert_eq!(again, whole, "a map has one encoding");
        use_crush_map(&map);
    }
}

fn use_crush_map(map: &CrushMap) {
    assert_eq!(map.check(), Ok(()));
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    assert_eq!(CrushMap::decode(&bytes).as_ref(), Ok(map));
    // What is printed is read, and from then on nothing changes.
    match crush::text::compile(&map.to_string()) {
        Ok(read) => match crush::text::compile(&read.to_string()) {
            Ok(again) => assert_eq!(again.to_string(), read.to_string()),
            Err(error) => panic!("what was printed of what was printed is not read: {error}\n{read}"),
        },
        Err(error) => panic!("what was printed is not read: {error}\n{map}"),
    }
    let _problems = map.validate();
    let _dump = map.dump();
    assert!(map.tree(true).count() >= map.roots(true).len());
    // Hundreds of tries are allowed to whoever may change the map, but would make a fuzzer slow.
    let is_patient = |(name, value): (&str, u32)| name.ends_with("_tries") && value > 60;
    let tunables = map.tunables().named().into_iter().map(|(name, value, _)| (name, value));
    let mut settings = tunables.chain(map.rules().flat_map(|(_, rule)| rule.steps.iter().filter_map(Step::setting)));
    if settings.any(is_patient) {
        return;
    }
    let reweights = vec![0x1_0000; map.device_count().min(64) as usize];
    let (mapper, mut workspace, mut out) = (map.mapper_of_pool(0), Workspace::new(), Vec::new());
    for (rule, _) in map.rules().take(4) {
        for x in 0..4 {
            mapper.do_rule(rule, x, 4, &reweights, &mut workspace, &mut out);
            assert!(out.len() <= 4);
        }
    }
}

const CRUSH_TEXT: &str = "tunable choose_total_tries 50
tunable chooseleaf_descend_once 1
device 0 osd.0 class hdd
device 1 osd.1 class ssd
device 2 osd.2
type 0 osd
type 1 host
type 10 root
host a {
\tid -2\t\t# do not change unnecessarily
\tid -5 class ssd
\talg straw2
\thash 0\t# rjenkins1
\titem osd.0 weight 1.000
\titem osd.1 weight 0.500
}
host b {
\tid -3
\talg straw
\titem osd.2 weight 2.000
}
host c {
\tid -4
\talg uniform
\titem osd.2 weight 2.000 pos 0
}
root default {
\tid -1
\talg list
\titem a weight 1.500
\titem b weight 2.000
\titem c
}
rule r {
\tid 0
\ttype replicated
\tmin_size 1
\tmax_size 10
\tstep take default class ssd
\tstep chooseleaf firstn 0 type host
\tstep emit
}
rule e {
\tid 3
\ttype erasure
\tmin_size 3
\tmax_size 20
\tstep set_chooseleaf_tries 5
\tstep take default
\tstep choose indep -1 type host
\tstep choose indep 1 type osd
\tstep emit
}
choose_args 0 {
  {
    bucket_id -2
    weight_set [
      [ 1.000 2.000 ]
    ]
    ids [ 7 8 ]
  }
}
";

fn crush_text_seeds() -> Vec<Vec<u8>> {
    vec![CRUSH_TEXT.into(), CrushMap::new_default().to_string().into()]
}

fn crush_map_seeds() -> Vec<Vec<u8>> {
    let mut maps = vec![CrushMap::new_default()];
    maps.extend(crush::text::compile(CRUSH_TEXT));
    let encoded = |map: &CrushMap| {
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        bytes.split_off(HEADER_BYTES)
    };
    maps.iter().map(encoded).collect()
}
