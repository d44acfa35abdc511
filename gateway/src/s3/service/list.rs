//! Listings of a bucket's keys, versions and uploads.

use super::Service;
use super::fields;
use crate::s3::access::{Asked, query_pairs};
use crate::s3::acl::Permission;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::store::entry::Entry;
use crate::s3::store::listing::{Page, Query};
use crate::s3::store::multipart::UploadQuery;
use crate::s3::store::versions::VersionQuery;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

/// How many a client may have at a time.
fn clamped(max: Option<i32>) -> Result<u32> {
    match max {
        None => Ok(limits::LIST_KEYS_MAX),
        Some(max) => match u32::try_from(max) {
            Ok(max) => Ok(max.min(limits::LIST_KEYS_MAX)),
            Err(_) => Err(Fault::refuse(S3ErrorCode::InvalidArgument, format!("{max} is no number of keys"))),
        },
    }
}

/// `allow-unordered`, which Ceph's gateway has, lets keys come in any order; so in this one, too. With a delimiter it makes no sense.
fn check_unordered(uri: &hyper::Uri, delimiter: Option<&str>) -> Result<()> {
    let pairs = query_pairs(uri.query().unwrap_or_default());
    let is_unordered = pairs.iter().any(|(name, value)| name == "allow-unordered" && value == "true");
    if is_unordered && delimiter.is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(Fault::refuse(S3ErrorCode::InvalidArgument, "allow-unordered goes without a delimiter"));
    }
    Ok(())
}

/// Writes names as the client wants them.
struct Encoding(Option<EncodingType>);

impl Encoding {
    fn new(wanted: Option<EncodingType>) -> Result<Encoding> {
        match wanted {
            Some(kind) if kind.as_str() != EncodingType::URL => {
                Err(Fault::refuse(S3ErrorCode::InvalidArgument, "the one encoding type is url"))
            }
            wanted => Ok(Encoding(wanted)),
        }
    }

    fn name(&self, name: &str) -> String {
        if self.0.is_none() {
            return name.to_owned();
        }
        let mut encoded = String::with_capacity(name.len());
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    encoded.push(char::from(byte))
                }
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        encoded
    }

    fn option(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| self.name(name))
    }

    fn prefixes(&self, prefixes: &[String]) -> Option<CommonPrefixList> {
        let prefixes = prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.name(prefix)) });
        Some(prefixes.collect()).filter(|list: &CommonPrefixList| !list.is_empty())
    }

    fn object(&self, key: &str, entry: &Entry, with_owner: bool) -> Object {
        Object {
            key: Some(self.name(key)),
            e_tag: Some(fields::etag(entry)),
            last_modified: Some(fields::timestamp(entry.modified_ns)),
            size: Some(entry.size as i64),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            owner: with_owner.then(|| fields::owner_of(entry)),
            checksum_algorithm: entry
                .checksum
                .as_ref()
                .map(|checksum| vec![ChecksumAlgorithm::from(checksum.algorithm.clone())]),
            checksum_type: entry.checksum.as_ref().map(|checksum| fields::checksum_type(checksum.is_of_whole)),
            ..Default::default()
        }
    }
}

