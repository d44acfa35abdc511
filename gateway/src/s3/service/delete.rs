//! Objects and versions deleted, one or many.

use super::Service;
use super::fields;
use super::object::check_key;
use crate::s3::access::{Asked, Requester};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::log_record::LoggedDeletion;
use crate::s3::store::Store;
use crate::s3::store::bucket::Bucket;
use crate::s3::store::object::{Deleted, Deletion};
use hyper::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

impl Service {
    pub(super) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> Result<S3Response<DeleteObjectOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        check_key(&input.key)?;
        let deletion = Deletion {
            if_match: input.if_match,
            if_size: input.if_match_size.map(expected_size).transpose()?,
            if_modified: input.if_match_last_modified_time.as_ref().map(fields::seconds),
            may_bypass_governance: false,
        };
        let bypasses = input.bypass_governance_retention.unwrap_or(false);
        let deleted = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&input.bucket).await?;
                let deletion = Deletion { may_bypass_governance: bypasses, ..deletion };
                delete(&store, &requester, &bucket, &input.key, input.version_id.as_deref(), deletion).await
            })
            .await?;
        let output = DeleteObjectOutput {
            delete_marker: deleted.is_delete_marker.then_some(true),
            version_id: deleted.version,
            ..Default::default()
        };
        Ok(S3Response::with_status(output, StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Result<S3Response<DeleteObjectsOutput>> {
        let asked = Asked::of(&request);
        let DeleteObjectsInput { bucket: name, delete: wanted, bypass_governance_retention, .. } = request.input;
        let bypasses = bypass_governance_retention.unwrap_or(false);
        if wanted.objects.len() > limits::DELETE_KEYS_MAX {
            let message = format!("at most {} objects are deleted at once", limits::DELETE_KEYS_MAX);
            return Err(Fault::refuse(S3ErrorCode::MalformedXML, message));
        }
        let is_quiet = wanted.quiet.unwrap_or(false);
        let outcomes = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                let mut outcomes = Vec::new();
                for some in wanted.objects.chunks(DELETE_JOBS) {
                    let jobs = some.iter().map(|object| {
                        let (store, requester, bucket) = (&store, &requester, &bucket);
                        async move {
                            let version = object.version_id.as_deref().filter(|version| !version.is_empty());
                            let outcome = async {
                                check_key(&object.key)?;
                                let deletion = Deletion {
                                    if_match: object.e_tag.clone().map(ETagCondition::ETag),
                                    if_size: object.size.map(expected_size).transpose()?,
                                    if_modified: object.last_modified_time.as_ref().map(fields::seconds),
                                    may_bypass_governance: bypasses,
                                };
                                delete(store, requester, bucket, &object.key, version, deletion).await
                            };
                            (object.clone(), outcome.await)
                        }
                    });
                    outcomes.extend(basalt_ring::local::join_all(jobs.collect()).await);
                }
                Ok(outcomes)
            })
            .await?;
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        let mut logged = Vec::new();
        for (object, outcome) in outcomes {
            let outcome = outcome.map_err(s3s::S3Error::from);
            logged.push(logged_deletion(&object, &outcome));
            match outcome {
                Ok(_) if is_quiet => {}
                Ok(done) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    version_id: object.version_id,
                    delete_marker: done.is_delete_marker.then_some(true),
                    delete_marker_version_id: done.version.filter(|_| done.is_delete_marker),
                }),
                Err(error) => {
                    errors.push(s3s::dto::Error {
                        code: Some(error.code().as_str().to_owned()),
                        key: Some(object.key),
                        message: error.message().map(str::to_owned),
                        version_id: object.version_id,
                    });
                }
            }
        }
        let output = DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() };
        let mut response = S3Response::new(output);
        response.extensions.insert(Deletions(logged));
        Ok(response)
    }
}

/// What became of each, for the log of requests.
#[derive(Clone)]
pub struct Deletions(pub Vec<LoggedDeletion>);

fn logged_deletion(object: &ObjectIdentifier, outcome: &s3s::S3Result<Deleted>) -> LoggedDeletion {
    let done = StatusCode::NO_CONTENT;
    let (status, error_code) = match outcome {
        Ok(_) => (done, None),
        Err(error) => (error.status_code().unwrap_or(done), Some(error.code().as_str().to_owned())),
    };
    LoggedDeletion { key: object.key.clone(), version: object.version_id.clone(), status: status.as_u16(), error_code }
}

fn expected_size(size: i64) -> Result<u64> {
    u64::try_from(size).map_err(|_| Fault::refuse(S3ErrorCode::InvalidArgument, format!("{size} is no size")))
}

/// Of one request.
const DELETE_JOBS: usize = 32;

async fn delete(
    store: &Store,
    requester: &Requester,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    mut deletion: Deletion,
) -> Result<Deleted> {
    let action = if version.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
    requester.check_key(bucket, key, action)?;
    deletion.may_bypass_governance = deletion.may_bypass_governance && requester.may_bypass_governance(bucket, key)?;
    store.delete_object(bucket, key, version, &requester.owner(), &deletion).await
}
