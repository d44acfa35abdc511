//! `osd pool ls [detail]` and `osd pool stats`.

use super::{Answer, Outcome, View};
use crate::map::{CacheMode, HitSetType, Pool, Tiering};
use crate::monitor::reports::Rates;
use crate::pool_settings::{self, Surroundings};
use crate::quantity::format_bytes;
use serde_json::{Map as Object, Value, json};

impl View<'_> {
    pub(super) fn pool_ls(&self, detail: bool) -> Outcome {
        let pools = &self.map.pools;
        if detail {
            let lines: Vec<String> = pools.iter().map(line).collect();
            return Answer::shown(lines.join("\n"), Value::Array(self.pools_in_detail()));
        }
        let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        Answer::shown(names.join("\n"), json!(names))
    }

    pub(super) fn pools_in_detail(&self) -> Vec<Value> {
        let around = self.surroundings(None);
        self.map.pools.iter().map(|pool| document(pool, &around)).collect()
    }

    pub(super) fn pool_stats(&self, name: Option<&str>) -> Outcome {
        let pools: Vec<&Pool> = match name {
            Some(name) => vec![self.pool(name)?],
            None => self.map.pools.iter().collect(),
        };
        let (mut texts, mut documents) = (Vec::new(), Vec::new());
        for pool in pools {
            let rates = self.core.reports.of_pool(self.now.monotonic, pool.id).rates;
            let client = client_rates(&rates);
            let activity = if client.is_empty() { "nothing is going on".into() } else { format!("client io {client}") };
            texts.push(format!("pool {} id {}\n  {activity}\n", pool.name, pool.id));
            let mut io = Object::new();
            for (key, rate) in [
                ("read_bytes_sec", rates.read_bytes),
                ("write_bytes_sec", rates.write_bytes),
                ("read_op_per_sec", rates.read_operations),
                ("write_op_per_sec", rates.write_operations),
            ] {
                if rate.round() > 0.0 {
                    io.insert(key.into(), json!(rate.round() as u64));
                }
            }
            documents.push(json!({
                "pool_name": pool.name,
                "pool_id": pool.id,
                "recovery": {},
                "recovery_rate": {},
                "client_io_rate": io,
            }));
        }
        Answer::shown(texts.join("\n"), Value::Array(documents))
    }
}

fn client_rates(rates: &Rates) -> String {
    let mut parts = Vec::new();
    for (rate, what) in [(rates.read_bytes, "rd"), (rates.write_bytes, "wr")] {
        if rate.round() > 0.0 {
            parts.push(format!("{}/s {what}", format_bytes(rate.round() as u64)));
        }
    }
    for (rate, what) in [(rates.read_operations, "rd"), (rates.write_operations, "wr")] {
        if rate.round() > 0.0 {
            parts.push(format!("{} op/s {what}", rate.round() as u64));
        }
    }
    parts.join(", ")
}

fn flag_names(pool: &Pool) -> Vec<&'static str> {
    let flags = pool.flags;
    let named = [
        (true, "hashpspool"),
        (flags.nodelete, "nodelete"),
        (flags.nopgchange, "nopgchange"),
        (flags.nosizechange, "nosizechange"),
        (flags.write_fadvise_dontneed, "write_fadvise_dontneed"),
        (flags.noscrub, "noscrub"),
        (flags.nodeep_scrub, "nodeep-scrub"),
    ];
    named.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect()
}

