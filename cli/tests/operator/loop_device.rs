//! A raw block device of a test's own: a loop device over a sparse file, detached when this is dropped, also by a panic.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct LoopDevice {
    file: PathBuf,
    device: PathBuf,
}

/// Whether raw devices can be had here. Says why not.
pub fn raw_devices_are_here() -> bool {
    let reason = if !is_root() {
        "not root"
    } else if !Path::new("/dev/loop-control").exists() {
        "no loop devices in this kernel or container"
    } else {
        return true;
    };
    eprintln!("SKIPPED: {reason}; raw devices are not tested");
    false
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs a system tool, which must succeed; returns its stdout.
pub fn tool(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl LoopDevice {
    pub fn attach(file: PathBuf, bytes: u64, sector_bytes: u32) -> LoopDevice {
        File::create(&file).unwrap().set_len(bytes).unwrap();
        let sectors = format!("--sector-size={sector_bytes}");
        let words = ["--find", "--show", "--direct-io=on", &sectors, file.to_str().unwrap()];
        let device = tool("losetup", &words).into();
        LoopDevice { file, device }
    }

    pub fn path(&self) -> &str {
        self.device.to_str().unwrap()
    }

    /// Bytes that the file beneath takes on its disk: what was written and not discarded.
    pub fn allocated_bytes(&self) -> u64 {
        fs::metadata(&self.file).unwrap().blocks() * 512
    }

    /// Zeros where filesystems and partition tables have their marks.
    pub fn wipe(&self) {
        let mut disk = fs::OpenOptions::new().write(true).open(&self.device).unwrap();
        disk.write_all(&[0; 1 << 20]).unwrap();
        disk.sync_all().unwrap();
    }

    /// What the kernel says of the device's queue: `write_cache` and the like.
    pub fn queue_attribute(&self, name: &str) -> PathBuf {
        Path::new("/sys/block").join(self.device.file_name().unwrap()).join("queue").join(name)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // A device that somebody still has open is detached by the kernel with its last user.
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// A mounted filesystem, unmounted when this is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn new(words: &[&str], at: &Path) -> Mounted {
        fs::create_dir_all(at).unwrap();
        let words: Vec<&str> = words.iter().copied().chain([at.to_str().unwrap()]).collect();
        tool("mount", &words);
        Mounted(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
