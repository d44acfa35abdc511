//! ACLs: read from headers and documents, and given back.

use super::Service;
use super::body::text;
use super::fields;
use crate::s3::access::{Asked, denied};
use crate::s3::acl::{Acl, Grant, Grantee, Owner, Permission};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::store::Store;
use crate::s3::store::bucket::Bucket;
use hyper::HeaderMap;
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, ObjectOwnership,
    PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, dto};

const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// The ACL that headers ask for. `None`: none.
pub async fn requested(store: &Store, headers: &HeaderMap, owner: &Owner, bucket_owner: &Owner) -> Result<Option<Acl>> {
    if let Some(name) = text(headers, "x-amz-acl") {
        return Acl::canned(name, owner, bucket_owner).map(Some);
    }
    let mut grants = Vec::new();
    for (header, permission) in GRANT_HEADERS {
        let Some(list) = text(headers, header) else { continue };
        for one in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let malformed =
                || Fault::refuse(S3ErrorCode::InvalidArgument, format!("{header} has grantees such as id=\"…\""));
            let (kind, value) = one.split_once('=').ok_or_else(malformed)?;
            let value = value.trim().trim_matches('"');
            let grantee = match kind.trim().to_ascii_lowercase().as_str() {
                "id" => by_id(store, value).await?,
                "emailaddress" => by_email(store, value).await?,
                "uri" => by_uri(value)?,
                _ => return Err(malformed()),
            };
            grants.push(Grant { grantee, permission });
        }
    }
    if grants.is_empty() {
        return Ok(None);
    }
    check_count(&grants)?;
    Ok(Some(Acl { grants: Some(grants) }))
}

const OWNER_HAS_CONTROL: &str = "bucket-owner-full-control";

/// The owner and the ACL of an object that `writer` makes.
pub async fn of_new_object(store: &Store, headers: &HeaderMap, writer: Owner, bucket: &Bucket) -> Result<(Owner, Acl)> {
    if bucket.has_no_acls() {
        refuse_acls(headers, bucket)?;
        return Ok((bucket.owner(), Acl::default()));
    }
    let is_handed_over = bucket.object_ownership.as_deref() == Some(ObjectOwnership::BUCKET_OWNER_PREFERRED)
        && text(headers, "x-amz-acl") == Some(OWNER_HAS_CONTROL);
    if is_handed_over {
        return Ok((bucket.owner(), Acl::default()));
    }
    let acl = requested(store, headers, &writer, &bucket.owner()).await?.unwrap_or_default();
    refuse_public(&acl, bucket)?;
    Ok((writer, acl))
}

/// Where ACLs don't count, only what changes nothing may be asked for.
fn refuse_acls(headers: &HeaderMap, bucket: &Bucket) -> Result<()> {
    let asks = text(headers, "x-amz-acl").is_some_and(|name| name != OWNER_HAS_CONTROL)
        || GRANT_HEADERS.iter().any(|(header, _)| headers.contains_key(*header));
    if bucket.has_no_acls() && asks {
        return Err(Fault::custom("AccessControlListNotSupported", "the bucket's owner has switched ACLs off"));
    }
    Ok(())
}

fn refuse_acls_in(headers: &HeaderMap, document: Option<&AccessControlPolicy>, bucket: &Bucket) -> Result<()> {
    refuse_acls(headers, bucket)?;
    if bucket.has_no_acls() && document.is_some() {
        return Err(Fault::custom("AccessControlListNotSupported", "the bucket's owner has switched ACLs off"));
    }
    Ok(())
}

/// Refuses an ACL that gives anybody but `owner` anything, where none would count.
pub fn check_without_acl(acl: &Acl, owner: &str) -> Result<()> {
    let others = |grant: &Grant| grant.grantee.user_id() != Some(owner);
    if acl.grants.iter().flatten().any(others) {
        let message = "the bucket's ACL gives others something; make it private first";
        return Err(Fault::custom("InvalidBucketAclWithObjectOwnership", message));
    }
    Ok(())
}

fn refuse_public(acl: &Acl, bucket: &Bucket) -> Result<()> {
    if acl.is_public() && bucket.public_access_block.is_some_and(|block| block.block_public_acls) {
        return Err(denied());
    }
    Ok(())
}

