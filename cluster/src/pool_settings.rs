//! `osd pool get|set`: a pool's variables by name, each with its parsing, its range and what it may not contradict.
//!
//! A setting that contradicts another is refused with the reason, so that any set of settings a pool can have makes sense.

pub(crate) mod names;
mod parse;

use crate::limits;
use crate::map::{CacheMode, Pool, Quota, TierSettings};
use crate::quantity::{format_bytes, parse_bytes, parse_count};
use parse::{boolean, duration_ms, float, integer, ratio};
use serde_json::{Value, json};

/// A refused command: an errno and what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub errno: i32,
    pub message: String,
}

impl Refusal {
    pub fn new(errno: i32, message: impl Into<String>) -> Refusal {
        Refusal { errno, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(libc::EINVAL, message)
    }
}

/// What a change of a pool is judged against.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub osds_existing: u32,
    pub has_hot_slices: bool,
    /// The pool is at home in hot slices, and has no other home that it could be a tier of.
    pub is_pinned: bool,
    /// Dirty bytes of this pool, by the newest reports of all OSDs.
    pub dirty_bytes: u64,
    /// The placement rules of the CRUSH map, by number.
    pub rules: Vec<(u32, String)>,
}

impl Surroundings {
    /// The mode of a pool for which none was chosen: what is there is used.
    pub fn cache_mode_default(&self) -> CacheMode {
        if self.has_hot_slices && !self.is_pinned { CacheMode::Writeback } else { CacheMode::None }
    }

    /// What is to be said of a change to a mode in which what is dirty is flushed.
    pub fn drain_note(&self, from: CacheMode, to: &str) -> String {
        let kept = |mode: &str| matches!(mode, "writeback" | "readproxy" | "unset");
        if self.dirty_bytes == 0 || kept(to) || !kept(from.name()) {
            return String::new();
        }
        let dirty = format_bytes(self.dirty_bytes);
        format!("\nnote: {dirty} are dirty and are flushed now; `osd tier status` tells how far that is")
    }

    pub fn rule_id(&self, name: &str) -> Result<u32, Refusal> {
        let found = self.rules.iter().find(|(_, known)| known == name).map(|(id, _)| *id);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.rules.iter().map(|(_, known)| known.as_str()).collect();
            let (name, known) = (name.escape_debug(), known.join(", "));
            Refusal::new(libc::ENOENT, format!("crush rule {name} does not exist: there are {known}"))
        })
    }

    /// A rule's name, or its number where it has none.
    fn rule_name(&self, id: u32) -> String {
        self.rules.iter().find(|(known, _)| *known == id).map_or_else(|| id.to_string(), |(_, name)| name.clone())
    }
}

/// Every variable, in the order that `get NAME all` prints: Ceph's, then this project's own.
pub const VARIABLES: [&str; 36] = [
    "size",
    "min_size",
    "pg_num",
    "pgp_num",
    "crush_rule",
    "hashpspool",
    "nodelete",
    "nopgchange",
    "nosizechange",
    "write_fadvise_dontneed",
    "noscrub",
    "nodeep-scrub",
    "hit_set_type",
    "hit_set_period",
    "hit_set_count",
    "hit_set_fpp",
    "use_gmt_hitset",
    "target_max_objects",
    "target_max_bytes",
    "cache_target_dirty_ratio",
    "cache_target_dirty_high_ratio",
    "cache_target_full_ratio",
    "cache_min_flush_age",
    "cache_min_evict_age",
    "min_read_recency_for_promote",
    "min_write_recency_for_promote",
    "fast_read",
    "hit_set_grade_decay_rate",
    "hit_set_search_last_n",
    "pg_autoscale_mode",
    "bulk",
    "cache_mode",
    "cache_max_dirty_age",
    "cache_bypass_sequential_bytes",
    "cache_idle_flush_age",
    "cache_bypass_new_bytes",
];

fn unknown_variable(variable: &str) -> Refusal {
    Refusal::invalid(format!("Invalid command: {variable} not in {}", VARIABLES.join("|")))
}

