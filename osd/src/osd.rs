//! One OSD: a store, the placement groups in it, the map it goes by, and the work that goes on beside the requests.

mod admission;
mod leading;
mod report;

use crate::capacity::Capacity;
use crate::counters::Counters;
use crate::group_scrubber::GroupScrubber;
use crate::hit_set_keeper::HitSetKeeper;
use crate::identity::Identity;
use crate::leftovers;
use crate::limits;
use crate::peer::Peers;
use crate::peer::lease::Leases;
use crate::pg::Pg;
use crate::recovery_pace::RecoveryPace;
use crate::refusal::Refusal;
use crate::running_requests::RunningRequests;
use crate::scrubber::Scrubber;
use crate::session_registry::SessionRegistry;
use crate::session_server::ObjectJob;
use crate::settings::Settings;
use crate::tier_driver::TierDriver;
use basalt_blockstore::Store;
use basalt_cluster::placement::Placer;
use basalt_cluster::{Map, PgId};
use basalt_net::message::monitor::{GroupJoin, MonitorRequest};
use basalt_net::{Authenticated, Standing};
use basalt_ring::local::{Event, QueueReceiver, QueueSender, Semaphore, Workers, queue, select};
use basalt_ring::{Ring, Task};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct OsdOptions {
    pub identity: Identity,
    /// As it tells the monitor: drawn at each start.
    pub life: u64,
    /// Bytes.
    pub max_object_size: u64,
    pub stray_kept: Duration,
    pub settings: Rc<Settings>,
}

pub struct Osd {
    ring: Ring,
    id: u32,
    store: Store,
    options: OsdOptions,
    map: RefCell<Option<Arc<Map>>>,
    map_changed: Event,
    /// In an order, so that a simulated run is the same each time.
    pgs: RefCell<BTreeMap<PgId, Rc<Pg>>>,
    /// Those that reports tell of.
    pools: RefCell<BTreeSet<u32>>,
    counters: Rc<Counters>,
    requests: Rc<RunningRequests>,
    tier: Rc<TierDriver>,
    hit_sets: HitSetKeeper,
    capacity: Capacity,
    scrubber: Scrubber,
    group_scrubber: GroupScrubber,
    sessions: SessionRegistry,
    peers: Peers,
    leases: Leases,
    lease_event: Event,
    recovery: RecoveryPace,
    /// Where the groups belong by the newest map.
    placer: RefCell<Option<(Arc<Map>, Rc<Placer>)>>,
    /// What the monitor is to be told.
    to_monitor: QueueSender<MonitorRequest>,
    for_monitor: RefCell<Option<QueueReceiver<MonitorRequest>>>,
    joins: RefCell<BTreeMap<(u32, u32, u32), GroupJoin>>,
    joins_wait: Event,
    peer_sessions: Cell<u64>,
    payload_bytes: Semaphore,
    cloning: Semaphore,
    requests_running: Cell<u64>,
    request_ended: Event,
    workers: Workers<ObjectJob>,
    stopping: Cell<bool>,
    stop_begun: Event,
    background: RefCell<Vec<Task<()>>>,
    fence_told: Cell<bool>,
}

