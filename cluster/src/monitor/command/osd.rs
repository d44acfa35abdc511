//! `osd tree|df|stat|dump|ls|map`: the OSDs, and where an object goes.

use super::{Answer, Outcome, View};
use crate::map::{Fullness, Osd, PgId};
use crate::monitor::reports::Usage;
use crate::object_hash;
use crate::quantity::{format_age, format_utc};
use basalt_net::message::monitor::{OsdReport, ScrubReport};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ROOT_ID: i64 = -1;

/// Hosts in order of their names, with the ids that the tree shows them by and their OSDs.
struct Host<'a> {
    id: i64,
    name: &'a str,
    osds: Vec<&'a Osd>,
}

/// What takes the space of OSDs, in bytes.
#[derive(Default)]
struct Stored {
    data_bytes: u64,
    omap_bytes: u64,
    /// The index without omap, and the log.
    meta_bytes: u64,
    /// On both devices, with clean copies on hot and all that the store needs itself.
    raw_bytes: u64,
}

impl Stored {
    fn of(report: &OsdReport) -> Stored {
        let mut stored = Stored::default();
        stored.add(report);
        stored
    }

    fn add(&mut self, report: &OsdReport) {
        let mut omap_bytes = 0u64;
        for pool in &report.pools {
            self.data_bytes = self.data_bytes.saturating_add(pool.data_bytes);
            omap_bytes = omap_bytes.saturating_add(pool.omap_bytes);
        }
        self.omap_bytes = self.omap_bytes.saturating_add(omap_bytes);
        let meta = report.index_bytes.saturating_sub(omap_bytes).saturating_add(report.log_bytes);
        self.meta_bytes = self.meta_bytes.saturating_add(meta);
        self.raw_bytes = self.raw_bytes.saturating_add(report.base_used_bytes).saturating_add(report.hot_used_bytes);
    }

    /// Bytes used for each that users stored; `null` where there are none.
    fn amplification(&self) -> Value {
        match self.data_bytes.saturating_add(self.omap_bytes) {
            0 => Value::Null,
            stored => json!(self.raw_bytes as f64 / stored as f64),
        }
    }
}

