//! Has the copies of the groups that this OSD is the primary of compared with each other, again and again, so that a copy that lost a
//! write is found before it is the last one.
//!
//! A pass of `scrubber` reads all data and holds it against its checksums, on each OSD for itself; so here it is enough to compare the
//! checksums, which the index has. One group at a time. When a group was compared is kept in the store, in the pool that no map has.

use crate::limits;
use crate::osd::Osd;
use crate::pg::leadership::{Leadership, Phase};
use crate::pg::scrub::{Comparison, Found, Scope};
use crate::pg::summary;
use crate::settings::Settings;
use basalt_cluster::{MapFlags, PgId};
use basalt_net::message::monitor::{GroupScrub, ScrubReport};
use basalt_ring::local::{Event, select};
use basalt_ring::{Instant, Ring};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

pub struct GroupScrubber {
    ring: Ring,
    settings: Rc<Settings>,
    groups: RefCell<BTreeMap<PgId, Group>>,
    running: Cell<Option<(PgId, Scope)>>,
    asked: Event,
}

/// What is known of a group that this OSD leads.
struct Group {
    compared_unix_s: u64,
    /// What the last comparison left as it was.
    inconsistent: u64,
    lines: Vec<String>,
    /// An operator asked for it.
    asked: Option<Scope>,
    not_before: Instant,
}

impl GroupScrubber {
    pub fn new(ring: Ring, settings: Rc<Settings>) -> GroupScrubber {
        GroupScrubber { ring, settings, groups: RefCell::default(), running: Cell::new(None), asked: Event::new() }
    }

    /// Compares the group soon, whatever the flags say. It must be led by this OSD.
    pub async fn request(&self, osd: &Osd, pg: PgId, scope: Scope) {
        self.meet(osd, pg).await;
        if let Some(group) = self.groups.borrow_mut().get_mut(&pg) {
            group.asked = Some(scope);
            group.not_before = self.ring.now();
        }
        self.asked.notify_all();
    }

    /// What is to be said of a group.
    pub fn of_group(&self, pg: PgId) -> GroupScrub {
        let running = self.running.get().filter(|(running, _)| *running == pg);
        GroupScrub {
            is_running: running.is_some(),
            is_deep: running.is_some_and(|(_, scope)| scope.is_deep),
            inconsistent: self.groups.borrow().get(&pg).map_or(0, |group| group.inconsistent),
        }
    }

    /// Adds what was found of groups to what was found of the store.
    pub fn add_to(&self, report: &mut ScrubReport) {
        for group in self.groups.borrow().values().filter(|group| group.inconsistent > 0) {
            report.errors = report.errors.saturating_add(group.inconsistent);
            let room = limits::SCRUB_LINES_MAX.saturating_sub(report.findings.len());
            report.findings.extend(group.lines.iter().take(room).cloned());
        }
    }

    /// Until the OSD stops.
    pub async fn run(&self, osd: &Rc<Osd>) {
        while !osd.is_stopping() {
            let asked = self.asked.wait();
            let map_change = osd.map_change();
            let led = served(osd);
            // Others' findings are others' to tell. A group that is not served just now may be in a moment.
            self.groups
                .borrow_mut()
                .retain(|pg, group| led.contains_key(pg) || group.asked.is_some() && is_primary(osd, *pg));
            for pg in led.keys() {
                self.meet(osd, *pg).await;
            }
            match self.next(osd, &led) {
                Some((leadership, scope)) => self.compare(osd, leadership, scope).await,
                None => {
                    let pause = (self.interval() / 8).clamp(limits::SCRUB_LOOK_MIN, limits::SCRUB_LOOK_MAX);
                    let either = async {
                        select(pin!(asked), pin!(map_change)).await;
                    };
                    osd.pause_until(pause, either).await;
                    // Maps may come in a row.
                    osd.pause(limits::SCRUB_LOOK_MIN).await;
                }
            }
        }
    }

    /// From one comparison of a group to the next.
    fn interval(&self) -> Duration {
        self.settings.scrub().interval / limits::COMPARISONS_PER_PASS
    }

    fn unix_s(&self) -> u64 {
        self.ring.unix_time().0 / 1_000_000_000
    }

