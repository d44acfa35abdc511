//! `pg stat|dump`: the placement groups.

use super::{Answer, Outcome, View};
use crate::monitor::pg_state;
use crate::quantity::{format_bytes, format_count, format_utc};
use serde_json::{Value, json};

impl View<'_> {
    pub(super) fn pg_stat(&self) -> Outcome {
        let map = self.pg_map();
        let number = |key: &str| map[key].as_u64().unwrap_or(0);
        let counts = pg_state::counts(self.map);
        let states: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let mut message = format!("{} pgs: {}; ", number("num_pgs"), states.join(", "));
        message += &format!(
            "{} data, {} used, {} / {} avail",
            format_bytes(number("data_bytes")),
            format_bytes(number("bytes_used")),
            format_bytes(number("bytes_avail")),
            format_bytes(number("bytes_total"))
        );
        let (read, write) = (number("read_bytes_sec"), number("write_bytes_sec"));
        let operations = number("read_op_per_sec").saturating_add(number("write_op_per_sec"));
        let mut rates = Vec::new();
        if read > 0 {
            rates.push(format!("{}/s rd", format_bytes(read)));
        }
        if write > 0 {
            rates.push(format!("{}/s wr", format_bytes(write)));
        }
        if operations > 0 {
            rates.push(format!("{} op/s", format_count(operations)));
        }
        if !rates.is_empty() {
            message += &format!("; {}", rates.join(", "));
        }
        if number("degraded_objects") > 0 {
            let share = 100.0 * number("degraded_objects") as f64 / number("degraded_total").max(1) as f64;
            message += &format!(
                "; {}/{} objects degraded ({share:.3}%)",
                number("degraded_objects"),
                number("degraded_total")
            );
        }
        let by_state: Vec<Value> = counts.iter().map(|(state, count)| json!({ "name": state, "num": count })).collect();
        let summary = json!({
            "num_pg_by_state": by_state,
            "num_pgs": map["num_pgs"],
            "num_bytes": map["data_bytes"],
            "raw_bytes_used": map["bytes_used"],
            "raw_bytes_avail": map["bytes_avail"],
            "raw_bytes": map["bytes_total"],
            "read_bytes_sec": read,
            "write_bytes_sec": write,
            "io_sec": operations,
        });
        Answer::shown(message, json!({ "pg_ready": true, "pg_summary": summary }))
    }

    pub(super) fn pg_dump(&self) -> Outcome {
        let primary = |acting: &[u32]| acting.first().map_or(-1, |id| i64::from(*id));
        let groups: Vec<Value> = pg_state::all(self.map)
            .map(|view| {
                json!({
                    "pgid": view.id.to_string(),
                    "state": view.state,
                    "up": view.acting,
                    "acting": view.acting,
                    "up_primary": primary(&view.acting),
                    "acting_primary": primary(&view.acting),
                    "in_sync": view.in_sync,
                })
            })
            .collect();
        let osds: Vec<Value> = self
            .map
            .osds
            .iter()
            .filter(|osd| osd.exists)
            .map(|osd| {
                let usage = self.core.reports.usage_of_osd(osd.id);
                json!({
                    "osd": osd.id,
                    "kb": usage.base_total / 1024,
                    "kb_used": usage.base_used.div_ceil(1024),
                    "kb_avail": usage.base_available() / 1024,
                })
            })
            .collect();
        let document = json!({
            "pg_ready": true,
            "pg_map": {
                "version": self.map.epoch,
                "stamp": format_utc(self.now.unix.as_secs()),
                "pg_stats": groups,
                "osd_stats": osds,
            },
        });
        Answer::shown("", document)
    }
}
