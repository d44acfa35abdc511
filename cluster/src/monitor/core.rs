//! The monitor's decisions, as a pure state machine: an event and the time in, actions out. No I/O, no clock, no randomness.
//!
//! Order is the promise: an [`Action::Persist`] stands before every action that tells anyone of what it persists.

mod belonging;
mod boot;
mod callers;
mod groups;
mod liveness;

use super::changes::{self, Changes};
use super::command;
use super::draining::Drains;
use super::progress::Progress;
use super::reports::Reports;
use super::store::{Batch, Stored};
use crate::config::FailureDomain;
use crate::crush::CrushMap;
use crate::limits;
use crate::map::{Entity, Incremental, Map, MapError};
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::{AdminCommand, CommandReply, MonitorReply, MonitorRequest};
use basalt_net::{PublicKey, Software};
use belonging::Belonging;
pub use callers::Caller;
use callers::Callers;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Names a session for as long as it lasts; never reused by a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// The time an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, since some fixed moment before the monitor's start.
    pub monotonic: Duration,
    /// Wall clock, since the Unix epoch; only ever shown and recorded, never decided by.
    pub unix: Duration,
}

// There is one at a time, and nearly all are requests.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer has proven who it is. What comes on a session before that is the monitor's own.
    Opened {
        session: SessionId,
        caller: Caller,
    },
    Request {
        session: SessionId,
        request: MonitorRequest,
    },
    Closed {
        session: SessionId,
    },
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make it durable before going on to the next action; if that fails, stop the monitor.
    Persist(Batch),
    /// Tag 0 answers a request that has no tag and was refused.
    Reply { session: SessionId, reply: MonitorReply },
    /// The session is over: its peer may not, or no longer, be here.
    Close { session: SessionId, reason: String },
    /// The map of `epoch` to all of these. If there are increments, they lead to it from what each of these was sent last.
    Publish { sessions: Vec<SessionId>, epoch: u32, map: Arc<Vec<u8>>, increments: Vec<Increment> },
}

/// What makes the map of `epoch` of the one before, as bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Increment {
    pub epoch: u32,
    pub bytes: Arc<Vec<u8>>,
}

/// Why a core can't start from what is stored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the stored map of epoch {epoch} can't be read: {source}")]
    Map { epoch: u32, source: MapError },
    #[error("what was answered to the last commands can't be read: {0}")]
    Changes(String),
    #[error(
        "the stored map is of cluster {stored}, and the configuration says {configured}: point `data` at the right folder"
    )]
    OtherCluster { stored: uuid::Uuid, configured: uuid::Uuid },
}

pub struct MonitorCore {
    pub(super) name: String,
    pub(super) software: Software,
    pub(super) map: Map,
    /// The map as bytes, as it is persisted and published.
    encoded: Arc<Vec<u8>>,
    pub(super) reports: Reports,
    /// When each OSD that is up was last heard of.
    heard: BTreeMap<u32, Duration>,
    callers: Callers,
    /// What each OSD runs that has booted since this monitor began to lead.
    osd_software: BTreeMap<u32, Software>,
    /// The session that each OSD booted on.
    booted: BTreeMap<u32, SessionId>,
    /// Since when each OSD is down, by this monitor's own clock.
    down_since: BTreeMap<u32, Duration>,
    /// Where the groups of the map belong.
    pub(super) belonging: Belonging,
    /// Of recovery.
    pub(super) progress: Progress,
    /// Of pools that leave their hot tiers.
    pub(super) drains: Drains,
    /// OSDs that clients did not reach when it was last looked.
    cut_off: BTreeSet<u32>,
    /// The epoch that each subscriber has been sent.
    subscribers: BTreeMap<SessionId, u32>,
    /// The newest ones, the oldest first.
    increments: VecDeque<Increment>,
    changes: Changes,
    pub(super) started: Duration,
    ticked: Duration,
}

impl MonitorCore {
    /// Goes on from what a store holds, or starts a new cluster whose copies are kept apart by host. The actions come before all others.
    pub fn restore(
        name: String,
        fsid: [u8; 16],
        stored: Stored,
        now: Now,
    ) -> Result<(MonitorCore, Vec<Action>), RestoreError> {
        MonitorCore::restore_or_found((name, Software::this()), fsid, FailureDomain::default(), stored, now)
    }