    /// Looks up when a group was compared last. One that never was is due at some time within the interval: not all at once.
    async fn meet(&self, osd: &Osd, pg: PgId) {
        if self.groups.borrow().contains_key(&pg) {
            return;
        }
        let kept = summary::compared_unix_s(osd.store(), pg).await.unwrap_or_else(|refusal| {
            tracing::debug!(osd = osd.id(), %pg, "when it was compared can't be read: {refusal}");
            None
        });
        let spread = u64::from(crc32c::crc32c(format!("{pg} {}", osd.id()).as_bytes()));
        let ago = spread % self.interval().as_secs().max(1);
        let group = Group {
            compared_unix_s: kept.unwrap_or_else(|| self.unix_s().saturating_sub(ago)),
            inconsistent: 0,
            lines: Vec::new(),
            asked: None,
            not_before: self.ring.now(),
        };
        self.groups.borrow_mut().entry(pg).or_insert(group);
    }

    /// The group whose turn it is: one that an operator asked for, or else the one that is longest overdue.
    fn next(&self, osd: &Osd, led: &BTreeMap<PgId, Rc<Leadership>>) -> Option<(Rc<Leadership>, Scope)> {
        let (now, unix_s) = (self.ring.now(), self.unix_s());
        let is_held = osd.map().is_none_or(|map| map.flags.contains(MapFlags::NOSCRUB));
        let groups = self.groups.borrow();
        let ready = groups.iter().filter(|(_, group)| group.not_before <= now);
        let ready = ready.filter_map(|(pg, group)| Some((group, led.get(pg)?)));
        let mut longest_due: Option<(u64, &Rc<Leadership>)> = None;
        for (group, leadership) in ready {
            if let Some(scope) = group.asked {
                return Some((leadership.clone(), scope));
            }
            let is_due = group.compared_unix_s.saturating_add(self.interval().as_secs()) <= unix_s;
            let is_longer = longest_due.is_none_or(|(longest, _)| group.compared_unix_s < longest);
            if !is_held && leadership.has_members() && is_due && is_longer {
                longest_due = Some((group.compared_unix_s, leadership));
            }
        }
        longest_due.map(|(_, leadership)| (leadership.clone(), Scope::default()))
    }

    async fn compare(&self, osd: &Rc<Osd>, leadership: Rc<Leadership>, scope: Scope) {
        let pg = leadership.pg();
        self.running.set(Some((pg, scope)));
        let outcome = Comparison::new(osd, leadership, scope).run(osd.scrubber().pace()).await;
        self.running.set(None);
        let unix_s = self.unix_s();
        match outcome {
            Ok(Found { objects, repaired, inconsistent, lines }) => {
                if scope != Scope::default() || repaired > 0 || inconsistent > 0 {
                    tracing::info!(osd = osd.id(), %pg, objects, repaired, inconsistent, "copies compared");
                }
                if let Some(group) = self.groups.borrow_mut().get_mut(&pg) {
                    (group.inconsistent, group.lines) = (inconsistent, lines);
                    group.compared_unix_s = unix_s;
                    group.asked = group.asked.filter(|asked| *asked != scope);
                }
                // What it left as it was is found again after a restart only if it is looked for again.
                let kept = if inconsistent > 0 { 0 } else { unix_s };
                if let Err(refusal) = summary::keep_compared(osd.store(), pg, kept).await {
                    tracing::debug!(osd = osd.id(), %pg, "when it was compared can't be kept: {refusal}");
                }
            }
            Err(refusal) => {
                tracing::debug!(osd = osd.id(), %pg, "not compared: {refusal}");
                if let Some(group) = self.groups.borrow_mut().get_mut(&pg) {
                    group.not_before = self.ring.now() + limits::COMPARISON_RETRY;
                }
            }
        }
    }
}

pub fn is_primary(osd: &Osd, pg: PgId) -> bool {
    osd.map().is_some_and(|map| map.pg(pg).is_some_and(|group| group.primary == Some(osd.id())))
}

fn served(osd: &Osd) -> BTreeMap<PgId, Rc<Leadership>> {
    let served = osd.leaderships().filter(|leadership| leadership.phase() == Phase::Active);
    served.map(|leadership| (leadership.pg(), leadership)).collect()
}
