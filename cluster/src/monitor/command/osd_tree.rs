//! `osd tree` and `osd df [tree]`: the OSDs where CRUSH has them.

use super::{Answer, Outcome, View};
use crate::crush::{CrushMap, TreeLine, limits::WEIGHT_ONE};
use crate::map::Osd;
use crate::monitor::reports::Usage;
use basalt_net::message::monitor::OsdReport;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What takes the space of OSDs, in bytes.
#[derive(Clone, Copy, Default)]
struct Stored {
    data_bytes: u64,
    omap_bytes: u64,
    /// The index without omap, and the log.
    meta_bytes: u64,
    /// On both devices, with clean copies on hot and all that the store needs itself.
    raw_bytes: u64,
}

impl Stored {
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

fn real(weight: u32) -> f64 {
    f64::from(weight) / f64::from(WEIGHT_ONE)
}

/// Ceph's word for whether an OSD serves.
fn status(osd: Option<&Osd>) -> &'static str {
    match osd {
        None => "DNE",
        Some(osd) if osd.is_up => "up",
        Some(osd) if osd.is_destroyed() => "destroyed",
        Some(_) => "down",
    }
}

fn reweight(osd: Option<&Osd>) -> f64 {
    osd.filter(|osd| osd.is_in).map_or(0.0, |osd| osd.reweight)
}

/// By device: what it weighs in its bucket.
pub(super) fn crush_weights(crush: &CrushMap) -> BTreeMap<u32, f64> {
    let items = crush.buckets().filter(|bucket| !bucket.is_shadow()).flat_map(|bucket| &bucket.items);
    items.filter_map(|item| Some((u32::try_from(item.id).ok()?, real(item.weight)))).collect()
}

