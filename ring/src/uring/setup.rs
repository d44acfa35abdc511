//! Making a ring with the best flags the kernel has, and finding out what it can do.

use super::UringConfig;
use crate::mapping::Mapping;
use crate::pool::Pool;
use io_uring::{IoUring, Probe, opcode};
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// What this kernel can do. Multishot operations are known only once one was tried, so they start as true.
pub(super) struct Features {
    pub(super) message_ring: bool,
    pub(super) multishot_accept: Cell<bool>,
    pub(super) multishot_receive: Cell<bool>,
    pub(super) discard_command: Cell<bool>,
    /// Vectors of registered memory, since 6.15.
    pub(super) gathered_fixed_writes: bool,
    pub(super) registered_files: u32,
}

/// Which of the kernel's features to use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    All,
    /// Only what nothing works without, so that the fallbacks can be tested on a new kernel.
    Required,
}

pub(super) fn build(config: &UringConfig, features: Use) -> io::Result<IoUring> {
    let completions = config.entries.saturating_mul(4);
    let mut last = None;
    let first = if features == Use::All { 0 } else { 3 };
    for step in first..4 {
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_cqsize(completions);
        match step {
            // 6.1: completions are processed when this thread asks for them, and only then.
            0 => builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all(),
            // 6.0
            1 => builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_submit_all(),
            // 5.19
            2 => builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all(),
            _ => &mut builder,
        };
        match builder.build(config.entries) {
            Ok(ring) => return require(ring),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = Some(error),
            Err(error) => return Err(explain(error)),
        }
    }
    Err(explain(last.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))))
}

fn require(ring: IoUring) -> io::Result<IoUring> {
    let parameters = ring.params();
    if parameters.is_feature_nodrop() && parameters.is_feature_ext_arg() && parameters.is_feature_submit_stable() {
        return Ok(ring);
    }
    let message = "this kernel's io_uring lacks NODROP, EXT_ARG or SUBMIT_STABLE; Linux 5.19 or newer is needed";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

fn explain(error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel has no io_uring; Linux 5.19 or newer is needed",
        Some(libc::EPERM) => {
            "io_uring is forbidden here; see the kernel.io_uring_disabled sysctl and any seccomp filter"
        }
        Some(libc::ENOMEM) => "not enough locked memory for the rings; raise RLIMIT_MEMLOCK",
        _ => "io_uring_setup failed",
    };
    io::Error::new(error.kind(), format!("{hint}: {error}"))
}

pub(super) fn probe(ring: &IoUring, features: Use) -> Features {
    if features == Use::Required {
        return Features {
            message_ring: false,
            multishot_accept: Cell::new(false),
            multishot_receive: Cell::new(false),
            discard_command: Cell::new(false),
            gathered_fixed_writes: false,
            registered_files: 0,
        };
    }
    let mut probe = Probe::new();
    let probed = ring.submitter().register_probe(&mut probe).is_ok();
    let supports = |code: u8| probed && probe.is_supported(code);
    // A table larger than the limit on open files is refused.
    let registered_files = [16384, 4096, 1024, 256]
        .into_iter()
        .find(|count| ring.submitter().register_files_sparse(*count).is_ok())
        .unwrap_or(0);
    Features {
        message_ring: supports(opcode::MsgRingData::CODE),
        multishot_accept: Cell::new(true),
        multishot_receive: Cell::new(true),
        discard_command: Cell::new(supports(opcode::UringCmd16::CODE)),
        gathered_fixed_writes: supports(opcode::WritevFixed::CODE),
        registered_files,
    }
}

/// A pool over an arena that is registered, as far as the limit on locked memory lets it.
pub(super) fn pool(ring: &IoUring, config: &UringConfig) -> io::Result<Pool> {
    let mut bytes = config.registered_bytes.min(1 << 30);
    while bytes >= 1 << 20 {
        let arena = Mapping::huge(bytes)?;
        // SAFETY: the arena is unmapped only after the ring is closed: its last reference is the pool's or a buffer's, and the driver
        // closes the ring before it lets go of the pool; what a later buffer keeps mapped harms nobody.
        match unsafe { ring.submitter().register_buffers(&[arena.as_iovec()]) } {
            Ok(()) => {
                return Ok(Pool::in_slabs(Some(Rc::new(arena))));
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => bytes /= 2,
            Err(error) => {
                tracing::warn!(%error, "buffers can't be registered with the kernel");
                break;
            }
        }
    }
    if config.registered_bytes > 0 {
        tracing::warn!(wanted_bytes = config.registered_bytes, "no registered buffers; RLIMIT_MEMLOCK may be too low");
    }
    Ok(Pool::in_slabs(None))
}

/// Where this thread may run. `None` if the kernel does not say.
pub(super) fn allowed_cpus() -> Option<libc::cpu_set_t> {
    cpus_of(0)
}

/// Where a thread may run; 0 is the calling one. `None` if there is no such thread.
pub(super) fn cpus_of(thread: libc::pid_t) -> Option<libc::cpu_set_t> {
    // SAFETY: an all-zero set is a valid, empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is a live local of the given size.
    let result = unsafe { libc::sched_getaffinity(thread, size_of::<libc::cpu_set_t>(), &mut set) };
    (result == 0).then_some(set)
}

pub(super) fn set_cpus_of(thread: libc::pid_t, cpus: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the set is live and of the given size.
    match unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), cpus) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// For how long a thread of the usual policy runs before others have their turn, in nanoseconds; who has less of it comes first when it wakes. `None`
/// if there is no such thread, or where the kernel (before 6.12) does not tell.
pub(super) fn time_slice_of(thread: libc::pid_t) -> Option<u64> {
    attributes_of(thread).map(|attributes| attributes.sched_runtime).filter(|slice| *slice > 0)
}

pub(super) fn set_time_slice_of(thread: libc::pid_t, nanoseconds: u64) -> io::Result<()> {
    let Some(mut attributes) = attributes_of(thread) else { return Err(io::ErrorKind::NotFound.into()) };
    attributes.sched_runtime = nanoseconds;
    // SAFETY: the attributes are live, and say how long they are.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn attributes_of(thread: libc::pid_t) -> Option<libc::sched_attr> {
    // SAFETY: all of its fields are numbers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let bytes = size_of::<libc::sched_attr>() as u32;
    // SAFETY: the attributes are a live local of the given size.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &mut attributes, bytes, 0) };
    (result == 0).then_some(attributes)
}

pub(super) fn has_cpu(cpus: &libc::cpu_set_t, cpu: usize) -> bool {
    assert!(cpu < libc::CPU_SETSIZE as usize, "there is no CPU {cpu}");
    // SAFETY: `cpu` is within the set, as just checked.
    unsafe { libc::CPU_ISSET(cpu, cpus) }
}

/// The kernel's own threads for what may block (a flush) would be held to this thread's CPU as well, and wait for it. Since Linux 6.2 they are all
/// the same, see [`super::workers`].
pub(super) fn let_workers_run_on(ring: &IoUring, cpus: &libc::cpu_set_t) {
    if let Err(error) = ring.submitter().register_iowq_aff(cpus) {
        // Kernels before 5.14 don't know of it; flushes then share the thread's CPU.
        tracing::debug!(%error, "io_uring's workers stay on this thread's CPU");
    }
}

pub(super) fn pin_to(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no CPU {cpu}")));
    }
    // SAFETY: an all-zero set is a valid, empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is within the set, as checked above.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    set_cpus_of(0, &set)
        .map_err(|error| io::Error::new(error.kind(), format!("can't pin this thread to CPU {cpu}: {error}")))
}
