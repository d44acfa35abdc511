//! What the OSDs report: the newest figures of each, and rates from successive reports.
//!
//! Counters start anew with an OSD, so a counter that went back makes no rate; a rate that has no newer report behind it fades to nothing.

use crate::limits;
use crate::map::PgId;
use basalt_net::message::monitor::{GroupReport, OsdReport, PoolReport};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub read_bytes: f64,
    pub read_operations: f64,
    pub write_bytes: f64,
    pub write_operations: f64,
    pub flushed_bytes: f64,
    pub evicted_bytes: f64,
    pub promoted_bytes: f64,
    pub slowed_writes: f64,
    pub written_through: f64,
}

impl Rates {
    fn between(old: &PoolReport, new: &PoolReport, span: Duration) -> Rates {
        let per_second = |old: u64, new: u64| new.saturating_sub(old) as f64 / span.as_secs_f64();
        Rates {
            read_bytes: per_second(old.read_bytes, new.read_bytes),
            read_operations: per_second(old.read_operations, new.read_operations),
            write_bytes: per_second(old.write_bytes, new.write_bytes),
            write_operations: per_second(old.write_operations, new.write_operations),
            flushed_bytes: per_second(old.flushed_bytes, new.flushed_bytes),
            evicted_bytes: per_second(old.evicted_bytes, new.evicted_bytes),
            promoted_bytes: per_second(old.promoted_bytes, new.promoted_bytes),
            slowed_writes: per_second(old.slowed_writes, new.slowed_writes),
            written_through: per_second(old.written_through, new.written_through),
        }
    }

    pub fn add(&mut self, other: &Rates) {
        self.read_bytes += other.read_bytes;
        self.read_operations += other.read_operations;
        self.write_bytes += other.write_bytes;
        self.write_operations += other.write_operations;
        self.flushed_bytes += other.flushed_bytes;
        self.evicted_bytes += other.evicted_bytes;
        self.promoted_bytes += other.promoted_bytes;
        self.slowed_writes += other.slowed_writes;
        self.written_through += other.written_through;
    }
}

/// What OSDs send to each other to recover and backfill, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RecoveryRates {
    pub bytes: f64,
    pub objects: f64,
}

/// Of an OSD, on average over its last reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Of a group of transactions, from its turn until it is durable.
    pub commit: Duration,
    /// Of a client's write that this OSD is the primary of, from its arrival until every member has it.
    pub apply: Duration,
}

/// Sums over OSDs.
#[derive(Clone, Debug, Default)]
pub struct PoolFigures {
    pub sum: PoolReport,
    pub rates: Rates,
    /// Whether any OSD has reported this pool.
    pub is_reported: bool,
}

/// Sums over OSDs' devices, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub base_total: u64,
    pub base_used: u64,
    pub hot_total: u64,
    pub hot_used: u64,
}

impl Usage {
    pub fn of(report: &OsdReport) -> Usage {
        Usage {
            base_total: report.base_total_bytes,
            base_used: report.base_used_bytes.min(report.base_total_bytes),
            hot_total: report.hot_total_bytes,
            hot_used: report.hot_used_bytes,
        }
    }

    pub fn add(&mut self, other: Usage) {
        self.base_total = self.base_total.saturating_add(other.base_total);
        self.base_used = self.base_used.saturating_add(other.base_used);
        self.hot_total = self.hot_total.saturating_add(other.hot_total);
        self.hot_used = self.hot_used.saturating_add(other.hot_used);
    }

    pub fn base_available(&self) -> u64 {
        self.base_total - self.base_used
    }

    /// 0 to 1.
    pub fn used_ratio(&self) -> f64 {
        if self.base_total == 0 { 0.0 } else { self.base_used as f64 / self.base_total as f64 }
    }
}

struct OsdFigures {
    arrived: Duration,
    report: OsdReport,
    /// The pools as of the report that the present rates start from.
    since: Since,
    rates: BTreeMap<u32, Rates>,
    recovery: RecoveryRates,
    latency: Latency,
    /// Groups that it leads and that are not as they should be, and since when it has said so.
    unsettled: BTreeMap<PgId, Duration>,
}

struct Since {
    at: Duration,
    pools: Vec<PoolReport>,
    recovered_bytes: u64,
    recovered_objects: u64,
    /// Count and nanoseconds.
    commits: (u64, u64),
    applies: (u64, u64),
}

impl Since {
    fn new(at: Duration, report: &OsdReport) -> Since {
        Since {
            at,
            pools: report.pools.clone(),
            recovered_bytes: report.recovered_bytes,
            recovered_objects: report.recovered_objects,
            commits: (report.commits, report.commit_ns),
            applies: (report.applies, report.apply_ns),
        }
    }
}

