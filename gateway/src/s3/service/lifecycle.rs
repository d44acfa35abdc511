//! Rules of expiration, as buckets' owners set them.

use super::Service;
use crate::s3::access::Asked;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use hyper::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

const ID_CHARS_MAX: usize = 255;

impl Service {
    pub(super) async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetLifecycleConfiguration").await?;
        let none = || Fault::custom("NoSuchLifecycleConfiguration", "the bucket has no rules of expiration");
        let lifecycle = bucket.lifecycle.ok_or_else(none)?;
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(lifecycle.rules),
            ..Default::default()
        }))
    }

    pub(super) async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let asked = Asked::of(&request);
        let PutBucketLifecycleConfigurationInput { bucket, lifecycle_configuration, .. } = request.input;
        let malformed = |problem: &'static str| Fault::refuse(S3ErrorCode::MalformedXML, problem);
        let mut wanted = lifecycle_configuration.ok_or_else(|| malformed("no rules were given"))?;
        if wanted.rules.is_empty() || wanted.rules.len() > limits::LIFECYCLE_RULES_MAX {
            return Err(malformed("there are 1 to 1000 rules"));
        }
        for (index, rule) in wanted.rules.iter_mut().enumerate() {
            check(rule)?;
            if rule.id.as_ref().is_none_or(String::is_empty) {
                rule.id = Some(format!("rule-{index}"));
            }
        }
        let ids = |count: usize| wanted.rules.iter().take(count).filter_map(|rule| rule.id.as_deref());
        for (index, rule) in wanted.rules.iter().enumerate() {
            if ids(index).any(|id| Some(id) == rule.id.as_deref()) {
                return Err(Fault::refuse(S3ErrorCode::InvalidArgument, "two rules have the same ID"));
            }
        }
        self.change_owned(asked, bucket, "s3:PutLifecycleConfiguration", move |bucket| {
            bucket.lifecycle = Some(wanted.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }

    pub(super) async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.change_owned(Asked::of(&request), request.input.bucket, "s3:PutLifecycleConfiguration", |bucket| {
            bucket.lifecycle = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketLifecycleOutput::default(), StatusCode::NO_CONTENT))
    }
}

fn check(rule: &LifecycleRule) -> Result<()> {
    let invalid = |problem: &'static str| Err(Fault::refuse(S3ErrorCode::InvalidArgument, problem));
    let malformed = |problem: &'static str| Err(Fault::refuse(S3ErrorCode::MalformedXML, problem));
    if rule.id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
        return invalid("an ID has at most 255 characters");
    }
    if !matches!(rule.status.as_str(), ExpirationStatus::ENABLED | ExpirationStatus::DISABLED) {
        return malformed("Status is Enabled or Disabled");
    }
    let dates = rule.transitions.iter().flatten().filter_map(|transition| transition.date.clone());
    if dates.into_iter().any(|date| time::OffsetDateTime::from(date).time() != time::Time::MIDNIGHT) {
        return invalid("a transition's Date is at midnight, UTC");
    }
    if rule.transitions.as_ref().is_some_and(|transitions| !transitions.is_empty())
        || rule.noncurrent_version_transitions.as_ref().is_some_and(|transitions| !transitions.is_empty())
    {
        let message = "transitions are not supported: there is one storage class";
        return Err(Fault::refuse(S3ErrorCode::NotImplemented, message));
    }
    if rule.expiration.is_none()
        && rule.noncurrent_version_expiration.is_none()
        && rule.abort_incomplete_multipart_upload.is_none()
    {
        return malformed("a rule says what is to go");
    }
    if let Some(expiration) = &rule.expiration {
        let ways =
            [expiration.days.is_some(), expiration.date.is_some(), expiration.expired_object_delete_marker.is_some()];
        if ways.iter().filter(|given| **given).count() != 1 {
            return malformed("an expiration has one of Days, Date and ExpiredObjectDeleteMarker");
        }
        if let Some(date) = &expiration.date {
            let time = time::OffsetDateTime::from(date.clone());
            if time.time() != time::Time::MIDNIGHT {
                return invalid("Date is at midnight, UTC");
            }
        }
    }
    let days = [
        rule.expiration.as_ref().and_then(|expiration| expiration.days),
        rule.noncurrent_version_expiration.as_ref().and_then(|expiration| expiration.noncurrent_days),
        rule.abort_incomplete_multipart_upload.as_ref().and_then(|abort| abort.days_after_initiation),
    ];
    if days.into_iter().flatten().any(|days| days <= 0) {
        return invalid("days are 1 or more");
    }
    Ok(())
}
