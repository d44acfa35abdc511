//! Objects: put, got, looked at.

use super::Service;
use super::acl::of_new_object;
use super::body::{Announced, outgoing};
use super::fields::{self, ReadConditions};
use super::lock;
use super::sealing::Sealing;
use crate::fill_checksum;
use crate::s3::access::{Asked, Requester};
use crate::s3::acl::Permission;
use crate::s3::encryption::DataKey;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::server::{FormFields, SideBody};
use crate::s3::store::Store;
use crate::s3::store::bucket::Bucket;
use crate::s3::store::data::Incoming;
use crate::s3::store::entry::{Entry, StoredChecksum};
use crate::s3::store::object::Condition;
use bytes::Bytes;
use hyper::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};

/// The entry, if it is an object and no delete marker.
pub fn present(entry: Option<Entry>, version: Option<&str>) -> Result<Entry> {
    match entry {
        Some(entry) if !entry.is_delete_marker => Ok(entry),
        Some(_) if version.is_some() => {
            Err(Fault::refuse(S3ErrorCode::MethodNotAllowed, "this version is a delete marker"))
        }
        _ if version.is_some() => Err(Fault::refuse(S3ErrorCode::NoSuchVersion, "there is no such version")),
        found => Err(Fault::NoObject { is_delete_marker: found.is_some() }),
    }
}

/// As answers name it; where versions were never kept, they don't.
pub fn version_id(bucket: &Bucket, entry: &Entry) -> Option<String> {
    (bucket.versioning != crate::s3::store::bucket::Versioning::Never).then(|| entry.version.clone())
}

/// As answers to what makes an object name it: only where each has a name of its own.
pub fn new_version_id(bucket: &Bucket, entry: &Entry) -> Option<String> {
    (bucket.versioning == crate::s3::store::bucket::Versioning::Enabled).then(|| entry.version.clone())
}

pub fn check_key(key: &str) -> Result<()> {
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(Fault::refuse(
            S3ErrorCode::KeyTooLongError,
            format!("a key has at most {} bytes", limits::KEY_BYTES_MAX),
        ));
    }
    Ok(())
}

/// Bytes of an object, and where they are.
struct Wanted {
    range: std::ops::Range<u64>,
    /// It is asked for a part of the object only.
    is_partial: bool,
    /// Of those that it was uploaded in, from 0.
    part: Option<usize>,
}

fn wanted(entry: &Entry, range: Option<&Range>, part: Option<i32>) -> Result<Wanted> {
    if let Some(number) = part {
        let mut begin = 0;
        if entry.parts == 0 && number == 1 {
            return Ok(Wanted { range: 0..entry.size, is_partial: true, part: None });
        }
        for (index, size) in entry.part_sizes().enumerate() {
            if i32::try_from(index + 1) == Ok(number) {
                return Ok(Wanted { range: begin..begin + size, is_partial: true, part: Some(index) });
            }
            begin += size;
        }
        return Err(Fault::refuse(S3ErrorCode::InvalidPart, "the object has no such part"));
    }
    match range {
        None => Ok(Wanted { range: 0..entry.size, is_partial: false, part: None }),
        Some(range) => match range.check(entry.size) {
            Ok(range) => Ok(Wanted { range, is_partial: true, part: None }),
            Err(_) => Err(Fault::refuse(S3ErrorCode::InvalidRange, "the range is outside the object")),
        },
    }
}

/// What GET and HEAD need to know.
pub(super) struct Looked {
    pub bucket: Bucket,
    pub entry: Entry,
    pub sealing: Sealing,
    /// By a rule, if it is the newest.
    pub expiration: Option<String>,
}

pub(super) async fn look(
    store: &Store,
    requester: &Requester,
    name: &str,
    key: &str,
    version: Option<&str>,
    part: Option<i32>,
) -> Result<Looked> {
    let bucket = store.bucket(name).await?;
    let entry = store.find_entry(&bucket, key, version).await?;
    let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    requester.check_object(&bucket, key, entry.as_ref(), action, Permission::Read)?;
    let entry = present(entry, version)?;
    // That there is no such part is told before who asks must show a key.
    wanted(&entry, None, part)?;
    let sealing = Sealing::of_entry(store, requester, &bucket, key, &entry)?;
    let expiration = if version.is_none() { fields::expiration(&bucket, key, &entry) } else { None };
    Ok(Looked { bucket, entry, sealing, expiration })
}

