//! A bucket's index cut anew, into another number of shards, while requests go on.
//!
//! 1. The bucket's record says so: under a token, with a generation that no shard had before. There is one at a time.
//! 2. Each shard is told that it is being copied; from then on its changes are noted in it.
//! 3. Everything is copied (`move_index`), then what was changed meanwhile, until that is little.
//! 4. The shards are stopped: changes wait. The last few are carried over; the counts of the new shards are written.
//! 5. The record changes to the new generation: one step, guarded by the token. Whoever waited reads it and goes on there.
//!
//! Whatever ends before step 5 leaves the old generation valid, and what ends after it the new one. Giving up is a change of the record, too:
//! it takes the token out, and only then are the shards opened; so of a slow one that goes on, and one who takes it for dead, only one can
//! have its way. What is left of the other generation is named in the record until a garbage pass removes it, which leaves time to requests
//! that read the record before.

use super::Store;
use super::bucket::Bucket;
use super::index::logged_key;
use super::move_index::Move;
use super::shard::{Layout, STATE, Shard, State};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use basalt_client::ObjectOperations;
use basalt_net::message::object::Operation;
use basalt_ring::local::join_all;
use s3s::S3ErrorCode;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::time::Duration;

/// In a bucket's record while its index is being cut anew.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Resharding {
    /// Of this attempt.
    pub token: String,
    pub generation: u32,
    pub shards: u32,
    pub since_ns: u64,
    /// When who does it has last said that he is alive.
    pub beat_ns: u64,
}

/// An index that is not in use any more, or never was.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct FormerIndex {
    pub generation: u32,
    pub shards: u32,
    pub since_ns: u64,
}

/// What a resharding did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resharded {
    pub old_num_shards: u32,
    pub new_num_shards: u32,
    /// Entries of the index that were copied, and of those again that were changed meanwhile.
    pub copied: u64,
    pub carried_over: u64,
    /// How long changes had to wait.
    pub stopped_ms: u64,
}

impl Resharding {
    pub fn layout(&self) -> Layout {
        Layout { generation: self.generation, shards: self.shards }
    }
}

impl Store {
    /// Passes for ever over all buckets, for those whose shards have grown too large.
    pub async fn reshard_again_and_again(self: &Rc<Self>) {
        loop {
            let begun = self.ring.now();
            if let Err(fault) = self.reshard_what_is_large(self.settings.objects_per_shard).await {
                tracing::warn!(%fault, "a look at the sizes of buckets' indexes did not come to its end");
            }
            let pause = self.ring.now().since(begun).saturating_mul(9);
            self.ring.sleep(pause.max(limits::RESHARD_INTERVAL)).await;
        }
    }

    /// `most`: objects for each shard; `None`: only what dead gateways began is looked after.
    async fn reshard_what_is_large(self: &Rc<Self>, most: Option<u64>) -> Result<()> {
        for name in self.bucket_names().await? {
            let Some(bucket) = self.find_bucket(&name).await? else { continue };
            match &bucket.resharding {
                Some(other) if self.age(other.beat_ns) < limits::RESHARD_DEAD => continue,
                Some(dead) => self.cancel_resharding(&name, &dead.token).await?,
                None => self.clear_states(&bucket).await?,
            }
            // How many there are is known of those only that counted from the beginning.
            let Some(most) = most.filter(|_| bucket.is_counted) else { continue };
            let (objects, _) = self.count_objects(&bucket).await?;
            let Some(shards) = shards_wanted(objects, bucket.shards, most) else { continue };
            match self.reshard(&name, shards).await {
                Ok(done) => tracing::info!(bucket = name, ?done, "a bucket's index has more shards now"),
                // Another gateway was first, or the bucket is gone.
                Err(Fault::Refused { message, .. }) => {
                    tracing::info!(bucket = name, reason = %message, "not resharded");
                }
                Err(fault) => tracing::warn!(bucket = name, %fault, "a bucket's index could not be cut anew"),
            }
        }
        Ok(())
    }

