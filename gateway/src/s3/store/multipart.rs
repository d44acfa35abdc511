//! Uploads in parts: a record of the upload and one of each part, in the shard of the object's key, so that completing is one change there.

use super::bucket::Bucket;
use super::data::Incoming;
use super::entry::{Entry, Run, StoredChecksum, push_part};
use super::index::{Change, part_key, part_prefix, unescaped, upload_key};
use super::listing::{Merger, common_prefix};
use super::object::{Condition, Registered};
use super::shard::Shard;
use super::{Store, decode, encode};
use crate::s3::encryption::sealed_bytes;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use s3s::S3ErrorCode;
use serde::{Deserialize, Serialize};
use std::rc::Rc;

/// An upload that is neither complete nor aborted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Upload {
    pub id: String,
    pub since_ns: u64,
    /// Who began it.
    pub initiator: String,
    /// As it was then.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub initiator_name: String,
    /// The object to be, but for what its parts will say.
    pub draft: Entry,
    /// The algorithm of the checksums that its parts must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<ChecksumPlan>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ChecksumPlan {
    pub algorithm: String,
    /// The whole object's checksum, not one of the parts' checksums.
    pub is_of_whole: bool,
}

/// A part that is there whole.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Part {
    pub number: u32,
    /// Of the data.
    pub tag: String,
    pub size: u64,
    pub etag: String,
    pub modified_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<StoredChecksum>,
    /// More bytes than `size` are stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_sealed: bool,
    /// Nobody has uploaded it whole yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_pending: bool,
}

/// A part as the client names it when it completes an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPart {
    pub number: u32,
    pub etag: String,
    /// The checksum that it says the part has.
    pub checksum: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct UploadQuery {
    pub prefix: String,
    pub delimiter: String,
    pub key_marker: String,
    pub upload_marker: String,
    pub max: u32,
}

#[derive(Clone, Debug, Default)]
pub struct UploadPage {
    pub uploads: Vec<(String, Upload)>,
    pub common_prefixes: Vec<String>,
    pub next: Option<(String, String)>,
}

pub fn no_such_upload() -> Fault {
    Fault::refuse(S3ErrorCode::NoSuchUpload, "there is no such upload; it may have been completed or aborted")
}

impl Part {
    fn stored_bytes(&self) -> u64 {
        if self.is_sealed { sealed_bytes(self.size) } else { self.size }
    }
}

impl Upload {
    pub fn initiator_name(&self) -> &str {
        if self.initiator_name.is_empty() { &self.initiator } else { &self.initiator_name }
    }
}

impl Store {
    pub async fn begin_upload(&self, bucket: &Bucket, key: &str, upload: Upload) -> Result<Upload> {
        let shard = bucket.shard(key);
        let upload = Upload { id: self.tag(), since_ns: self.now_ns(), ..upload };
        let name = upload_key(key, &upload.id);
        let change = Change::new().expect(name.clone(), None).set(name, encode(&upload));
        match self.change(&shard, change).await {
            Err(fault) if fault.is_overtaken() => {
                self.refuse_closed(&shard).await?;
                Err(fault)
            }
            done => done.map(|()| upload),
        }
    }

    async fn upload_with_bytes(&self, shard: &Shard, key: &str, id: &str) -> Result<(Upload, Vec<u8>)> {
        let value = self.shard_value(shard, &upload_key(key, id)).await?.ok_or_else(no_such_upload)?;
        Ok((decode(&value, || format!("upload {id}"))?, value))
    }

    pub async fn upload(&self, bucket: &Bucket, key: &str, id: &str) -> Result<Upload> {
        Ok(self.upload_with_bytes(&bucket.shard(key), key, id).await?.0)
    }

