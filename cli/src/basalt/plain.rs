//! Answers as people read them, where the monitor does not word them itself: made from the same JSON documents that scripts get, in
//! Ceph's shapes.

pub mod config;
pub mod osd;
pub mod pg;
pub mod space;
pub mod status;
pub mod tier;

use crate::document::{list, number, real, signed, text};
use serde_json::Value;

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
