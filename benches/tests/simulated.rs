//! The engine on simulated disks: virtual time, so that what is claimed of times is exact.

use basalt_benches::{Job, JobError, Report, TargetName, parse_job_file, run, yardstick};
use basalt_ring::sim::{Disk, World};
use basalt_ring::{DeviceInfo, DeviceKind};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const EILSEQ: i32 = 84;

fn world() -> (World, basalt_ring::Ring, Disk) {
    let world = World::new(7);
    let info = DeviceInfo {
        kind: DeviceKind::Block,
        size: 64 * MIB,
        sector_size: 4096,
        rotational: false,
        volatile_cache: true,
        discard: false,
    };
    let disk = world.add_disk("/sim/disk", info);
    let ring = world.process("bench", [10, 0, 0, 1].into()).ring();
    (world, ring, disk)
}

fn jobs(options: &str) -> Result<Vec<Job>, JobError> {
    let options = options.replace(' ', "\n");
    parse_job_file("test", &format!("[t]\nfilename=/sim/disk\nsize=4m\n{options}\n"))
}

fn bench(options: &str) -> Report {
    let (world, ring, _disk) = world();
    let jobs = jobs(options).expect("valid");
    world.block_on(async { run(&ring, &jobs, None).await }).expect("runs")
}

#[test]
fn a_job_does_its_size_and_no_more() {
    for (rw, reads, writes) in [("read", 1024, 0), ("randwrite", 0, 1024), ("write", 0, 1024)] {
        let report = bench(&format!("rw={rw} iodepth=8"));
        assert_eq!(report.error(), None);
        let job = &report.jobs[0];
        assert_eq!((job.read.operations(), job.write.operations()), (reads, writes), "{rw}");
        assert_eq!(job.read.bytes + job.write.bytes, 4 * MIB);
        assert!(job.write.iops() + job.read.iops() > 0.0);
    }
}

#[test]
fn a_time_based_job_ends_on_time_and_its_ramp_is_not_counted() {
    let report = bench("rw=randread iodepth=4 time_based runtime=2 ramp_time=500ms");
    let job = &report.jobs[0];
    let late = job.elapsed.checked_sub(Duration::from_millis(2500)).expect("not before its time");
    assert!(late < Duration::from_millis(20), "{late:?} late");
    let runtime = job.read.runtime.as_secs_f64();
    assert!((2.0..2.02).contains(&runtime), "{runtime}");
    assert!(job.read.operations() > 1024, "it went over its region more than once");
    let by_latency = 4.0 / (job.read.lat.mean() / 1e9);
    assert!((job.read.iops() / by_latency - 1.0).abs() < 0.02, "{} and {by_latency} (Little's law)", job.read.iops());
}

#[test]
fn more_depth_and_more_clones_do_more_at_once() {
    let iops = |options: &str| {
        let report = bench(&format!("rw=randread time_based runtime=1 group_reporting {options}"));
        assert_eq!(report.jobs.len(), 1);
        report.jobs[0].read.iops()
    };
    let one = iops("iodepth=1");
    assert!(iops("iodepth=4") > 3.0 * one);
    assert!(iops("iodepth=1 numjobs=4") > 3.0 * one);
}

#[test]
fn a_rate_is_kept_whatever_the_depth() {
    for depth in [1, 16] {
        let report = bench(&format!("rw=randwrite iodepth={depth} time_based runtime=3 rate_iops=200"));
        let iops = report.jobs[0].write.iops();
        assert!((195.0..=203.0).contains(&iops), "{iops} where 200 is asked for");
    }
}

#[test]
fn verify_finds_nothing_where_nothing_is_wrong() {
    for options in [
        "rw=randwrite iodepth=16",
        "rw=write iodepth=16 bs=16k",
        "rw=randwrite iodepth=16 bssplit=4k/40:16k/30:8k/30 norandommap",
        "rw=randwrite iodepth=16 time_based runtime=1 random_distribution=zipf:1.2",
        "rw=randrw iodepth=8",
    ] {
        let report = bench(&format!("{options} verify=crc32c"));
        assert_eq!(report.error(), None, "{options}");
        assert!(report.jobs[0].verified > 100, "{options}: {}", report.jobs[0].verified);
    }
}

#[test]
fn verify_finds_a_flipped_byte_and_a_stale_block() {
    let (world, ring, disk) = world();
    let write = jobs("rw=randwrite iodepth=8 verify=crc32c").expect("valid");
    let report = world.block_on(async { run(&ring, &write, None).await }).expect("runs");
    assert_eq!(report.error(), None);
    let written = disk.image();

    let read = jobs("rw=read iodepth=8 verify=crc32c").expect("valid");
    let report = world.block_on(async { run(&ring, &read, None).await }).expect("runs");
    assert_eq!((report.error(), report.jobs[0].verified), (None, 1024));

    disk.flip(5 * 4096 + 1234, 0x10);
    let report = world.block_on(async { run(&ring, &read, None).await }).expect("runs");
    assert_eq!(report.jobs[0].mismatches, 1);
    assert_eq!(report.error().map(|error| error.errno), Some(EILSEQ));
    assert!(report.jobs[0].mismatches_described[0].starts_with("at offset 20480: its crc32c is"), "{report:?}");
    assert_eq!(report.json()["jobs"][0]["verify"]["mismatches"], 1);

    let mut misplaced = written;
    misplaced.copy_within(0..4096, 8192);
    disk.set_image(&misplaced);
    let report = world.block_on(async { run(&ring, &read, None).await }).expect("runs");
    assert!(report.jobs[0].mismatches_described[0].contains("belongs to offset 0"), "{report:?}");
}

