//! `osd ok-to-stop` and `osd safe-to-destroy`: exact, from the in-sync sets.

use super::{Answer, Outcome, View};
use crate::limits;
use crate::map::{Osd, PgId};
use crate::monitor::pg_state::{PgState, PgView};
use crate::pool_settings::Refusal;
use serde_json::json;
use std::collections::BTreeSet;

/// Groups that a refusal names.
const GROUPS_NAMED: usize = 5;

impl View<'_> {
    /// Whether every group that they hold is served on without these OSDs.
    pub(super) fn osd_ok_to_stop(&self, osds: Vec<u32>) -> Outcome {
        let osds = self.known_osds(osds)?;
        let inactive = self.inactive_without(&osds);
        let (mut degraded, mut fine) = (Vec::new(), 0);
        for group in self.core.pg_views().filter(|group| group.group.in_sync.iter().any(|id| osds.contains(id))) {
            let left = group.acting.iter().filter(|id| !osds.contains(id)).count();
            if left >= group.pool.min_size as usize {
                fine += 1;
                if left < group.pool.size as usize {
                    degraded.push(group.id.to_string());
                }
            }
        }
        if !inactive.is_empty() {
            return Err(Refusal::new(
                libc::EBUSY,
                format!(
                    "unsafe to stop osd(s) at this time ({} PGs are or would become offline: {})",
                    inactive.len(),
                    named(&inactive)
                ),
            ));
        }
        let message = format!(
            "OSD(s) {} are ok to stop without reducing availability or risking data, provided there are no other concurrent failures or interventions.",
            listed(&osds)
        );
        let document = json!({
            "ok_to_stop": true,
            "osds": osds,
            "num_ok_pgs": fine,
            "num_not_ok_pgs": 0,
            "ok_become_degraded": degraded,
        });
        Answer::shown(message, document)
    }

    /// The groups that these OSDs have copies of, and that nobody would serve without them.
    pub(super) fn inactive_without(&self, osds: &BTreeSet<u32>) -> Vec<PgId> {
        let left = |group: &PgView<'_>| group.acting.iter().filter(|id| !osds.contains(id)).count();
        self.core
            .pg_views()
            .filter(|group| group.group.in_sync.iter().any(|id| osds.contains(id)))
            .filter(|group| left(group) < group.pool.min_size as usize)
            .map(|group| group.id)
            .collect()
    }

    /// Whether nothing needs what is on these OSDs.
    pub(super) fn osd_safe_to_destroy(&self, osds: Vec<u32>) -> Outcome {
        let osds = self.known_osds(osds)?;
        let is_mapped = |belongs: &[u32], in_sync: &[u32]| belongs.iter().chain(in_sync).any(|id| osds.contains(id));
        let mut mapped = Vec::new();
        let mut unclean = Vec::new();
        for group in self.core.pg_views() {
            if is_mapped(&group.up, &group.group.in_sync) {
                mapped.push(group.id);
            }
            if !group.state.contains(PgState::CLEAN) {
                unclean.push(group.id);
            }
        }
        let shown = listed(&osds);
        if !mapped.is_empty() {
            return Err(Refusal::new(
                libc::EBUSY,
                format!("OSD(s) {shown} have {} pgs currently mapped to them: {}", mapped.len(), named(&mapped)),
            ));
        }
        let is_fresh =
            |osd: &Osd| self.core.reports.fresh(self.now.monotonic, osd.id, limits::OSD_REPORT_GRACE).is_some();
        let silent: BTreeSet<u32> =
            self.map.osds.iter().filter(|osd| osd.exists && osd.is_up && !is_fresh(osd)).map(|osd| osd.id).collect();
        let is_empty = |id: &u32| {
            let report = self.core.reports.fresh(self.now.monotonic, *id, limits::OSD_REPORT_GRACE);
            report.is_some_and(|report| report.pools.iter().all(|pool| pool.objects == 0))
        };
        let all_clean = unclean.is_empty() && silent.is_empty();
        let stored: BTreeSet<u32> = osds.iter().copied().filter(|id| !is_empty(id)).collect();
        if !all_clean && !stored.is_empty() {
            let doubt = if silent.is_empty() {
                format!("not all PGs are active+clean ({})", named(&unclean))
            } else {
                format!("OSD(s) {} have not reported lately", listed(&silent))
            };
            return Err(Refusal::new(
                libc::EAGAIN,
                format!(
                    "OSD(s) {} may still store PG data, and {doubt}; we cannot be sure they aren't still needed.",
                    listed(&stored)
                ),
            ));
        }
        let document = json!({ "safe_to_destroy": osds, "active": [], "missing_stats": [], "stored_pgs": [] });
        Answer::shown(format!("OSD(s) {shown} are safe to destroy without reducing data durability."), document)
    }
}

fn listed(osds: &BTreeSet<u32>) -> String {
    let osds: Vec<String> = osds.iter().map(u32::to_string).collect();
    osds.join(",")
}

pub(super) fn named(groups: &[PgId]) -> String {
    let mut named: Vec<String> = groups.iter().take(GROUPS_NAMED).map(PgId::to_string).collect();
    if groups.len() > GROUPS_NAMED {
        named.push(format!("and {} more", groups.len() - GROUPS_NAMED));
    }
    named.join(", ")
}
