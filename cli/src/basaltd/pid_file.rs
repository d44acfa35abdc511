//! A file that names a running process. The process holds a lock on it for as long as it lives, so that a number which is left over, or
//! belongs to somebody else by now, is not taken for it.

use basalt_cli::{Failure, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a killed process may take to be gone: its lock goes with the last of what it had in the kernel.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
const RELEASE_POLL: Duration = Duration::from_millis(10);

/// Ours until it is dropped.
#[derive(Debug)]
pub struct PidFile(File);

impl PidFile {
    /// EBUSY if a living process has it; `user` is what that process runs, for the complaint.
    pub fn claim(path: &Path, user: &str) -> Result<PidFile> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| Failure::file(path, &error))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(Failure::file(path, &error)),
            }
            let mut other = String::new();
            let _ = file.rewind();
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut other);
            let other = other.trim();
            if is_running(other) || begun.elapsed() > RELEASE_TIMEOUT {
                return Err(Failure::new(libc::EBUSY, format!("{user} is in use by process {other}: stop it first")));
            }
            std::thread::sleep(RELEASE_POLL);
        }
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| Failure::file(path, &error))?;
        Ok(PidFile(file))
    }
}

/// One that was killed and not waited for is none any more.
fn is_running(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // Its state follows the name, which is in parentheses and may hold anything.
    !matches!(stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()), None | Some('Z' | 'X'))
}

/// A process that stopped is not named any more.
impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pid");
        let first = PidFile::claim(&path, "it").unwrap();
        let refused = PidFile::claim(&path, "it").err().unwrap();
        assert_eq!(refused.errno(), libc::EBUSY);
        assert!(refused.message().contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        PidFile::claim(&path, "it").unwrap();
    }

    #[test]
    fn what_a_killed_process_left_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pid");
        std::fs::write(&path, "1\n").unwrap();
        PidFile::claim(&path, "it").unwrap();
    }
}
