//! S3's operations: what each needs to be allowed, and how its answer is made of what the store says.

mod acl;
mod attributes;
mod body;
mod bucket;
mod combine;
mod configuration;
mod copy;
mod cors;
mod delete;
pub mod fields;
mod lifecycle;
mod list;
mod lock;
mod logging;
mod multipart;
mod object;
mod sealing;
mod tagging;
mod usage;
mod website;

use super::access::{Asked, Requester};
use super::bridge::Bridge;
use super::fault::{Fault, Result};
use super::server::Site;
use super::store::Store;
use super::store::request_log::LoggedBuckets;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};
use std::rc::Rc;

pub use delete::Deletions;
pub use usage::Document;

/// Cheap to clone.
#[derive(Clone)]
pub struct Service {
    bridge: Bridge,
    logged: LoggedBuckets,
}

impl Service {
    pub fn new(bridge: Bridge, logged: LoggedBuckets) -> Service {
        Service { bridge, logged }
    }

    /// Runs `work` where the store is, for whoever asks.
    async fn for_requester<T, F, W>(&self, asked: Asked, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(Rc<Store>, Requester) -> F + Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        self.bridge
            .run(move |store| async move {
                let requester = Requester::find(&store, asked).await?;
                work(store, requester).await
            })
            .await
    }
}

#[async_trait::async_trait]
impl S3Auth for Service {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let wanted = access_key.to_owned();
        let found = self.bridge.run(move |store| async move { store.user_by_access_key(&wanted).await }).await?;
        let keys = found.map(|user| user.keys).unwrap_or_default();
        let key = keys.into_iter().find(|key| key.access_key == access_key);
        let unknown = || Fault::refuse(S3ErrorCode::InvalidAccessKeyId, "there is no such access key");
        Ok(SecretKey::from(key.ok_or_else(unknown)?.secret_key))
    }
}

/// Lets every request through to its operation, which decides: it knows the bucket and the object, which the library's check does not.
pub struct OpenAccess;

#[async_trait::async_trait]
impl S3Access for OpenAccess {
    async fn check(&self, _context: &mut S3AccessContext<'_>) -> S3Result<()> {
        Ok(())
    }
}

/// Buckets as names of hosts below some domains. Any other host is served by paths.
pub struct Hosts(Vec<String>);

impl Hosts {
    pub fn new(domains: &[String]) -> Hosts {
        Hosts(domains.iter().map(|domain| domain.to_ascii_lowercase()).collect())
    }

    /// The bucket whose website a host names: `BUCKET.s3-website.DOMAIN`.
    pub fn site(&self, host: &str) -> Option<Site> {
        let (bucket, domain) = self.below(host)?;
        let bucket = bucket.strip_suffix(".s3-website").filter(|bucket| !bucket.is_empty())?;
        Some(Site { bucket: bucket.to_owned(), domain: domain.to_owned() })
    }

    /// The bucket that a host names.
    pub fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let (name, _) = self.below(host)?;
        Some(name.strip_suffix(".s3-website").unwrap_or(name))
    }

    /// What a host has before one of the domains, and which.
    fn below<'a>(&self, host: &'a str) -> Option<(&'a str, &str)> {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name);
        let found = self.0.iter().find_map(|domain| {
            let name = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
            Some((name, domain.as_str()))
        });
        found.filter(|(name, _)| !name.is_empty())
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

/// An operation each; what is not here answers `NotImplemented`.
macro_rules! operations {
    ($($name:ident: $input:ident -> $output:ident,)*) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                Ok(Service::$name(self, request).await?)
            })*
        }
    };
}

