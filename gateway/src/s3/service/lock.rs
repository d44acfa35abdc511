//! Locks of objects: retention and legal hold, and what a bucket gives objects that come without.

use super::Service;
use super::body::text;
use super::fields;
use crate::s3::access::{Asked, Requester};
use crate::s3::acl::Permission;
use crate::s3::fault::{Fault, Result};
use crate::s3::store::Store;
use crate::s3::store::bucket::{Bucket, Versioning};
use crate::s3::store::entry::Entry;
use crate::s3::store::lock::{BucketLock, DefaultRetention, Lock, Mode, Period, Retention};
use hyper::HeaderMap;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

/// A hundred years, as with Amazon.
const DAYS_MAX: i32 = 36_500;
const YEARS_MAX: i32 = 100;

fn malformed(problem: &'static str) -> Fault {
    Fault::refuse(S3ErrorCode::MalformedXML, problem)
}

fn not_lockable() -> Fault {
    Fault::refuse(S3ErrorCode::InvalidRequest, "the bucket locks no objects")
}

/// The lock that headers ask for of an object that is being made.
pub fn requested(headers: &HeaderMap, requester: &Requester, bucket: &Bucket, key: &str, now_ns: u64) -> Result<Lock> {
    let mode = text(headers, "x-amz-object-lock-mode");
    let until = text(headers, "x-amz-object-lock-retain-until-date");
    let hold = text(headers, "x-amz-object-lock-legal-hold");
    if mode.is_none() && until.is_none() && hold.is_none() {
        return Ok(Lock::default());
    }
    if bucket.lock.is_none() {
        return Err(not_lockable());
    }
    let invalid = |problem: &'static str| Fault::refuse(S3ErrorCode::InvalidArgument, problem);
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = Mode::parse(mode).ok_or_else(|| invalid("a lock's mode is GOVERNANCE or COMPLIANCE"))?;
            let until = Timestamp::parse(TimestampFormat::DateTime, until)
                .map_err(|_| invalid("a lock's date is as 2030-01-01T00:00:00Z"))?;
            requester.check_key(bucket, key, "s3:PutObjectRetention")?;
            Some(Retention { mode, until_ns: future_ns(&until, now_ns)? })
        }
        _ => return Err(invalid("a lock's mode and its date come together")),
    };
    let legal_hold =
        hold.map(|hold| on_or_off(hold).ok_or_else(|| invalid("a legal hold is ON or OFF"))).transpose()?;
    if legal_hold.is_some() {
        requester.check_key(bucket, key, "s3:PutObjectLegalHold")?;
    }
    Ok(Lock { retention, legal_hold })
}

fn on_or_off(word: &str) -> Option<bool> {
    match word {
        ObjectLockLegalHoldStatus::ON => Some(true),
        ObjectLockLegalHoldStatus::OFF => Some(false),
        _ => None,
    }
}

fn future_ns(date: &Timestamp, now_ns: u64) -> Result<u64> {
    let nanos = time::OffsetDateTime::from(date.clone()).unix_timestamp_nanos();
    match u64::try_from(nanos.clamp(0, i128::from(u64::MAX))) {
        Ok(nanos) if nanos > now_ns => Ok(nanos),
        _ => Err(Fault::refuse(S3ErrorCode::InvalidArgument, "a lock's date is in the future")),
    }
}

pub fn mode_of(entry: &Entry) -> Option<ObjectLockMode> {
    entry.lock.retention.map(|retention| ObjectLockMode::from_static(retention.mode.as_str()))
}

pub fn until_of(entry: &Entry) -> Option<Timestamp> {
    entry.lock.retention.map(|retention| fields::timestamp(retention.until_ns))
}

pub fn hold_of(entry: &Entry) -> Option<ObjectLockLegalHoldStatus> {
    entry.lock.legal_hold.map(hold_status)
}

fn hold_status(is_on: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if is_on {
        ObjectLockLegalHoldStatus::ON
    } else {
        ObjectLockLegalHoldStatus::OFF
    })
}

