//! Cluster-wide switches, as `osd set` and `osd unset` know them.

use rkyv::{Archive, Deserialize, Serialize};

/// A set of switches.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MapFlags(pub u32);

impl MapFlags {
    pub const PAUSE: MapFlags = MapFlags(1 << 0);
    pub const NOUP: MapFlags = MapFlags(1 << 1);
    pub const NODOWN: MapFlags = MapFlags(1 << 2);
    pub const NOOUT: MapFlags = MapFlags(1 << 3);
    pub const NOIN: MapFlags = MapFlags(1 << 4);
    pub const NOBACKFILL: MapFlags = MapFlags(1 << 5);
    pub const NOREBALANCE: MapFlags = MapFlags(1 << 6);
    pub const NORECOVER: MapFlags = MapFlags(1 << 7);
    pub const NOSCRUB: MapFlags = MapFlags(1 << 8);
    pub const NODEEP_SCRUB: MapFlags = MapFlags(1 << 9);
    pub const NOTIERAGENT: MapFlags = MapFlags(1 << 10);

    const NAMES: [(MapFlags, &str); 11] = [
        (Self::PAUSE, "pause"),
        (Self::NOUP, "noup"),
        (Self::NODOWN, "nodown"),
        (Self::NOOUT, "noout"),
        (Self::NOIN, "noin"),
        (Self::NOBACKFILL, "nobackfill"),
        (Self::NOREBALANCE, "norebalance"),
        (Self::NORECOVER, "norecover"),
        (Self::NOSCRUB, "noscrub"),
        (Self::NODEEP_SCRUB, "nodeep-scrub"),
        (Self::NOTIERAGENT, "notieragent"),
    ];

    pub fn by_name(name: &str) -> Option<MapFlags> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(flag, _)| flag)
    }

    pub fn all_names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().map(|(_, name)| name)
    }

    pub fn with(self, flags: MapFlags) -> MapFlags {
        MapFlags(self.0 | flags.0)
    }

    pub fn without(self, flags: MapFlags) -> MapFlags {
        MapFlags(self.0 & !flags.0)
    }

    pub fn contains(self, flags: MapFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}
