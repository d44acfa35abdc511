use super::*;
use crate::map::CacheMode;
use proptest::prelude::*;

fn osd(id: u32) -> Osd {
    // Read, so that a field that OSDs get one day needs no mention here.
    let before = Map::decode(include_bytes!("../../tests/images/map-version-2")).unwrap();
    let mut osd = before.osds[0].clone();
    osd.id = id;
    osd.host = format!("host{}", id / 2);
    osd
}

fn pool(id: u32, pg_num: u32) -> Pool {
    Pool {
        pgs: (0..pg_num).map(|seed| group(seed % 4, 1)).collect(),
        ..Pool::new(id, format!("pool-{id}"), 3, pg_num, 1)
    }
}

fn group(first: u32, epoch: u32) -> PlacementGroup {
    PlacementGroup { in_sync: vec![first, (first + 1) % 4], primary: Some(first), reign: epoch, changed_epoch: epoch }
}

fn map() -> Map {
    let mut map = Map::new([7; 16], 1_700_000_000);
    map.osds = (0..4).chain([9, 12]).map(osd).collect();
    map.pools = vec![pool(1, 8), pool(2, 64), pool(5, 1)];
    map.pool_id_max = 5;
    map
}

#[derive(Clone, Debug)]
enum Change {
    Flags(u32),
    Ratio(f64),
    Crush(Vec<u8>),
    Interval(u64),
    OsdUp(usize, bool),
    OsdNew(u32),
    OsdGone(u32),
    PoolSetting(usize, u64),
    PoolNew(u32, u32),
    PoolGone(usize),
    PgNum(usize, u32),
    Group(usize, usize, u32),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0u32..2048).prop_map(Change::Flags),
        (0.1f64..0.84).prop_map(Change::Ratio),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Change::Crush),
        (0u64..1_000_000).prop_map(Change::Interval),
        (any::<usize>(), any::<bool>()).prop_map(|(index, up)| Change::OsdUp(index, up)),
        (0u32..40).prop_map(Change::OsdNew),
        (4u32..40).prop_map(Change::OsdGone),
        (any::<usize>(), any::<u64>()).prop_map(|(index, value)| Change::PoolSetting(index, value)),
        (1u32..9, 1u32..40).prop_map(|(id, pg_num)| Change::PoolNew(id, pg_num)),
        any::<usize>().prop_map(Change::PoolGone),
        (any::<usize>(), 1u32..100).prop_map(|(index, pg_num)| Change::PgNum(index, pg_num)),
        (any::<usize>(), any::<usize>(), 0u32..4).prop_map(|(pool, seed, first)| Change::Group(pool, seed, first)),
    ]
}

