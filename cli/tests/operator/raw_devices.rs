//! Raw block devices: two loop devices, one as base and one as hot slice, each used as a disk would be.

use crate::dev_cluster::{files_below, noise};
use crate::loop_device::{LoopDevice, Mounted, raw_devices_are_here, tool};
use crate::site::{FSID, Site, basaltd, clean_fsck, configuration, write_configuration};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BASE_BYTES: u64 = 1 << 30;
const HOT_BYTES: u64 = 256 << 20;

struct Disks {
    // Ended before its devices are detached.
    site: Site,
    base: LoopDevice,
    hot: LoopDevice,
    dir: tempfile::TempDir,
}

/// Two disks and a store on them; the hot one has sectors of 4 KiB.
fn disks() -> Disks {
    let dir = tempfile::tempdir().unwrap();
    let base = LoopDevice::attach(dir.path().join("base"), BASE_BYTES, 512);
    let hot = LoopDevice::attach(dir.path().join("hot"), HOT_BYTES, 4096);
    let site = Site::make(&dir.path().join("site"), base.path(), Some(hot.path()));
    Disks { site, base, hot, dir }
}

fn write_tree(root: &Path) {
    for file in 0..60 {
        let folder = root.join(format!("{}", file % 5));
        fs::create_dir_all(&folder).unwrap();
        let size = if file == 7 { 9 << 20 } else { (file as usize * 7919) % 90_000 };
        fs::write(folder.join(format!("file {file}")), noise(file, size)).unwrap();
    }
}

