//! A pool's tier variables: names, defaults, their text form, and which of them contradict each other.

use crate::limits::{HIT_SET_COUNT_MAX, SECOND};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the hot tier does for a pool's reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// No tier: everything goes to base, and what is hot leaves.
    #[default]
    None,
    /// Writes land hot, reads that return are promoted.
    Writeback,
    /// Writes land hot, nothing is promoted.
    Readproxy,
    /// Nothing new becomes hot, and what is dirty is flushed.
    Proxy,
    /// Reads that return are promoted, writes go to base.
    Readonly,
}

impl CacheMode {
    pub const NAMES: &'static str = "none, writeback, readproxy, proxy or readonly";

    pub fn name(self) -> &'static str {
        match self {
            CacheMode::None => "none",
            CacheMode::Writeback => "writeback",
            CacheMode::Readproxy => "readproxy",
            CacheMode::Proxy => "proxy",
            CacheMode::Readonly => "readonly",
        }
    }

    /// Whether writes may land hot.
    pub fn takes_writes(self) -> bool {
        matches!(self, CacheMode::Writeback | CacheMode::Readproxy)
    }

    pub fn promotes(self) -> bool {
        matches!(self, CacheMode::Writeback | CacheMode::Readonly)
    }

    /// Whether dirty data is to leave whatever the ratios say.
    pub fn empties(self) -> bool {
        matches!(self, CacheMode::None | CacheMode::Proxy | CacheMode::Readonly)
    }
}

impl fmt::Display for CacheMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for CacheMode {
    type Err = ();

    fn from_str(text: &str) -> Result<CacheMode, ()> {
        [CacheMode::None, CacheMode::Writeback, CacheMode::Readproxy, CacheMode::Proxy, CacheMode::Readonly]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or(())
    }
}

/// How a hit set remembers objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HitSetType {
    /// No hit sets: nothing counts as recent.
    None,
    /// A Bloom filter.
    #[default]
    Bloom,
    /// 32-bit hashes of object numbers.
    ExplicitHash,
    /// Object numbers.
    ExplicitObject,
}

impl HitSetType {
    pub const NAMES: &'static str = "none, bloom, explicit_hash or explicit_object";

    pub fn name(self) -> &'static str {
        match self {
            HitSetType::None => "none",
            HitSetType::Bloom => "bloom",
            HitSetType::ExplicitHash => "explicit_hash",
            HitSetType::ExplicitObject => "explicit_object",
        }
    }
}

impl fmt::Display for HitSetType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for HitSetType {
    type Err = ();

    fn from_str(text: &str) -> Result<HitSetType, ()> {
        [HitSetType::None, HitSetType::Bloom, HitSetType::ExplicitHash, HitSetType::ExplicitObject]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or(())
    }
}

/// A pool's tier variables. The names are those of `osd pool set`; sizes in bytes, ages and periods in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolSettings {
    pub cache_mode: CacheMode,
    /// 0: a share of the hot slice, by need.
    pub target_max_bytes: u64,
    /// 0: no limit.
    pub target_max_objects: u64,
    pub cache_target_dirty_ratio: f64,
    pub cache_target_dirty_high_ratio: f64,
    pub cache_target_full_ratio: f64,
    pub cache_min_flush_age: u64,
    pub cache_min_evict_age: u64,
    /// 0: no limit.
    pub cache_max_dirty_age: u64,
    /// What has not been written to for so long is flushed once base has nothing else to do. 0: never.
    pub cache_idle_flush_age: u64,
    /// A sequential run of writes goes to base once it is this long. 0: never.
    pub cache_bypass_sequential_bytes: u64,
    /// A write that makes a new object, whole, goes to base if it has at least so many bytes. 0: never.
    pub cache_bypass_new_bytes: u64,
    pub hit_set_type: HitSetType,
    pub hit_set_count: u32,
    pub hit_set_period: u64,
    pub hit_set_fpp: f64,
    pub hit_set_search_last_n: u32,
    /// Percent.
    pub hit_set_grade_decay_rate: u32,
    pub min_read_recency_for_promote: u32,
    pub min_write_recency_for_promote: u32,
}