impl View<'_> {
    fn existing(&self, id: i32) -> Option<&Osd> {
        u32::try_from(id).ok().and_then(|id| self.map.osd(id)).filter(|osd| osd.exists)
    }

    /// OSDs that no bucket holds.
    fn strays(&self, crush: &CrushMap) -> Vec<&Osd> {
        let weights = crush_weights(crush);
        self.map.osds.iter().filter(|osd| osd.exists && !weights.contains_key(&osd.id)).collect()
    }

    /// `root=default,host=h1`
    pub(in crate::monitor) fn place_of(crush: &CrushMap, osd: u32) -> String {
        let mut words = Vec::new();
        let mut id = i32::try_from(osd).unwrap_or(i32::MAX);
        while let Some(parent) = crush.parents(id).next() {
            words.push(format!("{}={}", crush.type_name(parent.type_id).unwrap_or_default(), parent.name));
            id = parent.id;
        }
        words.reverse();
        words.join(",")
    }

    fn device_fields(&self, id: i32, class: Option<&str>, weight: f64, depth: u32) -> Value {
        let osd = self.existing(id);
        json!({
            "id": id,
            "device_class": class.or(osd.map(Osd::class)).unwrap_or_default(),
            "name": format!("osd.{id}"),
            "type": "osd",
            "type_id": 0,
            "crush_weight": weight,
            "depth": depth,
            "pool_weights": {},
            "exists": u32::from(osd.is_some()),
            "status": status(osd),
            "reweight": reweight(osd),
            "primary_affinity": 1,
        })
    }

    fn bucket_fields(line: &TreeLine<'_>) -> Value {
        json!({
            "id": line.id,
            "name": line.name,
            "type": line.type_name,
            "type_id": line.type_id,
            "weight": real(line.weight),
            "depth": line.depth,
            "pool_weights": {},
            "children": line.children,
        })
    }

    pub(super) fn osd_tree(&self) -> Outcome {
        let crush = self.map.crush_map();
        let fields = |line: TreeLine<'_>| match line.id {
            id if id >= 0 => self.device_fields(id, line.class, real(line.weight), line.depth),
            _ => Self::bucket_fields(&line),
        };
        let nodes: Vec<Value> = crush.tree(false).map(fields).collect();
        let strays = self.strays(&crush);
        let stray: Vec<Value> = strays.iter().map(|osd| self.device_fields(osd.id as i32, None, 0.0, 0)).collect();
        Answer::shown("", json!({ "nodes": nodes, "stray": stray }))
    }

    /// `crush tree`: the hierarchy alone, with shadows if they are wanted.
    pub(super) fn crush_tree(&self, shadows: bool) -> Outcome {
        let crush = self.map.crush_map();
        let fields = |line: TreeLine<'_>| match line.id {
            id if id >= 0 => json!({
                "id": id,
                "device_class": line.class.unwrap_or_default(),
                "name": line.name,
                "type": "osd",
                "type_id": 0,
                "crush_weight": real(line.weight),
                "depth": line.depth,
                "pool_weights": {},
            }),
            _ => Self::bucket_fields(&line),
        };
        let nodes: Vec<Value> = crush.tree(shadows).map(fields).collect();
        Answer::shown("", json!({ "nodes": nodes, "stray": [] }))
    }

    pub(super) fn osd_df(&self, shows_buckets: bool) -> Outcome {
        let mut pgs: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, _, group) in self.map.pgs() {
            group.in_sync.iter().for_each(|osd| *pgs.entry(*osd).or_insert(0) += 1);
        }
        let crush = self.map.crush_map();
        let total = self.core.reports.usage();
        let variation = |usage: &Usage| {
            if total.base_used == 0 || usage.base_total == 0 { 0.0 } else { usage.used_ratio() / total.used_ratio() }
        };
        let device = |id: i32, class: Option<&str>, weight: f64, depth: u32| {
            let mut fields = self.device_fields(id, class, weight, depth);
            let osd = u32::try_from(id).unwrap_or(u32::MAX);
            if let Some(fields) = fields.as_object_mut() {
                fields.insert("host".into(), json!(self.map.osd(osd).map_or("", |osd| osd.host.as_str())));
                fields.extend(self.space_fields(&BTreeSet::from([id]), &variation));
                fields.insert("pgs".into(), json!(pgs.get(&osd).copied().unwrap_or(0)));
            }
            fields
        };
        let mut seen = BTreeSet::new();
        let mut nodes = Vec::new();
        for line in crush.tree(false) {
            if line.id >= 0 {
                if shows_buckets || seen.insert(line.id) {
                    nodes.push(device(line.id, line.class, real(line.weight), line.depth));
                }
            } else if shows_buckets {
                let mut fields = Self::bucket_fields(&line);
                if let Some(fields) = fields.as_object_mut() {
                    fields.extend(self.space_fields(&crush.devices_below(line.id), &variation));
                }
                nodes.push(fields);
            }
        }
        let strays = self.strays(&crush);
        let stray: Vec<Value> = strays.iter().map(|osd| device(osd.id as i32, None, 0.0, 0)).collect();
        Answer::shown("", json!({ "nodes": nodes, "stray": stray, "summary": self.df_summary(&total, &variation) }))
    }

    fn space_fields(
        &self,
        devices: &BTreeSet<i32>,
        variation: &impl Fn(&Usage) -> f64,
    ) -> serde_json::Map<String, Value> {
        let (mut usage, mut stored) = (Usage::default(), Stored::default());
        for id in devices.iter().filter_map(|id| u32::try_from(*id).ok()) {
            usage.add(self.core.reports.usage_of_osd(id));
            self.core.reports.of_osd(id).into_iter().for_each(|report| stored.add(report));
        }
        let fields = json!({
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
        });
        match fields {
            Value::Object(fields) => fields,
            _ => serde_json::Map::new(),
        }
    }

    fn df_summary(&self, total: &Usage, variation: &impl Fn(&Usage) -> f64) -> Value {
        let osds: Vec<&Osd> = self.map.osds.iter().filter(|osd| osd.exists).collect();
        let usages = || osds.iter().map(|osd| self.core.reports.usage_of_osd(osd.id));
        let mut stored_in_all = Stored::default();
        osds.iter().filter_map(|osd| self.core.reports.of_osd(osd.id)).for_each(|report| stored_in_all.add(report));
        let variations: Vec<f64> = usages().map(|usage| variation(&usage)).collect();
        let mean = total.used_ratio() * 100.0;
        let squares: f64 = usages().map(|usage| (usage.used_ratio() * 100.0 - mean).powi(2)).sum();
        json!({
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
        })
    }
}