    /// Stores one part of an upload that is there; one of the same number that was there before is replaced.
    pub async fn put_part(
        self: &Rc<Self>,
        bucket: &Bucket,
        key: &str,
        id: &str,
        number: u32,
        incoming: Incoming,
    ) -> Result<Part> {
        let shard = bucket.shard(key);
        self.check_quota(bucket, incoming.expected.unwrap_or(0)).await?;
        let (expected, is_sealed) = (incoming.expected_stored(), incoming.is_sealed());
        let registered = match self.register_first(&shard, id, number).await? {
            Some(registered) => registered,
            None => self.register(&shard, self.tag(), number).await?,
        };
        let (registered, written) = self.write_registered(&shard, registered, incoming).await;
        let outcome = match written {
            Ok((size, facts)) => {
                let part = Part {
                    number,
                    tag: registered.intent.tag.clone(),
                    size,
                    etag: facts.etag,
                    modified_ns: self.now_ns(),
                    checksum: facts.checksum,
                    is_sealed,
                    is_pending: false,
                };
                self.keep_part(&shard, key, id, &registered, part).await
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = &outcome {
            self.give_up_after(&shard, registered, expected, fault).await;
        }
        outcome
    }

    /// The intent of the first attempt ever at a part: its data has the upload's own tag, so that few words say where an object of
    /// thousands of parts is. `None`: there was one before; what that wrote, or may yet write, must have other names.
    async fn register_first(&self, shard: &Shard, id: &str, number: u32) -> Result<Option<Registered>> {
        let registered = Registered::new(id.to_owned(), number, shard, self.now_ns());
        let pending = Part {
            number,
            tag: String::new(),
            size: 0,
            etag: String::new(),
            modified_ns: 0,
            checksum: None,
            is_sealed: false,
            is_pending: true,
        };
        let name = part_key(id, number);
        let change = Change::new()
            .expect(name.clone(), None)
            .set(name, encode(&pending))
            .set(registered.name(), registered.value.clone());
        match self.change(shard, change).await {
            Ok(()) => Ok(Some(registered)),
            Err(fault) if fault.is_overtaken() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn keep_part(&self, shard: &Shard, key: &str, id: &str, registered: &Registered, part: Part) -> Result<Part> {
        let number = part.number;
        let name = part_key(id, number);
        for _ in 0..limits::OVERTAKEN_MAX {
            let (_, upload) = self.upload_with_bytes(shard, key, id).await?;
            let before = self.shard_value(shard, &name).await?;
            let mut change = Change::new()
                .expect(registered.name(), Some(registered.value.clone()))
                .expect(upload_key(key, id), Some(upload))
                .expect(name.clone(), before.clone())
                .remove(registered.name())
                .set(name.clone(), encode(&part));
            if let Some(before) = before {
                let before: Part = decode(&before, || format!("part {number} of upload {id}"))?;
                change = change.discard_runs(&runs_of(&before), self.now_ns());
            }
            match self.change(shard, change).await {
                Ok(()) => return Ok(part),
                Err(fault) if fault.is_overtaken() => {
                    let intent = self.shard_value(shard, &registered.name()).await?;
                    if intent.as_ref() != Some(&registered.value) {
                        return Err(no_such_upload());
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::refuse(S3ErrorCode::OperationAborted, "others upload this part all the time"))
    }

    /// The parts behind number `after`, and whether there are more.
    pub async fn parts(&self, bucket: &Bucket, key: &str, id: &str, after: u32, max: u32) -> Result<(Vec<Part>, bool)> {
        let (mut parts, more) = self.parts_of(&bucket.shard(key), id, after, max).await?;
        parts.retain(|part| !part.is_pending);
        Ok((parts, more))
    }

    async fn parts_of(&self, shard: &Shard, id: &str, after: u32, max: u32) -> Result<(Vec<Part>, bool)> {
        let mut parts = Vec::new();
        let mut behind = part_key(id, after);
        loop {
            let left = max.saturating_sub(parts.len() as u32);
            let (pairs, more) =
                self.shard_page(shard, &behind, &part_prefix(id), left.clamp(1, limits::LIST_PAGE_MAX)).await?;
            for (name, value) in pairs {
                if parts.len() as u32 >= max {
                    return Ok((parts, true));
                }
                parts.push(decode(&value, || format!("a part of upload {id}"))?);
                behind = name;
            }
            if !more {
                return Ok((parts, false));
            }
            if parts.len() as u32 >= max {
                return Ok((parts, true));
            }
        }
    }

    /// Makes an object of the named parts. `finish`: what follows from them, its checksum and whether that is the expected one.
    pub async fn complete_upload(
        &self,
        bucket: &Bucket,
        key: &str,
        id: &str,
        named: &[NamedPart],
        condition: &Condition,
        finish: impl Fn(&Upload, &[Part]) -> Result<(String, Option<StoredChecksum>)>,
    ) -> Result<Entry> {
        let shard = bucket.shard(key);
        let (upload, upload_bytes) = self.upload_with_bytes(&shard, key, id).await?;
        let (all, _) = self.parts_of(&shard, id, 0, limits::PARTS_MAX).await?;
        let chosen = choose(&all, named)?;
        let (etag, checksum) = finish(&upload, &chosen)?;
        let mut entry = Entry {
            size: chosen.iter().map(|part| part.size).sum(),
            etag,
            checksum,
            parts: chosen.len() as u32,
            ..upload.draft.clone()
        };
        entry.part_checksums = checksums_of(&chosen, entry.checksum.as_ref());
        for part in &chosen {
            push_part(&mut entry.runs, &part.tag, part.number, part.stored_bytes());
        }
        // Rather less is known of the parts than that the object can't be made of them.
        if encode(&entry).len() > limits::ENTRY_BYTES_MAX - ENTRY_BYTES_TO_COME {
            entry.part_checksums.clear();
        }
        let unused: Vec<&Part> = all.iter().filter(|part| !chosen.contains(part)).collect();
        let base = || {
            let mut change =
                Change::new().expect(upload_key(key, id), Some(upload_bytes.clone())).remove(upload_key(key, id));
            for part in &all {
                let name = part_key(id, part.number);
                change = change.expect(name.clone(), Some(encode(part))).remove(name);
            }
            for part in &unused {
                change = change.discard_runs(&runs_of(part), self.now_ns());
            }
            change
        };
        let still_there = async |shard: &Shard| {
            let (_, now) = self.upload_with_bytes(shard, key, id).await?;
            let (parts, _) = self.parts_of(shard, id, 0, limits::PARTS_MAX).await?;
            if now == upload_bytes && parts == all {
                return Ok(());
            }
            Err(Fault::refuse(S3ErrorCode::OperationAborted, "parts of this upload came in while it was completed"))
        };
        if all.len() > COMPLETE_AT_ONCE_MAX {
            return self.complete_large(bucket, key, id, &upload_bytes, entry, &all, &unused, condition).await;
        }
        self.publish(bucket, key, entry, |current| condition.check(current), base, still_there).await
    }

    /// As many parts as fit into no one request: the object becomes visible first, and with it the upload goes; the records of its parts,
    /// which nobody can reach any more, go after that. Who dies in between leaves them to the garbage pass.
    #[allow(clippy::too_many_arguments)]
    async fn complete_large(
        &self,
        bucket: &Bucket,
        key: &str,
        id: &str,
        upload_bytes: &[u8],
        entry: Entry,
        all: &[Part],
        unused: &[&Part],
        condition: &Condition,
    ) -> Result<Entry> {
        let shard = bucket.shard(key);
        let base = || {
            let name = upload_key(key, id);
            let mut change = Change::new().expect(name.clone(), Some(upload_bytes.to_vec())).remove(name);
            for part in unused.iter().take(COMPLETE_AT_ONCE_MAX) {
                change = change.discard_runs(&runs_of(part), self.now_ns());
            }
            change
        };
        let still_there = async |shard: &Shard| {
            let (_, now) = self.upload_with_bytes(shard, key, id).await?;
            if now == upload_bytes { Ok(()) } else { Err(no_such_upload()) }
        };
        let entry = self.publish(bucket, key, entry, |current| condition.check(current), base, still_there).await?;
        for some in all.chunks(COMPLETE_AT_ONCE_MAX) {
            let change = some.iter().fold(Change::of_any(), |change, part| change.remove(part_key(id, part.number)));
            self.change(&shard, change).await?;
        }
        Ok(entry)
    }

    pub async fn abort_upload(&self, bucket: &Bucket, key: &str, id: &str) -> Result<()> {
        self.abort_in(&bucket.shard(key), key, id).await
    }

    async fn abort_in(&self, shard: &Shard, key: &str, id: &str) -> Result<()> {
        for _ in 0..limits::OVERTAKEN_MAX {
            let (_, upload_bytes) = self.upload_with_bytes(shard, key, id).await?;
            let (parts, more) = self.parts_of(shard, id, 0, COMPLETE_AT_ONCE_MAX as u32).await?;
            let name = upload_key(key, id);
            let mut change = Change::of_any().expect(name.clone(), Some(upload_bytes));
            for part in &parts {
                let part_name = part_key(id, part.number);
                change = change
                    .expect(part_name.clone(), Some(encode(part)))
                    .remove(part_name)
                    .discard_runs(&runs_of(part), self.now_ns());
            }
            // The upload itself goes with its last parts.
            if !more {
                change = change.remove(name);
            }
            match self.change(shard, change).await {
                Ok(()) if more => {}
                Ok(()) => return Ok(()),
                Err(fault) if fault.is_overtaken() => {}
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::refuse(S3ErrorCode::OperationAborted, "parts of this upload come in all the time"))
    }

    /// Of a bucket that is no more.
    pub async fn abort_all_uploads(&self, shard: &Shard) -> Result<()> {
        let mut after = Vec::new();
        loop {
            let (pairs, more) = self.shard_page(shard, &after, b"u", limits::LIST_PAGE_MAX).await?;
            for (name, _) in pairs {
                if let Some((key, id)) = unescaped(&name) {
                    match self.abort_in(shard, &key, &String::from_utf8_lossy(&id)).await {
                        Err(Fault::Refused { code: S3ErrorCode::NoSuchUpload, .. }) | Ok(()) => {}
                        Err(fault) => return Err(fault),
                    }
                }
                after = name;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// In the order of keys, then of upload ids.
    pub async fn list_uploads(&self, bucket: &Bucket, query: &UploadQuery) -> Result<UploadPage> {
        let mut page = UploadPage::default();
        if query.max == 0 {
            return Ok(page);
        }
        let mut prefix = super::index::escaped(b'u', &query.prefix);
        prefix.truncate(prefix.len() - 2);
        let mut after = upload_key(&query.key_marker, &query.upload_marker);
        if query.upload_marker.is_empty() {
            after.pop();
            after.push(2);
        }
        if query.key_marker.is_empty() || after < prefix {
            after.clear();
        }
        let mut merger = Merger::new(self, bucket, prefix, after, query.max + 1);
        let mut last = (String::new(), String::new());
        while let Some((name, value)) = merger.next().await? {
            let Some((key, _)) = unescaped(&name) else { continue };
            if page.uploads.len() + page.common_prefixes.len() >= query.max as usize {
                page.next = Some(last);
                break;
            }
            match common_prefix(&key, &query.prefix, &query.delimiter) {
                Some(common) => {
                    let mut hidden = super::index::escaped(b'u', common);
                    hidden.truncate(hidden.len() - 2);
                    merger.skip(&hidden);
                    last = (common.to_owned(), String::new());
                    page.common_prefixes.push(common.to_owned());
                }
                None => {
                    let upload: Upload = decode(&value, || format!("an upload of {key}"))?;
                    last = (key.clone(), upload.id.clone());
                    page.uploads.push((key, upload));
                }
            }
        }
        Ok(page)
    }
}

/// What an entry still gets when it becomes visible: its version, time and retention.
const ENTRY_BYTES_TO_COME: usize = 256;

/// Guards, removals and records of so many parts fit one request.
const COMPLETE_AT_ONCE_MAX: usize = 400;

/// The parts' checksums, if each has one and they don't take too much room.
fn checksums_of(parts: &[Part], whole: Option<&StoredChecksum>) -> Vec<String> {
    let Some(whole) = whole else { return Vec::new() };
    let of_part = |part: &Part| {
        let kept = part.checksum.as_ref().filter(|checksum| checksum.algorithm == whole.algorithm)?;
        Some(kept.value.clone())
    };
    let values: Vec<String> = parts.iter().map_while(of_part).collect();
    let fits = super::part_checksums::pack(&values).is_some_and(|kept| kept.len() <= limits::PART_CHECKSUMS_BYTES_MAX);
    if values.len() == parts.len() && fits { values } else { Vec::new() }
}

fn runs_of(part: &Part) -> Vec<Run> {
    let mut runs = Vec::new();
    push_part(&mut runs, &part.tag, part.number, part.stored_bytes());
    runs
}

/// The parts that the client names, if they are there, in order, and large enough.
fn choose(all: &[Part], named: &[NamedPart]) -> Result<Vec<Part>> {
    if named.is_empty() {
        return Err(Fault::refuse(S3ErrorCode::MalformedXML, "an upload is completed with at least one part"));
    }
    if !named.is_sorted_by_key(|part| part.number) {
        return Err(Fault::refuse(S3ErrorCode::InvalidPartOrder, "parts are named in the order of their numbers"));
    }
    let mut chosen = Vec::new();
    // A part that was uploaded twice may be named twice; then the later name counts, as with Ceph's gateway.
    let later = named.iter().skip(1).map(Some).chain([None]);
    for (named, _) in named.iter().zip(later).filter(|(one, next)| next.is_none_or(|next| next.number != one.number)) {
        let found = all.binary_search_by_key(&named.number, |part| part.number).ok().and_then(|index| all.get(index));
        let Some(part) = found.filter(|part| !part.is_pending && (named.etag.is_empty() || part.etag == named.etag))
        else {
            let message = format!("part {} was not uploaded, or is another one", named.number);
            return Err(Fault::refuse(S3ErrorCode::InvalidPart, message));
        };
        if let (Some(named), Some(kept)) = (&named.checksum, &part.checksum)
            && *named != kept.value
        {
            return Err(Fault::refuse(S3ErrorCode::InvalidPart, format!("part {} has another checksum", part.number)));
        }
        chosen.push(part.clone());
    }
    if let Some((_, before_last)) = chosen.split_last()
        && let Some(small) = before_last.iter().find(|part| part.size < limits::PART_BYTES_MIN)
    {
        let message = format!(
            "part {} has {} bytes, and only the last may have fewer than {}",
            small.number,
            small.size,
            limits::PART_BYTES_MIN
        );
        return Err(Fault::refuse(S3ErrorCode::EntityTooSmall, message));
    }
    Ok(chosen)
}
