//! `pg stat` and `pg dump`.

use super::{bare, client_io, list, number, signed, text};
use basalt_cli::byte_count::bytes;
use basalt_cli::table::{Align, Table};
use serde_json::Value;

/// `49 pgs: 49 active+clean; 12 KiB data, 291 MiB used, 12 GiB / 12 GiB avail; 506 KiB/s rd`
pub fn stat(document: &Value) -> String {
    let summary = document.get("pg_summary").unwrap_or(document);
    let states: Vec<String> = list(summary, "/num_pg_by_state")
        .iter()
        .map(|state| format!("{} {}", number(state, "/num"), text(state, "/name")))
        .collect();
    let [data, used, available, total] =
        ["/num_bytes", "/total_used_raw_bytes", "/total_avail_bytes", "/total_bytes"].map(|path| bytes(number(summary, path)));
    let io = client_io(summary).map_or_else(String::new, |io| format!("; {io}"));
    format!(
        "{} pgs: {}; {data} data, {used} used, {available} / {total} avail{io}\n",
        number(summary, "/num_pgs"),
        states.join(", ")
    )
}

pub fn dump(document: &Value) -> String {
    let right = |heading| (heading, Align::Right);
    let left = |heading| (heading, Align::Left);
    let mut table = Table::new(&[
        left("PG_STAT"),
        right("OBJECTS"),
        right("BYTES"),
        left("STATE"),
        left("UP"),
        right("UP_PRIMARY"),
        left("ACTING"),
        right("ACTING_PRIMARY"),
    ]);
    let groups = match document.pointer("/pg_map/pg_stats") {
        Some(_) => list(document, "/pg_map/pg_stats"),
        None => list(document, "/pg_stats"),
    };
    for group in groups {
        let set = |key: &str| {
            let members: Vec<String> = list(group, &format!("/{key}")).iter().map(bare).collect();
            format!("[{}]", members.join(","))
        };
        table.row([
            text(group, "/pgid").to_owned(),
            number(group, "/stat_sum/num_objects").to_string(),
            number(group, "/stat_sum/num_bytes").to_string(),
            text(group, "/state").to_owned(),
            set("up"),
            signed(group, "/up_primary").to_string(),
            set("acting"),
            signed(group, "/acting_primary").to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pg_stat_has_the_words_of_ceph() {
        let document = json!({ "pg_ready": true, "pg_summary": { "num_pgs": 49, "num_bytes": 11880,
            "num_pg_by_state": [{ "name": "active+clean", "num": 49 }], "total_bytes": 12884901888u64,
            "total_avail_bytes": 12580134912u64, "total_used_raw_bytes": 304766976 } });
        assert_eq!(stat(&document), "49 pgs: 49 active+clean; 12 KiB data, 291 MiB used, 12 GiB / 12 GiB avail\n");
    }
}
