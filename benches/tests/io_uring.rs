//! The same engine on the kernel: a temporary file through io_uring.

use basalt_benches::{parse_job_file, run, yardstick};
use basalt_ring::uring;
use std::time::{Duration, Instant};

fn config() -> uring::UringConfig {
    uring::UringConfig { registered_bytes: 4 << 20, ..uring::UringConfig::default() }
}

#[test]
fn a_file_is_written_read_back_and_measured() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data");
    let text = format!(
        "[global]\nfilename={}\nsize=8m\nverify=crc32c\n[w]\nrw=randwrite\nbssplit=4k/50:64k/50\niodepth=16\n\
         [r]\nrw=randread\nbs=4k\niodepth=16\ntime_based\nruntime=300ms\nverify=0\nstonewall\n",
        path.display()
    );
    let jobs = parse_job_file("test", &text).expect("valid");
    let began = Instant::now();
    let report = uring::run(config(), async move |ring| run(&ring, &jobs, None).await)
        .expect("io_uring works here")
        .expect("the jobs run");
    assert_eq!(report.error(), None);
    let (write, read) = (&report.jobs[0], &report.jobs[1]);
    assert!(write.verified > 100 && write.mismatches == 0);
    assert!(write.write.bytes > 7 << 20);
    assert!(read.read.operations() > 100);
    assert!(read.read.runtime >= Duration::from_millis(300));
    assert!(began.elapsed() >= read.elapsed, "virtual figures of real time");
    assert_eq!(std::fs::metadata(&path).expect("a file").len(), 8 << 20);
}

#[test]
fn the_yardstick_measures_every_case_and_a_round_trip() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = yardstick::Settings {
        raw: yardstick::Yardstick::default_file(directory.path()),
        pool: None,
        daemon_pid: None,
        size: 8 << 20,
        runtime: Duration::from_millis(200),
    };
    let yardstick = uring::run(config(), async move |ring| yardstick::measure(&ring, &settings, None).await)
        .expect("io_uring works here")
        .expect("it measures");
    println!("{}", yardstick.text());
    assert_eq!(yardstick.cases.len(), 4);
    assert!(yardstick.round_trip.mean() > 1000.0);
    for case in &yardstick.cases {
        assert!(case.raw.iops() > 0.0 && case.limit_iops > 0.0 && case.limit_iops <= case.raw.iops(), "{case:?}");
        assert_eq!(case.ratio(), None, "there is no pool");
    }
}