#[derive(Default)]
pub struct Reports {
    by_osd: BTreeMap<u32, OsdFigures>,
}

impl Reports {
    /// Takes in a report that arrived at `now` (monotonic).
    pub fn take(&mut self, now: Duration, mut report: OsdReport) {
        report.pools.truncate(limits::POOL_COUNT_MAX);
        report.pools.sort_by_key(|pool| pool.pool);
        report.pools.dedup_by_key(|pool| pool.pool);
        report.scrub.findings.truncate(limits::HEALTH_DETAIL_MAX);
        report.groups.sort_by_key(|group| (group.pool, group.pg));
        let unsettled = unsettled(self.by_osd.get(&report.osd), &report, now);
        let Some(known) = self.by_osd.get_mut(&report.osd) else {
            let since = Since::new(now, &report);
            let (rates, recovery, latency) = (BTreeMap::new(), RecoveryRates::default(), Latency::default());
            let osd = report.osd;
            let figures = OsdFigures { arrived: now, report, since, rates, recovery, latency, unsettled };
            self.by_osd.insert(osd, figures);
            return;
        };
        let old = &known.since.pools;
        let span = now.saturating_sub(known.since.at);
        if span >= limits::RATE_SPAN_MIN {
            known.rates = report
                .pools
                .iter()
                .map(|new| {
                    // A pool that was not there a moment ago has counted from zero since.
                    let none = PoolReport::default();
                    let index = old.binary_search_by_key(&new.pool, |pool| pool.pool);
                    let old = index.ok().and_then(|index| old.get(index)).unwrap_or(&none);
                    (new.pool, Rates::between(old, new, span))
                })
                .collect();
            let per_second = |old: u64, new: u64| new.saturating_sub(old) as f64 / span.as_secs_f64();
            known.recovery = RecoveryRates {
                bytes: per_second(known.since.recovered_bytes, report.recovered_bytes),
                objects: per_second(known.since.recovered_objects, report.recovered_objects),
            };
            let mean = |old: (u64, u64), new: (u64, u64)| {
                let count = new.0.saturating_sub(old.0);
                Duration::from_nanos(new.1.saturating_sub(old.1).checked_div(count).unwrap_or(0))
            };
            known.latency = Latency {
                commit: mean(known.since.commits, (report.commits, report.commit_ns)),
                apply: mean(known.since.applies, (report.applies, report.apply_ns)),
            };
            known.since = Since::new(now, &report);
        }
        known.arrived = now;
        known.unsettled = unsettled;
        known.report = report;
    }

    /// An OSD started again or is gone: its old counters mean nothing.
    pub fn forget(&mut self, osd: u32) {
        self.by_osd.remove(&osd);
    }

    /// A report that is not older than `age_max`.
    pub fn fresh(&self, now: Duration, osd: u32, age_max: Duration) -> Option<&OsdReport> {
        let figures = self.by_osd.get(&osd)?;
        (now.saturating_sub(figures.arrived) <= age_max).then_some(&figures.report)
    }

    /// Whom anyone misses, by reports that are not older than `age_max`.
    pub fn missed_peers(&self, now: Duration, age_max: Duration) -> BTreeSet<u32> {
        let fresh = self.by_osd.values().filter(|figures| now.saturating_sub(figures.arrived) <= age_max);
        fresh.flat_map(|figures| &figures.report.silent_peers).map(|silence| silence.osd).collect()
    }

    /// Nobody could report while the monitor itself stood still.
    pub fn excuse(&mut self, away: Duration, now: Duration) {
        self.by_osd.values_mut().for_each(|figures| figures.arrived = (figures.arrived + away).min(now));
    }

    /// Forgets OSDs that are not to be kept.
    pub fn keep(&mut self, is_kept: impl Fn(u32) -> bool) {
        self.by_osd.retain(|osd, _| is_kept(*osd));
    }

    /// What an OSD last said of a group that it leads in this reign.
    pub fn of_group(&self, osd: u32, pg: PgId, reign: u32) -> Option<&GroupReport> {
        let groups = &self.by_osd.get(&osd)?.report.groups;
        let place = groups.binary_search_by_key(&(pg.pool, pg.seed), |group| (group.pool, group.pg)).ok()?;
        groups.get(place).filter(|group| group.reign == reign)
    }

    /// Since when an OSD has said that a group which it leads is not active, or that it fills somebody.
    pub fn unsettled_since(&self, osd: u32, pg: PgId) -> Option<Duration> {
        self.by_osd.get(&osd)?.unsettled.get(&pg).copied()
    }

