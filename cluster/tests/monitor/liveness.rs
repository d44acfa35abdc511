//! OSDs that come, fall silent, return and claim to be what they are not; and who is told.

use super::harness::{ADMIN, Harness, boot, report, session_of};
use basalt_cluster::monitor::core::{Action, Event, SessionId};
use basalt_net::message::monitor::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn published(actions: &[Action]) -> Vec<(Vec<SessionId>, u32)> {
    let publish = |action: &Action| match action {
        Action::Publish { sessions, epoch, .. } => Some((sessions.clone(), *epoch)),
        _ => None,
    };
    actions.iter().filter_map(publish).collect()
}

fn refusal(actions: &[Action]) -> &CommandReply {
    match actions {
        [Action::Reply { reply: MonitorReply::Command { tag: 0, reply }, .. }] => reply,
        other => panic!("a refusal is one reply with tag 0, not {other:?}"),
    }
}

#[test]
fn an_osd_that_boots_is_up_in_and_weighs_its_size_in_tebibytes() {
    let mut harness = Harness::new();
    harness.request(SessionId(1), MonitorRequest::Boot(OsdBoot { base_bytes: 3 << 39, ..boot(2) }));
    let osd = harness.map().osd(2).unwrap();
    assert!(osd.exists && osd.is_up && osd.is_in);
    assert_eq!((osd.weight, osd.up_since_epoch, harness.map().epoch()), (1.5, 2, 2));
}

#[test]
fn a_silent_osd_goes_down_after_its_grace_and_its_groups_with_it() {
    let mut harness = Harness::with_osds(2, 0);
    harness.create_pool("data", 8, 1);
    harness.request(ADMIN, MonitorRequest::Subscribe { have_epoch: 0 });
    for _ in 0..20 {
        harness.pass(SECOND);
        harness.request(session_of(0), MonitorRequest::Report(report(0)));
        assert!(harness.handle(Event::Tick).is_empty(), "nobody has been silent for too long yet");
    }
    harness.pass(SECOND);
    let actions = harness.handle(Event::Tick);
    assert_eq!(published(&actions), [(vec![ADMIN], harness.map().epoch())]);
    assert!(harness.map().osd(0).unwrap().is_up && !harness.map().osd(1).unwrap().is_up);
    let health = harness.command(AdminCommand::HealthDetail).message;
    assert!(health.contains("[WRN] OSD_DOWN: 1 osds down\n    osd.1 (root=default,host=h0) is down"), "{health}");
    for (_, _, group) in harness.map().pgs() {
        assert!(group.primary.is_some(), "who holds a group's data does not change because it is away");
    }
    assert!(harness.handle(Event::Tick).is_empty(), "it goes down once");
}

#[test]
fn an_osd_that_hung_and_reports_again_is_up_again() {
    let mut harness = Harness::with_osds(1, 0);
    harness.tick_for(30);
    assert!(!harness.map().osd(0).unwrap().is_up);
    // Someone else's session proves nothing about the process that booted.
    harness.request(SessionId(77), MonitorRequest::Report(report(0)));
    assert!(!harness.map().osd(0).unwrap().is_up);
    harness.request(session_of(0), MonitorRequest::Report(report(0)));
    assert!(harness.map().osd(0).unwrap().is_up);
    assert!(harness.tick_for(19).is_empty());
}

#[test]
fn after_a_restart_of_the_monitor_every_osd_has_its_whole_grace() {
    let harness = Harness::with_osds(1, 0);
    let mut harness = Harness::restored(harness.stored);
    assert!(harness.tick_for(20).is_empty());
    assert!(!harness.tick_for(1).is_empty());
}

#[test]
fn a_monitor_that_stood_still_itself_blames_no_osd_for_its_silence() {
    let mut harness = Harness::with_osds(2, 0);
    harness.tick_for(10);
    harness.pass(100 * SECOND);
    assert!(harness.handle(Event::Tick).is_empty());
    harness.request(session_of(0), MonitorRequest::Report(report(0)));
    // Ten seconds of osd.1's silence were seen before, so ten more are left to it.
    assert!(harness.tick_for(10).is_empty());
    harness.tick_for(1);
    assert!(harness.map().osd(0).unwrap().is_up && !harness.map().osd(1).unwrap().is_up);
}

#[test]
fn a_boot_said_twice_is_decided_once() {
    let mut harness = Harness::with_osds(1, 0);
    let epoch = harness.map().epoch();
    assert!(harness.request(session_of(0), MonitorRequest::Boot(boot(0))).is_empty());
    assert_eq!(harness.map().epoch(), epoch);
    // A new session alone says nothing: the one before was cut.
    assert!(harness.request(SessionId(50), MonitorRequest::Boot(boot(0))).is_empty());
    assert_eq!(harness.map().epoch(), epoch);
    // Another process has lost all that the one before had in memory.
    harness.request(SessionId(51), MonitorRequest::Boot(OsdBoot { life: 77, ..boot(0) }));
    assert_eq!(harness.map().osd(0).unwrap().up_since_epoch, epoch + 1);
    harness.request(SessionId(50), MonitorRequest::Boot(OsdBoot { public_address: "127.0.0.1:9".into(), ..boot(0) }));
    assert_eq!(harness.map().osd(0).unwrap().public_address, "127.0.0.1:9");
}

