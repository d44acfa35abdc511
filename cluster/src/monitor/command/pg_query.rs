//! `pg query`: everything about one placement group, and in words what it waits for.

use super::{Answer, Outcome, View};
use crate::map::{Fullness, MapFlags, Osd, PgId};
use crate::monitor::pg_state::{PgState, PgView};
use crate::pool_settings::Refusal;
use crate::quantity::{format_age, format_bytes};
use serde_json::{Value, json};
use std::time::Duration;

impl View<'_> {
    pub(super) fn group(&self, word: &str) -> Result<PgView<'_>, Refusal> {
        let id: PgId = word.parse().map_err(Refusal::invalid)?;
        self.core.pg_view(id).ok_or_else(|| {
            let what = match self.map.pool(id.pool) {
                None => format!("there is no pool {}", id.pool),
                Some(pool) => format!(
                    "pool '{}' has {} groups, the last is {}.{:x}",
                    pool.name,
                    pool.pg_num,
                    pool.id,
                    pool.pg_num - 1
                ),
            };
            Refusal::new(libc::ENOENT, format!("pgid {id} does not exist: {what}"))
        })
    }

    pub(super) fn pg_query(&self, word: &str) -> Outcome {
        let group = self.group(word)?;
        let waits_for = self.waits_for(&group);
        let sentences = self.sentences(&group);
        let mut message = String::new();
        sentences.iter().for_each(|sentence| message.push_str(&format!("{sentence}\n")));
        if waits_for.is_empty() {
            message.push_str("It waits for nothing.\n");
        } else {
            message.push_str("It waits for:\n");
            waits_for.iter().for_each(|line| message.push_str(&format!("  - {line}\n")));
        }
        let mut document = self.query_document(&group, &waits_for);
        if let Some(document) = document.as_object_mut() {
            document.insert("in_words".into(), json!(sentences));
            document.insert("unsettled_s".into(), json!(self.unsettled_for(&group).map(|time| time.as_secs())));
        }
        Answer::shown(message, document)
    }

    /// For how long its primary has said that it is not active, or fills somebody.
    fn unsettled_for(&self, group: &PgView<'_>) -> Option<Duration> {
        let since = self.core.reports.unsettled_since(group.group.primary?, group.id)?;
        Some(self.now.monotonic.saturating_sub(since))
    }

    /// Who leads it, who has its data, where it should be, whether it is served, and since when it is not as it should be.
    fn sentences(&self, group: &PgView<'_>) -> Vec<String> {
        let pool = group.pool;
        let mut said = vec![format!("pg {} of pool '{}' is {}.", group.id, pool.name, group.state)];
        let since = group.group.changed_epoch;
        said.push(match group.acting.first() {
            Some(primary) => {
                let host = self.map.osd(*primary).map_or("", |osd| osd.host.as_str());
                format!("Its primary is osd.{primary} of host {host}; its members last changed in epoch {since}.")
            }
            None => format!("It has no primary: none of its members is up. They last changed in epoch {since}."),
        });
        let in_sync = &group.group.in_sync;
        let up = in_sync.iter().filter(|id| self.is_up(**id)).count();
        let mut copies = format!(
            "In sync: {}, {} of the {} copies that the pool asks for",
            named(in_sync),
            in_sync.len(),
            pool.size
        );
        if up < in_sync.len() {
            copies.push_str(&format!("; {up} of them up"));
        }
        said.push(copies + ".");
        let (mut has, mut should) = (in_sync.clone(), group.belongs.to_vec());
        has.sort_unstable();
        should.sort_unstable();
        if has != should {
            said.push(format!("By the map it belongs on {}.", named(group.belongs)));
        }
        said.push(if group.state.contains(PgState::ACTIVE) {
            "Clients are served.".into()
        } else {
            let members = if pool.min_size == 1 { "member" } else { "members" };
            format!(
                "Clients are not served: that takes {} {members} at least, up and agreed (min_size).",
                pool.min_size
            )
        });
        if let Some(time) = self.unsettled_for(group) {
            said.push(format!("It has not been settled for {}.", format_age(time)));
        }
        said
    }

    fn query_document(&self, group: &PgView<'_>, waits_for: &[String]) -> Value {
        let mut stats = self.pg_document(group);
        if let Some(stats) = stats.as_object_mut() {
            stats.insert(
                "acting_recovery_backfill".into(),
                json!(group.acting.iter().copied().chain(group.unfilled()).collect::<Vec<_>>()),
            );
        }
        let name = match group.state {
            state if state.contains(PgState::ACTIVE) => "Started/Primary/Active",
            state if state.contains(PgState::PEERING) => "Started/Primary/Peering",
            state if state.contains(PgState::PEERED) => "Started/Primary/Peered",
            state if state.contains(PgState::DOWN) => "Started/Primary/Peering/Down",
            _ => "Initial",
        };
        let recovering = group.report.map_or(&[][..], |report| report.recovering.as_slice());
        let progress: Vec<Value> = recovering
            .iter()
            .map(|progress| {
                json!({
                    "osd": progress.osd,
                    "backfill": progress.is_backfill,
                    "waiting": progress.is_waiting,
                    "objects_done": progress.objects_done,
                    "objects_total": progress.objects_total,
                    "bytes_done": progress.bytes_done,
                })
            })
            .collect();
        let down: Vec<u32> = group.group.in_sync.iter().copied().filter(|id| !self.is_up(*id)).collect();
        let peers: Vec<Value> = group
            .acting
            .iter()
            .skip(1)
            .copied()
            .chain(group.unfilled())
            .map(|id| json!({ "peer": id.to_string(), "pgid": group.id.to_string(), "in_sync": group.group.in_sync.contains(&id) }))
            .collect();
        json!({
            "pgid": group.id.to_string(),
            "state": group.state.to_string(),
            "epoch": self.map.epoch(),
            "up": group.up,
            "acting": group.acting,
            "in_sync": group.group.in_sync,
            "belongs_on": group.belongs,
            "reign": group.group.reign,
            "info": {
                "pgid": group.id.to_string(),
                "history": { "same_primary_since": group.group.changed_epoch },
                "stats": stats,
            },
            "peer_info": peers,
            "recovery_state": [{
                "name": name,
                "comment": waits_for.join("; "),
                "down_osds_we_would_probe": down,
                "recovery_progress": progress,
            }],
            "waits_for": waits_for,
        })
    }

    fn is_up(&self, id: u32) -> bool {
        self.map.osd(id).is_some_and(|osd| osd.exists && osd.is_up)
    }

    /// One sentence for each thing that keeps a group from being active and clean; the worst first.
    pub(in crate::monitor) fn waits_for(&self, group: &PgView<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        let pool = group.pool;
        let down: Vec<&Osd> =
            group.group.in_sync.iter().filter(|id| !self.is_up(**id)).filter_map(|id| self.map.osd(*id)).collect();
        if group.group.primary.is_none() {
            lines.push("OSDs: no OSD was up that the pool's rule chooses when the group was made".into());
        } else if !group.state.contains(PgState::ACTIVE) {
            let missing = (pool.min_size as usize).saturating_sub(group.acting.len());
            if group.acting.is_empty() {
                lines.push(format!(
                    "{}: nobody else has every acknowledged write; once {} back it is served again",
                    names(&down),
                    match (down.len(), pool.min_size) {
                        (1, _) => "it is".into(),
                        (_, 1) => "one of them is".into(),
                        (_, few) => format!("{few} of them are"),
                    }
                ));
            } else if missing > 0 {
                let come_back =
                    if down.is_empty() { String::new() } else { format!(" {} may come back, or", names(&down)) };
                lines.push(format!(
                    "{missing} more of the {} copies that a write needs (min_size):{come_back} another OSD be filled",
                    pool.min_size
                ));
            }
            let said = group.report.map_or("", |report| report.waits_for.as_str());
            if !said.is_empty() && missing == 0 {
                lines.push(super::one_line(said));
            }
            if said.is_empty() && missing == 0 && !group.acting.is_empty() && !down.is_empty() {
                lines.push(format!("a map without {}", names(&down)));
            }
        }
        for osd in down {
            lines.push(self.down_line(osd));
        }
        for id in group.belongs.iter().filter(|id| !group.group.in_sync.contains(id)) {
            if let Some(osd) = self.map.osd(*id).filter(|osd| osd.exists) {
                lines.push(if osd.is_up { self.filling_line(group, *id) } else { self.down_line(osd) });
            }
        }
        if (group.belongs.len() as u32) < pool.size {
            lines.push(format!(
                "OSDs: the pool's rule finds {} of the {} that it asks for; add hosts or OSDs, bring in those that are out, or change the rule",
                group.belongs.len(),
                pool.size
            ));
        }
        if self.map.flags.contains(MapFlags::PAUSE) {
            lines.push("the pause flag to be unset: clients are held".into());
        }
        lines
    }

    fn down_line(&self, osd: &Osd) -> String {
        let since = match osd.down_since_unix_s {
            0 => String::new(),
            unix_s => format!(" for {}", format_age(self.age(unix_s))),
        };
        let mut line = format!("osd.{} of host {}, which is down{since}", osd.id, osd.host);
        let interval = Duration::from_millis(self.map.settings.mon_osd_down_out_interval_ms);
        if !osd.is_in {
            line.push_str(" and out");
        } else if self.map.flags_of(osd).contains(MapFlags::NOOUT) {
            line.push_str("; the noout flag keeps its copies from being made anew elsewhere");
        } else if !interval.is_zero() && osd.down_since_unix_s > 0 {
            let left = interval.saturating_sub(self.age(osd.down_since_unix_s));
            line.push_str(&format!(
                "; if it does not return within {}, its copies are made anew elsewhere",
                format_age(left)
            ));
        }
        line
    }

    fn filling_line(&self, group: &PgView<'_>, id: u32) -> String {
        let is_degraded = (group.group.in_sync.len() as u32) < group.pool.size;
        let flags = self.map.flags;
        let holding = [
            (flags.contains(MapFlags::NORECOVER), "norecover"),
            (flags.contains(MapFlags::NOREBALANCE) && !is_degraded, "norebalance"),
        ];
        if let Some((_, flag)) = holding.into_iter().find(|(is_set, _)| *is_set) {
            return format!("osd.{id} to be filled, which the {flag} flag holds back");
        }
        let Some(progress) = group.progress_of(id) else {
            return format!("osd.{id} to be filled; its primary has not begun yet");
        };
        if progress.is_waiting {
            if flags.contains(MapFlags::NOBACKFILL) && progress.is_backfill {
                return format!("osd.{id} to be backfilled, which the nobackfill flag holds back");
            }
            let most = self.map.settings.osd_max_backfills;
            return match progress.is_backfill {
                true => format!(
                    "osd.{id} to be backfilled, when it is its turn: an OSD backfills {most} groups at a time (osd_max_backfills)"
                ),
                false => format!("osd.{id} to catch up, when it is its turn"),
            };
        }
        let how = if progress.is_backfill { "backfilled" } else { "caught up" };
        let mut line = format!(
            "osd.{id} to be {how}: {} of {} objects, {} sent",
            progress.objects_done,
            progress.objects_total,
            format_bytes(progress.bytes_done)
        );
        if self.fullness(id) >= Fullness::BackfillFull {
            line.push_str("; it is backfillfull");
        }
        line
    }
}

fn named(ids: &[u32]) -> String {
    if ids.is_empty() {
        return "nobody".into();
    }
    ids.iter().map(|id| format!("osd.{id}")).collect::<Vec<_>>().join(", ")
}

fn names(osds: &[&Osd]) -> String {
    let names: Vec<String> = osds.iter().map(|osd| format!("osd.{}", osd.id)).collect();
    names.join(", ")
}
