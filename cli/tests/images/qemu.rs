//! qemu-img and qemu-io.

use crate::server::{Served, disk, must, ran};

#[test]
fn qemu_converts_a_disk_in_and_finds_it_equal_and_converts_it_out_again() {
    let served = Served::start();
    let file = served.cluster.scratch("disk.raw");
    let bytes = disk(1);
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();
    served.create("data/disk", &bytes.len().to_string());
    let uri = served.uri("data/disk");
    must("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "8", file, &uri]);
    must("qemu-img", &["compare", "-f", "raw", "-F", "raw", file, &uri]);
    assert!(served.content("data/disk") == bytes, "what is exported is what qemu wrote");
    let qcow = served.cluster.scratch("disk.qcow2");
    must("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &uri, qcow.to_str().unwrap()]);
    must("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", file, qcow.to_str().unwrap()]);
    // A difference is seen.
    must("qemu-io", &["-f", "raw", "-c", "write -P 1 9000000 1", &uri]);
    assert_eq!(ran("qemu-img", &["compare", "-f", "raw", "-F", "raw", file, &uri]).status.code(), Some(1));
}

#[test]
fn qemu_io_reads_what_it_wrote_zeroed_and_discarded() {
    let served = Served::start();
    served.create("data/disk", "64M");
    let uri = served.uri("data/disk");
    let io = |commands: &[&str]| {
        let words: Vec<&str> = ["-f", "raw"]
            .into_iter()
            .chain(commands.iter().flat_map(|word| ["-c", word]))
            .chain([uri.as_str()])
            .collect();
        let said = must("qemu-io", &words);
        assert!(!said.contains("verification failed") && !said.contains("rror"), "{said}");
        said
    };
    io(&[
        "write -P 0x5a 4194000 9000",
        "read -P 0x5a 4194000 9000",
        "write -z 4194300 100",
        "read -P 0x5a 4194000 300",
        "read -P 0 4194300 100",
        "read -P 0x5a 4194400 8600",
        "write -f -P 7 12M 8M",
        "discard 12M 4M",
        "read -P 0 12M 4M",
        "read -P 7 16M 4M",
        "write -z -u 16M 2M",
        "read -P 0 16M 2M",
        "read -P 7 18M 2M",
        "flush",
        "aio_write -P 1 32M 1M",
        "aio_write -P 2 40M 1M",
        "aio_flush",
        "read -P 1 32M 1M",
        "read -P 2 40M 1M",
    ]);
    let beyond = ran("qemu-io", &["-f", "raw", "-c", "write 64M 4k", &uri]);
    assert!(String::from_utf8_lossy(&beyond.stdout).contains("failed") || !beyond.status.success());
}

#[test]
fn a_snapshot_is_served_for_reading_only() {
    let served = Served::start();
    served.create("data/disk", "32M");
    let uri = served.uri("data/disk");
    must("qemu-io", &["-f", "raw", "-c", "write -P 1 0 8M", &uri]);
    served.cluster.must(&["image", "snap", "create", "data/disk@one"]);
    must("qemu-io", &["-f", "raw", "-c", "write -P 2 1M 2M", &uri]);
    let snapshot = served.uri("data/disk@one");
    let said = must("qemu-io", &["-r", "-f", "raw", "-c", "read -P 1 0 8M", &snapshot]);
    assert!(!said.contains("verification failed"), "{said}");
    let refused = ran("qemu-io", &["-f", "raw", "-c", "write 0 4k", &snapshot]);
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    let gone = ran("qemu-io", &["-r", "-f", "raw", "-c", "read 0 4k", &served.uri("data/disk@two")]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no snapshot"), "{}", String::from_utf8_lossy(&gone.stderr));
}
