//! What is in the shards of one generation, brought into those of the next: see `reshard` for when.
//!
//! Changes go on meanwhile, and each notes the omap keys that it touched. A note is removed before the key is looked at; so a change that
//! comes after the look leaves another note. Nobody but this reads or writes the new shards yet, and who takes it up after a death begins
//! with new ones.

use super::Store;
use super::bucket::Bucket;
use super::count::{Count, is_counted, slot_name};
use super::index::{Intent, logged_key, unescaped};
use super::reshard::{Resharding, is_of_shard};
use super::shard::{Layout, Shard, hash_of};
use super::{decode, encode};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use basalt_client::{ObjectOperations, Pair, Pairs};
use basalt_net::message::object::Operation;
use basalt_ring::Instant;
use basalt_ring::local::join_all;
use s3s::S3ErrorCode;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

pub struct Move {
    store: Rc<Store>,
    bucket: String,
    token: String,
    to: Layout,
    targets: Vec<Target>,
    last_beat: Cell<Instant>,
    pub copied: u64,
    pub carried_over: u64,
}

/// A new shard, and what it has.
struct Target {
    shard: Shard,
    count: Cell<Count>,
}

/// Where something goes.
enum Way {
    To(u32),
    /// To none: nobody can reach it any more, or its note says more.
    Nowhere,
}

/// Keys' hashes by the uploads of these keys: parts are named by their uploads alone.
type Uploads = RefCell<HashMap<Vec<u8>, u32>>;

/// An omap key, and what is there.
type Seen = (Vec<u8>, Option<Vec<u8>>);

#[derive(Default)]
struct Batch {
    set: Pairs,
    remove: Vec<Vec<u8>>,
    bytes: usize,
    count: Count,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.bytes >= limits::COPY_BYTES_MAX || self.set.len() + self.remove.len() >= limits::COPY_PAIRS_MAX
    }

    fn put(&mut self, (key, value): Pair) {
        self.bytes += key.len() + value.len();
        self.set.push((key, value));
    }
}

impl Move {
    pub fn new(store: &Rc<Store>, bucket: &Bucket, resharding: &Resharding) -> Move {
        let to = resharding.layout();
        let target = |number| Target { shard: Shard::new(&bucket.id, to.generation, number), count: Cell::default() };
        Move {
            store: store.clone(),
            bucket: bucket.name.clone(),
            token: resharding.token.clone(),
            to,
            targets: (0..to.shards).map(target).collect(),
            last_beat: Cell::new(store.ring.now()),
            copied: 0,
            carried_over: 0,
        }
    }

    pub async fn beat(&self) -> Result<()> {
        self.last_beat.set(self.store.ring.now());
        self.store.say_resharding_lives(&self.bucket, &self.token).await
    }

    async fn beat_if_due(&self) -> Result<()> {
        if self.store.ring.now().since(self.last_beat.get()) < limits::RESHARD_BEAT {
            return Ok(());
        }
        self.beat().await
    }

    /// All that is in these shards, as it is by the way.
    pub async fn copy(&mut self, shards: &[Shard]) -> Result<()> {
        for some in shards.chunks(limits::SHARDS_MOVED_AT_ONCE) {
            for copied in join_all(some.iter().map(|shard| self.copy_shard(shard)).collect()).await {
                self.copied += copied?;
            }
        }
        Ok(())
    }

    async fn copy_shard(&self, from: &Shard) -> Result<u64> {
        let uploads = self.uploads_of(from).await?;
        let (mut copied, mut after) = (0, Vec::new());
        loop {
            let (pairs, more) = self.store.shard_page(from, &after, b"", limits::LIST_PAGE_MAX).await?;
            let mut batches: BTreeMap<u32, Batch> = BTreeMap::new();
            for (key, value) in pairs {
                after.clone_from(&key);
                let Way::To(number) = self.way(&key, &value, &uploads)? else { continue };
                let batch = batches.entry(number).or_default();
                if is_counted(&key) {
                    batch.count += Count::of_entry(&value)?;
                }
                batch.put((key, value));
                copied += 1;
                if batch.is_full() {
                    self.write(number, std::mem::take(batch)).await?;
                }
            }
            self.write_all(batches).await?;
            if !more {
                return Ok(copied);
            }
            self.beat_if_due().await?;
        }
    }

