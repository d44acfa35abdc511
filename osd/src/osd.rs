//! One OSD: a store, the placement groups in it, the map it goes by, and the work that goes on beside the requests.

use crate::capacity::Capacity;
use crate::counters::Counters;
use crate::limits;
use crate::pg::Pg;
use crate::pg::placement::{self, Claim, Verdict};
use crate::pool_removal;
use crate::refusal::Refusal;
use crate::scrubber::Scrubber;
use crate::session_registry::SessionRegistry;
use crate::tier_driver::TierDriver;
use basalt_blockstore::Store;
use basalt_cluster::config::ScrubSettings;
use basalt_cluster::{Map, PgId};
use basalt_net::message::monitor::{OsdReport, PoolReport};
use basalt_ring::local::{Event, Semaphore, select};
use basalt_ring::{Elapsed, Ring, Task};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct OsdOptions {
    /// Bytes.
    pub max_object_size: u64,
    pub scrub: ScrubSettings,
}

impl Default for OsdOptions {
    fn default() -> OsdOptions {
        OsdOptions { max_object_size: basalt_cluster::config::OBJECT_SIZE_MAX_DEFAULT, scrub: ScrubSettings::default() }
    }
}

pub struct Osd {
    ring: Ring,
    id: u32,
    store: Store,
    options: OsdOptions,
    map: RefCell<Option<Arc<Map>>>,
    map_changed: Event,
    pgs: RefCell<HashMap<PgId, Rc<Pg>>>,
    /// Those that reports tell of.
    pools: RefCell<BTreeSet<u32>>,
    counters: Rc<Counters>,
    tier: Rc<TierDriver>,
    capacity: Capacity,
    scrubber: Scrubber,
    sessions: SessionRegistry,
    payload_bytes: Semaphore,
    cloning: Semaphore,
    requests_running: Cell<u64>,
    request_ended: Event,
    stopping: Cell<bool>,
    stop_begun: Event,
    background: RefCell<Vec<Task<()>>>,
    fence_told: Cell<bool>,
}

impl Osd {
    /// Takes over an open store and starts what goes on beside the requests.
    pub fn start(ring: &Ring, store: Store, options: OsdOptions) -> Rc<Osd> {
        let counters = Rc::new(Counters::new(store.osd()));
        let osd = Rc::new(Osd {
            ring: ring.clone(),
            id: store.osd(),
            options: options.clone(),
            map: RefCell::default(),
            map_changed: Event::new(),
            pgs: RefCell::default(),
            pools: RefCell::default(),
            tier: Rc::new(TierDriver::new(ring.clone(), store.clone(), counters.clone())),
            counters,
            capacity: Capacity::new(store.clone()),
            scrubber: Scrubber::new(ring.clone(), store.clone(), options.scrub),
            store,
            sessions: SessionRegistry::default(),
            payload_bytes: Semaphore::new(limits::OSD_PAYLOAD_BYTES_MAX),
            cloning: Semaphore::new(limits::CLONE_BYTES_MAX),
            requests_running: Cell::new(0),
            request_ended: Event::new(),
            stopping: Cell::new(false),
            stop_begun: Event::new(),
            background: RefCell::default(),
            fence_told: Cell::new(false),
        });
        *osd.background.borrow_mut() = osd.begin_background();
        osd
    }

