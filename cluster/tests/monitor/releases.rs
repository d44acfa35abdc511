//! OSDs and clients of different releases: what is shown, what may be required, and who is refused then.

use crate::harness::*;
use basalt_cluster::Map;
use basalt_cluster::config::FailureDomain;
use basalt_cluster::map::Incremental;
use basalt_cluster::monitor::core::{Action, Caller, Event, MonitorCore, SessionId};
use basalt_cluster::monitor::store::Stored;
use basalt_net::message::monitor::*;
use basalt_net::{EntityName, Features, PublicKey, Software};
use serde_json::json;

const OLD: Features = Features::NONE;
const NEW: Features = Features::CURRENT;

/// A cluster whose monitor was of the old release when it was founded, and is of today.
fn upgraded_monitor() -> Harness {
    let found = |stored: Stored| {
        let of_old = ("a".to_owned(), Software::with_features(OLD));
        MonitorCore::restore_or_found(of_old, FSID, FailureDomain::default(), stored, Harness::new().now).unwrap()
    };
    let mut stored = Stored::default();
    for action in found(stored.clone()).1 {
        if let Action::Persist(batch) = action {
            apply(&mut stored, &batch);
        }
    }
    Harness::restored(stored)
}

/// An OSD that is up, on a session whose other end has these features.
fn boot_with(harness: &mut Harness, osd: u32, session: u64, features: Features) -> Vec<Action> {
    open(harness, session, &format!("osd.{osd}"), features);
    harness.request(SessionId(session), MonitorRequest::Boot(OsdBoot { life: session, ..boot(osd) }))
}

fn open(harness: &mut Harness, session: u64, name: &str, features: Features) {
    let (name, software) = (EntityName::new(name).unwrap(), Software::with_features(features));
    let caller = Caller { name, key: PublicKey([1; 32]), is_trusted: true, software };
    harness.handle(Event::Opened { session: SessionId(session), caller });
}

fn require(harness: &mut Harness, release: &str, sure: bool) -> CommandReply {
    harness.command(AdminCommand::OsdRequireRelease { release: release.into(), sure })
}

fn checks(harness: &mut Harness) -> serde_json::Value {
    harness.json(AdminCommand::HealthDetail)["checks"].clone()
}

fn this() -> String {
    Software::this().to_string()
}

#[test]
fn a_new_cluster_requires_what_its_monitor_has() {
    let mut harness = Harness::with_osds(2, 0);
    assert_eq!(harness.map().required_features, NEW);
    let dump = harness.json(AdminCommand::OsdDump);
    assert_eq!((&dump["require_osd_release"], &dump["require_features"]), (&json!("0.2"), &json!(["required-in-map"])));
    assert_eq!(harness.stored.newest_map.as_ref().unwrap().1[8], 8, "and its map says so");
    let reply = require(&mut harness, "0.2", false);
    assert_eq!((reply.errno, reply.message.as_str()), (0, "require_osd_release is 0.2 already"));
}

#[test]
fn an_upgrade_goes_osd_by_osd_and_ends_with_a_command() {
    let mut harness = upgraded_monitor();
    for osd in 0..3 {
        boot_with(&mut harness, osd, u64::from(osd) + 1, OLD);
    }
    assert_eq!(harness.stored.newest_map.as_ref().unwrap().1[8], 7, "all can read it");
    for upgraded in 0..3 {
        let versions = harness.json(AdminCommand::Versions);
        let expected = match upgraded {
            0 => json!({ "basalt before 0.2": 3 }),
            some => json!({ "basalt before 0.2": 3 - some, this(): some }),
        };
        assert_eq!(versions["osd"], expected);
        let old: Vec<u32> = (upgraded..3).collect();
        let checks = checks(&mut harness);
        let check = &checks["DAEMON_OLD_VERSION"];
        assert_eq!(check["summary"]["count"], old.len(), "{check}");
        assert!(checks["OSD_UPGRADE_FINISHED"].is_null());
        let reply = require(&mut harness, "0.2", false);
        assert_eq!(reply.errno, libc::EPERM);
        for osd in 0..3 {
            let says = format!("osd.{osd} of host h{} runs basalt before 0.2 and lacks required-in-map", osd / 2);
            assert_eq!(check["detail"].to_string().contains(&says), old.contains(&osd), "{check}");
            assert_eq!(reply.message.contains(&says), old.contains(&osd), "{}", reply.message);
        }
        boot_with(&mut harness, upgraded, u64::from(upgraded) + 11, NEW);
    }
    let finished = checks(&mut harness);
    let words = finished["OSD_UPGRADE_FINISHED"]["summary"]["message"].clone();
    assert_eq!(words, "all OSDs are running 0.2 or later but require_osd_release is 0.1");
    assert!(finished["DAEMON_OLD_VERSION"].is_null());
    assert_eq!(require(&mut harness, "0.2", false).errno, 0);
    assert_eq!(harness.map().required_features, NEW);
    assert!(checks(&mut harness)["OSD_UPGRADE_FINISHED"].is_null());
    assert_eq!(harness.stored.newest_map.as_ref().unwrap().1[8], 8);
    // And there is no way back.
    let reply = require(&mut harness, "0.1", true);
    assert_eq!(reply.errno, libc::EPERM);
    assert!(reply.message.contains("is not lowered"), "{}", reply.message);
    let actions = boot_with(&mut harness, 1, 99, OLD);
    let [Action::Reply { reply: MonitorReply::Command { reply, .. }, .. }] = actions.as_slice() else {
        panic!("a refusal and nothing else, not {actions:?}");
    };
    assert_eq!(reply.errno, libc::EPERM);
    assert!(reply.message.contains("osd.1 runs basalt before 0.2 and lacks required-in-map"), "{}", reply.message);
}

