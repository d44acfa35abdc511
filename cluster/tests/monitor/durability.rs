//! Whatever anyone hears is durable first: shown for any run of events, cut off at any action, as a kill would.

use super::harness::{FSID, Harness, apply, boot, report};
use basalt_cluster::Map;
use basalt_cluster::monitor::core::{Action, Event, MonitorCore, SessionId};
use basalt_cluster::monitor::store::{MonitorStore, Stored};
use basalt_cluster::monitor::store_embedded::EmbeddedStore;
use basalt_net::message::monitor::*;
use proptest::prelude::*;
use std::time::Duration;

fn any_command() -> impl Strategy<Value = AdminCommand> {
    let name = || prop::sample::select(vec!["a", "b", "c", "nopool", "x/y", ""]).prop_map(String::from);
    let variable =
        prop::sample::select(vec!["size", "min_size", "nodelete", "target_max_bytes", "cache_mode", "all", "x"]);
    let value = prop::sample::select(vec!["0", "1", "2", "true", "none", "writeback", "proxy", "1G", "-1", ""]);
    prop_oneof![
        (name(), 1u32..20, prop::option::of(0u32..4)).prop_map(|(name, pg_num, size)| AdminCommand::PoolCreate {
            name,
            pg_num: Some(pg_num),
            rule: None,
            size
        }),
        (name(), variable, value).prop_map(|(name, variable, value)| AdminCommand::PoolSet {
            name,
            variable: variable.into(),
            value: value.into()
        }),
        (name(), name()).prop_map(|(name, to)| AdminCommand::PoolRename { name, to }),
        (name(), name(), any::<bool>()).prop_map(|(name, again, sure)| AdminCommand::PoolRm { name, again, sure }),
        (name(), name(), name()).prop_map(|(name, action, application)| AdminCommand::PoolApplication {
            name,
            action,
            application
        }),
        Just(AdminCommand::Status),
        Just(AdminCommand::OsdDump),
        Just(AdminCommand::PgDump),
        Just(AdminCommand::HealthDetail),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let session = || (0u64..4).prop_map(SessionId);
    let request = prop_oneof![
        (0u32..5).prop_map(|have_epoch| MonitorRequest::Subscribe { have_epoch }),
        (0u32..4, 0u8..3).prop_map(|(osd, store)| MonitorRequest::Boot(OsdBoot { store_id: [store; 16], ..boot(osd) })),
        (0u32..5).prop_map(|osd| MonitorRequest::Report(report(osd))),
        any_command().prop_map(|command| MonitorRequest::Command { tag: 3, command }),
        any_command().prop_map(|command| MonitorRequest::Command { tag: 4, command }),
    ];
    prop_oneof![
        8 => (session(), request).prop_map(|(session, request)| Event::Request { session, request }),
        1 => session().prop_map(|session| Event::Closed { session }),
        1 => Just(Event::Tick),
    ]
}

/// The epoch that a reply shows, if it shows one.
fn epoch_shown(action: &Action) -> Option<u32> {
    match action {
        Action::Publish { epoch, .. } => Some(*epoch),
        Action::Reply { reply: MonitorReply::Command { reply, .. }, .. } => {
            let json: serde_json::Value = serde_json::from_str(&reply.json).unwrap();
            [&json["epoch"], &json["osdmap"]["epoch"]]
                .into_iter()
                .find_map(|epoch| epoch.as_u64())
                .map(|epoch| epoch as u32)
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn nobody_hears_of_a_map_that_a_kill_could_undo(
        events in prop::collection::vec((any_event(), 0u64..15), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut harness = Harness::new();
        let mut stored = harness.stored.clone();
        let mut actions = Vec::new();
        for (event, seconds) in events {
            harness.pass(Duration::from_secs(seconds));
            actions.extend(harness.handle(event));
        }
        let mut heard = 0;
        let mut epochs = vec![1];
        for action in actions.iter().take(cut.index(actions.len() + 1)) {
            if let Action::Persist(batch) = action {
                apply(&mut stored, batch);
                epochs.extend(batch.map.iter().map(|(epoch, _)| *epoch));
            }
            heard = heard.max(epoch_shown(action).unwrap_or(0));
            prop_assert!(heard <= *epochs.last().unwrap(), "{action:?} shows more than is durable");
        }
        prop_assert!(epochs.is_sorted_by(|a, b| a + 1 == *b), "epochs have no gaps: {epochs:?}");
        let (epoch, bytes) = stored.newest_map.clone().unwrap();
        let map = Map::decode(&bytes).unwrap();
        prop_assert_eq!(map.epoch(), epoch);
        let restored = Harness::restored(stored);
        prop_assert_eq!(restored.map(), &map);
    }

    #[test]
    fn a_command_that_was_refused_decided_nothing(events in prop::collection::vec(any_event(), 1..60)) {
        let mut harness = Harness::new();
        for event in events {
            let before = harness.map().clone();
            let actions = harness.handle(event);
            let refused = actions.iter().any(|action| matches!(
                action,
                Action::Reply { reply: MonitorReply::Command { reply, .. }, .. } if reply.errno != 0
            ));
            let persisted = actions.iter().filter(|action| matches!(action, Action::Persist(_))).count();
            if refused {
                prop_assert_eq!(actions.len(), 1);
                prop_assert_eq!(harness.map(), &before);
            } else {
                prop_assert_eq!(u32::try_from(persisted).unwrap(), harness.map().epoch() - before.epoch());
            }
        }
    }
}

#[test]
fn the_embedded_store_gives_back_the_newest_map_and_keeps_the_last_ones() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("mon");
    let mut store = EmbeddedStore::open(&data).unwrap();
    assert_eq!(store.load().unwrap(), Stored::default());
    let mut harness = Harness::new();
    let mut batches = 0;
    for round in 0..600 {
        let name = format!("pool-{round}");
        let create = AdminCommand::PoolCreate { name: name.clone(), pg_num: Some(1), rule: None, size: None };
        let request = match round {
            0 => MonitorRequest::Boot(boot(0)),
            _ if round % 2 == 1 => MonitorRequest::Command { tag: 1, command: create },
            _ => {
                let name = format!("pool-{}", round - 1);
                let command = AdminCommand::PoolRm { again: name.clone(), name, sure: true };
                MonitorRequest::Command { tag: 1, command }
            }
        };
        for action in harness.request(SessionId(1), request) {
            if let Action::Persist(batch) = action {
                store.commit(&batch).unwrap();
                batches += 1;
            }
        }
    }
    assert_eq!(batches, 600);
    let epoch = harness.map().epoch();
    assert_eq!(epoch, 601);
    let refused = EmbeddedStore::open(&data).err().expect("one store has one user");
    assert!(refused.to_string().contains("monitor.redb"), "{refused}");
    drop(store);
    let mut store = EmbeddedStore::open(&data).unwrap();
    let stored = store.load().unwrap();
    let restored = Harness::restored(stored);
    assert_eq!(restored.map(), harness.map());
    let kept =
        |store: &mut EmbeddedStore, epoch| store.map(epoch).unwrap().map(|map| Map::decode(&map).unwrap().epoch());
    assert_eq!(kept(&mut store, epoch), Some(epoch));
    assert_eq!(kept(&mut store, epoch - 500), Some(epoch - 500));
    assert_eq!(kept(&mut store, epoch - 501), None);
}

#[test]
fn a_store_of_another_cluster_is_not_taken_over() {
    let stored = Harness::new().stored;
    let now = Harness::new().now;
    let mut other = FSID;
    other[0] ^= 1;
    let error = MonitorCore::restore("a".into(), other, stored.clone(), now).err().unwrap().to_string();
    assert!(error.contains("point `data` at the right folder"), "{error}");
    let damaged = Stored { newest_map: stored.newest_map.map(|(epoch, _)| (epoch, vec![0; 100])), ..stored };
    let error = MonitorCore::restore("a".into(), FSID, damaged, now).err().unwrap().to_string();
    assert!(error.contains("the stored map of epoch 1 can't be read"), "{error}");
}
