//! In which state a placement group is, in Ceph's words: from the map, from where CRUSH wants the group, and from what its primary says.

use super::command::View;
use super::core::MonitorCore;
use crate::map::{Map, PgId, PlacementGroup, Pool};
use basalt_net::message::monitor::{GroupReport, MemberProgress};
use std::collections::BTreeMap;
use std::fmt;

/// What is true of a group at once. Printed as Ceph does: the words in a fixed order, with a plus between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PgState(u16);

impl PgState {
    pub const ACTIVE: PgState = PgState(1 << 0);
    pub const CLEAN: PgState = PgState(1 << 1);
    pub const RECOVERY_WAIT: PgState = PgState(1 << 2);
    pub const RECOVERING: PgState = PgState(1 << 3);
    pub const DOWN: PgState = PgState(1 << 4);
    pub const UNDERSIZED: PgState = PgState(1 << 5);
    pub const DEGRADED: PgState = PgState(1 << 6);
    pub const REMAPPED: PgState = PgState(1 << 7);
    pub const PEERING: PgState = PgState(1 << 8);
    pub const BACKFILL_WAIT: PgState = PgState(1 << 9);
    pub const BACKFILLING: PgState = PgState(1 << 10);
    pub const PEERED: PgState = PgState(1 << 11);
    pub const INCONSISTENT: PgState = PgState(1 << 12);
    pub const SCRUBBING: PgState = PgState(1 << 13);
    pub const DEEP: PgState = PgState(1 << 14);

    const NAMES: [(PgState, &str); 15] = [
        (Self::ACTIVE, "active"),
        (Self::CLEAN, "clean"),
        (Self::RECOVERY_WAIT, "recovery_wait"),
        (Self::RECOVERING, "recovering"),
        (Self::DOWN, "down"),
        (Self::UNDERSIZED, "undersized"),
        (Self::DEGRADED, "degraded"),
        (Self::REMAPPED, "remapped"),
        (Self::PEERING, "peering"),
        (Self::BACKFILL_WAIT, "backfill_wait"),
        (Self::BACKFILLING, "backfilling"),
        (Self::PEERED, "peered"),
        (Self::INCONSISTENT, "inconsistent"),
        (Self::SCRUBBING, "scrubbing"),
        (Self::DEEP, "deep"),
    ];

    /// The state that a word names.
    pub fn by_name(name: &str) -> Option<PgState> {
        if name == "unknown" {
            return Some(PgState::default());
        }
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(state, _)| state)
    }

    pub fn all_names() -> impl Iterator<Item = &'static str> {
        std::iter::once("unknown").chain(Self::NAMES.into_iter().map(|(_, name)| name))
    }

    pub fn contains(self, other: PgState) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether a word of [`PgState::by_name`] is said of it.
    pub fn is_said(self, word: PgState) -> bool {
        if word == PgState::default() { self == word } else { self.contains(word) }
    }

    fn add(&mut self, other: PgState, is_so: bool) {
        if is_so {
            self.0 |= other.0;
        }
    }
}

impl fmt::Display for PgState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> =
            Self::NAMES.into_iter().filter(|(state, _)| self.contains(*state)).map(|(_, name)| name).collect();
        f.write_str(&if words.is_empty() { "unknown".to_owned() } else { words.join("+") })
    }
}

/// One group as the commands show it.
pub struct PgView<'a> {
    pub id: PgId,
    pub pool: &'a Pool,
    pub group: &'a PlacementGroup,
    pub state: PgState,
    /// Where CRUSH wants it, whether those OSDs are up or not.
    pub belongs: &'a [u32],
    /// Those of them that are up.
    pub up: Vec<u32>,
    /// The members of the in-sync set that are up, primary first.
    pub acting: Vec<u32>,
    /// What its primary says, if that is not just that all is well.
    pub report: Option<&'a GroupReport>,
}