    pub fn recovery(&self, now: Duration) -> RecoveryRates {
        let fresh = self.by_osd.values().filter(|osd| now.saturating_sub(osd.arrived) <= limits::RATE_STALE_AFTER);
        fresh.fold(RecoveryRates::default(), |sum, osd| RecoveryRates {
            bytes: sum.bytes + osd.recovery.bytes,
            objects: sum.objects + osd.recovery.objects,
        })
    }

    pub fn latency(&self, now: Duration, osd: u32) -> Latency {
        let known = self.by_osd.get(&osd);
        let fresh = known.filter(|osd| now.saturating_sub(osd.arrived) <= limits::RATE_STALE_AFTER);
        fresh.map_or(Latency::default(), |osd| osd.latency)
    }

    pub fn of_osd(&self, osd: u32) -> Option<&OsdReport> {
        self.by_osd.get(&osd).map(|figures| &figures.report)
    }

    pub fn usage_of_osd(&self, osd: u32) -> Usage {
        self.of_osd(osd).map(Usage::of).unwrap_or_default()
    }

    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        self.by_osd.values().for_each(|figures| sum.add(Usage::of(&figures.report)));
        sum
    }

    /// What one OSD says of a pool.
    pub fn pool_of(&self, osd: u32, pool: u32) -> Option<&PoolReport> {
        let pools = &self.by_osd.get(&osd)?.report.pools;
        let place = pools.binary_search_by_key(&pool, |report| report.pool).ok()?;
        pools.get(place)
    }

    pub fn of_pool(&self, now: Duration, pool: u32) -> PoolFigures {
        let mut figures = PoolFigures::default();
        figures.sum.pool = pool;
        for osd in self.by_osd.values() {
            let Some(report) = self.pool_of(osd.report.osd, pool) else { continue };
            add(&mut figures.sum, report);
            figures.is_reported = true;
            if now.saturating_sub(osd.arrived) <= limits::RATE_STALE_AFTER
                && let Some(rates) = osd.rates.get(&pool)
            {
                figures.rates.add(rates);
            }
        }
        figures
    }
}

fn unsettled(known: Option<&OsdFigures>, report: &OsdReport, now: Duration) -> BTreeMap<PgId, Duration> {
    let groups = report.groups.iter().filter(|group| !group.is_active || !group.recovering.is_empty());
    let since = |pg: &PgId| known.and_then(|known| known.unsettled.get(pg)).copied().unwrap_or(now);
    groups.map(|group| PgId { pool: group.pool, seed: group.pg }).map(|pg| (pg, since(&pg))).collect()
}

fn add(sum: &mut PoolReport, other: &PoolReport) {
    let PoolReport {
        pool: _,
        objects,
        data_bytes,
        omap_bytes,
        target_bytes,
        hot_bytes,
        dirty_bytes,
        clean_bytes,
        dirty_objects,
        flushed_bytes,
        evicted_bytes,
        promoted_bytes,
        hit_reads,
        miss_reads,
        recent_hit_reads,
        recent_miss_reads,
        slowed_writes,
        written_through,
        dirty_bytes_by_age,
        oldest_dirty_s,
        flush_reason,
        wanted_flush_rate,
        base_rate,
        read_operations,
        read_bytes,
        write_operations,
        write_bytes,
    } = sum;
    *oldest_dirty_s = other.oldest_dirty_s.max(*oldest_dirty_s);
    *flush_reason = other.flush_reason.max(*flush_reason);
    for (sum, other) in dirty_bytes_by_age.iter_mut().zip(other.dirty_bytes_by_age) {
        *sum = sum.saturating_add(other);
    }
    for (sum, other) in [
        (objects, other.objects),
        (data_bytes, other.data_bytes),
        (omap_bytes, other.omap_bytes),
        (target_bytes, other.target_bytes),
        (hot_bytes, other.hot_bytes),
        (dirty_bytes, other.dirty_bytes),
        (clean_bytes, other.clean_bytes),
        (dirty_objects, other.dirty_objects),
        (flushed_bytes, other.flushed_bytes),
        (evicted_bytes, other.evicted_bytes),
        (promoted_bytes, other.promoted_bytes),
        (hit_reads, other.hit_reads),
        (miss_reads, other.miss_reads),
        (recent_hit_reads, other.recent_hit_reads),
        (recent_miss_reads, other.recent_miss_reads),
        (slowed_writes, other.slowed_writes),
        (written_through, other.written_through),
        (wanted_flush_rate, other.wanted_flush_rate),
        (base_rate, other.base_rate),
        (read_operations, other.read_operations),
        (read_bytes, other.read_bytes),
        (write_operations, other.write_operations),
        (write_bytes, other.write_bytes),
    ] {
        *sum = sum.saturating_add(other);
    }
}
