//! ext4 on an image, through nbdfuse and a loop device: filled, snapshotted while in use, cloned, checked.
//!
//! Needs root, FUSE and loop devices. Where they are missing, this says so and tests nothing.

use crate::dev_cluster::{files_below, noise};
use crate::loop_device::{raw_devices_are_here, tool};
use crate::server::Served;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An export as a file, as long as this lives.
struct Fuse {
    folder: PathBuf,
    child: Child,
}

impl Fuse {
    fn mount(served: &Served, export: &str, name: &str) -> Fuse {
        let folder = served.cluster.scratch(name);
        fs::create_dir(&folder).unwrap();
        let mut command = Command::new("nbdfuse");
        if export.contains('@') {
            command.arg("--readonly");
        }
        let child = command.arg(&folder).arg(served.uri(export)).stdin(Stdio::null()).spawn().unwrap();
        let fuse = Fuse { folder, child };
        let begun = Instant::now();
        while !fuse.file().exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nbdfuse does not mount {export}");
            std::thread::sleep(Duration::from_millis(50));
        }
        fuse
    }

    fn file(&self) -> PathBuf {
        self.folder.join("nbd")
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.folder).status().is_ok_and(|status| status.success());
        if !unmounted {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A filesystem in a file, mounted through a loop device.
struct Mounted(PathBuf);

impl Mounted {
    fn new(file: &Path, at: PathBuf, options: &str) -> Mounted {
        fs::create_dir_all(&at).unwrap();
        tool("mount", &["-o", &format!("loop,{options}"), file.to_str().unwrap(), at.to_str().unwrap()]);
        Mounted(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn is_possible() -> bool {
    if !raw_devices_are_here() {
        return false;
    }
    let has_fuse = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    if !has_fuse {
        eprintln!("SKIPPED: no FUSE in this kernel or container; filesystems on images are not tested");
    }
    has_fuse
}

#[test]
fn a_filesystem_on_an_image_is_clean_and_its_snapshot_taken_in_use_is_too() {
    if !is_possible() {
        return;
    }
    let served = Served::start();
    let cluster = &served.cluster;
    served.create("data/disk", "256M");
    let disk = Fuse::mount(&served, "data/disk", "fuse");
    tool("mkfs.ext4", &["-q", "-F", disk.file().to_str().unwrap()]);
    let mounted = Mounted::new(&disk.file(), cluster.scratch("mnt"), "rw");
    let write = |folder: &str, count: u64| {
        let folder = mounted.0.join(folder);
        fs::create_dir(&folder).unwrap();
        for index in 0..count {
            fs::write(folder.join(format!("file.{index}")), noise(index, 1000 + 5000 * index as usize)).unwrap();
        }
    };
    write("before", 100);
    tool("sync", &["-f", mounted.0.to_str().unwrap()]);
    let before = files_below(&mounted.0);
    // Taken in the middle of things, as a power cut would be.
    std::thread::scope(|scope| {
        scope.spawn(|| write("meanwhile", 60));
        std::thread::sleep(Duration::from_millis(200));
        cluster.must(&["image", "snap", "create", "data/disk@live"]);
    });
    tool("rm", &["-rf", mounted.0.join("before").to_str().unwrap()]);
    write("after", 20);
    let after = files_below(&mounted.0);
    drop(mounted);
    tool("e2fsck", &["-f", "-n", disk.file().to_str().unwrap()]);
    drop(disk);

    cluster.must(&["image", "snap", "protect", "data/disk@live"]);
    cluster.must(&["image", "clone", "data/disk@live", "data/clone"]);
    let clone = Fuse::mount(&served, "data/clone", "fuse.clone");
    let mounted = Mounted::new(&clone.file(), cluster.scratch("mnt.clone"), "rw");
    let seen = files_below(&mounted.0);
    for (path, bytes) in &before {
        assert!(seen.get(path) == Some(bytes), "{} was synced before the snapshot", path.display());
    }
    assert!(!seen.keys().any(|path| path.starts_with("after")));
    fs::write(mounted.0.join("mine"), b"a clone is written to").unwrap();
    drop(mounted);
    tool("e2fsck", &["-f", "-n", clone.file().to_str().unwrap()]);
    drop(clone);

    // The image has seen nothing of all that.
    let disk = Fuse::mount(&served, "data/disk", "fuse.again");
    let mounted = Mounted::new(&disk.file(), cluster.scratch("mnt.again"), "rw");
    assert!(files_below(&mounted.0) == after);
    drop(mounted);
}
