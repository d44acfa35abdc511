//! Who is known, and what each session may ask for.

use crate::harness::*;
use basalt_cluster::monitor::core::{Action, Caller, Event, SessionId};
use basalt_net::message::monitor::*;
use basalt_net::{EntityName, PublicKey, Software};

fn key(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn auth(harness: &mut Harness, command: AuthCommand) -> CommandReply {
    harness.command(AdminCommand::Auth(command))
}

fn add(harness: &mut Harness, entity: &str, byte: u8, mon: &str, osd: &str) {
    let (entity, public_key) = (entity.to_owned(), key(byte));
    let reply = auth(harness, AuthCommand::Add { entity, public_key, mon: mon.into(), osd: osd.into() });
    assert_eq!(reply.errno, 0, "{}", reply.message);
}

/// A session of whoever has this key.
fn open(harness: &mut Harness, session: u64, name: &str, byte: u8) -> SessionId {
    let name = EntityName::new(name).unwrap();
    let caller = Caller { name, key: PublicKey(key(byte)), is_trusted: false, software: Software::this() };
    assert!(harness.handle(Event::Opened { session: SessionId(session), caller }).is_empty());
    SessionId(session)
}

/// What a command on that session is answered with.
fn ask(harness: &mut Harness, session: SessionId, command: AdminCommand) -> i32 {
    let actions = harness.request(session, MonitorRequest::Change { tag: 3, id: 77, command });
    let mut answers = actions.iter().filter_map(|action| match action {
        Action::Reply { session: to, reply: MonitorReply::Command { tag: 3, reply } } if *to == session => {
            Some(reply.errno)
        }
        _ => None,
    });
    answers.next_back().expect("an answer")
}

fn create(name: &str) -> AdminCommand {
    AdminCommand::PoolCreate { name: name.into(), pg_num: Some(1), rule: None, size: Some(1) }
}

#[test]
fn a_session_may_ask_for_what_its_name_may() {
    let mut harness = Harness::with_osds(1, 0);
    add(&mut harness, "client.shows", 1, "allow r", "");
    add(&mut harness, "client.changes", 2, "allow rw", "");
    add(&mut harness, "client.nothing", 3, "", "allow *");
    let [shows, changes, nothing] = [("client.shows", 1), ("client.changes", 2), ("client.nothing", 3)]
        .map(|(name, byte)| open(&mut harness, byte.into(), name, byte));
    let before = harness.core.map().clone();
    assert_eq!(ask(&mut harness, shows, create("a")), libc::EACCES);
    assert_eq!(ask(&mut harness, nothing, AdminCommand::Status), libc::EACCES);
    assert_eq!(ask(&mut harness, changes, AdminCommand::Auth(AuthCommand::Ls)), libc::EACCES);
    assert_eq!(harness.core.map(), &before, "nothing was done");
    assert_eq!(ask(&mut harness, shows, AdminCommand::Status), 0);
    assert_eq!(ask(&mut harness, changes, create("a")), 0);
    // Who may hear of no map is sent away.
    let subscribe = || MonitorRequest::Subscribe { have_epoch: 0 };
    assert!(
        matches!(&harness.request(nothing, subscribe())[..], [Action::Close { session, .. }] if *session == nothing)
    );
    assert!(matches!(&harness.request(shows, subscribe())[..], [Action::Publish { .. }]));
}

#[test]
fn a_host_speaks_for_the_osds_that_have_its_key_only() {
    let mut harness = Harness::new();
    for (osd, byte) in [("osd.0", 1), ("osd.1", 1), ("osd.2", 2)] {
        add(&mut harness, osd, byte, "profile osd", "profile osd");
    }
    add(&mut harness, "client.x", 1, "allow *", "allow *");
    let host = open(&mut harness, 1, "osd.0", 1);
    let client = open(&mut harness, 2, "client.x", 1);
    let mut is_up = |session, osd| {
        harness.request(session, MonitorRequest::Boot(boot(osd)));
        harness.core.map().osd(osd).is_some_and(|osd| osd.is_up)
    };
    assert!(is_up(host, 0) && is_up(host, 1));
    assert!(!is_up(host, 2), "it has another key");
    assert!(!is_up(host, 3), "nobody knows it");
    assert!(!is_up(client, 2), "it may do all, and is no OSD");
}

#[test]
fn sessions_of_names_and_keys_that_are_not_known_any_more_are_closed() {
    let mut harness = Harness::new();
    add(&mut harness, "client.admin", 9, "allow *", "");
    add(&mut harness, "client.a", 1, "allow r", "");
    add(&mut harness, "client.b", 2, "allow r", "");
    let rotated = auth(&mut harness, AuthCommand::Rotate { entity: "client.b".into(), public_key: key(3) });
    assert_eq!(rotated.errno, 0);
    let (a, old, new) = (
        open(&mut harness, 1, "client.a", 1),
        open(&mut harness, 2, "client.b", 2),
        open(&mut harness, 3, "client.b", 3),
    );
    let closed = |harness: &mut Harness, command| {
        let request = MonitorRequest::Command { tag: 1, command: AdminCommand::Auth(command) };
        let actions = harness.request(ADMIN, request);
        let persisted = actions.iter().position(|action| matches!(action, Action::Persist(_)));
        let close = |(at, action): (usize, &Action)| match action {
            Action::Close { session, .. } => {
                assert!(persisted.is_some_and(|persisted| persisted < at), "it is durable first");
                Some(*session)
            }
            _ => None,
        };
        actions.iter().enumerate().filter_map(close).collect::<Vec<_>>()
    };
    assert_eq!(closed(&mut harness, AuthCommand::RmKey { entity: "client.b".into(), public_key: key(2) }), [old]);
    // A session that was to be closed and is there still is closed again.
    assert_eq!(closed(&mut harness, AuthCommand::Rm { entity: "client.a".into() }), [a, old]);
    // Closed or not, they are not heard any more.
    assert_eq!(ask(&mut harness, a, AdminCommand::Status), libc::EACCES);
    assert_eq!(ask(&mut harness, old, AdminCommand::Status), libc::EACCES);
    assert_eq!(ask(&mut harness, new, AdminCommand::Status), 0);
}

#[test]
fn a_table_is_kept_and_only_an_empty_one_takes_the_configured_administrator() {
    let mut harness = Harness::new();
    let admin = || PublicKey(key(9));
    assert!(!harness.core.admit_administrator(harness.now, admin()).is_empty());
    assert!(harness.core.map().knows(&EntityName::new("client.admin").unwrap(), &admin()));
    assert!(harness.core.admit_administrator(harness.now, PublicKey(key(1))).is_empty());
    add(&mut harness, "client.a", 1, "allow r", "profile rbd pool=x");
    let again = Harness::restored(harness.stored.clone());
    assert_eq!(again.core.map().auth, harness.core.map().auth);
    // The last who rules stays.
    let reply = auth(&mut harness, AuthCommand::Rm { entity: "client.admin".into() });
    assert_eq!(reply.errno, libc::EBUSY, "{}", reply.message);
}
