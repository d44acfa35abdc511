//! The process's memory and descriptors, where the kernel has to be asked.

/// Gives what the heap has free back to the kernel: what was freed amid what is in use stays resident otherwise. Takes milliseconds for each GiB.
pub(crate) fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no precondition; it touches only memory that the allocator holds as free.
    unsafe {
        libc::malloc_trim(0);
    }
}

pub fn page_bytes() -> u64 {
    // SAFETY: asking for a constant of the system touches no memory.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Lets this process have as many open files as it may have at the most: each session is one. The number, or `None` if the kernel says nothing.
pub fn raise_open_files_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is a live local.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return None;
    }
    let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: as above; raising the soft limit to the hard one is anybody's right.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) } == 0;
    Some(if raised { wanted.rlim_cur } else { limit.rlim_cur })
}
