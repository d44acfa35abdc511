//! A run on several cores: clones are dealt to threads, each with a ring and a client of its own, as fio has a process for each.

use crate::engine::{self, Part};
use crate::image_target::Images;
use crate::job::{Job, TargetName};
use crate::limits::{PROGRESS_EVERY, THREADS_MAX};
use crate::progress::{Progress, Tally, Watcher};
use crate::rendezvous::Rendezvous;
use crate::report::Report;
use crate::target::TargetError;
use basalt_client::Client;
use basalt_ring::Ring;
use basalt_ring::uring::{self, UringConfig};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Instant, SystemTime};

/// The thread of clone `clone` of `job`, when its stonewall group has had so many before it.
pub(crate) fn thread_of(job: &Job, before: usize, threads: usize) -> usize {
    match job.target {
        // An image has one writer, which all clones share.
        TargetName::Image(_) => 0,
        _ => before % threads,
    }
}

/// As many as there is something to run on at once: cores, and clones.
fn threads_for(jobs: &[Job]) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let clones = engine::groups(jobs).map(|group| jobs[group].iter().map(|job| job.numjobs as usize).sum()).max();
    cores.min(clones.unwrap_or(1)).clamp(1, THREADS_MAX)
}

/// Runs all jobs as [`crate::run`] does, on as many threads as there are cores and clones. `connect` makes each thread's client; `watch` is
/// called on this thread about once a second.
pub fn run_on_threads<F>(
    config: &UringConfig,
    jobs: &[Job],
    connect: impl Fn(Ring) -> F + Sync,
    mut watch: impl FnMut(Progress),
) -> std::io::Result<Result<Report, TargetError>>
where
    F: Future<Output = Result<Option<Client>, TargetError>>,
{
    let threads = threads_for(jobs);
    let rendezvous = Rendezvous::of(threads);
    let tallies: Vec<Arc<Tally>> = (0..threads).map(|_| Arc::default()).collect();
    let began = Instant::now();
    let (ended, ends) = channel::<()>();
    let outcomes = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let part = Part { number, of: threads, rendezvous: &rendezvous, tally: tallies[number].clone() };
                let (config, connect, ended) = (config.clone(), &connect, ended.clone());
                scope.spawn(move || {
                    // Told to the watcher whatever way the thread ends.
                    let _ended = ended;
                    let leaving = Leaving(part.rendezvous);
                    let outcome = uring::run(config, async |ring| {
                        let client = connect(ring.clone()).await?;
                        let images = Images::default();
                        let reports = engine::run_part(&ring, jobs, client.as_ref(), &images, part).await;
                        images.close().await;
                        reports
                    });
                    if matches!(outcome, Ok(Ok(_))) {
                        std::mem::forget(leaving);
                    }
                    outcome
                })
            })
            .collect();
        drop(ended);
        let mut watcher = Watcher::default();
        // Nothing is sent: the channel is closed when the last thread has ended.
        while let Err(RecvTimeoutError::Timeout) = ends.recv_timeout(PROGRESS_EVERY) {
            watch(watcher.look(&tallies, began.elapsed()));
        }
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect::<Vec<_>>()
    });
    let mut reports = Vec::new();
    let mut error: Option<TargetError> = None;
    for outcome in outcomes {
        match outcome? {
            Ok(part) => reports.extend(part),
            // Why one thread had to stop is told before that others did because of it.
            Err(seen) if error.as_ref().is_none_or(|error| error.errno == libc::ECANCELED) => error = Some(seen),
            Err(_) => {}
        }
    }
    if let Some(error) = error {
        return Ok(Err(error));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Ok(Report::of_parts(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), reports, jobs)))
}

/// Tells the other threads that this one will not come any more.
struct Leaving<'a>(&'a Rendezvous);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
