//! What the hardware allows, measured in the same run as what a pool does, because absolute figures drift from hour to hour.
//!
//! For 4 KiB random reads and writes at depth 1 and 32: the raw file or device, the pool, and their ratio. At depth 1 the limit is
//! the raw operation (with its flush, for a write) and a bare round trip over loopback, one after the other; deeper it is the raw
//! device alone.

use crate::histogram::Latency;
use crate::job::{Job, Pattern, TargetName};
use crate::process_figures::CpuSeconds;
use crate::report::DirectionReport;
use crate::target::TargetError;
use basalt_client::Client;
use basalt_ring::{Listener, Ring, uring};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The patterns and depths measured.
const CASES: [(&str, u32); 4] = [("randwrite", 1), ("randwrite", 32), ("randread", 1), ("randread", 32)];
/// Bytes of a round trip's message: a small request's frame.
const MESSAGE: usize = 128;
const ROUND_TRIPS: u32 = 5000;
/// The time before each measurement, as a part of its time.
const RAMP_SHARE: u32 = 10;

#[derive(Clone, Debug)]
pub struct Settings {
    /// A raw device (its content is lost) or a file on the disk that the pool's OSDs are on.
    pub raw: PathBuf,
    pub pool: Option<String>,
    /// The process that serves the pool, to tell what an operation costs it.
    pub daemon_pid: Option<u32>,
    /// Bytes of the region.
    pub size: u64,
    /// Of each measurement.
    pub runtime: Duration,
}

/// One pattern at one depth.
#[derive(Clone, Debug)]
pub struct Case {
    pub pattern: &'static str,
    pub iodepth: u32,
    pub raw: DirectionReport,
    /// Operations a second that a pool could reach at best.
    pub limit_iops: f64,
    pub pool: Option<DirectionReport>,
    /// Of the daemon, over the pool's whole measurement.
    pub daemon: Option<CpuSeconds>,
}

impl Case {
    /// Microseconds of the daemon's CPU an operation, and the kernel's share of them. The time before the measurement counts, and its operations
    /// by the rate they had.
    pub fn daemon_cost(&self, settings: &Settings) -> Option<(f64, f64)> {
        let (pool, daemon) = (self.pool.as_ref()?, self.daemon?);
        let operations = pool.iops() * (settings.runtime + settings.runtime / RAMP_SHARE).as_secs_f64();
        let seconds = daemon.user + daemon.kernel;
        (operations > 0.0 && seconds > 0.0).then(|| (seconds * 1e6 / operations, daemon.kernel / seconds))
    }

    /// The pool's part of the limit.
    pub fn ratio(&self) -> Option<f64> {
        let pool = self.pool.as_ref()?;
        (self.limit_iops > 0.0).then(|| pool.iops() / self.limit_iops)
    }
}

#[derive(Clone, Debug)]
pub struct Yardstick {
    pub round_trip: Latency,
    pub cases: Vec<Case>,
    pub settings: Settings,
}

/// Measures raw and pool in turn, case by case.
pub async fn measure(ring: &Ring, settings: &Settings, client: Option<&Client>) -> Result<Yardstick, TargetError> {
    if let Some(pid) = settings.daemon_pid {
        CpuSeconds::of(pid).map_err(|error| TargetError::io(&format!("the CPU time of process {pid}"), &error))?;
    }
    let round_trip = loopback_round_trip(ring).await?;
    if let Some(pool) = &settings.pool {
        // Whatever is not there is written now, and costs none of the cases anything.
        let first = Job {
            runtime: Some(settings.runtime / RAMP_SHARE),
            ..job(settings, TargetName::Pool(pool.clone()), "randread", 32)
        };
        figures(ring, first, client).await?;
    }
    let mut cases = Vec::new();
    for (pattern, iodepth) in CASES {
        let mut raw_job = job(settings, TargetName::Filename(settings.raw.clone()), pattern, iodepth);
        // A pool's write is durable when it is answered; so is this one.
        raw_job.flush_every = u32::from(raw_job.pattern.writes && iodepth == 1);
        let raw = figures(ring, raw_job, None).await?;
        let before = cpu(settings);
        let pool = match &settings.pool {
            Some(pool) => {
                Some(figures(ring, job(settings, TargetName::Pool(pool.clone()), pattern, iodepth), client).await?)
            }
            None => None,
        };
        let daemon = cpu(settings).zip(before).map(|(after, before)| after - before);
        let limit_iops = if iodepth == 1 && raw.iops() > 0.0 {
            1.0 / (1.0 / raw.iops() + round_trip.mean() / 1e9)
        } else {
            raw.iops()
        };
        cases.push(Case { pattern, iodepth, raw, limit_iops, pool, daemon });
    }
    Ok(Yardstick { round_trip, cases, settings: settings.clone() })
}

/// `None` without a daemon, or if it has ended.
fn cpu(settings: &Settings) -> Option<CpuSeconds> {
    settings.daemon_pid.and_then(|pid| CpuSeconds::of(pid).ok())
}

fn job(settings: &Settings, target: TargetName, pattern: &str, iodepth: u32) -> Job {
    let known = Pattern::NAMES.iter().find(|(name, _)| *name == pattern);
    Job {
        pattern: known.expect("the cases are patterns").1,
        size: settings.size,
        iodepth,
        runtime: Some(settings.runtime),
        time_based: true,
        ramp_time: settings.runtime / RAMP_SHARE,
        ..Job::new("yardstick", target)
    }
}