    /// Cuts a bucket's index into so many shards. Into as many as it has, too: its counts are right then, if ever they were not.
    pub async fn reshard(self: &Rc<Self>, name: &str, shards: u32) -> Result<Resharded> {
        if shards == 0 || shards > limits::INDEX_SHARDS_MAX {
            let message = format!("an index has 1 to {} shards", limits::INDEX_SHARDS_MAX);
            return Err(Fault::refuse(S3ErrorCode::InvalidArgument, message));
        }
        if let Some(other) = self.bucket(name).await?.resharding
            && self.age(other.beat_ns) >= limits::RESHARD_DEAD
        {
            self.cancel_resharding(name, &other.token).await?;
        }
        let token = self.tag();
        let claim = |bucket: &mut Bucket| {
            if bucket.resharding.is_some() {
                let message = "the bucket's index is being cut anew already";
                return Err(Fault::refuse(S3ErrorCode::OperationAborted, message));
            }
            let generation = bucket.generation.max(bucket.generations) + 1;
            let now_ns = self.now_ns();
            bucket.generations = generation;
            bucket.resharding =
                Some(Resharding { token: token.clone(), generation, shards, since_ns: now_ns, beat_ns: now_ns });
            Ok(())
        };
        let bucket = self.change_bucket(name, claim).await?;
        let Some(resharding) = bucket.resharding.clone() else { return Err(lost()) };
        match self.carry_out(&bucket, &resharding).await {
            Ok(done) => Ok(done),
            Err(fault) => {
                // If it got as far as the record after all, there is nothing to give up, and what failed was the answer.
                self.cancel_resharding(name, &token).await?;
                Err(fault)
            }
        }
    }