    async fn uploads_of(&self, from: &Shard) -> Result<Uploads> {
        let (mut uploads, mut after) = (HashMap::new(), Vec::new());
        loop {
            let (pairs, more) = self.store.shard_page(from, &after, b"u", limits::LIST_PAGE_MAX).await?;
            for (name, _) in pairs {
                if let Some((key, upload)) = unescaped(&name) {
                    uploads.insert(upload, hash_of(&key));
                }
                after = name;
            }
            if !more {
                return Ok(RefCell::new(uploads));
            }
        }
    }

    fn way(&self, key: &[u8], value: &[u8], uploads: &Uploads) -> Result<Way> {
        let rest = key.get(1..).unwrap_or_default();
        let hash = match key.first() {
            _ if is_of_shard(key) => None,
            Some(b'p') => {
                let upload = rest.rsplitn(2, |byte| *byte == b'.').last().unwrap_or_default();
                uploads.borrow().get(upload).copied()
            }
            Some(b'i') => {
                let intent: Intent = decode(value, || "an upload's intent".into())?;
                let message = "an upload through a gateway of an older version is under way; try again when it is over";
                Some(intent.hash.ok_or_else(|| Fault::refuse(S3ErrorCode::OperationAborted, message))?)
            }
            _ => Some(hash_in(key).ok_or_else(|| unknown(key))?),
        };
        Ok(hash.map_or(Way::Nowhere, |hash| Way::To(self.to.shard_of(hash))))
    }

