//! The monitor's decisions, as a pure state machine: an event and the time in, actions out. No I/O, no clock, no randomness.
//!
//! Order is the promise: an [`Action::Persist`] stands before every action that tells anyone of what it persists.

use super::changes::{self, Changes};
use super::command;
use super::reports::Reports;
use super::store::{Batch, Stored};
use crate::limits;
use crate::map::{Incremental, Map, MapError, MapFlags, Osd, PgId, PlacementGroup};
use crate::placement;
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::{AdminCommand, CommandReply, MonitorReply, MonitorRequest, OsdBoot, OsdReport};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
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

#[derive(Clone, Debug)]
pub enum Event {
    Request { session: SessionId, request: MonitorRequest },
    Closed { session: SessionId },
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make it durable before going on to the next action; if that fails, stop the monitor.
    Persist(Batch),
    /// Tag 0 answers a request that has no tag and was refused.
    Reply { session: SessionId, reply: MonitorReply },
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
    pub(super) map: Map,
    /// The map as bytes, as it is persisted and published.
    encoded: Arc<Vec<u8>>,
    pub(super) reports: Reports,
    /// When each OSD that is up was last heard of.
    heard: BTreeMap<u32, Duration>,
    /// The session that each OSD booted on.
    booted: BTreeMap<u32, SessionId>,
    /// The epoch that each subscriber has been sent.
    subscribers: BTreeMap<SessionId, u32>,
    /// The newest ones, the oldest first.
    increments: VecDeque<Increment>,
    changes: Changes,
    pub(super) started: Duration,
    ticked: Duration,
}

