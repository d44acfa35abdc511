//! A bucket's index: objects of `s3.index` whose omaps say everything about the keys that fall to them. What belongs to one key is in one
//! of these objects, so each change of it is one atomic operation there: the old or the new, never half.
//!
//! | key in the omap                                         | value                                                   |
//! |---------------------------------------------------------|---------------------------------------------------------|
//! | `k` key                                                 | the key's newest version: an [`Entry`]                  |
//! | `v` key, escaped, `00 01` sort (16 hex) version         | an older version: an [`Entry`]                          |
//! | `i` tag `.` part                                        | [`Intent`]: data of this tag is being written           |
//! | `g` tag `.` first part                                  | [`Garbage`]: data to be removed                         |
//! | `u` key, escaped, `00 01` upload id                     | a multipart upload                                      |
//! | `p` upload id `.` part (5 digits)                       | one of its parts                                        |
//! | `!closed`                                               | the bucket is being removed                             |
//!
//! An upload registers its intent first, then writes data that nothing refers to, then replaces the intent by the entry, if both the intent
//! and the key's entry are still what it saw. Who gives an intent up (its upload, or a garbage pass that found it old) replaces it by garbage
//! in the same way: so data is never both visible and garbage, whoever was slow or died.

use super::entry::{Entry, Run};
use super::{Store, decode, encode};
use crate::s3::fault::{Fault, Result};
use basalt_client::error::ENOENT;
use basalt_client::{ObjectOperations, Pairs};
use basalt_net::message::object::Operation;
use s3s::S3ErrorCode;
use serde::{Deserialize, Serialize};

const CLOSED: &[u8] = b"!closed";

/// One object of a bucket's index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shard(Vec<u8>);

impl Shard {
    pub fn new(bucket_id: &str, generation: u32, shard: u32) -> Shard {
        Shard(format!("{bucket_id}.{generation}.{shard}").into_bytes())
    }

    pub fn name(&self) -> &[u8] {
        &self.0
    }
}

/// Data that is being written.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Intent {
    pub since_ns: u64,
    pub tag: String,
    /// Of the part that is uploaded; 0: a whole object.
    pub number: u32,
}

/// Data that nobody will ask for any more.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Garbage {
    pub since_ns: u64,
    pub runs: Vec<Run>,
    /// It may have fewer or more bytes than `runs` say: its writer was given up.
    #[serde(default)]
    pub is_unknown: bool,
}

pub fn entry_key(key: &str) -> Vec<u8> {
    [b"k", key.as_bytes()].concat()
}

pub fn version_prefix(key: &str) -> Vec<u8> {
    escaped(b'v', key)
}

pub fn version_key(key: &str, entry: &Entry) -> Vec<u8> {
    [version_prefix(key), format!("{:016x}{}", entry.sort(), entry.version).into_bytes()].concat()
}

pub fn upload_key(key: &str, upload: &str) -> Vec<u8> {
    [escaped(b'u', key), upload.as_bytes().to_vec()].concat()
}

pub fn part_prefix(upload: &str) -> Vec<u8> {
    format!("p{upload}.").into_bytes()
}

pub fn part_key(upload: &str, number: u32) -> Vec<u8> {
    format!("p{upload}.{number:05}").into_bytes()
}

pub fn intent_key(tag: &str, number: u32) -> Vec<u8> {
    format!("i{tag}.{number}").into_bytes()
}

pub fn garbage_key(tag: &str, number: u32) -> Vec<u8> {
    format!("g{tag}.{number}").into_bytes()
}

/// The key so that whatever is put behind it sorts as the key does: `00` becomes `00 ff`, and the end is `00 01`.
pub fn escaped(kind: u8, key: &str) -> Vec<u8> {
    let mut bytes = vec![kind];
    for byte in key.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend([0, 1]);
    bytes
}