/// A variable's value; times in seconds.
pub fn get(pool: &Pool, around: &Surroundings, variable: &str) -> Result<Value, Refusal> {
    let tier = &pool.tier;
    Ok(match variable {
        "size" => json!(pool.size),
        "min_size" => json!(pool.min_size),
        "pg_num" => json!(pool.pg_num),
        "pgp_num" => json!(pool.pgp_num),
        "crush_rule" => json!(around.rule_name(pool.crush_rule)),
        "hashpspool" => json!(true),
        "nodelete" => json!(pool.flags.nodelete),
        "nopgchange" => json!(pool.flags.nopgchange),
        "nosizechange" => json!(pool.flags.nosizechange),
        "write_fadvise_dontneed" => json!(pool.flags.write_fadvise_dontneed),
        "noscrub" => json!(pool.flags.noscrub),
        "nodeep-scrub" => json!(pool.flags.nodeep_scrub),
        "hit_set_type" => json!(tier.hit_set_type.name()),
        "hit_set_period" => seconds(tier.hit_set_period_ms),
        "hit_set_count" => json!(tier.hit_set_count),
        "hit_set_fpp" => json!(tier.hit_set_fpp),
        "use_gmt_hitset" => json!(1),
        "target_max_objects" => json!(tier.target_max_objects),
        "target_max_bytes" => json!(tier.target_max_bytes),
        "cache_target_dirty_ratio" => json!(tier.cache_target_dirty_ratio),
        "cache_target_dirty_high_ratio" => json!(tier.cache_target_dirty_high_ratio),
        "cache_target_full_ratio" => json!(tier.cache_target_full_ratio),
        "cache_min_flush_age" => seconds(tier.cache_min_flush_age_ms),
        "cache_min_evict_age" => seconds(tier.cache_min_evict_age_ms),
        "min_read_recency_for_promote" => json!(tier.min_read_recency_for_promote),
        "min_write_recency_for_promote" => json!(tier.min_write_recency_for_promote),
        "fast_read" => json!(0),
        "hit_set_grade_decay_rate" => json!(tier.hit_set_grade_decay_rate),
        "hit_set_search_last_n" => json!(tier.hit_set_search_last_n),
        "pg_autoscale_mode" => json!("off"),
        "bulk" => json!(false),
        "cache_mode" => json!(tier.cache_mode.name()),
        "cache_max_dirty_age" => seconds(tier.cache_max_dirty_age_ms),
        "cache_bypass_sequential_bytes" => json!(tier.cache_bypass_sequential_bytes),
        "cache_idle_flush_age" => seconds(tier.cache_idle_flush_age_ms),
        "cache_bypass_new_bytes" => json!(tier.cache_bypass_new_bytes),
        _ => return Err(unknown_variable(variable)),
    })
}

/// A value of [`get`] as it is printed after `variable: `.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn seconds(milliseconds: u64) -> Value {
    if milliseconds.is_multiple_of(1000) { json!(milliseconds / 1000) } else { json!(milliseconds as f64 / 1000.0) }
}

/// A tier variable's default, as [`set`] takes it. `None`: another variable, or one that has no default of its own.
fn default_of(variable: &str, pool: &Pool, around: &Surroundings) -> Option<String> {
    if !basalt_tier::PoolSettings::VARIABLES.contains(&variable) {
        return None;
    }
    if variable == "cache_mode" {
        return Some(around.cache_mode_default().name().into());
    }
    let untuned = Pool { tier: TierSettings::default(), ..pool.without_groups() };
    get(&untuned, around, variable).ok().map(|value| as_text(&value))
}

