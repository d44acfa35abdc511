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
//! | `#` number                                              | a part of the [`Count`] of what the shard has           |
//! | `l` omap key                                            | that key was changed while the shard was being copied   |
//! | `!closed`                                               | what may be done to the shard: see `shard`              |
//!
//! An upload registers its intent first, then writes data that nothing refers to, then replaces the intent by the entry, if both the intent
//! and the key's entry are still what it saw. Who gives an intent up (its upload, or a garbage pass that found it old) replaces it by garbage
//! in the same way: so data is never both visible and garbage, whoever was slow or died.

use super::count::{Count, is_counted};
use super::entry::{Entry, Run};
use super::shard::{STATE, Shard, State};
use super::{Store, decode, encode};
use crate::s3::fault::{Fault, Result};
use basalt_client::error::ENOENT;
use basalt_client::{ObjectOperations, Pairs};
use basalt_net::message::object::Operation;
use s3s::S3ErrorCode;
use serde::{Deserialize, Serialize};

/// Data that is being written.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Intent {
    pub since_ns: u64,
    pub tag: String,
    /// Of the part that is uploaded; 0: a whole object.
    pub number: u32,
    /// Of the object's key, by which the intent finds its shard; `None`: of a gateway from before indexes were cut anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
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
pub fn logged_key(key: &[u8]) -> Vec<u8> {
    [b"l", key].concat()
}

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
#[derive(Clone, Default)]
pub struct Change {
    expect: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    set: Pairs,
    remove: Vec<Vec<u8>>,
    is_tidying: bool,
}

impl Change {
    /// Of a shard that must not be closed.
    pub fn new() -> Change {
        Change::default()
    }

    /// Of a shard that may be closed: only to tidy up.
    pub fn of_any() -> Change {
        Change { is_tidying: true, ..Change::default() }
    }

    pub fn is_tidying(&self) -> bool {
        self.is_tidying
    }

    pub fn expect(mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Change {
        self.expect.push((key, value));
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

    pub fn touches(&self, key: &[u8]) -> bool {
        self.touched().any(|touched| touched == key)
    }

    fn touched(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.set.iter().map(|(key, _)| key).chain(&self.remove)
    }

    /// How many entries more there are after it, and how many more bytes they have. Of what is set without an expectation, nothing was there.
    pub fn difference(&self) -> Result<Count> {
        let mut difference = Count::default();
        for key in self.touched().filter(|key| is_counted(key)) {
            let before = self.expect.iter().find(|(expected, _)| expected == key);
            if let Some((_, Some(value))) = before {
                difference += Count::of_entry(value)?.negative();
            }
        }
        for (_, value) in self.set.iter().filter(|(key, _)| is_counted(key)) {
            difference += Count::of_entry(value)?;
        }
        Ok(difference)
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

    /// For a shard in this state. `hash`: of the key that it is about; it goes into the log of a shard that is being copied.
    pub fn operations(&self, state: &State, hash: Option<u32>) -> ObjectOperations {
        let mut operations = ObjectOperations::new().operation(state.guard());
        for (key, value) in &self.expect {
            operations = operations.operation(Operation::AssertOmap { key: key.clone(), value: value.clone() });
        }
        if !self.remove.is_empty() {
            operations = operations.operation(Operation::RemoveOmap { keys: self.remove.clone() });
        }
        let mut pairs = self.set.clone();
        if let State::Logged(_) = state {
            let hash = hash.map(|hash| hash.to_string().into_bytes()).unwrap_or_default();
            pairs.extend(self.touched().map(|key| (logged_key(key), hash.clone())));
        }
        if !pairs.is_empty() {
            operations = operations.operation(Operation::SetOmap { pairs });
        }
        operations
    }
}

impl Store {
    /// From here on nothing becomes visible in the shard, if nothing is.
    pub async fn close_if_empty(&self, shard: &Shard) -> Result<bool> {
        for _ in 0..crate::s3::limits::OVERTAKEN_MAX {
            let list =
                |prefix: &[u8]| Operation::ListOmap { after: Vec::new(), prefix: prefix.into(), max: 1, values: false };
            let look = ObjectOperations::new().operation(list(b"k")).operation(list(b"v")).operation(list(STATE));
            let version = match self.index.execute(shard.name(), look).await {
                Ok(outcome) if !outcome.pairs(0)?.0.is_empty() || !outcome.pairs(1)?.0.is_empty() => return Ok(false),
                Ok(outcome) if !outcome.pairs(2)?.0.is_empty() => {
                    // Somebody else removes it as well, or its index is being cut anew, which ends in a while.
                    if self.state_of(shard).await? == State::Closed {
                        return Ok(true);
                    }
                    return Err(Fault::refuse(S3ErrorCode::OperationAborted, "the bucket's index is being cut anew"));
                }
                Ok(outcome) => outcome.version(),
                Err(error) if error.errno() == ENOENT => 0,
                Err(error) => return Err(error.into()),
            };
            let close = ObjectOperations::new()
                .assert_version(version)
                .operation(Operation::SetOmap { pairs: vec![(STATE.to_vec(), Vec::new())] });
            match self.index.execute(shard.name(), close).await {
                Ok(_) => return Ok(true),
                Err(error) if error.errno() == basalt_client::error::ERANGE => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    pub async fn reopen(&self, shard: &Shard) -> Result<()> {
        match self.change_state(shard, &State::Closed, &State::Open).await {
            Err(fault) if !fault.is_overtaken() => Err(fault),
            _ => Ok(()),
        }
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