#[test]
fn a_store_on_raw_disks_survives_stops_and_kills() {
    if !raw_devices_are_here() {
        return;
    }
    let Disks { mut site, base, hot, dir } = disks();
    site.start();
    site.must(&["osd", "pool", "create", "data"]);
    let (tree, back) = (dir.path().join("tree"), dir.path().join("back"));
    write_tree(&tree);
    let tree = tree.to_str().unwrap().to_owned();
    site.must(&["obj", "import", "data", &tree]);
    let large = noise(1, 20 << 20);
    site.put("large", &large);
    for way in ["stop", "kill", "kill"] {
        if way == "stop" {
            site.stop();
        } else {
            site.put("last", way.as_bytes());
            site.kill_osd();
            clean_fsck(base.path(), Some(hot.path()));
        }
        site.start();
        site.must(&["obj", "verify", "data", &tree]);
        site.assert_holds("large", &large);
    }
    site.assert_holds("last", b"kill");
    site.must(&["obj", "rm", "data", "large", "last"]);
    site.must(&["obj", "export", "data", back.to_str().unwrap()]);
    assert!(files_below(&back) == files_below(Path::new(&tree)), "the exported tree differs");
    site.stop();
    let report = clean_fsck(base.path(), Some(hot.path()));
    assert!(report["data_blocks_verified"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn what_the_kernel_says_of_a_disk_is_believed_and_logged() {
    if !raw_devices_are_here() {
        return;
    }
    let Disks { mut site, base, hot, dir: _dir } = disks();
    fs::write(hot.queue_attribute("write_cache"), "write through").unwrap();
    site.start();
    let log = site.log("osd");
    let started: Vec<&str> = log.lines().filter(|line| line.contains(" started ")).collect();
    let [line] = started[..] else { panic!("one line at the start:\n{log}") };
    let (base_words, hot_words) = line.split_once(" hot=").unwrap();
    for (words, device, size, sectors, cache) in [
        (base_words, base.path(), BASE_BYTES, 512, "write cache volatile"),
        (hot_words, hot.path(), HOT_BYTES, 4096, "write cache safe"),
    ] {
        for said in [device, &format!("{size} bytes in sectors of {sectors}"), cache] {
            assert!(words.contains(said), "no '{said}' in: {words}");
        }
    }
    site.must(&["osd", "pool", "create", "data"]);
    site.put("x", b"without flushes on the hot disk");
    site.stop();
    clean_fsck(base.path(), Some(hot.path()));
}

#[test]
fn a_disk_in_use_is_ebusy() {
    if !raw_devices_are_here() {
        return;
    }
    let Disks { mut site, base, hot, dir } = disks();
    site.start();
    site.must(&["osd", "pool", "create", "data"]);
    let config = site.config();
    let config = config.to_str().unwrap();
    for words in [
        &["osd", "--config", config][..],
        &["mkfs", "--config", config, "--osd", "0", "--force"],
        &["fsck", "--base", base.path(), "--hot", hot.path()],
    ] {
        let answer = basaltd(words);
        answer.assert_fails(16, "EBUSY");
        assert!(answer.stderr.contains(base.path()), "{}", answer.stderr);
    }
    assert!(site.is_serving());
    site.put("x", b"still served");
    site.assert_holds("x", b"still served");

    let other = LoopDevice::attach(dir.path().join("other"), 64 << 20, 512);
    tool("mkfs.ext4", &["-q", "-F", other.path()]);
    let _mounted = Mounted::new(&[other.path()], &dir.path().join("mounted"));
    let config = write_configuration(&dir.path().join("over"), &configuration(FSID, 0, other.path(), None));
    let answer = basaltd(&["mkfs", "--config", config.to_str().unwrap(), "--osd", "0", "--force"]);
    answer.assert_fails(16, "EBUSY");
    assert!(answer.stderr.contains("unmount"), "{}", answer.stderr);
}

#[test]
fn a_disk_that_holds_something_is_made_a_store_only_by_force() {
    if !raw_devices_are_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = LoopDevice::attach(dir.path().join("disk"), 128 << 20, 512);
    let config = write_configuration(&dir.path().join("site"), &configuration(FSID, 0, disk.path(), None));
    let mkfs =
        |words: &[&str]| basaltd(&[&["mkfs", "--config", config.to_str().unwrap(), "--osd", "0"], words].concat());
    let partition = |label: &str| {
        let table = dir.path().join("table");
        fs::write(&table, format!("label: {label}\n,32M\n,\n")).unwrap();
        tool("sh", &["-c", &format!("sfdisk --quiet --wipe always {} < {}", disk.path(), table.display())]);
    };
    let ext4 = || drop(tool("mkfs.ext4", &["-q", "-F", disk.path()]));
    let gpt = || partition("gpt");
    let mbr = || partition("dos");
    let holders: [(&str, &dyn Fn()); 4] =
        [("ext4", &ext4), ("GPT partition table", &gpt), ("partition table", &mbr), ("Basalt store", &|| ())];
    for (what, fill) in holders {
        if what != "Basalt store" {
            disk.wipe();
        }
        fill();
        let refused = mkfs(&[]);
        refused.assert_fails(22, "EINVAL");
        assert!(refused.stderr.contains(what) && refused.stderr.contains("--force"), "{what}: {}", refused.stderr);
        let forced = mkfs(&["--force"]);
        assert_eq!(forced.status, 0, "{what}: {}", forced.stderr);
        clean_fsck(disk.path(), None);
        // Neither does anything else take the disk for what it was.
        let probed = Command::new("blkid").args(["--probe", disk.path()]).output().unwrap();
        assert!(probed.stdout.is_empty(), "{what}: {}", String::from_utf8_lossy(&probed.stdout));
    }
}

#[test]
fn removed_objects_are_discarded_on_disk() {
    if !raw_devices_are_here() {
        return;
    }
    let Disks { mut site, base, hot, dir: _dir } = disks();
    site.start();
    site.must(&["osd", "pool", "create", "data"]);
    let empty = (base.allocated_bytes(), hot.allocated_bytes());
    site.put("large", &noise(3, 48 << 20));
    for index in 0..12 {
        site.put(&format!("small {index}"), &noise(index, 1 << 20));
    }
    let written = (base.allocated_bytes(), hot.allocated_bytes());
    assert!(written.0 + written.1 >= empty.0 + empty.1 + (60 << 20), "{empty:?} {written:?}");
    site.must(&["osd", "tier", "drain", "data", "--timeout", "60s"]);
    site.must(&["obj", "rm", "data", "large"]);
    for index in 0..12 {
        site.must(&["obj", "rm", "data", &format!("small {index}")]);
    }
    // Extents are freed behind the removal, and discarded at the checkpoint after: a clean stop makes one.
    let begun = Instant::now();
    loop {
        site.stop();
        let left = (base.allocated_bytes().saturating_sub(empty.0), hot.allocated_bytes().saturating_sub(empty.1));
        // The log stays where it was written; and neither the index nor a run too short to be worth a discard goes.
        if left.0 < 4 << 20 && left.1 < 20 << 20 {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{left:?} bytes are still allocated; written were {written:?}"
        );
        site.start();
    }
    clean_fsck(base.path(), Some(hot.path()));
}