async fn by_id(store: &Store, id: &str) -> Result<Grantee> {
    let unknown = || Fault::refuse(S3ErrorCode::InvalidArgument, format!("there is no user {id}"));
    let user = store.find_user(id).await?.ok_or_else(unknown)?;
    Ok(Grantee::User { id: user.user_id, name: user.display_name })
}

async fn by_email(store: &Store, email: &str) -> Result<Grantee> {
    let unknown =
        || Fault::refuse(S3ErrorCode::UnresolvableGrantByEmailAddress, format!("nobody has the address {email}"));
    let user = store.user_by_email(email).await?.ok_or_else(unknown)?;
    Ok(Grantee::User { id: user.user_id, name: user.display_name })
}

fn by_uri(uri: &str) -> Result<Grantee> {
    Grantee::group(uri).ok_or_else(|| Fault::refuse(S3ErrorCode::InvalidArgument, format!("there is no group {uri}")))
}

fn check_count(grants: &[Grant]) -> Result<()> {
    if grants.len() > limits::GRANTS_MAX {
        let message = format!("an ACL has at most {} grants", limits::GRANTS_MAX);
        return Err(Fault::refuse(S3ErrorCode::InvalidArgument, message));
    }
    Ok(())
}

async fn of_document(store: &Store, document: AccessControlPolicy, owner: &Owner) -> Result<Acl> {
    let malformed = |problem: &'static str| Fault::refuse(S3ErrorCode::MalformedACLError, problem);
    let named = document.owner.and_then(|owner| owner.id).ok_or_else(|| malformed("an ACL names the owner"))?;
    if named != owner.id {
        return Err(denied());
    }
    let mut grants = Vec::new();
    for grant in document.grants.unwrap_or_default() {
        let grantee = grant.grantee.ok_or_else(|| malformed("a grant names a grantee"))?;
        let permission = grant.permission.as_ref().and_then(|permission| Permission::parse(permission.as_str()));
        let permission = permission
            .ok_or_else(|| malformed("a grant gives one of READ, WRITE, READ_ACP, WRITE_ACP, FULL_CONTROL"))?;
        let grantee = match grantee.type_.as_str() {
            dto::Type::CANONICAL_USER => by_id(store, grantee.id.as_deref().unwrap_or_default()).await?,
            dto::Type::AMAZON_CUSTOMER_BY_EMAIL => {
                by_email(store, grantee.email_address.as_deref().unwrap_or_default()).await?
            }
            dto::Type::GROUP => by_uri(grantee.uri.as_deref().unwrap_or_default())?,
            _ => return Err(malformed("a grantee is a CanonicalUser, an AmazonCustomerByEmail or a Group")),
        };
        grants.push(Grant { grantee, permission });
    }
    check_count(&grants)?;
    Ok(Acl { grants: Some(grants) })
}

fn shown(acl: &Acl, owner: &Owner) -> Vec<dto::Grant> {
    let mut grants = acl.grants(owner);
    // Groups first, then people by their ids, as Ceph's gateway has them.
    grants.sort_by(|one, other| one.grantee.user_id().cmp(&other.grantee.user_id()));
    let grants = grants.into_iter();
    grants
        .map(|grant| {
            let kind = |kind| dto::Type::from_static(kind);
            let group = |uri: &str| dto::Grantee {
                display_name: None,
                email_address: None,
                id: None,
                type_: kind(dto::Type::GROUP),
                uri: Some(uri.into()),
            };
            let grantee = match grant.grantee {
                Grantee::User { id, name } => dto::Grantee {
                    display_name: Some(name),
                    email_address: None,
                    id: Some(id),
                    type_: kind(dto::Type::CANONICAL_USER),
                    uri: None,
                },
                Grantee::AllUsers => group(crate::s3::acl::ALL_USERS),
                Grantee::AuthenticatedUsers => group(crate::s3::acl::AUTHENTICATED_USERS),
            };
            dto::Grant {
                grantee: Some(grantee),
                permission: Some(dto::Permission::from_static(grant.permission.as_str())),
            }
        })
        .collect()
}

/// Owner of an object, with the name that the user has now.
async fn object_owner(store: &Store, id: &str) -> Result<Owner> {
    let name = store.find_user(id).await?.map(|user| user.display_name).unwrap_or_default();
    Ok(Owner { id: id.into(), name })
}