operations! {
    list_buckets: ListBucketsInput -> ListBucketsOutput,
    create_bucket: CreateBucketInput -> CreateBucketOutput,
    head_bucket: HeadBucketInput -> HeadBucketOutput,
    delete_bucket: DeleteBucketInput -> DeleteBucketOutput,
    get_bucket_location: GetBucketLocationInput -> GetBucketLocationOutput,
    list_objects: ListObjectsInput -> ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input -> ListObjectsV2Output,
    list_object_versions: ListObjectVersionsInput -> ListObjectVersionsOutput,
    put_object: PutObjectInput -> PutObjectOutput,
    get_object: GetObjectInput -> GetObjectOutput,
    head_object: HeadObjectInput -> HeadObjectOutput,
    get_object_attributes: GetObjectAttributesInput -> GetObjectAttributesOutput,
    get_object_torrent: GetObjectTorrentInput -> GetObjectTorrentOutput,
    delete_object: DeleteObjectInput -> DeleteObjectOutput,
    delete_objects: DeleteObjectsInput -> DeleteObjectsOutput,
    copy_object: CopyObjectInput -> CopyObjectOutput,
    post_object: PostObjectInput -> PostObjectOutput,
    create_multipart_upload: CreateMultipartUploadInput -> CreateMultipartUploadOutput,
    upload_part: UploadPartInput -> UploadPartOutput,
    upload_part_copy: UploadPartCopyInput -> UploadPartCopyOutput,
    complete_multipart_upload: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput -> AbortMultipartUploadOutput,
    list_parts: ListPartsInput -> ListPartsOutput,
    list_multipart_uploads: ListMultipartUploadsInput -> ListMultipartUploadsOutput,
    get_bucket_acl: GetBucketAclInput -> GetBucketAclOutput,
    put_bucket_acl: PutBucketAclInput -> PutBucketAclOutput,
    get_object_acl: GetObjectAclInput -> GetObjectAclOutput,
    put_object_acl: PutObjectAclInput -> PutObjectAclOutput,
    get_bucket_policy: GetBucketPolicyInput -> GetBucketPolicyOutput,
    put_bucket_policy: PutBucketPolicyInput -> PutBucketPolicyOutput,
    delete_bucket_policy: DeleteBucketPolicyInput -> DeleteBucketPolicyOutput,
    get_bucket_policy_status: GetBucketPolicyStatusInput -> GetBucketPolicyStatusOutput,
    get_bucket_versioning: GetBucketVersioningInput -> GetBucketVersioningOutput,
    put_bucket_versioning: PutBucketVersioningInput -> PutBucketVersioningOutput,
    get_bucket_cors: GetBucketCorsInput -> GetBucketCorsOutput,
    put_bucket_cors: PutBucketCorsInput -> PutBucketCorsOutput,
    delete_bucket_cors: DeleteBucketCorsInput -> DeleteBucketCorsOutput,
    get_bucket_tagging: GetBucketTaggingInput -> GetBucketTaggingOutput,
    put_bucket_tagging: PutBucketTaggingInput -> PutBucketTaggingOutput,
    delete_bucket_tagging: DeleteBucketTaggingInput -> DeleteBucketTaggingOutput,
    get_object_tagging: GetObjectTaggingInput -> GetObjectTaggingOutput,
    put_object_tagging: PutObjectTaggingInput -> PutObjectTaggingOutput,
    delete_object_tagging: DeleteObjectTaggingInput -> DeleteObjectTaggingOutput,
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput -> GetBucketLifecycleConfigurationOutput,
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput -> PutBucketLifecycleConfigurationOutput,
    delete_bucket_lifecycle: DeleteBucketLifecycleInput -> DeleteBucketLifecycleOutput,
    get_public_access_block: GetPublicAccessBlockInput -> GetPublicAccessBlockOutput,
    put_public_access_block: PutPublicAccessBlockInput -> PutPublicAccessBlockOutput,
    delete_public_access_block: DeletePublicAccessBlockInput -> DeletePublicAccessBlockOutput,
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput -> GetBucketOwnershipControlsOutput,
    put_bucket_ownership_controls: PutBucketOwnershipControlsInput -> PutBucketOwnershipControlsOutput,
    delete_bucket_ownership_controls: DeleteBucketOwnershipControlsInput -> DeleteBucketOwnershipControlsOutput,
    get_bucket_website: GetBucketWebsiteInput -> GetBucketWebsiteOutput,
    put_bucket_website: PutBucketWebsiteInput -> PutBucketWebsiteOutput,
    delete_bucket_website: DeleteBucketWebsiteInput -> DeleteBucketWebsiteOutput,
    get_bucket_request_payment: GetBucketRequestPaymentInput -> GetBucketRequestPaymentOutput,
    put_bucket_request_payment: PutBucketRequestPaymentInput -> PutBucketRequestPaymentOutput,
    get_bucket_logging: GetBucketLoggingInput -> GetBucketLoggingOutput,
    put_bucket_logging: PutBucketLoggingInput -> PutBucketLoggingOutput,
    get_bucket_encryption: GetBucketEncryptionInput -> GetBucketEncryptionOutput,
    put_bucket_encryption: PutBucketEncryptionInput -> PutBucketEncryptionOutput,
    delete_bucket_encryption: DeleteBucketEncryptionInput -> DeleteBucketEncryptionOutput,
    get_object_lock_configuration: GetObjectLockConfigurationInput -> GetObjectLockConfigurationOutput,
    put_object_lock_configuration: PutObjectLockConfigurationInput -> PutObjectLockConfigurationOutput,
    get_object_retention: GetObjectRetentionInput -> GetObjectRetentionOutput,
    put_object_retention: PutObjectRetentionInput -> PutObjectRetentionOutput,
    get_object_legal_hold: GetObjectLegalHoldInput -> GetObjectLegalHoldOutput,
    put_object_legal_hold: PutObjectLegalHoldInput -> PutObjectLegalHoldOutput,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_below_a_domain_names_a_bucket() {
        let hosts = Hosts::new(&["s3.example.net".into(), "localhost".into()]);
        for (host, bucket) in [
            ("s3.example.net", None),
            ("s3.example.net:8000", None),
            ("b.s3.example.net:8000", Some("b")),
            ("a.b.localhost", Some("a.b")),
            ("127.0.0.1:8000", None),
            (".localhost", None),
            ("xlocalhost", None),
        ] {
            assert_eq!(hosts.bucket(host), bucket, "{host}");
        }
        let site = |host: &str| hosts.site(host).map(|site| (site.bucket, site.domain));
        assert_eq!(site("a.b.s3-website.localhost:80"), Some(("a.b".into(), "localhost".into())));
        for host in ["b.localhost", "s3-website.localhost", ".s3-website.localhost", "b.s3-website.example.org"] {
            assert_eq!(site(host), None, "{host}");
        }
    }
}
