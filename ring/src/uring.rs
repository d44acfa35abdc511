//! The io_uring driver.

use crate::Ring;
use std::io;

#[derive(Clone, Debug)]
pub struct UringConfig {
    /// Submission queue entries; the completion queue has four times as many.
    pub entries: u32,
    /// Pins the thread to this CPU.
    pub cpu: Option<usize>,
    /// Bytes of buffer memory registered with the kernel; beyond it buffers come from the heap, unregistered.
    pub registered_bytes: usize,
}

impl Default for UringConfig {
    fn default() -> Self {
        UringConfig { entries: 512, cpu: None, registered_bytes: 32 << 20 }
    }
}

/// Runs `main` and all it spawns on the current thread until `main` ends; what still runs then is dropped, after the kernel let go
/// of its buffers.
pub fn run<T, F>(_config: UringConfig, _main: impl FnOnce(Ring) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    unimplemented!()
}