#[test]
fn an_osd_that_has_not_said_what_it_runs_is_waited_for() {
    let mut before = upgraded_monitor();
    boot_with(&mut before, 0, 1, NEW);
    // The monitor starts anew: the map has the OSD up, and its session is still to come.
    let mut harness = Harness::restored(before.stored);
    assert_eq!(harness.json(AdminCommand::Versions)["osd"], json!({ "unknown": 1 }));
    let reply = require(&mut harness, "0.2", false);
    assert_eq!(reply.errno, libc::EPERM);
    assert!(reply.message.contains("osd.0 has not told this monitor yet"), "{}", reply.message);
    boot_with(&mut harness, 0, 1, NEW);
    assert_eq!(harness.json(AdminCommand::Versions)["osd"], json!({ this(): 1 }));
    assert_eq!(require(&mut harness, "0.2", false).errno, 0);
}

#[test]
fn clients_that_are_older_are_named_and_cut_off_only_if_one_insists() {
    let mut harness = upgraded_monitor();
    boot_with(&mut harness, 0, 1, NEW);
    open(&mut harness, 5, "client.old", OLD);
    open(&mut harness, 6, "client.new", NEW);
    let reply = require(&mut harness, "0.2", false);
    assert_eq!(reply.errno, libc::EPERM);
    assert!(reply.message.contains("client.old has a session and runs basalt before 0.2"), "{}", reply.message);
    assert!(!reply.message.contains("client.new") && harness.map().required_features == OLD);
    let command = AdminCommand::OsdRequireRelease { release: "0.2".into(), sure: true };
    let actions = harness.request(ADMIN, MonitorRequest::Command { tag: 7, command });
    let closed: Vec<SessionId> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Close { session, reason } => {
                assert_eq!(reason, "client.old lacks required-in-map, which is required now");
                Some(*session)
            }
            _ => None,
        })
        .collect();
    assert_eq!(closed, [SessionId(5)]);
    assert_eq!(harness.map().required_features, NEW);
}

#[test]
fn a_release_that_nobody_knows_is_refused_with_those_there_are() {
    let mut harness = upgraded_monitor();
    let reply = require(&mut harness, "9.9", false);
    assert_eq!((reply.errno, reply.message.as_str()), (libc::EINVAL, "9.9 is no release; there are 0.1, 0.2"));
}

/// From a map that requires nothing to one that does, and on: what a subscriber applies is the monitor's map.
#[test]
fn increments_lead_across_the_change_of_format() {
    let old = Map::new(FSID, 1);
    let mut required = old.successor();
    required.required_features = NEW;
    let next = required.successor();
    for (from, to, version) in [(&old, &old.successor(), 7), (&old, &required, 8), (&required, &next, 8)] {
        let bytes = Incremental::between(from, to, &to.encode()).encode();
        assert_eq!(bytes[8], version);
        let made = Incremental::decode(&bytes).unwrap().apply(from).unwrap();
        assert_eq!((&made, made.encode()), (to, to.encode()));
    }
}
