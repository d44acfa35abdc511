//! Objects larger than a frame.

use super::*;
use basalt_client::limits::{PLAIN_BYTES_MAX, STRIPE_UNIT};
use basalt_client::{Result, errno_name, striped};
use basalt_ring::Buffer;
use striped::{FromReader, Source};

fn content(seed: u8, len: u64) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ (at >> 20) as u8 ^ seed).collect()
}

async fn get(pool: &Pool, name: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    let size = striped::get(pool, name, |bytes| {
        whole.extend(bytes);
        Ok(())
    })
    .await?;
    assert_eq!(size, whole.len() as u64);
    Ok(whole)
}

fn all_names(cluster: &Cluster) -> Vec<Vec<u8>> {
    cluster.osds.iter().flat_map(|osd| osd.names()).collect()
}

#[test]
fn every_size_is_stored_and_comes_back() {
    let stage = stage(1);
    let cluster = stage.cluster.clone();
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        let sizes = [
            0,
            1,
            STRIPE_UNIT,
            PLAIN_BYTES_MAX - 1,
            PLAIN_BYTES_MAX,
            PLAIN_BYTES_MAX + 1,
            3 * STRIPE_UNIT,
            5 * STRIPE_UNIT + 77,
        ];
        // Each replaces the one before: small by large, large by small, large by large.
        for (seed, size) in (0u8..).zip(sizes.iter().chain(sizes.iter().rev())) {
            let whole = content(seed, *size);
            assert_eq!(striped::put(&pool, b"file", FromReader(&whole[..])).await.unwrap(), *size);
            assert!(get(&pool, b"file").await.unwrap() == whole, "{size} bytes");
            assert_eq!(striped::stat(&pool, b"file").await.unwrap().size, *size);
            assert_eq!(pool.list(b"").next_page(100).await.unwrap(), [b"file"]);
            let pieces = if *size > PLAIN_BYTES_MAX { size.div_ceil(STRIPE_UNIT) } else { 0 };
            assert_eq!(all_names(&cluster).len() as u64, 1 + pieces, "no pieces of earlier generations are left");
        }
        striped::put(&pool, b"file", FromReader(&content(1, 3 * STRIPE_UNIT)[..])).await.unwrap();
        assert_eq!(pool.list(b"").with_pieces().next_page(100).await.unwrap().len(), 4);
        striped::remove(&pool, b"file").await.unwrap();
        assert!(all_names(&cluster).is_empty());
        assert_eq!(errno_name(errno(striped::remove(&pool, b"file").await)), "ENOENT");
        assert_eq!(errno_name(errno(get(&pool, b"file").await)), "ENOENT");
    });
}

/// Brings some bytes, then an error or nothing for ever.
struct Failing {
    left: u64,
    hangs: bool,
    ring: Ring,
}

impl Source for Failing {
    async fn fill(&mut self, mut buffer: Buffer) -> Result<Buffer> {
        if self.left == 0 {
            if self.hangs {
                self.ring.sleep(Duration::from_secs(1 << 30)).await;
            }
            return Err(Error::new(5, "the pipe broke"));
        }
        self.left -= buffer.len() as u64;
        buffer.fill(9);
        Ok(buffer)
    }
}

#[test]
fn a_put_that_fails_leaves_what_was_there_before() {
    let stage = stage(2);
    let cluster = stage.cluster.clone();
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        for before in [content(1, 100), content(2, 4 * STRIPE_UNIT)] {
            striped::put(&pool, b"file", FromReader(&before[..])).await.unwrap();
            let objects = all_names(&cluster).len();
            let source = Failing { left: 5 * STRIPE_UNIT, hangs: false, ring: ring.clone() };
            let error = striped::put(&pool, b"file", source).await.unwrap_err();
            assert_eq!(error.message(), "the pipe broke");
            assert!(get(&pool, b"file").await.unwrap() == before);
            assert_eq!(all_names(&cluster).len(), objects, "its pieces are cleared away");
        }
    });
}

#[test]
fn a_put_that_is_killed_leaves_what_was_there_before() {
    let stage = stage(3);
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        let before = content(1, 4 * STRIPE_UNIT);
        striped::put(&pool, b"file", FromReader(&before[..])).await.unwrap();
        for name in [&b"file"[..], b"new"] {
            let put = {
                let source = Failing { left: 5 * STRIPE_UNIT, hangs: true, ring: ring.clone() };
                let (pool, name) = (pool.clone(), name.to_vec());
                ring.spawn(async move { striped::put(&pool, &name, source).await })
            };
            ring.sleep(20 * SECOND).await;
            put.abort();
        }
        assert!(get(&pool, b"file").await.unwrap() == before);
        assert_eq!(errno_name(errno(striped::stat(&pool, b"new").await)), "ENOENT");
        assert_eq!(pool.list(b"").next_page(100).await.unwrap(), [b"file"]);
    });
}

#[test]
fn a_plain_object_grows_and_shrinks_and_a_striped_one_says_why_not() {
    let stage = stage(4);
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        striped::append(&pool, b"log", slice(&ring, b"one")).await.unwrap();
        striped::append(&pool, b"log", slice(&ring, b"two")).await.unwrap();
        striped::truncate(&pool, b"log", 4).await.unwrap();
        assert_eq!(get(&pool, b"log").await.unwrap(), b"onet");
        let whole = content(1, 4 * STRIPE_UNIT);
        striped::put(&pool, b"log", FromReader(&whole[..])).await.unwrap();
        assert_eq!(errno_name(errno(striped::append(&pool, b"log", slice(&ring, b"x")).await)), "EOPNOTSUPP");
        assert_eq!(errno_name(errno(striped::truncate(&pool, b"log", 1).await)), "EOPNOTSUPP");
        assert!(get(&pool, b"log").await.unwrap() == whole);
    });
}

/// Two at a time, with readers: whoever wins, the object is one of the two wholes, and no piece is left over.
#[test]
fn puts_of_one_name_at_the_same_time_leave_one_whole() {
    for seed in 0..6 {
        let stage = stage(seed);
        let cluster = stage.cluster.clone();
        stage.run(|ring| async move {
            let pool = pool(&ring).await;
            let put = |seed: u8, size: u64| {
                let pool = pool.clone();
                ring.spawn(async move { striped::put(&pool, b"file", FromReader(&content(seed, size)[..])).await })
            };
            let sizes = [3 * STRIPE_UNIT, 4 * STRIPE_UNIT, 1000];
            let puts = [put(1, sizes[0]), put(2, sizes[1]), put(3, sizes[2])];
            loop {
                match get(&pool, b"file").await {
                    Ok(whole) => {
                        let is_one_of_them = (1u8..).zip(sizes).any(|(seed, size)| whole == content(seed, size));
                        assert!(is_one_of_them, "a mixture of {} bytes", whole.len());
                    }
                    Err(error) => assert!(matches!(error.name(), "ENOENT" | "ESTALE"), "{error}"),
                }
                if puts.iter().all(|put| put.is_finished()) {
                    break;
                }
            }
            for put in puts {
                put.await.unwrap();
            }
            let whole = get(&pool, b"file").await.unwrap();
            let pieces = if whole.len() as u64 > PLAIN_BYTES_MAX { whole.len() as u64 / STRIPE_UNIT } else { 0 };
            assert_eq!(all_names(&cluster).len() as u64, 1 + pieces);
        });
    }
}
