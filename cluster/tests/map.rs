//! The map as bytes, and where it places objects.

use basalt_cluster::map::{
    CacheMode, ClusterSettings, FullRatios, HitSetType, Maintenance, MapError, Osd, PgId, PlacementGroup, Pool,
    PoolFlags, Quota, TierSettings, Who,
};
use basalt_cluster::placement::Placer;
use basalt_cluster::{Map, MapFlags, object_hash};
use basalt_net::Features;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const OBJECTS_OF_CEPH: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/crush/home-cluster.objects"));

#[test]
fn an_object_falls_into_the_group_that_ceph_puts_it_in() {
    let mut lines = OBJECTS_OF_CEPH.lines();
    let pool = lines.next().unwrap();
    let pg_num: u32 = pool.split("pg_num ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut compared = 0;
    for line in lines {
        let (name, rest) = line.trim().strip_prefix("object '").unwrap().split_once("' -> ").unwrap();
        let expected: PgId = rest.split(" -> ").next().unwrap().parse().unwrap();
        let seed = object_hash::stable_modulo(object_hash::rjenkins(name.as_bytes()), pg_num);
        assert_eq!(PgId { pool: 1, seed }, expected, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 900);
}

#[test]
fn the_hash_of_a_name_is_what_ceph_prints() {
    let line = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/ceph-cli/osd-map.txt"));
    let hash = line.split("-> pg 2.").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(format!("{:x}", object_hash::rjenkins(b"someobject")), hash);
}

#[test]
fn a_placement_group_reads_back_as_it_was_printed() {
    for pg in [PgId { pool: 1, seed: 0 }, PgId { pool: 17, seed: 0xd7 }, PgId { pool: u32::MAX, seed: u32::MAX }] {
        assert_eq!(pg.to_string().parse(), Ok(pg));
    }
    for wrong in ["", "1", "1.", ".1", "1.g", "-1.2", "+1.2", "1.+2", "1.2.3", "1.100000000"] {
        assert!(wrong.parse::<PgId>().is_err(), "{wrong}");
    }
}

fn osd(id: u32, weight: f64) -> Osd {
    Osd {
        id,
        exists: true,
        is_up: true,
        is_in: true,
        auto_out: false,
        weight,
        reweight: 1.0,
        host: format!("h{id}"),
        public_address: format!("127.0.0.1:{}", 6800 + id),
        cluster_address: format!("127.0.1.1:{}", 6800 + id),
        store_id: [id as u8; 16],
        life: 0,
        base_bytes: 1 << 40,
        hot_bytes: 1 << 30,
        rotational: true,
        up_since_epoch: 2,
        down_since_epoch: 0,
        up_since_unix_s: 100,
        down_since_unix_s: 0,
        in_since_unix_s: 100,
    }
}

fn draws(osds: &[Osd], size: u32) -> BTreeMap<u32, Vec<u32>> {
    let mut map = Map::new([1; 16], 0);
    map.osds = osds.to_vec();
    let placer = Placer::new(&map);
    let pool = Pool { size, ..pool(3, 2048) };
    (0..2048).map(|seed| (seed, placer.choose(&pool, seed))).collect()
}

#[test]
fn groups_spread_by_weight() {
    let osds: Vec<Osd> = (0..8).map(|id| osd(id, if id == 0 { 3.0 } else { 1.0 })).collect();
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for members in draws(&osds, 1).values() {
        *counts.entry(members[0]).or_default() += 1;
    }
    // A tenth of 2048 each, three tenths for osd.0; five standard deviations are 70 and 105.
    for (id, count) in counts {
        let (expected, slack) = if id == 0 { (614, 105) } else { (205, 70) };
        assert!(
            u32::abs_diff(count, expected) < slack,
            "osd.{id} has {count} groups, about {expected} would be its share"
        );
    }
}

#[test]
fn an_osd_that_goes_out_moves_only_its_own_share() {
    let osds: Vec<Osd> = (0..6).map(|id| osd(id, 1.0)).collect();
    let before = draws(&osds, 3);
    let mut without = osds.clone();
    without[2].is_in = false;
    let mut moved = 0;
    for (seed, after) in draws(&without, 3) {
        moved += before[&seed].iter().filter(|id| **id != 2 && !after.contains(id)).count();
        assert_eq!(after.len(), 3, "{seed:x}");
        assert!(!after.contains(&2));
    }
    // firstn tries again, and a few descents then end elsewhere: Ceph's as well.
    assert!(moved < 3 * 2048 / 50, "{moved} copies moved that were not osd.2's");
}

#[test]
fn a_group_whose_primary_is_down_is_served_by_nobody() {
    let mut map = Map::new([1; 16], 0);
    map.osds = vec![osd(0, 1.0), osd(1, 1.0)];
    map.pool_id_max = 1;
    let mut pool = pool(1, 1);
    pool.pgs = vec![PlacementGroup { in_sync: vec![0, 1], primary: Some(1), reign: 1, changed_epoch: 1 }];
    map.pools = vec![pool];
    assert_eq!(map.place(1, b"x").unwrap().acting, [1, 0]);
    map.osd_mut(0).unwrap().is_up = false;
    assert_eq!(map.place(1, b"x").unwrap().acting, [1]);
    map.osd_mut(1).unwrap().is_up = false;
    assert!(map.place(1, b"x").unwrap().acting.is_empty());
    assert_eq!(map.place(2, b"x"), None);
}

fn pool(id: u32, pg_num: u32) -> Pool {
    Pool {
        flags: PoolFlags { noscrub: true, ..PoolFlags::default() },
        tier: TierSettings {
            cache_mode: CacheMode::Proxy,
            hit_set_type: HitSetType::ExplicitHash,
            ..Default::default()
        },
        quota: Quota { bytes_max: 1, objects_max: 2 },
        applications: vec!["rbd".into()],
        created_epoch: 3,
        changed_epoch: 4,
        ..Pool::new(id, format!("pool-{id}"), 3, pg_num, 1)
    }
}

/// Written by the last versions that wrote formats 1 and 2.
const MAP_VERSION_1: &[u8] = include_bytes!("images/map-version-1");
const MAP_VERSION_2: &[u8] = include_bytes!("images/map-version-2");

/// What both of them hold.
fn old_map() -> Map {
    let mut map = Map::new(*b"a cluster's fsid", 1_795_314_892);
    map.flags = MapFlags::NOSCRUB;
    map.osds = vec![osd(0, 1.0), osd(3, 0.5)];
    map.pool_id_max = 2;
    let mut pool = pool(2, 1);
    pool.pgs = vec![PlacementGroup { in_sync: vec![0, 3], primary: Some(3), reign: 1, changed_epoch: 1 }];
    map.pools = vec![pool];
    map
}

#[test]
fn maps_of_older_versions_are_read_with_what_was_constant_then() {
    for (version, image, full_ratios) in [
        (1, MAP_VERSION_1, FullRatios { nearfull: 0.85, backfillfull: 0.9, full: 0.95 }),
        (2, MAP_VERSION_2, FullRatios { nearfull: 0.5, backfillfull: 0.6, full: 0.7 }),
    ] {
        let map = Map::decode(image).unwrap();
        let mut expected = old_map();
        expected.full_ratios = full_ratios;
        assert_eq!(map, expected);
        assert_eq!(map.settings, ClusterSettings::default());
        // What is written from it is of the newest version, and says the same.
        let written = map.encode();
        assert_eq!((image[8], written[8]), (version, 7));
        assert_eq!(Map::decode(&written), Ok(map));
    }
}

#[test]
fn a_map_of_version_3_is_read_with_pools_that_know_of_no_others() {
    let map = Map::decode(include_bytes!("images/map-version-3")).unwrap();
    let [first, later] = map.pools.as_slice() else { panic!("{:?}", map.pools) };
    assert_eq!(
        (first.quota.bytes_max, first.quota.objects_max, first.applications.as_slice()),
        (1 << 30, 7, &["rbd".to_owned()][..])
    );
    assert_eq!((later.name.as_str(), later.pg_num, later.pgs.len()), ("later", 4, 4));
    assert!(map.pools.iter().all(|pool| pool.tiering == Default::default()));
    assert!(!map.crush.is_empty());
    let written = map.encode();
    assert_eq!(written[8], 7);
    assert_eq!(Map::decode(&written), Ok(map));
}

#[test]
fn a_map_of_version_4_is_read_with_its_tiers_and_defaults_for_what_they_lack() {
    let map = Map::decode(include_bytes!("images/map-version-4")).unwrap();
    let [base, cache] = map.pools.as_slice() else { panic!("{:?}", map.pools) };
    assert_eq!((base.tiering.overlay, cache.tiering.tier_of), (Some(cache.id), Some(base.id)));
    let tier = &base.tier;
    assert_eq!((tier.cache_mode, tier.target_max_bytes, tier.hit_set_count), (CacheMode::Writeback, 5 << 30, 9));
    assert_eq!((tier.cache_max_dirty_age_ms, tier.cache_bypass_sequential_bytes), (77_000, 1 << 20));
    assert_eq!(tier.min_write_recency_for_promote, 3);
    assert_eq!((tier.cache_idle_flush_age_ms, tier.cache_bypass_new_bytes), (30_000, 0));
    let written = map.encode();
    assert_eq!(written[8], 7);
    assert_eq!(Map::decode(&written), Ok(map));
}

#[test]
fn a_map_of_version_5_is_read_with_nobody_fenced_off() {
    let image = include_bytes!("images/map-version-5");
    assert_eq!(image[8], 5);
    let map = Map::decode(image).unwrap();
    assert_eq!(map, Map::decode(include_bytes!("images/map-version-4")).unwrap());
    assert!(map.fenced.is_empty());
}

#[test]
fn a_map_of_version_6_is_read_with_nothing_of_hosts_and_no_central_options() {
    let image = include_bytes!("images/map-version-6");
    assert_eq!(image[8], 6);
    let map = Map::decode(image).unwrap();
    assert!(map.is_fenced(7) && map.hosts.is_empty() && map.maintenance.is_none() && map.options.is_empty());
    let mut before = map.clone();
    before.fenced.clear();
    assert_eq!(before, Map::decode(include_bytes!("images/map-version-5")).unwrap());
    assert_eq!(Map::decode(&map.encode()), Ok(map));
}

/// As long as nothing is required, what daemons from before 0.2 read; from then on what says so.
#[test]
fn the_oldest_format_is_written_that_says_everything() {
    let mut map = Map::new([1; 16], 0);
    map.set_option(Who::Global, "osd_memory_target", Some(2));
    let before = map.encode();
    assert_eq!(before[8], 7);
    map.required_features = Features::REQUIRED_IN_MAP;
    let after = map.encode();
    assert_eq!((after[8], after.len()), (8, before.len() + 16));
    assert_eq!(after[32..], before[16..], "the archive is the same");
    assert_eq!(Map::decode(&after), Ok(map));
}

#[test]
fn a_map_that_requires_what_this_program_lacks_is_refused_by_its_name() {
    let mut map = Map::new([1; 16], 0);
    map.required_features = Features(1 << 40).with(Features::REQUIRED_IN_MAP);
    assert_eq!(Map::decode(&map.encode()), Err(MapError::Required(Features(1 << 40))));
    map.required_features = Features::REQUIRED_IN_MAP;
    let mut behind_it = map.encode();
    behind_it[25] = 1;
    let refused = Map::decode(&with_right_checksum(behind_it));
    assert!(matches!(refused, Err(MapError::Contradiction(_))), "{refused:?}");
    // Cut short within what is required.
    let short = with_right_checksum(map.encode()[..24].to_vec());
    assert!(matches!(Map::decode(&short), Err(MapError::Length(_))));
}

#[test]
fn hosts_and_options_travel_and_what_is_nothing_is_not_kept() {
    let mut map = Map::new([1; 16], 0);
    map.change_host("h2", |state| state.flags = MapFlags::NOOUT);
    map.change_host("h1", |state| {
        state.maintenance = Some(Maintenance { since_unix_s: 5, flags: MapFlags::NOUP });
    });
    map.set_option(Who::Osd(3), "osd_memory_target", Some(1));
    map.set_option(Who::Global, "osd_memory_target", Some(2));
    map.set_option(Who::Osds, "osd_busy_poll_us", Some(3));
    assert_eq!(Map::decode(&map.encode()), Ok(map.clone()));
    assert_eq!(map.option(3, "osd_memory_target"), Some((Who::Osd(3), 1)));
    assert_eq!(map.option(4, "osd_memory_target"), Some((Who::Global, 2)));
    let on_h1 = Osd { host: "h1".into(), ..osd(0, 1.0) };
    assert_eq!(map.flags_of(&on_h1), MapFlags::NOUP);
    map.change_host("h2", |state| state.flags = MapFlags::default());
    map.change_host("h1", |state| state.maintenance = None);
    map.set_option(Who::Osd(3), "osd_memory_target", None);
    assert!(map.hosts.is_empty() && map.options.len() == 2);
    map.options.reverse();
    assert!(matches!(Map::decode(&map.encode()), Err(MapError::Contradiction(_))));
}

#[test]
fn a_fenced_client_stays_so_until_its_time_is_over() {
    let mut map = Map::new([1; 16], 0);
    for client in [9, 3, 7] {
        map.fence(client, 100, 0).unwrap();
    }
    map.fence(7, 50, 0).unwrap();
    assert!([3, 7, 9].iter().all(|client| map.is_fenced(*client)) && !map.is_fenced(4));
    assert_eq!(Map::decode(&map.encode()), Ok(map.clone()));
    map.fence(4, 300, 99).unwrap();
    assert!([3, 4, 7, 9].iter().all(|client| map.is_fenced(*client)));
    map.fence(5, 300, 100).unwrap();
    assert!([4, 5].iter().all(|client| map.is_fenced(*client)) && !map.is_fenced(3) && !map.is_fenced(7));
}

#[test]
fn a_map_of_a_later_version_is_refused_by_its_number() {
    let mut bytes = Map::new([1; 16], 0).encode();
    for version in [0, 9, 0xff] {
        bytes[8] = version;
        assert_eq!(Map::decode(&bytes), Err(MapError::Version(version.into())));
    }
}

prop_compose! {
    fn any_map()(
        osds in prop::collection::btree_map(0u32..64, (any::<bool>(), any::<bool>(), 0.0..100.0f64), 0..20),
        pools in prop::collection::btree_map(1u32..1000, (1u32..40, "[^/\\p{Cc}]{1,20}", any::<u64>()), 0..6),
        fsid in any::<[u8; 16]>(),
        flags in any::<u32>(),
        seeds in prop::collection::vec(any::<u32>(), 8),
    ) -> Map {
        let mut map = Map::new(fsid, 1_800_000_000);
        map.flags = MapFlags(flags);
        map.osds = osds
            .into_iter()
            .map(|(id, (is_up, is_in, weight))| Osd { is_up, is_in, ..osd(id, weight) })
            .collect();
        map.pools = pools
            .into_iter()
            .map(|(id, (pg_num, name, target_max_bytes))| {
                // No two pools have one name.
                let mut pool = Pool { name: format!("{id}.{name}"), ..pool(id, pg_num) };
                pool.tier.target_max_bytes = target_max_bytes;
                for (group, seed) in pool.pgs.iter_mut().zip(seeds.iter().cycle()) {
                    group.in_sync = map.osds.iter().map(|osd| osd.id).cycle().skip(*seed as usize % 64).take(3.min(map.osds.len())).collect();
                    group.primary = group.in_sync.first().copied();
                }
                pool
            })
            .collect();
        map.pool_id_max = 1000;
        map
    }
}

/// Makes the header's checksum right again, so that damage gets as far as the archive.
fn with_right_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 16 {
        let checksum = crc32c::crc32c(&bytes[16..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

/// Uses everything of a map that others may ask it for.
fn use_map(map: &Map) {
    for pool in &map.pools {
        for name in [&b"a"[..], b"object", &[0xff; 40]] {
            let placed = map.place(pool.id, name).unwrap();
            let distinct: BTreeSet<u32> = placed.acting.iter().copied().collect();
            assert!(placed.acting.iter().all(|id| map.osd(*id).is_some()) && distinct.len() <= 10);
        }
    }
    assert_eq!(map.pgs().count() as u64, map.pools.iter().map(|pool| u64::from(pool.pg_num)).sum::<u64>());
}

proptest! {
    #[test]
    fn a_map_reads_back_as_it_was(map in any_map()) {
        let decoded = Map::decode(&map.encode());
        prop_assert_eq!(decoded.as_ref(), Ok(&map));
        use_map(&map);
    }

    #[test]
    fn bytes_that_are_no_map_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Map::decode(&bytes).is_err());
        let mut headed = b"BSLTMAP\0\x01\0\0\0\0\0\0\0".to_vec();
        headed.extend(bytes);
        if let Ok(map) = Map::decode(&with_right_checksum(headed)) {
            use_map(&map);
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed(map in any_map(), place in any::<prop::sample::Index>(), bit in 0u32..8) {
        let mut bytes = map.encode();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(Map::decode(&bytes).is_err());
    }

    #[test]
    fn damage_behind_a_right_checksum_is_refused_or_harmless(
        map in any_map(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = map.encode();
        for (place, value) in changes {
            let place = 16 + place.index(bytes.len() - 16);
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(map) = Map::decode(&with_right_checksum(bytes)) {
            use_map(&map);
        }
    }

    #[test]
    fn chosen_osds_are_distinct_and_the_same_each_time(
        map in any_map(), id in any::<u32>(), seed in 0u32..64, size in 1u32..10,
    ) {
        let pool = Pool { size, ..pool(id, 64) };
        let chosen = Placer::new(&map).choose(&pool, seed);
        let distinct: BTreeSet<u32> = chosen.iter().copied().collect();
        let possible = map.osds.iter().filter(|osd| osd.is_in && osd.weight > 0.0).count();
        prop_assert_eq!(chosen.len(), distinct.len());
        prop_assert!(chosen.len() <= possible.min(size as usize));
        prop_assert_eq!(Placer::new(&map).choose(&pool, seed), chosen);
    }


    #[test]
    fn the_stable_modulo_stays_in_range_and_only_splits(hash in any::<u32>(), pg_num in 1u32..100_000) {
        let before = object_hash::stable_modulo(hash, pg_num);
        prop_assert!(before < pg_num);
        let after = object_hash::stable_modulo(hash, pg_num + 1);
        prop_assert!(after == before || after == pg_num);
    }
}
