//! What the monitor is told: figures once a second, and at once who is to join a group.

use super::Osd;
use crate::counters::PoolCounters;
use crate::limits;
use crate::pg::leadership::Phase;
use crate::request_stage::Kind;
use basalt_net::message::monitor::{
    FlushReason, GroupChanges, GroupJoin, GroupReport, GroupScrub, MemberProgress, MonitorRequest, OsdReport,
    PoolReport,
};
use basalt_ring::local::QueueReceiver;
use basalt_tier::PoolFigures;
use std::collections::BTreeSet;

impl Osd {
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
    pub(super) async fn tell_joins(&self) {
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

    /// Looks up which pools the store has anything of, besides those of the map: a removed one, while it is being deleted.
    pub(super) async fn refresh_pools(&self) {
        let mut pools: BTreeSet<u32> =
            self.map().map_or_else(BTreeSet::new, |map| map.pools.iter().map(|pool| pool.id).collect());
        match self.store.list_pgs().await {
            Ok(pgs) => pools.extend(pgs.into_iter().map(|(pool, _)| pool).filter(|pool| *pool != limits::OWN_POOL)),
            Err(error) => tracing::debug!(osd = self.id, %error, "its placement groups can't be listed"),
        }
        *self.pools.borrow_mut() = pools;
    }

    /// What it has done since its start.
    pub fn pool_counters(&self, pool: u32) -> PoolCounters {
        self.counters.pool(pool)
    }

    /// What its tier knows of a pool; nothing without a hot slice.
    pub fn tier_figures(&self, pool: u32) -> Option<PoolFigures> {
        self.tier.figures(pool)
    }

    /// Figures for the monitor.
    pub fn report(&self) -> OsdReport {
        let usage = self.store.usage();
        let now = self.ring.now();
        let patience = 2 * self.heartbeat_interval();
        let hearing = self.peers.hearing(now, patience.max(limits::LEASE));
        let (groups, groups_active) = self.group_reports();
        let (applies, apply_ns) = self.requests.figures(Kind::Write).applied();
        let commits = self.store.commits().whole;
        let stuck = self.requests.stuck();
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
            commits: commits.count(),
            commit_ns: commits.sum_ns,
            applies,
            apply_ns,
            slow_requests: self.requests.slow_total(),
            stuck_requests: stuck.requests,
            stuck_oldest_ms: stuck.oldest.as_millis() as u64,
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
        let tier = self.tier.figures(pool);
        let tier = tier.as_ref();
        let of_tier = |figure: fn(&PoolFigures) -> u64| tier.map_or(0, figure);
        PoolReport {
            pool,
            objects: usage.objects,
            data_bytes: usage.data_bytes,
            omap_bytes: usage.omap_bytes,
            target_bytes: of_tier(|figures| figures.target_bytes),
            hot_bytes: usage.hot_dirty_bytes + usage.hot_clean_bytes,
            dirty_bytes: usage.hot_dirty_bytes,
            clean_bytes: usage.hot_clean_bytes,
            dirty_objects: usage.dirty_objects,
            flushed_bytes: counters.flushed_bytes,
            evicted_bytes: counters.evicted_bytes,
            promoted_bytes: counters.promoted_bytes,
            hit_reads: counters.hit_reads,
            miss_reads: counters.miss_reads,
            recent_hit_reads: of_tier(|figures| figures.hit_reads),
            recent_miss_reads: of_tier(|figures| figures.miss_reads),
            slowed_writes: counters.slowed_writes,
            written_through: counters.written_through,
            dirty_bytes_by_age: tier.map_or([0; 4], |figures| figures.dirty_by_age.bytes()),
            oldest_dirty_s: of_tier(|figures| figures.oldest_dirty_seconds),
            flush_reason: tier.map_or(FlushReason::None, |figures| reason(figures.flush_reason)),
            wanted_flush_rate: of_tier(|figures| figures.wanted_flush_rate),
            base_rate: of_tier(|figures| figures.base_rate),
            read_operations: counters.read_operations,
            read_bytes: counters.read_bytes,
            write_operations: counters.write_operations,
            write_bytes: counters.write_bytes,
        }
    }
}

fn reason(of_tier: basalt_tier::FlushReason) -> FlushReason {
    use basalt_tier::FlushReason as Reason;
    match of_tier {
        Reason::None => FlushReason::None,
        Reason::Idle => FlushReason::Idle,
        Reason::Age => FlushReason::Age,
        Reason::DirtyRatio => FlushReason::DirtyRatio,
        Reason::Mode => FlushReason::Mode,
        Reason::Drain => FlushReason::Drain,
        Reason::HighRatio => FlushReason::HighRatio,
        Reason::SliceShort => FlushReason::SliceShort,
    }
}
