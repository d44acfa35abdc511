//! A store that several monitors share, in etcd; written by the one that leads.
//!
//! ```text
//! PREFIX/candidates/LEASE           a monitor fit to lead: its name and address; goes with its lease
//! PREFIX/maps/EPOCH                 a reference, then the map itself unless it is in parts
//! PREFIX/parts/EPOCH/WRITER/INDEX   a part of a map that is too large for one request
//! PREFIX/values/KEY                 a small value
//! ```
//! Epochs are decimal with ten digits, the others hexadecimal with sixteen, so that keys stand in the order of their numbers.
//!
//! A batch is one transaction. It is carried out only while the writer's candidacy lives, which is the first one's then and so the
//! leader's, and only if no map of its epoch or a later one is there: a leader that was deposed writes nothing, and no epoch is
//! written twice. The reference names its writer, so that a transaction whose answer was lost is told from somebody else's when it is
//! put again. Parts come before the transaction that makes them a map; what of them never became one goes with its epoch.
//!
//! etcd keeps what was overwritten and deleted until it is compacted: run it with `--auto-compaction-retention`.

mod background;
mod members;

pub use background::Background;
pub use members::{EtcdError, Members};

use super::election::Candidacy;
use super::store::{Batch, MonitorStore, StoreError, Stored};
use crate::limits;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, GetResponse, SortOrder, SortTarget, Txn, TxnOp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    pub fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.trim_end_matches('/').into() }
    }

    pub fn candidates(&self) -> String {
        format!("{}/candidates/", self.prefix)
    }

    pub fn candidate(&self, lease: i64) -> String {
        format!("{}/candidates/{lease:016x}", self.prefix)
    }

    fn maps(&self) -> String {
        format!("{}/maps/", self.prefix)
    }

    fn map(&self, epoch: u32) -> String {
        format!("{}/maps/{epoch:010}", self.prefix)
    }

    /// Behind the last map.
    fn maps_end(&self) -> String {
        format!("{}/maps0", self.prefix)
    }

    fn parts(&self, epoch: u32) -> String {
        format!("{}/parts/{epoch:010}/", self.prefix)
    }

    fn part(&self, epoch: u32, writer: i64, index: u32) -> String {
        format!("{}/parts/{epoch:010}/{writer:016x}/{index:016x}", self.prefix)
    }

    fn values(&self) -> String {
        format!("{}/values/", self.prefix)
    }

    fn value(&self, key: &str) -> String {
        format!("{}/values/{key}", self.prefix)
    }
}

/// What stands under a map's epoch, little-endian: magic, parts (u32, 0: the map follows), the map's bytes (u64), writer (i64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reference {
    parts: u32,
    bytes: u64,
    writer: i64,
}

const REFERENCE_MAGIC: [u8; 8] = *b"BSLTMREF";
const REFERENCE_BYTES: usize = 28;

impl Reference {
    fn encode(self, map: &[u8]) -> Vec<u8> {
        let inline = if self.parts == 0 { map } else { &[] };
        [&REFERENCE_MAGIC[..], &self.parts.to_le_bytes(), &self.bytes.to_le_bytes(), &self.writer.to_le_bytes(), inline]
            .concat()
    }

    fn decode(value: &[u8]) -> Option<(Reference, &[u8])> {
        let (head, inline) = value.split_first_chunk::<REFERENCE_BYTES>()?;
        let (magic, rest) = head.split_first_chunk::<8>()?;
        let (parts, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, writer) = rest.split_first_chunk::<8>()?;
        let reference = Reference {
            parts: u32::from_le_bytes(*parts),
            bytes: u64::from_le_bytes(*bytes),
            writer: i64::from_le_bytes(*writer.first_chunk()?),
        };
        let fits = reference.bytes <= limits::MAP_BYTES_MAX as u64
            && reference.parts as usize <= limits::MAP_BYTES_MAX.div_ceil(limits::ETCD_PART_BYTES)
            && (reference.parts > 0 || inline.len() as u64 == reference.bytes);
        (*magic == REFERENCE_MAGIC && fits).then_some((reference, inline))
    }
}

