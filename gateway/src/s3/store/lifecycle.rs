//! What buckets' rules say is to go once it is old enough.

use super::Store;
use super::bucket::{Bucket, Versioning};
use super::entry::Entry;
use super::multipart::UploadQuery;
use super::object::Deletion;
use super::versions::VersionQuery;
use crate::s3::fault::Result;
use crate::s3::limits;
use s3s::dto::{ETag, ETagCondition, ExpirationStatus, LifecycleRule, Tag, Timestamp};
use serde::Serialize;
use std::rc::Rc;

const DAY_NS: u64 = limits::DAY.as_nanos() as u64;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    pub objects: u64,
    pub versions: u64,
    pub delete_markers: u64,
    pub uploads: u64,
}

impl Store {
    /// Passes for ever.
    pub async fn expire_again_and_again(self: &Rc<Self>) {
        loop {
            // Where days are short, a pass must not take many of them to come.
            self.ring.sleep(limits::LIFECYCLE_INTERVAL.min(self.settings.day / 4)).await;
            match self.expire().await {
                Ok(expired) if expired != Expired::default() => tracing::info!(?expired, "a lifecycle pass is done"),
                Ok(_) => {}
                Err(fault) => tracing::warn!(%fault, "a lifecycle pass did not come to its end"),
            }
        }
    }

    /// One pass over all buckets that have rules.
    pub async fn expire(&self) -> Result<Expired> {
        let mut expired = Expired::default();
        for name in self.bucket_names().await? {
            let Some(bucket) = self.find_bucket(&name).await? else { continue };
            let rules = bucket.lifecycle.as_ref().map(|lifecycle| lifecycle.rules.as_slice()).unwrap_or_default();
            let enabled = |rule: &&LifecycleRule| rule.status.as_str() == ExpirationStatus::ENABLED;
            let rules: Vec<&LifecycleRule> = rules.iter().filter(enabled).collect();
            if !rules.is_empty() {
                self.expire_versions(&bucket, &rules, &mut expired).await?;
                self.expire_uploads(&bucket, &rules, &mut expired).await?;
            }
        }
        Ok(expired)
    }

    async fn expire_versions(&self, bucket: &Bucket, rules: &[&LifecycleRule], expired: &mut Expired) -> Result<()> {
        let clock = self.clock();
        let mut query = VersionQuery { max: limits::LIST_KEYS_MAX, ..VersionQuery::default() };
        // Of the key that is being looked at: how many older versions came, and when the one before was made.
        let (mut last_key, mut older, mut replaced_ns) = (String::new(), 0_i64, 0);
        loop {
            let page = self.list_versions(bucket, &query).await?;
            let mut versions = page.versions.iter().peekable();
            while let Some((key, entry, is_newest)) = versions.next() {
                if *key != last_key {
                    last_key.clone_from(key);
                    older = 0;
                }
                if *is_newest {
                    let has_older = versions.peek().is_some_and(|(next, _, _)| next == key);
                    self.expire_newest(bucket, rules, key, entry, has_older, clock, expired).await?;
                } else {
                    older += 1;
                    if rules.iter().any(|rule| older_is_due(rule, key, entry, older, replaced_ns, clock))
                        && self.expire_version(bucket, key, entry).await?
                    {
                        expired.versions += 1;
                    }
                }
                replaced_ns = entry.modified_ns;
            }
            let Some((key, version)) = page.next else { return Ok(()) };
            query.key_marker = key;
            query.version_marker = version;
        }
    }

    fn clock(&self) -> Clock {
        Clock { now_ns: self.now_ns(), day_ns: self.settings.day.as_nanos() as u64 }
    }