impl Osd {
    /// Takes over an open store and starts what goes on beside the requests.
    pub async fn start(ring: &Ring, store: Store, options: OsdOptions) -> Rc<Osd> {
        let counters = Rc::new(Counters::default());
        let (to_monitor, for_monitor) = queue();
        let tier = Rc::new(TierDriver::new(ring.clone(), store.clone(), counters.clone()));
        let osd = Rc::new(Osd {
            ring: ring.clone(),
            id: store.osd(),
            options: options.clone(),
            map: RefCell::default(),
            map_changed: Event::new(),
            pgs: RefCell::default(),
            pools: RefCell::default(),
            counters,
            requests: RunningRequests::new(ring, store.osd(), options.settings.clone()),
            capacity: Capacity::new(store.clone(), tier.clone()),
            hit_sets: HitSetKeeper::new(ring.clone(), store.clone(), tier.clone()),
            tier,
            scrubber: Scrubber::new(ring.clone(), store.clone(), options.settings.clone()),
            group_scrubber: GroupScrubber::new(ring.clone(), options.settings.clone()),
            store,
            sessions: SessionRegistry::default(),
            peers: Peers::default(),
            leases: Leases::new(ring.now()),
            lease_event: Event::new(),
            recovery: RecoveryPace::new(ring),
            placer: RefCell::default(),
            to_monitor,
            for_monitor: RefCell::new(Some(for_monitor)),
            joins: RefCell::default(),
            joins_wait: Event::new(),
            peer_sessions: Cell::new(0),
            payload_bytes: Semaphore::new(limits::OSD_PAYLOAD_BYTES_MAX),
            cloning: Semaphore::new(limits::CLONE_BYTES_MAX),
            requests_running: Cell::new(0),
            request_ended: Event::new(),
            workers: Workers::new(limits::IDLE_WORKERS_MAX),
            stopping: Cell::new(false),
            stop_begun: Event::new(),
            background: RefCell::default(),
            fence_told: Cell::new(false),
        });
        // Before a map comes, and with it clients, of whose reads it is decided by these.
        osd.hit_sets.load().await;
        *osd.background.borrow_mut() = osd.begin_background();
        osd
    }

    fn begin_background(self: &Rc<Self>) -> Vec<Task<()>> {
        let [learner, flusher, evicter, vacater, bringer, keeper, remover, scrubber, comparer, watcher, joiner] =
            std::array::from_fn(|_| self.clone());
        vec![
            self.ring.spawn(async move { learner.tier.learn(|| learner.is_stopping()).await }),
            self.ring.spawn(async move { flusher.tier.flush_loop(|| flusher.is_stopping()).await }),
            self.ring.spawn(async move { evicter.tier.evict_loop(|| evicter.is_stopping()).await }),
            self.ring.spawn(async move { vacater.tier.vacate_loop(|| vacater.is_stopping()).await }),
            self.ring.spawn(async move { bringer.tier.homecoming_loop(|| bringer.is_stopping()).await }),
            self.ring.spawn(async move { keeper.keep_hit_sets().await }),
            self.ring.spawn(async move { leftovers::run(&remover).await }),
            self.ring.spawn(async move { scrubber.scrubber.run(&scrubber).await }),
            self.ring.spawn(async move { comparer.group_scrubber.run(&comparer).await }),
            self.ring.spawn(async move { watcher.watch().await }),
            self.ring.spawn(async move { joiner.tell_joins().await }),
        ]
    }

