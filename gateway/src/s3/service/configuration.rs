//! What a bucket's owner sets: policy, versioning, cross-origin rules and their like.

use super::Service;
use crate::s3::access::{Asked, denied};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::policy::Policy;
use crate::s3::store::bucket::{Bucket, PublicAccessBlock, Versioning};
use hyper::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

const OWNERSHIPS: [&str; 3] =
    [ObjectOwnership::BUCKET_OWNER_PREFERRED, ObjectOwnership::OBJECT_WRITER, ObjectOwnership::BUCKET_OWNER_ENFORCED];

pub fn check_ownership(ownership: &str) -> Result<()> {
    if OWNERSHIPS.contains(&ownership) {
        return Ok(());
    }
    Err(Fault::refuse(S3ErrorCode::InvalidArgument, format!("there is no object ownership {ownership}")))
}

impl Service {
    /// The bucket, for its owner and whom its policy lets do this.
    pub(super) async fn owned(&self, asked: Asked, name: String, action: &'static str) -> Result<Bucket> {
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_bucket(&bucket, action, None)?;
            Ok(bucket)
        })
        .await
    }

    pub(super) async fn change_owned(
        &self,
        asked: Asked,
        name: String,
        action: &'static str,
        change: impl Fn(&mut Bucket) -> Result<()> + Send + 'static,
    ) -> Result<Bucket> {
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_bucket(&bucket, action, None)?;
            store.change_bucket(&name, change).await
        })
        .await
    }

    pub(super) async fn get_bucket_policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> Result<S3Response<GetBucketPolicyOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketPolicy").await?;
        let policy =
            bucket.policy.ok_or_else(|| Fault::refuse(S3ErrorCode::NoSuchBucketPolicy, "the bucket has no policy"))?;
        Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy) }))
    }

    pub(super) async fn put_bucket_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> Result<S3Response<PutBucketPolicyOutput>> {
        let asked = Asked::of(&request);
        let PutBucketPolicyInput { bucket, policy: text, .. } = request.input;
        if text.len() > limits::POLICY_BYTES_MAX {
            let message = format!("a policy has at most {} bytes", limits::POLICY_BYTES_MAX);
            return Err(Fault::custom("PolicyTooLarge", message));
        }
        let policy = Policy::parse(&text, &bucket)?;
        policy.check_new()?;
        self.change_owned(asked, bucket, "s3:PutBucketPolicy", move |bucket| {
            if policy.is_public() && bucket.public_access_block.is_some_and(|block| block.block_public_policy) {
                return Err(denied());
            }
            bucket.policy = Some(text.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(PutBucketPolicyOutput::default(), StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_bucket_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> Result<S3Response<DeleteBucketPolicyOutput>> {
        self.change_owned(Asked::of(&request), request.input.bucket, "s3:DeleteBucketPolicy", |bucket| {
            bucket.policy = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketPolicyOutput::default(), StatusCode::NO_CONTENT))
    }

    pub(super) async fn get_bucket_policy_status(
        &self,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> Result<S3Response<GetBucketPolicyStatusOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketPolicyStatus").await?;
        let by_policy = match &bucket.policy {
            Some(text) => Policy::parse(text, &bucket.name)?.is_public(),
            None => false,
        };
        let ignores = bucket.public_access_block.is_some_and(|block| block.ignore_public_acls);
        let is_public = by_policy || (bucket.acl.is_public() && !ignores);
        let policy_status = Some(PolicyStatus { is_public: Some(is_public) });
        Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Result<S3Response<GetBucketVersioningOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketVersioning").await?;
        let status = match bucket.versioning {
            Versioning::Never => None,
            Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
            Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
        };
        Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
    }

    pub(super) async fn put_bucket_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> Result<S3Response<PutBucketVersioningOutput>> {
        let asked = Asked::of(&request);
        let PutBucketVersioningInput { bucket, versioning_configuration, .. } = request.input;
        if versioning_configuration.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
            return Err(Fault::refuse(S3ErrorCode::NotImplemented, "MFADelete is not supported"));
        }
        let versioning = match versioning_configuration.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => {
                let message = "Status is Enabled or Suspended";
                return Err(Fault::custom("IllegalVersioningConfigurationException", message));
            }
        };
        self.change_owned(asked, bucket, "s3:PutBucketVersioning", move |bucket| {
            if bucket.lock.is_some() && versioning != Versioning::Enabled {
                return Err(Fault::custom(
                    "InvalidBucketState",
                    "a bucket that locks objects goes on keeping versions",
                ));
            }
            bucket.versioning = versioning;
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    pub(super) async fn get_bucket_cors(
        &self,
        request: S3Request<GetBucketCorsInput>,
    ) -> Result<S3Response<GetBucketCorsOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketCORS").await?;
        let none = || Fault::custom("NoSuchCORSConfiguration", "the bucket has no CORS rules");
        let cors = bucket.cors.ok_or_else(none)?;
        Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(cors.cors_rules) }))
    }

    pub(super) async fn put_bucket_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> Result<S3Response<PutBucketCorsOutput>> {
        let asked = Asked::of(&request);
        let PutBucketCorsInput { bucket, cors_configuration, .. } = request.input;
        let rules = &cors_configuration.cors_rules;
        if rules.is_empty() || rules.len() > limits::CORS_RULES_MAX {
            let message = format!("there are 1 to {} CORS rules", limits::CORS_RULES_MAX);
            return Err(Fault::refuse(S3ErrorCode::MalformedXML, message));
        }
        for rule in rules {
            let known = |method: &String| matches!(method.as_str(), "GET" | "PUT" | "POST" | "DELETE" | "HEAD");
            if rule.allowed_origins.is_empty()
                || rule.allowed_methods.is_empty()
                || !rule.allowed_methods.iter().all(known)
            {
                let message = "a CORS rule has origins, and methods of GET, PUT, POST, DELETE and HEAD";
                return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
            }
            let patterns = rule.allowed_origins.iter().chain(rule.allowed_headers.iter().flatten());
            if patterns.into_iter().any(|pattern| pattern.matches('*').count() > 1) {
                return Err(Fault::refuse(S3ErrorCode::InvalidRequest, "a pattern has at most one *"));
            }
        }
        self.change_owned(asked, bucket, "s3:PutBucketCORS", move |bucket| {
            bucket.cors = Some(cors_configuration.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    pub(super) async fn delete_bucket_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> Result<S3Response<DeleteBucketCorsOutput>> {
        self.change_owned(Asked::of(&request), request.input.bucket, "s3:PutBucketCORS", |bucket| {
            bucket.cors = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketCorsOutput::default(), StatusCode::NO_CONTENT))
    }

    pub(super) async fn get_public_access_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> Result<S3Response<GetPublicAccessBlockOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketPublicAccessBlock").await?;
        let none = || Fault::custom("NoSuchPublicAccessBlockConfiguration", "the bucket has no such configuration");
        let block = bucket.public_access_block.ok_or_else(none)?;
        let configuration = PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            block_public_policy: Some(block.block_public_policy),
            ignore_public_acls: Some(block.ignore_public_acls),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        };
        Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) }))
    }

    pub(super) async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> Result<S3Response<PutPublicAccessBlockOutput>> {
        let asked = Asked::of(&request);
        let PutPublicAccessBlockInput { bucket, public_access_block_configuration: wanted, .. } = request.input;
        let block = PublicAccessBlock {
            block_public_acls: wanted.block_public_acls.unwrap_or(false),
            ignore_public_acls: wanted.ignore_public_acls.unwrap_or(false),
            block_public_policy: wanted.block_public_policy.unwrap_or(false),
            restrict_public_buckets: wanted.restrict_public_buckets.unwrap_or(false),
        };
        self.change_owned(asked, bucket, "s3:PutBucketPublicAccessBlock", move |bucket| {
            bucket.public_access_block = Some(block);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    pub(super) async fn delete_public_access_block(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> Result<S3Response<DeletePublicAccessBlockOutput>> {
        self.change_owned(Asked::of(&request), request.input.bucket, "s3:PutBucketPublicAccessBlock", |bucket| {
            bucket.public_access_block = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeletePublicAccessBlockOutput::default(), StatusCode::NO_CONTENT))
    }

    pub(super) async fn get_bucket_ownership_controls(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketOwnershipControls").await?;
        let none = || Fault::custom("OwnershipControlsNotFoundError", "the bucket has no ownership controls");
        let ownership = bucket.object_ownership.ok_or_else(none)?;
        let rule = OwnershipControlsRule { object_ownership: ObjectOwnership::from(ownership) };
        Ok(S3Response::new(GetBucketOwnershipControlsOutput {
            ownership_controls: Some(OwnershipControls { rules: vec![rule] }),
        }))
    }

    pub(super) async fn put_bucket_ownership_controls(
        &self,
        request: S3Request<PutBucketOwnershipControlsInput>,
    ) -> Result<S3Response<PutBucketOwnershipControlsOutput>> {
        let asked = Asked::of(&request);
        let PutBucketOwnershipControlsInput { bucket, ownership_controls, .. } = request.input;
        let [rule] = ownership_controls.rules.as_slice() else {
            return Err(Fault::refuse(S3ErrorCode::MalformedXML, "there is one rule of ownership"));
        };
        let ownership = rule.object_ownership.as_str().to_owned();
        check_ownership(&ownership)?;
        self.change_owned(asked, bucket, "s3:PutBucketOwnershipControls", move |bucket| {
            if ownership == ObjectOwnership::BUCKET_OWNER_ENFORCED {
                super::acl::check_without_acl(&bucket.acl, &bucket.owner)?;
            }
            bucket.object_ownership = Some(ownership.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
    }

    pub(super) async fn delete_bucket_ownership_controls(
        &self,
        request: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
        self.change_owned(Asked::of(&request), request.input.bucket, "s3:PutBucketOwnershipControls", |bucket| {
            bucket.object_ownership = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketOwnershipControlsOutput::default(), StatusCode::NO_CONTENT))
    }

    pub(super) async fn get_bucket_request_payment(
        &self,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> Result<S3Response<GetBucketRequestPaymentOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketRequestPayment").await?;
        let payer = if bucket.requester_pays { Payer::REQUESTER } else { Payer::BUCKET_OWNER };
        Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(payer)) }))
    }

    pub(super) async fn put_bucket_request_payment(
        &self,
        request: S3Request<PutBucketRequestPaymentInput>,
    ) -> Result<S3Response<PutBucketRequestPaymentOutput>> {
        let asked = Asked::of(&request);
        let PutBucketRequestPaymentInput { bucket, request_payment_configuration: wanted, .. } = request.input;
        let requester_pays = match wanted.payer.as_str() {
            Payer::REQUESTER => true,
            Payer::BUCKET_OWNER => false,
            _ => return Err(Fault::refuse(S3ErrorCode::MalformedXML, "who pays is Requester or BucketOwner")),
        };
        self.change_owned(asked, bucket, "s3:PutBucketRequestPayment", move |bucket| {
            bucket.requester_pays = requester_pays;
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketRequestPaymentOutput::default()))
    }

    pub(super) async fn get_bucket_encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> Result<S3Response<GetBucketEncryptionOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketEncryption").await?;
        let message = "the bucket's objects are not encrypted by the gateway";
        let none = || Fault::custom("ServerSideEncryptionConfigurationNotFoundError", message);
        let wanted = bucket.encryption.ok_or_else(none)?;
        Ok(S3Response::new(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(wanted) }))
    }

    /// Counts for objects that are made from then on, without a word of their own about it.
    pub(super) async fn put_bucket_encryption(
        &self,
        request: S3Request<PutBucketEncryptionInput>,
    ) -> Result<S3Response<PutBucketEncryptionOutput>> {
        let asked = Asked::of(&request);
        let PutBucketEncryptionInput { bucket, server_side_encryption_configuration: wanted, .. } = request.input;
        let malformed = |problem: &'static str| Fault::refuse(S3ErrorCode::MalformedXML, problem);
        let [rule] = wanted.rules.as_slice() else { return Err(malformed("there is one rule of encryption")) };
        let default = rule.apply_server_side_encryption_by_default.as_ref();
        let key = default.and_then(|rule| rule.kms_master_key_id.as_deref()).filter(|id| !id.is_empty());
        match (default.map(|rule| rule.sse_algorithm.as_str()), key) {
            (Some(ServerSideEncryption::AES256), None) | (Some(ServerSideEncryption::AWS_KMS), Some(_)) => {}
            (Some(ServerSideEncryption::AES256), Some(_)) => {
                return Err(Fault::refuse(S3ErrorCode::InvalidArgument, "AES256 goes without a KMSMasterKeyID"));
            }
            (Some(ServerSideEncryption::AWS_KMS), None) => return Err(malformed("aws:kms needs a KMSMasterKeyID")),
            _ => return Err(malformed("SSEAlgorithm is AES256 or aws:kms")),
        }
        self.change_owned(asked, bucket, "s3:PutBucketEncryption", move |bucket| {
            bucket.encryption = Some(wanted.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketEncryptionOutput::default()))
    }

    pub(super) async fn delete_bucket_encryption(
        &self,
        request: S3Request<DeleteBucketEncryptionInput>,
    ) -> Result<S3Response<DeleteBucketEncryptionOutput>> {
        self.change_owned(Asked::of(&request), request.input.bucket, "s3:PutBucketEncryption", |bucket| {
            bucket.encryption = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketEncryptionOutput::default(), StatusCode::NO_CONTENT))
    }
}