async fn figures(ring: &Ring, job: Job, client: Option<&Client>) -> Result<DirectionReport, TargetError> {
    let writes = job.pattern.writes;
    let report = crate::run(ring, &[job], client).await?;
    if let Some(error) = report.error() {
        return Err(error.clone());
    }
    let mut jobs = report.jobs;
    let job = jobs.pop().ok_or_else(|| TargetError::new(libc::EIO, "the measurement has no report"))?;
    Ok(if writes { job.write } else { job.read })
}

/// Round trips to a peer on a thread and a ring of its own, so that waking up is in it as it is between daemons.
async fn loopback_round_trip(ring: &Ring) -> Result<Latency, TargetError> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let peer = std::thread::spawn(move || {
        uring::run(uring::UringConfig::default(), async move |ring: Ring| {
            let listener = ring.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
            match listener {
                Ok(listener) => {
                    let _ = sender.send(Ok(listener.local_address()));
                    echo(&ring, &listener).await;
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        })
    });
    // Blocks this thread for as long as the other takes to start; nothing is measured yet.
    let address = receiver
        .recv()
        .map_err(|_| TargetError::new(libc::EIO, "the thread that answers round trips did not start"))?
        .map_err(|error| TargetError::io("listening on loopback", &error))?;
    let latency = round_trips(ring, address, ROUND_TRIPS).await;
    // It ends with its connection.
    let _ = peer.join();
    latency
}

/// Answers one connection until it closes.
pub async fn echo(ring: &Ring, listener: &Listener) {
    let Ok(socket) = listener.accept().await else { return };
    let mut buffer = ring.buffer(MESSAGE);
    loop {
        let (result, filled) = socket.receive_exact(buffer).await;
        if result.is_err() {
            return;
        }
        let message = filled.freeze();
        let (result, _) = socket.send(vec![message.clone()]).await;
        if result.is_err() {
            return;
        }
        buffer = message.try_unique().unwrap_or_else(|_| ring.buffer(MESSAGE));
    }
}

/// Sends a message and waits for its echo, so many times.
pub async fn round_trips(ring: &Ring, peer: SocketAddr, count: u32) -> Result<Latency, TargetError> {
    let failed = |error: std::io::Error| TargetError::io("a round trip over loopback", &error);
    let socket = ring.connect(peer).await.map_err(failed)?;
    let mut latency = Latency::default();
    let mut buffer = ring.buffer(MESSAGE);
    buffer.fill(0);
    for _ in 0..count {
        let began = ring.now();
        let message = buffer.freeze();
        socket.send(vec![message.clone()]).await.0.map_err(failed)?;
        let back = message.try_unique().unwrap_or_else(|_| ring.buffer(MESSAGE));
        let (result, filled) = socket.receive_exact(back).await;
        result.map_err(failed)?;
        latency.record(ring.now().0 - began.0);
        buffer = filled;
    }
    socket.shutdown();
    Ok(latency)
}

impl Yardstick {
    pub fn text(&self) -> String {
        let mut text = String::new();
        let round_trip = &self.round_trip;
        let _ = writeln!(
            text,
            "loopback round trip: mean {:.1} us, median {:.1} us, 99 % {:.1} us",
            round_trip.mean() / 1e3,
            round_trip.percentile(50.0) as f64 / 1e3,
            round_trip.percentile(99.0) as f64 / 1e3
        );
        let _ = writeln!(
            text,
            "{:10} {:>5} {:>10} {:>10} {:>10} {:>10} {:>10} {:>6} {:>7} {:>7}",
            "4 KiB", "depth", "raw IOPS", "raw us", "limit", "pool IOPS", "pool us", "ratio", "CPU us", "kernel"
        );
        for case in &self.cases {
            let microseconds = |report: &DirectionReport| report.lat.mean() / 1e3;
            let _ = write!(
                text,
                "{:10} {:>5} {:>10.0} {:>10.1} {:>10.0}",
                case.pattern,
                case.iodepth,
                case.raw.iops(),
                microseconds(&case.raw),
                case.limit_iops
            );
            if let Some(pool) = &case.pool {
                let ratio = case.ratio().unwrap_or(0.0);
                let _ = write!(text, " {:>10.0} {:>10.1} {ratio:>6.2}", pool.iops(), microseconds(pool));
            }
            if let Some((cost, kernel)) = case.daemon_cost(&self.settings) {
                let _ = write!(text, " {cost:>7.1} {kernel:>7.2}");
            }
            text.push('\n');
        }
        text
    }

    pub fn json(&self) -> Value {
        let figures = |report: &DirectionReport| {
            json!({
                "iops": report.iops(),
                "lat_ns": { "mean": report.lat.mean() },
                "clat_ns": { "percentile": { "99.000000": report.clat.percentile(99.0) } },
            })
        };
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|case| {
                json!({
                    "rw": case.pattern,
                    "iodepth": case.iodepth,
                    "raw": figures(&case.raw),
                    "limit_iops": case.limit_iops,
                    "pool": case.pool.as_ref().map(figures),
                    "ratio": case.ratio(),
                    "daemon_cpu_us": case.daemon_cost(&self.settings).map(|(cost, _)| cost),
                    "daemon_kernel_share": case.daemon_cost(&self.settings).map(|(_, kernel)| kernel),
                })
            })
            .collect();
        json!({ "round_trip_ns": { "mean": self.round_trip.mean() }, "cases": cases })
    }

    /// A file for the raw measurements, to be removed afterwards.
    pub fn default_file(directory: &Path) -> PathBuf {
        directory.join("basalt-yardstick.raw")
    }
}
