//! Jobs on the objects of a pool, served by a real OSD.

mod cluster;

use basalt_benches::{Report, parse_job_file, run, yardstick};
use cluster::Cluster;
use std::time::Duration;

fn bench(cluster: &Cluster, text: &str) -> Report {
    let jobs = parse_job_file("test", text).expect("valid");
    cluster.with_client(async move |ring, client| run(&ring, &jobs, Some(&client)).await.expect("it runs"))
}

#[test]
fn what_is_written_to_a_pool_is_read_back_the_same() {
    let cluster = Cluster::start("writeback");
    let text = "[global]\npool=data\nsize=12m\nobject_size=1m\nverify=crc32c\niodepth=16\n\
                [random]\nrw=randwrite\nnumjobs=2\n[large]\nrw=write\nbs=256k\nnrfiles=3\n[mixed]\nrw=randrw\nbs=16k\n";
    let report = bench(&cluster, text);
    assert_eq!(report.error(), None, "{}", report.text());
    let verified: Vec<u64> = report.jobs.iter().map(|job| job.verified).collect();
    assert_eq!(verified[..3], [3072, 3072, 48], "each block of each clone");
    assert!(verified[3] > 300);
    assert!(report.jobs.iter().all(|job| job.mismatches == 0));
}

#[test]
fn objects_that_are_missing_are_laid_out_and_found_again() {
    let cluster = Cluster::start("none");
    let text =
        "[r]\npool=data\nsize=6m\nfilesize=3m\nnrfiles=2\nobject_size=2m\nrw=randread\niodepth=8\nverify=crc32c\n";
    for _ in 0..2 {
        let report = bench(&cluster, text);
        assert_eq!(report.error(), None, "{}", report.text());
        assert_eq!((report.jobs[0].verified, report.jobs[0].mismatches), (1536, 0));
    }
    cluster.with_client(async |_, client| {
        let pool = client.pool("data").await.expect("the pool");
        let mut names = pool.list(b"bench.r.0.");
        let mut sizes = Vec::new();
        while let Some(name) = names.next().await.expect("a listing") {
            sizes.push(pool.stat(&name).await.expect("it is there").size >> 20);
        }
        assert_eq!(sizes, [2, 1, 2, 1], "two files of three MiB, in objects of two");
    });
}

#[test]
fn the_yardstick_compares_a_pool_with_its_disk() {
    let cluster = Cluster::start("writeback");
    let settings = yardstick::Settings {
        raw: yardstick::Yardstick::default_file(cluster.folder.path()),
        pool: Some("data".into()),
        daemon_pid: Some(std::process::id()),
        size: 8 << 20,
        runtime: Duration::from_millis(300),
    };
    let yardstick = cluster.with_client(async move |ring, client| {
        yardstick::measure(&ring, &settings, Some(&client)).await.expect("it measures")
    });
    println!("{}", yardstick.text());
    for case in &yardstick.cases {
        assert!(case.ratio().is_some_and(|ratio| ratio > 0.0), "{case:?}");
        let (microseconds, kernel) = case.daemon_cost(&yardstick.settings).expect("this process serves the pool");
        assert!(microseconds > 1.0 && (0.0..=1.0).contains(&kernel), "{case:?}");
    }
    assert_eq!(yardstick.json()["cases"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_pool_that_does_not_exist_is_named() {
    let cluster = Cluster::start("none");
    let jobs = parse_job_file("test", "[t]\npool=nowhere\nrw=write\nsize=1m\n").expect("valid");
    let error = cluster.with_client(async move |ring, client| {
        run(&ring, &jobs, Some(&client)).await.expect_err("there is no such pool")
    });
    assert!(error.message.contains("nowhere"), "{error}");
    assert_eq!(error.errno, 2);
}
