//! Every option that `config set` knows: what kind it is of, its default and its range, when it applies, and what it does.
//!
//! There are two sorts. Settings of the cluster hold for all alike, and every map has all of them
//! ([`ClusterSettings`](crate::map::ClusterSettings)). Options of daemons stand in a host's file, or else centrally in the map
//! ([`CentralOption`](crate::map::CentralOption)), for one OSD or for all; the file wins.

use crate::config::{
    COMPLAINT_TIME_DEFAULT, DEEP_SCRUB_INTERVAL_DEFAULT, MEMORY_TARGET_DEFAULT, OBJECT_SIZE_MAX_DEFAULT,
};
use crate::limits;
use crate::quantity::{parse_bytes, parse_duration};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// People write seconds or a unit, and are shown seconds.
    Milliseconds,
    Microseconds,
    Bytes,
    Count,
    /// A factor.
    Times,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Of the cluster; in force with the next map.
    Cluster,
    /// Of an OSD; in force with the next map.
    OsdAtOnce,
    /// Of a host's daemon; read when it starts.
    HostAtStart,
}

/// Whole numbers of the kind's own unit; only a [`Kind::Times`] has a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptionInfo {
    pub name: &'static str,
    pub kind: Kind,
    pub sort: Sort,
    pub default: f64,
    pub least: f64,
    pub most: f64,
    /// What 0 means, where it stands for something of its own, and is taken although it is less than the least.
    pub zero: Option<&'static str>,
    pub help: &'static str,
}

const DAY_MS: f64 = 24.0 * 3600.0 * 1000.0;
/// More bytes than any device has.
const BYTES_MAX: f64 = (1u64 << 50) as f64;

pub const MEMORY_TARGET: &str = "osd_memory_target";
pub const MAX_OBJECT_SIZE: &str = "osd_max_object_size";
pub const BUSY_POLL_US: &str = "osd_busy_poll_us";
pub const SCRUB_BYTES_PER_SECOND: &str = "osd_scrub_bytes_per_second";
pub const DEEP_SCRUB_INTERVAL: &str = "osd_deep_scrub_interval";
pub const OP_COMPLAINT_TIME: &str = "osd_op_complaint_time";

/// In the order of their names.
pub const OPTIONS: [OptionInfo; 14] = [
    OptionInfo {
        name: "mon_osd_down_out_interval",
        kind: Kind::Milliseconds,
        sort: Sort::Cluster,
        default: 600_000.0,
        least: 0.0,
        most: 30.0 * DAY_MS,
        zero: Some("never"),
        help: "An OSD that is down for so long is marked out, and what it held is made anew elsewhere.",
    },
    OptionInfo {
        name: "mon_osd_min_down_reporters",
        kind: Kind::Count,
        sort: Sort::Cluster,
        default: 2.0,
        least: 1.0,
        most: 1000.0,
        zero: None,
        help: "So many hosts must miss an OSD before it is marked down, or all others if there are fewer.",
    },
    OptionInfo {
        name: BUSY_POLL_US,
        kind: Kind::Microseconds,
        sort: Sort::HostAtStart,
        default: 0.0,
        least: 0.0,
        most: limits::BUSY_POLL_US_MAX as f64,
        zero: Some("it sleeps at once"),
        help: "How long a core looks for work before it sleeps.",
    },
    OptionInfo {
        name: DEEP_SCRUB_INTERVAL,
        kind: Kind::Milliseconds,
        sort: Sort::OsdAtOnce,
        default: DEEP_SCRUB_INTERVAL_DEFAULT.as_millis() as f64,
        least: limits::SCRUB_INTERVAL_MIN.as_millis() as f64,
        most: 3650.0 * DAY_MS,
        zero: None,
        help: "From the end of a pass over an OSD's checksums to the beginning of the next.",
    },
    OptionInfo {
        name: "osd_heartbeat_grace",
        kind: Kind::Milliseconds,
        sort: Sort::Cluster,
        default: 6_000.0,
        least: 1_000.0,
        most: 600_000.0,
        zero: None,
        help: "An OSD that answers no heartbeat for so long is reported; three times osd_heartbeat_interval at the least.",
    },
    OptionInfo {
        name: "osd_heartbeat_interval",
        kind: Kind::Milliseconds,
        sort: Sort::Cluster,
        default: 500.0,
        least: 100.0,
        most: 60_000.0,
        zero: None,
        help: "How often OSDs that share placement groups ask each other for a sign of life.",
    },
    OptionInfo {
        name: "osd_max_backfills",
        kind: Kind::Count,
        sort: Sort::Cluster,
        default: 2.0,
        least: 1.0,
        most: 1000.0,
        zero: None,
        help: "Placement groups that one OSD backfills at a time.",
    },
    OptionInfo {
        name: MAX_OBJECT_SIZE,
        kind: Kind::Bytes,
        sort: Sort::HostAtStart,
        default: OBJECT_SIZE_MAX_DEFAULT as f64,
        least: 4096.0,
        most: BYTES_MAX,
        zero: None,
        help: "The largest object that is written; larger files are stored in pieces.",
    },
    OptionInfo {
        name: MEMORY_TARGET,
        kind: Kind::Bytes,
        sort: Sort::OsdAtOnce,
        default: MEMORY_TARGET_DEFAULT as f64,
        least: limits::MEMORY_TARGET_MIN as f64,
        most: BYTES_MAX,
        zero: None,
        help: "What an OSD may have resident; one that needs more for its devices takes what it needs.",
    },
    OptionInfo {
        name: OP_COMPLAINT_TIME,
        kind: Kind::Milliseconds,
        sort: Sort::OsdAtOnce,
        default: COMPLAINT_TIME_DEFAULT.as_millis() as f64,
        least: limits::COMPLAINT_TIME_MIN.as_millis() as f64,
        most: DAY_MS,
        zero: None,
        help: "From when on a request is slow: logged, counted, and shown by `osd slow-ops`.",
    },
    OptionInfo {
        name: "osd_recovery_bytes_per_second",
        kind: Kind::Bytes,
        sort: Sort::Cluster,
        default: 0.0,
        least: 0.0,
        most: u64::MAX as f64,
        zero: Some("as much as clients leave"),
        help: "Bytes a second that one OSD sends to recover and backfill.",
    },
    OptionInfo {
        name: "osd_recovery_client_slowdown_max",
        kind: Kind::Times,
        sort: Sort::Cluster,
        default: 2.0,
        least: 1.0,
        most: 1000.0,
        zero: None,
        help: "Recovery slows down when it makes clients' 99th percentile of latency more than so many times what it was.",
    },
    OptionInfo {
        name: "osd_recovery_max_active",
        kind: Kind::Count,
        sort: Sort::Cluster,
        default: 8.0,
        least: 1.0,
        most: 1000.0,
        zero: None,
        help: "Objects that one OSD recovers at a time, as their primary.",
    },
    OptionInfo {
        name: SCRUB_BYTES_PER_SECOND,
        kind: Kind::Bytes,
        sort: Sort::OsdAtOnce,
        default: 0.0,
        least: limits::SCRUB_BYTES_PER_SECOND_MIN as f64,
        most: BYTES_MAX,
        zero: Some("8 MiB, or more where the interval demands it"),
        help: "Bytes a second that a pass over an OSD's checksums reads.",
    },
];

