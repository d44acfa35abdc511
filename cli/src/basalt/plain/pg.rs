//! `pg dump` and `pg ls`.

use super::{bare, list, signed, text};
use basalt_cli::table::{Align, Table};
use serde_json::Value;

pub fn dump(document: &Value) -> String {
    groups(list(document, "/pg_map/pg_stats"))
}

pub fn list_of_groups(document: &Value) -> String {
    groups(list(document, "/pg_stats"))
}

fn groups(groups: &[Value]) -> String {
    let right = |heading| (heading, Align::Right);
    let left = |heading| (heading, Align::Left);
    let mut table = Table::new(&[
        left("PG_STAT"),
        left("STATE"),
        left("UP"),
        right("UP_PRIMARY"),
        left("ACTING"),
        right("ACTING_PRIMARY"),
        left("DEEP_SCRUB_STAMP"),
    ]);
    for group in groups {
        let set = |key: &str| {
            let members: Vec<String> = list(group, &format!("/{key}")).iter().map(bare).collect();
            format!("[{}]", members.join(","))
        };
        table.row([
            text(group, "/pgid").to_owned(),
            text(group, "/state").to_owned(),
            set("up"),
            signed(group, "/up_primary").to_string(),
            set("acting"),
            signed(group, "/acting_primary").to_string(),
            text(group, "/last_deep_scrub_stamp").to_owned(),
        ]);
    }
    table.render()
}
