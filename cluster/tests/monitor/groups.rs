//! Placement groups as they are shown: their states, what they wait for, how many copies are missing or misplaced, and how far
//! recovery is.

use super::harness::{Harness, boot, report, session_of};
use basalt_net::message::monitor::*;
use serde_json::{Value, json};
use std::time::Duration;

const OBJECTS: u64 = 1000;

/// Six OSDs on three hosts, and a pool of eight groups, three copies each.
fn cluster() -> Harness {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    say_all_is_well(&mut harness);
    harness
}

/// As OSDs report a pool of so many objects, spread evenly over its groups.
fn with_objects(harness: &Harness, osd: u32) -> OsdReport {
    let groups = harness.map().pgs().filter(|(_, _, group)| group.in_sync.contains(&osd)).count() as u64;
    let objects = groups * OBJECTS / 8;
    let pool = PoolReport { pool: 1, objects, data_bytes: objects << 20, ..PoolReport::default() };
    OsdReport { pools: vec![pool], ..report(osd) }
}

fn say_all_is_well(harness: &mut Harness) {
    for osd in 0..6 {
        let report = with_objects(harness, osd);
        if harness.map().osd(osd).is_some_and(|osd| osd.is_up) {
            harness.request(session_of(osd), MonitorRequest::Report(report));
        }
    }
}

fn change(what: OsdChange, osds: &[u32]) -> AdminCommand {
    AdminCommand::Change { change: MapChange::Osds { osds: osds.to_vec(), what }, mode: ChangeMode::default() }
}

fn state_of(harness: &mut Harness, pg: &str) -> String {
    harness.json(AdminCommand::PgQuery { pg: pg.into() })["state"].as_str().unwrap().to_owned()
}

fn query(harness: &mut Harness, pg: &str) -> CommandReply {
    harness.command(AdminCommand::PgQuery { pg: pg.into() })
}

/// What the primary of group 1.0 says of it, in the group's present reign.
fn primary_says(harness: &mut Harness, is_active: bool, waits_for: &str, recovering: Vec<MemberProgress>) {
    let (_, _, group) = harness.map().pgs().next().unwrap();
    let (primary, reign) = (group.primary.unwrap(), group.reign);
    let waits_for = waits_for.into();
    let groups =
        vec![GroupReport { pool: 1, pg: 0, reign, is_active, waits_for, recovering, scrub: GroupScrub::default() }];
    let report = OsdReport { groups, ..with_objects(harness, primary) };
    harness.request(session_of(primary), MonitorRequest::Report(report));
}

fn members(harness: &Harness) -> Vec<u32> {
    harness.map().pgs().next().unwrap().2.in_sync.clone()
}

fn is_marked_down(harness: &mut Harness, osd: u32) {
    let reply = harness.command(change(OsdChange::Down, &[osd]));
    assert_eq!(reply.message, format!("marked down osd.{osd}."));
}

#[test]
fn a_group_is_clean_when_all_its_copies_are_where_crush_wants_them() {
    let mut harness = cluster();
    assert_eq!(state_of(&mut harness, "1.0"), "active+clean");
    let status = harness.json(AdminCommand::Status);
    let pgs = &status["pgmap"];
    assert_eq!(pgs["pgs_by_state"], json!([{ "state_name": "active+clean", "count": 8 }]));
    assert_eq!((&pgs["num_objects"], &pgs["degraded_total"]), (&json!(1000), &json!(3000)));
    assert_eq!((&pgs["degraded_objects"], &pgs["misplaced_objects"]), (&json!(0), &json!(0)));
    assert_eq!((&status["progress"], &status["progress_events"]), (&Value::Null, &json!({})));
    assert!(query(&mut harness, "1.0").message.contains("It waits for nothing."));
}

