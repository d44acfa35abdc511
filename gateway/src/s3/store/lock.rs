//! Locks: what keeps versions from being deleted, whoever asks.

use crate::s3::access::denied;
use crate::s3::fault::Result;
use serde::{Deserialize, Serialize};

const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
const DAYS_OF_A_YEAR: u64 = 365;

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Mode {
    /// Who may bypass it can shorten or end it.
    #[serde(rename = "GOVERNANCE")]
    Governance,
    /// Nobody can.
    #[serde(rename = "COMPLIANCE")]
    Compliance,
}

impl Mode {
    pub fn parse(word: &str) -> Option<Mode> {
        match word {
            "GOVERNANCE" => Some(Mode::Governance),
            "COMPLIANCE" => Some(Mode::Compliance),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Governance => "GOVERNANCE",
            Mode::Compliance => "COMPLIANCE",
        }
    }
}

/// Of a bucket whose objects can be locked. It keeps versions, and goes on doing so.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct BucketLock {
    /// Of objects that come without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<DefaultRetention>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct DefaultRetention {
    pub mode: Mode,
    pub period: Period,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Period {
    Days(u32),
    Years(u32),
}

impl DefaultRetention {
    pub fn from(self, now_ns: u64) -> Retention {
        let days = match self.period {
            Period::Days(days) => u64::from(days),
            Period::Years(years) => u64::from(years) * DAYS_OF_A_YEAR,
        };
        Retention { mode: self.mode, until_ns: now_ns.saturating_add(days.saturating_mul(DAY_NS)) }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Retention {
    #[serde(rename = "m")]
    pub mode: Mode,
    /// Nanoseconds since 1970.
    #[serde(rename = "u")]
    pub until_ns: u64,
}

/// Of a version.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Lock {
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// `None`: nobody has said anything about one.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<bool>,
}

impl Lock {
    pub fn is_empty(&self) -> bool {
        *self == Lock::default()
    }

    pub fn check_deletion(&self, now_ns: u64, may_bypass_governance: bool) -> Result<()> {
        if self.legal_hold == Some(true) {
            return Err(denied());
        }
        match self.retention.filter(|retention| retention.until_ns > now_ns) {
            Some(Retention { mode: Mode::Compliance, .. }) => Err(denied()),
            Some(Retention { mode: Mode::Governance, .. }) if !may_bypass_governance => Err(denied()),
            _ => Ok(()),
        }
    }

    /// `wanted`, `None`: none any more.
    pub fn check_retention(&self, wanted: Option<Retention>, now_ns: u64, may_bypass_governance: bool) -> Result<()> {
        let Some(kept) = self.retention.filter(|retention| retention.until_ns > now_ns) else { return Ok(()) };
        let only_longer = wanted.is_some_and(|wanted| wanted.mode == kept.mode && wanted.until_ns >= kept.until_ns);
        match kept.mode {
            _ if only_longer => Ok(()),
            Mode::Governance if may_bypass_governance => Ok(()),
            Mode::Governance | Mode::Compliance => Err(denied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retention(mode: Mode, until_ns: u64) -> Lock {
        Lock { retention: Some(Retention { mode, until_ns }), legal_hold: None }
    }

    proptest! {
        /// Whatever is allowed to be done to a lock, and in whatever order, what complies is never free before its time.
        #[test]
        fn compliance_ends_no_earlier_than_was_said(
            until in 1_u64..100,
            changes in prop::collection::vec((any::<bool>(), 0_u64..200, any::<bool>(), any::<bool>()), 0..20),
            now in 0_u64..100,
        ) {
            let mut lock = retention(Mode::Compliance, until);
            for (complies, until_ns, is_removal, bypasses) in changes {
                let mode = if complies { Mode::Compliance } else { Mode::Governance };
                let wanted = (!is_removal).then_some(Retention { mode, until_ns });
                if lock.check_retention(wanted, now, bypasses).is_ok() {
                    lock.retention = wanted;
                }
            }
            prop_assert!(now >= until || lock.check_deletion(now, true).is_err());
        }
    }

    #[test]
    fn governance_gives_way_to_who_may_bypass_it_and_a_legal_hold_to_nobody() {
        let governed = retention(Mode::Governance, 10);
        assert!(governed.check_deletion(9, false).is_err());
        assert!(governed.check_deletion(9, true).is_ok() && governed.check_deletion(10, false).is_ok());
        let shorter = Some(Retention { mode: Mode::Governance, until_ns: 9 });
        assert!(
            governed.check_retention(shorter, 0, false).is_err() && governed.check_retention(shorter, 0, true).is_ok()
        );
        let complying = Some(Retention { mode: Mode::Compliance, until_ns: 10 });
        assert!(governed.check_retention(complying, 0, false).is_err());
        let held = Lock { legal_hold: Some(true), ..Lock::default() };
        assert!(held.check_deletion(u64::MAX, true).is_err());
    }

    #[test]
    fn a_default_retention_counts_from_when_the_object_was_made() {
        let year = DefaultRetention { mode: Mode::Compliance, period: Period::Years(1) };
        assert_eq!(year.from(5).until_ns, 5 + 365 * DAY_NS);
    }
}