impl Default for PoolSettings {
    fn default() -> PoolSettings {
        PoolSettings {
            cache_mode: CacheMode::None,
            target_max_bytes: 0,
            target_max_objects: 0,
            cache_target_dirty_ratio: 0.4,
            cache_target_dirty_high_ratio: 0.6,
            cache_target_full_ratio: 0.8,
            cache_min_flush_age: 0,
            cache_min_evict_age: 0,
            cache_max_dirty_age: 600 * SECOND,
            cache_idle_flush_age: 30 * SECOND,
            cache_bypass_sequential_bytes: 4 << 20,
            cache_bypass_new_bytes: 0,
            hit_set_type: HitSetType::Bloom,
            hit_set_count: 4,
            hit_set_period: 1200 * SECOND,
            hit_set_fpp: 0.05,
            hit_set_search_last_n: 1,
            hit_set_grade_decay_rate: 20,
            min_read_recency_for_promote: 1,
            min_write_recency_for_promote: 0,
        }
    }
}

/// Why settings are refused. All of these are EINVAL to a person.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    #[error("unknown tier variable '{name}'; known are {}", PoolSettings::VARIABLES.join(", "))]
    UnknownVariable { name: String },
    #[error("{variable} is '{value}', but must be {expected}")]
    Malformed { variable: &'static str, value: String, expected: &'static str },
    #[error("{variable} is {value}, but must be within {low} and {high}")]
    OutOfRange { variable: &'static str, value: String, low: String, high: String },
    #[error("{lower} ({lower_value}) is greater than {upper} ({upper_value}): {reason}")]
    Contradiction {
        lower: &'static str,
        lower_value: String,
        upper: &'static str,
        upper_value: String,
        reason: &'static str,
    },
    #[error("an OSD has at most {max} pools in its tier")]
    TooManyPools { max: usize },
}

