//! A file as a block device that the kernel holds to so many operations a second: a loop device, and a control group for whoever uses it.

use crate::Result;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct ThrottledDevice {
    device: String,
    group: PathBuf,
}

impl ThrottledDevice {
    /// Puts a loop device in the file's place. Both go when this is dropped; what was the file lies beside it.
    pub fn new(file: &Path, operations_per_second: u32) -> Result<ThrottledDevice> {
        let image = file.with_extension("img");
        fs::rename(file, &image)?;
        let output = Command::new("losetup").args(["--find", "--show", "--direct-io=on"]).arg(&image).output()?;
        if !output.status.success() {
            return Err(format!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        let device = String::from_utf8(output.stdout)?.trim().to_owned();
        let mut throttled = ThrottledDevice { device, group: PathBuf::new() };
        symlink(&throttled.device, file)?;
        throttled.group = limit(&throttled.device, operations_per_second)?;
        Ok(throttled)
    }

    /// The same program, held to the limit from its first operation on.
    pub fn inside(&self, program: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.group.join("cgroup.procs"));
        shell.arg(program.get_program()).args(program.get_args());
        shell
    }
}

/// A group for this device, in whichever hierarchy there is.
fn limit(device: &str, operations_per_second: u32) -> Result<PathBuf> {
    let number = fs::metadata(device)?.rdev();
    // As the kernel's `gnu_dev_major` and `gnu_dev_minor` for numbers of today's devices.
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    let name = format!("basalt-transition-{}", std::process::id());
    let version_1 = Path::new("/sys/fs/cgroup/blkio");
    if version_1.is_dir() {
        let group = version_1.join(name);
        fs::create_dir_all(&group)?;
        for direction in ["read", "write"] {
            let file = group.join(format!("blkio.throttle.{direction}_iops_device"));
            fs::write(file, format!("{major}:{minor} {operations_per_second}"))?;
        }
        return Ok(group);
    }
    let root = Path::new("/sys/fs/cgroup");
    fs::write(root.join("cgroup.subtree_control"), "+io")?;
    let group = root.join(name);
    fs::create_dir_all(&group)?;
    let line = format!("{major}:{minor} riops={operations_per_second} wiops={operations_per_second}");
    fs::write(group.join("io.max"), line)?;
    Ok(group)
}

impl Drop for ThrottledDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
        let _ = fs::remove_dir(&self.group);
    }
}
