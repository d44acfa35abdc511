//! Reports as JSON, by fio's keys.

use crate::histogram::{Latency, PERCENTILES};
use crate::report::{DirectionReport, JobReport, Report};
use serde_json::{Map, Value, json};
use std::time::Duration;

pub fn report(report: &Report) -> Value {
    json!({
        "basalt version": env!("CARGO_PKG_VERSION"),
        "timestamp": report.unix_time / 1_000_000_000,
        "timestamp_ms": report.unix_time / 1_000_000,
        "jobs": report.jobs.iter().map(job).collect::<Vec<_>>(),
    })
}

fn job(report: &JobReport) -> Value {
    let options: Map<String, Value> =
        report.job.options.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    json!({
        "jobname": report.job.name,
        "groupid": report.group,
        "error": report.error.as_ref().map_or(0, |error| error.errno),
        "error_message": report.error.as_ref().map_or("", |error| &error.message),
        "elapsed": report.elapsed.as_secs_f64().ceil() as u64,
        "clones": report.clones,
        "job options": options,
        "read": direction(&report.read, report.job.log_every),
        "write": direction(&report.write, report.job.log_every),
        "verify": {
            "blocks": report.verified,
            "mismatches": report.mismatches,
            "described": report.mismatches_described,
        },
    })
}

fn direction(report: &DirectionReport, log_every: Option<Duration>) -> Value {
    let mut value = json!({
        "io_bytes": report.bytes,
        "io_kbytes": report.bytes >> 10,
        "bw_bytes": report.bytes_per_second() as u64,
        "bw": report.bytes_per_second() as u64 >> 10,
        "iops": report.iops(),
        "runtime": report.runtime.as_millis() as u64,
        "total_ios": report.operations(),
        "clat_ns": latency(&report.clat, true),
        "lat_ns": latency(&report.lat, false),
    });
    // Not one of fio's keys: there, such figures are files of their own.
    if let Some(every) = log_every {
        let interval = |(index, latency): (usize, &Latency)| {
            json!({
                "msec": index as u64 * every.as_millis() as u64,
                "iops": latency.count() as f64 / every.as_secs_f64(),
                "clat_ns": { "mean": latency.mean(), "99.000000": latency.percentile(99.0), "max": latency.max() },
            })
        };
        value["intervals"] = report.intervals.iter().enumerate().map(interval).collect();
    }
    value
}

fn latency(latency: &Latency, percentiles: bool) -> Value {
    let mut value = json!({
        "min": latency.min(),
        "max": latency.max(),
        "mean": latency.mean(),
        "stddev": latency.standard_deviation(),
        "N": latency.count(),
    });
    if percentiles && latency.count() > 0 {
        let percentile = |percent: &f64| (format!("{percent:.6}"), Value::from(latency.percentile(*percent)));
        value["percentile"] = Value::Object(PERCENTILES.iter().map(percentile).collect());
    }
    value
}
