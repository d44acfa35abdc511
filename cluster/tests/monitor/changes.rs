//! Changes of OSDs: in, out, down, reweight, given up; and whether that is safe.

use super::harness::{Harness, boot, report, session_of};
use basalt_net::message::monitor::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn command(what: OsdChange, osds: &[u32], mode: ChangeMode) -> AdminCommand {
    AdminCommand::Change { change: MapChange::Osds { osds: osds.to_vec(), what }, mode }
}

fn change(harness: &mut Harness, what: OsdChange, osds: &[u32]) -> CommandReply {
    harness.command(command(what, osds, ChangeMode::default()))
}

fn surely(harness: &mut Harness, what: OsdChange, osds: &[u32]) -> CommandReply {
    harness.command(command(what, osds, ChangeMode { sure: true, dry_run: false }))
}

fn report_all(harness: &mut Harness, objects: u64) {
    let osds: Vec<u32> = harness.map().osds.iter().filter(|osd| osd.is_up).map(|osd| osd.id).collect();
    for osd in osds {
        let held = harness.map().pgs().any(|(_, _, group)| group.in_sync.contains(&osd));
        let objects = if held { objects } else { 0 };
        let pool = PoolReport { pool: 1, objects, data_bytes: objects << 20, ..PoolReport::default() };
        harness.request(session_of(osd), MonitorRequest::Report(OsdReport { pools: vec![pool], ..report(osd) }));
    }
}

/// As primaries do once everyone that CRUSH wants has everything.
fn all_are_filled(harness: &mut Harness) {
    let groups: Vec<_> = harness.map().pgs().map(|(pg, _, group)| (pg, group.clone())).collect();
    for (pg, group) in groups {
        let query = harness.json(AdminCommand::PgQuery { pg: pg.to_string() });
        let up: Vec<u32> = serde_json::from_value(query["up"].clone()).unwrap();
        let Some(primary) = group.primary else { continue };
        for osd in up.into_iter().filter(|id| !group.in_sync.contains(id)) {
            let up_since_epoch = harness.map().osd(osd).unwrap().up_since_epoch;
            let reign = harness.map().pg(pg).unwrap().reign;
            let epoch = harness.map().epoch();
            let join = GroupJoin { pool: pg.pool, pg: pg.seed, reign, osd, up_since_epoch, epoch };
            harness.request(session_of(primary), MonitorRequest::Groups(GroupChanges { primary, joins: vec![join] }));
        }
    }
}

#[test]
fn osds_are_marked_in_the_words_of_ceph() {
    let mut harness = Harness::with_osds(6, 0);
    let epoch = harness.map().epoch();
    for (what, expected) in [
        (OsdChange::In, "osd.1 is already in."),
        (OsdChange::Out, "marked out osd.1."),
        (OsdChange::Out, "osd.1 is already out."),
        (OsdChange::In, "marked in osd.1."),
        (OsdChange::Reweight { weight: 0.5 }, "reweighted osd.1 to 0.5 (8000)"),
        (OsdChange::Reweight { weight: 0.0 }, "reweighted osd.1 to 0 (0)"),
        (OsdChange::Reweight { weight: 1.0 }, "reweighted osd.1 to 1 (10000)"),
        (OsdChange::Down, "marked down osd.1."),
        (OsdChange::Down, "osd.1 is already down."),
    ] {
        let reply = change(&mut harness, what, &[1]);
        assert_eq!((reply.errno, reply.message.as_str()), (0, expected));
    }
    assert_eq!(harness.map().epoch(), epoch + 6, "what changed nothing made no map");
    assert_eq!(change(&mut harness, OsdChange::Out, &[4, 2, 4]).message, "marked out osd.2. marked out osd.4.");
    // It was marked down by hand, lives, and reports; for a moment it stays down all the same.
    harness.tick_for(3);
    harness.request(session_of(1), MonitorRequest::Report(report(1)));
    assert!(harness.map().osd(1).unwrap().is_up);
}

