//! What the kernel counts for this process: memory, and bytes that went to devices.

use std::io;

fn field(file: &str, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{file} has no number {name}")))
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