    /// Whether it went: what is locked stays.
    async fn expire_version(&self, bucket: &Bucket, key: &str, entry: &Entry) -> Result<bool> {
        let deleted =
            self.delete_object(bucket, key, Some(&entry.version), &bucket.owner(), &Deletion::default()).await;
        match deleted {
            Ok(_) => Ok(true),
            Err(crate::s3::Fault::Refused { .. }) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn expire_newest(
        &self,
        bucket: &Bucket,
        rules: &[&LifecycleRule],
        key: &str,
        entry: &Entry,
        has_older: bool,
        clock: Clock,
        expired: &mut Expired,
    ) -> Result<()> {
        if entry.is_delete_marker {
            // With nothing behind it, a marker is nothing; a rule by age takes it as it would take an object.
            let is_due = |rule: &&LifecycleRule| {
                let expiration = rule.expiration.as_ref();
                let is_named = expiration.is_some_and(|given| given.expired_object_delete_marker == Some(true));
                (is_named && fits(rule, key, entry)) || newest_is_due(rule, key, entry, clock)
            };
            if !has_older && rules.iter().any(is_due) && self.expire_version(bucket, key, entry).await? {
                expired.delete_markers += 1;
            }
            return Ok(());
        }
        if !rules.iter().any(|rule| newest_is_due(rule, key, entry, clock)) {
            return Ok(());
        }
        // Only what was looked at goes; what has replaced it is young.
        let still =
            Deletion { if_match: Some(ETagCondition::ETag(ETag::Strong(entry.etag.clone()))), ..Deletion::default() };
        let version = (bucket.versioning == Versioning::Never).then_some(entry.version.as_str());
        match self.delete_object(bucket, key, version, &bucket.owner(), &still).await {
            Ok(_) => expired.objects += 1,
            Err(crate::s3::Fault::Refused { .. }) => {}
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    async fn expire_uploads(&self, bucket: &Bucket, rules: &[&LifecycleRule], expired: &mut Expired) -> Result<()> {
        let clock = self.clock();
        let mut query = UploadQuery { max: limits::LIST_KEYS_MAX, ..UploadQuery::default() };
        loop {
            let page = self.list_uploads(bucket, &query).await?;
            for (key, upload) in &page.uploads {
                let is_due = |rule: &&LifecycleRule| {
                    let days =
                        rule.abort_incomplete_multipart_upload.as_ref().and_then(|abort| abort.days_after_initiation);
                    key.starts_with(prefix(rule)) && days.is_some_and(|days| clock.is_past(upload.since_ns, days))
                };
                if rules.iter().any(is_due) {
                    self.abort_upload(bucket, key, &upload.id).await?;
                    expired.uploads += 1;
                }
            }
            let Some((key, upload)) = page.next else { return Ok(()) };
            query.key_marker = key;
            query.upload_marker = upload;
        }
    }
}

/// When a pass looks, and how long a day is to it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now_ns: u64,
    day_ns: u64,
}

impl Clock {
    fn is_past(self, since_ns: u64, days: i32) -> bool {
        let days = u64::try_from(days).unwrap_or(u64::MAX);
        self.now_ns.saturating_sub(since_ns) >= days.saturating_mul(self.day_ns)
    }

    /// What is made during a day ends with one: that is when headers say that it will.
    fn is_past_whole_days(self, since_ns: u64, days: i32) -> bool {
        if self.day_ns != DAY_NS {
            return self.is_past(since_ns, days);
        }
        end_of_days(since_ns, days).is_some_and(|end| end <= self.now_ns)
    }
}

/// The midnight after so many days.
fn end_of_days(since_ns: u64, days: i32) -> Option<u64> {
    let end = since_ns.checked_add(u64::try_from(days).ok()?.checked_mul(DAY_NS)?)?;
    end.checked_next_multiple_of(DAY_NS)
}

/// When the newest version of a key goes, in nanoseconds since 1970, and by which rule.
pub fn expiration<'a>(bucket: &'a Bucket, key: &str, entry: &Entry) -> Option<(u64, &'a str)> {
    let rules = bucket.lifecycle.as_ref()?.rules.iter();
    let enabled = rules.filter(|rule| rule.status.as_str() == ExpirationStatus::ENABLED && fits(rule, key, entry));
    let ends = enabled.filter_map(|rule| {
        let expiration = rule.expiration.as_ref()?;
        let end = match (&expiration.date, expiration.days) {
            (Some(date), _) => date_ns(date),
            (None, days) => end_of_days(entry.modified_ns, days?)?,
        };
        Some((end, rule.id.as_deref().unwrap_or_default()))
    });
    ends.min()
}

fn date_ns(date: &Timestamp) -> u64 {
    u64::try_from(time::OffsetDateTime::from(date.clone()).unix_timestamp_nanos()).unwrap_or(0)
}

/// What the rule's keys begin with.
fn prefix(rule: &LifecycleRule) -> &str {
    let of_filter = rule.filter.as_ref().and_then(|filter| {
        filter.prefix.as_deref().or_else(|| filter.and.as_ref().and_then(|and| and.prefix.as_deref()))
    });
    of_filter.or(rule.prefix.as_deref()).unwrap_or_default()
}

fn fits(rule: &LifecycleRule, key: &str, entry: &Entry) -> bool {
    if !key.starts_with(prefix(rule)) {
        return false;
    }
    let Some(filter) = &rule.filter else { return true };
    let has = |tag: &Tag| {
        entry.tags.iter().any(|(key, value)| Some(key) == tag.key.as_ref() && Some(value) == tag.value.as_ref())
    };
    let and = filter.and.as_ref();
    let size = |plain: Option<i64>, of_and: Option<i64>| plain.or(of_and).and_then(|size| u64::try_from(size).ok());
    let greater = size(filter.object_size_greater_than, and.and_then(|and| and.object_size_greater_than));
    let less = size(filter.object_size_less_than, and.and_then(|and| and.object_size_less_than));
    filter.tag.as_ref().is_none_or(has)
        && and.and_then(|and| and.tags.as_ref()).is_none_or(|tags| tags.iter().all(has))
        && greater.is_none_or(|size| entry.size > size)
        && less.is_none_or(|size| entry.size < size)
}

fn newest_is_due(rule: &LifecycleRule, key: &str, entry: &Entry, clock: Clock) -> bool {
    let Some(expiration) = &rule.expiration else { return false };
    let by_days = expiration.days.is_some_and(|days| clock.is_past_whole_days(entry.modified_ns, days));
    let by_date = expiration.date.as_ref().is_some_and(|date| date_ns(date) <= clock.now_ns);
    (by_days || by_date) && fits(rule, key, entry)
}

/// `older`: how many versions it is behind the newest; `replaced_ns`: when the one before it was made.
fn older_is_due(rule: &LifecycleRule, key: &str, entry: &Entry, older: i64, replaced_ns: u64, clock: Clock) -> bool {
    let Some(expiration) = &rule.noncurrent_version_expiration else { return false };
    let kept = i64::from(expiration.newer_noncurrent_versions.unwrap_or(0));
    let is_old = expiration.noncurrent_days.is_none_or(|days| clock.is_past(replaced_ns, days));
    is_old && older > kept && fits(rule, key, entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::{LifecycleExpiration, LifecycleRuleFilter, NoncurrentVersionExpiration};

    fn at(now_ns: u64) -> Clock {
        Clock { now_ns, day_ns: DAY_NS }
    }

    fn rule(days: i32, filter: LifecycleRuleFilter) -> LifecycleRule {
        LifecycleRule {
            abort_incomplete_multipart_upload: None,
            expiration: Some(LifecycleExpiration { days: Some(days), ..Default::default() }),
            filter: Some(filter),
            id: None,
            noncurrent_version_expiration: Some(NoncurrentVersionExpiration {
                newer_noncurrent_versions: Some(2),
                noncurrent_days: Some(1),
            }),
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        }
    }

    #[test]
    fn an_object_is_due_by_age_prefix_size_and_tag() {
        let entry = Entry { modified_ns: DAY_NS, size: 10, tags: vec![("a".into(), "b".into())], ..Entry::default() };
        let filter = |change: &dyn Fn(&mut LifecycleRuleFilter)| {
            let mut filter = LifecycleRuleFilter::default();
            change(&mut filter);
            filter
        };
        let is_due = |filter| newest_is_due(&rule(2, filter), "logs/x", &entry, at(3 * DAY_NS));
        assert!(is_due(filter(&|_| {})));
        assert!(!newest_is_due(&rule(2, filter(&|_| {})), "logs/x", &entry, at(3 * DAY_NS - 1)));
        assert!(is_due(filter(&|filter| filter.prefix = Some("logs/".into()))));
        assert!(!is_due(filter(&|filter| filter.prefix = Some("other/".into()))));
        assert!(!is_due(filter(&|filter| filter.object_size_greater_than = Some(10))));
        assert!(is_due(filter(&|filter| filter.object_size_less_than = Some(11))));
        let tag = |value: &str| Some(Tag { key: Some("a".into()), value: Some(value.into()) });
        assert!(is_due(filter(&|filter| filter.tag = tag("b"))));
        assert!(!is_due(filter(&|filter| filter.tag = tag("c"))));
    }

    #[test]
    fn older_versions_are_due_by_number_and_by_when_they_were_replaced() {
        let rule = rule(1, LifecycleRuleFilter::default());
        let entry = Entry::default();
        assert!(older_is_due(&rule, "k", &entry, 3, DAY_NS, at(2 * DAY_NS)));
        assert!(!older_is_due(&rule, "k", &entry, 2, DAY_NS, at(2 * DAY_NS)));
        assert!(!older_is_due(&rule, "k", &entry, 3, DAY_NS + 1, at(2 * DAY_NS)));
    }

    #[test]
    fn an_object_goes_at_the_midnight_that_its_header_says() {
        let filter = LifecycleRuleFilter::default();
        let entry = Entry { modified_ns: DAY_NS + 1, ..Entry::default() };
        let end = end_of_days(entry.modified_ns, 2).unwrap();
        assert_eq!(end, 4 * DAY_NS);
        assert!(!newest_is_due(&rule(2, filter.clone()), "k", &entry, at(end - 1)));
        assert!(newest_is_due(&rule(2, filter.clone()), "k", &entry, at(end)));
        // Short days are not rounded.
        let short = Clock { now_ns: DAY_NS + 21, day_ns: 10 };
        assert!(newest_is_due(&rule(2, filter), "k", &entry, short));
    }
}
