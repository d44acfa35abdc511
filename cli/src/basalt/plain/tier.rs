//! `osd tier status`.

use super::{list, number, real, text};
use basalt_cli::table::{Align, Table};
use basalt_cluster::quantity::{format_bytes as bytes, format_count as count};
use serde_json::Value;

pub fn status(document: &Value) -> String {
    let right = |heading| (heading, Align::Right);
    let mut table = Table::with_headings_aligned(&[
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
    ]);
    let pools = match document {
        Value::Array(pools) => pools.as_slice(),
        _ => list(document, "/pools"),
    };
    for pool in pools {
        let rate = |path: &str| bytes(number(pool, path)) + "/s";
        let name = if pool.get("pool_name").is_some() { "/pool_name" } else { "/pool" };
        table.row([
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
        ]);
    }
    table.render()
}