    fn begin_background(self: &Rc<Self>) -> Vec<Task<()>> {
        let [learner, flusher, evicter, remover, scrubber, watcher] = std::array::from_fn(|_| self.clone());
        vec![
            self.ring.spawn(async move { learner.tier.learn(|| learner.is_stopping()).await }),
            self.ring.spawn(async move { flusher.tier.flush_loop(|| flusher.is_stopping()).await }),
            self.ring.spawn(async move { evicter.tier.evict_loop(|| evicter.is_stopping()).await }),
            self.ring.spawn(async move { pool_removal::run(&remover).await }),
            self.ring.spawn(async move { scrubber.scrubber.run(&scrubber).await }),
            self.ring.spawn(async move { watcher.watch().await }),
        ]
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

    pub(crate) fn tier(&self) -> &Rc<TierDriver> {
        &self.tier
    }

    pub(crate) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    pub(crate) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
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

    /// 0 before the first map.
    pub fn epoch(&self) -> u32 {
        self.map.borrow().as_ref().map_or(0, |map| map.epoch())
    }

    /// Goes by this map from now on, unless it is older than the one it goes by.
    pub fn apply_map(&self, map: Arc<Map>) {
        if map.epoch() <= self.epoch() {
            return;
        }
        self.pgs.borrow_mut().retain(|pg, _| map.pool(pg.pool).is_some());
        self.pools.borrow_mut().extend(map.pools.iter().map(|pool| pool.id));
        self.tier.set_map(self.id, &map);
        self.capacity.set_map(map.clone());
        *self.map.borrow_mut() = Some(map);
        self.map_changed.notify_all();
    }

    /// Resolves with the next map. To be called before the current one is looked at.
    pub(crate) fn map_change(&self) -> impl Future<Output = ()> + use<> {
        self.map_changed.wait()
    }

    pub(crate) fn pg(&self, id: PgId) -> Rc<Pg> {
        self.pgs.borrow_mut().entry(id).or_insert_with(|| Rc::new(Pg::new(id))).clone()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Waits until the request is to be done here, or says why it is not.
    pub(crate) async fn admit(&self, claim: &Claim<'_>) -> Result<(), Refusal> {
        if let Some(reason) = self.store.fenced() {
            return Err(Refusal::new(libc::EIO, format!("osd.{} is out of service: {reason}", self.id)));
        }
        loop {
            if self.is_stopping() {
                return Err(Refusal::new(libc::EAGAIN, format!("osd.{} is being stopped", self.id)));
            }
            let changed = self.map_change();
            let verdict = match self.map.borrow().as_ref() {
                Some(map) => placement::judge(map, self.id, claim),
                None => Verdict::MapTooOld,
            };
            let patience = match verdict {
                Verdict::Here => return Ok(()),
                Verdict::Refused(refusal) => return Err(refusal),
                Verdict::MapTooOld => limits::MAP_WAIT_MAX,
                Verdict::Paused => limits::PAUSE_WAIT_MAX,
            };
            if let Err(Elapsed) = self.ring.timeout(patience, changed).await {
                let message = match verdict {
                    Verdict::Paused => "the cluster is paused; osd unset pause lets it go on".into(),
                    _ => format!("osd.{} has epoch {} and no word of epoch {} yet", self.id, self.epoch(), claim.epoch),
                };
                return Err(Refusal::new(libc::EAGAIN, message));
            }
        }
    }

    /// Counts a request as running until the guard is dropped; a clean stop waits for it.
    pub(crate) fn request_guard(self: &Rc<Self>) -> RequestGuard {
        self.requests_running.set(self.requests_running.get() + 1);
        RequestGuard { osd: self.clone() }
    }

    /// Looks up which pools the store has anything of, besides those of the map: a removed one, while it is being deleted.
    async fn refresh_pools(&self) {
        let mut pools: BTreeSet<u32> =
            self.map().map_or_else(BTreeSet::new, |map| map.pools.iter().map(|pool| pool.id).collect());
        match self.store.list_pgs().await {
            Ok(pgs) => pools.extend(pgs.into_iter().map(|(pool, _)| pool).filter(|pool| *pool != limits::OWN_POOL)),
            Err(error) => tracing::debug!(osd = self.id, %error, "its placement groups can't be listed"),
        }
        *self.pools.borrow_mut() = pools;
    }

    /// Figures for the monitor.
    pub fn report(&self) -> OsdReport {
        let usage = self.store.usage();
        OsdReport {
            osd: self.id,
            epoch: self.epoch(),
            base_total_bytes: usage.base_total,
            base_used_bytes: usage.base_used,
            base_promised_bytes: self.capacity.promised_bytes(),
            hot_total_bytes: usage.hot_total,
            hot_used_bytes: usage.hot_used,
            index_bytes: usage.index_bytes,
            log_bytes: usage.log_bytes,
            fault: self.store.fenced().unwrap_or_default(),
            checksum_errors: usage.checksum_errors,
            scrub: self.scrubber.report(),
            pools: self.pools.borrow().iter().map(|pool| self.pool_report(*pool)).collect(),
        }
    }

    fn pool_report(&self, pool: u32) -> PoolReport {
        let usage = self.store.pool_usage(pool);
        let counters = self.counters.pool(pool);
        PoolReport {
            pool,
            objects: usage.objects,
            data_bytes: usage.data_bytes,
            omap_bytes: usage.omap_bytes,
            target_bytes: self.tier.figures(pool).map_or(0, |figures| figures.target_bytes),
            hot_bytes: usage.hot_dirty_bytes + usage.hot_clean_bytes,
            dirty_bytes: usage.hot_dirty_bytes,
            clean_bytes: usage.hot_clean_bytes,
            dirty_objects: usage.dirty_objects,
            flushed_bytes: counters.flushed_bytes,
            evicted_bytes: counters.evicted_bytes,
            promoted_bytes: counters.promoted_bytes,
            hit_reads: counters.hit_reads,
            miss_reads: counters.miss_reads,
            read_operations: counters.read_operations,
            read_bytes: counters.read_bytes,
            write_operations: counters.write_operations,
            write_bytes: counters.write_bytes,
        }
    }

    /// What is looked at once a second: silent sessions, the fence.
    async fn watch(&self) {
        let mut seconds = 0_u64;
        while !self.is_stopping() {
            // The tier's loops take them as well, but a store without a hot device has no such loops.
            self.tier.changed(&self.store.take_background_changes());
            if seconds.is_multiple_of(limits::SESSION_CHECK_INTERVAL.as_secs()) {
                self.refresh_pools().await;
                self.sessions.check(self.ring.now());
            }
            if let Some(reason) = self.store.fenced()
                && !self.fence_told.replace(true)
            {
                tracing::error!(osd = self.id, reason, "fenced: every request is answered with EIO from now on");
            }
            seconds += 1;
            self.pause(limits::REPORT_INTERVAL).await;
        }
    }

    /// Waits until no request is running, but not for long: some OSDs always have one.
    pub(crate) async fn quiet_moment(&self, limit: std::time::Duration) {
        let quiet = self.request_ended.wait();
        if self.requests_running.get() > 0 {
            let _ = self.ring.timeout(limit, quiet).await;
        }
    }

    /// Sleeps until `event` or a stop, at most so long.
    pub(crate) async fn pause_until(&self, limit: std::time::Duration, event: impl Future<Output = ()>) {
        let stop = self.stop_begun.wait();
        if !self.is_stopping() {
            let _ = self.ring.timeout(limit, select(pin!(event), pin!(stop))).await;
        }
    }

    /// Sleeps, but not into a stop.
    pub(crate) async fn pause(&self, duration: std::time::Duration) {
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
        let quiet = async {
            loop {
                let ended = self.request_ended.wait();
                if self.requests_running.get() == 0 {
                    break;
                }
                ended.await;
            }
            self.sessions.all_ended().await;
        };
        if self.ring.timeout(limits::STOP_WAIT_MAX, quiet).await.is_err() {
            let (requests, sessions) = (self.requests_running.get(), self.sessions.len());
            tracing::warn!(osd = self.id, requests, sessions, "stopped although not all requests have ended");
            self.sessions.close_all("this OSD is being stopped");
        }
        let background = std::mem::take(&mut *self.background.borrow_mut());
        for task in background {
            task.await;
        }
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
