//! Sessions break before a request was carried out, after it, and between its answer's bytes; the client resends, and the OSD knows the request
//! by its id.

use super::*;

const TASKS: u32 = 8;
const EACH: u32 = 25;

/// Appends from several tasks at once through many cuts; returns what the object then holds.
fn append_through_cuts(seed: u64, forgetful: bool) -> (Vec<u8>, u64, u64) {
    let stage = stage(seed);
    for osd in &stage.cluster.osds {
        osd.faults.cut_one_of.set(9);
        osd.faults.forgetful.set(forgetful);
    }
    stage.run(|ring| async move {
        let pool = pool_with(&ring, ClientConfig { operation_timeout: 300 * SECOND, ..config() }).await;
        let tasks = (0..TASKS).map(|task| {
            let (pool, ring) = (pool.clone(), ring.clone());
            ring.clone().spawn(async move {
                for count in 0..EACH {
                    pool.append(b"log", slice(&ring, &record(task, count))).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await;
        }
    });
    let sum = |figure: fn(&osd::Osd) -> u64| stage.cluster.osds.iter().map(|osd| figure(osd)).sum();
    let content = stage.cluster.osds.iter().find_map(|osd| osd.content(1, b"log")).unwrap();
    (content, sum(|osd| osd.figures.sessions_cut.get()), sum(|osd| osd.figures.repeated.get()))
}

fn record(task: u32, count: u32) -> [u8; 8] {
    let mut record = [0; 8];
    record[..4].copy_from_slice(&task.to_be_bytes());
    record[4..].copy_from_slice(&count.to_be_bytes());
    record
}

#[test]
fn an_append_retried_through_cuts_is_applied_exactly_once() {
    let mut repeated_in_all = 0;
    for seed in 0..10 {
        let (content, cuts, repeated) = append_through_cuts(seed, false);
        let mut next = [0; TASKS as usize];
        for seen in content.chunks(8) {
            let task = u32::from_be_bytes(seen[..4].try_into().unwrap());
            let next = &mut next[task as usize];
            assert_eq!(
                seen,
                record(task, *next),
                "seed {seed}: each task's records in order, none twice, none missing"
            );
            *next += 1;
        }
        assert_eq!(next, [EACH; TASKS as usize], "seed {seed}");
        assert!(cuts > 0, "seed {seed}: nothing was cut");
        repeated_in_all += repeated;
    }
    assert!(repeated_in_all > 0, "no request was ever carried out and then resent: the test proves nothing");
}

/// The other way round: these cuts do bite an OSD that does not know its requests.
#[test]
fn an_osd_without_duplicate_detection_would_apply_some_twice() {
    let twice = |seed| append_through_cuts(seed, true).0.len() > (TASKS * EACH * 8) as usize;
    assert!((0..10).any(twice));
}

/// A copy that was given up may be refused where the latest one is applied.
#[test]
fn an_answer_to_an_older_copy_is_not_heard() {
    let stage = stage(1);
    stage.cluster.osds.iter().for_each(|osd| osd.faults.stray.set(10));
    stage.run(|ring| async move {
        let pool = pool_with(&ring, config()).await;
        for count in 0..5 {
            pool.append(b"log", slice(&ring, &record(0, count))).await.expect("the answer to the latest copy");
        }
    });
    let left: u32 = stage.cluster.osds.iter().map(|osd| osd.faults.stray.get()).sum();
    assert!(left < 10 * stage.cluster.osds.len() as u32, "no older copy was answered: the test proves nothing");
}