    async fn carry_out(self: &Rc<Self>, bucket: &Bucket, resharding: &Resharding) -> Result<Resharded> {
        let logged = State::Logged(resharding.token.clone());
        let stopped = State::Stopped(resharding.token.clone());
        let old: Vec<Shard> = bucket.all_shards().collect();
        for shard in &old {
            self.log_changes(shard, &logged).await?;
        }
        let mut moving = Move::new(self, bucket, resharding);
        moving.copy(&old).await?;
        moving.carry_over_most(&old).await?;
        moving.beat().await?;
        let begun = self.ring.now();
        for done in join_all(old.iter().map(|shard| self.change_state(shard, &logged, &stopped)).collect()).await {
            done?;
        }
        moving.carry_over_rest(&old, begun).await?;
        moving.write_counts().await?;
        if self.ring.now().since(begun) > limits::SWITCH_WAIT {
            return Err(Fault::refuse(S3ErrorCode::ServiceUnavailable, "changes had to wait for too long"));
        }
        self.change_bucket(&bucket.name, |bucket| {
            if bucket.resharding.take().is_none_or(|now| now.token != resharding.token) {
                return Err(lost());
            }
            let since_ns = self.now_ns();
            bucket.former.push(FormerIndex { generation: bucket.generation, shards: bucket.shards, since_ns });
            bucket.generation = resharding.generation;
            bucket.shards = resharding.shards;
            bucket.is_counted = true;
            Ok(())
        })
        .await?;
        let stopped_for = self.ring.now().since(begun);
        Ok(Resharded {
            old_num_shards: bucket.shards,
            new_num_shards: resharding.shards,
            copied: moving.copied,
            carried_over: moving.carried_over,
            stopped_ms: u64::try_from(stopped_for.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// From here on each change of the shard is noted in it.
    async fn log_changes(&self, shard: &Shard, logged: &State) -> Result<()> {
        let found = self.state_of(shard).await?;
        // Of another attempt; this one's token is in the record, so that one was given up.
        let from = if found.token().is_some() { found } else { State::Open };
        match self.change_state(shard, &from, logged).await {
            Err(fault) if fault.is_overtaken() => {
                let message = "the bucket is being removed, or somebody else cuts its index anew";
                Err(Fault::refuse(S3ErrorCode::OperationAborted, message))
            }
            done => done,
        }
    }

    /// Gives a resharding up, if it has not come to its end; the index stays as it is.
    pub async fn cancel_resharding(&self, name: &str, token: &str) -> Result<()> {
        let bucket = self
            .change_bucket(name, |bucket| {
                if let Some(given_up) = bucket.resharding.take_if(|resharding| resharding.token == token) {
                    let (generation, shards) = (given_up.generation, given_up.shards);
                    bucket.former.push(FormerIndex { generation, shards, since_ns: self.now_ns() });
                }
                Ok(())
            })
            .await?;
        if bucket.resharding.is_none() {
            self.clear_states(&bucket).await?;
        }
        Ok(())
    }

    /// Opens what a resharding that was given up has left logged or stopped. `bucket`: as it was read after the shards were put so; it
    /// says that none is under way.
    async fn clear_states(&self, bucket: &Bucket) -> Result<()> {
        let shards: Vec<Shard> = bucket.all_shards().collect();
        let mut left = Vec::new();
        for some in shards.chunks(limits::SHARDS_COUNTED_AT_ONCE) {
            let states = join_all(some.iter().map(|shard| self.state_of(shard)).collect()).await;
            for (shard, state) in some.iter().zip(states) {
                let state = state?;
                if state.token().is_some() {
                    left.push((shard, state));
                }
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        // A resharding may have begun since the record was read.
        let now = self.bucket(&bucket.name).await?;
        if now.resharding.is_some() || now.id != bucket.id || now.generation != bucket.generation {
            return Ok(());
        }
        for (shard, state) in left {
            match self.change_state(shard, &state, &State::Open).await {
                Ok(()) => self.forget_log(shard).await?,
                Err(fault) if fault.is_overtaken() => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Removes what was noted of changes, unless they are needed again.
    async fn forget_log(&self, shard: &Shard) -> Result<()> {
        loop {
            let (pairs, _) = self.shard_page(shard, b"", &logged_key(b""), limits::LIST_PAGE_MAX).await?;
            if pairs.is_empty() {
                return Ok(());
            }
            let keys = pairs.into_iter().map(|(key, _)| key).collect();
            let operations =
                ObjectOperations::new().operation(State::Open.guard()).operation(Operation::RemoveOmap { keys });
            match self.index.execute(shard.name(), operations).await.map_err(Fault::from) {
                Ok(_) => {}
                Err(fault) if fault.is_overtaken() => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Removes what a bucket's index was before, once nobody can be busy with it.
    pub async fn remove_former(&self, bucket: &Bucket, patience: Duration) -> Result<()> {
        let (old, _): (Vec<&FormerIndex>, Vec<&FormerIndex>) =
            bucket.former.iter().partition(|former| self.age(former.since_ns) >= patience);
        if old.is_empty() {
            return Ok(());
        }
        for former in &old {
            self.remove_index(&bucket.id, former).await?;
        }
        let forget = |now: &mut Bucket| {
            if now.id == bucket.id {
                now.former.retain(|former| !old.contains(&former));
            }
            Ok(())
        };
        match self.change_bucket(&bucket.name, forget).await {
            // It was removed meanwhile.
            Err(Fault::Refused { .. }) => Ok(()),
            done => done.map(|_| ()),
        }
    }

    /// The objects themselves: what they say, another index says as well.
    pub async fn remove_index(&self, bucket_id: &str, former: &FormerIndex) -> Result<()> {
        for number in 0..former.shards {
            self.remove_shard(&Shard::new(bucket_id, former.generation, number)).await?;
        }
        Ok(())
    }

    /// Says in the record that a resharding is alive; fails if it was given up.
    pub async fn say_resharding_lives(&self, bucket: &str, token: &str) -> Result<()> {
        let now_ns = self.now_ns();
        self.change_bucket(bucket, |bucket| match bucket.resharding.as_mut() {
            Some(resharding) if resharding.token == token => {
                resharding.beat_ns = now_ns;
                Ok(())
            }
            _ => Err(lost()),
        })
        .await?;
        Ok(())
    }
}

fn lost() -> Fault {
    Fault::refuse(S3ErrorCode::OperationAborted, "this resharding was given up by somebody else")
}

/// How many shards a bucket of so many objects gets, if more than it has: half full, so that it is not soon again.
fn shards_wanted(objects: u64, shards: u32, most: u64) -> Option<u32> {
    if objects <= most.saturating_mul(u64::from(shards)) {
        return None;
    }
    let wanted = objects.saturating_mul(2).div_ceil(most.max(1)).next_power_of_two();
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(limits::INDEX_SHARDS_MAX);
    (wanted > shards).then_some(wanted)
}

/// Never copied: it is of the shard, not of its keys.
pub fn is_of_shard(omap_key: &[u8]) -> bool {
    omap_key == STATE || matches!(omap_key.first(), Some(b'l' | &super::count::PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gets_more_shards_when_it_is_full_and_then_is_half_full() {
        assert_eq!(shards_wanted(1_600_000, 16, 100_000), None);
        assert_eq!(shards_wanted(1_600_001, 16, 100_000), Some(64));
        assert_eq!(shards_wanted(10_000_000, 64, 100_000), Some(256));
        assert_eq!(shards_wanted(u64::MAX, 16, 100_000), Some(limits::INDEX_SHARDS_MAX));
        assert_eq!(shards_wanted(u64::MAX, limits::INDEX_SHARDS_MAX, 100_000), None);
    }
}
