//! The process's heap, where the kernel has to be asked.

/// Gives free memory back to the kernel: what was freed amid what is in use stays resident otherwise. Takes milliseconds for each GiB.
pub fn release_free_memory() {
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
