//! Who is up: by what OSDs report of themselves, and of each other.
//!
//! OSDs hear each other on both networks. One that its peers miss on the cluster network is of no use to its groups and is marked
//! down; one that only clients miss is kept, but leads no group while another can, and is named in the health. One that nobody
//! hears of at all is marked down when its reports are overdue.

use super::{Action, MonitorCore, Now, SessionId, refuse};
use crate::limits;
use crate::map::{Map, MapFlags, Osd};
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::OsdReport;
use std::collections::BTreeSet;
use std::time::Duration;

/// Why an OSD is marked down.
enum Cause {
    /// Its peers on this many hosts miss it on the cluster network.
    Missed { hosts: usize },
    /// Nobody listens at its address any more.
    Refused,
    /// It does not report, and nobody hears it.
    Silent,
    /// Its store is out of service, it says.
    Faulty,
}

impl MonitorCore {
    pub(super) fn report(&mut self, now: Now, session: SessionId, report: OsdReport) -> Vec<Action> {
        let id = report.osd;
        let Some(osd) = self.map.osd(id).filter(|osd| osd.exists) else {
            let refusal = Refusal::new(libc::ENOENT, format!("osd.{id} is not in the map: it has to boot first"));
            return vec![refuse(session, 0, refusal)];
        };
        let (is_up, flags) = (osd.is_up, self.map.flags_of(osd));
        let stays_away = report.is_isolated || !report.fault.is_empty();
        self.reports.take(now.monotonic, report);
        if is_up {
            self.heard.insert(id, now.monotonic);
            return self.judge(now);
        }
        // It was silent for too long and is back on the session it booted on: it never stopped, so it is as it was. Unless its
        // peers still miss it: then it would be marked down at once again.
        if self.booted.get(&id) != Some(&session) || flags.contains(MapFlags::NOUP) || stays_away {
            return Vec::new();
        }
        // A cut is noticed at both of its ends, but not in the same moment.
        let down_for = self.down_since.get(&id).map(|since| now.monotonic.saturating_sub(*since));
        if down_for.is_some_and(|time| time < limits::OSD_DOWN_TIME_MIN) {
            return Vec::new();
        }
        let mut map = self.map.clone();
        let Some(osd) = map.osd_mut(id) else { return Vec::new() };
        come_up(osd, self.map.epoch + 1, now);
        self.heard.insert(id, now.monotonic);
        self.down_since.remove(&id);
        tracing::info!(osd = id, "reports again: up");
        self.decide(now, map)
    }

    pub(super) fn tick(&mut self, now: Now) -> Vec<Action> {
        let away = now.monotonic.saturating_sub(self.ticked);
        self.ticked = now.monotonic;
        if away > limits::TICK_LATE_MAX {
            // Reports may wait in the sockets of a monitor that was stopped, or whose disk hung: they are read before anyone is judged.
            tracing::warn!(?away, "the monitor stood still");
            self.heard.values_mut().for_each(|heard| *heard = (*heard + away).min(now.monotonic));
            self.reports.excuse(away, now.monotonic);
            return Vec::new();
        }
        let mut actions = self.place_more(now);
        actions.extend(self.judge(now));
        actions.extend(self.mark_out(now));
        actions.extend(self.move_primaries(now));
        actions
    }