/// How many OSDs there are, serve and hold data, and when that last changed.
pub(super) struct OsdSummary {
    epoch: u32,
    count: usize,
    up: usize,
    up_since_unix_s: u64,
    inside: usize,
    in_since_unix_s: u64,
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
            "num_remapped_pgs": 0,
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
    fn hosts(&self) -> Vec<Host<'_>> {
        let mut by_name: BTreeMap<&str, Vec<&Osd>> = BTreeMap::new();
        for osd in self.map.osds.iter().filter(|osd| osd.exists) {
            by_name.entry(&osd.host).or_default().push(osd);
        }
        (1i64..).zip(by_name).map(|(number, (name, osds))| Host { id: ROOT_ID - number, name, osds }).collect()
    }

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

    pub(super) fn osd_tree(&self) -> Outcome {
        let hosts = self.hosts();
        let mut nodes = vec![json!({
            "id": ROOT_ID,
            "name": "default",
            "type": "root",
            "type_id": 11,
            "children": hosts.iter().map(|host| host.id).collect::<Vec<_>>(),
        })];
        for host in &hosts {
            nodes.push(json!({
                "id": host.id,
                "name": host.name,
                "type": "host",
                "type_id": 1,
                "pool_weights": {},
                "children": host.osds.iter().map(|osd| osd.id).collect::<Vec<_>>(),
            }));
            nodes.extend(host.osds.iter().map(|osd| {
                json!({
                    "id": osd.id,
                    "device_class": osd.class(),
                    "name": format!("osd.{}", osd.id),
                    "type": "osd",
                    "type_id": 0,
                    "crush_weight": osd.weight,
                    "depth": 2,
                    "pool_weights": {},
                    "exists": 1,
                    "status": if osd.is_up { "up" } else { "down" },
                    "reweight": if osd.is_in { osd.reweight } else { 0.0 },
                    "primary_affinity": 1,
                })
            }));
        }
        Answer::shown("", json!({ "nodes": nodes, "stray": [] }))
    }

    pub(super) fn osd_df(&self) -> Outcome {
        let mut pgs: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, _, group) in self.map.pgs() {
            group.in_sync.iter().for_each(|osd| *pgs.entry(*osd).or_insert(0) += 1);
        }
        let total = self.core.reports.usage();
        let variation = |usage: &Usage| {
            if total.base_used == 0 || usage.base_total == 0 { 0.0 } else { usage.used_ratio() / total.used_ratio() }
        };
        let osds: Vec<&Osd> = self.hosts().into_iter().flat_map(|host| host.osds).collect();
        let nodes: Vec<Value> = osds
            .iter()
            .map(|osd| {
                let usage = self.core.reports.usage_of_osd(osd.id);
                let stored = self.core.reports.of_osd(osd.id).map(Stored::of).unwrap_or_default();
                json!({
                    "id": osd.id,
                    "device_class": osd.class(),
                    "name": format!("osd.{}", osd.id),
                    "type": "osd",
                    "type_id": 0,
                    "host": osd.host,
                    "crush_weight": osd.weight,
                    "depth": 2,
                    "pool_weights": {},
                    "reweight": if osd.is_in { osd.reweight } else { 0.0 },
                    "kb": usage.base_total / 1024,
                    "kb_used": usage.base_used.div_ceil(1024),
                    "kb_used_data": stored.data_bytes.div_ceil(1024),
                    "kb_used_omap": stored.omap_bytes.div_ceil(1024),
                    "kb_used_meta": stored.meta_bytes.div_ceil(1024),
                    "kb_avail": usage.base_available() / 1024,
                    "kb_hot": usage.hot_total / 1024,
                    "kb_hot_used": usage.hot_used.div_ceil(1024),
                    "utilization": usage.used_ratio() * 100.0,
                    "var": variation(&usage),
                    "space_amplification": stored.amplification(),
                    "pgs": pgs.get(&osd.id).copied().unwrap_or(0),
                    "status": if osd.is_up { "up" } else { "down" },
                })
            })
            .collect();
        let usages = || osds.iter().map(|osd| self.core.reports.usage_of_osd(osd.id));
        let mut stored_in_all = Stored::default();
        osds.iter().filter_map(|osd| self.core.reports.of_osd(osd.id)).for_each(|report| stored_in_all.add(report));
        let variations: Vec<f64> = usages().map(|usage| variation(&usage)).collect();
        let mean = total.used_ratio() * 100.0;
        let squares: f64 = usages().map(|usage| (usage.used_ratio() * 100.0 - mean).powi(2)).sum();
        let summary = json!({
            "total_kb": total.base_total / 1024,
            "total_kb_used": total.base_used.div_ceil(1024),
            "total_kb_avail": total.base_available() / 1024,
            "total_kb_hot": total.hot_total / 1024,
            "total_kb_hot_used": total.hot_used.div_ceil(1024),
            "total_kb_used_data": stored_in_all.data_bytes.div_ceil(1024),
            "total_kb_used_omap": stored_in_all.omap_bytes.div_ceil(1024),
            "total_kb_used_meta": stored_in_all.meta_bytes.div_ceil(1024),
            "space_amplification": stored_in_all.amplification(),
            "average_utilization": mean,
            "min_var": variations.iter().copied().reduce(f64::min).unwrap_or(0.0),
            "max_var": variations.iter().copied().reduce(f64::max).unwrap_or(0.0),
            "dev": (squares / osds.len().max(1) as f64).sqrt(),
        });
        Answer::shown("", json!({ "nodes": nodes, "stray": [], "summary": summary }))
    }

    pub(super) fn osd_dump(&self) -> Outcome {
        let map = self.map;
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
                    "crush_weight": osd.weight,
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
            "pool_max": map.pool_id_max,
            "max_osd": map.osds.iter().filter(|osd| osd.exists).map(|osd| osd.id + 1).max().unwrap_or(0),
            "pools": self.pools_in_detail(),
            "osds": osds,
        });
        Answer::shown("", document)
    }

    pub(super) fn osd_map(&self, pool: &str, name: &[u8]) -> Outcome {
        let pool = self.pool(pool)?;
        let hash = object_hash::rjenkins(name);
        let pg = PgId { pool: pool.id, seed: object_hash::stable_modulo(hash, pool.pg_num) };
        let acting = self.map.acting(pg).unwrap_or_default();
        let primary = acting.first().map_or(-1, |id| i64::from(*id));
        let members: Vec<String> = acting.iter().map(u32::to_string).collect();
        let set = format!("([{}], p{primary})", members.join(","));
        let object = String::from_utf8_lossy(name);
        let raw = format!("{}.{hash:x}", pool.id);
        let message = format!(
            "osdmap e{} pool '{}' ({}) object '{object}' -> pg {raw} ({pg}) -> up {set} acting {set}",
            self.map.epoch, pool.name, pool.id
        );
        let document = json!({
            "epoch": self.map.epoch,
            "pool": pool.name,
            "pool_id": pool.id,
            "objname": object,
            "raw_pgid": raw,
            "pgid": pg.to_string(),
            "up": acting,
            "up_primary": primary,
            "acting": acting,
            "acting_primary": primary,
        });
        Answer::shown(message, document)
    }
}