#[test]
fn a_member_that_is_down_leaves_its_groups_undersized_and_is_named_in_the_query() {
    let mut harness = cluster();
    let lost = members(&harness)[0];
    is_marked_down(&mut harness, lost);
    assert_eq!(state_of(&mut harness, "1.0"), "active+undersized+degraded");
    harness.pass(Duration::from_secs(200));
    let said = query(&mut harness, "1.0").message;
    let expected = format!(
        "- osd.{lost} of host h{}, which is down for 3m; if it does not return within 6m, its copies are made anew elsewhere",
        lost / 2
    );
    assert!(said.contains(&expected), "{said}");
    harness.command(AdminCommand::OsdSetFlag { flag: "noout".into(), is_set: true });
    let said = query(&mut harness, "1.0").message;
    assert!(said.contains("the noout flag keeps its copies from being made anew elsewhere"), "{said}");
    // What the OSD that is down reported does not make objects more.
    let pgs = harness.json(AdminCommand::Status)["pgmap"].clone();
    assert_eq!(pgs["num_objects"], 1000);
    let groups = harness.map().pgs().filter(|(_, _, group)| group.in_sync.len() == 2).count() as u64;
    assert_eq!(pgs["degraded_objects"], groups * OBJECTS / 8);
    let health = harness.json(AdminCommand::HealthDetail);
    let degraded = health["checks"]["PG_DEGRADED"]["summary"]["message"].as_str().unwrap();
    let objects = groups * 125;
    let share = objects as f64 / 30.0;
    assert_eq!(
        degraded,
        format!(
            "Degraded data redundancy: {objects}/3000 objects degraded ({share:.3}%), {groups} pgs degraded, {groups} pgs undersized"
        )
    );
    let flags = health["checks"]["OSDMAP_FLAGS"]["detail"][0]["message"].as_str().unwrap();
    assert_eq!(flags, "noout: OSDs that are down stay in, and their copies are not made anew elsewhere (1 OSDs now)");
}

#[test]
fn below_min_size_a_group_is_peered_and_without_members_down() {
    let mut harness = cluster();
    let set = members(&harness);
    is_marked_down(&mut harness, set[0]);
    is_marked_down(&mut harness, set[1]);
    assert_eq!(state_of(&mut harness, "1.0"), "undersized+degraded+peered");
    let said = query(&mut harness, "1.0").message;
    let expected = format!("1 more of the 2 copies that a write needs (min_size): osd.{} may come back", set[1]);
    assert!(said.contains(&expected), "{said}");
    is_marked_down(&mut harness, set[2]);
    assert_eq!(state_of(&mut harness, "1.0"), "down");
    let said = query(&mut harness, "1.0").message;
    assert!(said.contains("nobody else has every acknowledged write; once 2 of them are back"), "{said}");
    let health = harness.command(AdminCommand::HealthDetail).message;
    assert!(health.contains("Reduced data availability: "), "{health}");
    assert!(health.contains("pg 1.0 is down, acting [], waiting for osd."), "{health}");
}

#[test]
fn a_group_is_served_unless_its_primary_says_otherwise_in_the_same_reign() {
    let mut harness = cluster();
    primary_says(&mut harness, false, "the lease of the primary before to run out", vec![]);
    assert_eq!(state_of(&mut harness, "1.0"), "peering");
    let said = query(&mut harness, "1.0").message;
    assert!(said.contains("- the lease of the primary before to run out"), "{said}");
    let health = harness.command(AdminCommand::HealthDetail).message;
    assert!(health.contains("pg 1.0 is peering, acting ["), "{health}");
    assert!(health.contains("waiting for the lease of the primary before to run out"), "{health}");
    // Its process starts anew: another reign, of which it has said nothing yet.
    let primary = members(&harness)[0];
    harness.request(session_of(primary), MonitorRequest::Boot(OsdBoot { life: 99, ..boot(primary) }));
    assert_eq!(state_of(&mut harness, "1.0"), "active+clean");
}

fn progress(osd: u32, is_backfill: bool, done: u64, total: u64, is_waiting: bool) -> MemberProgress {
    MemberProgress { osd, is_backfill, objects_done: done, objects_total: total, bytes_done: done << 20, is_waiting }
}