/// A version whose lock is asked for or changed, in a bucket that locks.
async fn find(
    store: &Store,
    requester: &Requester,
    (name, key, version): (&str, &str, Option<&str>),
    action: &str,
    permission: Permission,
) -> Result<(Bucket, Entry)> {
    let bucket = store.bucket(name).await?;
    let entry = store.find_entry(&bucket, key, version).await?;
    requester.check_object(&bucket, key, entry.as_ref(), action, permission)?;
    if bucket.lock.is_none() {
        return Err(not_lockable());
    }
    let entry = super::object::present(entry, version)?;
    Ok((bucket, entry))
}

impl Service {
    pub(super) async fn put_object_lock_configuration(
        &self,
        request: S3Request<PutObjectLockConfigurationInput>,
    ) -> Result<S3Response<PutObjectLockConfigurationOutput>> {
        let asked = Asked::of(&request);
        let PutObjectLockConfigurationInput { bucket, object_lock_configuration, .. } = request.input;
        let wanted = object_lock_configuration.ok_or_else(|| malformed("no configuration was given"))?;
        if wanted.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
            return Err(malformed("ObjectLockEnabled is Enabled"));
        }
        let retention = match wanted.rule {
            None => None,
            Some(rule) => {
                let retention = rule.default_retention.ok_or_else(|| malformed("a rule has a DefaultRetention"))?;
                Some(default_retention(&retention)?)
            }
        };
        self.change_owned(asked, bucket, "s3:PutBucketObjectLockConfiguration", move |bucket| {
            if bucket.lock.is_none() && bucket.versioning != Versioning::Enabled {
                return Err(Fault::custom("InvalidBucketState", "only a bucket that keeps versions locks objects"));
            }
            bucket.lock = Some(BucketLock { retention });
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
    }

    pub(super) async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> Result<S3Response<GetObjectLockConfigurationOutput>> {
        let asked = Asked::of(&request);
        let bucket = self.owned(asked, request.input.bucket, "s3:GetBucketObjectLockConfiguration").await?;
        let none = || Fault::custom("ObjectLockConfigurationNotFoundError", "the bucket locks no objects");
        let lock = bucket.lock.ok_or_else(none)?;
        let rule = lock.retention.map(|retention| {
            let (days, years) = match retention.period {
                Period::Days(days) => (Some(days as i32), None),
                Period::Years(years) => (None, Some(years as i32)),
            };
            let mode = Some(ObjectLockRetentionMode::from_static(retention.mode.as_str()));
            ObjectLockRule { default_retention: Some(s3s::dto::DefaultRetention { days, mode, years }) }
        });
        let object_lock_enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
        let object_lock_configuration = Some(ObjectLockConfiguration { object_lock_enabled, rule });
        Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration }))
    }

    pub(super) async fn put_object_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> Result<S3Response<PutObjectRetentionOutput>> {
        let asked = Asked::of(&request);
        let PutObjectRetentionInput { bucket: name, key, version_id, retention, bypass_governance_retention, .. } =
            request.input;
        let retention = retention.ok_or_else(|| malformed("no retention was given"))?;
        let wanted = match (&retention.mode, &retention.retain_until_date) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let mode = Mode::parse(mode.as_str()).ok_or_else(|| malformed("Mode is GOVERNANCE or COMPLIANCE"))?;
                Some((mode, until.clone()))
            }
            _ => return Err(malformed("Mode and RetainUntilDate come together")),
        };
        self.for_requester(asked, move |store, requester| async move {
            let what = (name.as_str(), key.as_str(), version_id.as_deref());
            let (bucket, _) = find(&store, &requester, what, "s3:PutObjectRetention", Permission::WriteAcp).await?;
            let now = store.now_ns();
            let wanted = match wanted {
                None => None,
                Some((mode, until)) => Some(Retention { mode, until_ns: future_ns(&until, now)? }),
            };
            let bypasses =
                bypass_governance_retention.unwrap_or(false) && requester.may_bypass_governance(&bucket, &key)?;
            let change = |entry: &mut Entry| {
                entry.lock.check_retention(wanted, now, bypasses)?;
                entry.lock.retention = wanted;
                Ok(())
            };
            store.change_entry(&bucket, &key, version_id.as_deref(), change).await
        })
        .await?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    pub(super) async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> Result<S3Response<GetObjectRetentionOutput>> {
        let asked = Asked::of(&request);
        let GetObjectRetentionInput { bucket: name, key, version_id, .. } = request.input;
        let (_, entry) = self
            .for_requester(asked, move |store, requester| async move {
                let what = (name.as_str(), key.as_str(), version_id.as_deref());
                find(&store, &requester, what, "s3:GetObjectRetention", Permission::Read).await
            })
            .await?;
        let none = || Fault::custom("NoSuchObjectLockConfiguration", "the object has no retention");
        let kept = entry.lock.retention.ok_or_else(none)?;
        let retention = Some(ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from_static(kept.mode.as_str())),
            retain_until_date: Some(fields::timestamp(kept.until_ns)),
        });
        Ok(S3Response::new(GetObjectRetentionOutput { retention }))
    }

    pub(super) async fn put_object_legal_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> Result<S3Response<PutObjectLegalHoldOutput>> {
        let asked = Asked::of(&request);
        let PutObjectLegalHoldInput { bucket: name, key, version_id, legal_hold, .. } = request.input;
        let status = legal_hold.and_then(|hold| hold.status);
        let is_on = status.as_ref().and_then(|status| on_or_off(status.as_str()));
        let is_on = is_on.ok_or_else(|| malformed("Status is ON or OFF"))?;
        self.for_requester(asked, move |store, requester| async move {
            let what = (name.as_str(), key.as_str(), version_id.as_deref());
            let (bucket, _) = find(&store, &requester, what, "s3:PutObjectLegalHold", Permission::WriteAcp).await?;
            let change = |entry: &mut Entry| {
                entry.lock.legal_hold = Some(is_on);
                Ok(())
            };
            store.change_entry(&bucket, &key, version_id.as_deref(), change).await
        })
        .await?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }

    pub(super) async fn get_object_legal_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> Result<S3Response<GetObjectLegalHoldOutput>> {
        let asked = Asked::of(&request);
        let GetObjectLegalHoldInput { bucket: name, key, version_id, .. } = request.input;
        let (_, entry) = self
            .for_requester(asked, move |store, requester| async move {
                let what = (name.as_str(), key.as_str(), version_id.as_deref());
                find(&store, &requester, what, "s3:GetObjectLegalHold", Permission::Read).await
            })
            .await?;
        let none = || Fault::custom("NoSuchObjectLockConfiguration", "nobody has said anything about a legal hold");
        let is_on = entry.lock.legal_hold.ok_or_else(none)?;
        let legal_hold = Some(ObjectLockLegalHold { status: Some(hold_status(is_on)) });
        Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold }))
    }
}

