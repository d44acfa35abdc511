//! Buckets: made, listed, removed.

use super::Service;
use super::acl::{check_without_acl, requested};
use super::fields;
use crate::s3::access::{Asked, query_pairs};
use crate::s3::acl::Acl;
use crate::s3::acl::Permission;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::store::bucket::{Bucket, Versioning};
use crate::s3::store::lock::BucketLock;
use crate::s3::store::user::Quota;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

/// What clients may call the one region there is.
const REGIONS: [&str; 4] = ["", "default", "us-east-1", "basalt"];

impl Service {
    pub(super) async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> Result<S3Response<ListBucketsOutput>> {
        let asked = Asked::of(&request);
        let pairs = query_pairs(request.uri.query().unwrap_or_default());
        if pairs.iter().any(|(name, _)| name == "usage") {
            let document = self.usage(asked).await?;
            let mut response = S3Response::new(ListBucketsOutput::default());
            response.extensions.insert(document);
            return Ok(response);
        }
        let ListBucketsInput { continuation_token, max_buckets, prefix, .. } = request.input;
        let output = self
            .for_requester(asked, move |store, requester| async move {
                let owner = fields::owner(&requester.owner());
                let Some(uid) = requester.id() else {
                    return Ok(ListBucketsOutput {
                        buckets: Some(Vec::new()),
                        owner: Some(owner),
                        ..Default::default()
                    });
                };
                let max = max_buckets.map_or(u32::MAX, |max| u32::try_from(max).unwrap_or(0).max(1));
                let mut after = continuation_token.unwrap_or_default();
                let mut buckets = Vec::new();
                let mut next = None;
                'pages: loop {
                    let (page, more) = store.buckets_of(uid, &after, limits::BUCKETS_PAGE_MAX).await?;
                    for listed in page {
                        if prefix.as_ref().is_none_or(|prefix| listed.name.starts_with(prefix)) {
                            if buckets.len() as u32 >= max {
                                next = Some(after);
                                break 'pages;
                            }
                            buckets.push(s3s::dto::Bucket {
                                name: Some(listed.name.clone()),
                                creation_date: Some(fields::timestamp(listed.created_ns)),
                                ..Default::default()
                            });
                        }
                        after = listed.name;
                    }
                    if !more {
                        break;
                    }
                }
                Ok(ListBucketsOutput { buckets: Some(buckets), owner: Some(owner), prefix, continuation_token: next })
            })
            .await?;
        Ok(S3Response::new(output))
    }

    pub(super) async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> Result<S3Response<CreateBucketOutput>> {
        let asked = Asked::of(&request);
        let headers = request.headers;
        let input = request.input;
        let region = input.create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
        if let Some(region) = &region
            && !REGIONS.contains(&region.as_str())
        {
            let message = format!("there is no region {}; leave it out", region.as_str());
            return Err(Fault::custom("InvalidLocationConstraint", message));
        }
        let region = region.map(|region| region.as_str().to_owned()).filter(|region| !region.is_empty());
        let ownership = input.object_ownership.map(|ownership| ownership.as_str().to_owned());
        if let Some(ownership) = &ownership {
            super::configuration::check_ownership(ownership)?;
        }
        let name = input.bucket;
        check_name(&name)?;
        let locks = input.object_lock_enabled_for_bucket.unwrap_or(false);
        let location = format!("/{name}");
        self.for_requester(asked, move |store, requester| async move {
            let user = requester.user()?;
            let owner = requester.owner();
            let acl = requested(&store, &headers, &owner, &owner).await?.unwrap_or_default();
            if ownership.as_deref() == Some(ObjectOwnership::BUCKET_OWNER_ENFORCED) {
                check_without_acl(&acl, &owner.id)?;
            }
            if let Some(found) = store.find_bucket(&name).await? {
                return existing(&found, &owner.id, &acl);
            }
            if user.max_buckets < 0 || store.has_too_many_buckets(&owner.id, user.max_buckets).await? {
                let message = format!("the user may have {} buckets at most", user.max_buckets.max(0));
                return Err(Fault::refuse(S3ErrorCode::TooManyBuckets, message));
            }
            let bucket = Bucket {
                name,
                id: store.tag(),
                owner: owner.id.clone(),
                owner_name: owner.name.clone(),
                created_ns: store.now_ns(),
                location: region,
                shards: limits::INDEX_SHARDS,
                generation: 0,
                generations: 0,
                is_counted: true,
                resharding: None,
                former: Vec::new(),
                acl: acl.clone(),
                policy: None,
                versioning: if locks { Versioning::Enabled } else { Versioning::Never },
                cors: None,
                lifecycle: None,
                website: None,
                tags: Vec::new(),
                quota: Quota::default(),
                public_access_block: None,
                object_ownership: ownership,
                lock: locks.then(BucketLock::default),
                encryption: None,
                logging: None,
                requester_pays: false,
            };
            match store.create_bucket(bucket).await? {
                (found, true) => existing(&found, &owner.id, &acl),
                (_, false) => Ok(()),
            }
        })
        .await?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
    }

    pub(super) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> Result<S3Response<HeadBucketOutput>> {
        let asked = Asked::of(&request);
        let name = request.input.bucket;
        let pairs = query_pairs(request.uri.query().unwrap_or_default());
        let counts = pairs.iter().any(|(name, value)| name == "read-stats" && value == "true");
        let counted = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                requester.check_bucket(&bucket, "s3:ListBucket", Some(Permission::Read))?;
                if !counts {
                    return Ok(None);
                }
                let max_buckets = requester.user().ok().map(|user| user.max_buckets);
                Ok(Some((store.count_objects(&bucket).await?, max_buckets)))
            })
            .await?;
        let mut response = S3Response::new(HeadBucketOutput::default());
        if let Some(((objects, bytes), max_buckets)) = counted {
            // As Ceph's gateway names them.
            response.headers.insert("x-rgw-object-count", objects.into());
            response.headers.insert("x-rgw-bytes-used", bytes.into());
            if let Some(max_buckets) = max_buckets {
                response.headers.insert("x-rgw-quota-max-buckets", max_buckets.into());
            }
        }
        Ok(response)
    }

    pub(super) async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> Result<S3Response<DeleteBucketOutput>> {
        let asked = Asked::of(&request);
        let name = request.input.bucket;
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_bucket(&bucket, "s3:DeleteBucket", None)?;
            store.remove_bucket(&name).await
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketOutput::default(), hyper::StatusCode::NO_CONTENT))
    }

    pub(super) async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Result<S3Response<GetBucketLocationOutput>> {
        let asked = Asked::of(&request);
        let name = request.input.bucket;
        let bucket = self.owned(asked, name, "s3:GetBucketLocation").await?;
        let location_constraint = bucket.location.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }
}

/// The library knows the other rules.
fn check_name(name: &str) -> Result<()> {
    if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        let message = "between dots, a bucket's name has words that begin and end with a letter or a digit";
        return Err(Fault::refuse(S3ErrorCode::InvalidBucketName, message));
    }
    Ok(())
}

/// Making a bucket again that one has changes nothing, and says so if it should have.
fn existing(found: &Bucket, owner: &str, acl: &Acl) -> Result<()> {
    if found.owner == owner && found.acl == *acl {
        return Ok(());
    }
    Err(Fault::refuse(S3ErrorCode::BucketAlreadyExists, format!("there is a bucket {} already", found.name)))
}