fn carry_out(map: &mut Map, change: Change) {
    let epoch = map.epoch;
    let pools = map.pools.len().max(1);
    match change {
        Change::Flags(flags) => map.flags = MapFlags(flags),
        Change::Ratio(ratio) => map.full_ratios.nearfull = ratio,
        Change::Crush(crush) => map.crush = crush,
        Change::Interval(interval) => map.settings.mon_osd_down_out_interval_ms = interval,
        Change::OsdUp(index, up) => {
            let count = map.osds.len();
            map.osds[index % count].is_up = up;
            map.osds[index % count].down_since_epoch = epoch;
        }
        Change::OsdNew(id) => {
            if let Err(index) = map.osds.binary_search_by_key(&id, |osd| osd.id) {
                map.osds.insert(index, osd(id));
            }
        }
        Change::OsdGone(id) => map.osds.retain(|osd| osd.id != id),
        Change::PoolSetting(index, value) => {
            if let Some(pool) = map.pools.get_mut(index % pools) {
                pool.quota.bytes_max = value;
                pool.tier.cache_mode = if value % 2 == 0 { CacheMode::Writeback } else { CacheMode::None };
                pool.changed_epoch = epoch;
            }
        }
        Change::PoolNew(id, pg_num) => {
            if let Err(index) = map.pools.binary_search_by_key(&id, |pool| pool.id) {
                map.pools.insert(index, pool(id, pg_num));
                map.pool_id_max = map.pool_id_max.max(id);
            }
        }
        Change::PoolGone(index) => {
            if index % pools < map.pools.len() {
                map.pools.remove(index % pools);
            }
        }
        Change::PgNum(index, pg_num) => {
            if let Some(pool) = map.pools.get_mut(index % pools) {
                pool.pg_num = pg_num;
                pool.pgs.resize(pg_num as usize, group(2, epoch));
            }
        }
        Change::Group(index, seed, first) => {
            if let Some(pool) = map.pools.get_mut(index % pools) {
                let count = pool.pgs.len();
                pool.pgs[seed % count] = group(first, epoch);
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_applied_makes_the_new_map_byte_for_byte(
        steps in prop::collection::vec(prop::collection::vec(change(), 0..6), 1..8)
    ) {
        let mut followed = map();
        let mut newest = map();
        for changes in steps {
            let old = newest.clone();
            newest.epoch += 1;
            newest.modified_unix_s += 7;
            for change in changes {
                carry_out(&mut newest, change);
            }
            prop_assert_eq!(newest.check(), Ok(()));
            let encoded = newest.encode();
            let incremental = Incremental::between(&old, &newest, &encoded);
            let bytes = incremental.encode();
            let decoded = Incremental::decode(&bytes);
            prop_assert_eq!(decoded.as_ref(), Ok(&incremental));
            followed = incremental.apply(&followed).unwrap();
            prop_assert!(followed.encode() == encoded);
        }
    }

    #[test]
    fn bytes_that_are_no_increment_are_refused(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let old = map();
        let mut new = old.clone();
        new.epoch += 1;
        carry_out(&mut new, Change::PgNum(1, 90));
        carry_out(&mut new, Change::OsdNew(20));
        let bytes = Incremental::between(&old, &new, &new.encode()).encode();
        let mut flipped = bytes.clone();
        let index = at.index(flipped.len());
        flipped[index] ^= 1 << bit;
        prop_assert!(Incremental::decode(&flipped).is_err());
        prop_assert!(Incremental::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

#[test]
fn only_what_changed_travels() {
    let mut old = map();
    old.pools = vec![pool(1, 8192), pool(2, 8192)];
    let mut new = old.clone();
    new.epoch += 1;
    let header = Incremental::between(&old, &new, &new.encode()).encode().len();
    assert!(header < 350, "{header}");
    new.pools[1].pgs[77] = group(3, 2);
    new.osds[2].is_up = false;
    let bytes = Incremental::between(&old, &new, &new.encode()).encode().len();
    assert!(bytes < header + 500, "{bytes}");
    assert!(new.encode().len() > 500_000);
}

#[test]
fn another_base_is_refused_by_its_epoch_and_otherwise_by_the_checksum() {
    let old = map();
    let mut new = old.clone();
    new.epoch += 1;
    carry_out(&mut new, Change::Flags(5));
    let incremental = Incremental::between(&old, &new, &new.encode());
    let mut other = old.clone();
    other.epoch += 4;
    assert_eq!(incremental.apply(&other), Err(IncrementalError::OtherBase { base: 1, to: 2, at_hand: 5 }));
    let mut other = old.clone();
    other.osds[0].hot_bytes += 1;
    assert!(matches!(incremental.apply(&other), Err(IncrementalError::Checksum { to: 2, .. })));
    let mut other = old;
    other.fsid = [8; 16];
    assert!(incremental.apply(&other).is_err());
}

#[test]
fn groups_beyond_the_end_are_not_made_room_for() {
    let old = map();
    let mut new = old.clone();
    new.epoch += 1;
    carry_out(&mut new, Change::PgNum(0, 50));
    let mut hostile = Incremental::between(&old, &new, &new.encode());
    hostile.groups[0].groups = vec![(u32::MAX - 1, group(0, 2))];
    assert!(matches!(hostile.apply(&old), Err(IncrementalError::DoesNotFit { .. })));
    let mut hostile = Incremental::between(&old, &new, &new.encode());
    hostile.pools[0].pg_num = u32::MAX;
    assert!(matches!(hostile.apply(&old), Err(IncrementalError::DoesNotFit { .. })));
}
