//! `osd stat|dump|ls|map`: the OSDs, and where an object goes.

use super::osd_tree::crush_weights;
use super::{Answer, Outcome, View};
use crate::map::{Fullness, Osd, PgId};
use crate::monitor::pg_state::{self, PgState};
use crate::object_hash;
use crate::quantity::{format_age, format_utc};
use basalt_net::message::monitor::ScrubReport;
use serde_json::{Value, json};

/// How many OSDs there are, serve and hold data, and when that last changed.
pub(super) struct OsdSummary {
    epoch: u32,
    count: usize,
    up: usize,
    up_since_unix_s: u64,
    inside: usize,
    in_since_unix_s: u64,
    /// Groups that are not only where CRUSH wants them.
    remapped: u64,
}

impl OsdSummary {
    pub fn document(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "num_osds": self.count,
            "num_up_osds": self.up,
            "osd_up_since": self.up_since_unix_s,
            "num_in_osds": self.inside,
            "osd_in_since": self.in_since_unix_s,
            "num_remapped_pgs": self.remapped,
        })
    }
}

/// When the last pass of a scrub ended; Ceph's zero for one that is not known of.
pub(super) fn stamp(scrub: &ScrubReport) -> String {
    match scrub.finished_unix_s {
        0 => "0.000000".into(),
        unix_s => format_utc(unix_s),
    }
}

