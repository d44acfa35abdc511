//! How much users and buckets may hold. What a bucket holds is asked of its index's counts, seldom, and reckoned on from there by what
//! this gateway does; so a quota may be overstepped by what other gateways stored since it was asked.

use super::Store;
use super::bucket::Bucket;
use super::user::{Quota, User};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use basalt_ring::Instant;
use std::cell::RefCell;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub objects: u64,
    pub bytes: u64,
}

/// By the buckets' ids.
#[derive(Default)]
pub struct KnownUsage(RefCell<HashMap<String, (Instant, Usage)>>);

/// By the users' ids.
#[derive(Default)]
pub struct KnownOwners(RefCell<HashMap<String, (Instant, Option<User>)>>);

impl Usage {
    fn fits(self, quota: &Quota) -> bool {
        let fits = |used: u64, max: i64| u64::try_from(max).map_or(true, |max| used <= max);
        !quota.enabled || (fits(self.bytes, quota.max_size) && fits(self.objects, quota.max_objects))
    }

    fn plus(self, other: Usage) -> Usage {
        Usage { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
}

impl Store {
    /// Refuses one more object of `bytes` where it would be too much.
    pub async fn check_quota(&self, bucket: &Bucket, bytes: u64) -> Result<()> {
        let Some(owner) = self.owner(&bucket.owner).await? else { return Ok(()) };
        let quota_of_bucket = if bucket.quota.enabled { &bucket.quota } else { &owner.bucket_quota };
        let more = Usage { objects: 1, bytes };
        let exceeded = |what: &str| Err(Fault::custom("QuotaExceeded", format!("the quota of the {what} is used up")));
        if quota_of_bucket.enabled && !self.usage(bucket).await?.plus(more).fits(quota_of_bucket) {
            return exceeded("bucket");
        }
        if owner.user_quota.enabled {
            let used = self.usage_of_user(&owner.user_id).await?.plus(more);
            if !used.fits(&owner.user_quota) {
                return exceeded("user");
            }
        }
        Ok(())
    }

    /// An object was stored: it counts from now on, if the bucket's usage is known at all.
    pub fn stored(&self, bucket: &Bucket, bytes: u64) {
        if let Some((_, usage)) = self.known_usage.0.borrow_mut().get_mut(&bucket.id) {
            *usage = usage.plus(Usage { objects: 1, bytes });
        }
    }

    /// Of all the buckets of a user.
    pub async fn usage_of_user(&self, uid: &str) -> Result<Usage> {
        let (mut used, mut after) = (Usage::default(), String::new());
        loop {
            let (page, has_more) = self.buckets_of(uid, &after, limits::BUCKETS_PAGE_MAX).await?;
            for listed in page {
                if let Some(bucket) = self.find_bucket(&listed.name).await? {
                    used = used.plus(self.usage(&bucket).await?);
                }
                after = listed.name;
            }
            if !has_more {
                return Ok(used);
            }
        }
    }

    async fn usage(&self, bucket: &Bucket) -> Result<Usage> {
        let now = self.ring.now();
        if let Some((since, usage)) = self.known_usage.0.borrow().get(&bucket.id)
            && now.since(*since) < limits::USAGE_KNOWN_FOR
        {
            return Ok(*usage);
        }
        let (objects, bytes) = self.count_objects(bucket).await?;
        let usage = Usage { objects, bytes };
        let mut known = self.known_usage.0.borrow_mut();
        if known.len() >= limits::USERS_KNOWN_MAX {
            known.clear();
        }
        known.insert(bucket.id.clone(), (now, usage));
        Ok(usage)
    }

    async fn owner(&self, uid: &str) -> Result<Option<User>> {
        let now = self.ring.now();
        if let Some((since, user)) = self.known_owners.0.borrow().get(uid)
            && now.since(*since) < limits::USER_KNOWN_FOR
        {
            return Ok(user.clone());
        }
        let user = self.find_user(uid).await?;
        let mut known = self.known_owners.0.borrow_mut();
        if known.len() >= limits::USERS_KNOWN_MAX {
            known.clear();
        }
        known.insert(uid.to_owned(), (now, user.clone()));
        Ok(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_that_is_not_enabled_or_negative_is_none() {
        let usage = Usage { objects: 10, bytes: 1000 };
        let quota = |enabled, max_size, max_objects| Quota { enabled, max_size, max_objects, ..Quota::default() };
        assert!(usage.fits(&quota(true, 1000, 10)) && usage.fits(&quota(true, -1, -1)));
        assert!(usage.fits(&quota(false, 0, 0)));
        assert!(!usage.fits(&quota(true, 999, -1)) && !usage.fits(&quota(true, -1, 9)));
    }
}