    /// Marks down who is to be.
    fn judge(&mut self, now: Now) -> Vec<Action> {
        if self.map.flags.contains(MapFlags::NODOWN) {
            return Vec::new();
        }
        // One after the other: what an OSD said that is itself marked down a moment later does not count against the next.
        let mut down = BTreeSet::new();
        let missed = self.reports.missed_peers(now.monotonic, self.heartbeat_grace());
        // All others are well, and asking every OSD about every other takes seconds where there are ten thousand.
        let is_suspect = |osd: &&Osd| {
            missed.contains(&osd.id)
                || self.is_overdue(now, osd.id)
                || self.reports.of_osd(osd.id).is_some_and(|report| !report.fault.is_empty())
        };
        let is_judged = |osd: &&Osd| !self.map.flags_of(osd).contains(MapFlags::NODOWN);
        let up = self.map.osds.iter().filter(|osd| osd.exists && osd.is_up);
        for osd in up.filter(is_suspect).filter(is_judged) {
            if let Some(cause) = self.cause_of_death(now, osd, &down) {
                match cause {
                    Cause::Missed { hosts } => {
                        tracing::warn!(osd = osd.id, host = %osd.host, hosts, "missed on the cluster network: down");
                    }
                    Cause::Refused => tracing::warn!(osd = osd.id, host = %osd.host, "its process is gone: down"),
                    Cause::Faulty => {
                        tracing::warn!(osd = osd.id, host = %osd.host, "its store is out of service: down")
                    }
                    Cause::Silent => {
                        tracing::warn!(osd = osd.id, host = %osd.host, silence = ?limits::OSD_REPORT_GRACE, "no report: down");
                    }
                }
                down.insert(osd.id);
            }
        }
        if down.is_empty() { Vec::new() } else { self.take_down(now, &down) }
    }

    /// Decides that these are down.
    pub(super) fn take_down(&mut self, now: Now, down: &BTreeSet<u32>) -> Vec<Action> {
        let mut map = self.map.clone();
        for osd in map.osds.iter_mut().filter(|osd| down.contains(&osd.id)) {
            osd.is_up = false;
            osd.down_since_epoch = self.map.epoch + 1;
            osd.down_since_unix_s = now.unix.as_secs();
            self.down_since.insert(osd.id, now.monotonic);
        }
        self.heard.retain(|id, _| !down.contains(id));
        self.decide(now, map)
    }

    fn heartbeat_grace(&self) -> Duration {
        Duration::from_millis(self.map.settings.osd_heartbeat_grace_ms)
    }

    fn is_overdue(&self, now: Now, osd: u32) -> bool {
        let heard = self.heard.get(&osd).copied().unwrap_or(self.started);
        now.monotonic.saturating_sub(heard) > limits::OSD_REPORT_GRACE
    }

    fn cause_of_death(&self, now: Now, osd: &Osd, down: &BTreeSet<u32>) -> Option<Cause> {
        let grace = self.heartbeat_grace();
        let mut missed_by: BTreeSet<&str> = BTreeSet::new();
        let mut others: BTreeSet<&str> = BTreeSet::new();
        let (mut is_refused, mut is_heard) = (false, false);
        for reporter in self.map.osds.iter().filter(|other| other.exists && other.is_up && other.id != osd.id) {
            if down.contains(&reporter.id) {
                continue;
            }
            let Some(report) = self.reports.fresh(now.monotonic, reporter.id, grace) else { continue };
            if reporter.host != osd.host {
                others.insert(&reporter.host);
            }
            is_heard |= report.heard_peers.contains(&osd.id);
            let of_this_life = |of: &u32| *of == osd.up_since_epoch;
            let Some(silence) = report
                .silent_peers
                .iter()
                .find(|silence| silence.osd == osd.id && of_this_life(&silence.up_since_epoch))
            else {
                continue;
            };
            is_refused |= silence.is_refused;
            if u128::from(silence.cluster_ms) >= grace.as_millis() {
                missed_by.insert(&reporter.host);
            }
        }
        let enough = (self.map.settings.mon_osd_min_down_reporters as usize).min(others.len()).max(1);
        // A host's own OSDs hear each other whatever becomes of the network: they don't count against it, nor for it.
        missed_by.remove(osd.host.as_str());
        if missed_by.len() >= enough {
            return Some(Cause::Missed { hosts: missed_by.len() });
        }
        if is_refused && !self.booted.contains_key(&osd.id) {
            return Some(Cause::Refused);
        }
        if self.reports.of_osd(osd.id).is_some_and(|report| !report.fault.is_empty()) {
            return Some(Cause::Faulty);
        }
        (self.is_overdue(now, osd.id) && !is_heard).then_some(Cause::Silent)
    }