fn default_retention(given: &s3s::dto::DefaultRetention) -> Result<DefaultRetention> {
    let mode = given.mode.as_ref().and_then(|mode| Mode::parse(mode.as_str()));
    let mode = mode.ok_or_else(|| malformed("Mode is GOVERNANCE or COMPLIANCE"))?;
    let of_length = |length: i32, max: i32| match u32::try_from(length) {
        Ok(length) if length > 0 && length <= max as u32 => Ok(length),
        _ => Err(Fault::custom("InvalidRetentionPeriod", format!("a retention is for 1 to {max}, not {length}"))),
    };
    let period = match (given.days, given.years) {
        (Some(days), None) => Period::Days(of_length(days, DAYS_MAX)?),
        (None, Some(years)) => Period::Years(of_length(years, YEARS_MAX)?),
        _ => return Err(malformed("a retention has either Days or Years")),
    };
    Ok(DefaultRetention { mode, period })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_retention_has_one_length_and_a_mode() {
        let given = |mode: &str, days, years| {
            let mode = Some(ObjectLockRetentionMode::from(mode.to_owned()));
            default_retention(&s3s::dto::DefaultRetention { days, mode, years })
        };
        assert_eq!(given("GOVERNANCE", Some(3), None).unwrap().period, Period::Days(3));
        assert_eq!(given("COMPLIANCE", None, Some(1)).unwrap().mode, Mode::Compliance);
        for (mode, days, years) in [
            ("governance", Some(1), None),
            ("GOVERNANCE", Some(0), None),
            ("GOVERNANCE", None, Some(-1)),
            ("GOVERNANCE", None, Some(101)),
            ("GOVERNANCE", Some(1), Some(1)),
            ("GOVERNANCE", None, None),
        ] {
            assert!(given(mode, days, years).is_err(), "{mode} {days:?} {years:?}");
        }
    }
}
