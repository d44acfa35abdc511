//! What an OSD is set to: by its host's file, centrally by the map, or by default. What can change while it runs does so with the
//! map that says so.

use crate::host_config::HostConfig;
use basalt_cluster::Map;
use basalt_cluster::config::ScrubSettings;
use basalt_cluster::options::{self, OPTIONS, OptionInfo, Sort};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug)]
pub struct Settings {
    osd: u32,
    /// Options that the host's file gives: nothing else counts for these.
    in_file: BTreeSet<&'static str>,
    /// By the file, or by default: what counts where nothing is set centrally.
    at_start: AtStart,
    memory_target: Cell<u64>,
    scrub: Cell<ScrubSettings>,
    complaint_time: Cell<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct AtStart {
    memory_target: u64,
    scrub: ScrubSettings,
    complaint_time: Duration,
    busy_poll: Duration,
    max_object_size: u64,
}

impl Settings {
    pub fn new(config: &HostConfig, osd: u32) -> Settings {
        let HostConfig { memory_target, scrub, complaint_time, busy_poll, max_object_size, .. } = *config;
        Settings {
            osd,
            in_file: config.in_file.clone(),
            at_start: AtStart { memory_target, scrub, complaint_time, busy_poll, max_object_size },
            memory_target: Cell::new(memory_target),
            scrub: Cell::new(scrub),
            complaint_time: Cell::new(complaint_time),
        }
    }

    /// Bytes.
    pub fn memory_target(&self) -> u64 {
        self.memory_target.get()
    }

    pub fn scrub(&self) -> ScrubSettings {
        self.scrub.get()
    }

    /// From when on a request is slow.
    pub fn complaint_time(&self) -> Duration {
        self.complaint_time.get()
    }

    /// Goes by what a new map says. Whether anything is other than it was.
    pub fn set_map(&self, map: &Map) -> bool {
        let central = |name: &'static str| {
            let set = map.option(self.osd, name).map(|(_, value)| value);
            set.filter(|_| !self.in_file.contains(name))
        };
        let at_start = &self.at_start;
        let memory_target = central(options::MEMORY_TARGET).unwrap_or(at_start.memory_target);
        let scrub = ScrubSettings {
            bytes_per_second: match central(options::SCRUB_BYTES_PER_SECOND) {
                None => at_start.scrub.bytes_per_second,
                Some(0) => None,
                Some(bytes) => Some(bytes),
            },
            interval: central(options::DEEP_SCRUB_INTERVAL).map_or(at_start.scrub.interval, Duration::from_millis),
        };
        let complaint_time = central(options::OP_COMPLAINT_TIME).map_or(at_start.complaint_time, Duration::from_millis);
        let before = (
            self.memory_target.replace(memory_target),
            self.scrub.replace(scrub),
            self.complaint_time.replace(complaint_time),
        );
        before != (memory_target, scrub, complaint_time)
    }

    /// Each option with what it is now, and by whom: `file`, `osd.3`, `osd`, `global` or `default`.
    pub fn document(&self, map: Option<&Map>) -> Value {
        let of_osds = OPTIONS.iter().filter(|option| option.sort != Sort::Cluster);
        of_osds.map(|option| self.option_document(option, map)).collect()
    }

    fn option_document(&self, option: &OptionInfo, map: Option<&Map>) -> Value {
        let name = option.name;
        let now = self.in_force(name) as f64;
        if self.in_file.contains(name) {
            return json!({ "name": name, "value": option.shown(now), "source": "file", "pending_restart": false });
        }
        let set = map.and_then(|map| map.option(self.osd, name));
        let (source, wanted) = match set {
            Some((who, value)) => (who.to_string(), value as f64),
            None => ("default".to_owned(), option.default),
        };
        // What is read at the start only may have been set since.
        let is_pending = option.sort == Sort::HostAtStart && now != wanted;
        json!({ "name": name, "value": option.shown(now), "source": source, "pending_restart": is_pending })
    }

