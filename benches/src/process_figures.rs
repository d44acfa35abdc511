//! What the kernel counts for this process: memory, and bytes that went to devices.

use std::io;

fn field(file: &str, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{file} has no number {name}")))
}

/// CPU time of a process so far, in user space and in the kernel, its kernel threads for io_uring with it. To a hundredth of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuSeconds {
    pub user: f64,
    pub kernel: f64,
}

impl CpuSeconds {
    pub fn of(pid: u32) -> io::Result<CpuSeconds> {
        let file = format!("/proc/{pid}/stat");
        let text = std::fs::read_to_string(&file)?;
        // Behind the name, which may have spaces, come the state and ten numbers that are not wanted (proc(5)).
        let mut ticks = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let mut seconds = || {
            let ticks: Option<f64> = ticks.next().and_then(|word| word.parse().ok());
            let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("{file} has no CPU times"));
            Ok::<f64, io::Error>(ticks.ok_or_else(missing)? / TICKS_PER_SECOND)
        };
        Ok(CpuSeconds { user: seconds()?, kernel: seconds()? })
    }
}

impl std::ops::Sub for CpuSeconds {
    type Output = CpuSeconds;
    fn sub(self, before: CpuSeconds) -> CpuSeconds {
        CpuSeconds { user: self.user - before.user, kernel: self.kernel - before.kernel }
    }
}

/// `USER_HZ`, which is the same on all of Linux's architectures that have 64 bits.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of another process's memory that are resident now.
pub fn resident_bytes_of(pid: u32) -> io::Result<u64> {
    Ok(field(&format!("/proc/{pid}/status"), "VmRSS")? * 1024)
}

/// Bytes of memory that are resident now.
pub fn resident_bytes() -> io::Result<u64> {
    Ok(field("/proc/self/status", "VmRSS")? * 1024)
}

/// The most bytes of memory that ever were resident.
pub fn resident_bytes_peak() -> io::Result<u64> {
    Ok(field("/proc/self/status", "VmHWM")? * 1024)
}

/// Bytes that this process made the kernel send to devices. Not those that a filesystem writes about its own structures.
pub fn device_bytes_written() -> io::Result<u64> {
    field("/proc/self/io", "write_bytes")
}
