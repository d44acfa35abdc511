//! fio's options, by name: what each sets in a job, and how values are written.

use crate::job::{BlockSizes, Distribution, Job, Pattern, Rate, TargetName};
use std::time::Duration;

/// An option that is known, its other names, and what its value looks like.
pub struct Known {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub value: &'static str,
}

/// Everything a job may set, in the order it is listed to people.
pub const KNOWN: &[Known] = &[
    Known { name: "name", aliases: &[], value: "a job's name" },
    Known { name: "pool", aliases: &[], value: "a pool's name" },
    Known { name: "image", aliases: &[], value: "POOL/NAME" },
    Known { name: "filename", aliases: &[], value: "a device or file" },
    Known { name: "ioengine", aliases: &[], value: "io_uring, or null to do nothing" },
    Known { name: "rw", aliases: &["readwrite"], value: "read, write, randread, randwrite, rw or randrw" },
    Known { name: "bs", aliases: &["blocksize"], value: "a size, or READ,WRITE" },
    Known { name: "bssplit", aliases: &[], value: "SIZE/PERCENT:SIZE/PERCENT, or READ,WRITE of these" },
    Known { name: "size", aliases: &[], value: "a size" },
    Known { name: "iodepth", aliases: &[], value: "a count" },
    Known { name: "numjobs", aliases: &[], value: "a count" },
    Known { name: "runtime", aliases: &["timeout"], value: "a time in seconds, or such as 500ms, 10m" },
    Known { name: "time_based", aliases: &[], value: "0 or 1" },
    Known { name: "ramp_time", aliases: &[], value: "a time in seconds, or such as 500ms, 10m" },
    Known { name: "rwmixread", aliases: &[], value: "percent" },
    Known { name: "rwmixwrite", aliases: &[], value: "percent" },
    Known { name: "random_distribution", aliases: &[], value: "random, zipf:THETA or pareto:H" },
    Known { name: "randseed", aliases: &[], value: "a number" },
    Known { name: "norandommap", aliases: &[], value: "0 or 1" },
    Known { name: "verify", aliases: &[], value: "crc32c, or 0 for none" },
    Known { name: "group_reporting", aliases: &[], value: "0 or 1" },
    Known { name: "nrfiles", aliases: &[], value: "a count" },
    Known { name: "filesize", aliases: &[], value: "a size" },
    Known { name: "rate_iops", aliases: &[], value: "a count, or READ,WRITE" },
    Known { name: "log_avg_msec", aliases: &[], value: "milliseconds, 0 for none" },
    Known { name: "object_size", aliases: &[], value: "a size" },
    Known { name: "fdatasync", aliases: &["fsync"], value: "a count of writes" },
    Known { name: "stonewall", aliases: &["wait_for_previous"], value: "0 or 1" },
    Known { name: "direct", aliases: &[], value: "1: all I/O is direct" },
];

pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name || known.aliases.contains(&name))
}

/// The known name most like a mistyped one, if any is like it.
pub fn nearest(name: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .map(|known| (distance(known.name, name), known.name))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| name)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Sets one option, by its first name. `None`: the value is malformed.
pub fn set(job: &mut Job, known: &Known, value: &str) -> Option<()> {
    match known.name {
        "name" => job.name = value.into(),
        "pool" => aim(job, TargetName::Pool(some(value)?.into())),
        "image" => aim(job, TargetName::Image(value.split_once('/').map(|_| value)?.into())),
        "filename" => aim(job, TargetName::Filename(some(value)?.into())),
        "ioengine" => match value {
            "null" => job.target = TargetName::Null,
            // The one there is.
            "io_uring" => {}
            _ => return None,
        },
        "rw" => job.pattern = Pattern::NAMES.iter().find(|(name, _)| *name == value).map(|(_, pattern)| *pattern)?,
        "bs" => {
            let (read, write) = pair(value, size)?;
            (job.read_sizes, job.write_sizes) = (BlockSizes::one(read), BlockSizes::one(write));
        }
        "bssplit" => (job.read_sizes, job.write_sizes) = pair(value, split)?,
        "size" => job.size = size(value)?,
        "iodepth" => job.iodepth = value.parse().ok()?,
        "numjobs" => job.numjobs = value.parse().ok()?,
        "runtime" => job.runtime = Some(time(value)?).filter(|time| !time.is_zero()),
        "time_based" => job.time_based = flag(value)?,
        "ramp_time" => job.ramp_time = time(value)?,
        "rwmixread" => job.read_share = percent(value)?,
        "rwmixwrite" => job.read_share = 100 - percent(value)?,
        "random_distribution" => job.distribution = distribution(value)?,
        "randseed" => job.seed = value.parse().ok()?,
        "norandommap" => job.random_map = !flag(value)?,
        "verify" => {
            job.verify = match value {
                "crc32c" | "crc32c-intel" => true,
                "0" | "none" => false,
                _ => return None,
            };
        }
        "group_reporting" => job.group_reporting = flag(value)?,
        "nrfiles" => job.files = value.parse().ok()?,
        // Applied with the number of files, once that is known.
        "filesize" => job.size = size(value)?,
        "rate_iops" => {
            let (reads, writes) = pair(value, |text| if text.is_empty() { Some(0) } else { text.parse().ok() })?;
            let limit = |rate: u32| (rate > 0).then_some(rate);
            job.rate = Rate { reads: limit(reads), writes: limit(writes) };
        }
        "log_avg_msec" => {
            let every = Duration::from_millis(value.parse().ok()?);
            job.log_every = (!every.is_zero()).then_some(every);
        }
        "object_size" => job.object_size = size(value)?,
        "fdatasync" => job.flush_every = value.parse().ok()?,
        "stonewall" => job.stonewall = flag(value)?,
        "direct" => flag(value)?.then_some(())?,
        _ => unreachable!("every known option is set here"),
    }
    Some(())
}

