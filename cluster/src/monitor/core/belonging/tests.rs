//! Whatever changes, in whatever order, and however little may be done at a time: in the end every group is where placing all of them at
//! once puts it.

use super::*;
use crate::crush::CrushMap;
use crate::map::Osd;
use crate::placement::place_osd;
use proptest::prelude::*;

fn osd(id: u32) -> Osd {
    let before = Map::decode(include_bytes!("../../../../tests/images/map-version-2")).unwrap();
    Osd {
        id,
        host: format!("host{}", id / 3),
        exists: true,
        is_in: true,
        reweight: 1.0,
        weight: 1.0,
        ..before.osds[0].clone()
    }
}

fn map_of(osds: u32) -> Map {
    let mut map = Map::new([7; 16], 1);
    map.set_crush_map(&CrushMap::new_default());
    (0..osds).for_each(|id| add_osd(&mut map, id));
    map
}

fn add_osd(map: &mut Map, id: u32) {
    if map.osd(id).is_none() {
        let mut crush = map.crush_map();
        place_osd(&mut crush, &osd(id)).unwrap();
        map.set_crush_map(&crush);
        map.osds.push(osd(id));
        map.osds.sort_by_key(|osd| osd.id);
    }
}

#[derive(Clone, Debug)]
enum Change {
    Reweight(u32, f64),
    In(u32, bool),
    Add(u32),
    Weigh(u32, u32),
    Pool(u32, u32, u32),
    Resize(u32, u32),
    Remove(u32),
    /// As much as may be done until the next tick.
    Tick,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0u32..18, 0.0..1.0).prop_map(|(osd, reweight)| Change::Reweight(osd, reweight)),
        4 => (0u32..18, any::<bool>()).prop_map(|(osd, is_in)| Change::In(osd, is_in)),
        1 => (12u32..18).prop_map(Change::Add),
        1 => (0u32..18, 0u32..0x4_0000).prop_map(|(osd, weight)| Change::Weigh(osd, weight)),
        1 => (1u32..5, 1u32..100, 1u32..4).prop_map(|(id, pg_num, size)| Change::Pool(id, pg_num, size)),
        1 => (1u32..5, 1u32..4).prop_map(|(id, size)| Change::Resize(id, size)),
        1 => (1u32..5).prop_map(Change::Remove),
        6 => Just(Change::Tick),
    ]
}

fn apply(map: &mut Map, change: &Change) {
    match *change {
        Change::Reweight(id, reweight) => map.osd_mut(id).into_iter().for_each(|osd| osd.reweight = reweight),
        Change::In(id, is_in) => map.osd_mut(id).into_iter().for_each(|osd| osd.is_in = is_in),
        Change::Add(id) => add_osd(map, id),
        Change::Weigh(id, weight) => {
            let mut crush = map.crush_map();
            if crush.reweight(&format!("osd.{id}"), weight).is_ok() {
                map.set_crush_map(&crush);
            }
        }
        Change::Pool(id, pg_num, size) => {
            if map.pool(id).is_none() {
                map.pools.push(Pool::new(id, format!("pool-{id}"), size, pg_num, 1));
                map.pools.sort_by_key(|pool| pool.id);
            }
        }
        Change::Resize(id, size) => map.pool_mut(id).into_iter().for_each(|pool| pool.size = size),
        Change::Remove(id) => map.pools.retain(|pool| pool.id != id),
        Change::Tick => {}
    }
}

fn assert_is_as_placed_at_once(belonging: &Belonging, map: &Map) {
    let placer = Placer::new(map);
    for pool in &map.pools {
        let at_once: Vec<Vec<u32>> = (0..pool.pg_num).map(|seed| placer.choose(pool, seed)).collect();
        assert_eq!(belonging.of_pool(pool.id), at_once, "pool {}", pool.id);
    }
    assert_eq!(belonging.by_pool.len(), map.pools.len());
}

proptest! {
    #[test]
    fn groups_come_to_be_where_placing_all_at_once_puts_them(
        draws in prop_oneof![Just(1u64), 50..5000u64, Just(u64::MAX)],
        changes in prop::collection::vec(change(), 1..30),
    ) {
        let mut map = map_of(12);
        map.pools.push(Pool::new(1, "data", 3, 64, 1));
        let mut belonging = Belonging::with_draws_per_tick(draws);
        belonging.learn(&map);
        for change in &changes {
            apply(&mut map, change);
            if matches!(change, Change::Tick) {
                belonging.refill();
            }
            belonging.follow(&map);
            belonging.advance(&map);
        }
        while belonging.is_behind() {
            belonging.refill();
            belonging.advance(&map);
        }
        assert_is_as_placed_at_once(&belonging, &map);
    }
}

#[test]
fn an_osd_that_goes_out_and_comes_back_has_only_those_placed_anew_that_drew_it() {
    let mut map = map_of(60);
    map.pools.push(Pool::new(1, "data", 3, 4096, 1));
    let mut belonging = Belonging::with_draws_per_tick(u64::MAX);
    belonging.learn(&map);
    let held = belonging.of_pool(1).iter().filter(|members| members.contains(&17)).count();
    for is_in in [false, true] {
        map.osd_mut(17).unwrap().is_in = is_in;
        belonging.follow(&map);
        assert!((held..held + held / 4).contains(&belonging.behind.len()), "{} of {held}", belonging.behind.len());
        belonging.advance(&map);
        assert_is_as_placed_at_once(&belonging, &map);
    }
}

#[test]
fn a_group_stays_where_it_is_until_its_turn_has_come() {
    let mut map = map_of(12);
    map.pools.push(Pool::new(1, "data", 3, 256, 1));
    let mut belonging = Belonging::with_draws_per_tick(500);
    belonging.learn(&map);
    while belonging.is_behind() {
        belonging.refill();
        belonging.advance(&map);
    }
    let before = belonging.of_pool(1).to_vec();
    add_osd(&mut map, 12);
    belonging.follow(&map);
    assert_eq!(belonging.of_pool(1), before);
    belonging.refill();
    belonging.advance(&map);
    assert!(belonging.is_behind() && belonging.behind.len() < 256);
    // A monitor that has just started knows nothing but where groups are.
    let held = PlacementGroup { in_sync: vec![5, 3, 8], primary: Some(3), reign: 1, changed_epoch: 1 };
    map.pools[0].pgs = vec![held; 256];
    let mut fresh = Belonging::with_draws_per_tick(1);
    fresh.learn(&map);
    assert_eq!(fresh.of_pool(1)[255], [3, 5, 8]);
}
