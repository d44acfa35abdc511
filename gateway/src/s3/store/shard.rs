//! One object of a bucket's index, and how what belongs to a key finds it, also while the index is being cut anew (`reshard`).
//!
//! What may be done to a shard stands in its omap, under `!closed`; every change has it among its guards:
//!
//! | value        |                                                                                                     |
//! |--------------|-----------------------------------------------------------------------------------------------------|
//! | none         | anything                                                                                            |
//! | empty        | tidying up only: the bucket is being removed                                                        |
//! | `log TOKEN`  | anything, if each omap key that is changed is noted under `l`: the shard is being copied            |
//! | `stop TOKEN` | nothing: it is copied, and in a moment the bucket's record says where to, or that it was given up   |
//!
//! A change expects to find the shard open. One that is refused looks why, and is tried again as the shard wants it, or in the shard that has
//! the key from now on. It is the same change there: what it expects are values, and those were copied.

use super::Store;
use super::bucket::{Bucket, no_such_bucket};
use super::index::Change;
use crate::s3::fault::{ECANCELED, Fault, Result};
use crate::s3::limits;
use basalt_client::error::ENOENT;
use basalt_client::{ObjectOperations, Pairs};
use basalt_net::message::object::Operation;
use basalt_ring::Instant;
use s3s::S3ErrorCode;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

pub const STATE: &[u8] = b"!closed";

/// How an index is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub generation: u32,
    pub shards: u32,
}

/// Of buckets by their ids: the newest layout that this gateway has seen, for requests that began with an older one. Only of buckets
/// whose index was ever cut anew.
#[derive(Default)]
pub struct KnownLayouts(RefCell<HashMap<String, Layout>>);

/// One object of a bucket's index.
#[derive(Clone, Debug)]
pub struct Shard {
    name: Vec<u8>,
    /// Of the shard of a key, which is another one after the index was cut anew.
    home: Option<Home>,
    /// Its bucket is removed, so it will be found closed.
    is_dead: bool,
}

#[derive(Clone, Debug)]
struct Home {
    bucket: String,
    id: String,
    generation: u32,
    hash: u32,
}

/// What may be done to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Closed,
    Logged(String),
    Stopped(String),
}

impl State {
    fn parse(value: Option<Vec<u8>>) -> Result<State> {
        let Some(value) = value else { return Ok(State::Open) };
        let text = String::from_utf8_lossy(&value);
        match text.split_once(' ') {
            None if text.is_empty() => Ok(State::Closed),
            Some(("log", token)) => Ok(State::Logged(token.into())),
            Some(("stop", token)) => Ok(State::Stopped(token.into())),
            _ => Err(Fault::damaged("the state of a bucket's index", format!("{text:?} is none"))),
        }
    }

    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            State::Open => None,
            State::Closed => Some(Vec::new()),
            State::Logged(token) => Some(format!("log {token}").into_bytes()),
            State::Stopped(token) => Some(format!("stop {token}").into_bytes()),
        }
    }

    /// Of the resharding that put it there.
    pub fn token(&self) -> Option<&str> {
        match self {
            State::Open | State::Closed => None,
            State::Logged(token) | State::Stopped(token) => Some(token),
        }
    }

    pub fn guard(&self) -> Operation {
        Operation::AssertOmap { key: STATE.to_vec(), value: self.value() }
    }
}

pub fn hash_of(key: &str) -> u32 {
    crc32c::crc32c(key.as_bytes())
}

impl Layout {
    pub fn shard_of(self, hash: u32) -> u32 {
        hash % self.shards.max(1)
    }
}

impl Shard {
    /// This very object, wherever its keys are by now.
    pub fn new(bucket_id: &str, generation: u32, number: u32) -> Shard {
        Shard { name: format!("{bucket_id}.{generation}.{number}").into_bytes(), home: None, is_dead: false }
    }

    pub fn of_dead(self) -> Shard {
        Shard { is_dead: true, ..self }
    }

    /// Wherever the keys with this hash are.
    pub fn of_hash(bucket: &str, id: &str, layout: Layout, hash: u32) -> Shard {
        let home = Home { bucket: bucket.into(), id: id.into(), generation: layout.generation, hash };
        Shard { home: Some(home), ..Shard::new(id, layout.generation, layout.shard_of(hash)) }
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Of its key.
    pub fn hash(&self) -> Option<u32> {
        self.home.as_ref().map(|home| home.hash)
    }
}

impl KnownLayouts {
    pub fn note(&self, bucket: &Bucket) {
        // Those of the first generation have nothing before them.
        if bucket.generation == 0 {
            return;
        }
        let mut known = self.0.borrow_mut();
        let is_news = known.get(&bucket.id).is_none_or(|layout| layout.generation < bucket.generation);
        if is_news {
            if known.len() >= limits::LAYOUTS_KNOWN_MAX {
                known.clear();
            }
            known.insert(bucket.id.clone(), bucket.layout());
        }
    }

    fn locate<'a>(&self, shard: &'a Shard) -> Cow<'a, Shard> {
        let newer = |home: &Home| {
            let layout = self.0.borrow().get(&home.id).copied()?;
            let is_newer = layout.generation > home.generation;
            is_newer.then(|| Shard::of_hash(&home.bucket, &home.id, layout, home.hash))
        };
        shard.home.as_ref().and_then(newer).map_or(Cow::Borrowed(shard), Cow::Owned)
    }
}

