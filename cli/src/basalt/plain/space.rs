//! `df`: space in all and by pool.

use super::{list, number, real, text};
use basalt_cli::table::{Align, Table};
use basalt_cluster::quantity::{format_bytes as bytes, format_count as count};
use serde_json::Value;

pub fn render(document: &Value, detail: bool) -> String {
    let mut raw = Table::with_headings_aligned(&[
        ("CLASS", Align::Left),
        ("SIZE", Align::Right),
        ("AVAIL", Align::Right),
        ("USED", Align::Right),
        ("RAW USED", Align::Right),
        ("%RAW USED", Align::Right),
    ]);
    for (class, stats) in document.get("stats_by_class").and_then(Value::as_object).into_iter().flatten() {
        raw.row(raw_cells(class, stats));
    }
    raw.row(raw_cells("TOTAL", document.get("stats").unwrap_or(&Value::Null)));

    let mut columns =
        vec![("POOL", Align::Left), ("ID", Align::Right), ("PGS", Align::Right), ("STORED", Align::Right)];
    let more = |words: &[&'static str]| words.iter().map(|word| (*word, Align::Right)).collect::<Vec<_>>();
    if detail {
        columns.extend(more(&["(DATA)", "(OMAP)"]));
    }
    columns.extend(more(&["OBJECTS", "USED", "%USED", "MAX AVAIL"]));
    if detail {
        columns.extend(more(&["QUOTA OBJECTS", "QUOTA BYTES", "DIRTY"]));
    }
    let mut pools = Table::with_headings_aligned(&columns);
    for pool in list(document, "/pools") {
        pools.row(pool_cells(pool, detail));
    }
    format!("--- RAW STORAGE ---\n{} \n--- POOLS ---\n{}", raw.render(), pools.render())
}

fn raw_cells(class: &str, stats: &Value) -> [String; 6] {
    [
        class.to_owned(),
        bytes(number(stats, "/total_bytes")),
        bytes(number(stats, "/total_avail_bytes")),
        bytes(number(stats, "/total_used_bytes")),
        bytes(number(stats, "/total_used_raw_bytes")),
        percent(real(stats, "/total_used_raw_ratio")),
    ]
}

fn pool_cells(pool: &Value, detail: bool) -> Vec<String> {
    let stats = pool.get("stats").unwrap_or(&Value::Null);
    let mut cells = vec![
        text(pool, "/name").to_owned(),
        number(pool, "/id").to_string(),
        number(pool, if pool.get("pg_num").is_some() { "/pg_num" } else { "/stats/pg_num" }).to_string(),
        bytes(number(stats, "/stored")),
    ];
    if detail {
        cells.extend([bytes(number(stats, "/stored_data")), bytes(number(stats, "/stored_omap"))]);
    }
    cells.extend([
        count(number(stats, "/objects")),
        bytes(number(stats, "/bytes_used")),
        percent(real(stats, "/percent_used")),
        bytes(number(stats, "/max_avail")),
    ]);
    if detail {
        let quota = |path: &str, show: fn(u64) -> String| match number(stats, path) {
            0 => "N/A".to_owned(),
            quota => show(quota),
        };
        cells.extend([quota("/quota_objects", count), quota("/quota_bytes", bytes), count(number(stats, "/dirty"))]);
    }
    cells
}

/// A ratio of 0..1 in per cent; 0 without decimals.
fn percent(ratio: f64) -> String {
    if ratio == 0.0 { "0".to_owned() } else { format!("{:.2}", ratio * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn raw_storage_has_the_columns_of_ceph() {
        let document = json!({
            "stats": { "total_bytes": 12884901888u64, "total_avail_bytes": 12580134912u64, "total_used_bytes": 304766976,
                "total_used_raw_bytes": 304766976, "total_used_raw_ratio": 0.0237 },
            "pools": [{ "name": "data", "id": 1, "stats": { "pg_num": 8, "stored": 1331, "objects": 4, "bytes_used": 16384,
                "percent_used": 0.0, "max_avail": 11811160064u64 } }],
        });
        let expected = "--- RAW STORAGE ---
CLASS    SIZE   AVAIL     USED  RAW USED  %RAW USED
TOTAL  12 GiB  12 GiB  291 MiB   291 MiB       2.37
 
--- POOLS ---
POOL  ID  PGS   STORED  OBJECTS    USED  %USED  MAX AVAIL
data   1    8  1.3 KiB        4  16 KiB      0     11 GiB
";
        assert_eq!(render(&document, false), expected);
        assert!(render(&document, true).contains("QUOTA BYTES  DIRTY"));
    }
}
