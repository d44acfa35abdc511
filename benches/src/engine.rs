//! Runs jobs: clones of each job at once, `iodepth` workers a clone, each a loop of one operation at a time.

use crate::access::{Access, Accesses, Direction};
use crate::histogram::Latency;
use crate::image_target::Images;
use crate::job::{Job, Rate};
use crate::layout;
use crate::limits::{CLONES_MAX, INTERVALS_MAX, MISMATCHES_DESCRIBED_MAX};
use crate::pattern::{self, Stamp};
use crate::progress::Tally;
use crate::random::{Random, mix};
use crate::rendezvous::Rendezvous;
use crate::report::{DirectionReport, JobReport, Report};
use crate::target::{Target, TargetError};
use crate::threads::thread_of;
use basalt_client::Client;
use basalt_ring::local::Event;
use basalt_ring::{Buffer, Instant, Ring};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Runs all jobs: at once, but for those with `stonewall`, which wait for all before them. An error is one of opening or laying
/// out; what fails later is in the report.
pub async fn run(ring: &Ring, jobs: &[Job], client: Option<&Client>) -> Result<Report, TargetError> {
    let images = Images::default();
    let rendezvous = Rendezvous::of(1);
    let whole = Part { number: 0, of: 1, rendezvous: &rendezvous, tally: Arc::default() };
    let reports = run_part(ring, jobs, client, &images, whole).await;
    images.close().await;
    Ok(Report::of_parts(ring.unix_time().0, reports?, jobs))
}

/// What one thread of a run does.
pub(crate) struct Part<'a> {
    pub number: usize,
    /// So many threads.
    pub of: usize,
    pub rendezvous: &'a Rendezvous,
    pub tally: Arc<Tally>,
}

/// Jobs that run at once, group by group.
pub(crate) fn groups(jobs: &[Job]) -> impl Iterator<Item = Range<usize>> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let after = (first + 1..jobs.len()).find(|&index| jobs[index].stonewall).unwrap_or(jobs.len());
        let group = first..after;
        first = after;
        (!group.is_empty()).then_some(group)
    })
}

/// The reports of a thread's clones, each with the clone's number among all.
pub(crate) async fn run_part(
    ring: &Ring,
    jobs: &[Job],
    client: Option<&Client>,
    images: &Images,
    part: Part<'_>,
) -> Result<Vec<(usize, JobReport)>, TargetError> {
    let clones: usize = jobs.iter().map(|job| job.numjobs as usize).sum();
    if clones > CLONES_MAX {
        let message = format!("the jobs have {clones} clones in all, at most {CLONES_MAX} can run");
        return Err(TargetError::new(libc::EINVAL, message));
    }
    for job in jobs {
        job.validate().map_err(|error| TargetError::new(libc::EINVAL, error.to_string()))?;
    }
    let others_left = |_| TargetError::new(libc::ECANCELED, "another thread of the run could not go on");
    let mut reports = Vec::new();
    let mut total = 0;
    for (group, members) in groups(jobs).enumerate() {
        let mut clones = Vec::new();
        let before_group = total;
        for job in &jobs[members] {
            for number in 0..job.numjobs {
                let place = total;
                total += 1;
                if thread_of(job, place - before_group, part.of) != part.number {
                    continue;
                }
                let target = Target::open(ring, client, images, job, number)
                    .await
                    .map_err(|error| TargetError::new(error.errno, format!("job '{}': {}", job.name, error.message)))?;
                let clone = Clone::new(ring, job, number, target, part.tally.clone());
                if job.pattern.reads {
                    layout::lay_out(ring, job, clone.owner, &clone.target).await?;
                }
                clones.push((place, Rc::new(clone)));
            }
        }
        // All are laid out before any is measured, and all have ended before the next group begins.
        part.rendezvous.meet(ring).await.map_err(others_left)?;
        let running: Vec<_> = clones.iter().map(|(_, clone)| ring.spawn(clone.clone().run())).collect();
        for task in running {
            task.await;
        }
        reports.extend(clones.into_iter().map(|(place, clone)| (place, clone.report(group))));
        part.rendezvous.meet(ring).await.map_err(others_left)?;
    }
    Ok(reports)
}

/// One clone of a job while it runs.
struct Clone {
    ring: Ring,
    job: Job,
    /// In verified blocks.
    owner: u64,
    target: Target,
    accesses: RefCell<Accesses>,
    started: Cell<Instant>,
    paces: [Pace; 2],
    reads: RefCell<DirectionReport>,
    writes: RefCell<DirectionReport>,
    writes_done: Cell<u64>,
    /// For whoever watches.
    tally: Arc<Tally>,
    error: RefCell<Option<TargetError>>,
    /// Of a verifying job: length and sequence of each block's last write, by offset.
    written: RefCell<BTreeMap<u64, (u64, u64)>>,
    /// Of a verifying job: ranges being written, since of two writes at once nobody knows which is the last.
    writing: RefCell<BTreeMap<u64, u64>>,
    write_ended: Event,
    verified: Cell<u64>,
    mismatches: Cell<u64>,
    described: RefCell<Vec<String>>,
}

