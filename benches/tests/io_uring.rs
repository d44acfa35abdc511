//! The same engine on the kernel: a temporary file through io_uring.

use basalt_benches::{Progress, TargetError, parse_job_file, run, run_on_threads, yardstick};
use basalt_client::Client;
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

/// No cluster is needed.
async fn no_client(_ring: basalt_ring::Ring) -> Result<Option<Client>, TargetError> {
    Ok(None)
}

#[test]
fn clones_on_several_threads_do_what_they_do_on_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name).display().to_string();
    // Each pair of clones first makes its file, then reads what both wrote; the second group must find it whole.
    let text = format!(
        "[global]\nsize=8m\nbs=64k\niodepth=4\nnumjobs=3\n[w]\nrw=write\nfilename={a}\n[v]\nrw=write\nfilename={b}\n\
         [r]\nrw=randread\nfilename={a}\nstonewall\n",
        a = file("a"),
        b = file("b")
    );
    let jobs = parse_job_file("test", &text).expect("valid");
    let report =
        run_on_threads(&config(), &jobs, no_client, |_| ()).expect("io_uring works here").expect("the jobs run");
    assert_eq!(report.error(), None);
    let order: Vec<_> = report.jobs.iter().map(|job| (job.group, job.job.name.as_str())).collect();
    assert_eq!(order, [(0, "w"); 3].into_iter().chain([(0, "v"); 3]).chain([(1, "r"); 3]).collect::<Vec<_>>());
    for job in &report.jobs {
        assert_eq!(job.read.bytes + job.write.bytes, 8 << 20, "{}", job.job.name);
    }
    assert_eq!((report.groups.len(), report.groups[0].clones, report.groups[1].clones), (2, 6, 3));
}

#[test]
fn a_thread_that_cannot_go_on_ends_the_run_with_its_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("missing").join("file");
    let text = format!("[t]\nrw=write\nsize=1m\nnumjobs=4\n[bad]\nrw=write\nsize=1m\nfilename={}\n", path.display());
    let text =
        text.replace("numjobs=4\n", &format!("numjobs=4\nfilename={}\n", directory.path().join("good").display()));
    let jobs = parse_job_file("test", &text).expect("valid");
    let outcome = run_on_threads(&config(), &jobs, no_client, |_| ()).expect("io_uring works here");
    let error = outcome.expect_err("there is no such directory");
    assert!(error.errno == 2 && error.message.contains("missing"), "{error:?}");
}

#[test]
fn a_null_job_costs_nothing_but_the_bench_and_is_watched() {
    let jobs = parse_job_file(
        "test",
        "[t]\nioengine=null\nfilename=/nowhere\nrw=randrw\niodepth=32\nsize=64m\nruntime=2\ntime_based\n",
    )
    .expect("valid");
    let mut seen: Vec<Progress> = Vec::new();
    let report =
        run_on_threads(&config(), &jobs, no_client, |progress| seen.push(progress)).expect("io_uring works here");
    let report = report.expect("it runs");
    assert_eq!(report.error(), None);
    let job = &report.jobs[0];
    assert!(job.read.operations() > 10_000 && job.write.operations() > 10_000, "{job:?}");
    assert!(seen.iter().any(|progress| progress.reads_per_second > 0.0 && progress.bytes_per_second > 0.0), "{seen:?}");
    let refused =
        parse_job_file("test", "[t]\nioengine=null\nrw=write\nverify=crc32c\n").expect_err("nothing to verify");
    assert!(refused.to_string().contains("ioengine=null"), "{refused}");
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
