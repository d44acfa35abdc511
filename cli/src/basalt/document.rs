//! Reading the JSON documents that the cluster answers with, whose keys may be missing in those of another version.

use serde_json::Value;

/// The number at a path such as `/pgmap/num_pgs`; 0 where there is none.
pub fn number(document: &Value, path: &str) -> u64 {
    let value = document.pointer(path);
    value.and_then(|value| value.as_u64().or_else(|| value.as_f64().map(|real| real as u64))).unwrap_or(0)
}

/// Ids may be negative.
pub fn signed(document: &Value, path: &str) -> i64 {
    document.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

pub fn real(document: &Value, path: &str) -> f64 {
    document.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

pub fn text<'a>(document: &'a Value, path: &str) -> &'a str {
    document.pointer(path).and_then(Value::as_str).unwrap_or("")
}

pub fn list<'a>(document: &'a Value, path: &str) -> &'a [Value] {
    document.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
