//! Giving back the space of what nobody will ask for any more: of what was replaced or deleted, of uploads that died, of removed buckets.

use super::Store;
use super::bucket::{Bucket, DEAD, Dead, shards};
use super::decode;
use super::entry::Run;
use super::index::{Change, Garbage, Intent};
use super::shard::Shard;
use crate::s3::fault::Result;
use crate::s3::limits;
use basalt_client::error::ENOENT;
use basalt_ring::Task;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// The tags whose data somebody reads through this gateway just now.
#[derive(Clone, Default)]
pub struct Reading(Rc<RefCell<HashMap<String, usize>>>);

/// Keeps data from being removed by this gateway until it is dropped.
pub struct ReadGuard {
    reading: Reading,
    tags: Vec<String>,
}

impl Reading {
    pub fn begin(&self, runs: &[Run]) -> ReadGuard {
        let tags: Vec<String> = runs.iter().map(|run| run.tag.clone()).collect();
        for tag in &tags {
            *self.0.borrow_mut().entry(tag.clone()).or_default() += 1;
        }
        ReadGuard { reading: self.clone(), tags }
    }

    fn has(&self, tag: &str) -> bool {
        self.0.borrow().contains_key(tag)
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        let mut reading = self.reading.0.borrow_mut();
        for tag in &self.tags {
            if let Some(count) = reading.get_mut(tag) {
                *count -= 1;
                if *count == 0 {
                    reading.remove(tag);
                }
            }
        }
    }
}

/// How old things must be.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub garbage: Duration,
    pub intents: Duration,
    /// The index of a removed bucket stays, closed, for requests that still take the bucket for there.
    pub buckets: Duration,
    /// So does what an index was before it was cut anew.
    pub former: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            garbage: limits::GARBAGE_WAIT,
            intents: limits::INTENT_WAIT,
            buckets: limits::DEAD_BUCKET_WAIT,
            former: limits::FORMER_INDEX_WAIT,
        }
    }
}

impl Patience {
    /// Takes everything, uploads that are under way too: they fail and are tried again by their clients.
    pub const NONE: Patience =
        Patience { garbage: Duration::ZERO, intents: Duration::ZERO, buckets: Duration::ZERO, former: Duration::ZERO };
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Uploads that had died.
    pub given_up: u64,
    /// Parts of objects that were removed.
    pub removed: u64,
    /// Garbage that is not old enough yet, or is being read.
    pub left: u64,
    /// Removed buckets of which nothing is left.
    pub buckets: u64,
}

impl std::ops::AddAssign for Collected {
    fn add_assign(&mut self, other: Collected) {
        self.given_up += other.given_up;
        self.removed += other.removed;
        self.left += other.left;
        self.buckets += other.buckets;
    }
}

impl Store {
    /// Passes for ever.
    pub async fn collect_garbage_again_and_again(self: &Rc<Self>) {
        loop {
            let begun = self.ring.now();
            match self.collect_garbage(Patience::default()).await {
                Ok(collected) if collected != Collected::default() => {
                    tracing::info!(?collected, "a garbage pass is done");
                }
                Ok(_) => {}
                Err(fault) => tracing::warn!(%fault, "a garbage pass did not come to its end"),
            }
            // Where there are many buckets to look at, passes take a tenth of the time and not all of it.
            let pause = self.ring.now().since(begun).saturating_mul(9);
            self.ring.sleep(pause.max(limits::GARBAGE_INTERVAL)).await;
        }
    }

    /// One pass over all buckets, and over those that were removed.
    pub async fn collect_garbage(self: &Rc<Self>, patience: Patience) -> Result<Collected> {
        let mut collected = Collected::default();
        for name in self.bucket_names().await? {
            let Some(bucket) = self.find_bucket(&name).await? else { continue };
            for shard in bucket.all_shards() {
                collected += self.collect_shard(Some(&bucket), &shard, patience).await?;
            }
            self.remove_former(&bucket, patience.former).await?;
        }
        for (id, dead) in self.dead_buckets().await? {
            collected += self.collect_dead(&id, &dead, patience).await?;
        }
        Ok(collected)
    }

    async fn dead_buckets(&self) -> Result<Vec<(String, Dead)>> {
        let (mut found, mut after) = (Vec::new(), Vec::new());
        loop {
            let (pairs, more) = match self.meta.list_omap(DEAD, &after, b"", limits::LIST_PAGE_MAX).await {
                Err(error) if error.errno() == ENOENT => return Ok(found),
                page => page?,
            };
            for (id, value) in pairs {
                let dead = decode(&value, || "what is left of a removed bucket".into())?;
                found.push((String::from_utf8_lossy(&id).into_owned(), dead));
                after = id;
            }
            if !more {
                return Ok(found);
            }
        }
    }

