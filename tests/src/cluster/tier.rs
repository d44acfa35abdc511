//! The hot slices that some seeds have: how large they are, how their pool is set, and what they did.

use super::{Cluster, POOL, SimulatedHost};
use crate::random::Random;
use basalt_blockstore::PoolUsage;
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::OsdCommand;
use basalt_osd::counters::PoolCounters;
use basalt_tier::FlushReason;
use std::ops::AddAssign;
use std::rc::Rc;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// So many of a hundred seeds have slices.
const TIERED_PERCENT: u64 = 35;

const DRAIN_WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct SeedTier {
    pub hot_bytes: u64,
    pub is_base_rotational: bool,
    /// One more client writes so much that a small slice has no room for it.
    pub has_bulk: bool,
    /// Variables of the pool, in an order in which none contradicts those before it.
    pub settings: Vec<(&'static str, String)>,
}

/// Drawn from a stream of its own, so that a seed without slices is what it was before any had them.
pub fn of_seed(seed: u64) -> Option<SeedTier> {
    let mut random = Random::new(seed.wrapping_mul(6151) ^ 0x7469_6572);
    if !random.chance(TIERED_PERCENT) {
        return None;
    }
    let hot_bytes = *random.pick(&[4 * MIB, 4 * MIB, 6 * MIB, 16 * MIB]);
    let is_base_rotational = random.chance(25);
    let mut settings = Vec::new();
    // What most clients write are a few hundred KiB.
    let has_bulk = random.chance(40);
    match if has_bulk { 0 } else { random.below(5) } {
        0 => {}
        1 => settings.push(("target_max_objects", (1 + random.below(8)).to_string())),
        _ => settings.push(("target_max_bytes", ((16 * KIB) << random.below(5)).to_string())),
    }
    let (dirty, high, full) = *random.pick(&[(0.4, 0.6, 0.8), (0.1, 0.3, 0.5), (0.1, 0.2, 1.0), (0.3, 0.3, 0.3)]);
    settings.push(("cache_target_dirty_ratio", f64::to_string(&dirty)));
    settings.push(("cache_target_dirty_high_ratio", f64::to_string(&high)));
    settings.push(("cache_target_full_ratio", f64::to_string(&full)));
    let (youngest, oldest) = *random.pick(&[("0", "600"), ("0", "2"), ("1", "3"), ("4", "8"), ("1", "600")]);
    settings.push(("cache_min_flush_age", youngest.to_owned()));
    settings.push(("cache_max_dirty_age", oldest.to_owned()));
    for (variable, values) in [
        ("cache_min_evict_age", ["0", "1", "4"]),
        ("hit_set_period", ["1200", "2", "10"]),
        ("min_read_recency_for_promote", ["0", "1", "2"]),
        ("cache_idle_flush_age", ["30", "1", "0"]),
        ("cache_bypass_new_bytes", ["0", "0", "4k"]),
    ] {
        settings.push((variable, (*random.pick(&values)).to_owned()));
    }
    Some(SeedTier { hot_bytes, is_base_rotational, has_bulk, settings })
}

/// What the tiers of a run did, over all OSDs and all their lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierCounts {
    pub clusters: u64,
    pub flushed_bytes: u64,
    pub evicted_bytes: u64,
    pub promoted_bytes: u64,
    pub hit_reads: u64,
    pub miss_reads: u64,
    /// Writes that went through to base for want of room.
    pub written_through: u64,
    pub slowed_writes: u64,
    /// Moments in which less of a slice was free than is to stay free.
    pub short_slices: u64,
    /// Moments in which something was flushed for no other reason than that base was idle.
    pub idle_flushes: u64,
    pub drains: u64,
    pub mode_changes: u64,
}

impl TierCounts {
    /// What an OSD counted since its start.
    pub fn of_life(counters: PoolCounters) -> TierCounts {
        TierCounts {
            flushed_bytes: counters.flushed_bytes,
            evicted_bytes: counters.evicted_bytes,
            promoted_bytes: counters.promoted_bytes,
            hit_reads: counters.hit_reads,
            miss_reads: counters.miss_reads,
            written_through: counters.written_through,
            slowed_writes: counters.slowed_writes,
            ..TierCounts::default()
        }
    }

    /// What never happened, so that nothing was tested of it.
    pub fn missing(&self) -> Vec<&'static str> {
        [
            ("flush", self.flushed_bytes),
            ("eviction", self.evicted_bytes),
            ("promotion", self.promoted_bytes),
            ("hit", self.hit_reads),
            ("miss", self.miss_reads),
            ("write-through", self.written_through),
            ("slowed write", self.slowed_writes),
            ("short slice", self.short_slices),
            ("idle flush", self.idle_flushes),
            ("drain", self.drains),
            ("mode change", self.mode_changes),
        ]
        .into_iter()
        .filter_map(|(what, count)| (count == 0).then_some(what))
        .collect()
    }
}

impl AddAssign for TierCounts {
    fn add_assign(&mut self, other: TierCounts) {
        self.clusters += other.clusters;
        self.flushed_bytes += other.flushed_bytes;
        self.evicted_bytes += other.evicted_bytes;
        self.promoted_bytes += other.promoted_bytes;
        self.hit_reads += other.hit_reads;
        self.miss_reads += other.miss_reads;
        self.written_through += other.written_through;
        self.slowed_writes += other.slowed_writes;
        self.short_slices += other.short_slices;
        self.idle_flushes += other.idle_flushes;
        self.drains += other.drains;
        self.mode_changes += other.mode_changes;
    }
}

