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
