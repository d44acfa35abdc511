//! What requests and answers have in common: headers that are kept with an object, times, owners, names.

use super::body::text;
use crate::s3::acl::Owner;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::server::FormFields;
use crate::s3::store::bucket::Bucket;
use crate::s3::store::entry::Entry;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use s3s::S3ErrorCode;
use s3s::dto::{self, CopySource, ETag, ETagCondition, Timestamp};
use std::collections::BTreeMap;

/// Headers that an object gives back as it was given them.
const KEPT: [&str; 6] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];
const METADATA_PREFIX: &str = "x-amz-meta-";
/// Where an object's website sends who asks for it.
pub const REDIRECT: &str = "x-amz-website-redirect-location";

/// What a request's headers say of the object that it makes; its ACL comes apart.
pub fn draft(headers: &HeaderMap, owner: &Owner) -> Result<Entry> {
    let mut entry = Entry { owner: owner.id.clone(), owner_name: owner.name.clone(), ..Entry::default() };
    let mut metadata_bytes = 0;
    for (name, value) in headers {
        let value = || String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
        if let Some(key) = name.as_str().strip_prefix(METADATA_PREFIX) {
            let value = value();
            metadata_bytes += key.len() + value.len();
            // What comes twice is one list.
            let kept: &mut String = entry.metadata.entry(key.to_owned()).or_default();
            if !kept.is_empty() {
                kept.push(',');
            }
            kept.push_str(&value);
        } else if KEPT.contains(&name.as_str()) {
            let value = value();
            if name == "content-encoding" {
                // How it was sent is no property of the object.
                let rest: Vec<&str> = value.split(',').map(str::trim).filter(|word| *word != "aws-chunked").collect();
                if !rest.iter().all(|word| word.is_empty()) {
                    entry.headers.insert(name.as_str().to_owned(), rest.join(", "));
                }
            } else if !value.is_empty() {
                entry.headers.insert(name.as_str().to_owned(), value);
            }
        }
    }
    if metadata_bytes > limits::METADATA_BYTES_MAX {
        let message =
            format!("metadata has {metadata_bytes} bytes, and at most {} are possible", limits::METADATA_BYTES_MAX);
        return Err(Fault::refuse(S3ErrorCode::MetadataTooLarge, message));
    }
    if let Some(location) = text(headers, REDIRECT) {
        entry.headers.insert(REDIRECT.to_owned(), checked_redirect(location)?.to_owned());
    }
    if let Some(tags) = text(headers, "x-amz-tagging") {
        entry.tags = super::tagging::parse(tags)?;
    }
    Ok(entry)
}

fn checked_redirect(location: &str) -> Result<&str> {
    let is_place = ["/", "http://", "https://"].iter().any(|begin| location.starts_with(begin));
    if is_place && location.len() <= limits::REDIRECT_BYTES_MAX {
        return Ok(location);
    }
    let message =
        format!("{REDIRECT} begins with /, http:// or https://, and has at most {} bytes", limits::REDIRECT_BYTES_MAX);
    Err(Fault::custom("InvalidRedirectLocation", message))
}

/// What a form says, as the headers that a request for the same would have.
pub fn headers_of_form(form: &dto::PostObjectInput, fields: &FormFields) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let plain = [
        ("x-amz-acl", fields.acl.as_deref().or(form.acl.as_ref().map(dto::ObjectCannedACL::as_str))),
        ("cache-control", form.cache_control.as_deref()),
        ("content-disposition", form.content_disposition.as_deref()),
        ("content-encoding", form.content_encoding.as_deref()),
        ("content-language", form.content_language.as_deref()),
        ("content-type", form.content_type.as_deref()),
        ("x-amz-grant-read", form.grant_read.as_deref()),
        ("x-amz-grant-full-control", form.grant_full_control.as_deref()),
        ("x-amz-server-side-encryption", form.server_side_encryption.as_ref().map(dto::ServerSideEncryption::as_str)),
        ("x-amz-server-side-encryption-aws-kms-key-id", form.ssekms_key_id.as_deref()),
        ("x-amz-server-side-encryption-context", form.ssekms_encryption_context.as_deref()),
        ("x-amz-server-side-encryption-customer-algorithm", form.sse_customer_algorithm.as_deref()),
        ("x-amz-server-side-encryption-customer-key", form.sse_customer_key.as_deref()),
        ("x-amz-server-side-encryption-customer-key-md5", form.sse_customer_key_md5.as_deref()),
    ];
    let invalid = |name: &str| Fault::refuse(S3ErrorCode::InvalidArgument, format!("the field {name} can't be kept"));
    for (name, value) in plain {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| invalid(name))?);
        }
    }
    for (name, value) in form.metadata.iter().flatten() {
        let header = HeaderName::try_from(format!("{METADATA_PREFIX}{name}")).map_err(|_| invalid(name))?;
        headers.insert(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid(name))?);
    }
    Ok(headers)
}

