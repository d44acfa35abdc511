//! Objects: stored, looked up, changed and deleted.

use super::bucket::{Bucket, Versioning};
use super::count::Slot;
use super::data::Incoming;
use super::entry::{Entry, NULL_VERSION, StoredChecksum, push_part};
use super::index::{Change, Intent, decode_entry, entry_key, intent_key, version_key, version_prefix};
use super::shard::Shard;
use super::{Store, encode};
use crate::s3::acl::Owner;
use crate::s3::encryption::sealed_bytes;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use basalt_client::error::EAGAIN;
use s3s::S3ErrorCode;
use s3s::dto::ETagCondition;
use std::rc::Rc;

/// What is known of a body once it has come in whole.
#[derive(Clone, Debug, Default)]
pub struct BodyFacts {
    pub etag: String,
    pub checksum: Option<StoredChecksum>,
}

/// What must hold of a key's newest version before it is replaced or deleted.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

/// What a deletion is bound to, and what it may do.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    pub if_match: Option<ETagCondition>,
    pub if_size: Option<u64>,
    /// Seconds since 1970.
    pub if_modified: Option<i64>,
    pub may_bypass_governance: bool,
}

impl Deletion {
    fn is_bound(&self) -> bool {
        self.if_match.is_some() || self.if_size.is_some() || self.if_modified.is_some()
    }

    /// What is not there is as good as deleted, whatever was expected of it; a delete marker is there.
    fn check(&self, current: Option<&Entry>) -> Result<()> {
        let Some(entry) = current else { return Ok(()) };
        match &self.if_match {
            Some(ETagCondition::ETag(etag)) if etag.value() != entry.etag => {
                return Err(failed_precondition("If-Match"));
            }
            _ => {}
        }
        if self.if_size.is_some_and(|size| size != entry.size) {
            return Err(failed_precondition("x-amz-if-match-size"));
        }
        if self.if_modified.is_some_and(|time| time != (entry.modified_ns / 1_000_000_000) as i64) {
            return Err(failed_precondition("x-amz-if-match-last-modified-time"));
        }
        Ok(())
    }
}

impl Condition {
    pub fn check(&self, current: Option<&Entry>) -> Result<()> {
        let current = current.filter(|entry| !entry.is_delete_marker);
        let is_met = |condition: &ETagCondition| match (condition, current) {
            (_, None) => false,
            (ETagCondition::Any, Some(_)) => true,
            (ETagCondition::ETag(etag), Some(entry)) => etag.value() == entry.etag,
        };
        if let Some(condition) = &self.if_match
            && !is_met(condition)
        {
            if current.is_none() {
                return Err(no_such_key());
            }
            return Err(failed_precondition("If-Match"));
        }
        if self.if_none_match.as_ref().is_some_and(is_met) {
            return Err(failed_precondition("If-None-Match"));
        }
        Ok(())
    }
}

pub fn failed_precondition(header: &str) -> Fault {
    Fault::refuse(S3ErrorCode::PreconditionFailed, format!("the object is not as {header} wants it"))
}

pub fn no_such_key() -> Fault {
    Fault::refuse(S3ErrorCode::NoSuchKey, "there is no such object")
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Of what was deleted, or of the marker that was made.
    pub version: Option<String>,
    pub is_delete_marker: bool,
}

/// An intent that stands in the index.
pub struct Registered {
    pub intent: Intent,
    pub value: Vec<u8>,
}

impl Registered {
    pub fn new(tag: String, number: u32, shard: &Shard, now_ns: u64) -> Registered {
        let intent = Intent { since_ns: now_ns, tag, number, hash: shard.hash() };
        Registered { value: encode(&intent), intent }
    }

    /// In the index.
    pub fn name(&self) -> Vec<u8> {
        intent_key(&self.intent.tag, self.intent.number)
    }
}

fn overtaken_too_often() -> Fault {
    Fault::Cluster(basalt_client::Error::new(EAGAIN, "others change this key all the time"))
}

impl Store {
    /// Stores a body under a key. `draft` is the entry but for what follows from the body; it is returned whole. Until this has
    /// returned, readers see what was there before; if it fails, they go on seeing that.
    pub async fn put_object(
        self: &Rc<Self>,
        bucket: &Bucket,
        key: &str,
        draft: Entry,
        condition: &Condition,
        incoming: Incoming,
    ) -> Result<Entry> {
        let shard = bucket.shard(key);
        self.check_quota(bucket, incoming.expected.unwrap_or(0)).await?;
        assert_eq!(draft.encryption.is_some(), incoming.is_sealed(), "an entry says how its bytes are sealed");
        let expected = incoming.expected_stored();
        let registered = self.register(&shard, self.tag(), 0).await?;
        let (registered, written) = self.write_registered(&shard, registered, incoming).await;
        let outcome = match written {
            Ok((size, facts)) => {
                let mut entry = Entry { size, etag: facts.etag, checksum: facts.checksum, ..draft };
                let stored = if entry.encryption.is_some() { sealed_bytes(size) } else { size };
                push_part(&mut entry.runs, &registered.intent.tag, 0, stored);
                self.publish_registered(bucket, key, entry, condition, &registered).await
            }
            Err(fault) => Err(fault),
        };
        match &outcome {
            Ok(entry) => self.stored(bucket, entry.size),
            Err(fault) => self.give_up_after(&shard, registered, expected, fault).await,
        }
        outcome
    }