    async fn collect_dead(self: &Rc<Self>, id: &str, dead: &Dead, patience: Patience) -> Result<Collected> {
        let mut collected = Collected::default();
        let living: Option<Bucket> = self.find_bucket(&dead.name).await?.filter(|bucket| bucket.id == id);
        if let Some(bucket) = living {
            // Its removal came no further than to announce itself.
            for shard in bucket.all_shards() {
                self.reopen(&shard).await?;
            }
            self.meta.remove_omap(DEAD, &[id.as_bytes()]).await?;
            return Ok(collected);
        }
        let is_old = self.age(dead.since_ns) >= patience.buckets;
        for shard in shards(id, dead.generation, dead.shards).map(Shard::of_dead) {
            self.abort_all_uploads(&shard).await?;
            let of_shard = self.collect_shard(None, &shard, Patience { intents: Duration::ZERO, ..patience }).await?;
            collected += of_shard;
            if of_shard.left == 0 && is_old {
                self.remove_shard(&shard).await?;
            }
        }
        if collected.left == 0 && is_old {
            for former in &dead.former {
                self.remove_index(id, former).await?;
            }
            self.meta.remove_omap(DEAD, &[id.as_bytes()]).await?;
            collected.buckets += 1;
        }
        Ok(collected)
    }

    /// `bucket`: whose it is, if that is not removed.
    async fn collect_shard(
        self: &Rc<Self>,
        bucket: Option<&Bucket>,
        shard: &Shard,
        patience: Patience,
    ) -> Result<Collected> {
        let given_up = self.give_up_old_intents(bucket, shard, patience.intents).await?;
        let mut collected = self.remove_garbage(shard, patience.garbage).await?;
        collected.given_up = given_up;
        Ok(collected)
    }

    pub fn age(&self, since_ns: u64) -> Duration {
        Duration::from_nanos(self.now_ns().saturating_sub(since_ns))
    }

    pub async fn remove_shard(&self, shard: &Shard) -> Result<()> {
        match self.index.remove(shard.name()).await {
            Err(error) if error.errno() != ENOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn give_up_old_intents(&self, bucket: Option<&Bucket>, shard: &Shard, patience: Duration) -> Result<u64> {
        let (mut count, mut after) = (0, Vec::new());
        loop {
            let (pairs, more) = self.shard_page(shard, &after, b"i", limits::LIST_PAGE_MAX).await?;
            for (name, value) in pairs {
                let intent: Intent = decode(&value, || "an upload's intent".into())?;
                if self.age(intent.since_ns) >= patience {
                    let change = Change::of_any().give_up(&intent, value, self.now_ns());
                    // Where it is by now: elsewhere its upload may have become visible.
                    let at = bucket.zip(intent.hash).map(|(bucket, hash)| bucket.shard_of_hash(hash));
                    match self.change(at.as_ref().unwrap_or(shard), change).await {
                        Ok(()) => count += 1,
                        // It has become visible just now, or somebody else gave it up.
                        Err(fault) if fault.is_overtaken() => {}
                        Err(fault) => return Err(fault),
                    }
                }
                after = name;
            }
            if !more {
                return Ok(count);
            }
        }
    }

    async fn remove_garbage(self: &Rc<Self>, shard: &Shard, patience: Duration) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut running: VecDeque<Task<Result<()>>> = VecDeque::new();
        let mut after = Vec::new();
        loop {
            let (pairs, more) = self.shard_page(shard, &after, b"g", limits::LIST_PAGE_MAX).await?;
            for (name, value) in pairs {
                let garbage: Garbage = decode(&value, || "a record of garbage".into())?;
                after.clone_from(&name);
                if self.age(garbage.since_ns) < patience || garbage.runs.iter().any(|run| self.reading.has(&run.tag)) {
                    collected.left += 1;
                    continue;
                }
                if running.len() >= limits::GARBAGE_JOBS
                    && let Some(first) = running.pop_front()
                {
                    first.await?;
                }
                collected.removed += 1;
                let (store, shard) = (self.clone(), shard.clone());
                running.push_back(self.ring.spawn(async move { store.remove_one(&shard, name, value, garbage).await }));
            }
            if !more {
                break;
            }
        }
        while let Some(first) = running.pop_front() {
            first.await?;
        }
        Ok(collected)
    }

    /// The data first, its record last: who dies in between leaves the record.
    async fn remove_one(&self, shard: &Shard, name: Vec<u8>, value: Vec<u8>, garbage: Garbage) -> Result<()> {
        for run in &garbage.runs {
            for part in 0..run.count {
                let size = (!garbage.is_unknown).then_some(run.size);
                self.remove_part(&run.tag, run.number + part, size).await?;
            }
        }
        match self.change(shard, Change::of_any().expect(name.clone(), Some(value)).remove(name)).await {
            Err(fault) if fault.is_overtaken() => Ok(()),
            done => done,
        }
    }

    /// How many bytes and records of garbage a bucket has.
    pub async fn garbage_of(&self, bucket: &Bucket) -> Result<(u64, u64)> {
        let (mut bytes, mut count) = (0, 0);
        for shard in bucket.all_shards() {
            let mut after = Vec::new();
            loop {
                let (pairs, more) = self.shard_page(&shard, &after, b"g", limits::LIST_PAGE_MAX).await?;
                for (name, value) in pairs {
                    let garbage: Garbage = decode(&value, || "a record of garbage".into())?;
                    bytes += garbage.runs.iter().map(|run| run.size * u64::from(run.count)).sum::<u64>();
                    count += 1;
                    after = name;
                }
                if !more {
                    break;
                }
            }
        }
        Ok((bytes, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_known_until_the_last_reader_ends() {
        let reading = Reading::default();
        let runs = [Run { tag: "a".into(), number: 0, count: 1, size: 5 }];
        let (first, second) = (reading.begin(&runs), reading.begin(&runs));
        drop(first);
        assert!(reading.has("a"));
        drop(second);
        assert!(!reading.has("a"));
    }
}