#[test]
fn one_that_returns_catches_up_and_one_that_takes_another_place_is_backfilled() {
    let mut harness = cluster();
    let back = members(&harness)[2];
    is_marked_down(&mut harness, back);
    harness.request(session_of(back), MonitorRequest::Boot(OsdBoot { life: 99, ..boot(back) }));
    for (is_waiting, expected) in
        [(true, "active+recovery_wait+undersized+degraded"), (false, "active+recovering+undersized+degraded")]
    {
        primary_says(&mut harness, true, "", vec![progress(back, false, 2, 10, is_waiting)]);
        assert_eq!(state_of(&mut harness, "1.0"), expected);
    }
    let said = query(&mut harness, "1.0").message;
    assert!(said.contains(&format!("- osd.{back} to be caught up: 2 of 10 objects, 2 MiB sent")), "{said}");
    for (is_waiting, expected) in [
        (true, "active+undersized+degraded+remapped+backfill_wait"),
        (false, "active+undersized+degraded+remapped+backfilling"),
    ] {
        primary_says(&mut harness, true, "", vec![progress(back, true, 50, 125, is_waiting)]);
        assert_eq!(state_of(&mut harness, "1.0"), expected);
    }
    harness.command(AdminCommand::OsdSetFlag { flag: "nobackfill".into(), is_set: true });
    primary_says(&mut harness, true, "", vec![progress(back, true, 0, 125, true)]);
    let said = query(&mut harness, "1.0").message;
    assert!(said.contains("to be backfilled, which the nobackfill flag holds back"), "{said}");
    let health = harness.command(AdminCommand::HealthDetail).message;
    assert!(health.contains("nobackfill: no OSD is backfilled (1 pgs wait now)"), "{health}");
}

