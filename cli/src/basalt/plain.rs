//! Answers as people read them, where the monitor does not word them itself: made from the same JSON documents that scripts get, in
//! Ceph's shapes.

pub mod config;
pub mod osd;
pub mod pg;
pub mod space;
pub mod status;
pub mod tier;

use serde_json::Value;

/// The number at a path such as `/pgmap/num_pgs`; 0 where there is none.
fn number(document: &Value, path: &str) -> u64 {
    let value = document.pointer(path);
    value.and_then(|value| value.as_u64().or_else(|| value.as_f64().map(|real| real as u64))).unwrap_or(0)
}

/// Ids may be negative.
fn signed(document: &Value, path: &str) -> i64 {
    document.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

fn real(document: &Value, path: &str) -> f64 {
    document.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

fn text<'a>(document: &'a Value, path: &str) -> &'a str {
    document.pointer(path).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(document: &'a Value, path: &str) -> &'a [Value] {
    document.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A value without the quotes that JSON gives to strings.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// For answers that Ceph prints as JSON to people too.
pub fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default() + "\n"
}

/// `303 KiB/s rd, 16 KiB/s wr, 309 op/s rd, 126 op/s wr`, without what is 0; `None` if all is.
fn client_io(rates: &Value) -> Option<String> {
    use basalt_cluster::quantity::{format_bytes, format_count};
    let mut parts = Vec::new();
    for (key, word) in [("/read_bytes_sec", "rd"), ("/write_bytes_sec", "wr")] {
        let rate = number(rates, key);
        if rate > 0 {
            parts.push(format!("{}/s {word}", format_bytes(rate)));
        }
    }
    for (key, word) in [("/read_op_per_sec", "rd"), ("/write_op_per_sec", "wr")] {
        let rate = number(rates, key);
        if rate > 0 {
            parts.push(format!("{} op/s {word}", format_count(rate)));
        }
    }
    if parts.is_empty() { None } else { Some(parts.join(", ")) }
}
