//! Copies inside the cluster: bytes go from object to object through this gateway, and never to the client.

use super::Service;
use super::acl::of_new_object;
use super::body::{ALGORITHMS, relay, text};
use super::fields::{self, ReadConditions};
use super::lock;
use super::object::{begin_reading, check_key, new_version_id, present, version_id};
use super::sealing::Sealing;
use crate::fill_checksum;
use crate::s3::access::{Asked, Requester};
use crate::s3::acl::Permission;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::store::Store;
use crate::s3::store::bucket::{Bucket, Versioning};
use crate::s3::store::data::Incoming;
use crate::s3::store::entry::Entry;
use crate::s3::store::object::Condition;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};
use tokio::sync::mpsc;

/// What is copied.
struct Source {
    bucket: Bucket,
    key: String,
    entry: Entry,
    sealing: Sealing,
}

/// What is copied, if the requester may read it.
async fn look_at_source(store: &Store, requester: &Requester, source: &CopySource) -> Result<Source> {
    let (name, key, version) = fields::source(source)?;
    let bucket = store.bucket(&name).await?;
    let entry = store.find_entry(&bucket, &key, version.as_deref()).await?;
    let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    requester.check_object(&bucket, &key, entry.as_ref(), action, Permission::Read)?;
    let entry = present(entry, version.as_deref())?;
    let sealing = Sealing::of_source(store, requester, &bucket, &key, &entry)?;
    Ok(Source { bucket, key, entry, sealing })
}

fn algorithm(wanted: Option<&str>) -> Option<&'static str> {
    let wanted = wanted?;
    ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(name, _)| *name)
}

