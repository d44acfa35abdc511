//! `basaltd fsck`: a store at rest, checked without changing it, or with its allocation maps repaired.

use crate::devices;
use basalt_blockstore::fsck::{self, Fault, FsckOptions, Report};
use basalt_cli::Result;
use basalt_cli::output::{Format, Output};
use basalt_cluster::quantity::{format_bytes, format_count};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

pub fn run(base: &Path, hot: Option<&Path>, options: FsckOptions, format: Format) -> Result<ExitCode> {
    let mut output = Output::new(format);
    let bar = if format.shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_message(if options.deep { "reading the index and all data" } else { "reading the index" });
    bar.enable_steady_tick(Duration::from_millis(200));
    let checked = devices::on_ring(async |ring| {
        let devices = devices::open(&ring, base, hot, options.repair).await?;
        Ok(fsck::check(&ring, &devices, options).await?)
    });
    bar.finish_and_clear();
    let report = checked?;
    if format.is_json() {
        output.json(&document(&report))?;
    } else {
        for fault in &report.repaired {
            output.line(&format!("repaired: {fault}"))?;
        }
        for fault in &report.faults {
            output.line(&fault.to_string())?;
        }
        if report.unlisted > 0 {
            output.line(&format!("and {} more", format_count(report.unlisted)))?;
        }
        if let Some(why) = &report.not_repaired {
            output.line(why)?;
        }
        output.line(&summary(&report))?;
    }
    output.finish()?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn listed(faults: &[Fault]) -> Vec<Value> {
    faults.iter().map(|fault| json!({ "kind": fault.kind.name(), "message": fault.message })).collect()
}

fn document(report: &Report) -> Value {
    json!({
        "osd": report.osd,
        "clean": report.is_clean(),
        "faults": listed(&report.faults),
        "faults_unlisted": report.unlisted,
        "repaired": listed(&report.repaired),
        "not_repaired": report.not_repaired,
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
    let faults = match report.faults.len() as u64 + report.unlisted {
        0 => "no faults".to_owned(),
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    let faults = match report.repaired.len() {
        0 => faults,
        count => format!("{count} repaired, {faults} left"),
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