impl Service {
    pub(super) async fn get_bucket_acl(
        &self,
        request: S3Request<GetBucketAclInput>,
    ) -> Result<S3Response<GetBucketAclOutput>> {
        let asked = Asked::of(&request);
        let name = request.input.bucket;
        let bucket = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                requester.check_bucket(&bucket, "s3:GetBucketAcl", Some(Permission::ReadAcp))?;
                Ok(bucket)
            })
            .await?;
        let owner = bucket.owner();
        let grants = Some(shown(&bucket.acl, &owner));
        Ok(S3Response::new(GetBucketAclOutput { grants, owner: Some(fields::owner(&owner)) }))
    }

    pub(super) async fn put_bucket_acl(
        &self,
        request: S3Request<PutBucketAclInput>,
    ) -> Result<S3Response<PutBucketAclOutput>> {
        let asked = Asked::of(&request);
        let headers = request.headers;
        let PutBucketAclInput { bucket: name, access_control_policy, .. } = request.input;
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_bucket(&bucket, "s3:PutBucketAcl", Some(Permission::WriteAcp))?;
            refuse_acls_in(&headers, access_control_policy.as_ref(), &bucket)?;
            let owner = bucket.owner();
            let acl = wanted(&store, &headers, access_control_policy, &owner, &owner).await?;
            refuse_public(&acl, &bucket)?;
            store
                .change_bucket(&name, |bucket| {
                    bucket.acl = acl.clone();
                    Ok(())
                })
                .await
        })
        .await?;
        Ok(S3Response::new(PutBucketAclOutput::default()))
    }

    pub(super) async fn get_object_acl(
        &self,
        request: S3Request<GetObjectAclInput>,
    ) -> Result<S3Response<GetObjectAclOutput>> {
        let asked = Asked::of(&request);
        let GetObjectAclInput { bucket: name, key, version_id, .. } = request.input;
        let (acl, owner) = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                let entry = store.find_entry(&bucket, &key, version_id.as_deref()).await?;
                let action = if version_id.is_some() { "s3:GetObjectVersionAcl" } else { "s3:GetObjectAcl" };
                requester.check_object(&bucket, &key, entry.as_ref(), action, Permission::ReadAcp)?;
                let entry = super::object::present(entry, version_id.as_deref())?;
                if bucket.has_no_acls() {
                    return Ok((Acl::default(), bucket.owner()));
                }
                let owner = object_owner(&store, &entry.owner).await?;
                Ok((entry.acl, owner))
            })
            .await?;
        let grants = Some(shown(&acl, &owner));
        Ok(S3Response::new(GetObjectAclOutput { grants, owner: Some(fields::owner(&owner)), ..Default::default() }))
    }

    pub(super) async fn put_object_acl(
        &self,
        request: S3Request<PutObjectAclInput>,
    ) -> Result<S3Response<PutObjectAclOutput>> {
        let asked = Asked::of(&request);
        let headers = request.headers;
        let PutObjectAclInput { bucket: name, key, version_id, access_control_policy, .. } = request.input;
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            let entry = store.find_entry(&bucket, &key, version_id.as_deref()).await?;
            let action = if version_id.is_some() { "s3:PutObjectVersionAcl" } else { "s3:PutObjectAcl" };
            requester.check_object(&bucket, &key, entry.as_ref(), action, Permission::WriteAcp)?;
            let entry = super::object::present(entry, version_id.as_deref())?;
            refuse_acls_in(&headers, access_control_policy.as_ref(), &bucket)?;
            let owner = object_owner(&store, &entry.owner).await?;
            let acl = wanted(&store, &headers, access_control_policy, &owner, &bucket.owner()).await?;
            refuse_public(&acl, &bucket)?;
            store
                .change_entry(&bucket, &key, version_id.as_deref(), |entry| {
                    entry.acl = acl.clone();
                    Ok(())
                })
                .await
        })
        .await?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }
}

async fn wanted(
    store: &Store,
    headers: &HeaderMap,
    document: Option<AccessControlPolicy>,
    owner: &Owner,
    bucket_owner: &Owner,
) -> Result<Acl> {
    let of_headers = requested(store, headers, owner, bucket_owner).await?;
    match (of_headers, document) {
        (Some(_), Some(_)) => {
            Err(Fault::refuse(S3ErrorCode::UnexpectedContent, "an ACL comes in headers or in the body, not both"))
        }
        (Some(acl), None) => Ok(acl),
        (None, Some(document)) => of_document(store, document, owner).await,
        (None, None) => Err(Fault::refuse(S3ErrorCode::MissingSecurityHeader, "no ACL was given")),
    }
}