pub fn by_name(name: &str) -> Option<&'static OptionInfo> {
    OPTIONS.iter().find(|option| option.name == name)
}

impl OptionInfo {
    /// A value as people write it, within the option's range; or what is wrong with it.
    pub fn parse(&self, text: &str) -> Result<f64, String> {
        let whole = || text.parse::<u32>().map(f64::from).map_err(|_| "expected a whole number".to_owned());
        match self.kind {
            Kind::Milliseconds => parse_duration(text).map(|time| time.as_millis() as f64),
            Kind::Bytes => parse_bytes(text).map(|bytes| bytes as f64),
            Kind::Microseconds | Kind::Count => whole(),
            Kind::Times => {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                number.ok_or_else(|| "expected a number".to_owned())
            }
        }
    }

    pub fn check(&self, value: f64) -> Result<(), String> {
        if (self.least..=self.most).contains(&value) || value == 0.0 && self.zero.is_some() {
            return Ok(());
        }
        let (name, value, least, most) = (self.name, self.shown(value), self.shown(self.least), self.shown(self.most));
        let or_zero = if self.zero.is_some() && self.least > 0.0 { ", nor 0" } else { "" };
        Err(format!("{name} {value} is not within {least} and {most}{or_zero}"))
    }

    /// Times in seconds.
    pub fn shown(&self, value: f64) -> Value {
        let value = if self.kind == Kind::Milliseconds { value / 1000.0 } else { value };
        if self.kind != Kind::Times && value.fract() == 0.0 { json!(value as u64) } else { json!(value) }
    }

    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Milliseconds => "seconds",
            Kind::Microseconds => "microseconds",
            Kind::Bytes => "bytes",
            Kind::Count => "",
            Kind::Times => "times",
        }
    }

    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Milliseconds => "duration",
            Kind::Microseconds | Kind::Count => "uint",
            Kind::Bytes => "size",
            Kind::Times => "float",
        }
    }

    pub fn applies_at_once(&self) -> bool {
        self.sort != Sort::HostAtStart
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::ClusterSettings;

    #[test]
    fn options_are_in_order_and_their_defaults_are_within_their_ranges() {
        assert!(OPTIONS.is_sorted_by(|a, b| a.name < b.name));
        for option in &OPTIONS {
            assert_eq!(option.check(option.default), Ok(()));
        }
    }

    #[test]
    fn the_settings_of_the_cluster_are_those_of_the_table_with_its_defaults() {
        for option in &OPTIONS {
            let is_cluster = option.sort == Sort::Cluster;
            assert_eq!(ClusterSettings::default().get(option.name), is_cluster.then_some(option.default));
        }
    }

    #[test]
    fn what_is_shown_is_read_back_as_the_same() {
        for option in &OPTIONS {
            for value in [option.default, option.least] {
                assert_eq!(option.parse(&option.shown(value).to_string()), Ok(value), "{}", option.name);
            }
        }
    }
}