impl PoolSettings {
    /// In the order they are shown.
    pub const VARIABLES: &'static [&'static str] = &[
        "cache_mode",
        "target_max_bytes",
        "target_max_objects",
        "cache_target_dirty_ratio",
        "cache_target_dirty_high_ratio",
        "cache_target_full_ratio",
        "cache_min_flush_age",
        "cache_min_evict_age",
        "cache_max_dirty_age",
        "cache_idle_flush_age",
        "cache_bypass_sequential_bytes",
        "cache_bypass_new_bytes",
        "hit_set_type",
        "hit_set_count",
        "hit_set_period",
        "hit_set_fpp",
        "hit_set_search_last_n",
        "hit_set_grade_decay_rate",
        "min_read_recency_for_promote",
        "min_write_recency_for_promote",
    ];

    /// The defaults in writeback mode: safe with no tuning.
    pub fn writeback() -> PoolSettings {
        PoolSettings { cache_mode: CacheMode::Writeback, ..PoolSettings::default() }
    }

    /// The settings, if nothing in them is out of range or contradicts another.
    pub fn validated(self) -> Result<PoolSettings, SettingsError> {
        self.validate()?;
        Ok(self)
    }

    pub fn validate(&self) -> Result<(), SettingsError> {
        for (variable, value) in [
            ("cache_target_dirty_ratio", self.cache_target_dirty_ratio),
            ("cache_target_dirty_high_ratio", self.cache_target_dirty_high_ratio),
            ("cache_target_full_ratio", self.cache_target_full_ratio),
            ("hit_set_fpp", self.hit_set_fpp),
        ] {
            within(variable, value, 0.0, 1.0)?;
        }
        if self.hit_set_type == HitSetType::Bloom {
            // A filter that is always or never right has no finite size worth having.
            within("hit_set_fpp", self.hit_set_fpp, 0.0001, 0.5)?;
        }
        within("hit_set_count", self.hit_set_count, 0, HIT_SET_COUNT_MAX)?;
        within("hit_set_grade_decay_rate", self.hit_set_grade_decay_rate, 0, 100)?;
        ordered(
            ("cache_target_dirty_ratio", self.cache_target_dirty_ratio),
            ("cache_target_dirty_high_ratio", self.cache_target_dirty_high_ratio),
            "flushing must begin before it is urgent",
        )?;
        ordered(
            ("cache_target_dirty_high_ratio", self.cache_target_dirty_high_ratio),
            ("cache_target_full_ratio", self.cache_target_full_ratio),
            "clients are slowed between the two, before the tier is full",
        )?;
        if self.cache_max_dirty_age > 0 {
            ordered(
                ("cache_min_flush_age", Age(self.cache_min_flush_age)),
                ("cache_max_dirty_age", Age(self.cache_max_dirty_age)),
                "nothing could be flushed in time",
            )?;
        }
        if self.hit_set_type != HitSetType::None && self.hit_set_period == 0 {
            return Err(SettingsError::Malformed {
                variable: "hit_set_period",
                value: "0".into(),
                expected: "a time greater than zero, such as 20m, while there are hit sets",
            });
        }
        ordered(
            ("hit_set_search_last_n", self.hit_set_search_last_n),
            ("hit_set_count", self.hit_set_count),
            "no more sets can be searched than are kept",
        )?;
        for (variable, recency) in [
            ("min_read_recency_for_promote", self.min_read_recency_for_promote),
            ("min_write_recency_for_promote", self.min_write_recency_for_promote),
        ] {
            // The current set and the kept ones.
            ordered(
                (variable, recency),
                ("hit_set_count + 1", self.hit_set_count + 1),
                "it asks for more hit sets than there are, so nothing would ever be promoted",
            )?;
            if recency > 0 && self.hit_set_type == HitSetType::None {
                return Err(SettingsError::Contradiction {
                    lower: variable,
                    lower_value: recency.to_string(),
                    upper: "hit_set_type",
                    upper_value: "none".into(),
                    reason: "without hit sets nothing is recent, so nothing would ever be promoted; set the recency to 0 first",
                });
            }
        }
        Ok(())
    }

    /// Whether writes in a run that is so long with this one, or that make an object, go to base whatever room there is.
    pub(crate) fn bypasses(&self, length: u64, run_bytes: u64, makes_object: bool) -> bool {
        let reaches = |bytes: u64, limit: u64| limit > 0 && bytes >= limit;
        reaches(run_bytes, self.cache_bypass_sequential_bytes)
            || (makes_object && reaches(length, self.cache_bypass_new_bytes))
    }

    /// Sets one variable from its text, as `osd pool set` does. The settings as a whole are checked; on an error nothing is changed.
    pub fn set(&mut self, variable: &str, value: &str) -> Result<(), SettingsError> {
        let mut changed = self.clone();
        changed.set_unchecked(variable, value)?;
        changed.validate()?;
        *self = changed;
        Ok(())
    }

    /// Sets one variable without a look at the others, which are to be [validated](PoolSettings::validate) together.
    pub fn set_unchecked(&mut self, variable: &str, value: &str) -> Result<(), SettingsError> {
        match variable {
            "cache_mode" => self.cache_mode = parsed("cache_mode", value, CacheMode::NAMES)?,
            "target_max_bytes" => self.target_max_bytes = size("target_max_bytes", value)?,
            "target_max_objects" => self.target_max_objects = count("target_max_objects", value)?,
            "cache_target_dirty_ratio" => self.cache_target_dirty_ratio = ratio("cache_target_dirty_ratio", value)?,
            "cache_target_dirty_high_ratio" => {
                self.cache_target_dirty_high_ratio = ratio("cache_target_dirty_high_ratio", value)?;
            }
            "cache_target_full_ratio" => self.cache_target_full_ratio = ratio("cache_target_full_ratio", value)?,
            "cache_min_flush_age" => self.cache_min_flush_age = age("cache_min_flush_age", value)?,
            "cache_min_evict_age" => self.cache_min_evict_age = age("cache_min_evict_age", value)?,
            "cache_max_dirty_age" => self.cache_max_dirty_age = age("cache_max_dirty_age", value)?,
            "cache_idle_flush_age" => self.cache_idle_flush_age = age("cache_idle_flush_age", value)?,
            "cache_bypass_sequential_bytes" => {
                self.cache_bypass_sequential_bytes = size("cache_bypass_sequential_bytes", value)?
            }
            "cache_bypass_new_bytes" => self.cache_bypass_new_bytes = size("cache_bypass_new_bytes", value)?,
            "hit_set_type" => self.hit_set_type = parsed("hit_set_type", value, HitSetType::NAMES)?,
            "hit_set_count" => self.hit_set_count = small("hit_set_count", value)?,
            "hit_set_period" => self.hit_set_period = age("hit_set_period", value)?,
            "hit_set_fpp" => self.hit_set_fpp = ratio("hit_set_fpp", value)?,
            "hit_set_search_last_n" => self.hit_set_search_last_n = small("hit_set_search_last_n", value)?,
            "hit_set_grade_decay_rate" => self.hit_set_grade_decay_rate = small("hit_set_grade_decay_rate", value)?,
            "min_read_recency_for_promote" => {
                self.min_read_recency_for_promote = small("min_read_recency_for_promote", value)?;
            }
            "min_write_recency_for_promote" => {
                self.min_write_recency_for_promote = small("min_write_recency_for_promote", value)?;
            }
            _ => return Err(SettingsError::UnknownVariable { name: variable.into() }),
        }
        Ok(())
    }

    /// One variable as text: sizes in bytes, ages in seconds. `None` if there is no such variable.
    pub fn get(&self, variable: &str) -> Option<String> {
        Some(match variable {
            "cache_mode" => self.cache_mode.to_string(),
            "target_max_bytes" => self.target_max_bytes.to_string(),
            "target_max_objects" => self.target_max_objects.to_string(),
            "cache_target_dirty_ratio" => self.cache_target_dirty_ratio.to_string(),
            "cache_target_dirty_high_ratio" => self.cache_target_dirty_high_ratio.to_string(),
            "cache_target_full_ratio" => self.cache_target_full_ratio.to_string(),
            "cache_min_flush_age" => seconds(self.cache_min_flush_age),
            "cache_min_evict_age" => seconds(self.cache_min_evict_age),
            "cache_max_dirty_age" => seconds(self.cache_max_dirty_age),
            "cache_idle_flush_age" => seconds(self.cache_idle_flush_age),
            "cache_bypass_sequential_bytes" => self.cache_bypass_sequential_bytes.to_string(),
            "cache_bypass_new_bytes" => self.cache_bypass_new_bytes.to_string(),
            "hit_set_type" => self.hit_set_type.to_string(),
            "hit_set_count" => self.hit_set_count.to_string(),
            "hit_set_period" => seconds(self.hit_set_period),
            "hit_set_fpp" => self.hit_set_fpp.to_string(),
            "hit_set_search_last_n" => self.hit_set_search_last_n.to_string(),
            "hit_set_grade_decay_rate" => self.hit_set_grade_decay_rate.to_string(),
            "min_read_recency_for_promote" => self.min_read_recency_for_promote.to_string(),
            "min_write_recency_for_promote" => self.min_write_recency_for_promote.to_string(),
            _ => return None,
        })
    }
}

