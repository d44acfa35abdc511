//! What an end of a session, and a cluster as a whole, can do beyond what the first version could: a bit each, and names for people.
//!
//! A bit is given away once and never again. A release is known by the bits that it has; which release a cluster requires of all its
//! daemons is kept as bits, too, so a later release that has them all, and others, is never refused for its name.

use std::fmt;

/// A set of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Features(pub u64);

/// A release, and all that its daemons can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    pub name: &'static str,
    pub features: Features,
}

/// In ascending order; each has what the one before it has. The first is everything from before there were features.
pub const RELEASES: [Release; 2] =
    [Release { name: "0.1", features: Features::NONE }, Release { name: "0.2", features: Features::REQUIRED_IN_MAP }];

impl Features {
    pub const NONE: Features = Features(0);
    /// Reads maps that say what is required of all (format 8), and knows the command that changes it.
    pub const REQUIRED_IN_MAP: Features = Features(1 << 0);
    /// All that this version has.
    pub const CURRENT: Features = Features::REQUIRED_IN_MAP;

    const NAMES: [(Features, &str); 1] = [(Features::REQUIRED_IN_MAP, "required-in-map")];

    pub fn is_none(self) -> bool {
        self == Features::NONE
    }

    pub fn contains(self, others: Features) -> bool {
        self.0 & others.0 == others.0
    }

    pub fn with(self, others: Features) -> Features {
        Features(self.0 | others.0)
    }

    pub fn without(self, others: Features) -> Features {
        Features(self.0 & !others.0)
    }

    /// What both have.
    pub fn common(self, others: Features) -> Features {
        Features(self.0 & others.0)
    }

    /// A bit that this version does not know has its number for a name.
    pub fn names(self) -> impl Iterator<Item = String> {
        let name = |bit: Features| match Features::NAMES.iter().find(|(known, _)| *known == bit) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("feature-{}", bit.0.trailing_zeros()),
        };
        (0..u64::BITS).map(|bit| Features(1 << bit)).filter(move |bit| self.contains(*bit)).map(name)
    }

    /// The newest release all of whose features are here.
    pub fn release(self) -> &'static str {
        RELEASES.iter().rev().find(|release| self.contains(release.features)).map_or("0.1", |release| release.name)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names().collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

impl Release {
    pub fn by_name(name: &str) -> Option<Release> {
        RELEASES.into_iter().find(|release| release.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_has_what_the_one_before_has_and_the_newest_is_this_version() {
        for pair in RELEASES.windows(2) {
            assert!(pair[1].features.contains(pair[0].features) && pair[1].features != pair[0].features);
        }
        let newest = RELEASES[RELEASES.len() - 1];
        assert_eq!(newest.features, Features::CURRENT);
        assert!(env!("CARGO_PKG_VERSION").starts_with(&format!("{}.", newest.name)));
        for release in RELEASES {
            assert_eq!(Release::by_name(release.name), Some(release));
            assert_eq!(release.features.release(), release.name);
        }
    }

    #[test]
    fn every_feature_of_this_version_has_a_name_of_its_own() {
        let named = Features::NAMES.iter().fold(Features::NONE, |all, (bit, _)| {
            assert!(bit.0.is_power_of_two() && !all.contains(*bit));
            all.with(*bit)
        });
        assert_eq!(named, Features::CURRENT);
        assert_eq!(Features::CURRENT.with(Features(1 << 63)).to_string(), "required-in-map, feature-63");
        assert_eq!(Features::NONE.to_string(), "none");
    }
}