#[test]
fn wrong_numbers_and_weights_are_refused_and_change_nothing() {
    let mut harness = Harness::with_osds(2, 0);
    let epoch = harness.map().epoch();
    for (what, osds, errno, words) in [
        (OsdChange::Out, &[0, 9][..], libc::ENOENT, "osd.9 does not exist"),
        (OsdChange::Out, &[], libc::EINVAL, "no OSD is named"),
        (OsdChange::Reweight { weight: 1.5 }, &[0], libc::EINVAL, "weight 1.5 is not within 0 and 1"),
        (OsdChange::Reweight { weight: -0.5 }, &[0], libc::EINVAL, "weight -0.5 is not within 0 and 1"),
        (OsdChange::Reweight { weight: f64::NAN }, &[0], libc::EINVAL, "weight NaN is not within 0 and 1"),
        (OsdChange::Purge, &[0], libc::EBUSY, "osd.0 is not `down`: stop it first"),
        (OsdChange::Destroy, &[1], libc::EBUSY, "osd.1 is not `down`: stop it first"),
    ] {
        let reply = surely(&mut harness, what, osds);
        assert_eq!(reply.errno, errno);
        assert!(reply.message.starts_with(words), "{}", reply.message);
    }
    assert_eq!(harness.map().epoch(), epoch);
}

#[test]
fn one_marked_down_by_hand_is_marked_out_like_any_other() {
    let mut harness = Harness::with_osds(6, 0);
    change(&mut harness, OsdChange::Down, &[5]);
    for _ in 0..602 {
        for osd in 0..5 {
            harness.request(session_of(osd), MonitorRequest::Report(report(osd)));
        }
        harness.tick_for(1);
    }
    assert!(!harness.map().osd(5).unwrap().is_in);
}

#[test]
fn a_dry_run_says_what_would_move_and_changes_nothing() {
    let mut harness = Harness::with_osds(8, 0);
    harness.create_pool("data", 16, 2);
    report_all(&mut harness, 400);
    let before = harness.map().clone();
    let dry = ChangeMode { dry_run: true, sure: false };
    let tried = harness.json(command(OsdChange::Out, &[3], dry));
    assert_eq!(harness.map(), &before);
    let reply = harness.command(command(OsdChange::Out, &[3], dry));
    assert!(reply.message.starts_with("dry run, nothing is changed: "), "{}", reply.message);
    // What it said comes true.
    change(&mut harness, OsdChange::Out, &[3]);
    let mut moved = 0;
    let mut copies = 0;
    for (pg, _, group) in before.pgs() {
        let query = harness.json(AdminCommand::PgQuery { pg: pg.to_string() });
        let belongs: Vec<u32> = serde_json::from_value(query["belongs_on"].clone()).unwrap();
        let made = belongs.iter().filter(|id| !group.in_sync.contains(id)).count();
        copies += made;
        moved += usize::from(made > 0);
    }
    assert!(moved > 0);
    assert_eq!(
        (tried["pgs_moved"].as_u64(), tried["copies_moved"].as_u64()),
        (Some(moved as u64), Some(copies as u64))
    );
    assert_eq!(tried["num_pgs"], 16);
    let status = harness.json(AdminCommand::Status);
    let a_copy = status["pgmap"]["data_bytes"].as_f64().unwrap() / 16.0;
    let bytes = tried["bytes_moved"].as_f64().unwrap();
    assert!((bytes - a_copy * copies as f64).abs() < a_copy, "{bytes} and {copies} copies of {a_copy}");
    let nothing = harness.json(command(OsdChange::Out, &[3], dry));
    assert_eq!((&nothing["pgs_moved"], &nothing["dry_run"]), (&serde_json::json!(0), &serde_json::json!(true)));
}

#[test]
fn draining_where_there_is_no_other_place_is_done_with_a_warning_and_loses_no_copy() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    let before: Vec<Vec<u32>> = harness.map().pgs().map(|(_, _, group)| group.in_sync.clone()).collect();
    let reply = change(&mut harness, OsdChange::Out, &[0, 1]);
    assert_eq!(reply.errno, 0);
    assert!(reply.message.contains("warning: the rule of pool 'data' would find only 2 OSDs"), "{}", reply.message);
    let sets = |groups: Vec<Vec<u32>>| groups.into_iter().map(BTreeSet::from_iter).collect::<Vec<BTreeSet<u32>>>();
    let after: Vec<Vec<u32>> = harness.map().pgs().map(|(_, _, group)| group.in_sync.clone()).collect();
    assert_eq!(sets(before), sets(after));
}