    async fn keep_hit_sets(&self) {
        while !self.is_stopping() {
            self.pause(limits::HIT_SET_LOOK_INTERVAL).await;
            if self.is_healthy() {
                self.hit_sets.save(false).await;
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn max_object_size(&self) -> u64 {
        self.options.max_object_size
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.options.settings
    }

    pub(crate) fn stray_kept(&self) -> Duration {
        self.options.stray_kept
    }

    pub(crate) fn tier(&self) -> &Rc<TierDriver> {
        &self.tier
    }

    pub(crate) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    pub(crate) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    pub(crate) fn group_scrubber(&self) -> &GroupScrubber {
        &self.group_scrubber
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Requests about objects, while they run and once they have ended.
    pub(crate) fn requests(&self) -> &Rc<RunningRequests> {
        &self.requests
    }

    pub(crate) fn sessions(&self) -> &SessionRegistry {
        &self.sessions
    }

    pub(crate) fn payload_bytes(&self) -> Semaphore {
        self.payload_bytes.clone()
    }

    /// Bytes that may be cloned now. Taken while payload is held, never the other way round.
    pub(crate) fn cloning(&self) -> &Semaphore {
        &self.cloning
    }

    pub fn map(&self) -> Option<Arc<Map>> {
        self.map.borrow().clone()
    }

    /// ESHUTDOWN for a client that was fenced off.
    pub(crate) fn check_not_fenced(&self, client: u64) -> Result<(), Refusal> {
        if !self.map.borrow().as_ref().is_some_and(|map| map.is_fenced(client)) {
            return Ok(());
        }
        let message =
            format!("client {client:016x} was fenced off (`osd blocklist ls`): another does its work; start anew");
        Err(Refusal::new(libc::ESHUTDOWN, message))
    }

    /// 0 before the first map.
    pub fn epoch(&self) -> u32 {
        self.map.borrow().as_ref().map_or(0, |map| map.epoch())
    }

    /// Goes by this map from now on, unless it is older than the one it goes by.
    pub fn apply_map(self: &Rc<Self>, map: Arc<Map>) {
        if map.epoch() <= self.epoch() || self.is_stopping() {
            return;
        }
        self.pgs.borrow_mut().retain(|id, pg| {
            let stays = map.pool(id.pool).is_some_and(|pool| id.seed < pool.pg_num);
            if !stays {
                pg.resign();
            }
            stays
        });
        self.pools.borrow_mut().extend(map.pools.iter().map(|pool| pool.id));
        self.tier.set_map(self.id, &map);
        self.hit_sets.set_map(&map);
        self.capacity.set_map(map.clone());
        self.recovery.set_map(&map);
        if self.options.settings.set_map(&map) {
            tracing::info!(osd = self.id, epoch = map.epoch(), "options have changed");
            self.scrubber.look_anew();
        }
        map.teach(&self.identity().trust);
        self.sessions.end_unknown(&map);
        *self.map.borrow_mut() = Some(map.clone());
        self.lead_groups(&map);
        self.peers.set_map(self, &map);
        self.map_changed.notify_all();
    }

    /// A peer has a map that may be news.
    pub(crate) fn hear_of_map(self: &Rc<Self>, map: Map) {
        if map.fsid == self.options.identity.fsid.0 && map.epoch() > self.epoch() {
            self.apply_map(Arc::new(map));
        }
    }

    /// Resolves with the next map. To be called before the current one is looked at.
    pub(crate) fn map_change(&self) -> impl Future<Output = ()> + use<> {
        self.map_changed.wait()
    }

    /// Whether a session's peer is still known by the key that the session began with.
    pub(crate) fn knows(&self, peer: &Authenticated) -> bool {
        let map = self.map.borrow();
        peer.standing == Standing::Configured || map.as_ref().is_none_or(|map| map.knows(&peer.peer, &peer.peer_key))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.options.identity
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(crate) fn recovery(&self) -> &RecoveryPace {
        &self.recovery
    }

    pub(crate) fn lease_came(&self) {
        self.lease_event.notify_all();
    }

    pub(crate) fn next_peer_session(&self) -> u64 {
        self.peer_sessions.set(self.peer_sessions.get() + 1);
        self.peer_sessions.get()
    }

    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.map().map_or(limits::HEARTBEAT_INTERVAL_DEFAULT, |map| {
            Duration::from_millis(map.settings.osd_heartbeat_interval_ms)
        })
    }

    /// A damaged piece of an object was put right from another copy.
    pub(crate) fn note_mended(&self) {
        self.scrubber.note_repaired();
    }

    /// Whether it is of use to its peers.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.is_stopping() && self.store.fenced().is_none()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Counts a request as running until the guard is dropped; a clean stop waits for it.
    pub(crate) fn request_guard(self: &Rc<Self>) -> RequestGuard {
        self.requests_running.set(self.requests_running.get() + 1);
        RequestGuard { osd: self.clone() }
    }

    /// Has a request about an object worked on.
    pub(crate) fn work_on(&self, job: ObjectJob) {
        self.workers.start(&self.ring, job, ObjectJob::done);
    }

    /// What is looked at once a second: silent sessions, the fence.
    async fn watch(&self) {
        let mut seconds = 0_u64;
        while !self.is_stopping() {
            self.recovery.look();
            // The tier's loops take them as well, but a store without a hot device has no such loops.
            self.tier.note_background_changes().await;
            if seconds.is_multiple_of(limits::SESSION_CHECK_INTERVAL.as_secs()) {
                self.refresh_pools().await;
                self.sessions.check(self.ring.now());
            }
            if let Some(reason) = self.store.fenced()
                && !self.fence_told.replace(true)
            {
                // What waits here for a write to be committed waits in vain.
                let groups: Vec<Rc<Pg>> = self.pgs.borrow().values().cloned().collect();
                groups.iter().for_each(|pg| pg.resign());
                tracing::error!(osd = self.id, reason, "fenced: every request is answered with EIO from now on");
            }
            seconds += 1;
            self.pause(limits::REPORT_INTERVAL).await;
        }
    }

    /// Waits until no request is running, but not for long: some OSDs always have one.
    pub(crate) async fn quiet_moment(&self, limit: Duration) {
        let quiet = self.request_ended.wait();
        if self.requests_running.get() > 0 {
            let _ = self.ring.timeout(limit, quiet).await;
        }
    }

    /// Sleeps until `event` or a stop, at most so long.
    pub(crate) async fn pause_until(&self, limit: Duration, event: impl Future<Output = ()>) {
        let stop = self.stop_begun.wait();
        if !self.is_stopping() {
            let _ = self.ring.timeout(limit, select(pin!(event), pin!(stop))).await;
        }
    }

    /// Sleeps, but not into a stop.
    pub(crate) async fn pause(&self, duration: Duration) {
        let stop = self.stop_begun.wait();
        if !self.is_stopping() {
            let _ = self.ring.timeout(duration, stop).await;
        }
    }

    /// Resolves when this OSD is to stop, also if it was told before.
    pub(crate) fn stop_begins(&self) -> impl Future<Output = ()> + use<> {
        let begun = self.is_stopping();
        let event = self.stop_begun.wait();
        async move {
            if !begun {
                event.await;
            }
        }
    }

    /// Takes no more requests, lets those that were begun end and be answered, then checkpoints and closes the store.
    pub async fn stop(&self) -> basalt_blockstore::Result<()> {
        self.stopping.set(true);
        self.stop_begun.notify_all();
        self.map_changed.notify_all();
        self.tier.stir();
        let quiet = || async {
            loop {
                let ended = self.request_ended.wait();
                if self.requests_running.get() == 0 {
                    break;
                }
                ended.await;
            }
            self.sessions.all_ended().await;
        };
        // What waits for members that do not come back is not waited for: the next primary tells its outcome.
        let groups: Vec<Rc<Pg>> = self.pgs.borrow().values().cloned().collect();
        let patient = self.ring.timeout(limits::STOP_COMMIT_WAIT_MAX, quiet()).await.is_ok();
        groups.iter().for_each(|pg| pg.resign());
        self.peers.close();
        if !patient && self.ring.timeout(limits::STOP_WAIT_MAX, quiet()).await.is_err() {
            let (requests, sessions) = (self.requests_running.get(), self.sessions.len());
            tracing::warn!(osd = self.id, requests, sessions, "stopped although not all requests have ended");
            self.sessions.close_all("this OSD is being stopped");
        }
        let background = std::mem::take(&mut *self.background.borrow_mut());
        for task in background {
            task.await;
        }
        self.hit_sets.save(true).await;
        let closed = self.store.clone().close().await;
        match &closed {
            Ok(()) => tracing::info!(osd = self.id, "stopped"),
            Err(error) => {
                tracing::error!(osd = self.id, %error, "stopped, but not cleanly; the next start replays the log")
            }
        }
        closed
    }
}

/// One running request.
pub(crate) struct RequestGuard {
    osd: Rc<Osd>,
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let running = self.osd.requests_running.get() - 1;
        self.osd.requests_running.set(running);
        if running == 0 {
            self.osd.request_ended.notify_all();
        }
    }
}