/// Sets a variable; the pool is unchanged on a refusal. `unset` gives a tier variable its default back.
pub fn set(pool: &mut Pool, around: &Surroundings, variable: &str, value: &str) -> Result<(), Refusal> {
    let default = if value == "unset" { default_of(variable, pool, around) } else { None };
    let value = default.as_deref().unwrap_or(value);
    let mut flags = pool.flags;
    let mut tier = pool.tier;
    match variable {
        "size" => return set_size(pool, around, value),
        "min_size" => return set_min_size(pool, value),
        "pg_num" => return unchanged_pg_num(pool, variable, value),
        "pgp_num" => {
            let within = u32::try_from(integer(value)?).ok().filter(|count| (1..=pool.pg_num).contains(count));
            let refused =
                || Refusal::invalid(format!("pgp_num must be between 1 and pg_num, which is set to {}", pool.pg_num));
            pool.pgp_num = within.ok_or_else(refused)?;
            return Ok(());
        }
        "crush_rule" => {
            pool.crush_rule = around.rule_id(value)?;
            return Ok(());
        }
        "nodelete" => flags.nodelete = boolean(value)?,
        "nopgchange" => flags.nopgchange = boolean(value)?,
        "nosizechange" => flags.nosizechange = boolean(value)?,
        "write_fadvise_dontneed" => flags.write_fadvise_dontneed = boolean(value)?,
        "noscrub" => flags.noscrub = boolean(value)?,
        "nodeep-scrub" => flags.nodeep_scrub = boolean(value)?,
        "hashpspool" | "use_gmt_hitset" => only(variable, value, boolean(value)?, true, "true")?,
        "fast_read" | "bulk" => only(variable, value, boolean(value)?, false, "false")?,
        "pg_autoscale_mode" => only(variable, value, value, "off", "off")?,
        "cache_mode" => set_cache_mode(&mut tier, pool, around, value)?,
        "target_max_bytes" => tier.target_max_bytes = parse_bytes(value).map_err(parse::not_integer(value))?,
        "target_max_objects" => tier.target_max_objects = parse_count(value).map_err(parse::not_integer(value))?,
        "cache_target_dirty_ratio" => tier.cache_target_dirty_ratio = ratio(value)?,
        "cache_target_dirty_high_ratio" => tier.cache_target_dirty_high_ratio = ratio(value)?,
        "cache_target_full_ratio" => tier.cache_target_full_ratio = ratio(value)?,
        "cache_min_flush_age" => tier.cache_min_flush_age_ms = duration_ms(variable, value)?,
        "cache_min_evict_age" => tier.cache_min_evict_age_ms = duration_ms(variable, value)?,
        "cache_max_dirty_age" => tier.cache_max_dirty_age_ms = duration_ms(variable, value)?,
        "cache_bypass_sequential_bytes" => {
            tier.cache_bypass_sequential_bytes = parse_bytes(value).map_err(parse::not_integer(value))?
        }
        "cache_idle_flush_age" => tier.cache_idle_flush_age_ms = duration_ms(variable, value)?,
        "cache_bypass_new_bytes" => {
            tier.cache_bypass_new_bytes = parse_bytes(value).map_err(parse::not_integer(value))?
        }
        "hit_set_type" => tier.hit_set_type = names::hit_set_type(value)?,
        "hit_set_period" => tier.hit_set_period_ms = duration_ms(variable, value)?,
        "hit_set_count" => tier.hit_set_count = in_range(integer(value)?, 0, limits::HIT_SET_COUNT_MAX)?,
        "hit_set_fpp" => {
            tier.hit_set_fpp = float(value)?;
            if !(0.0..=1.0).contains(&tier.hit_set_fpp) {
                return Err(Refusal::invalid("hit_set_fpp should be in the range 0..1"));
            }
        }
        "hit_set_grade_decay_rate" => tier.hit_set_grade_decay_rate = in_range(integer(value)?, 0, 100)?,
        "hit_set_search_last_n" => {
            tier.hit_set_search_last_n = integer(value).and_then(|n| in_range(n, 0, limits::HIT_SET_COUNT_MAX))?;
        }
        "min_read_recency_for_promote" => tier.min_read_recency_for_promote = recency(value)?,
        "min_write_recency_for_promote" => tier.min_write_recency_for_promote = recency(value)?,
        _ => return Err(unknown_variable(variable)),
    }
    // What contradicts what is the policy's to say, which has to live with it.
    tier.policy().validate().map_err(|problem| Refusal::invalid(problem.to_string()))?;
    pool.flags = flags;
    pool.tier = tier;
    Ok(())
}

/// Accepts the one value that a variable can have here.
fn only<T: PartialEq>(variable: &str, text: &str, value: T, possible: T, possible_text: &str) -> Result<(), Refusal> {
    if value == possible {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{variable} can't be '{text}' here: {possible_text} is its only value")))
}

fn in_range(value: i64, least: u32, most: u32) -> Result<u32, Refusal> {
    u32::try_from(value)
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| Refusal::new(libc::ERANGE, format!("value must be in the range {least}..{most}")))
}

fn recency(value: &str) -> Result<u32, Refusal> {
    in_range(integer(value)?, 0, limits::HIT_SET_COUNT_MAX + 1)
}

