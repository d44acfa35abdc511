//! The kernel's own threads, which do for a ring what may block: a flush, most of all.
//!
//! The ring's thread makes them, and they inherit where it may run. Linux keeps a mask that was set by `sched_setaffinity` as the user's wish since
//! 6.2, clones of the thread have the same wish, and `IORING_REGISTER_IOWQ_AFF` does not go beyond it. So the workers of a pinned thread have
//! nowhere to run but where the thread itself runs, and a flush waits until it sleeps, however many CPUs are idle. Their own mask is what helps,
//! set from outside once they are there; since 6.3 the kernel lets that be done.

use super::setup;
use std::fs;
use std::io;
use std::sync::OnceLock;

/// Where threads of this process might run before any was pinned.
static ALLOWED: OnceLock<libc::cpu_set_t> = OnceLock::new();

/// The first ring that pins its thread tells where that ran until then.
pub(super) fn remember_allowed(cpus: &libc::cpu_set_t) {
    ALLOWED.get_or_init(|| *cpus);
}

/// The shortest that the kernel takes. A flush runs for some ten microseconds, and many clients wait for it: where every CPU is busy its worker comes before
/// whoever has the usual slice. Without that, and with a compiler on both of two CPUs, flushes took 1.2 ms in place of 0.35.
const WORKER_SLICE_NS: u64 = 100_000;

/// Lets the workers of all rings of this process run wherever the process may, and soon; returns how many could not until now. Workers come and go
/// with what there is to do (those without work for five seconds end), so it is to be called again, about once a second, by a thread that may block.
pub fn spread_workers() -> io::Result<usize> {
    let Some(allowed) = ALLOWED.get() else { return Ok(0) };
    let mut spread = 0;
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse::<libc::pid_t>().ok()) else {
            continue;
        };
        // A thread may end at any moment; what can't be read is not there any more.
        let Ok(name) = fs::read(entry.path().join("comm")) else { continue };
        if !name.starts_with(b"iou-wrk-") {
            continue;
        }
        if setup::time_slice_of(thread).is_some_and(|slice| slice > WORKER_SLICE_NS) {
            let _refused = setup::set_time_slice_of(thread, WORKER_SLICE_NS);
        }
        if let Some(current) = setup::cpus_of(thread)
            && !is_within(allowed, &current)
            && setup::set_cpus_of(thread, allowed).is_ok()
        {
            spread += 1;
        }
    }
    Ok(spread)
}

fn is_within(inner: &libc::cpu_set_t, outer: &libc::cpu_set_t) -> bool {
    (0..libc::CPU_SETSIZE as usize).all(|cpu| !setup::has_cpu(inner, cpu) || setup::has_cpu(outer, cpu))
}
