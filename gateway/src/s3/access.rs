//! Who asks, and whether they may.

use super::acl::{Owner, Permission};
use super::fault::{Fault, Result};
use super::policy::{Effect, Policy, Question};
use super::store::Store;
use super::store::bucket::Bucket;
use super::store::entry::Entry;
use super::store::user::User;
use hyper::HeaderMap;
use s3s::{S3ErrorCode, S3Request};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Where a request came from; the server puts it beside each.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub address: IpAddr,
    pub is_secure: bool,
}

/// What is found out about a request while it is answered; the server puts one beside each, and reads it when the answer is there.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Found>);

#[derive(Debug, Default)]
struct Found {
    needed_acl: AtomicBool,
    user: OnceLock<Option<String>>,
}

impl Findings {
    /// Whether nothing but an ACL let the request through.
    pub fn needed_acl(&self) -> bool {
        self.0.needed_acl.load(Ordering::Relaxed)
    }

    /// Who asked, if that was looked at: a user, or nobody in particular.
    pub fn user(&self) -> Option<Option<&str>> {
        self.0.user.get().map(Option::as_deref)
    }
}

/// What a request says of itself.
#[derive(Clone, Debug)]
pub struct Asked {
    access_key: Option<String>,
    origin: Option<Origin>,
    findings: Findings,
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl Asked {
    pub fn of<T>(request: &S3Request<T>) -> Asked {
        let query = request.uri.query().unwrap_or_default();
        Asked {
            access_key: request.credentials.as_ref().map(|credentials| credentials.access_key.clone()),
            origin: request.extensions.get::<Origin>().copied(),
            findings: request.extensions.get::<Findings>().cloned().unwrap_or_default(),
            headers: request.headers.clone(),
            query: query_pairs(query),
        }
    }

    /// A form's fields count as headers do.
    pub fn with_fields(mut self, fields: &HeaderMap) -> Asked {
        self.headers.extend(fields.clone());
        self
    }

    fn header(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    }

    fn parameter(&self, name: &str) -> Vec<String> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// The values of a policy's condition key.
    fn values(&self, key: &str, user: Option<&str>) -> Vec<String> {
        match key {
            "aws:sourceip" => self.origin.iter().map(|origin| origin.address.to_string()).collect(),
            "aws:securetransport" => self.origin.iter().map(|origin| origin.is_secure.to_string()).collect(),
            "aws:useragent" => self.header("user-agent"),
            "aws:referer" => self.header("referer"),
            "aws:username" | "aws:userid" => user.iter().map(|user| (*user).to_owned()).collect(),
            "aws:currenttime" | "aws:epochtime" => vec![time::OffsetDateTime::now_utc().unix_timestamp().to_string()],
            "s3:prefix" => self.parameter("prefix"),
            "s3:delimiter" => self.parameter("delimiter"),
            "s3:max-keys" => self.parameter("max-keys"),
            "s3:versionid" => self.parameter("versionId"),
            _ => match key.strip_prefix("s3:") {
                Some(header) if header.starts_with("x-amz-") => self.header(header),
                _ => Vec::new(),
            },
        }
    }
}

/// Pairs of a query, decoded.
pub fn query_pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decoded(&text)
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
            [] => return String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// Who asks: known, or anonymous.
pub struct Requester {
    user: Option<User>,
    asked: Asked,
}

/// What a request wants of a bucket.
struct Wanted<'a> {
    action: &'a str,
    resource: &'a str,
    /// Of the object that is there.
    tags: &'a [(String, String)],
    /// Of the object that is not there: whether it is may be asked by who may list its name.
    key: Option<&'a str>,
}

pub fn denied() -> Fault {
    Fault::refuse(S3ErrorCode::AccessDenied, "this is not allowed")
}

