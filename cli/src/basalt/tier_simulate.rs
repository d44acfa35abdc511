//! `basalt tier simulate`: what hot slices of several sizes would have made of a trace of block accesses, with no cluster: so that an operator
//! can size the SSD before buying it.

use crate::arguments::{Global, TierSimulate};
use basalt_cli::output::Output;
use basalt_cli::table::{Align, Table};
use basalt_cli::{Failure, Result};
use basalt_cluster::quantity::{format_bytes, format_count};
use basalt_tier::PoolSettings;
use basalt_tier::block_trace::{BlockAccess, BlockTraceReader};
use basalt_tier::simulation::{Outcome, Simulation, SimulationOptions};
use serde_json::json;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

/// 40 bytes each in memory.
const ACCESSES_MAX: usize = 50_000_000;
const LINE_BYTES_MAX: u64 = 4096;
/// Sizes that are tried unless some are given, as parts of all that the trace touches.
const PARTS: [u64; 6] = [64, 32, 16, 8, 4, 2];
const SLICE_BYTES_MIN: u64 = 16 << 20;
const BLOCK: u64 = 4096;

pub fn run(global: &Global, arguments: &TierSimulate) -> Result<ExitCode> {
    let mut output = Output::new(global.format);
    let settings = settings(&arguments.set)?;
    if !(BLOCK..=1 << 30).contains(&arguments.object_size) || !arguments.object_size.is_multiple_of(BLOCK) {
        return Err(Failure::invalid("--object-size is a multiple of 4k, at most 1G"));
    }
    let (trace, reordered) = read(&arguments.trace, arguments.iops)?;
    let footprint = footprint(&trace);
    let sizes = if arguments.sizes.is_empty() {
        let mut sizes: Vec<u64> =
            PARTS.iter().map(|part| (footprint / part).next_multiple_of(1 << 20).max(SLICE_BYTES_MIN)).collect();
        sizes.dedup();
        sizes
    } else {
        arguments.sizes.clone()
    };
    let mut outcomes = Vec::new();
    for hot_bytes in sizes {
        let options = SimulationOptions {
            hot_bytes,
            object_bytes: arguments.object_size,
            settings: settings.clone(),
            base_bytes_per_second: arguments.base_rate.max(1),
            base_seek: arguments.base_seek,
        };
        let mut simulation = Simulation::new(options).map_err(|error| Failure::invalid(error.to_string()))?;
        trace.iter().for_each(|access| simulation.play(access));
        outcomes.push(simulation.outcome().clone());
    }
    let document = json!({
        "accesses": trace.len(),
        "seconds": trace.last().map_or(0.0, |access| access.now as f64 / 1e9),
        "footprint_bytes": footprint,
        "accesses_out_of_order": reordered,
        "sizes": outcomes.iter().map(document).collect::<Vec<_>>(),
    });
    output.show(&document, |_| plain(&trace, footprint, &outcomes))?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn settings(words: &[String]) -> Result<PoolSettings> {
    let mut settings = PoolSettings::writeback();
    for word in words {
        let (variable, value) = word.split_once('=').ok_or_else(|| {
            Failure::invalid(format!(
                "--set {} is not VARIABLE=VALUE, such as cache_min_flush_age=60",
                word.escape_debug()
            ))
        })?;
        settings.set_unchecked(variable, value).map_err(|error| Failure::invalid(error.to_string()))?;
    }
    settings.validated().map_err(|error| Failure::invalid(error.to_string()))
}

/// The trace by time, and how many of its accesses were not.
fn read(file: &Path, iops: u64) -> Result<(Vec<BlockAccess>, usize)> {
    let mut lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(1 << 20, File::open(file).map_err(|error| Failure::file(file, &error))?))
    };
    let mut reader = BlockTraceReader::new(iops);
    let mut trace: Vec<BlockAccess> = Vec::new();
    let (mut line, mut reordered) = (Vec::new(), 0);
    loop {
        line.clear();
        let length = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if length.map_err(|error| Failure::file(file, &error))? == 0 {
            break;
        }
        let in_file = |what: &str| Failure::invalid(format!("{}: {what}", file.display()));
        let text = std::str::from_utf8(&line).map_err(|_| in_file("this is no text"))?;
        if let Some(access) = reader.line(text).map_err(|error| in_file(&error.to_string()))? {
            reordered += usize::from(trace.last().is_some_and(|last| last.now > access.now));
            trace.push(access);
        }
        if trace.len() > ACCESSES_MAX {
            return Err(Failure::new(libc::E2BIG, format!("the trace has more than {ACCESSES_MAX} accesses: cut it")));
        }
    }
    if trace.is_empty() {
        return Err(Failure::invalid(format!("{}: there is no access in it", file.display())));
    }
    // Traces of several cores are in order but for some.
    if reordered > 0 {
        trace.sort_by_key(|access| access.now);
    }
    Ok((trace, reordered))
}

/// Bytes of all blocks that are touched.
fn footprint(trace: &[BlockAccess]) -> u64 {
    // In pieces of 64 KiB, so that a trace of a large device takes little memory.
    const PIECE: u64 = 64 << 10;
    let mut pieces: HashSet<(u32, u64)> = HashSet::new();
    for access in trace {
        let end = access.offset.saturating_add(access.length - 1);
        pieces.extend((access.offset / PIECE..=end / PIECE).map(|piece| (access.device, piece)));
    }
    pieces.len() as u64 * PIECE
}

fn document(outcome: &Outcome) -> serde_json::Value {
    let mut document = serde_json::to_value(outcome).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("hit_ratio".into(), json!(outcome.hit_ratio()));
        fields.insert("base_write_bytes_mean".into(), json!(outcome.base_write_bytes_mean()));
    }
    document
}

fn plain(trace: &[BlockAccess], footprint: u64, outcomes: &[Outcome]) -> String {
    let right = |heading| (heading, Align::Right);
    let mut table = Table::with_headings_aligned(&[
        right("HOT"),
        right("HIT RATIO"),
        right("BASE READS"),
        right("READ"),
        right("BASE WRITES"),
        right("WRITTEN"),
        right("MEAN"),
        right("BYPASSED"),
        right("PROMOTED"),
        right("BASE BUSY"),
    ]);
    let seconds = trace.last().map_or(0.0, |access| access.now as f64 / 1e9);
    for outcome in outcomes {
        table.row([
            format_bytes(outcome.hot_bytes),
            format!("{:.3}", outcome.hit_ratio()),
            format_count(outcome.base_reads),
            format_bytes(outcome.base_read_bytes),
            format_count(outcome.base_writes),
            format_bytes(outcome.base_write_bytes),
            format_bytes(outcome.base_write_bytes_mean()),
            format_bytes(outcome.bypassed_bytes),
            format_bytes(outcome.promoted_bytes),
            format!("{:.0} %", 100.0 * outcome.base_busy_seconds / seconds.max(1e-9)),
        ]);
    }
    let writes: u64 = trace.iter().filter(|access| access.is_write).map(|access| access.length).sum();
    let reads: u64 = trace.iter().filter(|access| !access.is_write).map(|access| access.length).sum();
    format!(
        "{} accesses in {seconds:.0} s on {}: {} read, {} written\n{}",
        format_count(trace.len() as u64),
        format_bytes(footprint),
        format_bytes(reads),
        format_bytes(writes),
        table.render()
    )
}
