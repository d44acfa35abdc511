//! The names of the tier's modes and hit set kinds, as they are typed and printed.

use super::Refusal;
use crate::map::{CacheMode, HitSetType};

const CACHE_MODES: [(CacheMode, &str); 5] = [
    (CacheMode::None, "none"),
    (CacheMode::Writeback, "writeback"),
    (CacheMode::ReadProxy, "readproxy"),
    (CacheMode::Proxy, "proxy"),
    (CacheMode::ReadOnly, "readonly"),
];

const HIT_SET_TYPES: [(HitSetType, &str); 4] = [
    (HitSetType::None, "none"),
    (HitSetType::Bloom, "bloom"),
    (HitSetType::ExplicitHash, "explicit_hash"),
    (HitSetType::ExplicitObject, "explicit_object"),
];

impl CacheMode {
    pub fn name(self) -> &'static str {
        CACHE_MODES.into_iter().find(|(mode, _)| *mode == self).map_or("none", |(_, name)| name)
    }
}

impl HitSetType {
    pub fn name(self) -> &'static str {
        HIT_SET_TYPES.into_iter().find(|(kind, _)| *kind == self).map_or("none", |(_, name)| name)
    }
}

pub(crate) fn cache_mode(text: &str) -> Result<CacheMode, Refusal> {
    if matches!(text, "forward" | "readforward") {
        return Err(Refusal::invalid(format!(
            "'{text}' is no longer a supported cache mode; proxy and readproxy replace it"
        )));
    }
    by_name(&CACHE_MODES, text).ok_or_else(|| {
        Refusal::invalid(format!("'{text}' is not a valid cache mode: it is one of {}", all(&CACHE_MODES)))
    })
}

pub(super) fn hit_set_type(text: &str) -> Result<HitSetType, Refusal> {
    by_name(&HIT_SET_TYPES, text).ok_or_else(|| {
        Refusal::invalid(format!("unrecognized hit_set type '{text}': it is one of {}", all(&HIT_SET_TYPES)))
    })
}

fn by_name<T: Copy>(names: &[(T, &str)], text: &str) -> Option<T> {
    names.iter().find(|(_, name)| *name == text).map(|(value, _)| *value)
}

fn all<T>(names: &[(T, &str)]) -> String {
    names.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}