#[test]
fn what_is_drained_is_misplaced_and_never_degraded() {
    let mut harness = cluster();
    let drained = members(&harness)[0];
    let reply = harness.command(change(OsdChange::Out, &[drained]));
    assert_eq!(reply.message, format!("marked out osd.{drained}."));
    say_all_is_well(&mut harness);
    let state = state_of(&mut harness, "1.0");
    assert_eq!(state, "active+remapped");
    let status = harness.json(AdminCommand::Status);
    assert_eq!(status["pgmap"]["degraded_objects"], 0);
    let misplaced = status["pgmap"]["misplaced_objects"].as_u64().unwrap();
    assert!(misplaced >= 125 && misplaced.is_multiple_of(125), "{misplaced}");
    assert!(status["osdmap"]["num_remapped_pgs"].as_u64().unwrap() >= 1);
    let health = harness.json(AdminCommand::HealthDetail);
    let shown = health["checks"]["OBJECT_MISPLACED"]["summary"]["message"].as_str().unwrap().to_owned();
    assert!(shown.starts_with(&format!("{misplaced}/3000 objects misplaced (")), "{shown}");
    // Half of it has been copied.
    let filled = {
        let query = harness.json(AdminCommand::PgQuery { pg: "1.0".into() });
        let of =
            |key: &str| -> Vec<u64> { query[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect() };
        let (up, in_sync) = (of("up"), of("in_sync"));
        up.into_iter().find(|id| !in_sync.contains(id)).unwrap() as u32
    };
    primary_says(&mut harness, true, "", vec![progress(filled, true, 63, 125, false)]);
    let after = harness.json(AdminCommand::Status)["pgmap"]["misplaced_objects"].as_u64().unwrap();
    assert_eq!(after, misplaced - 63);
}

#[test]
fn progress_is_told_in_percent_and_its_end_from_its_pace() {
    let mut harness = cluster();
    let back = members(&harness)[2];
    is_marked_down(&mut harness, back);
    harness.request(session_of(back), MonitorRequest::Boot(OsdBoot { life: 99, ..boot(back) }));
    // All groups but 1.0 have the OSD in their sets again.
    let joins: Vec<GroupJoin> = harness
        .map()
        .pgs()
        .skip(1)
        .filter(|(_, _, group)| !group.in_sync.contains(&back))
        .map(|(pg, _, group)| GroupJoin {
            pool: pg.pool,
            pg: pg.seed,
            reign: group.reign,
            osd: back,
            up_since_epoch: harness.map().osd(back).unwrap().up_since_epoch,
            epoch: harness.map().epoch(),
        })
        .collect();
    let primaries: Vec<u32> = harness.map().pgs().map(|(_, _, group)| group.primary.unwrap()).collect();
    for join in joins {
        let primary = primaries[join.pg as usize];
        harness.request(session_of(primary), MonitorRequest::Groups(GroupChanges { primary, joins: vec![join] }));
    }
    say_all_is_well(&mut harness);
    let mut shown = Vec::new();
    for second in 0..=20u64 {
        let (_, _, group) = harness.map().pgs().next().unwrap();
        let primary = group.primary.unwrap();
        let counted = OsdReport {
            groups: vec![GroupReport {
                pool: 1,
                pg: 0,
                reign: group.reign,
                is_active: true,
                waits_for: String::new(),
                recovering: vec![progress(back, true, 2 * second, 125, false)],
                scrub: GroupScrub::default(),
            }],
            recovered_bytes: second << 21,
            recovered_objects: 2 * second,
            ..with_objects(&harness, primary)
        };
        harness.request(session_of(primary), MonitorRequest::Report(counted));
        harness.tick_for(1);
        shown.push(harness.json(AdminCommand::Status));
    }
    let last = &shown[20];
    assert_eq!(last["progress"]["percent"], 32.0, "{}", last["progress"]);
    assert_eq!(last["progress"]["objects_left"], 85);
    let remaining = last["progress"]["remaining_s"].as_u64().unwrap();
    assert!((42..=43).contains(&remaining), "85 objects at 2 a second, not {remaining} s");
    assert_eq!(shown[1]["progress"]["remaining_s"], Value::Null, "nothing can be told from one second");
    assert_eq!(last["pgmap"]["recovering_bytes_per_sec"], 2 << 20);
    assert_eq!(last["pgmap"]["recovering_objects_per_sec"], 2);
    assert_eq!(last["progress_events"]["recovery"]["message"], "Recovery (20s)");
    let stat = harness.command(AdminCommand::PgStat).message;
    assert!(stat.ends_with("; 2 MiB/s, 2 objects/s recovering"), "{stat}");
}

#[test]
fn groups_are_listed_by_state_pool_and_osd() {
    let mut harness = cluster();
    harness.create_pool("other", 4, 2);
    let ls = |pool: Option<&str>, osd: Option<u32>, states: &[&str]| AdminCommand::PgLs {
        which: PgSelection {
            pool: pool.map(str::to_owned),
            osd,
            states: states.iter().map(|state| (*state).to_owned()).collect(),
        },
    };
    let count = |harness: &mut Harness, command| harness.json(command)["pg_stats"].as_array().unwrap().len();
    assert_eq!(count(&mut harness, ls(None, None, &[])), 12);
    assert_eq!(count(&mut harness, ls(Some("2"), None, &["active"])), 4);
    assert_eq!(count(&mut harness, ls(Some("other"), None, &["active", "clean"])), 4);
    assert_eq!(count(&mut harness, ls(None, None, &["degraded"])), 0);
    assert_eq!(count(&mut harness, ls(None, None, &["unknown"])), 0);
    let holds = harness.map().pgs().filter(|(_, _, group)| group.in_sync.contains(&3)).count();
    assert_eq!(count(&mut harness, ls(None, Some(3), &[])), holds);
    for (wrong, errno, words) in [
        (ls(None, None, &["happy"]), libc::EINVAL, "'happy' is not a valid pg state: one of unknown|active|clean"),
        (ls(Some("nopool"), None, &[]), libc::ENOENT, "unrecognized pool 'nopool'"),
        (ls(None, Some(77), &[]), libc::ENOENT, "osd.77 does not exist"),
    ] {
        let reply = harness.command(wrong);
        assert_eq!(reply.errno, errno);
        assert!(reply.message.starts_with(words), "{}", reply.message);
    }
}

#[test]
fn a_query_has_cephs_keys_and_what_is_no_group_is_refused() {
    let mut harness = cluster();
    let document = harness.json(AdminCommand::PgQuery { pg: "1.7".into() });
    for key in ["state", "epoch", "up", "acting", "info", "peer_info", "recovery_state"] {
        assert!(document.get(key).is_some(), "{key}");
    }
    assert_eq!(document["info"]["stats"]["state"], "active+clean");
    assert_eq!(document["recovery_state"][0]["name"], "Started/Primary/Active");
    for (word, errno, words) in [
        ("1.8", libc::ENOENT, "pgid 1.8 does not exist: pool 'data' has 8 groups, the last is 1.7"),
        ("9.0", libc::ENOENT, "pgid 9.0 does not exist: there is no pool 9"),
        ("first", libc::EINVAL, "'first' is not a placement group; one looks like 1.d7"),
    ] {
        let reply = query(&mut harness, word);
        assert_eq!(reply.errno, errno);
        assert!(reply.message.starts_with(words), "{}", reply.message);
    }
}

#[test]
fn an_osd_that_only_clients_miss_is_named_with_who_misses_it_and_its_address() {
    let mut harness = cluster();
    for osd in [0, 1, 2, 3] {
        let silence = |id| PeerSilence {
            osd: id,
            up_since_epoch: harness.map().osd(id).unwrap().up_since_epoch,
            public_ms: 90_000,
            ..PeerSilence::default()
        };
        let report = OsdReport { silent_peers: vec![silence(4)], heard_peers: (0..6).collect(), ..report(osd) };
        harness.request(session_of(osd), MonitorRequest::Report(report));
    }
    let health = harness.command(AdminCommand::HealthDetail).message;
    let expected = "[WRN] OSD_PUBLIC_NETWORK: 1 osd(s) are not reached by clients: their public network is cut
    osd.4 of host h2 does not answer at 127.0.0.1:6804 on the public network for 90s, says osd.0, osd.1, osd.2, osd.3; on the cluster network it does";
    assert!(health.contains(expected), "{health}");
}

#[test]
fn after_a_restart_of_the_monitor_groups_are_in_the_state_they_were_in() {
    let harness = cluster();
    let mut harness = Harness::restored(harness.stored);
    assert_eq!(state_of(&mut harness, "1.0"), "active+clean");
}

/// What a primary asked for by an older map must not be done when it has let go of the OSD meanwhile.
#[test]
fn an_osd_joins_only_where_it_belongs_by_the_map_that_its_primary_goes_by() {
    let mut harness = cluster();
    let back = members(&harness)[2];
    is_marked_down(&mut harness, back);
    harness.request(session_of(back), MonitorRequest::Boot(OsdBoot { life: 99, ..boot(back) }));
    let join = |harness: &Harness, osd: u32, epoch: u32| {
        let (pg, _, group) = harness.map().pgs().next().map(|(pg, pool, group)| (pg, pool.id, group.clone())).unwrap();
        let up_since_epoch = harness.map().osd(osd).unwrap().up_since_epoch;
        let join = GroupJoin { pool: pg.pool, pg: pg.seed, reign: group.reign, osd, up_since_epoch, epoch };
        (group.primary.unwrap(), join)
    };
    let ask = |harness: &mut Harness, (primary, join): (u32, GroupJoin)| {
        let before = harness.map().epoch();
        harness.request(session_of(primary), MonitorRequest::Groups(GroupChanges { primary, joins: vec![join] }));
        (harness.map().epoch() > before, members(harness))
    };
    let early = harness.map().epoch();
    let elsewhere = (0..6).find(|osd| *osd != back && !members(&harness).contains(osd)).unwrap();
    let asked = join(&harness, elsewhere, early);
    assert!(!ask(&mut harness, asked).0, "osd.{elsewhere} does not belong to the group");
    // Out and in again: what was asked for before is not heard, what is asked for after is.
    let late = join(&harness, back, early);
    for what in [OsdChange::Out, OsdChange::In] {
        harness.command(change(what, &[back]));
    }
    assert!(!ask(&mut harness, late).0);
    let now = harness.map().epoch();
    let asked = join(&harness, back, now);
    let (is_news, members) = ask(&mut harness, asked);
    assert!(is_news && members.contains(&back), "{members:?}");
}
