//! `config dump`.

use super::text;
use basalt_cli::table::{Align, Table};
use serde_json::Value;

pub fn dump(document: &Value) -> String {
    let left = |heading| (heading, Align::Left);
    let mut table = Table::new(&[left("WHO"), left("LEVEL"), left("OPTION"), left("VALUE"), left("DEFAULT")]);
    for option in document.as_array().into_iter().flatten() {
        table.row(["/section", "/level", "/name", "/value", "/default"].map(|path| text(option, path)));
    }
    table.render()
}

/// `config get WHO`.
pub fn options(document: &Value) -> String {
    let left = |heading| (heading, Align::Left);
    let mut table = Table::new(&[left("OPTION"), left("VALUE"), left("SOURCE")]);
    for option in document.as_array().into_iter().flatten() {
        let value = option.get("value").map_or_else(String::new, Value::to_string);
        let is_pending = option.get("pending_restart").and_then(Value::as_bool).unwrap_or(false);
        let source = text(option, "/source");
        let source = if is_pending { format!("{source}, after a restart") } else { source.to_string() };
        table.row([text(option, "/name").to_string(), value, source]);
    }
    table.render()
}