impl Service {
    pub(super) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> Result<S3Response<CopyObjectOutput>> {
        let asked = Asked::of(&request);
        let headers = request.headers;
        let input = request.input;
        check_key(&input.key)?;
        let directive = |directive: Option<&str>| match directive {
            None | Some("COPY") => Ok(false),
            Some("REPLACE") => Ok(true),
            Some(other) => {
                Err(Fault::refuse(S3ErrorCode::InvalidArgument, format!("a directive is COPY or REPLACE, not {other}")))
            }
        };
        let replaces = directive(input.metadata_directive.as_ref().map(MetadataDirective::as_str))?;
        let replaces_tags = directive(input.tagging_directive.as_ref().map(TaggingDirective::as_str))?;
        let wanted_algorithm = algorithm(text(&headers, "x-amz-checksum-algorithm"));
        let (entry, version_id, source_version, sealing) = self
            .for_requester(asked, move |store, requester| async move {
                let Source { bucket: source_bucket, key: source_key, entry: source, sealing: opening } =
                    look_at_source(&store, &requester, &input.copy_source).await?;
                let conditions = ReadConditions {
                    if_match: input.copy_source_if_match.as_ref(),
                    if_none_match: input.copy_source_if_none_match.as_ref(),
                    if_modified_since: input.copy_source_if_modified_since.as_ref(),
                    if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
                    unchanged: S3ErrorCode::PreconditionFailed,
                };
                conditions.check(&source)?;
                let bucket = store.bucket(&input.bucket).await?;
                requester.check_key(&bucket, &input.key, "s3:PutObject")?;
                let sealing = Sealing::of_new(&store, &requester, &bucket, &input.key)?;
                if source.size > limits::UPLOAD_BYTES_MAX {
                    let message = "an object this large is copied in parts";
                    return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
                }
                let is_itself = source_bucket.id == bucket.id && source_key == input.key;
                let (_, _, named_version) = fields::source(&input.copy_source)?;
                let changes_keys = opening.encryption.is_some() || sealing.encryption.is_some();
                if is_itself && named_version.is_none() && !replaces && !changes_keys {
                    let message =
                        "a copy of an object onto itself must change something: say x-amz-metadata-directive: REPLACE";
                    return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
                }
                let (owner, acl) = of_new_object(&store, &headers, requester.owner(), &bucket).await?;
                let given = fields::draft(&headers, &owner)?;
                let mut draft = Entry { owner: owner.id.clone(), owner_name: owner.name.clone(), ..Entry::default() };
                let (described, tagged) =
                    (if replaces { &given } else { &source }, if replaces_tags { &given } else { &source });
                draft.headers.clone_from(&described.headers);
                // It is of one object; a copy has its own, or none.
                draft.headers.remove(fields::REDIRECT);
                draft.headers.extend(
                    given.headers.get_key_value(fields::REDIRECT).map(|(name, value)| (name.clone(), value.clone())),
                );
                draft.metadata.clone_from(&described.metadata);
                draft.tags.clone_from(&tagged.tags);
                draft.acl = acl;
                draft.lock = lock::requested(&headers, &requester, &bucket, &input.key, store.now_ns())?;
                draft.encryption.clone_from(&sealing.encryption);
                let source_version = version_id(&source_bucket, &source);
                if is_itself
                    && !changes_keys
                    && named_version.is_none()
                    && bucket.versioning == Versioning::Never
                    && wanted_algorithm.is_none()
                {
                    // Its bytes stay where they are.
                    let now = store.now_ns();
                    let changed = store
                        .change_entry(&bucket, &input.key, None, |entry| {
                            entry.headers.clone_from(&draft.headers);
                            entry.metadata.clone_from(&draft.metadata);
                            entry.tags.clone_from(&draft.tags);
                            entry.acl.clone_from(&draft.acl);
                            entry.owner.clone_from(&draft.owner);
                            entry.owner_name.clone_from(&draft.owner_name);
                            entry.modified_ns = now.max(entry.modified_ns + 1);
                            Ok(())
                        })
                        .await?;
                    return Ok((changed, None, source_version, sealing));
                }
                let kept = source.checksum.as_ref().and_then(|checksum| algorithm(Some(&checksum.algorithm)));
                let from = begin_reading(&store, &source, opening.key, 0..source.size);
                let (to, incoming) = mpsc::channel(limits::BODY_PIECES_MAX);
                let relaying = store.ring.spawn(relay(from, to, wanted_algorithm.or(kept)));
                let condition = Condition::default();
                let incoming = Incoming { pieces: incoming, expected: Some(source.size), key: sealing.key.clone() };
                let entry = store.put_object(&bucket, &input.key, draft, &condition, incoming).await?;
                relaying.await;
                let version = new_version_id(&bucket, &entry);
                Ok((entry, version, source_version, sealing))
            })
            .await?;
        let mut result = CopyObjectResult {
            e_tag: Some(fields::etag(&entry)),
            last_modified: Some(fields::timestamp(entry.modified_ns)),
            ..Default::default()
        };
        fill_checksum!(result, &entry.checksum);
        let mut response = S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: source_version,
            version_id,
            ..Default::default()
        });
        sealing.write(&mut response.headers);
        Ok(response)
    }

    pub(super) async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Result<S3Response<UploadPartCopyOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        let number = super::multipart::part_number(input.part_number)?;
        let (part, source_version, sealing) = self
            .for_requester(asked, move |store, requester| async move {
                let Source { bucket: source_bucket, entry: source, sealing: opening, .. } =
                    look_at_source(&store, &requester, &input.copy_source).await?;
                let conditions = ReadConditions {
                    if_match: input.copy_source_if_match.as_ref(),
                    if_none_match: input.copy_source_if_none_match.as_ref(),
                    if_modified_since: input.copy_source_if_modified_since.as_ref(),
                    if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
                    unchanged: S3ErrorCode::PreconditionFailed,
                };
                conditions.check(&source)?;
                let bucket = store.bucket(&input.bucket).await?;
                requester.check_key(&bucket, &input.key, "s3:PutObject")?;
                let range = match input.copy_source_range.as_deref() {
                    None => 0..source.size,
                    Some(text) => source_range(text, source.size)?,
                };
                if range.end - range.start > limits::UPLOAD_BYTES_MAX {
                    return Err(Fault::refuse(S3ErrorCode::EntityTooLarge, "a part this large is not possible"));
                }
                let upload = store.upload(&bucket, &input.key, &input.upload_id).await?;
                let sealing = Sealing::of_upload(&store, &requester, &bucket, &input.key, &upload)?;
                let algorithm = upload.checksum.as_ref().and_then(|plan| algorithm(Some(&plan.algorithm)));
                let from = begin_reading(&store, &source, opening.key, range.clone());
                let (to, incoming) = mpsc::channel(limits::BODY_PIECES_MAX);
                let relaying = store.ring.spawn(relay(from, to, algorithm));
                let expected = Some(range.end - range.start);
                let incoming = Incoming { pieces: incoming, expected, key: sealing.key.clone() };
                let part = store.put_part(&bucket, &input.key, &input.upload_id, number, incoming).await?;
                relaying.await;
                Ok((part, version_id(&source_bucket, &source), sealing))
            })
            .await?;
        let mut result = CopyPartResult {
            e_tag: Some(ETag::Strong(part.etag)),
            last_modified: Some(fields::timestamp(part.modified_ns)),
            ..Default::default()
        };
        fill_checksum!(result, &part.checksum);
        let mut response = S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: source_version,
            ..Default::default()
        });
        sealing.write(&mut response.headers);
        Ok(response)
    }
}

/// `bytes=first-last`, both of which must be in the object.
fn source_range(text: &str, size: u64) -> Result<std::ops::Range<u64>> {
    let parsed = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let parsed = parsed.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let Some((first, last)) = parsed.filter(|(first, last)| first <= last) else {
        return Err(Fault::refuse(S3ErrorCode::InvalidArgument, "x-amz-copy-source-range is bytes=first-last"));
    };
    if last >= size {
        return Err(Fault::refuse(S3ErrorCode::InvalidRange, format!("the source has only {size} bytes")));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_range_is_within_the_source() {
        assert_eq!(source_range("bytes=0-9", 10).unwrap(), 0..10);
        for wrong in ["bytes=0-10", "bytes=5-4", "0-9", "bytes=-5", "bytes=1-", "bytes=a-b"] {
            assert!(source_range(wrong, 10).is_err(), "{wrong}");
        }
    }
}