/// Whatever was named before or is named later, nothing is done with it if the job says so.
fn aim(job: &mut Job, target: TargetName) {
    if job.target != TargetName::Null {
        job.target = target;
    }
}

fn some(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

/// `READ,WRITE`, or one value for both.
fn pair<T: Clone>(value: &str, one: impl Fn(&str) -> Option<T>) -> Option<(T, T)> {
    match value.split_once(',') {
        None => one(value).map(|both| (both.clone(), both)),
        Some((read, write)) => Some((one(read)?, one(write)?)),
    }
}

/// fio's units: powers of 1024, whatever the spelling.
pub fn size(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|character: char| !character.is_ascii_digit()).unwrap_or(value.len());
    let (number, suffix) = value.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "ki" | "kb" | "kib" => 10,
        "m" | "mi" | "mb" | "mib" => 20,
        "g" | "gi" | "gb" | "gib" => 30,
        "t" | "ti" | "tb" | "tib" => 40,
        "p" | "pi" | "pb" | "pib" => 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

pub fn time(value: &str) -> Option<Duration> {
    let value = value.trim();
    let digits = value.find(|character: char| !character.is_ascii_digit()).unwrap_or(value.len());
    let (number, suffix) = value.split_at(digits);
    let microseconds = match suffix {
        "" | "s" => 1_000_000,
        "us" => 1,
        "ms" => 1000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(microseconds).map(Duration::from_micros)
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "" | "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

fn percent(value: &str) -> Option<u32> {
    value.parse().ok().filter(|percent| *percent <= 100)
}

fn distribution(value: &str) -> Option<Distribution> {
    match value.split_once(':') {
        None => (value == "random").then_some(Distribution::Uniform),
        Some(("zipf", theta)) => theta.parse().ok().map(Distribution::Zipf),
        Some(("pareto", h)) => h.parse().ok().map(Distribution::Pareto),
        Some(_) => None,
    }
}

/// `4k/10:64k/50:32k`: sizes without a percentage share what is left.
fn split(value: &str) -> Option<BlockSizes> {
    let mut sizes = Vec::new();
    let mut given = 0_u32;
    for part in value.split(':') {
        let (bytes, share) = part.split_once('/').unwrap_or((part, ""));
        let share = if share.is_empty() { None } else { Some(percent(share)?) };
        given += share.unwrap_or(0);
        sizes.push((size(bytes)?, share));
    }
    let open = sizes.iter().filter(|(_, share)| share.is_none()).count() as u32;
    let left = 100_u32.checked_sub(given)?;
    if open == 0 && left > 0 {
        return None;
    }
    let mut first_open = true;
    let sizes = sizes
        .into_iter()
        .map(|(bytes, share)| {
            let share = share.unwrap_or_else(|| {
                // The first takes what does not divide.
                let extra = if std::mem::take(&mut first_open) { left % open } else { 0 };
                left / open + extra
            });
            (bytes, share)
        })
        .collect();
    Some(BlockSizes(sizes))
}