    /// What was changed since it was copied, until little is left of that.
    pub async fn carry_over_most(&mut self, shards: &[Shard]) -> Result<()> {
        // Twice, because what is changed during the first round, which may be long, is more than during the second.
        for _ in 0..2 {
            for shard in shards {
                loop {
                    let carried = self.carry_over_page(shard).await?;
                    self.carried_over += u64::from(carried);
                    self.beat_if_due().await?;
                    if carried < limits::LOG_PAGE {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// All the rest, of shards in which nothing is changed any more.
    pub async fn carry_over_rest(&mut self, shards: &[Shard], begun: Instant) -> Result<()> {
        let all = async |shard: &Shard| {
            let mut carried = 0;
            loop {
                let page = self.carry_over_page(shard).await?;
                carried += u64::from(page);
                if page == 0 {
                    return Ok(carried);
                }
                if self.store.ring.now().since(begun) > limits::SWITCH_WAIT {
                    let message = "more was changed than could be carried over; try again";
                    return Err(Fault::refuse(S3ErrorCode::ServiceUnavailable, message));
                }
            }
        };
        let mut sum = 0;
        for carried in join_all(shards.iter().map(all).collect()).await {
            sum += carried?;
        }
        self.carried_over += sum;
        Ok(())
    }

    /// How many keys it was about.
    async fn carry_over_page(&self, from: &Shard) -> Result<u32> {
        let (notes, _) = self.store.shard_page(from, b"", &logged_key(b""), limits::LOG_PAGE).await?;
        if notes.is_empty() {
            return Ok(0);
        }
        let keys = notes.iter().map(|(note, _)| note.clone()).collect();
        let forget = ObjectOperations::new().operation(Operation::RemoveOmap { keys });
        self.store.index.execute(from.name(), forget).await?;
        for some in notes.chunks(limits::VALUES_ASKED_AT_ONCE) {
            self.carry_over(from, some).await?;
        }
        Ok(notes.len() as u32)
    }

    async fn carry_over(&self, from: &Shard, notes: &[Pair]) -> Result<()> {
        let names: Vec<&[u8]> = notes.iter().filter_map(|(note, _)| note.get(1..)).collect();
        let mut values: HashMap<Vec<u8>, Vec<u8>> = self.store.shard_values(from, &names).await?.into_iter().collect();
        let mut by_target: BTreeMap<u32, Vec<Seen>> = BTreeMap::new();
        for (name, (_, noted)) in names.into_iter().zip(notes) {
            if is_of_shard(name) {
                continue;
            }
            let value = values.remove(name);
            let noted = std::str::from_utf8(noted).ok().and_then(|text| text.parse::<u32>().ok());
            let of_value = || decode::<Intent>(value.as_deref()?, String::new).ok()?.hash;
            match hash_in(name).or(noted).or_else(of_value) {
                Some(hash) => by_target.entry(self.to.shard_of(hash)).or_default().push((name.to_vec(), value)),
                None if value.is_some() => return Err(unknown(name)),
                // Wherever it went, it is gone.
                None => (0..self.to.shards)
                    .for_each(|number| by_target.entry(number).or_default().push((name.to_vec(), None))),
            }
        }
        for (number, pairs) in by_target {
            let Some(target) = self.targets.get(number as usize) else { continue };
            let counted: Vec<&[u8]> =
                pairs.iter().map(|(name, _)| name.as_slice()).filter(|name| is_counted(name)).collect();
            let mut batch = Batch::default();
            if !counted.is_empty() {
                for (_, before) in self.store.shard_values(&target.shard, &counted).await? {
                    batch.count += Count::of_entry(&before)?.negative();
                }
            }
            for (name, value) in pairs {
                match value {
                    Some(value) => {
                        if is_counted(&name) {
                            batch.count += Count::of_entry(&value)?;
                        }
                        batch.put((name, value));
                    }
                    None => batch.remove.push(name),
                }
            }
            self.write(number, batch).await?;
        }
        Ok(())
    }

    async fn write_all(&self, batches: BTreeMap<u32, Batch>) -> Result<()> {
        let writes = batches.into_iter().map(|(number, batch)| self.write(number, batch)).collect();
        join_all(writes).await.into_iter().collect()
    }

    async fn write(&self, number: u32, batch: Batch) -> Result<()> {
        let Some(target) = self.targets.get(number as usize) else { return Ok(()) };
        let mut operations = ObjectOperations::new();
        if !batch.remove.is_empty() {
            operations = operations.operation(Operation::RemoveOmap { keys: batch.remove });
        }
        if !batch.set.is_empty() {
            operations = operations.operation(Operation::SetOmap { pairs: batch.set });
        }
        if operations.is_empty() {
            return Ok(());
        }
        self.store.index.execute(target.shard.name(), operations).await?;
        let mut count = target.count.get();
        count += batch.count;
        target.count.set(count);
        Ok(())
    }

    pub async fn write_counts(&self) -> Result<()> {
        let write = async |target: &Target| {
            let pairs = vec![(slot_name(0), encode(&target.count.get()))];
            self.store.index.set_omap(target.shard.name(), pairs).await
        };
        for some in self.targets.chunks(limits::SHARDS_COUNTED_AT_ONCE) {
            for written in join_all(some.iter().map(write).collect()).await {
                written?;
            }
        }
        Ok(())
    }
}

/// The hash by which an omap key finds its shard, if that is in its name. What is garbage may be anywhere; only always at the same place.
fn hash_in(omap_key: &[u8]) -> Option<u32> {
    match omap_key.first()? {
        b'k' => Some(crc32c::crc32c(omap_key.get(1..)?)),
        b'v' | b'u' => unescaped(omap_key).map(|(key, _)| hash_of(&key)),
        b'g' => Some(crc32c::crc32c(omap_key)),
        _ => None,
    }
}

fn unknown(omap_key: &[u8]) -> Fault {
    Fault::damaged("a bucket's index", format!("nobody knows what '{}' belongs to", omap_key.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::super::index::{entry_key, garbage_key, intent_key, part_key, upload_key, version_key};
    use super::*;

    #[test]
    fn what_belongs_to_a_key_goes_where_the_key_goes() {
        for key in ["a", "b/c", "\u{0}x", "ü"] {
            let hash = Some(hash_of(key));
            assert_eq!(hash_in(&entry_key(key)), hash);
            assert_eq!(hash_in(&version_key(key, &Entry::default())), hash);
            assert_eq!(hash_in(&upload_key(key, "u1")), hash);
        }
        assert_eq!(hash_in(&part_key("u1", 3)), None);
        assert_eq!(hash_in(&intent_key("t", 0)), None);
        assert_eq!(hash_in(&garbage_key("t", 0)), hash_in(&garbage_key("t", 0)));
        assert!(hash_in(b"?x").is_none());
    }
}