/// An age in messages.
#[derive(PartialEq, PartialOrd)]
struct Age(u64);

impl fmt::Display for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} s", seconds(self.0))
    }
}

fn seconds(nanoseconds: u64) -> String {
    let (whole, part) = (nanoseconds / SECOND, nanoseconds % SECOND);
    if part == 0 { whole.to_string() } else { format!("{whole}.{part:09}").trim_end_matches('0').to_string() }
}

fn within<T: PartialOrd + fmt::Display>(
    variable: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<(), SettingsError> {
    // Written so that a NaN is refused.
    if value >= low && value <= high {
        return Ok(());
    }
    Err(SettingsError::OutOfRange { variable, value: value.to_string(), low: low.to_string(), high: high.to_string() })
}

fn ordered<T: PartialOrd + fmt::Display>(
    (lower, lower_value): (&'static str, T),
    (upper, upper_value): (&'static str, T),
    reason: &'static str,
) -> Result<(), SettingsError> {
    if lower_value <= upper_value {
        return Ok(());
    }
    Err(SettingsError::Contradiction {
        lower,
        lower_value: lower_value.to_string(),
        upper,
        upper_value: upper_value.to_string(),
        reason,
    })
}

fn parsed<T: FromStr>(variable: &'static str, value: &str, expected: &'static str) -> Result<T, SettingsError> {
    value.trim().parse().map_err(|_| SettingsError::Malformed { variable, value: value.into(), expected })
}

fn ratio(variable: &'static str, value: &str) -> Result<f64, SettingsError> {
    parsed(variable, value, "a number from 0 to 1")
}

fn small(variable: &'static str, value: &str) -> Result<u32, SettingsError> {
    parsed(variable, value, "a whole number, not negative")
}

/// A number with one of the suffixes, its unit multiplied in. `None` where it is malformed or does not fit.
fn suffixed(value: &str, suffixes: &[(&str, f64)]) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(value.len());
    let (number, suffix) = value.split_at(digits);
    let unit = if suffix.is_empty() {
        suffixes.first()?.1
    } else {
        suffixes.iter().find(|(name, _)| name.eq_ignore_ascii_case(suffix))?.1
    };
    if unit == 1.0 && !number.contains('.') {
        return number.parse().ok();
    }
    let product = (number.parse::<f64>().ok()? * unit).round();
    (product < u64::MAX as f64).then_some(product as u64)
}

const KIB: f64 = 1024.0;

fn size(variable: &'static str, value: &str) -> Result<u64, SettingsError> {
    let units = [
        ("B", 1.0),
        ("K", KIB),
        ("Ki", KIB),
        ("KiB", KIB),
        ("M", KIB * KIB),
        ("Mi", KIB * KIB),
        ("MiB", KIB * KIB),
        ("G", KIB * KIB * KIB),
        ("Gi", KIB * KIB * KIB),
        ("GiB", KIB * KIB * KIB),
        ("T", KIB * KIB * KIB * KIB),
        ("Ti", KIB * KIB * KIB * KIB),
        ("TiB", KIB * KIB * KIB * KIB),
    ];
    suffixed(value, &units).ok_or_else(|| SettingsError::Malformed {
        variable,
        value: value.into(),
        expected: "a size in bytes, such as 1073741824 or 1G",
    })
}

fn count(variable: &'static str, value: &str) -> Result<u64, SettingsError> {
    suffixed(value, &[("", 1.0), ("K", 1e3), ("M", 1e6), ("G", 1e9)]).ok_or_else(|| SettingsError::Malformed {
        variable,
        value: value.into(),
        expected: "a count, such as 1000000 or 1M",
    })
}

fn age(variable: &'static str, value: &str) -> Result<u64, SettingsError> {
    let second = SECOND as f64;
    let units =
        [("s", second), ("ms", second / 1e3), ("m", second * 60.0), ("h", second * 3600.0), ("d", second * 86400.0)];
    suffixed(value, &units).ok_or_else(|| SettingsError::Malformed {
        variable,
        value: value.into(),
        expected: "a time in seconds, or such as 500ms, 10m or 2h",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_every_variable_reads_back_what_was_set() {
        let defaults = PoolSettings::writeback().validated().expect("defaults");
        for variable in PoolSettings::VARIABLES {
            let text = defaults.get(variable).expect("every listed variable has a value");
            let mut other = defaults.clone();
            other.set(variable, &text).expect("what is shown can be set");
            assert_eq!(other, defaults, "{variable}");
        }
        assert_eq!(defaults.get("no_such"), None);
    }

    #[test]
    fn contradictions_are_refused_with_both_names() {
        let mut settings = PoolSettings::default();
        let error = settings.set("cache_target_dirty_ratio", "0.7").expect_err("above high").to_string();
        assert!(
            error.contains("cache_target_dirty_ratio (0.7)") && error.contains("cache_target_dirty_high_ratio (0.6)"),
            "{error}"
        );
        let error = settings.set("cache_target_full_ratio", "0.5").expect_err("below high").to_string();
        assert!(error.contains("cache_target_full_ratio (0.5)"), "{error}");
        assert!(settings.set("cache_min_flush_age", "11m").is_err());
        assert!(settings.set("min_read_recency_for_promote", "6").is_err());
        assert!(settings.set("hit_set_type", "none").is_err());
        assert_eq!(settings, PoolSettings::default(), "a refused change changes nothing");
    }

    #[test]
    fn sizes_counts_and_ages_take_suffixes() {
        let mut settings = PoolSettings::default();
        settings.set("target_max_bytes", "1GiB").expect("size");
        assert_eq!(settings.target_max_bytes, 1 << 30);
        settings.set("target_max_bytes", "4k").expect("size");
        assert_eq!(settings.target_max_bytes, 4096);
        settings.set("target_max_bytes", "18446744073709551615").expect("the greatest size");
        assert_eq!(settings.target_max_bytes, u64::MAX);
        settings.set("target_max_objects", "2M").expect("count");
        assert_eq!(settings.target_max_objects, 2_000_000);
        settings.set("cache_max_dirty_age", "500ms").expect("age");
        assert_eq!(settings.cache_max_dirty_age, SECOND / 2);
        for refused in ["", "G", "-1", "1X", "1.2.3", "99999999999999999999", "1e400"] {
            assert!(settings.set("target_max_bytes", refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn ratios_that_are_no_numbers_are_refused() {
        let mut settings = PoolSettings::default();
        for refused in ["NaN", "inf", "-0.1", "1.1", "x"] {
            assert!(settings.set("cache_target_full_ratio", refused).is_err(), "{refused}");
        }
    }
}
