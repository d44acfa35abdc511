//! Whether requests to a bucket are logged, and where to.

use super::{Service, fields};
use crate::s3::access::{Asked, denied};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::log_record::LogRecord;
use crate::s3::store::request_log::{LogKeys, Logging, check_target};
use hyper::header::LAST_MODIFIED;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

impl Service {
    pub(super) async fn get_bucket_logging(
        &self,
        request: S3Request<GetBucketLoggingInput>,
    ) -> Result<S3Response<GetBucketLoggingOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketLogging").await?;
        let modified_ns = bucket.logging.as_ref().map(|logging| logging.modified_ns);
        let mut response = S3Response::new(GetBucketLoggingOutput { logging_enabled: bucket.logging.map(shown) });
        if let Some(modified) = modified_ns.and_then(|modified_ns| fields::http_date(modified_ns).parse().ok()) {
            response.headers.insert(LAST_MODIFIED, modified);
        }
        Ok(response)
    }

    pub(super) async fn put_bucket_logging(
        &self,
        request: S3Request<PutBucketLoggingInput>,
    ) -> Result<S3Response<PutBucketLoggingOutput>> {
        let asked = Asked::of(&request);
        let PutBucketLoggingInput { bucket: name, bucket_logging_status: wanted, .. } = request.input;
        let logging = wanted.logging_enabled.map(checked).transpose()?;
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_bucket(&bucket, "s3:PutBucketLogging", None)?;
            // Whatever its policy lets others do: who reads the log knows what the owner's objects are, and who asks for them.
            if requester.id() != Some(bucket.owner.as_str()) {
                return Err(denied());
            }
            if let Some(logging) = &logging {
                let none = || Fault::refuse(S3ErrorCode::NoSuchKey, format!("there is no bucket {}", logging.target));
                let target = store.find_bucket(&logging.target).await?.ok_or_else(none)?;
                check_target(&bucket, &target, logging)?;
            }
            let now_ns = store.now_ns();
            store
                .change_bucket(&name, |bucket| {
                    let before_ns = bucket.logging.as_ref().map_or(now_ns, |before| before.modified_ns);
                    let unchanged = logging.clone().map(|logging| Logging { modified_ns: before_ns, ..logging });
                    if bucket.logging != unchanged || unchanged.is_none() {
                        bucket.logging = logging.clone().map(|logging| Logging { modified_ns: now_ns, ..logging });
                    }
                    Ok(())
                })
                .await
        })
        .await?;
        Ok(S3Response::new(PutBucketLoggingOutput::default()))
    }

    /// Whether what is asked of the bucket is to be logged, as far as is known here.
    pub fn logs(&self, bucket: &str) -> bool {
        self.logged.has(bucket)
    }

    /// Has a request logged. Its client waits for that, but not for long: so whoever asks after a log was due finds it.
    pub async fn log(&self, record: LogRecord) {
        let logging = self.bridge.run(move |store| async move { store.log(record).await });
        match tokio::time::timeout(limits::LOG_WAIT, logging).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::debug!(%fault, "a request was not logged"),
            Err(_) => tracing::debug!("a log takes long to be stored; it goes on"),
        }
    }
}

fn checked(wanted: LoggingEnabled) -> Result<Logging> {
    let LoggingEnabled { target_bucket, target_grants, target_object_key_format, target_prefix } = wanted;
    if target_grants.is_some_and(|grants| !grants.is_empty()) {
        let message = "logs belong to their bucket's owner; there are no TargetGrants";
        return Err(Fault::refuse(S3ErrorCode::NotImplemented, message));
    }
    if target_prefix.len() > limits::LOG_PREFIX_BYTES_MAX {
        return Err(Fault::refuse(S3ErrorCode::InvalidArgument, "the prefix for logs is too long"));
    }
    let format = target_object_key_format.map(keys_of).transpose()?;
    Ok(Logging { target: target_bucket, prefix: target_prefix, format, modified_ns: 0 })
}

fn keys_of(format: TargetObjectKeyFormat) -> Result<LogKeys> {
    match (format.partitioned_prefix, format.simple_prefix) {
        (Some(partitioned), None) => {
            match partitioned.partition_date_source.as_ref().map(PartitionDateSource::as_str) {
                None | Some(PartitionDateSource::DELIVERY_TIME) => Ok(LogKeys::Partitioned),
                Some(PartitionDateSource::EVENT_TIME) => {
                    let message = "logs are parted by the time of their delivery only";
                    Err(Fault::refuse(S3ErrorCode::NotImplemented, message))
                }
                Some(_) => Err(Fault::refuse(S3ErrorCode::MalformedXML, "logs are parted by DeliveryTime")),
            }
        }
        (None, Some(_)) => Ok(LogKeys::Simple),
        _ => Err(Fault::refuse(S3ErrorCode::MalformedXML, "keys of logs are of one form")),
    }
}

fn shown(logging: Logging) -> LoggingEnabled {
    // Ceph's gateway tells the form also where none was asked for.
    let format = match logging.format.unwrap_or(LogKeys::Simple) {
        LogKeys::Simple => {
            TargetObjectKeyFormat { simple_prefix: Some(SimplePrefix {}), ..TargetObjectKeyFormat::default() }
        }
        LogKeys::Partitioned => TargetObjectKeyFormat {
            partitioned_prefix: Some(PartitionedPrefix {
                partition_date_source: Some(PartitionDateSource::from_static(PartitionDateSource::DELIVERY_TIME)),
            }),
            ..TargetObjectKeyFormat::default()
        },
    };
    LoggingEnabled {
        target_bucket: logging.target,
        target_grants: None,
        target_object_key_format: Some(format),
        target_prefix: logging.prefix,
    }
}