/// Copies of each object of a group on average, 0 to the pool's size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Copies {
    /// There are so many fewer than there should be.
    pub missing: f64,
    /// So many more are not where CRUSH wants them.
    pub misplaced: f64,
}

impl<'a> PgView<'a> {
    fn new(core: &'a MonitorCore, id: PgId, pool: &'a Pool, group: &'a PlacementGroup) -> PgView<'a> {
        let map = core.map();
        let belongs = core.belonging.of_group(id);
        let up = belongs.iter().copied().filter(|id| is_up(map, *id)).collect();
        let acting = map.acting(id).unwrap_or_default();
        let report = group.primary.and_then(|primary| core.reports.of_group(primary, id, group.reign));
        let mut view = PgView { id, pool, group, state: PgState::default(), belongs, up, acting, report };
        view.state = view.judge(map);
        view
    }

    fn judge(&self, map: &Map) -> PgState {
        let mut state = PgState::default();
        if self.group.primary.is_none() {
            return state;
        }
        if self.acting.is_empty() {
            return PgState::DOWN;
        }
        let live = self.acting.len() as u32;
        let is_whole = live >= self.pool.min_size && self.group.in_sync.iter().all(|id| is_up(map, *id));
        let is_active = is_whole && self.report.is_none_or(|report| report.is_active);
        state.add(PgState::ACTIVE, is_active);
        state.add(PgState::PEERED, !is_whole);
        state.add(PgState::PEERING, is_whole && !is_active);
        state.add(PgState::UNDERSIZED, live < self.pool.size);
        state.add(PgState::DEGRADED, live < self.pool.size);
        let mut catches_up_all = true;
        let mut is_filled = true;
        for id in self.unfilled() {
            is_filled = false;
            catches_up_all &= self.progress_of(id).is_some_and(|progress| !progress.is_backfill);
        }
        let is_elsewhere = self.acting.iter().any(|id| !self.up.contains(id));
        state.add(PgState::REMAPPED, is_elsewhere || !(is_filled || catches_up_all));
        let filling = || self.fillings();
        let backfills =
            |is_waiting: bool| filling().any(|progress| progress.is_backfill && progress.is_waiting == is_waiting);
        let recovers =
            |is_waiting: bool| filling().any(|progress| !progress.is_backfill && progress.is_waiting == is_waiting);
        if state.contains(PgState::ACTIVE) || state.contains(PgState::PEERED) {
            state.add(PgState::RECOVERING, recovers(false));
            state.add(PgState::RECOVERY_WAIT, recovers(true) && !recovers(false));
            state.add(PgState::BACKFILLING, backfills(false));
            state.add(PgState::BACKFILL_WAIT, backfills(true) && !backfills(false));
        }
        let is_still = filling().next().is_none();
        state.add(PgState::CLEAN, is_active && live >= self.pool.size && is_filled && is_still);
        let scrub = self.report.map(|report| report.scrub).unwrap_or_default();
        state.add(PgState::INCONSISTENT, scrub.inconsistent > 0);
        state.add(PgState::SCRUBBING, scrub.is_running);
        state.add(PgState::DEEP, scrub.is_running && scrub.is_deep);
        state
    }

    pub fn primary(&self) -> Option<u32> {
        self.acting.first().copied()
    }

    /// OSDs that are up, belong to the group and are not in sync yet.
    pub fn unfilled(&self) -> impl Iterator<Item = u32> {
        self.up.iter().copied().filter(|id| !self.acting.contains(id))
    }

    fn fillings(&self) -> impl Iterator<Item = &'a MemberProgress> {
        let recovering = self.report.map_or(&[][..], |report| report.recovering.as_slice());
        recovering.iter().filter(|progress| !self.acting.contains(&progress.osd))
    }