/// Of what is wanted, if it is known and asked for.
fn checksum_of(mode: Option<&ChecksumMode>, wanted: &Wanted, entry: &Entry) -> Option<StoredChecksum> {
    let whole = entry.checksum.as_ref().filter(|_| mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED))?;
    match wanted.part {
        Some(index) => Some(StoredChecksum { value: entry.part_checksums.get(index)?.clone(), ..whole.clone() }),
        None => (!wanted.is_partial).then(|| whole.clone()),
    }
}

impl Service {
    pub(super) async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> Result<S3Response<PutObjectOutput>> {
        let asked = Asked::of(&request);
        let body = request.input.body.take();
        let taken = SideBody::take(&request, body, request.input.content_length);
        let announced = Announced::of(&request, taken.length, None)?.unseen(&request.headers, &taken);
        let headers = request.headers;
        let PutObjectInput { bucket: name, key, if_match, if_none_match, .. } = request.input;
        check_key(&key)?;
        let condition = Condition { if_match, if_none_match };
        let expected = announced.length();
        let (pieces, incoming) = mpsc::channel(limits::BODY_PIECES_MAX);
        let (begin, begun) = oneshot::channel();
        let storing = self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_key(&bucket, &key, "s3:PutObject")?;
            let sealing = Sealing::of_new(&store, &requester, &bucket, &key)?;
            let (owner, acl) = of_new_object(&store, &headers, requester.owner(), &bucket).await?;
            let mut draft = fields::draft(&headers, &owner)?;
            draft.acl = acl;
            draft.lock = lock::requested(&headers, &requester, &bucket, &key, store.now_ns())?;
            draft.encryption.clone_from(&sealing.encryption);
            let _ = begin.send(());
            let incoming = Incoming { pieces: incoming, expected, key: sealing.key.clone() };
            let entry = store.put_object(&bucket, &key, draft, &condition, incoming).await?;
            let version = new_version_id(&bucket, &entry);
            let expiration = fields::expiration(&bucket, &key, &entry);
            Ok((entry, version, expiration, sealing))
        });
        let (stored, ()) = tokio::join!(storing, announced.feed(taken.body, pieces, begun));
        let (entry, version_id, expiration, sealing) = stored?;
        let mut output =
            PutObjectOutput { e_tag: Some(fields::etag(&entry)), version_id, expiration, ..Default::default() };
        fill_checksum!(output, &entry.checksum);
        output.checksum_type = entry.checksum.as_ref().map(|checksum| fields::checksum_type(checksum.is_of_whole));
        let mut response = S3Response::new(output);
        sealing.write(&mut response.headers);
        Ok(response)
    }

    pub(super) async fn get_object(&self, request: S3Request<GetObjectInput>) -> Result<S3Response<GetObjectOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        check_key(&input.key)?;
        let checksum_mode = input.checksum_mode.clone();
        let (looked, wanted, pieces) = self
            .for_requester(asked, move |store, requester| async move {
                let version = input.version_id.as_deref();
                let looked = look(&store, &requester, &input.bucket, &input.key, version, input.part_number).await?;
                let conditions = ReadConditions {
                    if_match: input.if_match.as_ref(),
                    if_none_match: input.if_none_match.as_ref(),
                    if_modified_since: input.if_modified_since.as_ref(),
                    if_unmodified_since: input.if_unmodified_since.as_ref(),
                    unchanged: S3ErrorCode::NotModified,
                };
                conditions.check(&looked.entry)?;
                let wanted = wanted(&looked.entry, input.range.as_ref(), input.part_number)?;
                let pieces = begin_reading(&store, &looked.entry, looked.sealing.key.clone(), wanted.range.clone());
                Ok((looked, wanted, pieces))
            })
            .await?;
        let Looked { bucket, entry, sealing, expiration } = looked;
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            body: Some(outgoing(pieces)),
            cache_control: fields::header(&entry.headers, "cache-control"),
            content_disposition: fields::header(&entry.headers, "content-disposition"),
            content_encoding: fields::header(&entry.headers, "content-encoding"),
            content_language: fields::header(&entry.headers, "content-language"),
            content_length: Some((wanted.range.end - wanted.range.start) as i64),
            content_range: wanted.is_partial.then(|| content_range(&wanted, &entry)),
            content_type: Some(fields::content_type(&entry)),
            e_tag: Some(fields::etag(&entry)),
            expiration,
            expires: fields::expires(&entry),
            last_modified: Some(fields::timestamp(entry.modified_ns)),
            metadata: fields::metadata(&entry),
            object_lock_mode: lock::mode_of(&entry),
            object_lock_retain_until_date: lock::until_of(&entry),
            object_lock_legal_hold_status: lock::hold_of(&entry),
            parts_count: input_parts(&entry),
            tag_count: (!entry.tags.is_empty()).then_some(entry.tags.len() as i32),
            version_id: version_id(&bucket, &entry),
            website_redirect_location: fields::header(&entry.headers, fields::REDIRECT),
            ..Default::default()
        };
        let checksum = checksum_of(checksum_mode.as_ref(), &wanted, &entry);
        fill_checksum!(output, &checksum);
        output.checksum_type = checksum.as_ref().map(|checksum| fields::checksum_type(checksum.is_of_whole));
        let mut response = S3Response::new(output);
        sealing.write(&mut response.headers);
        Ok(response)
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> Result<S3Response<HeadObjectOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        check_key(&input.key)?;
        let checksum_mode = input.checksum_mode.clone();
        let (looked, wanted) = self
            .for_requester(asked, move |store, requester| async move {
                let version = input.version_id.as_deref();
                let looked = look(&store, &requester, &input.bucket, &input.key, version, input.part_number).await?;
                let conditions = ReadConditions {
                    if_match: input.if_match.as_ref(),
                    if_none_match: input.if_none_match.as_ref(),
                    if_modified_since: input.if_modified_since.as_ref(),
                    if_unmodified_since: input.if_unmodified_since.as_ref(),
                    unchanged: S3ErrorCode::NotModified,
                };
                conditions.check(&looked.entry)?;
                let wanted = wanted(&looked.entry, input.range.as_ref(), input.part_number)?;
                Ok((looked, wanted))
            })
            .await?;
        let Looked { bucket, entry, sealing, expiration } = looked;
        let tags = entry.tags.len();
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            cache_control: fields::header(&entry.headers, "cache-control"),
            content_disposition: fields::header(&entry.headers, "content-disposition"),
            content_encoding: fields::header(&entry.headers, "content-encoding"),
            content_language: fields::header(&entry.headers, "content-language"),
            content_length: Some((wanted.range.end - wanted.range.start) as i64),
            content_range: wanted.is_partial.then(|| content_range(&wanted, &entry)),
            content_type: Some(fields::content_type(&entry)),
            e_tag: Some(fields::etag(&entry)),
            expiration,
            expires: fields::expires(&entry),
            last_modified: Some(fields::timestamp(entry.modified_ns)),
            metadata: fields::metadata(&entry),
            object_lock_mode: lock::mode_of(&entry),
            object_lock_retain_until_date: lock::until_of(&entry),
            object_lock_legal_hold_status: lock::hold_of(&entry),
            parts_count: input_parts(&entry),
            version_id: version_id(&bucket, &entry),
            website_redirect_location: fields::header(&entry.headers, fields::REDIRECT),
            ..Default::default()
        };
        let checksum = checksum_of(checksum_mode.as_ref(), &wanted, &entry);
        fill_checksum!(output, &checksum);
        output.checksum_type = checksum.as_ref().map(|checksum| fields::checksum_type(checksum.is_of_whole));
        let mut response = S3Response::new(output);
        sealing.write(&mut response.headers);
        if wanted.is_partial {
            response.status = Some(StatusCode::PARTIAL_CONTENT);
        }
        if tags > 0 {
            // The library has no field for it.
            response.headers.insert("x-amz-tagging-count", tags.into());
        }
        Ok(response)
    }

    /// There are none, which is said in the words that a gateway has whose torrents are switched off.
    pub(super) async fn get_object_torrent(
        &self,
        request: S3Request<GetObjectTorrentInput>,
    ) -> Result<S3Response<GetObjectTorrentOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        self.for_requester(asked, move |store, requester| async move {
            look(&store, &requester, &input.bucket, &input.key, None, None).await
        })
        .await?;
        Err(Fault::refuse(S3ErrorCode::NoSuchKey, "the object has no torrent"))
    }

    /// An upload by a browser's form. The library has checked what its policy says, and when that ends.
    pub(super) async fn post_object(
        &self,
        mut request: S3Request<PostObjectInput>,
    ) -> Result<S3Response<PostObjectOutput>> {
        let form = request.extensions.get::<FormFields>().cloned().unwrap_or_default();
        let body = request.input.body.take();
        let taken = SideBody::take(&request, body, None);
        let announced =
            Announced::of(&request, None, None)?.with_checksum(form.checksum.as_ref()).unseen(&request.headers, &taken);
        let headers = fields::headers_of_form(&request.input, &form)?;
        let asked = Asked::of(&request).with_fields(&headers);
        let PostObjectInput { bucket: name, key, .. } = request.input;
        check_key(&key)?;
        let (pieces, incoming) = mpsc::channel(limits::BODY_PIECES_MAX);
        let (begin, begun) = oneshot::channel();
        let storing = self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_key(&bucket, &key, "s3:PutObject")?;
            let sealing = Sealing::of_new(&store, &requester, &bucket, &key)?;
            let (owner, acl) = of_new_object(&store, &headers, requester.owner(), &bucket).await?;
            let mut draft = fields::draft(&headers, &owner)?;
            draft.acl = acl;
            draft.lock = lock::requested(&headers, &requester, &bucket, &key, store.now_ns())?;
            if let Some(tagging) = &form.tagging {
                draft.tags = super::tagging::of_form(tagging)?;
            }
            draft.encryption.clone_from(&sealing.encryption);
            let _ = begin.send(());
            let incoming = Incoming { pieces: incoming, expected: None, key: sealing.key.clone() };
            let entry = store.put_object(&bucket, &key, draft, &Condition::default(), incoming).await?;
            let version = new_version_id(&bucket, &entry);
            Ok((entry, version, sealing))
        });
        let (stored, ()) = tokio::join!(storing, announced.feed(taken.body, pieces, begun));
        let (entry, version_id, sealing) = stored?;
        let output = PostObjectOutput { e_tag: Some(fields::etag(&entry)), version_id, ..Default::default() };
        let mut response = S3Response::new(output);
        sealing.write(&mut response.headers);
        Ok(response)
    }
}

/// The bytes of a range, on their way. `key`: what they are sealed with, if they are.
pub fn begin_reading(
    store: &Rc<Store>,
    entry: &Entry,
    key: Option<DataKey>,
    range: std::ops::Range<u64>,
) -> mpsc::Receiver<Result<Bytes>> {
    assert_eq!(entry.encryption.is_some(), key.is_some(), "sealed bytes are read with their key only");
    let (sender, pieces) = mpsc::channel(limits::READ_AHEAD);
    let reading = store.reading.begin(&entry.runs);
    let (reader, runs) = (store.clone(), entry.runs.clone());
    drop(store.ring.spawn(async move {
        match key {
            Some(key) => reader.read_sealed_runs(&runs, range, key, sender).await,
            None => reader.read_runs(&runs, range, sender).await,
        }
        drop(reading);
    }));
    pieces
}

fn content_range(wanted: &Wanted, entry: &Entry) -> String {
    format!("bytes {}-{}/{}", wanted.range.start, wanted.range.end.saturating_sub(1), entry.size)
}

fn input_parts(entry: &Entry) -> Option<i32> {
    (entry.parts > 0).then_some(entry.parts as i32)
}