impl Service {
    async fn page(&self, asked: Asked, name: String, query: Query) -> Result<Page> {
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_bucket(&bucket, "s3:ListBucket", Some(Permission::Read))?;
            store.list_objects(&bucket, &query).await
        })
        .await
    }

    pub(super) async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> Result<S3Response<ListObjectsOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type)?;
        check_unordered(&request.uri, input.delimiter.as_deref())?;
        let query = Query {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter.unwrap_or_default(),
            after: input.marker.unwrap_or_default(),
            max: clamped(input.max_keys)?,
        };
        let page = self.page(asked, input.bucket.clone(), query.clone()).await?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            // As it came: clients decode all other names here, but not this one.
            prefix: Some(query.prefix.clone()),
            marker: Some(encoding.name(&query.after)),
            max_keys: Some(query.max as i32),
            is_truncated: Some(page.next.is_some()),
            contents: Some(page.entries.iter().map(|(key, entry)| encoding.object(key, entry, true)).collect()),
            common_prefixes: encoding.prefixes(&page.common_prefixes),
            delimiter: encoding.option(&query.delimiter),
            next_marker: page.next.as_deref().map(|next| encoding.name(next)),
            encoding_type: encoding.0,
            ..Default::default()
        }))
    }

    pub(super) async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Result<S3Response<ListObjectsV2Output>> {
        let asked = Asked::of(&request);
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type)?;
        check_unordered(&request.uri, input.delimiter.as_deref())?;
        let after = match &input.continuation_token {
            None => input.start_after.clone().unwrap_or_default(),
            Some(token) => {
                let decoded = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let unknown = || Fault::refuse(S3ErrorCode::InvalidArgument, "the continuation token is none of ours");
                decoded.ok_or_else(unknown)?
            }
        };
        let query = Query {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter.unwrap_or_default(),
            after,
            max: clamped(input.max_keys)?,
        };
        let with_owner = input.fetch_owner.unwrap_or(false);
        let page = self.page(asked, input.bucket.clone(), query.clone()).await?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.name(&query.prefix)),
            max_keys: Some(query.max as i32),
            key_count: Some((page.entries.len() + page.common_prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(|after| encoding.name(&after)),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|next| STANDARD.encode(next)),
            contents: Some(page.entries.iter().map(|(key, entry)| encoding.object(key, entry, with_owner)).collect()),
            common_prefixes: encoding.prefixes(&page.common_prefixes),
            delimiter: encoding.option(&query.delimiter),
            encoding_type: encoding.0,
            ..Default::default()
        }))
    }

    pub(super) async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Result<S3Response<ListObjectVersionsOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type)?;
        let query = VersionQuery {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter.unwrap_or_default(),
            key_marker: input.key_marker.unwrap_or_default(),
            version_marker: input.version_id_marker.unwrap_or_default(),
            max: clamped(input.max_keys)?,
        };
        if query.key_marker.is_empty() && !query.version_marker.is_empty() {
            let message = "a version-id-marker comes with a key-marker";
            return Err(Fault::refuse(S3ErrorCode::InvalidArgument, message));
        }
        let (name, wanted) = (input.bucket.clone(), query.clone());
        let page = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                requester.check_bucket(&bucket, "s3:ListBucketVersions", Some(Permission::Read))?;
                store.list_versions(&bucket, &wanted).await
            })
            .await?;
        let mut versions = Vec::new();
        let mut markers = Vec::new();
        for (key, entry, is_latest) in &page.versions {
            if entry.is_delete_marker {
                markers.push(DeleteMarkerEntry {
                    is_latest: Some(*is_latest),
                    key: Some(encoding.name(key)),
                    last_modified: Some(fields::timestamp(entry.modified_ns)),
                    owner: Some(fields::owner_of(entry)),
                    version_id: Some(entry.version.clone()),
                });
                continue;
            }
            versions.push(ObjectVersion {
                is_latest: Some(*is_latest),
                key: Some(encoding.name(key)),
                e_tag: Some(fields::etag(entry)),
                last_modified: Some(fields::timestamp(entry.modified_ns)),
                owner: Some(fields::owner_of(entry)),
                size: Some(entry.size as i64),
                storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
                version_id: Some(entry.version.clone()),
                ..Default::default()
            });
        }
        let (next_key, next_version) = page.next.clone().unzip();
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.name(&query.prefix)),
            key_marker: Some(encoding.name(&query.key_marker)),
            version_id_marker: Some(query.version_marker.clone()),
            max_keys: Some(query.max as i32),
            is_truncated: Some(page.next.is_some()),
            next_key_marker: next_key.map(|key| encoding.name(&key)),
            next_version_id_marker: next_version.filter(|version| !version.is_empty()),
            versions: Some(versions),
            delete_markers: Some(markers),
            common_prefixes: encoding.prefixes(&page.common_prefixes),
            delimiter: encoding.option(&query.delimiter),
            encoding_type: encoding.0,
            ..Default::default()
        }))
    }

    pub(super) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Result<S3Response<ListMultipartUploadsOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type)?;
        let query = UploadQuery {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter.unwrap_or_default(),
            key_marker: input.key_marker.unwrap_or_default(),
            upload_marker: input.upload_id_marker.unwrap_or_default(),
            max: clamped(input.max_uploads)?,
        };
        let (name, wanted) = (input.bucket.clone(), query.clone());
        let page = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                requester.check_bucket(&bucket, "s3:ListBucketMultipartUploads", Some(Permission::Read))?;
                store.list_uploads(&bucket, &wanted).await
            })
            .await?;
        let uploads = page.uploads.iter().map(|(key, upload)| MultipartUpload {
            key: Some(encoding.name(key)),
            upload_id: Some(upload.id.clone()),
            initiated: Some(fields::timestamp(upload.since_ns)),
            initiator: Some(Initiator {
                id: Some(upload.initiator.clone()),
                display_name: Some(upload.initiator_name().to_owned()),
            }),
            owner: Some(fields::owner_of(&upload.draft)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        });
        let (next_key, next_upload) = page.next.clone().unzip();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(encoding.name(&query.prefix)),
            key_marker: Some(encoding.name(&query.key_marker)),
            upload_id_marker: Some(query.upload_marker.clone()),
            max_uploads: Some(query.max as i32),
            is_truncated: Some(page.next.is_some()),
            next_key_marker: next_key.map(|key| encoding.name(&key)),
            next_upload_id_marker: next_upload,
            uploads: Some(uploads.collect()),
            common_prefixes: encoding.prefixes(&page.common_prefixes),
            delimiter: encoding.option(&query.delimiter),
            encoding_type: encoding.0,
            ..Default::default()
        }))
    }
}