    /// OSDs that clients don't reach although their peers do, by the peers that are on the public network themselves.
    pub(crate) fn cut_off_from_clients(&self, now: Now) -> BTreeSet<u32> {
        let grace = self.heartbeat_grace();
        let up = || self.map.osds.iter().filter(|osd| osd.exists && osd.is_up);
        let missed_by_any = self.reports.missed_peers(now.monotonic, grace);
        up().filter(|osd| missed_by_any.contains(&osd.id))
            .filter(|osd| {
                let (mut missed, mut heard) = (0_usize, 0_usize);
                for reporter in up().filter(|other| other.host != osd.host) {
                    let Some(report) = self.reports.fresh(now.monotonic, reporter.id, grace) else { continue };
                    match report.silent_peers.iter().find(|silence| silence.osd == osd.id) {
                        Some(silence) if u128::from(silence.public_ms) >= grace.as_millis() => missed += 1,
                        _ => heard += usize::from(report.heard_peers.contains(&osd.id)),
                    }
                }
                missed > heard
            })
            .map(|osd| osd.id)
            .collect()
    }

    /// Moves primaries away from where clients don't reach them, and back.
    fn move_primaries(&mut self, now: Now) -> Vec<Action> {
        let cut_off = self.cut_off_from_clients(now);
        if cut_off == self.cut_off {
            return Vec::new();
        }
        self.cut_off = cut_off;
        self.resettle(now)
    }

    /// Marks out who has been down for too long, so that what it held is made anew elsewhere.
    fn mark_out(&mut self, now: Now) -> Vec<Action> {
        let interval = Duration::from_millis(self.map.settings.mon_osd_down_out_interval_ms);
        if interval.is_zero() || self.map.flags.contains(MapFlags::NOOUT) {
            return Vec::new();
        }
        let stays = |osd: &Osd| self.map.flags_of(osd).contains(MapFlags::NOOUT);
        let is_to_go = |osd: &Osd| osd.exists && osd.is_in && !osd.is_up && !stays(osd);
        let overdue = self.down_since.iter().filter(|(_, since)| now.monotonic.saturating_sub(**since) >= interval);
        let overdue = overdue.map(|(id, _)| *id).filter(|id| self.map.osd(*id).is_some_and(is_to_go));
        let overdue: Vec<u32> = overdue.collect();
        // Whoever is left in because too many are out already is looked at again with each tick.
        if overdue.is_empty() || !may_lose_one(&self.map) {
            return Vec::new();
        }
        let mut map = self.map.clone();
        for id in overdue {
            if !may_lose_one(&map) {
                break;
            }
            if let Some(osd) = map.osd_mut(id) {
                tracing::warn!(osd = id, ?interval, "down for too long: out");
                osd.is_in = false;
                osd.auto_out = true;
            }
        }
        self.decide(now, map)
    }
}

/// An OSD that is up again in this epoch.
pub(super) fn come_up(osd: &mut Osd, epoch: u32, now: Now) {
    osd.is_up = true;
    osd.up_since_epoch = epoch;
    osd.up_since_unix_s = now.unix.as_secs();
    if osd.auto_out {
        osd.auto_out = false;
        osd.is_in = true;
        osd.in_since_unix_s = now.unix.as_secs();
    }
}

/// Whether enough OSDs stay in if one more goes out: when very many are down, the network is broken and not they.
fn may_lose_one(map: &Map) -> bool {
    let osds = || map.osds.iter().filter(|osd| osd.exists);
    let inside = osds().filter(|osd| osd.is_in).count();
    inside > 1 && (inside - 1) as f64 >= limits::OSD_IN_RATIO_MIN * osds().count() as f64
}