impl MonitorCore {
    /// Goes on from what a store holds, or starts a new cluster. The actions come before all others.
    pub fn restore(
        name: String,
        fsid: [u8; 16],
        stored: Stored,
        now: Now,
    ) -> Result<(MonitorCore, Vec<Action>), RestoreError> {
        let (map, is_new) = match stored.newest_map {
            None => (Map::new(fsid, now.unix.as_secs()), true),
            Some((epoch, bytes)) => (Map::decode(&bytes).map_err(|source| RestoreError::Map { epoch, source })?, false),
        };
        if map.fsid != fsid {
            let [stored, configured] = [map.fsid, fsid].map(uuid::Uuid::from_bytes);
            return Err(RestoreError::OtherCluster { stored, configured });
        }
        // OSDs had no one to report to while there was no monitor: each gets the whole grace anew.
        let heard = map.osds.iter().filter(|osd| osd.is_up).map(|osd| (osd.id, now.monotonic)).collect();
        let encoded = Arc::new(map.encode());
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
            map,
            encoded,
            reports: Reports::default(),
            heard,
            booted: BTreeMap::new(),
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

    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        match event {
            Event::Request { session, request: MonitorRequest::Subscribe { have_epoch } } => {
                self.subscribe(session, have_epoch)
            }
            Event::Request { session, request: MonitorRequest::Boot(boot) } => self.boot(now, session, boot),
            Event::Request { session, request: MonitorRequest::Report(report) } => self.report(now, session, report),
            Event::Request { session, request: MonitorRequest::Command { tag, command } } => {
                self.command(now, session, tag, command)
            }
            Event::Request { session, request: MonitorRequest::Change { tag, id, command } } => {
                self.change(now, session, tag, id, command)
            }
            Event::Closed { session } => {
                self.subscribers.remove(&session);
                self.booted.retain(|_, of| *of != session);
                Vec::new()
            }
            Event::Tick => self.tick(now),
        }
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

    fn boot(&mut self, now: Now, session: SessionId, boot: OsdBoot) -> Vec<Action> {
        let id = boot.osd;
        let osd = match self.booted_osd(now, boot) {
            Ok(osd) => osd,
            Err(refusal) => {
                tracing::warn!(osd = id, reason = %refusal, "boot refused");
                return vec![refuse(session, 0, refusal)];
            }
        };
        if self.booted.get(&id) == Some(&session) && self.map.osd(id).is_some_and(|known| is_same_boot(known, &osd)) {
            // Said again before it saw the map that has it up: nothing to decide.
            self.heard.insert(id, now.monotonic);
            return Vec::new();
        }
        tracing::info!(osd = id, host = %osd.host, address = %osd.public_address, "boot");
        let mut map = self.map.clone();
        match map.osd_mut(id) {
            Some(known) => *known = osd,
            None => {
                let place = map.osds.partition_point(|known| known.id < id);
                map.osds.insert(place, osd);
            }
        }
        self.heard.insert(id, now.monotonic);
        self.booted.insert(id, session);
        self.reports.forget(id);
        assign_unplaced(&mut map);
        self.decide(now, map)
    }

    /// The map's entry for an OSD that boots, or why it may not.
    fn booted_osd(&self, now: Now, boot: OsdBoot) -> Result<Osd, Refusal> {
        let id = boot.osd;
        if id >= limits::OSD_COUNT_MAX {
            return Err(Refusal::invalid(format!("osd.{id}: ids go from 0 to {}", limits::OSD_COUNT_MAX - 1)));
        }
        if boot.host.is_empty()
            || boot.host.len() > limits::HOST_NAME_BYTES_MAX
            || boot.host.chars().any(|character| character.is_control() || character.is_whitespace())
        {
            return Err(Refusal::invalid(format!(
                "osd.{id}: host {:?} must be 1 to {} bytes without blanks",
                boot.host.chars().take(64).collect::<String>(),
                limits::HOST_NAME_BYTES_MAX
            )));
        }
        let address = |address: &str| match address.parse::<SocketAddr>() {
            Ok(parsed) if address.len() <= limits::ADDRESS_BYTES_MAX => Some(parsed),
            _ => None,
        };
        let unusable = |address: &str, example| {
            let shown: String = address.chars().take(limits::ADDRESS_BYTES_MAX).collect();
            Refusal::invalid(format!("osd.{id}: {shown:?} is no address that others can reach, such as {example}"))
        };
        let public =
            address(&boot.public_address).filter(|address| address.port() != 0 && !address.ip().is_unspecified());
        public.ok_or_else(|| unusable(&boot.public_address, "192.0.2.1:6800"))?;
        // Port 0 on the cluster network: it serves nobody there yet.
        address(&boot.cluster_address).ok_or_else(|| unusable(&boot.cluster_address, "198.51.100.1:0"))?;
        if boot.base_bytes == 0 {
            return Err(Refusal::invalid(format!("osd.{id}: its base device has no bytes")));
        }
        let known = self.map.osd(id);
        if let Some(known) = known
            && known.store_id != boot.store_id
            && self.map.pgs().any(|(_, _, group)| group.in_sync.contains(&id))
        {
            let [old, new] = [known.store_id, boot.store_id].map(uuid::Uuid::from_bytes);
            return Err(Refusal::new(
                libc::EEXIST,
                format!(
                    "osd.{id} holds data in store {old}, and store {new} came up in its place: start the old one, or give the new one another id"
                ),
            ));
        }
        if self.map.flags.contains(MapFlags::NOUP) {
            return Err(Refusal::new(libc::EPERM, format!("osd.{id} may not come up while the noup flag is set")));
        }
        let epoch = self.map.epoch + 1;
        let unix_s = now.unix.as_secs();
        let same_store = known.filter(|known| known.store_id == boot.store_id);
        Ok(Osd {
            id,
            exists: true,
            is_up: true,
            is_in: same_store.map_or(!self.map.flags.contains(MapFlags::NOIN), |known| known.is_in),
            auto_out: false,
            weight: same_store.map_or(boot.base_bytes as f64 / (1u64 << 40) as f64, |known| known.weight),
            reweight: same_store.map_or(1.0, |known| known.reweight),
            host: boot.host,
            public_address: boot.public_address,
            cluster_address: boot.cluster_address,
            store_id: boot.store_id,
            base_bytes: boot.base_bytes,
            hot_bytes: boot.hot_bytes,
            rotational: boot.rotational,
            up_since_epoch: epoch,
            down_since_epoch: known.map_or(0, |known| known.down_since_epoch),
            up_since_unix_s: unix_s,
            down_since_unix_s: known.map_or(0, |known| known.down_since_unix_s),
            in_since_unix_s: same_store.map_or(unix_s, |known| known.in_since_unix_s),
        })
    }

    fn report(&mut self, now: Now, session: SessionId, report: OsdReport) -> Vec<Action> {
        let id = report.osd;
        let Some(osd) = self.map.osd(id).filter(|osd| osd.exists) else {
            let refusal = Refusal::new(libc::ENOENT, format!("osd.{id} is not in the map: it has to boot first"));
            return vec![refuse(session, 0, refusal)];
        };
        let is_up = osd.is_up;
        self.reports.take(now.monotonic, report);
        if is_up {
            self.heard.insert(id, now.monotonic);
            return Vec::new();
        }
        // It was silent for too long and is back on the session it booted on: it never stopped, so it is as it was.
        if self.booted.get(&id) != Some(&session) || self.map.flags.contains(MapFlags::NOUP) {
            return Vec::new();
        }
        let mut map = self.map.clone();
        let Some(osd) = map.osd_mut(id) else { return Vec::new() };
        osd.is_up = true;
        osd.up_since_epoch = self.map.epoch + 1;
        osd.up_since_unix_s = now.unix.as_secs();
        self.heard.insert(id, now.monotonic);
        tracing::info!(osd = id, "reports again: up");
        self.decide(now, map)
    }

    fn tick(&mut self, now: Now) -> Vec<Action> {
        let away = now.monotonic.saturating_sub(self.ticked);
        self.ticked = now.monotonic;
        if away > limits::TICK_LATE_MAX {
            // Reports may wait in the sockets of a monitor that was stopped, or whose disk hung: they are read before anyone is judged.
            tracing::warn!(?away, "the monitor stood still");
            self.heard.values_mut().for_each(|heard| *heard = (*heard + away).min(now.monotonic));
            return Vec::new();
        }
        if self.map.flags.contains(MapFlags::NODOWN) {
            return Vec::new();
        }
        let silent = |id: u32| {
            let heard = self.heard.get(&id).copied().unwrap_or(self.started);
            now.monotonic.saturating_sub(heard) > limits::OSD_REPORT_GRACE
        };
        let down: BTreeSet<u32> =
            self.map.osds.iter().filter(|osd| osd.exists && osd.is_up && silent(osd.id)).map(|osd| osd.id).collect();
        if down.is_empty() {
            return Vec::new();
        }
        let mut map = self.map.clone();
        for osd in map.osds.iter_mut().filter(|osd| down.contains(&osd.id)) {
            tracing::warn!(osd = osd.id, host = %osd.host, silence = ?limits::OSD_REPORT_GRACE, "no report: down");
            osd.is_up = false;
            osd.down_since_epoch = self.map.epoch + 1;
            osd.down_since_unix_s = now.unix.as_secs();
        }
        self.heard.retain(|id, _| !down.contains(id));
        self.decide(now, map)
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
        let increment = Incremental::between(&self.map, &map, &self.encoded).encode();
        let increment = Increment { epoch: map.epoch, bytes: Arc::new(increment) };
        self.map = map;
        self.keep_increment(increment.clone());
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
        actions
    }
}

/// Whether an OSD that is up has booted as it did before: all but the times is the same.
fn is_same_boot(known: &Osd, booted: &Osd) -> bool {
    let as_known = Osd {
        up_since_epoch: known.up_since_epoch,
        up_since_unix_s: known.up_since_unix_s,
        in_since_unix_s: known.in_since_unix_s,
        ..booted.clone()
    };
    as_known == *known
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

/// Gives every group that nobody holds a first member. Such a group is empty, so its member trivially holds all of it; further
/// members join the in-sync set only once they hold all that was written meanwhile.
pub(super) fn assign_unplaced(map: &mut Map) {
    let epoch = map.epoch + 1;
    for pool in &mut map.pools {
        for (seed, group) in (0u32..).zip(&mut pool.pgs) {
            if !group.in_sync.is_empty() {
                continue;
            }
            let chosen = placement::choose(PgId { pool: pool.id, seed }, &map.osds, 1);
            if let Some(primary) = chosen.first() {
                *group = PlacementGroup {
                    in_sync: chosen.clone(),
                    primary: Some(*primary),
                    reign: group.reign + 1,
                    changed_epoch: epoch,
                };
            }
        }
    }
}
