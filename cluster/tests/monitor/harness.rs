//! A core with a clock that stands still until told, and a store that remembers what was persisted.

use basalt_cluster::Map;
use basalt_cluster::monitor::core::{Action, Event, MonitorCore, Now, SessionId};
use basalt_cluster::monitor::store::{Batch, Stored};
use basalt_net::message::monitor::*;
use serde_json::Value;
use std::time::Duration;

pub const FSID: [u8; 16] = *b"a cluster's fsid";
pub const ADMIN: SessionId = SessionId(1_000);

pub struct Harness {
    pub core: MonitorCore,
    pub now: Now,
    pub stored: Stored,
}

pub fn apply(stored: &mut Stored, batch: &Batch) {
    if let Some((epoch, map)) = &batch.map {
        stored.newest_map = Some((*epoch, map.to_vec()));
    }
    stored.values.extend(batch.values.iter().cloned());
}

impl Harness {
    pub fn new() -> Harness {
        Harness::restored(Stored::default())
    }

    pub fn restored(mut stored: Stored) -> Harness {
        let now = Now { monotonic: Duration::from_secs(100), unix: Duration::from_secs(1_795_314_892) };
        let (core, actions) = MonitorCore::restore("a".into(), FSID, stored.clone(), now).unwrap();
        for action in actions {
            let Action::Persist(batch) = action else { panic!("a core that starts has nobody to talk to: {action:?}") };
            apply(&mut stored, &batch);
        }
        Harness { core, now, stored }
    }

    /// `count` OSDs, up and reporting, on hosts of two.
    pub fn with_osds(count: u32, hot_bytes: u64) -> Harness {
        let mut harness = Harness::new();
        for osd in 0..count {
            harness.request(session_of(osd), MonitorRequest::Boot(OsdBoot { hot_bytes, ..boot(osd) }));
            harness.request(session_of(osd), MonitorRequest::Report(report(osd)));
        }
        harness
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.unix += time;
    }

    /// As time passes in a monitor that runs: with a tick each second. What the ticks decided.
    pub fn tick_for(&mut self, seconds: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..seconds {
            self.pass(Duration::from_secs(1));
            actions.extend(self.handle(Event::Tick));
        }
        actions
    }

    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let actions = self.core.handle(self.now, event);
        for action in &actions {
            if let Action::Persist(batch) = action {
                apply(&mut self.stored, batch);
            }
        }
        actions
    }

    pub fn request(&mut self, session: SessionId, request: MonitorRequest) -> Vec<Action> {
        self.handle(Event::Request { session, request })
    }

    pub fn command(&mut self, command: AdminCommand) -> CommandReply {
        let actions = self.request(ADMIN, MonitorRequest::Command { tag: 7, command });
        match actions.last() {
            Some(Action::Reply { session: ADMIN, reply: MonitorReply::Command { tag: 7, reply } }) => reply.clone(),
            other => panic!("the last action of a command is its reply, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn json(&mut self, command: AdminCommand) -> Value {
        let reply = self.command(command);
        assert_eq!(reply.errno, 0, "{}", reply.message);
        serde_json::from_str(&reply.json).unwrap()
    }

    pub fn create_pool(&mut self, name: &str, pg_num: u32, size: u32) {
        let reply = self.command(AdminCommand::PoolCreate {
            name: name.into(),
            pg_num: Some(pg_num),
            rule: None,
            size: Some(size),
        });
        assert_eq!((reply.errno, reply.message), (0, format!("pool '{name}' created")));
    }

    pub fn map(&self) -> &Map {
        self.core.map()
    }
}

pub fn session_of(osd: u32) -> SessionId {
    SessionId(u64::from(osd) + 1)
}

pub fn boot(osd: u32) -> OsdBoot {
    OsdBoot {
        osd,
        store_id: [osd as u8 + 1; 16],
        life: u64::from(osd),
        host: format!("h{}", osd / 2),
        public_address: format!("127.0.0.1:{}", 6800 + osd),
        cluster_address: format!("127.0.1.1:{}", 6800 + osd),
        base_bytes: 1 << 40,
        hot_bytes: 0,
        rotational: true,
    }
}

pub fn report(osd: u32) -> OsdReport {
    OsdReport {
        osd,
        epoch: 1,
        base_total_bytes: 1 << 40,
        base_used_bytes: 1 << 30,
        base_promised_bytes: 1 << 30,
        hot_total_bytes: 1 << 34,
        hot_used_bytes: 0,
        index_bytes: 0,
        log_bytes: 0,
        fault: String::new(),
        checksum_errors: 0,
        ..OsdReport::default()
    }
}