impl View<'_> {
    /// By its newest report.
    pub(super) fn scrub_of(&self, osd: u32) -> ScrubReport {
        self.core.reports.of_osd(osd).map(|report| report.scrub.clone()).unwrap_or_default()
    }

    /// By its newest report; `Normal` before the first.
    pub(in crate::monitor) fn fullness(&self, osd: u32) -> Fullness {
        let report = self.core.reports.of_osd(osd);
        report.map_or(Fullness::Normal, |report| {
            self.map.full_ratios.judge(report.base_promised_bytes, report.base_total_bytes)
        })
    }

    /// Seconds since the Unix epoch of the newest change in `of`, over the OSDs that exist.
    fn newest(&self, of: impl Fn(&Osd) -> u64) -> u64 {
        self.map.osds.iter().filter(|osd| osd.exists).map(of).max().unwrap_or(0)
    }

    pub(super) fn osd_summary(&self) -> OsdSummary {
        let osds = || self.map.osds.iter().filter(|osd| osd.exists);
        OsdSummary {
            epoch: self.map.epoch,
            count: osds().count(),
            up: osds().filter(|osd| osd.is_up).count(),
            up_since_unix_s: self.newest(|osd| osd.up_since_unix_s.max(osd.down_since_unix_s)),
            inside: osds().filter(|osd| osd.is_in).count(),
            in_since_unix_s: self.newest(|osd| osd.in_since_unix_s),
            remapped: pg_state::counts(self)
                .into_iter()
                .filter(|(state, _)| state.contains(PgState::REMAPPED))
                .map(|(_, count)| count)
                .sum(),
        }
    }

    pub(super) fn osd_stat(&self) -> Outcome {
        let summary = self.osd_summary();
        let since = |unix_s| match summary.count {
            0 => String::new(),
            _ => format!(" (since {})", format_age(self.age(unix_s))),
        };
        let OsdSummary { epoch, count, up, inside, .. } = summary;
        let (up_since, in_since) = (since(summary.up_since_unix_s), since(summary.in_since_unix_s));
        let message = format!("{count} osds: {up} up{up_since}, {inside} in{in_since}; epoch: e{epoch}");
        Answer::shown(message, summary.document())
    }

    pub(super) fn osd_ls(&self) -> Outcome {
        let ids: Vec<u32> = self.map.osds.iter().filter(|osd| osd.exists).map(|osd| osd.id).collect();
        let lines: Vec<String> = ids.iter().map(u32::to_string).collect();
        Answer::shown(lines.join("\n"), json!(ids))
    }

    pub(super) fn osd_dump(&self) -> Outcome {
        let map = self.map;
        let weights = crush_weights(&map.crush_map());
        let flags: Vec<&str> = map.flags.names().collect();
        let osds: Vec<Value> = map
            .osds
            .iter()
            .filter(|osd| osd.exists)
            .map(|osd| {
                let mut state = vec!["exists"];
                state.extend(osd.is_up.then_some("up"));
                state.extend(self.fullness(osd.id).name());
                let scrub = self.scrub_of(osd.id);
                json!({
                    "osd": osd.id,
                    "uuid": uuid::Uuid::from_bytes(osd.store_id).to_string(),
                    "up": u32::from(osd.is_up),
                    "in": u32::from(osd.is_in),
                    "weight": osd.reweight,
                    "crush_weight": weights.get(&osd.id).copied().unwrap_or(0.0),
                    "primary_affinity": 1,
                    "host": osd.host,
                    "device_class": osd.class(),
                    "base_bytes": osd.base_bytes,
                    "hot_bytes": osd.hot_bytes,
                    "up_from": osd.up_since_epoch,
                    "down_at": osd.down_since_epoch,
                    "public_addr": osd.public_address,
                    "cluster_addr": osd.cluster_address,
                    "last_deep_scrub_stamp": stamp(&scrub),
                    "scrub_errors": scrub.errors,
                    "scrubbing": scrub.is_running,
                    "version": self.runs(osd.id),
                    "features": self.core.software_of(osd.id).map(|it| it.features.names().collect::<Vec<_>>()),
                    "state": state,
                })
            })
            .collect();
        let document = json!({
            "epoch": map.epoch,
            "fsid": uuid::Uuid::from_bytes(map.fsid).to_string(),
            "created": format_utc(map.created_unix_s),
            "modified": format_utc(map.modified_unix_s),
            "full_ratio": map.full_ratios.full,
            "backfillfull_ratio": map.full_ratios.backfillfull,
            "nearfull_ratio": map.full_ratios.nearfull,
            "flags": flags.join(","),
            "flags_set": flags,
            "crush_node_flags": super::maintenance::host_flags(map),
            "require_osd_release": map.required_features.release(),
            "require_features": map.required_features.names().collect::<Vec<_>>(),
            "pool_max": map.pool_id_max,
            "max_osd": map.osds.iter().filter(|osd| osd.exists).map(|osd| osd.id + 1).max().unwrap_or(0),
            "pools": self.pools_in_detail(),
            "osds": osds,
        });
        Answer::shown("", document)
    }

    pub(super) fn osd_map(&self, pool: &str, name: &[u8]) -> Outcome {
        let pool = self.pool(pool)?;
        let hash = object_hash::rjenkins(object_hash::placed_by(name));
        let pg = PgId { pool: pool.id, seed: object_hash::stable_modulo(hash, pool.pg_num) };
        let group = self.core.pg_view(pg);
        let (up, acting) = group.map(|group| (group.up, group.acting)).unwrap_or_default();
        let first = |ids: &[u32]| ids.first().map_or(-1, |id| i64::from(*id));
        let set = |ids: &[u32]| {
            let members: Vec<String> = ids.iter().map(u32::to_string).collect();
            format!("([{}], p{})", members.join(","), first(ids))
        };
        let object = String::from_utf8_lossy(name);
        let raw = format!("{}.{hash:x}", pool.id);
        let message = format!(
            "osdmap e{} pool '{}' ({}) object '{object}' -> pg {raw} ({pg}) -> up {} acting {}",
            self.map.epoch,
            pool.name,
            pool.id,
            set(&up),
            set(&acting)
        );
        let document = json!({
            "epoch": self.map.epoch,
            "pool": pool.name,
            "pool_id": pool.id,
            "objname": object,
            "raw_pgid": raw,
            "pgid": pg.to_string(),
            "up": up,
            "up_primary": first(&up),
            "acting": acting,
            "acting_primary": first(&acting),
        });
        Answer::shown(message, document)
    }
}