/// A pool in one line, as Ceph words it.
fn line(pool: &Pool) -> String {
    let tier = &pool.tier;
    let mut line = format!(
        "pool {} '{}' replicated size {} min_size {} crush_rule {} object_hash rjenkins pg_num {} pgp_num {} autoscale_mode off last_change {} flags {}",
        pool.id,
        pool.name,
        pool.size,
        pool.min_size,
        pool.crush_rule,
        pool.pg_num,
        pool.pgp_num,
        pool.changed_epoch,
        flag_names(pool).join(",")
    );
    let mut add = |text: String| line.push_str(&text);
    if pool.quota.bytes_max > 0 {
        add(format!(" max_bytes {}", pool.quota.bytes_max));
    }
    if pool.quota.objects_max > 0 {
        add(format!(" max_objects {}", pool.quota.objects_max));
    }
    let Tiering { tier_of, tiers, overlay } = &pool.tiering;
    if !tiers.is_empty() {
        let tiers: Vec<String> = tiers.iter().map(u32::to_string).collect();
        add(format!(" tiers {}", tiers.join(",")));
    }
    if let Some(overlay) = overlay {
        add(format!(" read_tier {overlay} write_tier {overlay}"));
    }
    if let Some(base) = tier_of {
        add(format!(" tier_of {base}"));
    }
    if tier.cache_mode != CacheMode::None {
        add(format!(" cache_mode {}", tier.cache_mode.name()));
        if tier.target_max_bytes > 0 {
            add(format!(" target_bytes {}", tier.target_max_bytes));
        }
        if tier.target_max_objects > 0 {
            add(format!(" target_objects {}", tier.target_max_objects));
        }
        if tier.hit_set_type != HitSetType::None {
            let shape = match tier.hit_set_type {
                HitSetType::Bloom => {
                    format!("bloom{{false_positive_probability: {}, target_size: 0, seed: 0}}", tier.hit_set_fpp)
                }
                other => other.name().into(),
            };
            let period = tier.hit_set_period_ms as f64 / 1000.0;
            add(format!(
                " hit_set {shape} {period}s x{} decay_rate {} search_last_n {}",
                tier.hit_set_count, tier.hit_set_grade_decay_rate, tier.hit_set_search_last_n
            ));
        }
        add(format!(
            " min_read_recency_for_promote {} min_write_recency_for_promote {}",
            tier.min_read_recency_for_promote, tier.min_write_recency_for_promote
        ));
    }
    add(" stripe_width 0".into());
    if !pool.applications.is_empty() {
        add(format!(" application {}", pool.applications.join(",")));
    }
    line
}

/// As Ceph has it: -1 is none.
fn id_or_none(pool: Option<u32>) -> i64 {
    pool.map_or(-1, i64::from)
}

fn document(pool: &Pool, around: &Surroundings) -> Value {
    let tier = &pool.tier;
    let micro = |ratio: f64| (ratio * 1e6).round() as u64;
    let flags = flag_names(pool);
    let applications: Object<String, Value> = pool.applications.iter().map(|name| (name.clone(), json!({}))).collect();
    let mut document = json!({
        "pool": pool.id,
        "pool_id": pool.id,
        "pool_name": pool.name,
        "create_epoch": pool.created_epoch,
        "flags_names": flags.join(","),
        "type": 1,
        "size": pool.size,
        "min_size": pool.min_size,
        "crush_rule": pool.crush_rule,
        "tier_of": id_or_none(pool.tiering.tier_of),
        "tiers": pool.tiering.tiers,
        "read_tier": id_or_none(pool.tiering.overlay),
        "write_tier": id_or_none(pool.tiering.overlay),
        "object_hash": 2,
        "pg_autoscale_mode": "off",
        "pg_num": pool.pg_num,
        "pg_placement_num": pool.pgp_num,
        "last_change": pool.changed_epoch.to_string(),
        "quota_max_bytes": pool.quota.bytes_max,
        "quota_max_objects": pool.quota.objects_max,
        "cache_target_dirty_ratio_micro": micro(tier.cache_target_dirty_ratio),
        "cache_target_dirty_high_ratio_micro": micro(tier.cache_target_dirty_high_ratio),
        "cache_target_full_ratio_micro": micro(tier.cache_target_full_ratio),
        "application_metadata": applications,
    });
    // The tier's variables under their own names too, as `osd pool get` gives them.
    let tiering = [
        "cache_mode",
        "target_max_bytes",
        "target_max_objects",
        "cache_min_flush_age",
        "cache_min_evict_age",
        "cache_max_dirty_age",
        "cache_idle_flush_age",
        "cache_bypass_sequential_bytes",
        "cache_bypass_new_bytes",
        "hit_set_type",
        "hit_set_period",
        "hit_set_count",
        "hit_set_fpp",
        "hit_set_search_last_n",
        "hit_set_grade_decay_rate",
        "min_read_recency_for_promote",
        "min_write_recency_for_promote",
    ];
    if let Some(object) = document.as_object_mut() {
        for variable in tiering {
            if let Ok(value) = pool_settings::get(pool, around, variable) {
                object.insert(variable.into(), value);
            }
        }
    }
    document
}