/// The store as one leader sees it. Its calls block, and must not be made on a thread of an asynchronous runtime.
pub struct EtcdStore {
    background: Background,
    members: Members,
    keys: Keys,
    candidacy: Candidacy,
}

enum Problem {
    Etcd(EtcdError),
    Content(String),
}

impl From<EtcdError> for Problem {
    fn from(error: EtcdError) -> Problem {
        Problem::Etcd(error)
    }
}

impl EtcdStore {
    pub fn new(background: Background, members: Members, keys: Keys, candidacy: Candidacy) -> EtcdStore {
        EtcdStore { background, members, keys, candidacy }
    }

    fn failed(&self, problem: Problem) -> StoreError {
        let problem = match problem {
            Problem::Etcd(error) => error.to_string(),
            Problem::Content(problem) => problem,
        };
        StoreError { place: format!("etcd {}", self.keys.prefix), problem }
    }

    /// Holds as long as this monitor leads.
    fn leads(&self) -> Compare {
        let key = self.keys.candidate(self.candidacy.lease);
        Compare::create_revision(key, CompareOp::Equal, self.candidacy.revision)
    }

    async fn try_load(&self) -> Result<Stored, Problem> {
        let newest = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Descend).with_limit(1);
        // One reading of both, and of one revision.
        let read = Txn::new().when([self.leads()]).and_then([
            TxnOp::get(self.keys.maps(), Some(newest)),
            TxnOp::get(self.keys.values(), Some(GetOptions::new().with_prefix())),
        ]);
        let mut answer = self.ask(read).await?;
        if !answer.succeeded {
            return Err(self.deposed());
        }
        let values_prefix = self.keys.values();
        let values = pop_range(&mut answer.ranges)?.into_iter().filter_map(|(key, value)| {
            let key = String::from_utf8(key).ok()?;
            Some((key.strip_prefix(&values_prefix)?.to_owned(), value))
        });
        let values: BTreeMap<_, _> = values.collect();
        let newest_map = match pop_range(&mut answer.ranges)?.into_iter().next() {
            None => None,
            Some((key, value)) => {
                let epoch = self.epoch_of(&key)?;
                Some((epoch, self.assemble(epoch, &value).await?))
            }
        };
        Ok(Stored { newest_map, values })
    }

    fn epoch_of(&self, key: &[u8]) -> Result<u32, Problem> {
        let text = String::from_utf8_lossy(key);
        let epoch = text.strip_prefix(&self.keys.maps()).and_then(|digits| digits.parse().ok());
        epoch.ok_or_else(|| Problem::Content(format!("the key '{text}' names no epoch: somebody else writes here")))
    }

    async fn assemble(&self, epoch: u32, value: &[u8]) -> Result<Vec<u8>, Problem> {
        let wrong = |what: &str| Problem::Content(format!("the map of epoch {epoch} {what}"));
        let (reference, inline) = Reference::decode(value).ok_or_else(|| wrong("has no valid reference"))?;
        if reference.parts == 0 {
            return Ok(inline.to_vec());
        }
        let mut map = Vec::with_capacity(reference.bytes as usize);
        for index in 0..reference.parts {
            let part = self.get(self.keys.part(epoch, reference.writer, index)).await?;
            let part = part.ok_or_else(|| wrong(&format!("lacks part {index} of {}", reference.parts)))?;
            map.extend_from_slice(&part);
            if map.len() as u64 > reference.bytes {
                break;
            }
        }
        if map.len() as u64 != reference.bytes {
            return Err(wrong(&format!("has {} bytes in its parts, not {}", map.len(), reference.bytes)));
        }
        Ok(map)
    }

    async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Problem> {
        let got = self.members.ask(|mut client| {
            let key = key.clone();
            async move { client.get(key, None).await }
        });
        let got: GetResponse = got.await?;
        Ok(got.kvs().first().map(|pair| pair.value().to_vec()))
    }

    async fn try_commit(&self, batch: &Batch) -> Result<(), Problem> {
        let mut conditions = vec![self.leads()];
        let mut operations = Vec::new();
        let mut forget_below = batch.forget_maps_below;
        let mut written = None;
        if let Some((epoch, map)) = &batch.map {
            let parts = if map.len() > limits::ETCD_PART_BYTES { self.put_parts(*epoch, map).await? } else { 0 };
            let reference = Reference { parts, bytes: map.len() as u64, writer: self.candidacy.revision };
            let value = reference.encode(map);
            let key = self.keys.map(*epoch);
            // Over a range it holds if no key in it has ever been made: neither this epoch nor a later one.
            conditions
                .push(Compare::create_revision(key.clone(), CompareOp::Equal, 0).with_range(self.keys.maps_end()));
            if *epoch > 1 {
                conditions.push(Compare::create_revision(self.keys.map(epoch - 1), CompareOp::Greater, 0));
            }
            operations.push(TxnOp::put(key.clone(), value.clone(), None));
            let kept = (limits::ETCD_MAPS_BYTES_MAX / map.len().max(1)).clamp(2, limits::MAPS_KEPT as usize);
            forget_below = forget_below.max(epoch.saturating_sub(kept as u32));
            written = Some((key, value));
        }
        for (key, value) in &batch.values {
            operations.push(TxnOp::put(self.keys.value(key), value.clone(), None));
        }
        if forget_below > 0 {
            let below = |end: String| Some(DeleteOptions::new().with_range(end));
            operations.push(TxnOp::delete(self.keys.map(0), below(self.keys.map(forget_below))));
            operations.push(TxnOp::delete(self.keys.parts(0), below(self.keys.parts(forget_below))));
        }
        let mut transaction = Txn::new().when(conditions).and_then(operations);
        if let Some((key, _)) = &written {
            transaction = transaction.or_else([TxnOp::get(key.clone(), None)]);
        }
        let mut answer = self.ask(transaction).await?;
        if answer.succeeded {
            return Ok(());
        }
        // Refused, or it was put before and the answer was lost: then what is there is what was to be.
        if let Some((_, value)) = &written
            && pop_range(&mut answer.ranges)?.first().is_some_and(|(_, there)| there == value)
        {
            return Ok(());
        }
        Err(self.deposed())
    }

    async fn put_parts(&self, epoch: u32, map: &[u8]) -> Result<u32, Problem> {
        let mut count = 0;
        for part in map.chunks(limits::ETCD_PART_BYTES) {
            let key = self.keys.part(epoch, self.candidacy.revision, count);
            let put = Txn::new().when([self.leads()]).and_then([TxnOp::put(key, part, None)]);
            if !self.ask(put).await?.succeeded {
                return Err(self.deposed());
            }
            count += 1;
        }
        Ok(count)
    }

    async fn ask(&self, transaction: Txn) -> Result<Answer, Problem> {
        let asked = self.members.ask(|mut client| {
            let transaction = transaction.clone();
            async move { client.txn(transaction).await }
        });
        let response = asked.await?;
        let ranges = response.op_responses().into_iter().map(|response| match response {
            etcd_client::TxnOpResponse::Get(mut got) => {
                got.take_kvs().into_iter().map(|pair| pair.into_key_value()).collect()
            }
            _ => Vec::new(),
        });
        Ok(Answer { succeeded: response.succeeded(), ranges: ranges.collect() })
    }

    fn deposed(&self) -> Problem {
        Problem::Content("another monitor leads, or has written meanwhile".into())
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

struct Answer {
    succeeded: bool,
    /// Of each operation, in their order; empty where it was no reading.
    ranges: Vec<Pairs>,
}

fn pop_range(ranges: &mut Vec<Pairs>) -> Result<Pairs, Problem> {
    ranges.pop().ok_or_else(|| Problem::Content("it answered fewer questions than were asked".into()))
}

impl MonitorStore for EtcdStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.background.block_on(self.try_load()).map_err(|problem| self.failed(problem))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.background.block_on(self.try_commit(batch)).map_err(|problem| self.failed(problem))
    }

    fn map(&mut self, epoch: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let read = async {
            match self.get(self.keys.map(epoch)).await? {
                None => Ok(None),
                Some(value) => self.assemble(epoch, &value).await.map(Some),
            }
        };
        self.background.block_on(read).map_err(|problem| self.failed(problem))
    }
}
