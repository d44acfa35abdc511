//! `osd pool ls detail|get|get-quota|stats`.

use super::{bare, client_io, list, number, real, signed, text};
use basalt_cli::byte_count::{bytes, count};
use serde_json::Value;
use std::fmt::Write;

/// One line a pool, as long as there are settings that differ from nothing.
pub fn list_detail(document: &Value) -> String {
    let mut shown = String::new();
    for pool in document.as_array().into_iter().flatten() {
        let number = |key: &str| number(pool, &format!("/{key}"));
        let _ = write!(
            shown,
            "pool {} '{}' replicated size {} min_size {} crush_rule {} object_hash rjenkins pg_num {} pgp_num {} autoscale_mode off \
             last_change {}",
            number(if pool.get("pool").is_some() { "pool" } else { "pool_id" }),
            text(pool, "/pool_name"),
            number("size"),
            number("min_size"),
            number("crush_rule"),
            number("pg_num"),
            number(if pool.get("pg_placement_num").is_some() { "pg_placement_num" } else { "pg_num" }),
            text_or_number(pool, "last_change"),
        );
        let flags = text(pool, "/flags_names");
        if !flags.is_empty() {
            let _ = write!(shown, " flags {flags}");
        }
        for (key, word) in [("quota_max_bytes", "max_bytes"), ("quota_max_objects", "max_objects")] {
            if number(key) > 0 {
                let _ = write!(shown, " {word} {}", number(key));
            }
        }
        shown.push_str(&tiering(pool));
        shown.push_str(" stripe_width 0");
        let applications: Vec<&str> =
            pool.get("application_metadata").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if !applications.is_empty() {
            let _ = write!(shown, " application {}", applications.join(","));
        }
        shown.push('\n');
    }
    shown
}

fn tiering(pool: &Value) -> String {
    let number = |key: &str| number(pool, &format!("/{key}"));
    let mut shown = String::new();
    let mode = text(pool, "/cache_mode");
    if mode.is_empty() || mode == "none" {
        return shown;
    }
    let _ = write!(shown, " cache_mode {mode}");
    for (key, word) in [("target_max_bytes", "target_bytes"), ("target_max_objects", "target_objects")] {
        if number(key) > 0 {
            let _ = write!(shown, " {word} {}", number(key));
        }
    }
    let kind = match pool.get("hit_set_type").or_else(|| pool.pointer("/hit_set_params/type")) {
        Some(kind) => bare(kind),
        None => "none".to_owned(),
    };
    if kind != "none" {
        let _ = write!(shown, " hit_set {kind}");
        if kind == "bloom" {
            let chance = if pool.get("hit_set_fpp").is_some() { "/hit_set_fpp" } else { "/hit_set_params/false_positive_probability" };
            let _ = write!(shown, "{{false_positive_probability: {}}}", real(pool, chance));
        }
        let _ = write!(
            shown,
            " {}s x{} decay_rate {} search_last_n {}",
            number("hit_set_period"),
            number("hit_set_count"),
            number("hit_set_grade_decay_rate"),
            number("hit_set_search_last_n"),
        );
    }
    for key in ["min_read_recency_for_promote", "min_write_recency_for_promote"] {
        if number(key) > 0 {
            let _ = write!(shown, " {key} {}", number(key));
        }
    }
    shown
}

fn text_or_number(pool: &Value, key: &str) -> String {
    pool.get(key).map_or_else(|| "0".to_owned(), bare)
}

/// `size: 2`, a line a variable.
pub fn variables(document: &Value) -> String {
    let variables = document.as_object().into_iter().flatten().filter(|(key, _)| *key != "pool" && *key != "pool_id");
    variables.map(|(key, value)| format!("{key}: {}\n", bare(value))).collect()
}

pub fn quota(document: &Value) -> String {
    let objects = match number(document, "/quota_max_objects") {
        0 => "N/A".to_owned(),
        most => format!("{} objects  (current num objects: {} objects)", count(most), number(document, "/current_num_objects")),
    };
    let size = match number(document, "/quota_max_bytes") {
        0 => "N/A".to_owned(),
        most => format!("{}  (current num bytes: {} bytes)", bytes(most), number(document, "/current_num_bytes")),
    };
    format!("quotas for pool '{}':\n  max objects: {objects}\n  max bytes  : {size}\n", text(document, "/pool_name"))
}

pub fn stats(document: &Value) -> String {
    let mut shown = String::new();
    let pools = match document {
        Value::Array(_) => list(document, ""),
        _ => list(document, "/pools"),
    };
    for pool in pools {
        let io = pool.get("client_io_rate").and_then(client_io);
        let io = io.map_or_else(|| "nothing is going on".to_owned(), |io| format!("client io {io}"));
        let _ = write!(shown, "pool {} id {}\n  {io}\n\n", text(pool, "/pool_name"), signed(pool, "/pool_id"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quota_has_the_words_of_ceph() {
        let document = json!({ "pool_name": "oracle-low", "pool_id": 8, "quota_max_objects": 0, "current_num_objects": 0,
            "quota_max_bytes": 10737418240u64, "current_num_bytes": 0 });
        assert_eq!(
            quota(&document),
            "quotas for pool 'oracle-low':\n  max objects: N/A\n  max bytes  : 10 GiB  (current num bytes: 0 bytes)\n"
        );
    }

    #[test]
    fn variables_are_a_line_each() {
        let document = json!({ "pool": "data", "pool_id": 1, "size": 1, "hit_set_type": "bloom", "hashpspool": true, "hit_set_fpp": 0.05 });
        assert_eq!(variables(&document), "size: 1\nhit_set_type: bloom\nhashpspool: true\nhit_set_fpp: 0.05\n");
    }

    #[test]
    fn a_pool_without_tier_shows_none() {
        let document = json!([{ "pool": 3, "pool_name": "p", "size": 1, "min_size": 1, "crush_rule": 0, "pg_num": 8,
            "pg_placement_num": 8, "last_change": "13", "flags_names": "hashpspool", "application_metadata": { "rgw": {} } }]);
        assert_eq!(
            list_detail(&document),
            "pool 3 'p' replicated size 1 min_size 1 crush_rule 0 object_hash rjenkins pg_num 8 pgp_num 8 autoscale_mode off \
             last_change 13 flags hashpspool stripe_width 0 application rgw\n"
        );
    }
}
