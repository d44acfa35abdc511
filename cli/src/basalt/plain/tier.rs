//! `osd tier status`.

use super::{list, number, real, text};
use basalt_cli::table::{Align, Table};
use basalt_cluster::quantity::{format_age, format_bytes as bytes, format_count as count};
use serde_json::Value;
use std::time::Duration;

pub fn status(document: &Value) -> String {
    let right = |heading| (heading, Align::Right);
    let pools = match document {
        Value::Array(pools) => pools.as_slice(),
        _ => list(document, "/pools"),
    };
    // Most pools stay where they are, and have nothing to say here.
    let leave = pools.iter().any(|pool| !drain(pool).is_empty());
    let mut headings = vec![
        ("POOL", Align::Left),
        ("MODE", Align::Left),
        right("TARGET"),
        right("HOT"),
        right("DIRTY"),
        right("CLEAN"),
        right("DIRTY OBJECTS"),
        right("FLUSH"),
        right("EVICT"),
        right("PROMOTE"),
        right("HIT RATIO"),
    ];
    headings.extend(leave.then(|| right("DRAINED")));
    let mut table = Table::with_headings_aligned(&headings);
    for pool in pools {
        let rate = |path: &str| bytes(number(pool, path)) + "/s";
        let name = if pool.get("pool_name").is_some() { "/pool_name" } else { "/pool" };
        let mut cells = vec![
            text(pool, name).to_owned(),
            text(pool, "/mode").to_owned(),
            bytes(number(pool, "/target_bytes")),
            bytes(number(pool, "/hot_bytes")),
            bytes(number(pool, "/dirty_bytes")),
            bytes(number(pool, "/clean_bytes")),
            count(number(pool, "/dirty_objects")),
            rate("/flush_rate"),
            rate("/evict_rate"),
            rate("/promote_rate"),
            format!("{:.2}", real(pool, "/hit_ratio")),
        ];
        cells.extend(leave.then(|| drain(pool)));
        table.row(cells);
    }
    let mut shown = table.render();
    // Of pools without a tier there is nothing to say.
    for pool in pools.iter().filter(|pool| text(pool, "/mode") != "none" || number(pool, "/hot_bytes") > 0) {
        let name = if pool.get("pool_name").is_some() { "/pool_name" } else { "/pool" };
        if !text(pool, "/doing").is_empty() {
            shown.push_str(&format!("{}: {}\n", text(pool, name), text(pool, "/doing")));
        }
        shown.push_str(&dirty_by_age(pool));
    }
    shown
}

/// `  dirty: 10 MiB for less than 1m, 3 MiB for less than 10m, the oldest for 4m`
fn dirty_by_age(pool: &Value) -> String {
    let ages = pool.get("dirty_by_age").and_then(Value::as_object);
    let parts: Vec<String> = ages
        .into_iter()
        .flatten()
        .filter_map(|(age, dirty)| Some((age, dirty.as_u64().filter(|dirty| *dirty > 0)?)))
        .map(|(age, dirty)| match age.as_str() {
            "older" => format!("{} for longer", bytes(dirty)),
            age => format!("{} for less than {age}", bytes(dirty)),
        })
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    let oldest = format_age(Duration::from_secs(number(pool, "/oldest_dirty_s")));
    format!("  dirty: {}; the oldest for {oldest}\n", parts.join(", "))
}

/// How far a pool is that leaves its tier: `done`, or `25.9%, 5m left`.
fn drain(pool: &Value) -> String {
    let is = |key: &str| pool.get(key).and_then(Value::as_bool).unwrap_or(false);
    if is("drained") && text(pool, "/mode") != "none" {
        return "done".into();
    }
    if !is("draining") {
        return String::new();
    }
    let remaining = pool.pointer("/drain/remaining_s").and_then(Value::as_u64).map(Duration::from_secs);
    let remaining = remaining.map_or_else(String::new, |left| format!(", {} left", format_age(left)));
    format!("{:.1}%{remaining}", real(pool, "/drain/percent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_tier_does_is_told_with_the_reason_and_the_ages() {
        let pools = json!([
            { "pool_name": "plain", "mode": "none", "doing": "the pool is not cached" },
            {
                "pool_name": "data", "mode": "writeback", "doing": "flushes: 0.45 of the target is dirty",
                "dirty_by_age": { "1m": 10 << 20, "10m": 0, "1h": 3 << 20, "older": 4096 }, "oldest_dirty_s": 7200,
            },
        ]);
        let expected = "data: flushes: 0.45 of the target is dirty
  dirty: 10 MiB for less than 1m, 3 MiB for less than 1h, 4 KiB for longer; the oldest for 2h
";
        assert!(status(&pools).ends_with(expected), "{}", status(&pools));
        assert!(!status(&pools).contains("not cached"));
    }

    #[test]
    fn a_pool_that_leaves_its_tier_shows_how_far_it_is() {
        let mut pools = json!([{ "pool_name": "data", "mode": "writeback", "draining": false, "drained": false }]);
        assert!(!status(&pools).contains("DRAINED"));
        pools[0]["mode"] = "proxy".into();
        pools[0]["draining"] = true.into();
        pools[0]["drain"] = json!({ "percent": 25.9, "remaining_s": 300 });
        assert!(status(&pools).contains("25.9%, 5m left"), "{}", status(&pools));
        pools[0]["draining"] = false.into();
        pools[0]["drained"] = true.into();
        assert!(status(&pools).trim_end().ends_with("done"), "{}", status(&pools));
    }
}
