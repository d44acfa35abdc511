//! `basaltd fsck`: a store at rest, checked without changing it.

use crate::devices;
use basalt_blockstore::fsck::{self, FsckOptions, Report};
use basalt_cli::Result;
use basalt_cli::output::{Format, Output};
use basalt_cluster::quantity::{format_bytes, format_count};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

pub fn run(base: &Path, hot: Option<&Path>, deep: bool, format: Format) -> Result<ExitCode> {
    let report = devices::on_ring(async |ring| {
        let devices = devices::open(&ring, base, hot, false).await?;
        Ok(fsck::check(&ring, &devices, FsckOptions { deep, repair: false }).await?)
    })?;
    let mut output = Output::new(format);
    if format.is_json() {
        output.json(&document(&report))?;
    } else {
        for fault in &report.faults {
            output.line(&fault.to_string())?;
        }
        output.line(&summary(&report))?;
    }
    output.finish()?;
    Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document(report: &Report) -> Value {
    let faults: Vec<Value> =
        report.faults.iter().map(|fault| json!({ "kind": fault.kind.name(), "message": fault.message })).collect();
    json!({
        "osd": report.osd,
        "faults": faults,
        "objects": report.objects,
        "data_bytes": report.data_bytes,
        "index_nodes": report.index_nodes,
        "index_entries": report.index_entries,
        "replayed_transactions": report.replayed_transactions,
        "data_blocks_verified": report.data_blocks_verified,
        "base_used_bytes": report.base_used_bytes,
        "hot_used_bytes": report.hot_used_bytes,
    })
}

fn summary(report: &Report) -> String {
    let store = report.osd.map_or_else(|| "no store".to_owned(), |osd| format!("osd.{osd}"));
    let faults = match report.faults.len() {
        0 => "no faults".to_owned(),
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    format!(
        "{store}: {faults}; {} objects, {}, {} index nodes, {} log transactions, {} data blocks compared",
        format_count(report.objects),
        format_bytes(report.data_bytes),
        report.index_nodes,
        report.replayed_transactions,
        report.data_blocks_verified,
    )
}
