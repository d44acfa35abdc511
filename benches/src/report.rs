//! What came of the jobs.

use crate::histogram::Latency;
use crate::job::Job;
use crate::target::TargetError;
use serde_json::Value;
use std::time::Duration;

/// One direction's figures.
#[derive(Clone, Debug, Default)]
pub struct DirectionReport {
    pub bytes: u64,
    /// What the figures are over.
    pub runtime: Duration,
    /// From when the operation was begun, its buffer filled included.
    pub lat: Latency,
    /// From when it was handed to the target.
    pub clat: Latency,
    /// `clat` of what ended in each interval of `log_avg_msec`, from the beginning of what is measured.
    pub intervals: Vec<Latency>,
}

impl DirectionReport {
    pub fn operations(&self) -> u64 {
        self.clat.count()
    }

    /// Operations a second.
    pub fn iops(&self) -> f64 {
        self.per_second(self.operations())
    }

    pub fn bytes_per_second(&self) -> f64 {
        self.per_second(self.bytes)
    }

    fn per_second(&self, amount: u64) -> f64 {
        if self.runtime.is_zero() { 0.0 } else { amount as f64 / self.runtime.as_secs_f64() }
    }

    fn merge(&mut self, other: &DirectionReport) {
        self.bytes += other.bytes;
        self.runtime = self.runtime.max(other.runtime);
        self.lat.merge(&other.lat);
        self.clat.merge(&other.clat);
        let intervals = self.intervals.len().max(other.intervals.len());
        self.intervals.resize_with(intervals, Latency::default);
        for (ours, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            ours.merge(theirs);
        }
    }
}

/// A clone's figures, or those of a group.
#[derive(Clone, Debug)]
pub struct JobReport {
    pub job: Job,
    /// Jobs that ran at the same time have the same number.
    pub group: usize,
    pub clones: u32,
    pub error: Option<TargetError>,
    pub elapsed: Duration,
    pub read: DirectionReport,
    pub write: DirectionReport,
    /// Blocks checked.
    pub verified: u64,
    pub mismatches: u64,
    pub mismatches_described: Vec<String>,
}

impl JobReport {
    fn merge(&mut self, other: &JobReport) {
        self.clones += other.clones;
        if self.error.is_none() {
            self.error.clone_from(&other.error);
        }
        self.elapsed = self.elapsed.max(other.elapsed);
        self.read.merge(&other.read);
        self.write.merge(&other.write);
        self.verified += other.verified;
        self.mismatches += other.mismatches;
        self.mismatches_described.extend_from_slice(&other.mismatches_described);
        self.mismatches_described.truncate(crate::limits::MISMATCHES_DESCRIBED_MAX);
    }
}

#[derive(Clone, Debug)]
pub struct Report {
    /// Nanoseconds since 1970, at the end.
    pub unix_time: u64,
    /// One a clone, or one a group with `group_reporting`.
    pub jobs: Vec<JobReport>,
    /// One a group, whatever `group_reporting` says.
    pub groups: Vec<JobReport>,
}

impl Report {
    pub(crate) fn new(unix_time: u64, jobs: Vec<JobReport>, group_reporting: bool) -> Report {
        let mut groups: Vec<JobReport> = Vec::new();
        for job in &jobs {
            match groups.last_mut() {
                Some(group) if group.group == job.group => group.merge(job),
                _ => groups.push(job.clone()),
            }
        }
        Report { unix_time, jobs: if group_reporting { groups.clone() } else { jobs }, groups }
    }

    /// Of reports with the number of each one's clone, in any order.
    pub(crate) fn of_parts(unix_time: u64, mut parts: Vec<(usize, JobReport)>, jobs: &[Job]) -> Report {
        parts.sort_by_key(|(number, _)| *number);
        let reports = parts.into_iter().map(|(_, report)| report).collect();
        Report::new(unix_time, reports, jobs.iter().any(|job| job.group_reporting))
    }

    /// The first error of any job; a mismatch is one.
    pub fn error(&self) -> Option<&TargetError> {
        self.jobs.iter().find_map(|job| job.error.as_ref())
    }

    /// Text as fio prints it.
    pub fn text(&self) -> String {
        crate::report_text::report(self)
    }

    /// JSON in fio's shape.
    pub fn json(&self) -> Value {
        crate::report_json::report(self)
    }
}