/// Gives operations their times, so that there are so many a second.
struct Pace {
    interval: Option<Duration>,
    issued: Cell<u64>,
}

impl Pace {
    fn new(rate: Option<u32>) -> Pace {
        let interval = rate.map(|rate| Duration::from_secs(1) / rate.max(1));
        Pace { interval, issued: Cell::new(0) }
    }

    /// When the next operation is due.
    fn next(&self, started: Instant) -> Option<Instant> {
        let interval = self.interval?;
        let number = self.issued.replace(self.issued.get() + 1);
        let after = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).saturating_mul(number);
        Some(started + Duration::from_nanos(after))
    }
}

impl Clone {
    fn new(ring: &Ring, job: &Job, number: u32, target: Target, tally: Arc<Tally>) -> Clone {
        let Rate { reads, writes } = job.rate;
        Clone {
            ring: ring.clone(),
            job: job.clone(),
            owner: mix(job.seed ^ (u64::from(number) << 32)),
            target,
            accesses: RefCell::new(Accesses::new(job, number)),
            started: Cell::new(ring.now()),
            paces: [Pace::new(reads), Pace::new(writes)],
            reads: RefCell::default(),
            writes: RefCell::default(),
            writes_done: Cell::new(0),
            tally,
            error: RefCell::new(None),
            written: RefCell::default(),
            writing: RefCell::default(),
            write_ended: Event::new(),
            verified: Cell::new(0),
            mismatches: Cell::new(0),
            described: RefCell::default(),
        }
    }

    async fn run(self: Rc<Clone>) {
        self.started.set(self.ring.now());
        self.workers(|clone| async move { clone.work().await }).await;
        self.finish_figures();
        if self.job.verify && self.job.pattern.writes && self.error.borrow().is_none() {
            self.read_back().await;
        }
        let mismatches = self.mismatches.get();
        if mismatches > 0 && self.error.borrow().is_none() {
            let first = self.described.borrow().first().cloned().unwrap_or_default();
            let message = format!("verify: {mismatches} blocks are not what was written; {first}");
            self.error.replace(Some(TargetError::new(libc::EILSEQ, message)));
        }
    }

