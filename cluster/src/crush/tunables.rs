//! How hard the mapper tries, and in which of the historical ways.

use super::limits;

/// The numbers at a map's head. `tries` count as Ceph counts them: see [`super::mapper`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    pub choose_local_tries: u32,
    pub choose_local_fallback_tries: u32,
    pub choose_total_tries: u32,
    /// Whether a leaf that does not do sends the choice back to the top at once.
    pub chooseleaf_descend_once: u32,
    /// How much of the try's number the choice of a leaf sees: 0 nothing, 1 all, n all but its lowest n - 1 bits.
    pub chooseleaf_vary_r: u32,
    /// Whether leaves are chosen alike for every replica, so that fewer move.
    pub chooseleaf_stable: u32,
    /// Which lengths the straws of straw buckets have.
    pub straw_calc_version: u32,
    /// One bit an algorithm, at its number: what buckets may be made of.
    pub allowed_bucket_algs: u32,
}

/// Profiles by name, newest last but for the two that follow others.
pub const PROFILES: [&str; 8] = ["legacy", "argonaut", "bobtail", "firefly", "hammer", "jewel", "optimal", "default"];

const LEGACY_ALGORITHMS: u32 = (1 << 1) | (1 << 2) | (1 << 4);
const STRAW2_TOO: u32 = LEGACY_ALGORITHMS | (1 << 5);

impl Tunables {
    pub const ARGONAUT: Tunables = Tunables {
        choose_local_tries: 2,
        choose_local_fallback_tries: 5,
        choose_total_tries: 19,
        chooseleaf_descend_once: 0,
        chooseleaf_vary_r: 0,
        chooseleaf_stable: 0,
        straw_calc_version: 0,
        allowed_bucket_algs: LEGACY_ALGORITHMS,
    };
    pub const BOBTAIL: Tunables = Tunables {
        choose_local_tries: 0,
        choose_local_fallback_tries: 0,
        choose_total_tries: 50,
        chooseleaf_descend_once: 1,
        ..Tunables::ARGONAUT
    };
    pub const FIREFLY: Tunables = Tunables { chooseleaf_vary_r: 1, ..Tunables::BOBTAIL };
    pub const HAMMER: Tunables = Tunables { allowed_bucket_algs: STRAW2_TOO, ..Tunables::FIREFLY };
    pub const JEWEL: Tunables = Tunables { chooseleaf_stable: 1, ..Tunables::HAMMER };
    /// What a new cluster begins with.
    pub const DEFAULT: Tunables = Tunables { straw_calc_version: 1, ..Tunables::JEWEL };

    /// One of [`PROFILES`]. A profile leaves `straw_calc_version` as it is, but for `default`, since changing it moves data.
    pub fn profile(self, name: &str) -> Option<Tunables> {
        let profile = match name {
            "legacy" | "argonaut" => Tunables::ARGONAUT,
            "bobtail" => Tunables::BOBTAIL,
            "firefly" => Tunables::FIREFLY,
            "hammer" => Tunables::HAMMER,
            "jewel" | "optimal" => Tunables::JEWEL,
            "default" => return Some(Tunables::DEFAULT),
            _ => return None,
        };
        Some(Tunables { straw_calc_version: self.straw_calc_version, ..profile })
    }

    /// The profile that these numbers are, as `osd crush show-tunables` names it.
    pub fn profile_name(&self) -> &'static str {
        [
            ("jewel", Tunables::JEWEL),
            ("hammer", Tunables::HAMMER),
            ("firefly", Tunables::FIREFLY),
            ("bobtail", Tunables::BOBTAIL),
            ("argonaut", Tunables::ARGONAUT),
        ]
        .into_iter()
        .find(|(_, profile)| Tunables { straw_calc_version: self.straw_calc_version, ..*profile } == *self)
        .map_or("unknown", |(name, _)| name)
    }

    /// Each by its name in text, in the order in which it is printed, with the value that is left out there.
    pub fn named(&self) -> [(&'static str, u32, u32); 8] {
        let legacy = Tunables::ARGONAUT;
        [
            ("choose_local_tries", self.choose_local_tries, legacy.choose_local_tries),
            ("choose_local_fallback_tries", self.choose_local_fallback_tries, legacy.choose_local_fallback_tries),
            ("choose_total_tries", self.choose_total_tries, legacy.choose_total_tries),
            ("chooseleaf_descend_once", self.chooseleaf_descend_once, legacy.chooseleaf_descend_once),
            ("chooseleaf_vary_r", self.chooseleaf_vary_r, legacy.chooseleaf_vary_r),
            ("chooseleaf_stable", self.chooseleaf_stable, legacy.chooseleaf_stable),
            ("straw_calc_version", self.straw_calc_version, legacy.straw_calc_version),
            ("allowed_bucket_algs", self.allowed_bucket_algs, legacy.allowed_bucket_algs),
        ]
    }

    /// The one of this name, to be changed.
    pub fn named_mut(&mut self, name: &str) -> Option<&mut u32> {
        Some(match name {
            "choose_local_tries" => &mut self.choose_local_tries,
            "choose_local_fallback_tries" => &mut self.choose_local_fallback_tries,
            "choose_total_tries" => &mut self.choose_total_tries,
            "chooseleaf_descend_once" => &mut self.chooseleaf_descend_once,
            "chooseleaf_vary_r" => &mut self.chooseleaf_vary_r,
            "chooseleaf_stable" => &mut self.chooseleaf_stable,
            "straw_calc_version" => &mut self.straw_calc_version,
            "allowed_bucket_algs" => &mut self.allowed_bucket_algs,
            _ => return None,
        })
    }

    /// The largest value that the tunable of this name may have.
    pub fn bound(name: &str) -> u32 {
        match name {
            "choose_local_tries" | "choose_local_fallback_tries" | "choose_total_tries" => limits::TRIES_MAX,
            "chooseleaf_vary_r" => limits::VARY_R_MAX,
            "allowed_bucket_algs" => u32::MAX,
            _ => u8::MAX.into(),
        }
    }

    /// The first that is beyond its bound, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.named().into_iter().find(|(name, value, _)| *value > Tunables::bound(name)) {
            Some((name, value, _)) => {
                Err(format!("tunable {name} is {value}, and {} is the most it may be", Tunables::bound(name)))
            }
            None => Ok(()),
        }
    }
}
