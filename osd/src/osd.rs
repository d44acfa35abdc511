//! One OSD: a store, the placement groups in it, the map it goes by, and the work that goes on beside the requests.

use crate::capacity::Capacity;
use crate::counters::Counters;
use crate::group_scrubber::GroupScrubber;
use crate::leftovers;
use crate::limits;
use crate::peer::Peers;
use crate::peer::lease::Leases;
use crate::pg::Pg;
use crate::pg::leadership::{Leadership, Phase};
use crate::pg::peering;
use crate::pg::placement::{self, Claim, Verdict};
use crate::recovery_pace::RecoveryPace;
use crate::refusal::Refusal;
use crate::sabotage::{Sabotage, sabotaged};
use crate::scrubber::Scrubber;
use crate::session_registry::SessionRegistry;
use crate::tier_driver::TierDriver;
use basalt_blockstore::Store;
use basalt_cluster::config::ScrubSettings;
use basalt_cluster::placement::Placer;
use basalt_cluster::{Map, PgId};
use basalt_net::message::monitor::{
    GroupChanges, GroupJoin, GroupReport, GroupScrub, MemberProgress, MonitorRequest, OsdReport, PoolReport,
};
use basalt_net::message::peer::Reign;
use basalt_net::{Fsid, Key};
use basalt_ring::local::{Event, QueueReceiver, QueueSender, Semaphore, queue, select};
use basalt_ring::{Elapsed, Ring, Task};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What an OSD proves itself by.
#[derive(Clone, Debug)]
pub struct Identity {
    pub fsid: Fsid,
    pub key: Key,
}

#[derive(Clone, Debug)]
pub struct OsdOptions {
    pub identity: Identity,
    /// As it tells the monitor: drawn at each start.
    pub life: u64,
    /// Bytes.
    pub max_object_size: u64,
    pub scrub: ScrubSettings,
    pub stray_kept: Duration,
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
    stopping: Cell<bool>,
    stop_begun: Event,
    background: RefCell<Vec<Task<()>>>,
    fence_told: Cell<bool>,
}