    /// As [`MonitorCore::restore`], with what the monitor runs and what a new cluster keeps apart. A new cluster requires of all what its monitor
    /// can do: there is nobody yet who could not.
    pub fn restore_or_found(
        (name, software): (String, Software),
        fsid: [u8; 16],
        failure_domain: FailureDomain,
        stored: Stored,
        now: Now,
    ) -> Result<(MonitorCore, Vec<Action>), RestoreError> {
        let (map, is_new) = match stored.newest_map {
            None => {
                let mut map = Map::new(fsid, now.unix.as_secs());
                map.set_crush_map(&CrushMap::new_with_rule_over(failure_domain.crush_type()));
                map.required_features = software.features;
                (map, true)
            }
            Some((epoch, bytes)) => (Map::decode(&bytes).map_err(|source| RestoreError::Map { epoch, source })?, false),
        };
        if map.fsid != fsid {
            let [stored, configured] = [map.fsid, fsid].map(uuid::Uuid::from_bytes);
            return Err(RestoreError::OtherCluster { stored, configured });
        }
        // OSDs had no one to report to while there was no monitor: each gets the whole grace anew.
        let heard = map.osds.iter().filter(|osd| osd.is_up).map(|osd| (osd.id, now.monotonic)).collect();
        let down_since = map.osds.iter().filter(|osd| !osd.is_up).map(|osd| (osd.id, now.monotonic)).collect();
        let encoded = Arc::new(map.encode());
        let mut belonging = Belonging::default();
        belonging.learn(&map);
        let mut actions = Vec::new();
        if is_new {
            let map = Some((map.epoch, encoded.clone()));
            actions.push(Action::Persist(Batch { map, ..Batch::default() }));
        }
        let changes = match stored.values.get(changes::KEY) {
            Some(bytes) => Changes::decode(bytes).map_err(RestoreError::Changes)?,
            None => Changes::default(),
        };
        let core = MonitorCore {
            name,
            software,
            map,
            encoded,
            reports: Reports::default(),
            heard,
            callers: Callers::default(),
            osd_software: BTreeMap::new(),
            booted: BTreeMap::new(),
            down_since,
            belonging,
            progress: Progress::default(),
            drains: Drains::default(),
            cut_off: BTreeSet::new(),
            subscribers: BTreeMap::new(),
            increments: VecDeque::new(),
            changes,
            started: now.monotonic,
            ticked: now.monotonic,
        };
        Ok((core, actions))
    }

    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Whether groups wait to be placed by the map's CRUSH map: they belong where an older one put them until then.
    pub fn is_placing(&self) -> bool {
        self.belonging.is_behind()
    }

    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        if let Event::Request { session, request } = &event
            && let Some(refused) = self.refused(*session, request)
        {
            return refused;
        }
        match event {
            Event::Opened { session, caller } => {
                self.callers.open(session, caller);
                Vec::new()
            }
            Event::Request { session, request: MonitorRequest::Subscribe { have_epoch } } => {
                self.subscribe(session, have_epoch)
            }
            Event::Request { session, request: MonitorRequest::Boot(boot) } => self.boot(now, session, boot),
            Event::Request { session, request: MonitorRequest::Report(report) } => self.report(now, session, report),
            Event::Request { request: MonitorRequest::Groups(changes), .. } => self.groups(now, &changes),
            Event::Request { session, request: MonitorRequest::Command { tag, command } } => {
                self.command(now, session, tag, command)
            }
            Event::Request { session, request: MonitorRequest::Change { tag, id, command } } => {
                self.change(now, session, tag, id, command)
            }
            Event::Closed { session } => {
                self.callers.close(session);
                self.subscribers.remove(&session);
                self.booted.retain(|_, of| *of != session);
                Vec::new()
            }
            Event::Tick => {
                let left = command::objects_left(self, now);
                self.progress.look(now.monotonic, left);
                let leaving = command::leaving(self, now);
                self.drains.look(now.monotonic, self.map.epoch, &leaving);
                self.tick(now)
            }
        }
    }

    /// Makes the administrator known to a cluster that knows nobody yet, so that there is somebody to make others known.
    pub fn admit_administrator(&mut self, now: Now, key: PublicKey) -> Vec<Action> {
        if !self.map.auth.entities.is_empty() {
            return Vec::new();
        }
        let mut map = self.map.clone();
        let all = || "allow *".to_owned();
        map.auth.insert(Entity { name: "client.admin".into(), keys: vec![key.0], mon: all(), osd: all() });
        map.auth.epoch = self.map.epoch + 1;
        self.decide(now, map)
    }

    fn subscribe(&mut self, session: SessionId, have_epoch: u32) -> Vec<Action> {
        let epoch = self.map.epoch;
        self.subscribers.insert(session, epoch);
        if have_epoch == epoch {
            return Vec::new();
        }
        // Also to a peer that claims a newer map: it belongs to a monitor whose store was lost, and must see that.
        let increments = self.increments_from(have_epoch);
        vec![Action::Publish { sessions: vec![session], epoch, map: self.encoded.clone(), increments }]
    }

    /// What leads from a map to the newest; none if that is too old.
    fn increments_from(&self, epoch: u32) -> Vec<Increment> {
        match self.increments.front() {
            Some(oldest) if (oldest.epoch - 1..self.map.epoch).contains(&epoch) => {
                self.increments.iter().filter(|increment| increment.epoch > epoch).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    fn keep_increment(&mut self, increment: Increment) {
        self.increments.push_back(increment);
        let bytes = |increments: &VecDeque<Increment>| -> usize {
            increments.iter().map(|increment| increment.bytes.len()).sum()
        };
        while self.increments.len() > limits::INCREMENTS_KEPT || bytes(&self.increments) > self.encoded.len() / 2 {
            self.increments.pop_front();
        }
    }

    fn command(&mut self, now: Now, session: SessionId, tag: u64, command: AdminCommand) -> Vec<Action> {
        let answer = match command::carry_out(self, now, command) {
            Ok(answer) => answer,
            Err(refusal) => return vec![refuse(session, tag, refusal)],
        };
        let reply = CommandReply { errno: 0, message: answer.message, json: answer.json.to_string() };
        let length = reply.message.len() + reply.json.len();
        if length > limits::REPLY_BYTES_MAX {
            let most = limits::REPLY_BYTES_MAX;
            let message =
                format!("the answer has {length} bytes, and {most} can be sent: ask for less, such as one pool");
            return vec![refuse(session, tag, Refusal::new(libc::EOVERFLOW, message))];
        }
        let mut actions = answer.map.map_or_else(Vec::new, |map| self.decide(now, map));
        actions.push(Action::Reply { session, reply: MonitorReply::Command { tag, reply } });
        actions
    }

    /// A command that may have been carried out already, by this monitor or the one before.
    fn change(&mut self, now: Now, session: SessionId, tag: u64, id: u128, command: AdminCommand) -> Vec<Action> {
        if let Some(reply) = self.changes.reply(id) {
            return vec![Action::Reply { session, reply: MonitorReply::Command { tag, reply } }];
        }
        let mut actions = self.command(now, session, tag, command);
        self.changes.note(id, &mut actions);
        actions
    }

    /// Makes `map` the next epoch: durable first, then known to every subscriber.
    fn decide(&mut self, now: Now, mut map: Map) -> Vec<Action> {
        map.epoch = self.map.epoch + 1;
        self.settle_groups(now, &mut map);
        self.decide_settled(now, map)
    }

    /// As [`MonitorCore::decide`], of a map whose groups are where they should be.
    fn decide_settled(&mut self, now: Now, mut map: Map) -> Vec<Action> {
        map.modified_unix_s = now.unix.as_secs();
        for (old, new) in pairs_by_id(&self.map, &mut map) {
            if old.is_none_or(|old| old != &*new) {
                new.changed_epoch = self.map.epoch + 1;
            }
        }
        let contradiction = map.check();
        assert!(
            contradiction.is_ok(),
            "the monitor was about to decide a map that nobody could read: {contradiction:?}"
        );
        self.encoded = Arc::new(map.encode());
        let has_other_keys = self.map.auth != map.auth;
        let newly_required = map.required_features.without(self.map.required_features);
        let increment = Incremental::between(&self.map, &map, &self.encoded).encode();
        let increment = Increment { epoch: map.epoch, bytes: Arc::new(increment) };
        self.map = map;
        self.keep_increment(increment.clone());
        self.reports.keep(|osd| self.map.osd(osd).is_some());
        self.osd_software.retain(|osd, _| self.map.osd(*osd).is_some());
        for osd in self.map.osds.iter().filter(|osd| !osd.is_up) {
            self.down_since.entry(osd.id).or_insert(now.monotonic);
        }
        let epoch = self.map.epoch;
        let batch = Batch {
            map: Some((epoch, self.encoded.clone())),
            values: Vec::new(),
            forget_maps_below: epoch.saturating_sub(limits::MAPS_KEPT),
        };
        let mut actions = vec![Action::Persist(batch)];
        if !self.subscribers.is_empty() {
            self.subscribers.values_mut().for_each(|sent| *sent = epoch);
            let sessions = self.subscribers.keys().copied().collect();
            // All of them were sent the map before, or had it.
            let increments = vec![increment];
            actions.push(Action::Publish { sessions, epoch, map: self.encoded.clone(), increments });
        }
        if has_other_keys {
            let unknown = self.callers.unknown_to(&self.map).into_iter();
            actions.extend(unknown.map(|(session, name)| {
                let reason = format!("{name} is not known any more, or not by the key that this session began with");
                Action::Close { session, reason }
            }));
        }
        if !newly_required.is_none() {
            let older = self.callers.lacking(newly_required).into_iter();
            actions.extend(older.map(|(session, caller)| {
                let reason = format!("{} lacks {newly_required}, which is required now", caller.name);
                Action::Close { session, reason }
            }));
        }
        actions
    }
}

fn pairs_by_id<'a>(
    old: &'a Map,
    new: &'a mut Map,
) -> impl Iterator<Item = (Option<&'a crate::map::Pool>, &'a mut crate::map::Pool)> {
    new.pools.iter_mut().map(|pool| (old.pool(pool.id), pool))
}

fn refuse(session: SessionId, tag: u64, refusal: Refusal) -> Action {
    let reply = CommandReply { errno: refusal.errno, message: refusal.message, json: "null".into() };
    Action::Reply { session, reply: MonitorReply::Command { tag, reply } }
}
