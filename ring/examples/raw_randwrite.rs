//! 4 KiB random writes and reads on a file or device at depth 1 and 32, with nothing above the ring: what the driver costs, to be held
//! against fio's io_uring engine on the same file.
//!
//! Usage: raw_randwrite PATH [SECONDS] — a missing file is created with 1 GiB; what is there is overwritten.

use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{BLOCK, Device, DeviceOptions, Ring};
use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

const CREATE_BYTES: u64 = 1 << 30;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Write,
    Read,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: raw_randwrite PATH [SECONDS]");
        return ExitCode::FAILURE;
    };
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok()).unwrap_or(5);
    match uring::run(UringConfig::default(), |ring| measure_all(ring, path, Duration::from_secs(seconds))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) | Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure_all(ring: Ring, path: PathBuf, duration: Duration) -> std::io::Result<()> {
    let options = DeviceOptions { write: true, create_size: Some(CREATE_BYTES), ..DeviceOptions::default() };
    let device = ring.open_device(&path, options).await?;
    fill(&ring, &device).await?;
    for kind in [Kind::Write, Kind::Read] {
        for depth in [1, 32] {
            measure(&ring, &device, kind, depth, duration).await?;
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

async fn measure(ring: &Ring, device: &Device, kind: Kind, depth: u64, duration: Duration) -> std::io::Result<()> {
    let done = Rc::new(Cell::new(0u64));
    let (start, enters, cpu) = (ring.now(), ring.enter_count(), cpu_time());
    let deadline = start + duration;
    let blocks = device.info().size / BLOCK as u64;
    let tasks: Vec<_> = (0..depth)
        .map(|_| {
            let (ring, device, done) = (ring.clone(), device.clone(), done.clone());
            ring.clone().spawn(async move {
                let mut buffer = ring.buffer(BLOCK);
                let mut slice = ring.buffer(BLOCK).freeze();
                while ring.now() < deadline {
                    let offset = ring.random_u64() % blocks * BLOCK as u64;
                    match kind {
                        Kind::Read => {
                            let (result, returned) = device.read(offset, buffer).await;
                            buffer = returned;
                            result?;
                        }
                        Kind::Write => {
                            device.write(offset, slice.clone()).await?;
                            slice = slice.slice(0..BLOCK);
                        }
                    }
                    done.set(done.get() + 1);
                }
                Ok::<(), std::io::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    let seconds = ring.now().since(start).as_secs_f64();
    let done = done.get() as f64;
    println!(
        "{kind:?} depth {depth:2}: {:8.0} IOPS, {:6.1} us CPU each, {:.2} enters each",
        done / seconds,
        (cpu_time() - cpu).as_secs_f64() * 1e6 / done,
        (ring.enter_count() - enters) as f64 / done,
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
