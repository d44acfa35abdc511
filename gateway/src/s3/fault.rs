//! Why a request is not done.

use basalt_client::error::{EACCES, ENOENT, ETIMEDOUT};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;

pub type Result<T> = std::result::Result<T, Fault>;

/// `ECANCELED`: a guard of an operation vector did not hold.
pub const ECANCELED: i32 = 125;
const EDQUOT: i32 = 122;
const ENOSPC: i32 = 28;

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request is wrong, or not allowed; what S3 calls it.
    #[error("{}: {message}", code.as_str())]
    Refused { code: S3ErrorCode, message: Cow<'static, str> },
    /// There is no such object, or its newest version is a delete marker; who reads is told which.
    #[error("there is no such object")]
    NoObject { is_delete_marker: bool },
    /// The object is as the reader knows it.
    #[error("the object has not changed")]
    Unchanged { etag: String, modified: String },
    /// The cluster did not do it.
    #[error(transparent)]
    Cluster(#[from] basalt_client::Error),
    /// What the cluster holds is not what this gateway would have written.
    #[error("{what} is damaged: {problem}")]
    Damaged { what: String, problem: String },
    /// The gateway is on its way down.
    #[error("the gateway is stopping")]
    Stopping,
}

impl Fault {
    pub fn refuse(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Refused { code, message: message.into() }
    }

    /// A code that S3 has and the library does not.
    pub fn custom(code: &'static str, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Refused { code: S3ErrorCode::Custom(code.into()), message: message.into() }
    }

    pub fn damaged(what: impl Into<String>, problem: impl std::fmt::Display) -> Fault {
        Fault::Damaged { what: what.into(), problem: problem.to_string() }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Fault::Cluster(error) if error.errno() == ENOENT)
    }

    /// Somebody else changed what the request was built on.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Fault::Cluster(error) if error.errno() == ECANCELED)
    }

    /// What scripts know it by.
    pub fn errno(&self) -> i32 {
        match self {
            Fault::Refused { code, .. } => match code {
                S3ErrorCode::NoSuchBucket | S3ErrorCode::NoSuchKey => ENOENT,
                S3ErrorCode::AccessDenied => EACCES,
                S3ErrorCode::BucketNotEmpty => 39,
                _ => basalt_client::error::EINVAL,
            },
            Fault::NoObject { .. } => ENOENT,
            Fault::Unchanged { .. } => basalt_client::error::EINVAL,
            Fault::Cluster(error) => error.errno(),
            Fault::Damaged { .. } => basalt_client::error::EIO,
            Fault::Stopping => 108,
        }
    }
}

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> S3Error {
        match fault {
            Fault::Refused { code, message } => {
                let status = status_of_custom(code.as_str());
                let mut error = S3Error::with_message(code, message);
                if let Some(status) = status {
                    error.set_status_code(status);
                }
                error
            }
            Fault::NoObject { is_delete_marker } => {
                let mut error = S3Error::with_message(S3ErrorCode::NoSuchKey, "there is no such object");
                // Whoever gives an error headers gives it all it has.
                let kind = ("content-type", "application/xml".to_owned());
                error.set_headers(headers_of([("x-amz-delete-marker", is_delete_marker.to_string()), kind]));
                error
            }
            Fault::Unchanged { etag, modified } => {
                let mut error = S3Error::with_message(S3ErrorCode::NotModified, "the object has not changed");
                error.set_headers(headers_of([("etag", format!("\"{etag}\"")), ("last-modified", modified)]));
                error
            }
            Fault::Cluster(error) => {
                let code = match error.errno() {
                    ETIMEDOUT => S3ErrorCode::ServiceUnavailable,
                    EDQUOT => return from_quota(error.message().to_owned()),
                    ENOSPC => S3ErrorCode::Custom("InsufficientCapacity".into()),
                    _ => S3ErrorCode::InternalError,
                };
                let status = status_of_custom(code.as_str());
                tracing::warn!(errno = error.name(), reason = error.message(), "the cluster failed a request");
                let mut told = S3Error::with_message(code, "the cluster behind this gateway can't do it now");
                if let Some(status) = status {
                    told.set_status_code(status);
                }
                told
            }
            Fault::Damaged { .. } => {
                tracing::error!("{fault}");
                S3Error::with_message(S3ErrorCode::InternalError, "what is stored is damaged")
            }
            Fault::Stopping => S3Error::with_message(S3ErrorCode::ServiceUnavailable, "the gateway is stopping"),
        }
    }
}

fn headers_of<const N: usize>(pairs: [(&'static str, String); N]) -> HeaderMap {
    let pairs = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?)));
    pairs.collect()
}

fn from_quota(message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom("QuotaExceeded".into()), message);
    error.set_status_code(hyper::StatusCode::FORBIDDEN);
    error
}

/// Of the codes that the library has no status for.
fn status_of_custom(code: &str) -> Option<hyper::StatusCode> {
    use hyper::StatusCode;
    match code {
        "NoSuchTagSetError"
        | "NoSuchWebsiteConfiguration"
        | "NoSuchCORSConfiguration"
        | "NoSuchKey"
        | "NoSuchBucketPolicy"
        | "NoSuchLifecycleConfiguration"
        | "ServerSideEncryptionConfigurationNotFoundError"
        | "NoSuchPublicAccessBlockConfiguration"
        | "ObjectLockConfigurationNotFoundError"
        | "NoSuchTagSet" => Some(StatusCode::NOT_FOUND),
        "OwnershipControlsNotFoundError" | "NoSuchObjectLockConfiguration" => Some(StatusCode::NOT_FOUND),
        "InvalidBucketState" => Some(StatusCode::CONFLICT),
        "QuotaExceeded" | "UserSuspended" => Some(StatusCode::FORBIDDEN),
        "IllegalVersioningConfigurationException"
        | "InvalidArgument"
        | "InvalidLocationConstraint"
        | "InvalidRedirectLocation"
        | "TooManyBuckets"
        | "MalformedPolicy"
        | "InvalidTag"
        | "InvalidRetentionPeriod"
        | "AccessControlListNotSupported"
        | "InvalidBucketAclWithObjectOwnership"
        | "BadDigest"
        | "XAmzContentSHA256Mismatch" => Some(StatusCode::BAD_REQUEST),
        "InsufficientCapacity" => Some(StatusCode::INSUFFICIENT_STORAGE),
        "PreconditionFailed" => Some(StatusCode::PRECONDITION_FAILED),
        "NotModified" => Some(StatusCode::NOT_MODIFIED),
        _ => None,
    }
}