impl Store {
    /// Fails with `ECANCELED` where an expectation does not hold.
    pub async fn change(&self, shard: &Shard, change: Change) -> Result<()> {
        let begun = self.ring.now();
        let mut at = self.layouts.locate(shard).into_owned();
        let mut state = if at.is_dead && change.is_tidying() { State::Closed } else { State::Open };
        loop {
            let overtaken = match self.index.execute(at.name(), change.operations(&state, at.hash())).await {
                Err(error) if error.errno() == ECANCELED => Fault::from(error),
                done => return Ok(done.map(|_| ())?),
            };
            let seen = self.state_of(&at).await?;
            if seen == state {
                return Err(overtaken);
            }
            state = match seen {
                State::Closed if !change.is_tidying() => return Err(overtaken),
                // Of a shard that was asked for by its own name, nothing can be changed any more.
                State::Stopped(_) if at.home.is_none() => return Err(overtaken),
                State::Stopped(token) => {
                    at = self.wait_for_switch(at, &token, begun).await?;
                    State::Open
                }
                other => other,
            };
        }
    }

    pub async fn shard_values(&self, shard: &Shard, keys: &[&[u8]]) -> Result<Pairs> {
        match self.index.get_omap(self.layouts.locate(shard).name(), keys).await {
            Err(error) if error.errno() == ENOENT => Ok(Vec::new()),
            pairs => Ok(pairs?),
        }
    }

    pub async fn shard_value(&self, shard: &Shard, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.shard_values(shard, &[key]).await?.into_iter().next().map(|(_, value)| value))
    }

    pub async fn shard_page(&self, shard: &Shard, after: &[u8], prefix: &[u8], max: u32) -> Result<(Pairs, bool)> {
        match self.index.list_omap(self.layouts.locate(shard).name(), after, prefix, max).await {
            Err(error) if error.errno() == ENOENT => Ok((Vec::new(), false)),
            page => Ok(page?),
        }
    }

    pub async fn state_of(&self, shard: &Shard) -> Result<State> {
        State::parse(self.shard_value(shard, STATE).await?)
    }

    /// Fails with `ECANCELED` where the shard is in another state than `from`.
    pub async fn change_state(&self, shard: &Shard, from: &State, to: &State) -> Result<()> {
        let change = match to.value() {
            Some(value) => Operation::SetOmap { pairs: vec![(STATE.to_vec(), value)] },
            None => Operation::RemoveOmap { keys: vec![STATE.to_vec()] },
        };
        let operations = ObjectOperations::new().operation(from.guard()).operation(change);
        self.index.execute(shard.name(), operations).await?;
        Ok(())
    }

    /// Why a change that was overtaken can't be tried again, if it can't.
    pub async fn refuse_closed(&self, shard: &Shard) -> Result<()> {
        match self.state_of(shard).await? {
            State::Closed => Err(Fault::refuse(S3ErrorCode::NoSuchBucket, "the bucket is being removed")),
            _ => Ok(()),
        }
    }

    /// Requests that take long look where their key is by now: shards of former generations are not kept for ever.
    pub async fn look_again(&self, shard: &Shard) -> Result<()> {
        if let Some(home) = &shard.home {
            self.find_bucket(&home.bucket).await?;
        }
        Ok(())
    }

    /// Where to go on with what a stopped shard has refused: in the new shard, or in the same one. Whoever stopped it does not take long, or
    /// is dead; then what it began is given up.
    async fn wait_for_switch(&self, shard: Shard, token: &str, since: Instant) -> Result<Shard> {
        let Some(home) = &shard.home else { return Ok(shard) };
        self.ring.sleep(limits::SWITCH_POLL).await;
        let bucket = self.find_bucket(&home.bucket).await?.filter(|bucket| bucket.id == home.id);
        let bucket = bucket.ok_or_else(|| no_such_bucket(&home.bucket))?;
        if bucket.generation != home.generation {
            return Ok(Shard::of_hash(&home.bucket, &home.id, bucket.layout(), home.hash));
        }
        let waited = self.ring.now().since(since);
        if waited > limits::SWITCH_WAIT * 3 {
            return Err(Fault::refuse(
                S3ErrorCode::ServiceUnavailable,
                "the bucket's index is being cut anew; try again",
            ));
        }
        match bucket.resharding {
            Some(resharding) if resharding.token == token => {
                if waited > limits::SWITCH_WAIT {
                    self.cancel_resharding(&home.bucket, token).await?;
                }
            }
            // It was given up by somebody who came no further than to say so.
            _ => match self.change_state(&shard, &State::Stopped(token.into()), &State::Open).await {
                Err(fault) if !fault.is_overtaken() => return Err(fault),
                _ => {}
            },
        }
        Ok(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for state in [State::Open, State::Closed, State::Logged("a".into()), State::Stopped("b".into())] {
            assert_eq!(State::parse(state.value()).unwrap(), state);
        }
        assert!(State::parse(Some(b"else".to_vec())).is_err());
    }

    #[test]
    fn a_key_is_looked_for_where_the_newest_known_layout_has_it() {
        let text = r#"{"name": "b", "id": "id", "owner": "ann", "owner_name": "Ann", "created_ns": 0, "shards": 4, "generation": 0}"#;
        let old: Bucket = serde_json::from_str(text).unwrap();
        let new = Bucket { shards: 64, generation: 2, ..old.clone() };
        let known = KnownLayouts::default();
        let (of_key, itself) = (old.shard("key"), Shard::new("id", 0, 1));
        known.note(&old);
        assert_eq!(known.locate(&of_key).name(), of_key.name());
        known.note(&new);
        known.note(&Bucket { shards: 16, generation: 1, ..old.clone() });
        assert_eq!(known.locate(&of_key).name(), new.shard("key").name());
        assert_eq!(known.locate(&new.shard("key")).name(), new.shard("key").name());
        assert_eq!(known.locate(&itself).name(), itself.name());
    }
}