/// Gives the pool its settings.
pub async fn tune(cluster: &Cluster, settings: &[(&'static str, String)]) {
    for (variable, value) in settings {
        let reply = cluster.monitor().command(set(variable, value)).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
    }
}

pub fn set(variable: &str, value: &str) -> AdminCommand {
    AdminCommand::PoolSet { name: POOL.into(), variable: variable.into(), value: value.into() }
}

/// Whether slices flush, evict and promote on their own.
pub async fn let_agents_work(cluster: &Cluster, they_do: bool) {
    let stop = AdminCommand::OsdSetFlag { flag: "notieragent".into(), is_set: !they_do };
    let reply = cluster.monitor().command(stop).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
}

/// What an OSD's store has of the pool; nothing while it is not there.
pub fn usage(cluster: &Cluster, osd: u32) -> Option<PoolUsage> {
    let pool = cluster.map().pool_by_name(POOL)?.id;
    Some(cluster.osd(osd)?.store().pool_usage(pool))
}

/// Waits until an OSD's store has it so.
pub async fn wait_for(cluster: &Cluster, osd: u32, what: &str, is_so: impl Fn(PoolUsage) -> bool) {
    let ring = cluster.client.ring();
    let began = ring.now();
    while !usage(cluster, osd).is_some_and(&is_so) {
        let waited = ring.now().since(began);
        assert!(waited < DRAIN_WAIT_MAX, "osd.{osd} is not {what} after {waited:?}: {:?}", usage(cluster, osd));
        ring.sleep(Duration::from_millis(1)).await;
    }
}

/// Asks every OSD that can be asked to empty its slice.
pub async fn drain(cluster: &Cluster) {
    let ring = cluster.client.ring();
    let client = cluster.connect_on(&ring).await;
    let Some(pool) = cluster.map().pool_by_name(POOL).map(|pool| pool.id) else { return };
    for host in cluster.hosts.iter().filter(|host| host.is_running()) {
        // It may be away, or cut off.
        let asked = client.osd_command(host.id, OsdCommand::TierDrain { pool });
        let _ = ring.timeout(Duration::from_secs(1), asked).await;
    }
}

/// Every slice empties when it is asked to. What clients write meanwhile goes to base.
pub async fn drain_all(cluster: &Rc<Cluster>) -> Result<(), String> {
    let ring = cluster.client.ring();
    let began = ring.now();
    drain(cluster).await;
    loop {
        let Some(problem) = cluster.hosts.iter().find_map(|host| left_hot(cluster, host)) else { return Ok(()) };
        if ring.now().since(began) > DRAIN_WAIT_MAX {
            return Err(format!("not drained after {DRAIN_WAIT_MAX:?}: {problem}"));
        }
        ring.sleep(Duration::from_millis(200)).await;
    }
}

fn left_hot(cluster: &Cluster, host: &SimulatedHost) -> Option<String> {
    let pool = cluster.map().pool_by_name(POOL)?.id;
    let Some(osd) = cluster.osd(host.id) else { return Some(format!("osd.{} is not there", host.id)) };
    let usage = osd.store().pool_usage(pool);
    (usage.hot_dirty_bytes + usage.hot_clean_bytes > 0)
        .then(|| format!("osd.{} has {usage:?}; {:?}", host.id, osd.tier_figures(pool)))
}

/// Counts the slices that are short of room now, of so small ones a quarter is to stay free, and those that are flushed because base is idle.
pub fn note_slices(cluster: &Cluster) {
    let is_short = |host: &&Rc<SimulatedHost>| {
        let usage = cluster.osd(host.id).map(|osd| osd.store().usage());
        usage.is_some_and(|usage| usage.hot_free < usage.hot_total / 4)
    };
    let short_slices = cluster.hosts.iter().filter(is_short).count() as u64;
    let Some(pool) = cluster.map().pool_by_name(POOL).map(|pool| pool.id) else { return };
    let reason = |host: &Rc<SimulatedHost>| Some(cluster.osd(host.id)?.tier_figures(pool)?.flush_reason);
    let idle_flushes = cluster.hosts.iter().filter(|host| reason(host) == Some(FlushReason::Idle)).count() as u64;
    cluster.count(TierCounts { short_slices, idle_flushes, ..TierCounts::default() });
}

/// What each OSD's policy believes to be hot is what its store holds, at some moment soon.
pub async fn figures_agree(cluster: &Rc<Cluster>) -> Result<(), String> {
    let ring = cluster.client.ring();
    let began = ring.now();
    loop {
        let Some(problem) = cluster.hosts.iter().find_map(|host| disagreement(cluster, host)) else { return Ok(()) };
        if ring.now().since(began) > Duration::from_secs(20) {
            return Err(problem);
        }
        ring.sleep(Duration::from_millis(50)).await;
    }
}

fn disagreement(cluster: &Cluster, host: &SimulatedHost) -> Option<String> {
    let pool = cluster.map().pool_by_name(POOL)?.id;
    let Some(osd) = cluster.osd(host.id) else { return Some(format!("osd.{} is not there", host.id)) };
    let stored = osd.store().pool_usage(pool);
    let believed = osd.tier_figures(pool)?;
    let same = (stored.hot_dirty_bytes, stored.hot_clean_bytes, stored.dirty_objects)
        == (believed.dirty_bytes, believed.clean_bytes, believed.dirty_objects);
    (!same).then(|| format!("the tier of osd.{} believes {believed:?} where the store has {stored:?}", host.id))
}