#[test]
fn it_is_ok_to_stop_what_leaves_every_group_min_size_live_members() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 32, 3);
    let ok = |osds: &[u32]| AdminCommand::OsdOkToStop { osds: osds.to_vec() };
    let document = harness.json(ok(&[0]));
    assert_eq!((&document["ok_to_stop"], &document["num_not_ok_pgs"]), (&true.into(), &0.into()));
    assert_eq!(harness.command(ok(&[0, 1])).errno, 0, "two of one host share no group");
    let shared = harness.map().pgs().find(|(_, _, group)| group.in_sync.contains(&0)).unwrap();
    let other = shared.2.in_sync.iter().copied().find(|id| *id != 0).unwrap();
    let reply = harness.command(ok(&[0, other]));
    assert_eq!(reply.errno, libc::EBUSY);
    assert!(reply.message.starts_with("unsafe to stop osd(s) at this time ("), "{}", reply.message);
    assert!(reply.message.contains(" PGs are or would become offline: 1."), "{}", reply.message);
    // With one down, another of its groups can't be spared either.
    change(&mut harness, OsdChange::Down, &[other]);
    assert_eq!(harness.command(ok(&[0])).errno, libc::EBUSY);
    assert_eq!(harness.command(ok(&[77])).errno, libc::ENOENT);
}

#[test]
fn an_osd_is_safe_to_destroy_once_nobody_needs_it_and_not_before() {
    let mut harness = Harness::with_osds(8, 0);
    harness.create_pool("data", 16, 2);
    report_all(&mut harness, 100);
    let safe = AdminCommand::OsdSafeToDestroy { osds: vec![3] };
    let reply = harness.command(safe.clone());
    assert_eq!(reply.errno, libc::EBUSY);
    assert!(reply.message.contains(" pgs currently mapped to them: 1."), "{}", reply.message);
    change(&mut harness, OsdChange::Out, &[3]);
    assert_eq!(harness.command(safe.clone()).errno, libc::EBUSY, "it holds what has not been copied yet");
    all_are_filled(&mut harness);
    // Everything is elsewhere, and clean.
    report_all(&mut harness, 100);
    let reply = harness.command(safe.clone());
    assert_eq!(
        (reply.errno, reply.message.as_str()),
        (0, "OSD(s) 3 are safe to destroy without reducing data durability.")
    );
    // Another is down and groups are not clean, while this one still stores something: it can't be told.
    let leftover = PoolReport { pool: 1, objects: 5, ..PoolReport::default() };
    harness.request(session_of(3), MonitorRequest::Report(OsdReport { pools: vec![leftover], ..report(3) }));
    change(&mut harness, OsdChange::Down, &[0]);
    let reply = harness.command(safe.clone());
    assert_eq!(reply.errno, libc::EAGAIN, "{}", reply.message);
    assert!(reply.message.contains("not all PGs are active+clean (1."), "{}", reply.message);
    harness.request(session_of(3), MonitorRequest::Report(report(3)));
    assert_eq!(harness.command(safe.clone()).errno, 0, "it is empty, whatever becomes of the others");
    harness.pass(Duration::from_secs(60));
    let reply = harness.command(safe);
    assert!(reply.errno == libc::EAGAIN && reply.message.contains("have not reported lately"), "{}", reply.message);
}