#[test]
fn lost_writes_are_found_by_the_job_that_made_them() {
    let (world, ring, disk) = world();
    let write = jobs("rw=randwrite verify=crc32c").expect("valid");
    disk.misdirect_next_write(32 * 4096 * 1024);
    let report = world.block_on(async { run(&ring, &write, None).await }).expect("runs");
    assert_eq!(report.jobs[0].mismatches, 1, "{:?}", report.jobs[0].mismatches_described);
}

#[test]
fn a_failing_device_ends_the_job_with_its_errno() {
    let (world, ring, disk) = world();
    disk.fail_range(MIB, 4096, 5);
    let write = jobs("rw=write iodepth=4").expect("valid");
    let report = world.block_on(async { run(&ring, &write, None).await }).expect("runs");
    let error = report.error().expect("an error");
    assert_eq!(error.errno, 5);
    assert!(error.message.contains("writing 4096 bytes at 1048576"), "{error}");
    assert!(report.jobs[0].write.operations() < 300);
    assert_eq!(report.json()["jobs"][0]["error"], 5);
}

#[test]
fn a_missing_file_is_laid_out_before_it_is_read() {
    let (world, ring, _disk) = world();
    let text = "[t]\nfilename=/sim/new\nsize=4m\nrw=randread\nverify=crc32c\n";
    let jobs = parse_job_file("test", text).expect("valid");
    let report = world.block_on(async { run(&ring, &jobs, None).await }).expect("runs");
    assert_eq!((report.error(), report.jobs[0].verified, report.jobs[0].write.operations()), (None, 1024, 0));
}

#[test]
fn a_job_greater_than_its_device_is_refused() {
    let (world, ring, _disk) = world();
    let jobs = jobs("rw=read size=128m").expect("valid");
    let error = world.block_on(async { run(&ring, &jobs, None).await }).expect_err("too great");
    assert!(error.message.contains("needs 134217728"), "{error}");
    assert_eq!(error.errno, 28);
}

#[test]
fn a_stonewall_waits_for_what_is_before_it() {
    let (world, ring, _disk) = world();
    let text = "[global]\nfilename=/sim/disk\nsize=1m\n[a]\nrw=write\n[b]\nrw=read\n[c]\nrw=read\nstonewall\n";
    let jobs = parse_job_file("test", text).expect("valid");
    let report = world.block_on(async { run(&ring, &jobs, None).await }).expect("runs");
    let groups: Vec<usize> = report.jobs.iter().map(|job| job.group).collect();
    assert_eq!(groups, [0, 0, 1]);
    assert_eq!(report.groups.len(), 2);
}

#[test]
fn reports_have_the_shape_of_fios() {
    let report = bench("rw=randrw iodepth=4");
    let json = report.json();
    for direction in ["read", "write"] {
        let figures = &json["jobs"][0][direction];
        for key in ["iops", "bw_bytes", "total_ios", "io_bytes"] {
            assert!(figures[key].as_f64().is_some_and(|value| value > 0.0), "{direction}.{key}: {figures}");
        }
        assert!(figures["lat_ns"]["mean"].as_f64().is_some_and(|mean| mean > 0.0));
        assert!(figures["clat_ns"]["percentile"]["99.000000"].as_u64().is_some_and(|value| value > 0));
    }
    let text = report.text();
    for part in [
        "t: (g=0): rw=randrw, bs=(R) 4096B-4096B",
        "err= 0",
        "  read: IOPS=",
        "clat percentiles (",
        " 99.00th=[",
        "issued rwts: total=",
        "Run status group 0",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn a_round_trip_takes_what_the_network_takes() {
    let world = World::new(3);
    let server = world.process("server", [10, 0, 0, 1].into()).ring();
    let client = world.process("client", [10, 0, 0, 2].into()).ring();
    let address = "10.0.0.1:7000".parse().expect("an address");
    server.clone().spawn(async move {
        let listener = server.listen(address).await.expect("listens");
        yardstick::echo(&server, &listener).await;
    });
    let latency = world.block_on(async {
        client.sleep(Duration::from_millis(1)).await;
        yardstick::round_trips(&client, address, 100).await.expect("answers")
    });
    assert_eq!(latency.count(), 100);
    assert!(latency.mean() > 1000.0);
}

#[test]
fn the_target_names_itself_when_it_needs_a_cluster() {
    let (world, ring, _disk) = world();
    let job = Job::new("t", TargetName::Pool("data".into()));
    let error = world.block_on(async { run(&ring, &[job], None).await }).expect_err("no cluster");
    assert!(error.message.contains("pool 'data'"), "{error}");
}