/// What was put behind an escaped key, and the key. `None`: no such omap key.
pub fn unescaped(omap_key: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut key = Vec::new();
    let mut rest = omap_key.get(1..)?;
    loop {
        match rest {
            [0, 0xff, after @ ..] => {
                key.push(0);
                rest = after;
            }
            [0, 1, after @ ..] => return Some((String::from_utf8(key).ok()?, after.to_vec())),
            [byte, after @ ..] => {
                key.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// A change of one shard, all or nothing, which fails with `ECANCELED` where the shard is not what it was built on.
#[derive(Default)]
pub struct Change {
    operations: ObjectOperations,
    set: Pairs,
    remove: Vec<Vec<u8>>,
}

impl Change {
    /// Of a shard that must not be closed.
    pub fn new() -> Change {
        Change::default().expect(CLOSED.to_vec(), None)
    }

    /// Of a shard that may be closed: only to tidy up.
    pub fn of_any() -> Change {
        Change::default()
    }

    pub fn expect(mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Change {
        self.operations = self.operations.operation(Operation::AssertOmap { key, value });
        self
    }

    pub fn set(mut self, key: Vec<u8>, value: Vec<u8>) -> Change {
        self.set.push((key, value));
        self
    }

    pub fn remove(mut self, key: Vec<u8>) -> Change {
        self.remove.push(key);
        self
    }

    /// Hands an entry's data over to the garbage pass.
    pub fn discard(self, entry: &Entry, now_ns: u64) -> Change {
        self.discard_runs(&entry.runs, now_ns)
    }

    pub fn discard_runs(mut self, runs: &[Run], now_ns: u64) -> Change {
        let mut by_tag: Vec<(&str, Vec<Run>)> = Vec::new();
        for run in runs {
            match by_tag.iter_mut().find(|(tag, _)| *tag == run.tag) {
                Some((_, found)) => found.push(run.clone()),
                None => by_tag.push((&run.tag, vec![run.clone()])),
            }
        }
        for (tag, runs) in by_tag {
            let number = runs.first().map_or(0, |run| run.number);
            let garbage = Garbage { since_ns: now_ns, runs, is_unknown: false };
            self.set.push((garbage_key(tag, number), encode(&garbage)));
        }
        self
    }

    /// Gives an intent up: whatever was written of it is garbage.
    pub fn give_up(self, intent: &Intent, value: Vec<u8>, now_ns: u64) -> Change {
        let run = Run { tag: intent.tag.clone(), number: intent.number, count: 1, size: 0 };
        let garbage = Garbage { since_ns: now_ns, runs: vec![run], is_unknown: true };
        let name = intent_key(&intent.tag, intent.number);
        self.expect(name.clone(), Some(value))
            .remove(name)
            .set(garbage_key(&intent.tag, intent.number), encode(&garbage))
    }

    fn finish(self) -> ObjectOperations {
        let mut operations = self.operations;
        if !self.remove.is_empty() {
            operations = operations.operation(Operation::RemoveOmap { keys: self.remove });
        }
        if !self.set.is_empty() {
            operations = operations.operation(Operation::SetOmap { pairs: self.set });
        }
        operations
    }
}

impl Store {
    /// Fails with `ECANCELED` where an expectation does not hold.
    pub async fn change(&self, shard: &Shard, change: Change) -> Result<()> {
        self.index.execute(shard.name(), change.finish()).await?;
        Ok(())
    }

    pub async fn shard_values(&self, shard: &Shard, keys: &[&[u8]]) -> Result<Pairs> {
        match self.index.get_omap(shard.name(), keys).await {
            Err(error) if error.errno() == ENOENT => Ok(Vec::new()),
            pairs => Ok(pairs?),
        }
    }

    pub async fn shard_value(&self, shard: &Shard, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.shard_values(shard, &[key]).await?.into_iter().next().map(|(_, value)| value))
    }

    pub async fn shard_page(&self, shard: &Shard, after: &[u8], prefix: &[u8], max: u32) -> Result<(Pairs, bool)> {
        match self.index.list_omap(shard.name(), after, prefix, max).await {
            Err(error) if error.errno() == ENOENT => Ok((Vec::new(), false)),
            page => Ok(page?),
        }
    }

    /// Why a change that was overtaken can't be tried again, if it can't.
    pub async fn refuse_closed(&self, shard: &Shard) -> Result<()> {
        match self.shard_value(shard, CLOSED).await? {
            Some(_) => Err(Fault::refuse(S3ErrorCode::NoSuchBucket, "the bucket is being removed")),
            None => Ok(()),
        }
    }

    /// From here on nothing becomes visible in the shard, if nothing is.
    pub async fn close_if_empty(&self, shard: &Shard) -> Result<bool> {
        for _ in 0..crate::s3::limits::OVERTAKEN_MAX {
            let list =
                |prefix: &[u8]| Operation::ListOmap { after: Vec::new(), prefix: prefix.into(), max: 1, values: false };
            let look = ObjectOperations::new().operation(list(b"k")).operation(list(b"v"));
            let version = match self.index.execute(shard.name(), look).await {
                Ok(outcome) if !outcome.pairs(0)?.0.is_empty() || !outcome.pairs(1)?.0.is_empty() => return Ok(false),
                Ok(outcome) => outcome.version(),
                Err(error) if error.errno() == ENOENT => 0,
                Err(error) => return Err(error.into()),
            };
            let close = ObjectOperations::new()
                .assert_version(version)
                .operation(Operation::SetOmap { pairs: vec![(CLOSED.to_vec(), Vec::new())] });
            match self.index.execute(shard.name(), close).await {
                Ok(_) => return Ok(true),
                Err(error) if error.errno() == basalt_client::error::ERANGE => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    pub async fn reopen(&self, shard: &Shard) -> Result<()> {
        self.index.remove_omap(shard.name(), &[CLOSED]).await?;
        Ok(())
    }
}

pub fn decode_entry(key: &str, bytes: &[u8]) -> Result<Entry> {
    decode(bytes, || format!("the index entry of {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaped_keys_come_back_and_sort_as_keys_do(one in "[a\u{0}\u{1}b]{0,6}", other in "[a\u{0}\u{1}b]{0,6}", behind in "[0-9a-f]{0,4}") {
            let name = upload_key(&one, &behind);
            prop_assert_eq!(unescaped(&name), Some((one.clone(), behind.into_bytes())));
            prop_assert_eq!(upload_key(&one, "f").cmp(&upload_key(&other, "0")).then(one.cmp(&other)), if one == other { std::cmp::Ordering::Greater } else { one.cmp(&other) });
        }
    }
}