#[test]
fn of_a_pool_with_fewer_copies_those_that_crush_wants_stay() {
    let mut harness = Harness::with_osds(3, 0);
    harness.create_pool("data", 4, 3);
    let wanted: Vec<Vec<u32>> = harness.map().pgs().map(|(_, _, group)| group.in_sync[..2].to_vec()).collect();
    let set = AdminCommand::PoolSet { name: "data".into(), variable: "size".into(), value: "2".into() };
    assert_eq!(harness.command(set).message, "set pool 1 size to 2");
    for ((pg, _, group), wanted) in harness.map().pgs().zip(wanted) {
        assert_eq!((group.primary, &group.in_sync), (Some(wanted[0]), &wanted), "{pg}");
    }
}

#[test]
fn another_disk_under_an_osds_number_is_refused_once_the_number_holds_data() {
    let mut harness = Harness::with_osds(1, 0);
    let other = OsdBoot { store_id: [99; 16], ..boot(0) };
    harness.request(SessionId(5), MonitorRequest::Boot(other.clone()));
    assert_eq!(harness.map().osd(0).unwrap().store_id, [99; 16], "an empty OSD may be made anew");
    harness.request(SessionId(6), MonitorRequest::Boot(boot(0)));
    harness.create_pool("data", 8, 1);
    let epoch = harness.map().epoch();
    let actions = harness.request(SessionId(5), MonitorRequest::Boot(other));
    assert_eq!(refusal(&actions).errno, libc::EEXIST);
    assert!(refusal(&actions).message.contains("start the old one, or give the new one another id"));
    assert_eq!(harness.map().epoch(), epoch);
}

#[test]
fn a_boot_that_makes_no_sense_is_refused() {
    let mut harness = Harness::new();
    for wrong in [
        OsdBoot { osd: u32::MAX, ..boot(0) },
        OsdBoot { host: String::new(), ..boot(0) },
        OsdBoot { host: "a b".into(), ..boot(0) },
        OsdBoot { host: "x".repeat(65), ..boot(0) },
        OsdBoot { public_address: "nowhere".into(), ..boot(0) },
        OsdBoot { public_address: "127.0.0.1:0".into(), ..boot(0) },
        OsdBoot { cluster_address: "h0:6800".into(), ..boot(0) },
        OsdBoot { base_bytes: 0, ..boot(0) },
    ] {
        let actions = harness.request(SessionId(1), MonitorRequest::Boot(wrong));
        assert_eq!(refusal(&actions).errno, libc::EINVAL);
    }
    let actions = harness.request(SessionId(1), MonitorRequest::Report(report(0)));
    assert_eq!(refusal(&actions).errno, libc::ENOENT);
    assert_eq!(harness.map().epoch(), 1);
}

#[test]
fn subscribers_get_the_newest_map_if_theirs_is_another_and_then_every_new_one() {
    let mut harness = Harness::with_osds(1, 0);
    let epoch = harness.map().epoch();
    let subscribe = |have_epoch| MonitorRequest::Subscribe { have_epoch };
    assert_eq!(published(&harness.request(SessionId(10), subscribe(0))), [(vec![SessionId(10)], epoch)]);
    assert!(harness.request(SessionId(11), subscribe(epoch)).is_empty());
    assert_eq!(published(&harness.request(SessionId(12), subscribe(epoch + 5))).len(), 1);
    harness.handle(Event::Closed { session: SessionId(12) });
    let actions = harness.request(SessionId(1), MonitorRequest::Boot(boot(1)));
    assert_eq!(published(&actions), [(vec![SessionId(10), SessionId(11)], epoch + 1)]);
}

#[test]
fn groups_that_had_no_place_get_one_when_an_osd_comes() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("data", 8, 1);
    let first: Vec<_> = harness.map().pgs().map(|(_, _, group)| group.clone()).collect();
    assert!(first.iter().all(|group| group.primary == Some(0)));
    harness.request(session_of(1), MonitorRequest::Boot(boot(1)));
    let second: Vec<_> = harness.map().pgs().map(|(_, _, group)| group.clone()).collect();
    assert_eq!(first, second, "data that nobody copies stays where it is");
}

/// Its groups would wait for it as long as the flag is set: who answers in its place knows nothing of what it had begun.
#[test]
fn an_osd_that_restarts_under_noup_is_down_and_not_what_it_was() {
    let mut harness = Harness::with_osds(3, 0);
    harness.create_pool("data", 8, 2);
    harness.command(AdminCommand::OsdSetFlag { flag: "noup".into(), is_set: true });
    let again = OsdBoot { life: 99, ..boot(1) };
    let actions = harness.request(session_of(1), MonitorRequest::Boot(again.clone()));
    assert!(matches!(&actions[0], Action::Reply { .. }), "{actions:?}");
    assert!(!harness.map().osd(1).unwrap().is_up);
    assert!(harness.map().pgs().all(|(_, _, group)| group.primary != Some(1)));
    // Said again, it changes nothing any more.
    let epoch = harness.map().epoch();
    harness.request(session_of(1), MonitorRequest::Boot(again.clone()));
    assert_eq!(harness.map().epoch(), epoch);
    harness.command(AdminCommand::OsdSetFlag { flag: "noup".into(), is_set: false });
    harness.request(session_of(1), MonitorRequest::Boot(again));
    assert!(harness.map().osd(1).unwrap().is_up);
}