impl Osd {
    /// Takes over an open store and starts what goes on beside the requests.
    pub fn start(ring: &Ring, store: Store, options: OsdOptions) -> Rc<Osd> {
        let counters = Rc::new(Counters::new(store.osd()));
        let (to_monitor, for_monitor) = queue();
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
            group_scrubber: GroupScrubber::new(ring.clone(), options.scrub.interval / limits::COMPARISONS_PER_PASS),
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
            stopping: Cell::new(false),
            stop_begun: Event::new(),
            background: RefCell::default(),
            fence_told: Cell::new(false),
        });
        *osd.background.borrow_mut() = osd.begin_background();
        osd
    }

    fn begin_background(self: &Rc<Self>) -> Vec<Task<()>> {
        let [learner, flusher, evicter, remover, scrubber, comparer, watcher, joiner] =
            std::array::from_fn(|_| self.clone());
        vec![
            self.ring.spawn(async move { learner.tier.learn(|| learner.is_stopping()).await }),
            self.ring.spawn(async move { flusher.tier.flush_loop(|| flusher.is_stopping()).await }),
            self.ring.spawn(async move { evicter.tier.evict_loop(|| evicter.is_stopping()).await }),
            self.ring.spawn(async move { leftovers::run(&remover).await }),
            self.ring.spawn(async move { scrubber.scrubber.run(&scrubber).await }),
            self.ring.spawn(async move { comparer.group_scrubber.run(&comparer).await }),
            self.ring.spawn(async move { watcher.watch().await }),
            self.ring.spawn(async move { joiner.tell_joins().await }),
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
        self.capacity.set_map(map.clone());
        self.recovery.set_map(&map);
        *self.map.borrow_mut() = Some(map.clone());
        self.lead_groups(&map);
        self.peers.set_map(self, &map);
        self.map_changed.notify_all();
    }

    /// Begins to lead the groups that the map names this OSD the primary of, and ends it where it does not, or anew.
    fn lead_groups(self: &Rc<Self>, map: &Map) {
        let has_others = map.osds.iter().any(|osd| osd.exists && osd.id != self.id);
        let fence = self.leases.fence(map.epoch(), has_others);
        // A map from before it started, or that the monitor made without having heard of it, is about another life of it: perhaps
        // of another store, and surely of writes under way that this one knows nothing of.
        let is_meant = map
            .osd(self.id)
            .is_some_and(|known| (known.life, known.store_id) == (self.options.life, self.store.store_id()));
        let may_lead = self.is_healthy() && is_meant;
        for (id, _, group) in map.pgs() {
            if group.primary != Some(self.id) || !may_lead {
                if let Some(pg) = self.pgs.borrow().get(&id) {
                    pg.resign();
                }
                continue;
            }
            let pg = self.pg(id);
            if pg.leadership().is_some_and(|leadership| leadership.reign().reign == group.reign) {
                continue;
            }
            let leadership = Rc::new(Leadership::new(id, group.reign, fence.clone()));
            pg.lead(leadership.clone());
            self.ring.spawn(peering::lead(self.clone(), pg, leadership));
        }
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

    /// What a client is told. That this OSD's store is out of service concerns nobody while others have the group: one of them takes over.
    pub(crate) fn passed_on(&self, pg: PgId, refusal: Refusal) -> Refusal {
        let is_fenced = refusal.errno == libc::EIO && self.store.fenced().is_some();
        let has_others = || {
            let map = self.map.borrow();
            map.as_ref().and_then(|map| map.pool(pg.pool)).is_some_and(|pool| pool.size > 1)
        };
        if is_fenced && has_others() { Refusal { errno: libc::EAGAIN, ..refusal } } else { refusal }
    }

    /// A damaged piece of an object was put right from another copy.
    pub(crate) fn note_mended(&self) {
        self.scrubber.note_repaired();
    }

    /// Whether it is of use to its peers.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.is_stopping() && self.store.fenced().is_none()
    }

    /// Where groups belong by this map.
    pub(crate) fn placer(&self, map: &Map) -> Rc<Placer> {
        let mut known = self.placer.borrow_mut();
        if let Some((basis, placer)) = known.as_ref()
            && Placer::is_same_for(basis, map)
        {
            return placer.clone();
        }
        let placer = Rc::new(Placer::new(map));
        if let Some(newest) = self.map.borrow().as_ref().filter(|newest| newest.epoch() == map.epoch()) {
            *known = Some((newest.clone(), placer.clone()));
        }
        placer
    }

    /// About how many objects a group has.
    pub(crate) fn objects_of(&self, pg: PgId) -> u64 {
        let Some(map) = self.map() else { return 0 };
        let held = map
            .pool(pg.pool)
            .map_or(0, |pool| pool.pgs.iter().filter(|group| group.in_sync.contains(&self.id)).count() as u64);
        self.store.pool_usage(pg.pool).objects / held.max(1)
    }

    /// A member confirmed a write or a push.
    pub(crate) fn written(&self, peer: u32, reign: Reign, version: u64, number: u64) {
        let Some(leadership) = self.leadership_of(reign) else { return };
        let Some(member) = leadership.member(peer) else { return };
        if number > 0 {
            member.push_ended(number);
        } else {
            member.confirm([version]);
            leadership.advance();
        }
    }

    /// A member can't do what it was told: it is asked anew what it has.
    pub(crate) fn refused(&self, peer: u32, reign: Reign, refusal: &Refusal, damaged: Vec<u8>) {
        let Some(leadership) = self.leadership_of(reign) else { return };
        let Some(member) = leadership.member(peer) else { return };
        tracing::info!(osd = self.id, pg = %leadership.pg(), member = peer, "a member refused: {refusal}");
        if !damaged.is_empty() {
            member.damaged.borrow_mut().insert(damaged);
        }
        member.lose();
    }

    /// Of all groups that this OSD leads.
    pub(crate) fn leaderships(&self) -> impl Iterator<Item = Rc<Leadership>> {
        let led: Vec<Rc<Leadership>> = self.pgs.borrow().values().filter_map(|pg| pg.leadership()).collect();
        led.into_iter()
    }

    fn leadership_of(&self, reign: Reign) -> Option<Rc<Leadership>> {
        let id = PgId { pool: reign.pool, seed: reign.pg };
        let pg = self.pgs.borrow().get(&id).cloned()?;
        pg.leadership().filter(|leadership| leadership.reign() == reign)
    }

    /// What the monitor is told of this OSD beside the reports that it is asked for; taken once.
    pub fn for_monitor(&self) -> Option<QueueReceiver<MonitorRequest>> {
        self.for_monitor.borrow_mut().take()
    }

    fn tell_monitor(&self, request: MonitorRequest) {
        // Without anyone to tell there is no monitor, which a test may want.
        let _ = self.to_monitor.send(request);
    }

    /// A report out of turn: something is known that the monitor should not hear of only in a second.
    pub(crate) fn report_soon(&self) {
        self.tell_monitor(MonitorRequest::Report(self.report()));
    }

    pub(crate) fn ask_to_join(&self, join: GroupJoin) {
        self.joins.borrow_mut().insert((join.pool, join.pg, join.osd), join);
        self.joins_wait.notify_all();
    }

    /// What several groups ask for at about the same time is one decision.
    async fn tell_joins(&self) {
        while !self.is_stopping() {
            let waiting = self.joins_wait.wait();
            if self.joins.borrow().is_empty() {
                self.pause_until(limits::REPORT_INTERVAL, waiting).await;
                continue;
            }
            self.pause(limits::JOIN_GATHER).await;
            let joins = std::mem::take(&mut *self.joins.borrow_mut()).into_values().collect();
            self.tell_monitor(MonitorRequest::Groups(GroupChanges { primary: self.id, joins }));
        }
    }

    /// What a reader was shown of a version is committed, and no other primary may have changed it since it was read.
    pub(crate) async fn confirm_read(&self, leadership: &Leadership, version: u64) -> Result<(), Refusal> {
        if !sabotaged(Sabotage::ReadUncommitted) {
            leadership.wait_committed(version).await?;
        }
        let deadline = self.ring.now();
        loop {
            let came = self.lease_event.wait();
            let map_change = self.map_change();
            if leadership.phase() == Phase::Ended {
                return Err(Refusal::new(libc::ESTALE, format!("{} has another primary now; ask it", leadership.pg())));
            }
            if leadership.phase() == Phase::Active
                && self.map.borrow().as_ref().is_some_and(|map| leadership.has_leases(self, map))
            {
                return Ok(());
            }
            let waited = self.ring.now().since(deadline);
            let Some(rest) = limits::GROUP_WAIT_MAX.checked_sub(waited).filter(|rest| !rest.is_zero()) else {
                let message =
                    format!("{}: the other members have not confirmed that this is its primary", leadership.pg());
                return Err(Refusal::new(libc::EAGAIN, message));
            };
            let _ = self.ring.timeout(rest, select(pin!(came), pin!(map_change))).await;
        }
    }

    /// The group's leadership, once requests may be served.
    pub(crate) async fn serving(&self, id: PgId) -> Result<Rc<Leadership>, Refusal> {
        let began = self.ring.now();
        loop {
            let map_change = self.map_change();
            let leadership = self.pg(id).leadership();
            let Some(leadership) = leadership else {
                return Err(Refusal::new(libc::ESTALE, format!("osd.{} is not the primary of {id} any more", self.id)));
            };
            let change = leadership.change();
            match leadership.phase() {
                Phase::Active => return Ok(leadership),
                Phase::Ended => {
                    return Err(Refusal::new(libc::ESTALE, format!("{id} has another primary now; ask it")));
                }
                Phase::Peering | Phase::Peered => {}
            }
            let waited = self.ring.now().since(began);
            let Some(rest) = limits::GROUP_WAIT_MAX.checked_sub(waited).filter(|rest| !rest.is_zero()) else {
                let message = format!("{id} waits for {}", leadership.waits_for.borrow());
                return Err(Refusal::new(libc::EAGAIN, message));
            };
            let _ = self.ring.timeout(rest, select(pin!(change), pin!(map_change))).await;
            if self.is_stopping() {
                return Err(Refusal::new(libc::EAGAIN, format!("osd.{} is being stopped", self.id)));
            }
        }
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
        let now = self.ring.now();
        let patience = 2 * self.heartbeat_interval();
        let hearing = self.peers.hearing(now, patience.max(limits::LEASE));
        let (groups, groups_active) = self.group_reports();
        let mut scrub = self.scrubber.report();
        self.group_scrubber.add_to(&mut scrub);
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
            scrub,
            silent_peers: hearing.silent,
            heard_peers: hearing.heard,
            is_isolated: hearing.is_isolated,
            groups,
            groups_active,
            recovered_bytes: self.recovery.sent_bytes(),
            recovered_objects: self.recovery.sent_objects(),
            pools: self.pools.borrow().iter().map(|pool| self.pool_report(*pool)).collect(),
        }
    }

    /// What is to be said of the groups that this OSD leads, and how many of them it serves.
    fn group_reports(&self) -> (Vec<GroupReport>, u32) {
        let mut reports = Vec::new();
        let mut active = 0;
        for leadership in self.leaderships() {
            let is_active = leadership.phase() == Phase::Active;
            active += u32::from(is_active);
            let recovering: Vec<MemberProgress> = leadership
                .members()
                .iter()
                .filter(|member| !member.is_live() || !member.is_required.get())
                .map(|member| MemberProgress {
                    osd: member.osd,
                    is_backfill: member.progress.is_backfill.get(),
                    objects_done: member.progress.objects_done.get(),
                    objects_total: member.progress.objects_total.get().max(member.progress.objects_done.get()),
                    bytes_done: member.progress.bytes_done.get(),
                    is_waiting: member.progress.is_waiting.get(),
                })
                .collect();
            let scrub = self.group_scrubber.of_group(leadership.pg());
            if is_active && recovering.is_empty() && scrub == GroupScrub::default() {
                continue;
            }
            let reign = leadership.reign();
            reports.push(GroupReport {
                pool: reign.pool,
                pg: reign.pg,
                reign: reign.reign,
                is_active,
                waits_for: leadership.waits_for.borrow().clone(),
                recovering,
                scrub,
            });
        }
        reports.truncate(limits::GROUP_REPORTS_MAX);
        (reports, active)
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
            self.recovery.look();
            // The tier's loops take them as well, but a store without a hot device has no such loops.
            self.tier.changed(&self.store.take_background_changes());
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