    /// Runs `iodepth` of these and waits for all.
    async fn workers<F: Future<Output = Result<(), TargetError>> + 'static>(
        self: &Rc<Clone>,
        work: impl Fn(Rc<Clone>) -> F,
    ) {
        let tasks: Vec<_> = (0..self.job.iodepth).map(|_| self.ring.spawn(work(self.clone()))).collect();
        for task in tasks {
            if let Err(error) = task.await {
                self.error.borrow_mut().get_or_insert(error);
            }
        }
    }

    fn measured_from(&self) -> Instant {
        self.started.get() + self.job.ramp_time
    }

    fn deadline(&self) -> Option<Instant> {
        self.job.runtime.map(|runtime| self.measured_from() + runtime)
    }

    fn is_over(&self) -> bool {
        self.error.borrow().is_some() || self.deadline().is_some_and(|deadline| self.ring.now() >= deadline)
    }

    async fn work(&self) -> Result<(), TargetError> {
        let mut buffer = None;
        while !self.is_over() {
            let Some(access) = self.accesses.borrow_mut().next() else { break };
            let pace = &self.paces[usize::from(access.direction == Direction::Write)];
            if let Some(due) = pace.next(self.started.get()) {
                self.ring.sleep_until(self.deadline().map_or(due, |deadline| deadline.min(due))).await;
                if self.is_over() {
                    break;
                }
            }
            let outcome = match access.direction {
                Direction::Read => self.read(access).await,
                Direction::Write => self.write(access, &mut buffer).await,
            };
            if let Err(error) = outcome {
                // The other workers stop at their next look.
                self.error.borrow_mut().get_or_insert(error);
            }
        }
        Ok(())
    }

    async fn read(&self, access: Access) -> Result<(), TargetError> {
        let began = self.ring.now();
        let data = self.target.read(access.offset, access.length).await?;
        self.tally.read(access.length);
        self.record(&self.reads, access, began, began);
        if self.job.verify && !self.job.pattern.writes {
            self.check(access.offset, None, &data);
        }
        Ok(())
    }

    async fn write(&self, access: Access, reused: &mut Option<Buffer>) -> Result<(), TargetError> {
        if self.job.verify {
            self.claim(access).await;
        }
        let began = self.ring.now();
        let mut buffer = match reused.take() {
            Some(buffer) => buffer,
            None => {
                let mut buffer = self.ring.buffer(self.job.write_sizes.max() as usize);
                Random::new(self.owner ^ access.sequence).fill(&mut buffer);
                buffer
            }
        };
        let block = &mut buffer[..access.length as usize];
        let stamp = Stamp { owner: self.owner, offset: access.offset, sequence: access.sequence };
        if self.job.verify {
            pattern::fill(stamp, block);
        } else {
            // Enough that no two blocks are the same to something that would notice.
            block[..8].copy_from_slice(&stamp.offset.to_le_bytes());
            block[8..16].copy_from_slice(&stamp.sequence.to_le_bytes());
        }
        let whole = buffer.freeze();
        let data = whole.slice(0..access.length as usize);
        let submitted = self.ring.now();
        let result = self.target.write(access.offset, data).await;
        if result.is_ok() {
            self.tally.write(access.length);
            self.record(&self.writes, access, began, submitted);
        }
        if self.job.verify {
            self.release(access, result.is_ok());
        }
        *reused = whole.try_unique().ok();
        result?;
        let done = self.writes_done.get() + 1;
        self.writes_done.set(done);
        if self.job.flush_every > 0 && done.is_multiple_of(u64::from(self.job.flush_every)) {
            self.target.flush().await?;
        }
        Ok(())
    }

    /// Waits until no write of the range is under way, and begins one.
    async fn claim(&self, access: Access) {
        let end = access.offset + access.length;
        loop {
            let ended = self.write_ended.wait();
            let overlaps = {
                let writing = self.writing.borrow();
                writing.range(..end).next_back().is_some_and(|(_, other_end)| *other_end > access.offset)
            };
            if !overlaps {
                break;
            }
            ended.await;
        }
        self.writing.borrow_mut().insert(access.offset, end);
    }

    fn release(&self, access: Access, ok: bool) {
        self.writing.borrow_mut().remove(&access.offset);
        self.write_ended.notify_all();
        let mut written = self.written.borrow_mut();
        let end = access.offset + access.length;
        // Blocks this one covers in part can't be checked any more.
        while let Some((&offset, &(length, _))) = written.range(..end).next_back()
            && offset + length > access.offset
        {
            written.remove(&offset);
        }
        if ok {
            written.insert(access.offset, (access.length, access.sequence));
        }
    }

    fn record(&self, report: &RefCell<DirectionReport>, access: Access, began: Instant, submitted: Instant) {
        let now = self.ring.now();
        if now < self.measured_from() {
            return;
        }
        let mut report = report.borrow_mut();
        report.bytes += access.length;
        report.lat.record(now.0.saturating_sub(began.0));
        let latency = now.0.saturating_sub(submitted.0);
        report.clat.record(latency);
        if let Some(every) = self.job.log_every {
            let interval = (now.since(self.measured_from()).as_nanos() / every.as_nanos()) as usize;
            if interval < INTERVALS_MAX {
                if report.intervals.len() <= interval {
                    report.intervals.resize_with(interval + 1, Latency::default);
                }
                report.intervals[interval].record(latency);
            }
        }
    }

    fn finish_figures(&self) {
        let elapsed = self.ring.now().since(self.measured_from());
        for report in [&self.reads, &self.writes] {
            report.borrow_mut().runtime = elapsed;
        }
    }

    /// Reads every block that was written, and compares.
    async fn read_back(self: &Rc<Clone>) {
        self.workers(|clone| async move {
            loop {
                let Some((offset, (length, sequence))) = clone.written.borrow_mut().pop_first() else { return Ok(()) };
                let data = clone.target.read(offset, length).await?;
                clone.check(offset, Some(sequence), &data);
            }
        })
        .await;
    }

    fn check(&self, offset: u64, sequence: Option<u64>, data: &[u8]) {
        self.verified.set(self.verified.get() + 1);
        let Some(reason) = pattern::mismatch(self.owner, offset, sequence, data) else { return };
        self.mismatches.set(self.mismatches.get() + 1);
        let mut described = self.described.borrow_mut();
        if described.len() < MISMATCHES_DESCRIBED_MAX {
            described.push(format!("at offset {offset}: {reason}"));
        }
    }

    fn report(&self, group: usize) -> JobReport {
        JobReport {
            job: self.job.clone(),
            group,
            clones: 1,
            error: self.error.borrow().clone(),
            elapsed: self.ring.now().since(self.started.get()),
            read: self.reads.take(),
            write: self.writes.take(),
            verified: self.verified.get(),
            mismatches: self.mismatches.get(),
            mismatches_described: self.described.take(),
        }
    }
}