/// When the object goes by a rule, as its header says it.
pub fn expiration(bucket: &Bucket, key: &str, entry: &Entry) -> Option<String> {
    let (end_ns, rule) = crate::s3::store::lifecycle::expiration(bucket, key, entry)?;
    Some(format!("expiry-date=\"{}\", rule-id=\"{rule}\"", http_date(end_ns)))
}

/// A time as headers tell it.
pub fn http_date(time_ns: u64) -> String {
    let mut date = Vec::new();
    let _ = timestamp(time_ns).format(dto::TimestampFormat::HttpDate, &mut date);
    String::from_utf8_lossy(&date).into_owned()
}

pub fn metadata(entry: &Entry) -> Option<dto::Metadata> {
    (!entry.metadata.is_empty()).then(|| entry.metadata.clone().into_iter().collect())
}

pub fn header(headers: &BTreeMap<String, String>, name: &str) -> Option<String> {
    headers.get(name).cloned()
}

pub fn content_type(entry: &Entry) -> String {
    header(&entry.headers, "content-type").unwrap_or_else(|| "binary/octet-stream".into())
}

pub fn expires(entry: &Entry) -> Option<Timestamp> {
    Timestamp::parse(dto::TimestampFormat::HttpDate, entry.headers.get("expires")?).ok()
}

pub fn etag(entry: &Entry) -> ETag {
    ETag::Strong(entry.etag.clone())
}

/// To the millisecond, as S3 writes it.
pub fn timestamp(ns: u64) -> Timestamp {
    let millis = ns / 1_000_000;
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    Timestamp::from(time.unwrap_or(time::OffsetDateTime::UNIX_EPOCH))
}

pub fn seconds(time: &Timestamp) -> i64 {
    time::OffsetDateTime::from(time.clone()).unix_timestamp()
}

pub fn owner(owner: &Owner) -> dto::Owner {
    dto::Owner { id: Some(owner.id.clone()), display_name: Some(owner.name.clone()) }
}

pub fn owner_of(entry: &Entry) -> dto::Owner {
    dto::Owner { id: Some(entry.owner.clone()), display_name: Some(entry.owner_name.clone()) }
}

/// Why a read or a copy is not done, by the conditions that it came with.
pub struct ReadConditions<'a> {
    pub if_match: Option<&'a ETagCondition>,
    pub if_none_match: Option<&'a ETagCondition>,
    pub if_modified_since: Option<&'a Timestamp>,
    pub if_unmodified_since: Option<&'a Timestamp>,
    /// What is said where nothing changed: 304, or for a copy 412.
    pub unchanged: S3ErrorCode,
}

impl ReadConditions<'_> {
    pub fn check(&self, entry: &Entry) -> Result<()> {
        let is_met = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == entry.etag,
        };
        let modified = (entry.modified_ns / 1_000_000_000) as i64;
        let failed = |what: &str| {
            Fault::refuse(S3ErrorCode::PreconditionFailed, format!("the object is not as {what} wants it"))
        };
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !is_met(condition) => return Err(failed("If-Match")),
            (None, Some(since)) if modified > seconds(since) => return Err(failed("If-Unmodified-Since")),
            _ => {}
        }
        let unchanged = match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) => is_met(condition),
            (None, Some(since)) => modified <= seconds(since),
            (None, None) => false,
        };
        if unchanged && self.unchanged == S3ErrorCode::NotModified {
            return Err(Fault::Unchanged { etag: entry.etag.clone(), modified: http_date(entry.modified_ns) });
        }
        if unchanged {
            return Err(Fault::refuse(self.unchanged.clone(), "the object has not changed"));
        }
        Ok(())
    }
}

/// Bucket, key and version that a copy is made of.
pub fn source(source: &CopySource) -> Result<(String, String, Option<String>)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            Ok((bucket.to_string(), key.to_string(), version_id.as_deref().map(str::to_owned)))
        }
        _ => Err(Fault::refuse(S3ErrorCode::NotImplemented, "a source is named as bucket/key")),
    }
}

/// Fills the checksum fields of an answer.
#[macro_export]
macro_rules! fill_checksum {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let value = Some(checksum.value.clone());
            match checksum.algorithm.as_str() {
                "CRC32" => $output.checksum_crc32 = value,
                "CRC32C" => $output.checksum_crc32c = value,
                "CRC64NVME" => $output.checksum_crc64nvme = value,
                "SHA1" => $output.checksum_sha1 = value,
                "SHA256" => $output.checksum_sha256 = value,
                _ => {}
            }
        }
    };
}

pub fn checksum_type(is_of_whole: bool) -> dto::ChecksumType {
    dto::ChecksumType::from_static(if is_of_whole {
        dto::ChecksumType::FULL_OBJECT
    } else {
        dto::ChecksumType::COMPOSITE
    })
}
