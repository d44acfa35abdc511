//! Reports as text, laid out as fio's so that eyes and scripts that know fio find what they look for.

use crate::histogram::{Latency, PERCENTILES};
use crate::job::{BlockSizes, TargetName};
use crate::report::{DirectionReport, JobReport, Report};
use std::fmt::Write;

pub fn report(report: &Report) -> String {
    let mut text = String::new();
    for job in &report.jobs {
        header(&mut text, job);
    }
    for job in &report.jobs {
        text.push('\n');
        body(&mut text, job);
    }
    for group in &report.groups {
        let _ = writeln!(text, "\nRun status group {} (all jobs):", group.group);
        for (label, direction) in [("   READ", &group.read), ("  WRITE", &group.write)] {
            if direction.operations() > 0 {
                let milliseconds = direction.runtime.as_millis();
                let bytes = direction.bytes as f64;
                let _ = writeln!(
                    text,
                    "{label}: bw={} ({}), io={} ({}), run={milliseconds}-{milliseconds}msec",
                    rate_binary(direction.bytes_per_second()),
                    rate_decimal(direction.bytes_per_second()),
                    binary(bytes),
                    decimal(bytes),
                );
            }
        }
    }
    text
}

fn header(text: &mut String, report: &JobReport) {
    let job = &report.job;
    let sizes = |sizes: &BlockSizes| format!("{}B-{}B", sizes.min(), sizes.max());
    let engine = match &job.target {
        TargetName::Pool(pool) => format!("pool, pool={pool}"),
        TargetName::Image(image) => format!("image, image={image}"),
        TargetName::Null => "null".to_owned(),
        TargetName::Filename(path) => format!("device, filename={}", path.display()),
    };
    let _ = writeln!(
        text,
        "{}: (g={}): rw={}, bs=(R) {}, (W) {}, ioengine={engine}, iodepth={}",
        job.name,
        report.group,
        job.pattern.name(),
        sizes(&job.read_sizes),
        sizes(&job.write_sizes),
        job.iodepth,
    );
}

fn body(text: &mut String, report: &JobReport) {
    let errno = report.error.as_ref().map_or(0, |error| error.errno);
    let _ = write!(text, "{}: (groupid={}, jobs={}): err={errno:2}", report.job.name, report.group, report.clones);
    match &report.error {
        Some(error) => {
            let _ = writeln!(text, " ({})", error.message);
        }
        None => text.push('\n'),
    }
    for (label, figures) in [("read", &report.read), ("write", &report.write)] {
        if figures.operations() > 0 {
            direction(text, label, figures);
        }
    }
    distribution(text, report);
    if report.verified > 0 {
        let _ = writeln!(text, "  verify       : blocks={}, mismatches={}", report.verified, report.mismatches);
        for mismatch in &report.mismatches_described {
            let _ = writeln!(text, "    {mismatch}");
        }
    }
    let _ = writeln!(
        text,
        "     issued rwts: total={},{},0,0 short=0,0,0,0 dropped=0,0,0,0",
        report.read.operations(),
        report.write.operations()
    );
}

fn direction(text: &mut String, label: &str, report: &DirectionReport) {
    let _ = writeln!(
        text,
        "  {label}: IOPS={}, BW={} ({})({}/{}msec)",
        count(report.iops()),
        rate_binary(report.bytes_per_second()),
        rate_decimal(report.bytes_per_second()),
        binary(report.bytes as f64),
        report.runtime.as_millis(),
    );
    for (name, latency) in [("clat", &report.clat), (" lat", &report.lat)] {
        let (unit, divisor) = unit(latency);
        let _ = writeln!(
            text,
            "    {name} ({unit}): min={}, max={}, avg={:.2}, stdev={:.2}",
            whole(latency.min(), divisor),
            whole(latency.max(), divisor),
            latency.mean() / divisor as f64,
            latency.standard_deviation() / divisor as f64,
        );
    }
    let (unit, divisor) = unit(&report.clat);
    let _ = writeln!(text, "    clat percentiles ({unit}):");
    let values: Vec<String> =
        PERCENTILES.iter().map(|percent| (report.clat.percentile(*percent) / divisor).to_string()).collect();
    let width = values.iter().map(String::len).max().unwrap_or(0).max(4);
    let last = PERCENTILES.len().div_ceil(4) - 1;
    for (line, (percents, values)) in PERCENTILES.chunks(4).zip(values.chunks(4)).enumerate() {
        let entries: Vec<String> =
            percents.iter().zip(values).map(|(percent, value)| format!("{percent:5.2}th=[{value:>width$}]")).collect();
        let _ = writeln!(text, "     | {}{}", entries.join(", "), if line < last { "," } else { "" });
    }
}

/// fio's buckets of completion latency, each with its share.
fn distribution(text: &mut String, report: &JobReport) {
    let mut all = report.read.clat.clone();
    all.merge(&report.write.clat);
    let scales: [(&str, u64, &[u64]); 3] = [
        ("nsec", 1, &[2, 4, 10, 20, 50, 100, 250, 500, 750, 1000]),
        ("usec", 1000, &[2, 4, 10, 20, 50, 100, 250, 500, 750, 1000]),
        ("msec", 1_000_000, &[2, 4, 10, 20, 50, 100, 250, 500, 750, 1000, 2000]),
    ];
    let mut low = 0;
    for (unit, scale, bounds) in scales {
        let mut entries = Vec::new();
        for bound in bounds {
            let share = all.share(low, bound * scale);
            low = bound * scale;
            if share > 0.0 {
                entries.push(format!("{bound}={:.2}%", (share * 100.0).max(0.01)));
            }
        }
        if unit == "msec" {
            let share = all.share(low, u64::MAX);
            if share > 0.0 {
                entries.push(format!(">=2000={:.2}%", (share * 100.0).max(0.01)));
            }
        }
        for line in entries.chunks(6) {
            let _ = writeln!(text, "  lat ({unit})   : {}", line.join(", "));
        }
    }
}

/// The unit fio would choose: the finest in which the figures stay readable.
fn unit(latency: &Latency) -> (&'static str, u64) {
    match latency.mean() as u64 {
        0..=9_999 => ("nsec", 1),
        10_000..=9_999_999 => ("usec", 1000),
        _ => ("msec", 1_000_000),
    }
}

fn whole(nanoseconds: u64, divisor: u64) -> String {
    let value = nanoseconds / divisor;
    if value >= 100_000 { format!("{}k", value / 1000) } else { value.to_string() }
}

/// Three significant digits and a unit.
fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    while value >= step.min(1000.0) && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{}", units[unit])
}

fn count(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.0}") } else { scaled(value, 1000.0, &["", "k", "M"]) }
}

fn binary(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

fn decimal(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"])
}

fn rate_binary(bytes: f64) -> String {
    binary(bytes) + "/s"
}

fn rate_decimal(bytes: f64) -> String {
    decimal(bytes) + "/s"
}