#[test]
fn the_last_copy_of_a_group_is_never_given_up() {
    let mut harness = Harness::with_osds(4, 0);
    harness.create_pool("data", 8, 1);
    let holder = harness.map().pgs().next().unwrap().2.in_sync[0];
    change(&mut harness, OsdChange::Down, &[holder]);
    let epoch = harness.map().epoch();
    for (what, word) in [(OsdChange::Purge, "purged"), (OsdChange::Destroy, "destroyed")] {
        let reply = surely(&mut harness, what, &[holder]);
        assert_eq!(reply.errno, libc::EBUSY);
        assert!(
            reply
                .message
                .contains(&format!("no copy but on osd.{holder}, which would be {word}: that would lose data")),
            "{}",
            reply.message
        );
    }
    assert_eq!(harness.map().epoch(), epoch);
}

#[test]
fn purging_takes_an_osd_out_of_everything_and_only_when_it_is_meant() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    report_all(&mut harness, 100);
    for entity in ["osd.0", "osd.1"] {
        let add =
            AuthCommand::Add { entity: entity.into(), public_key: [7; 32], mon: String::new(), osd: String::new() };
        assert_eq!(harness.command(AdminCommand::Auth(add)).errno, 0);
    }
    change(&mut harness, OsdChange::Down, &[0]);
    let reply = change(&mut harness, OsdChange::Purge, &[0]);
    assert_eq!(reply.errno, libc::EPERM);
    assert!(reply.message.contains("pass --yes-i-really-mean-it"), "{}", reply.message);
    let reply = surely(&mut harness, OsdChange::Purge, &[0]);
    assert_eq!((reply.errno, reply.message.as_str()), (0, "purged osd.0"));
    assert!(harness.map().osd(0).is_none());
    let known = |name: &str| harness.core.map().auth.get(name).is_some();
    assert!(!known("osd.0") && known("osd.1"), "its key, and no other, is forgotten");
    let tree = harness.json(AdminCommand::OsdTree);
    assert!(!tree.to_string().contains("osd.0\""), "{tree}");
    assert_eq!(harness.json(AdminCommand::Df)["stats"]["num_osds"], 5);
    assert_eq!(harness.json(AdminCommand::Df)["stats"]["total_bytes"], 5u64 << 40, "its report is forgotten");
    // The number may be used again.
    harness.request(session_of(0), MonitorRequest::Boot(OsdBoot { store_id: [99; 16], ..boot(0) }));
    assert!(harness.map().osd(0).unwrap().is_up);
}

#[test]
fn a_destroyed_osd_keeps_its_place_and_takes_a_new_device() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    change(&mut harness, OsdChange::Down, &[0]);
    let reply = surely(&mut harness, OsdChange::Destroy, &[0]);
    assert_eq!((reply.errno, reply.message.as_str()), (0, "destroyed osd.0"));
    let status = |harness: &mut Harness| {
        let tree = harness.json(AdminCommand::OsdTree);
        let nodes = tree["nodes"].as_array().unwrap().clone();
        nodes.into_iter().find(|node| node["id"] == 0).unwrap()["status"].clone()
    };
    assert_eq!(status(&mut harness), "destroyed");
    assert!(harness.map().pgs().all(|(_, _, group)| !group.in_sync.contains(&0)));
    harness.request(session_of(0), MonitorRequest::Boot(OsdBoot { store_id: [99; 16], ..boot(0) }));
    assert_eq!(status(&mut harness), "up");
}

#[test]
fn a_group_that_loses_all_but_one_member_to_a_purge_keeps_that_one_as_its_primary() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    let set = harness.map().pgs().next().unwrap().2.in_sync.clone();
    for osd in &set {
        change(&mut harness, OsdChange::Down, &[*osd]);
    }
    // Two were left when the last member that may leave had left; the primary is one of them.
    let group = harness.map().pgs().next().unwrap().2.clone();
    assert_eq!(group.in_sync.len(), 2);
    let primary = group.primary.unwrap();
    let reply = surely(&mut harness, OsdChange::Purge, &[primary]);
    assert_eq!(reply.errno, 0, "{}", reply.message);
    let left = harness.map().pgs().next().unwrap().2.clone();
    let kept: Vec<u32> = group.in_sync.into_iter().filter(|id| *id != primary).collect();
    assert_eq!((left.primary, left.in_sync), (Some(kept[0]), kept));
    assert!(left.reign > group.reign);
}
