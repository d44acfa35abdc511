//! `iostat`: what clients read and write, a line a period.

use crate::administration::ask;
use crate::arguments::Iostat;
use basalt_cli::Result;
use basalt_cli::output::Output;
use basalt_client::Client;
use basalt_cluster::quantity::format_bytes;
use basalt_net::message::monitor::AdminCommand;
use serde_json::{Value, json};
use std::time::Duration;

/// The headings come again after so many lines.
const LINES_PER_HEADING: u64 = 20;
/// As Ceph's, and those that `--tier` adds.
const HEADINGS: [&str; 6] = ["Read", "Write", "Total", "Read IOPS", "Write IOPS", "Total IOPS"];
const TIER_HEADINGS: [&str; 4] = ["Flush", "Evict", "Promote", "Hit ratio"];

pub async fn run(client: &Client, output: &mut Output, arguments: &Iostat) -> Result<()> {
    let json = output.format().is_json();
    let period = arguments.period.unwrap_or(Duration::from_secs(1)).max(Duration::from_millis(100));
    // A document is one sample; without a period, one line is what was asked for.
    let count = match (json, arguments.count, arguments.period) {
        (true, ..) | (false, None, None) => 1,
        (false, Some(count), _) => count,
        (false, None, Some(_)) => u64::MAX,
    };
    for line in 0..count {
        client.ring().sleep(period).await;
        let answer = ask(client, AdminCommand::Status).await?;
        let rate = |key: &str| answer.document.pointer(&format!("/pgmap/{key}")).and_then(Value::as_u64).unwrap_or(0);
        let (read, write) = (rate("read_bytes_sec"), rate("write_bytes_sec"));
        let (reads, writes) = (rate("read_op_per_sec"), rate("write_op_per_sec"));
        let hit_ratio = answer.document.pointer("/pgmap/cache_hit_ratio").and_then(Value::as_f64).unwrap_or(0.0);
        if json {
            return output.json(&json!({
                "read_bytes_sec": read,
                "write_bytes_sec": write,
                "read_op_per_sec": reads,
                "write_op_per_sec": writes,
                "flush_bytes_sec": rate("flush_bytes_sec"),
                "evict_bytes_sec": rate("evict_bytes_sec"),
                "promote_bytes_sec": rate("promote_bytes_sec"),
                "cache_hit_ratio": hit_ratio,
            }));
        }
        if line % LINES_PER_HEADING == 0 {
            output.text(&headings(arguments.tier))?;
        }
        let mut cells = vec![
            format_bytes(read) + "/s",
            format_bytes(write) + "/s",
            format_bytes(read.saturating_add(write)) + "/s",
            reads.to_string(),
            writes.to_string(),
            reads.saturating_add(writes).to_string(),
        ];
        if arguments.tier {
            let moved = ["flush_bytes_sec", "evict_bytes_sec", "promote_bytes_sec"];
            cells.extend(moved.map(|key| format_bytes(rate(key)) + "/s"));
            cells.push(format!("{hit_ratio:.3}"));
        }
        output.text(&row(&cells))?;
        output.flush()?;
    }
    Ok(())
}

fn headings(tier: bool) -> String {
    let of_tier = if tier { TIER_HEADINGS.as_slice() } else { &[] };
    let headings: Vec<String> = HEADINGS.iter().chain(of_tier).map(|heading| (*heading).to_owned()).collect();
    let border = format!("+{}\n", "------------+".repeat(headings.len()));
    format!("{border}{}{border}", row(&headings))
}

fn row(cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {cell:>10} |")).collect();
    format!("|{cells}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_those_of_ceph() {
        let expected = "\
+------------+------------+------------+------------+------------+------------+
|       Read |      Write |      Total |  Read IOPS | Write IOPS | Total IOPS |
+------------+------------+------------+------------+------------+------------+
";
        assert_eq!(headings(false), expected);
        assert!(headings(true).contains("| Total IOPS |      Flush |      Evict |    Promote |  Hit ratio |\n"));
    }
}