    fn in_force(&self, name: &str) -> u64 {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match name {
            options::MEMORY_TARGET => self.memory_target(),
            options::SCRUB_BYTES_PER_SECOND => self.scrub().bytes_per_second.unwrap_or(0),
            options::DEEP_SCRUB_INTERVAL => ms(self.scrub().interval),
            options::OP_COMPLAINT_TIME => ms(self.complaint_time()),
            options::BUSY_POLL_US => u64::try_from(self.at_start.busy_poll.as_micros()).unwrap_or(u64::MAX),
            options::MAX_OBJECT_SIZE => self.at_start.max_object_size,
            // The table has no others of an OSD; a test goes through them all.
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_cluster::map::Who;

    fn config(in_file: &[&'static str]) -> HostConfig {
        HostConfig {
            identity: crate::identity::Identity::shared(
                basalt_net::Fsid([1; 16]),
                basalt_net::Key::from_bytes([2; 32]),
            ),
            host: "h".into(),
            monitors: Vec::new(),
            public_address: ([127, 0, 0, 1], 0).into(),
            cluster_address: ([127, 0, 0, 1], 0).into(),
            memory_target: 1 << 30,
            max_object_size: 1 << 20,
            scrub: ScrubSettings { bytes_per_second: Some(7 << 20), interval: Duration::from_secs(100) },
            busy_poll: Duration::from_micros(30),
            stray_kept: Duration::ZERO,
            complaint_time: Duration::from_millis(500),
            in_file: in_file.iter().copied().collect(),
            osds: Vec::new(),
        }
    }

    fn map() -> Map {
        let mut map = Map::new([1; 16], 0);
        map.set_option(Who::Global, options::MEMORY_TARGET, Some(2 << 30));
        map.set_option(Who::Osds, options::MEMORY_TARGET, Some(3 << 30));
        map.set_option(Who::Osd(4), options::MEMORY_TARGET, Some(5 << 30));
        map.set_option(Who::Osds, options::SCRUB_BYTES_PER_SECOND, Some(0));
        map.set_option(Who::Global, options::OP_COMPLAINT_TIME, Some(90));
        map.set_option(Who::Osds, options::BUSY_POLL_US, Some(70));
        map
    }

    fn entry(settings: &Settings, map: &Map, name: &str) -> Value {
        let document = settings.document(Some(map));
        document.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap().clone()
    }

    #[test]
    fn the_nearest_counts_and_what_is_taken_back_is_as_at_the_start() {
        let (near, far) = (Settings::new(&config(&[]), 4), Settings::new(&config(&[]), 9));
        assert!(near.set_map(&map()) && far.set_map(&map()) && !far.set_map(&map()));
        assert_eq!((near.memory_target(), far.memory_target()), (5 << 30, 3 << 30));
        assert_eq!(far.scrub().bytes_per_second, None);
        assert_eq!(far.complaint_time(), Duration::from_millis(90));
        assert_eq!(entry(&near, &map(), "osd_memory_target")["source"], "osd.4");
        assert_eq!(entry(&far, &map(), "osd_memory_target")["source"], "osd");
        assert_eq!(entry(&far, &map(), "osd_op_complaint_time")["source"], "global");
        assert!(far.set_map(&Map::new([1; 16], 0)));
        assert_eq!((far.memory_target(), far.scrub().bytes_per_second), (1 << 30, Some(7 << 20)));
    }

    #[test]
    fn what_the_file_says_wins() {
        let settings = Settings::new(&config(&[options::MEMORY_TARGET, options::OP_COMPLAINT_TIME]), 4);
        settings.set_map(&map());
        assert_eq!((settings.memory_target(), settings.complaint_time()), (1 << 30, Duration::from_millis(500)));
        assert_eq!(entry(&settings, &map(), "osd_memory_target")["source"], "file");
        assert_eq!(settings.scrub().bytes_per_second, None);
    }

    #[test]
    fn what_is_read_at_the_start_only_is_said_to_wait_for_one() {
        let settings = Settings::new(&config(&[]), 4);
        settings.set_map(&map());
        let poll = entry(&settings, &map(), "osd_busy_poll_us");
        assert_eq!((&poll["value"], &poll["pending_restart"]), (&json!(30), &json!(true)));
        let mut as_started = map();
        as_started.set_option(Who::Osds, options::BUSY_POLL_US, Some(30));
        assert_eq!(entry(&settings, &as_started, "osd_busy_poll_us")["pending_restart"], false);
    }

    #[test]
    fn every_option_of_an_osd_is_told_with_its_own_value() {
        let settings = Settings::new(&config(&[]), 4);
        let values: BTreeSet<String> =
            settings.document(None).as_array().unwrap().iter().map(|entry| entry["value"].to_string()).collect();
        assert_eq!(values.len(), OPTIONS.iter().filter(|option| option.sort != Sort::Cluster).count());
        assert!(!values.contains("0"), "{values:?}");
    }
}