    /// From here on, whoever dies leaves something to be found.
    pub async fn register(&self, shard: &Shard, tag: String, number: u32) -> Result<Registered> {
        let registered = Registered::new(tag, number, shard, self.now_ns());
        let change = Change::new().expect(registered.name(), None).set(registered.name(), registered.value.clone());
        match self.change(shard, change).await {
            Ok(()) => Ok(registered),
            Err(fault) if fault.is_overtaken() => {
                self.refuse_closed(shard).await?;
                Err(overtaken_too_often())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Writes the data of an intent, and keeps the intent young meanwhile.
    pub async fn write_registered(
        self: &Rc<Self>,
        shard: &Shard,
        mut registered: Registered,
        incoming: Incoming,
    ) -> (Registered, Result<(u64, BodyFacts)>) {
        let tag = registered.intent.tag.clone();
        let begun = self.ring.now();
        let mut writing = std::pin::pin!(self.write_part(&tag, registered.intent.number, incoming));
        loop {
            let turn = basalt_ring::local::select(writing.as_mut(), self.ring.sleep(limits::INTENT_RENEWAL)).await;
            if let basalt_ring::local::Either::First(written) = turn {
                if self.ring.now().since(begun) > limits::LOOK_AGAIN_AFTER
                    && let Err(fault) = self.look_again(shard).await
                {
                    return (registered, Err(fault));
                }
                return (registered, written);
            }
            if let Err(fault) = self.look_again(shard).await {
                tracing::warn!(%fault, "the bucket of a long upload could not be looked at");
            }
            let intent = Intent { since_ns: self.now_ns(), ..registered.intent.clone() };
            let value = encode(&intent);
            let change = Change::new()
                .expect(registered.name(), Some(registered.value.clone()))
                .set(registered.name(), value.clone());
            match self.change(shard, change).await {
                Ok(()) => registered = Registered { intent, value },
                Err(fault) if fault.is_overtaken() => return (registered, Err(given_up())),
                Err(fault) => tracing::warn!(%fault, "an upload's intent could not be renewed"),
            }
        }
    }

    /// The data of an upload that failed is garbage, `expected` bytes of it as far as is known; unless it may have become visible all the same.
    pub async fn give_up_after(&self, shard: &Shard, registered: Registered, expected: Option<u64>, fault: &Fault) {
        if matches!(fault, Fault::Cluster(error) if error.errno() == basalt_client::error::ETIMEDOUT) {
            // The intent decides: if it is still there when it is old, the data never became visible.
            return;
        }
        let Registered { intent, value } = registered;
        let change = Change::of_any().give_up(&intent, value, self.now_ns());
        let given_up = match self.change(shard, change).await {
            // A garbage pass was here before, and may have missed what was written since.
            Err(fault) if fault.is_overtaken() => self.remove_part(&intent.tag, intent.number, expected).await,
            done => done,
        };
        if let Err(fault) = given_up {
            tracing::info!(%fault, tag = intent.tag, "what a failed upload wrote is left to a later garbage pass");
        }
    }

    async fn publish_registered(
        &self,
        bucket: &Bucket,
        key: &str,
        entry: Entry,
        condition: &Condition,
        registered: &Registered,
    ) -> Result<Entry> {
        let name = registered.name();
        let base = || Change::new().expect(name.clone(), Some(registered.value.clone())).remove(name.clone());
        let is_whole = async |shard: &Shard| {
            let found = self.shard_value(shard, &name).await?;
            if found.as_ref() == Some(&registered.value) { Ok(()) } else { Err(given_up()) }
        };
        self.publish(bucket, key, entry, |current| condition.check(current), base, is_whole).await
    }

    /// Makes `entry` the newest version of its key, and hands what it replaces to its place among the older ones, or to the garbage pass, in
    /// one step. `may_replace`: refuses by what was there before; `base`: the change that this is part of; `check`: refuses if that can't be made any more.
    pub async fn publish(
        &self,
        bucket: &Bucket,
        key: &str,
        mut entry: Entry,
        may_replace: impl Fn(Option<&Entry>) -> Result<()>,
        base: impl Fn() -> Change,
        check: impl AsyncFn(&Shard) -> Result<()>,
    ) -> Result<Entry> {
        let shard = bucket.shard(key);
        let name = entry_key(key);
        for _ in 0..limits::OVERTAKEN_MAX {
            let slot = self.next_slot();
            let (before, slot) = self.value_and_slot(&shard, &name, slot).await?;
            let current = before.as_deref().map(|bytes| decode_entry(key, bytes)).transpose()?;
            may_replace(current.as_ref())?;
            let newer = current.as_ref().map_or(0, |current| current.modified_ns + 1);
            entry.modified_ns = self.now_ns().max(newer);
            entry.version = match bucket.versioning {
                Versioning::Enabled => format!("{:016x}{:016x}", entry.sort(), self.ring.random_u64()),
                Versioning::Never | Versioning::Suspended => NULL_VERSION.into(),
            };
            if let Some(retention) = bucket.lock.as_ref().and_then(|lock| lock.retention)
                && entry.lock.retention.is_none()
                && !entry.is_delete_marker
            {
                entry.lock.retention = Some(retention.from(entry.modified_ns));
            }
            let encoded = encode(&entry);
            if encoded.len() > limits::ENTRY_BYTES_MAX {
                let message = format!(
                    "what is to be known of the object takes {} bytes, more than there is room for",
                    encoded.len()
                );
                return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
            }
            let mut change = base().expect(name.clone(), before.clone()).set(name.clone(), encoded);
            if let (Some(current), Some(before)) = (&current, before) {
                change = self.retire(change, bucket, &shard, key, current, before).await?;
            }
            match self.change(&shard, change.counted(slot)?).await {
                Ok(()) => return Ok(entry),
                Err(fault) if fault.is_overtaken() => {
                    self.refuse_closed(&shard).await?;
                    check(&shard).await?;
                }
                Err(fault) => return Err(fault),
            }
        }
        Err(overtaken_too_often())
    }

    /// What is under an omap key, and one of the shard's counts, as they are together.
    async fn value_and_slot(&self, shard: &Shard, name: &[u8], slot: Vec<u8>) -> Result<(Option<Vec<u8>>, Slot)> {
        let (mut value, mut slot) = (None, Slot { name: slot, value: None });
        for (found, bytes) in self.shard_values(shard, &[name, &slot.name]).await? {
            if found == name { value = Some(bytes) } else { slot.value = Some(bytes) }
        }
        Ok((value, slot))
    }

    /// What becomes of the newest version when another takes its place.
    async fn retire(
        &self,
        mut change: Change,
        bucket: &Bucket,
        shard: &Shard,
        key: &str,
        current: &Entry,
        encoded: Vec<u8>,
    ) -> Result<Change> {
        if current.has_null_version() && bucket.versioning != Versioning::Enabled {
            return Ok(change.discard(current, self.now_ns()));
        }
        if bucket.versioning == Versioning::Suspended
            && let Some((name, value, old)) = self.find_older_null(shard, key).await?
        {
            change = change.expect(name.clone(), Some(value)).remove(name).discard(&old, self.now_ns());
        }
        Ok(change.set(version_key(key, current), encoded))
    }

    /// The version `null` among a key's older ones: its omap key, its bytes and what they say.
    async fn find_older_null(&self, shard: &Shard, key: &str) -> Result<Option<(Vec<u8>, Vec<u8>, Entry)>> {
        let prefix = version_prefix(key);
        let mut after = Vec::new();
        loop {
            let (pairs, more) = self.shard_page(shard, &after, &prefix, limits::LIST_PAGE_MAX).await?;
            for (name, value) in pairs {
                if name.ends_with(NULL_VERSION.as_bytes()) {
                    let entry = decode_entry(key, &value)?;
                    return Ok(Some((name, value, entry)));
                }
                after = name;
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// A version of a key, `None`: the newest, with its omap key and bytes.
    async fn find_named(
        &self,
        shard: &Shard,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<(Vec<u8>, Vec<u8>, Entry)>> {
        let name = entry_key(key);
        for _ in 0..limits::OVERTAKEN_MAX {
            let Some(value) = self.shard_value(shard, &name).await? else { return Ok(None) };
            let current = decode_entry(key, &value)?;
            let Some(version) = version.filter(|version| *version != current.version) else {
                return Ok(Some((name, value, current)));
            };
            let older = self.find_older(shard, key, version).await?;
            // Whoever deleted the newest in between has brought the next one forward, and that may be the one that is looked for.
            if older.is_some() || self.shard_value(shard, &name).await? == Some(value) {
                return Ok(older);
            }
        }
        Err(overtaken_too_often())
    }

    /// A version among a key's older ones.
    async fn find_older(&self, shard: &Shard, key: &str, version: &str) -> Result<Option<(Vec<u8>, Vec<u8>, Entry)>> {
        if version == NULL_VERSION {
            return self.find_older_null(shard, key).await;
        }
        let Some(sort) = version.get(..16) else { return Ok(None) };
        let name = [version_prefix(key), format!("{sort}{version}").into_bytes()].concat();
        let Some(value) = self.shard_value(shard, &name).await? else { return Ok(None) };
        let entry = decode_entry(key, &value)?;
        Ok(Some((name, value, entry)))
    }

    /// Delete markers too.
    pub async fn find_entry(&self, bucket: &Bucket, key: &str, version: Option<&str>) -> Result<Option<Entry>> {
        let found = self.find_named(&bucket.shard(key), key, version).await?;
        Ok(found.map(|(_, _, entry)| entry))
    }

    /// Changes what is known of a version, but not its bytes.
    pub async fn change_entry(
        &self,
        bucket: &Bucket,
        key: &str,
        version: Option<&str>,
        change: impl Fn(&mut Entry) -> Result<()>,
    ) -> Result<Entry> {
        let shard = bucket.shard(key);
        for _ in 0..limits::OVERTAKEN_MAX {
            let found = self.find_named(&shard, key, version).await?;
            let Some((name, value, mut entry)) = found.filter(|(_, _, entry)| !entry.is_delete_marker) else {
                return Err(no_such_key());
            };
            change(&mut entry)?;
            let operation = Change::new().expect(name.clone(), Some(value)).set(name, encode(&entry));
            match self.change(&shard, operation).await {
                Ok(()) => return Ok(entry),
                Err(fault) if fault.is_overtaken() => self.refuse_closed(&shard).await?,
                Err(fault) => return Err(fault),
            }
        }
        Err(overtaken_too_often())
    }

    /// Deletes a version, or the newest: where versions are kept, by a marker in front of it. What is not there is as good as deleted.
    pub async fn delete_object(
        &self,
        bucket: &Bucket,
        key: &str,
        version: Option<&str>,
        owner: &Owner,
        deletion: &Deletion,
    ) -> Result<Deleted> {
        match version {
            Some(version) => self.delete_version(bucket, key, version, deletion).await,
            None if bucket.versioning == Versioning::Never => {
                self.delete_version(bucket, key, NULL_VERSION, deletion).await?;
                Ok(Deleted::default())
            }
            None => {
                let marker = Entry {
                    is_delete_marker: true,
                    owner: owner.id.clone(),
                    owner_name: owner.name.clone(),
                    ..Entry::default()
                };
                let check = |current: Option<&Entry>| match current {
                    None if deletion.is_bound() => Err(Fault::NoObject { is_delete_marker: false }),
                    current => deletion.check(current),
                };
                match self.publish(bucket, key, marker, check, Change::new, async |_| Ok(())).await {
                    Ok(marker) => Ok(Deleted { version: Some(marker.version), is_delete_marker: true }),
                    Err(Fault::NoObject { .. }) => Ok(Deleted::default()),
                    Err(fault) => Err(fault),
                }
            }
        }
    }

    async fn delete_version(&self, bucket: &Bucket, key: &str, version: &str, deletion: &Deletion) -> Result<Deleted> {
        let shard = bucket.shard(key);
        let newest = entry_key(key);
        for _ in 0..limits::OVERTAKEN_MAX {
            let Some((name, value, entry)) = self.find_named(&shard, key, Some(version)).await? else {
                return Ok(Deleted { version: Some(version.into()), is_delete_marker: false });
            };
            deletion.check(Some(&entry))?;
            entry.lock.check_deletion(self.now_ns(), deletion.may_bypass_governance)?;
            let mut change = Change::new().expect(name.clone(), Some(value)).discard(&entry, self.now_ns());
            let (older, _) = if name == newest {
                self.shard_page(&shard, b"", &version_prefix(key), 1).await?
            } else {
                (Vec::new(), false)
            };
            let slot = self.next_slot();
            let slot = Slot { value: self.shard_value(&shard, &slot).await?, name: slot };
            change = match older.into_iter().next() {
                // The next older version is the newest now.
                Some((older_name, older_value)) => change
                    .expect(older_name.clone(), Some(older_value.clone()))
                    .remove(older_name)
                    .set(newest.clone(), older_value),
                None => change.remove(name),
            };
            match self.change(&shard, change.counted(slot)?).await {
                Ok(()) => {
                    return Ok(Deleted { version: Some(entry.version), is_delete_marker: entry.is_delete_marker });
                }
                Err(fault) if fault.is_overtaken() => self.refuse_closed(&shard).await?,
                Err(fault) => return Err(fault),
            }
        }
        Err(overtaken_too_often())
    }
}

/// A garbage pass took the upload for dead.
fn given_up() -> Fault {
    Fault::refuse(S3ErrorCode::ServiceUnavailable, "the upload was given up meanwhile; try again")
}