impl Requester {
    /// Refuses who is suspended.
    pub async fn find(store: &Store, asked: Asked) -> Result<Requester> {
        let user = match &asked.access_key {
            None => None,
            Some(key) => {
                let unknown = || Fault::refuse(S3ErrorCode::InvalidAccessKeyId, "there is no such access key");
                Some(store.user_by_access_key(key).await?.ok_or_else(unknown)?)
            }
        };
        // An operation that looks twice finds the same.
        let _ = asked.findings.0.user.set(user.as_ref().map(|user| user.user_id.clone()));
        if user.as_ref().is_some_and(|user| user.suspended) {
            return Err(Fault::custom("UserSuspended", "the user is suspended"));
        }
        Ok(Requester { user, asked })
    }

    /// `None`: anonymous.
    pub fn id(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.user_id.as_str())
    }

    pub fn user(&self) -> Result<&User> {
        self.user.as_ref().ok_or_else(denied)
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.asked.headers
    }

    /// Whether the request came by HTTPS.
    pub fn is_secure(&self) -> bool {
        self.asked.origin.is_some_and(|origin| origin.is_secure)
    }

    /// As owner of what it makes. What nobody in particular makes belongs to `anonymous`.
    pub fn owner(&self) -> Owner {
        match &self.user {
            Some(user) => Owner { id: user.user_id.clone(), name: user.display_name.clone() },
            None => Owner { id: "anonymous".into(), name: String::new() },
        }
    }

    fn judge(&self, bucket: &Bucket, wanted: &Wanted<'_>) -> Result<Effect> {
        let Wanted { action, resource, tags, .. } = *wanted;
        let Some(text) = &bucket.policy else { return Ok(Effect::Pass) };
        let policy = Policy::parse(text, &bucket.name)?;
        let restricts = bucket.public_access_block.is_some_and(|block| block.restrict_public_buckets);
        if restricts && policy.is_public() && self.id() != Some(bucket.owner.as_str()) {
            return Ok(Effect::Deny);
        }
        let values = |key: &str| match key.strip_prefix("s3:existingobjecttag/") {
            Some(tag) => {
                let found = tags.iter().filter(|(name, _)| name.eq_ignore_ascii_case(tag));
                found.map(|(_, value)| value.clone()).collect()
            }
            None => match key.strip_prefix("s3:requestobjecttag/") {
                Some(tag) => {
                    let given = self.asked.header("x-amz-tagging");
                    let pairs = given.iter().flat_map(|tags| query_pairs(tags));
                    pairs.filter(|(name, _)| name.eq_ignore_ascii_case(tag)).map(|(_, value)| value).collect()
                }
                None => match wanted.key {
                    Some(absent) if key == "s3:prefix" => vec![absent.to_owned()],
                    _ => self.asked.values(key, self.id()),
                },
            },
        };
        Ok(policy.judge(&Question { action, resource, user: self.id(), service: None, values: &values }))
    }

    /// Whether the bucket belongs to whom the request takes for its owner.
    fn expects(&self, bucket: &Bucket, action: &str) -> bool {
        let reads_source = self.asked.headers.contains_key("x-amz-copy-source") && action.starts_with("s3:GetObject");
        let header = if reads_source { "x-amz-source-expected-bucket-owner" } else { "x-amz-expected-bucket-owner" };
        self.asked.header(header).iter().all(|expected| *expected == bucket.owner)
    }

    /// Where requesters pay, all but the owner say that they know it; who is nobody can't.
    fn pays(&self, bucket: &Bucket) -> bool {
        let says =
            || self.asked.header("x-amz-request-payer").into_iter().chain(self.asked.parameter("x-amz-request-payer"));
        let knows = || self.user.is_some() && says().any(|payer| payer.eq_ignore_ascii_case("requester"));
        !bucket.requester_pays || self.is_owner(bucket) || knows()
    }

    /// `permission`: the grant on the bucket that allows it, too; `None`: only its owner may, unless the policy says otherwise.
    pub fn may_bucket(&self, bucket: &Bucket, action: &str, permission: Option<Permission>) -> Result<bool> {
        let wanted = Wanted { action, resource: &bucket.name, tags: &[], key: None };
        self.may(bucket, &wanted, |requester| requester.has_grant_on_bucket(bucket, permission))
    }

    pub fn check_bucket(&self, bucket: &Bucket, action: &str, permission: Option<Permission>) -> Result<()> {
        if self.may_bucket(bucket, action, permission)? { Ok(()) } else { Err(denied()) }
    }

    fn has_grant_on_bucket(&self, bucket: &Bucket, permission: Option<Permission>) -> bool {
        match permission {
            None => self.is_owner(bucket),
            Some(_) if bucket.has_no_acls() => self.is_owner(bucket),
            Some(permission) => {
                let acl = self.visible(&bucket.acl, bucket);
                acl.allows(&bucket.owner, self.id(), permission)
            }
        }
    }

    fn is_owner(&self, bucket: &Bucket) -> bool {
        self.id() == Some(bucket.owner.as_str())
    }

    fn visible(&self, acl: &super::acl::Acl, bucket: &Bucket) -> super::acl::Acl {
        let ignores = bucket.public_access_block.is_some_and(|block| block.ignore_public_acls);
        if ignores && acl.is_public() && self.id() != Some(bucket.owner.as_str()) {
            return super::acl::Acl { grants: Some(Vec::new()) };
        }
        acl.clone()
    }

    /// Something on a key that needs a grant on the bucket: storing and deleting.
    pub fn check_key(&self, bucket: &Bucket, key: &str, action: &str) -> Result<()> {
        let resource = format!("{}/{key}", bucket.name);
        let granted = |requester: &Requester| requester.has_grant_on_bucket(bucket, Some(Permission::Write));
        let wanted = Wanted { action, resource: &resource, tags: &[], key: None };
        if self.may(bucket, &wanted, granted)? { Ok(()) } else { Err(denied()) }
    }

    /// Whether the request may undo what only governs: a retention that is no matter of compliance.
    pub fn may_bypass_governance(&self, bucket: &Bucket, key: &str) -> Result<bool> {
        let resource = format!("{}/{key}", bucket.name);
        let wanted = Wanted { action: "s3:BypassGovernanceRetention", resource: &resource, tags: &[], key: None };
        self.may(bucket, &wanted, |requester| requester.is_owner(bucket))
    }

    /// Something on an object that needs a grant on the object. Where there is none, only who may list the bucket learns that.
    pub fn check_object(
        &self,
        bucket: &Bucket,
        key: &str,
        entry: Option<&Entry>,
        action: &str,
        permission: Permission,
    ) -> Result<()> {
        let resource = format!("{}/{key}", bucket.name);
        let Some(entry) = entry.filter(|entry| !entry.is_delete_marker) else {
            let wanted = Wanted { action: "s3:ListBucket", resource: &bucket.name, tags: &[], key: Some(key) };
            let granted = |requester: &Requester| requester.has_grant_on_bucket(bucket, Some(Permission::Read));
            return if self.may(bucket, &wanted, granted)? { Ok(()) } else { Err(denied()) };
        };
        let granted = |requester: &Requester| {
            if bucket.has_no_acls() {
                return requester.is_owner(bucket);
            }
            requester.visible(&entry.acl, bucket).allows(&entry.owner, requester.id(), permission)
        };
        let wanted = Wanted { action, resource: &resource, tags: &entry.tags, key: None };
        if self.may(bucket, &wanted, granted)? { Ok(()) } else { Err(denied()) }
    }

    fn may(&self, bucket: &Bucket, wanted: &Wanted<'_>, granted: impl Fn(&Requester) -> bool) -> Result<bool> {
        if !self.expects(bucket, wanted.action) || !self.pays(bucket) {
            return Ok(false);
        }
        Ok(match self.judge(bucket, wanted)? {
            Effect::Deny => false,
            Effect::Allow => true,
            Effect::Pass => {
                let is_granted = granted(self);
                if is_granted && !self.is_owner(bucket) {
                    self.asked.findings.0.needed_acl.store(true, Ordering::Relaxed);
                }
                is_granted
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_once() {
        assert_eq!(
            query_pairs("a=b%2Fc&d&e=%zz+%2525"),
            [("a".into(), "b/c".into()), ("d".into(), "".into()), ("e".into(), "%zz %25".to_owned())]
        );
    }
}
