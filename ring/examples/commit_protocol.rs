//! The block store's commit protocol with nothing else around it: 4 KiB writes that gather in groups, one record a group in parallel with
//! its data, one flush behind both, and so many groups in flight. What is left of a disk's speed when every write has to be durable is an
//! upper bound for the store, and it is held against plain writes at the same depth, which fio measures as well.
//!
//! Usage: commit_protocol PATH [SECONDS [DEPTH]] — a missing file is created with 1 GiB; what is there is overwritten.

use basalt_ring::local::Event;
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{BLOCK, Device, DeviceOptions, Instant, Ring};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

const CREATE_BYTES: u64 = 1 << 30;
/// The log: so much at the device's start, written round and round.
const LOG_BLOCKS: u64 = (64 << 20) / BLOCK as u64;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: commit_protocol PATH [SECONDS [DEPTH]]");
        return ExitCode::FAILURE;
    };
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok()).unwrap_or(3);
    let depth = arguments.next().and_then(|depth| depth.parse().ok()).unwrap_or(32);
    match uring::run(UringConfig::default(), |ring| measure_all(ring, path, Duration::from_secs(seconds), depth)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) | Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure_all(ring: Ring, path: PathBuf, duration: Duration, depth: usize) -> std::io::Result<()> {
    let options = DeviceOptions { write: true, create_size: Some(CREATE_BYTES), ..DeviceOptions::default() };
    let device = ring.open_device(&path, options).await?;
    fill(&ring, &device).await?;
    for _ in 0..3 {
        measure(&ring, &device, duration, depth, 0, 1).await?;
        for run in [1, 8] {
            for groups in 1..=3 {
                measure(&ring, &device, duration, depth, groups, run).await?;
            }
        }
    }
    Ok(())
}

/// Writes all of it once, so that no measured write has to allocate in the filesystem.
async fn fill(ring: &Ring, device: &Device) -> std::io::Result<()> {
    const PIECE: usize = 4 << 20;
    let data = ring.buffer(PIECE).freeze();
    for index in 0..device.info().size / PIECE as u64 {
        device.write(index * PIECE as u64, data.clone()).await?;
    }
    device.flush().await
}

struct Protocol {
    ring: Ring,
    device: Device,
    /// Places of the group that gathers, and what its writers wait for.
    gathering: RefCell<(Vec<u64>, Rc<Event>)>,
    work: Event,
    next_record: Cell<u64>,
    flush_us: Cell<f64>,
    write_us: Cell<f64>,
    groups: Cell<u64>,
    durable: Cell<u64>,
    taken: Cell<u64>,
    order: Event,
}

impl Protocol {
    /// One of the groups in flight, after the other.
    async fn commit_groups(&self, deadline: Instant) -> std::io::Result<()> {
        while self.ring.now() < deadline {
            let work = self.work.wait();
            let (places, done) = {
                let mut gathering = self.gathering.borrow_mut();
                (std::mem::take(&mut gathering.0), std::mem::replace(&mut gathering.1, Rc::new(Event::new())))
            };
            if places.is_empty() {
                let _ = self.ring.timeout(Duration::from_millis(1), work).await;
                continue;
            }
            let number = self.taken.get();
            self.taken.set(number + 1);
            let start = self.ring.now();
            let data = self.ring.buffer(BLOCK).freeze();
            let mut writes: Vec<_> =
                places.iter().map(|at| self.device.start_write(&self.ring, at * BLOCK as u64, data.clone())).collect();
            let record = self.next_record.get();
            self.next_record.set((record + 1) % LOG_BLOCKS);
            writes.push(self.device.start_write(&self.ring, record * BLOCK as u64, data));
            for write in writes {
                write.await?;
            }
            let written = self.ring.now();
            self.device.flush().await?;
            self.flush_us.set(self.flush_us.get() + self.ring.now().since(written).as_secs_f64() * 1e6);
            self.write_us.set(self.write_us.get() + written.since(start).as_secs_f64() * 1e6);
            self.groups.set(self.groups.get() + 1);
            while self.durable.get() != number {
                self.order.wait().await;
            }
            self.durable.set(number + 1);
            self.order.notify_all();
            done.notify_all();
        }
        Ok(())
    }
}

/// `groups` in flight, each with data in runs of `run` blocks; without any, plain writes.
async fn measure(
    ring: &Ring,
    device: &Device,
    duration: Duration,
    depth: usize,
    groups: usize,
    run: u64,
) -> std::io::Result<()> {
    let (start, enters, cpu) = (ring.now(), ring.enter_count(), cpu_time());
    let deadline = start + duration;
    let blocks = device.info().size / BLOCK as u64 - LOG_BLOCKS;
    let done = Rc::new(Cell::new(0u64));
    let next = Rc::new(Cell::new(0u64));
    let protocol = Rc::new(Protocol {
        ring: ring.clone(),
        device: device.clone(),
        gathering: RefCell::new((Vec::new(), Rc::new(Event::new()))),
        work: Event::new(),
        next_record: Cell::new(0),
        flush_us: Cell::new(0.0),
        write_us: Cell::new(0.0),
        groups: Cell::new(0),
        durable: Cell::new(0),
        taken: Cell::new(0),
        order: Event::new(),
    });
    let committers: Vec<_> = (0..groups)
        .map(|_| {
            let protocol = protocol.clone();
            ring.spawn(async move { protocol.commit_groups(deadline).await })
        })
        .collect();
    let writers: Vec<_> = (0..depth)
        .map(|_| {
            let (protocol, done, next) = (protocol.clone(), done.clone(), next.clone());
            ring.spawn(async move {
                let ring = &protocol.ring;
                while ring.now() < deadline {
                    // A run of neighbours, then somewhere else.
                    if next.get() % run == 0 {
                        next.set(ring.random_u64() % (blocks / run) * run);
                    }
                    let at = LOG_BLOCKS + next.get();
                    next.set(next.get() + 1);
                    if groups == 0 {
                        protocol.device.write(at * BLOCK as u64, ring.buffer(BLOCK).freeze()).await?;
                    } else {
                        let group = {
                            let mut gathering = protocol.gathering.borrow_mut();
                            gathering.0.push(at);
                            gathering.1.clone()
                        };
                        let durable = group.wait();
                        protocol.work.notify_all();
                        let _ = ring.timeout(Duration::from_millis(500), durable).await;
                    }
                    done.set(done.get() + 1);
                }
                Ok::<(), std::io::Error>(())
            })
        })
        .collect();
    for task in writers {
        task.await?;
    }
    for task in committers {
        task.await?;
    }
    let seconds = ring.now().since(start).as_secs_f64();
    let count = done.get() as f64;
    let of_groups = protocol.groups.get().max(1) as f64;
    println!(
        "groups {groups}, runs of {run}: {:8.0} IOPS, {:5.1} us CPU each, {:.2} enters each, {:4.1} writes a group, written {:4.0} us, flushed {:4.0} us",
        count / seconds,
        (cpu_time() - cpu).as_secs_f64() * 1e6 / count,
        (ring.enter_count() - enters) as f64 / count,
        count / of_groups,
        protocol.write_us.get() / of_groups,
        protocol.flush_us.get() / of_groups,
    );
    Ok(())
}

/// What this thread has used, in user and kernel.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