/// Checks a number of copies against Ceph's bounds and what the cluster can hold apart.
pub fn check_size(size: i64, around: &Surroundings) -> Result<u32, Refusal> {
    let size = u32::try_from(size)
        .ok()
        .filter(|size| (1..=limits::POOL_SIZE_MAX).contains(size))
        .ok_or_else(|| Refusal::invalid(format!("pool size must be between 1 and {}", limits::POOL_SIZE_MAX)))?;
    if size > around.osds_existing {
        let have = around.osds_existing;
        let advice =
            if have == 0 { "start an OSD first".into() } else { format!("choose at most {have}, or add OSDs") };
        return Err(Refusal::invalid(format!(
            "pool size {size} needs {size} OSDs to keep the copies apart, and this cluster has {have}: {advice}"
        )));
    }
    Ok(size)
}

fn set_size(pool: &mut Pool, around: &Surroundings, value: &str) -> Result<(), Refusal> {
    if pool.flags.nosizechange {
        return Err(Refusal::new(
            libc::EPERM,
            "pool size change is disabled; you must unset nosizechange flag for the pool first",
        ));
    }
    let size = check_size(integer(value)?, around)?;
    pool.size = size;
    pool.min_size = pool.min_size.min(size);
    Ok(())
}

fn set_min_size(pool: &mut Pool, value: &str) -> Result<(), Refusal> {
    if pool.flags.nosizechange {
        return Err(Refusal::new(
            libc::EPERM,
            "pool min size change is disabled; you must unset nosizechange flag for the pool first",
        ));
    }
    let min_size = integer(value)?;
    let within = u32::try_from(min_size).ok().filter(|min_size| (1..=pool.size).contains(min_size));
    pool.min_size = within.ok_or_else(|| {
        Refusal::invalid(format!("pool min_size must be between 1 and size, which is set to {}", pool.size))
    })?;
    Ok(())
}

/// Objects would have to move between groups, which nothing does yet: so only what is already so is accepted.
fn unchanged_pg_num(pool: &Pool, variable: &str, value: &str) -> Result<(), Refusal> {
    if integer(value)? == i64::from(pool.pg_num) {
        return Ok(());
    }
    Err(Refusal::new(
        libc::ENOTSUP,
        format!("{variable} of pool '{}' stays {}: it is fixed when a pool is created", pool.name, pool.pg_num),
    ))
}

fn set_cache_mode(tier: &mut TierSettings, pool: &Pool, around: &Surroundings, value: &str) -> Result<(), Refusal> {
    let to = names::cache_mode(value)?;
    let from = tier.cache_mode;
    if to != CacheMode::None && !around.has_hot_slices {
        return Err(Refusal::invalid(format!(
            "cache_mode can't be '{value}': no OSD of this cluster has a hot slice; give one a hot device first"
        )));
    }
    let drains = |mode| matches!(mode, CacheMode::Proxy | CacheMode::ReadProxy);
    let allowed = from == to
        || around.dirty_bytes == 0
        || match from {
            CacheMode::Writeback => drains(to),
            _ if drains(from) => drains(to) || to == CacheMode::Writeback,
            _ => to == CacheMode::Writeback,
        };
    if !allowed {
        let possible = match from {
            CacheMode::Writeback => "'proxy','readproxy'",
            _ if drains(from) => "'proxy','readproxy','writeback'",
            _ => "'writeback'",
        };
        let dirty = format_bytes(around.dirty_bytes);
        let name = &pool.name;
        let way_out = match from {
            CacheMode::Writeback | CacheMode::ReadProxy => {
                format!("set 'proxy', wait until `osd tier status {name}` shows it drained, then '{value}'")
            }
            _ => format!("they are being flushed; wait until `osd tier status {name}` shows it drained"),
        };
        return Err(Refusal::invalid(format!(
            "unable to set cache-mode '{value}' on a '{}' pool; only {possible} allowed while {dirty} of pool '{name}' are dirty. The way out: {way_out}",
            from.name(),
        )));
    }
    tier.cache_mode = to;
    Ok(())
}

/// `osd pool set-quota`: returns the value it parsed.
pub fn set_quota(quota: &mut Quota, variable: &str, value: &str) -> Result<u64, Refusal> {
    let (field, parsed) = match variable {
        "max_bytes" => (&mut quota.bytes_max, parse_bytes(value)),
        "max_objects" => (&mut quota.objects_max, parse_count(value)),
        _ => return Err(Refusal::invalid(format!("Invalid command: {variable} not in max_objects|max_bytes"))),
    };
    *field = parsed.map_err(|problem| Refusal::invalid(format!("error parsing value '{value}': {problem}")))?;
    Ok(*field)
}
