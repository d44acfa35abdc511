//! How far a host's OSDs are, as its threads tell it and whoever started the host waits for.

use crate::Error;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One OSD on its way from its devices to its clients and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Opening,
    Open {
        applied_epoch: u32,
        is_up: bool,
    },
    Failed {
        errno: i32,
        reason: String,
    },
    /// With what went wrong, if anything did.
    Stopped(Option<String>),
}

pub struct HostStatus {
    osds: Mutex<BTreeMap<u32, Phase>>,
    /// The monitor's last one, to tell those who wait in vain.
    refusal: Mutex<Option<String>>,
    changed: Condvar,
}

/// What a wait was ended by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Every OSD is up in a map that it goes by.
    Ready,
    Failed {
        errno: i32,
        reason: String,
    },
    /// What was missing.
    TimedOut(String),
}

impl HostStatus {
    pub fn new(osds: impl Iterator<Item = u32>) -> HostStatus {
        HostStatus {
            osds: Mutex::new(osds.map(|osd| (osd, Phase::Opening)).collect()),
            refusal: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub fn opened(&self, osd: u32) {
        self.set(osd, Phase::Open { applied_epoch: 0, is_up: false });
    }

    pub fn failed(&self, osd: u32, errno: i32, reason: String) {
        self.set(osd, Phase::Failed { errno, reason });
    }

    pub fn stopped(&self, osd: u32, reason: Option<String>) {
        self.set(osd, Phase::Stopped(reason));
    }

    pub fn applied(&self, osd: u32, epoch: u32) {
        if let Some(Phase::Open { applied_epoch, .. }) = self.lock().get_mut(&osd) {
            *applied_epoch = epoch;
        }
        self.changed.notify_all();
    }

    /// By the newest map, which has this epoch. An OSD counts as up once it goes by a map that says so.
    pub fn set_known_up(&self, known_up: impl Fn(u32) -> bool, epoch: u32) {
        for (osd, phase) in self.lock().iter_mut() {
            if let Phase::Open { applied_epoch, is_up } = phase {
                *is_up = known_up(*osd) && *applied_epoch >= epoch;
            }
        }
        self.changed.notify_all();
    }

    /// The monitor refused something.
    pub fn refused(&self, reason: String) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    pub fn is_open(&self, osd: u32) -> bool {
        matches!(self.lock().get(&osd), Some(Phase::Open { .. }))
    }

    pub fn is_behind(&self, osd: u32, epoch: u32) -> bool {
        matches!(self.lock().get(&osd), Some(Phase::Open { applied_epoch, .. }) if *applied_epoch < epoch)
    }

    pub fn phases(&self) -> BTreeMap<u32, Phase> {
        self.lock().clone()
    }

    /// Waits until every OSD is ready, or one has failed.
    pub fn wait_ready(&self, limit: Duration) -> Waited {
        let deadline = Instant::now() + limit;
        let mut osds = self.lock();
        loop {
            let failed = osds.iter().find_map(|(osd, phase)| match phase {
                Phase::Failed { errno, reason } => Some((*errno, reason.clone())),
                Phase::Stopped(_) => Some((libc::EIO, format!("osd.{osd} has stopped"))),
                _ => None,
            });
            if let Some((errno, reason)) = failed {
                return Waited::Failed { errno, reason };
            }
            let missing: Vec<String> = osds.iter().filter_map(|(osd, phase)| missing(*osd, phase)).collect();
            if missing.is_empty() {
                return Waited::Ready;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let refusal = refusal.map(|reason| format!("the monitor said: {reason}"));
                return Waited::TimedOut(missing.into_iter().chain(refusal).collect::<Vec<_>>().join(", "));
            }
            osds = self.changed.wait_timeout(osds, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set(&self, osd: u32, phase: Phase) {
        self.lock().insert(osd, phase);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Phase>> {
        // Each change is a single assignment, so a thread that panicked left nothing half done.
        self.osds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure of a host none of whose OSDs was opened: with every OSD's reason, and the errno of the first.
pub fn none_serves(phases: &BTreeMap<u32, Phase>) -> Option<Error> {
    let failures = phases.values().map(|phase| match phase {
        Phase::Failed { errno, reason } => Some((*errno, reason.as_str())),
        _ => None,
    });
    let failures: Vec<(i32, &str)> = failures.collect::<Option<_>>()?;
    let (errno, _) = failures.first()?;
    let reasons: Vec<&str> = failures.iter().map(|(_, reason)| *reason).collect();
    Some(Error::Osd { errno: *errno, reason: format!("no OSD serves: {}", reasons.join("; ")) })
}

fn missing(osd: u32, phase: &Phase) -> Option<String> {
    match phase {
        Phase::Opening => Some(format!("osd.{osd} is being opened")),
        Phase::Open { is_up: false, .. } => Some(format!("osd.{osd} waits for a map that has it up")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ready_once_every_osd_goes_by_a_map_that_has_it_up() {
        let status = HostStatus::new([1, 2].into_iter());
        let not_yet = |status: &HostStatus| matches!(status.wait_ready(Duration::ZERO), Waited::TimedOut(_));
        assert!(not_yet(&status));
        status.opened(1);
        status.opened(2);
        status.applied(1, 5);
        status.set_known_up(|_| true, 5);
        assert!(not_yet(&status));
        status.applied(2, 5);
        assert!(not_yet(&status));
        status.set_known_up(|_| true, 5);
        assert_eq!(status.wait_ready(Duration::ZERO), Waited::Ready);
        status.failed(2, libc::EBUSY, "osd.2 is in use".into());
        let failed = Waited::Failed { errno: libc::EBUSY, reason: "osd.2 is in use".into() };
        assert_eq!(status.wait_ready(Duration::ZERO), failed);
    }
}