    /// How far a member is on its way into the in-sync set.
    pub fn progress_of(&self, osd: u32) -> Option<&'a MemberProgress> {
        self.fillings().find(|progress| progress.osd == osd)
    }

    /// How much of a copy an OSD still lacks, 0 to 1, in a group of so many objects.
    fn lack_of(&self, osd: u32, objects: f64) -> f64 {
        let Some(progress) = self.progress_of(osd).filter(|progress| progress.objects_total > 0) else { return 1.0 };
        let left = progress.objects_total.saturating_sub(progress.objects_done) as f64;
        // A log says how many objects differ, and all others are there already.
        let all = if progress.is_backfill { 0.0 } else { objects };
        (left / all.max(progress.objects_total as f64)).min(1.0)
    }

    /// `objects`: how many there are in the group, about.
    pub fn copies(&self, objects: f64) -> Copies {
        let (mut lacking, mut filled) = (0.0, 0.0);
        for osd in self.unfilled() {
            let lack = self.lack_of(osd, objects);
            lacking += lack;
            filled += 1.0 - lack;
        }
        let missing = (f64::from(self.pool.size) - self.acting.len() as f64 - filled).max(0.0);
        Copies { missing, misplaced: f64::max(lacking - missing, 0.0) }
    }

    /// Objects that are still to be brought to the OSDs that are up, of `objects` in the group.
    pub fn objects_left(&self, objects: f64) -> f64 {
        self.unfilled().map(|osd| self.lack_of(osd, objects) * self.objects_of(osd, objects)).sum()
    }

    fn objects_of(&self, osd: u32, objects: f64) -> f64 {
        match self.progress_of(osd).filter(|progress| progress.is_backfill && progress.objects_total > 0) {
            Some(progress) => progress.objects_total as f64,
            None => objects,
        }
    }
}

fn is_up(map: &Map, id: u32) -> bool {
    map.osd(id).is_some_and(|osd| osd.exists && osd.is_up)
}

impl MonitorCore {
    pub(super) fn pg_views(&self) -> impl Iterator<Item = PgView<'_>> {
        self.map().pgs().map(|(id, pool, group)| PgView::new(self, id, pool, group))
    }

    pub(super) fn pg_view(&self, id: PgId) -> Option<PgView<'_>> {
        let (pool, group) = (self.map().pool(id.pool)?, self.map().pg(id)?);
        Some(PgView::new(self, id, pool, group))
    }

    /// Groups of one pool on each OSD whose copies are all in sync: what these OSDs report of the pool are whole copies, nothing left
    /// over from before and nothing half done.
    pub(super) fn whole_copies(&self, pool: &Pool) -> BTreeMap<u32, u64> {
        let osds = self.map().osds.last().map_or(0, |osd| osd.id as usize + 1);
        let (mut copies, mut is_partial) = (vec![0u64; osds], vec![false; osds]);
        for (group, belongs) in pool.pgs.iter().zip(self.belonging.of_pool(pool.id)) {
            for id in &group.in_sync {
                if let Some(copies) = copies.get_mut(*id as usize) {
                    *copies += 1;
                }
            }
            for id in belongs.iter().filter(|id| !group.in_sync.contains(id)) {
                if let Some(is_partial) = is_partial.get_mut(*id as usize) {
                    *is_partial = true;
                }
            }
        }
        let all = (0u32..).zip(copies.into_iter().zip(is_partial));
        all.filter(|(_, (copies, is_partial))| *copies > 0 && !is_partial)
            .map(|(id, (copies, _))| (id, copies))
            .collect()
    }
}

/// How many groups are in each state.
pub fn counts(view: &View<'_>) -> BTreeMap<PgState, u64> {
    let mut counts = BTreeMap::new();
    for group in view.core.pg_views() {
        *counts.entry(group.state).or_insert(0) += 1;
    }
    counts
}

/// How many copies of an object the pool has on average: by it, sums over OSDs are divided to get what users stored.
pub fn copies_kept(pool: &Pool) -> f64 {
    let kept: usize = pool.pgs.iter().map(|group| group.in_sync.len()).sum();
    (kept as f64 / f64::from(pool.pg_num.max(1))).max(1.0)
}
