//! What a tier was told and asked, as data: one event a line of text (or JSON, by serde), so that a policy can be judged later
//! against what really happened.
//!
//! A line is the time in nanoseconds, the event's name and its arguments: `1500 changed 3 17 4096 0`. Lines that begin with `#`
//! and empty ones are passed over.

use crate::{Access, ObjectId, PoolId, PoolSettings, Tier};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One event at its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceEvent {
    pub now: u64,
    #[serde(flatten)]
    pub call: Call,
}

/// A call to a [`Tier`], by name and arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "call")]
pub enum Call {
    Configure { pool: PoolId, settings: PoolSettings },
    RemovePool { pool: PoolId },
    Drain { pool: PoolId },
    Space { free: u64, reclaimable: u64 },
    Changed { pool: PoolId, object: ObjectId, dirty_bytes: u64, clean_bytes: u64 },
    Accessed { pool: PoolId, object: ObjectId, kind: Access, offset: u64, bytes: u64, hit: bool },
    Write { pool: PoolId, object: ObjectId, length: u64, sequential_bytes_so_far: u64, makes_object: bool },
    BaseUsed,
    Miss { pool: PoolId, object: ObjectId, offset: u64, bytes: u64 },
    Flush { budget_bytes: u64 },
    Flushed { pool: PoolId, object: ObjectId, bytes: u64, ok: bool },
    Evict,
    Evicted { pool: PoolId, object: ObjectId, bytes: u64, ok: bool },
}

/// A line that is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trace line '{line}': {reason}")]
pub struct TraceError {
    pub line: String,
    pub reason: String,
}

impl TraceEvent {
    /// Makes the call; what it answers shows in the tier's figures.
    pub fn apply(&self, tier: &mut Tier) -> Result<(), crate::SettingsError> {
        let now = self.now;
        match &self.call {
            Call::Configure { pool, settings } => tier.configure_pool(now, *pool, settings.clone())?,
            Call::RemovePool { pool } => tier.remove_pool(now, *pool),
            Call::Drain { pool } => tier.drain(*pool),
            Call::Space { free, reclaimable } => tier.hot_space(*free, *reclaimable),
            &Call::Changed { pool, object, dirty_bytes, clean_bytes } => {
                tier.object_changed(now, pool, object, dirty_bytes, clean_bytes);
            }
            &Call::Accessed { pool, object, kind, offset, bytes, hit } => {
                tier.accessed(now, pool, object, kind, offset..offset.saturating_add(bytes), hit);
            }
            Call::BaseUsed => tier.base_used(now),
            &Call::Write { pool, object, length, sequential_bytes_so_far, makes_object } => {
                tier.admit_write(now, pool, object, length, sequential_bytes_so_far, makes_object);
            }
            &Call::Miss { pool, object, offset, bytes } => {
                tier.admit_promotion(now, pool, object, offset..offset.saturating_add(bytes), bytes);
            }
            &Call::Flush { budget_bytes } => {
                tier.next_flush(now, budget_bytes);
            }
            &Call::Flushed { pool, object, bytes, ok } => tier.flush_finished(now, &[(pool, object)], bytes, ok),
            Call::Evict => {
                tier.next_evict(now);
            }
            &Call::Evicted { pool, object, bytes, ok } => tier.evict_finished(now, &[(pool, object)], bytes, ok),
        }
        Ok(())
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.now)?;
        match &self.call {
            Call::Configure { pool, settings } => {
                write!(formatter, "configure {pool}")?;
                for variable in PoolSettings::VARIABLES {
                    write!(formatter, " {variable}={}", settings.get(variable).unwrap_or_default())?;
                }
                Ok(())
            }
            Call::RemovePool { pool } => write!(formatter, "remove_pool {pool}"),
            Call::Drain { pool } => write!(formatter, "drain {pool}"),
            Call::Space { free, reclaimable } => write!(formatter, "space {free} {reclaimable}"),
            Call::Changed { pool, object, dirty_bytes, clean_bytes } => {
                write!(formatter, "changed {pool} {object} {dirty_bytes} {clean_bytes}")
            }
            Call::Accessed { pool, object, kind, offset, bytes, hit } => {
                let kind = if *kind == Access::Read { "read" } else { "write" };
                write!(formatter, "accessed {pool} {object} {kind} {offset} {bytes} {hit}")
            }
            Call::BaseUsed => write!(formatter, "base_used"),
            Call::Write { pool, object, length, sequential_bytes_so_far, makes_object } => {
                write!(formatter, "write {pool} {object} {length} {sequential_bytes_so_far} {makes_object}")
            }
            Call::Miss { pool, object, offset, bytes } => {
                write!(formatter, "miss {pool} {object} {offset} {bytes}")
            }
            Call::Flush { budget_bytes } => write!(formatter, "flush {budget_bytes}"),
            Call::Flushed { pool, object, bytes, ok } => write!(formatter, "flushed {pool} {object} {bytes} {ok}"),
            Call::Evict => write!(formatter, "evict"),
            Call::Evicted { pool, object, bytes, ok } => write!(formatter, "evicted {pool} {object} {bytes} {ok}"),
        }
    }
}

impl FromStr for TraceEvent {
    type Err = TraceError;

    fn from_str(line: &str) -> Result<TraceEvent, TraceError> {
        let failed = |reason: String| TraceError { line: line.into(), reason };
        let mut words = line.split_ascii_whitespace();
        // The closure borrows the words only while one argument is read.
        macro_rules! next {
            ($name:literal) => {
                words
                    .next()
                    .ok_or_else(|| failed(concat!($name, " is missing").into()))?
                    .parse()
                    .map_err(|_| failed(concat!($name, " is malformed").into()))?
            };
        }
        let now = next!("the time");
        let name: String = next!("the event");
        let call = match name.as_str() {
            "configure" => {
                let pool = next!("pool");
                let mut settings = PoolSettings::default();
                // All at once: on the way some would contradict others.
                for word in words.by_ref() {
                    let (variable, value) =
                        word.split_once('=').ok_or_else(|| failed(format!("'{word}' is not variable=value")))?;
                    settings.set_unchecked(variable, value).map_err(|error| failed(error.to_string()))?;
                }
                settings.validate().map_err(|error| failed(error.to_string()))?;
                Call::Configure { pool, settings }
            }
            "remove_pool" => Call::RemovePool { pool: next!("pool") },
            "drain" => Call::Drain { pool: next!("pool") },
            "space" => Call::Space { free: next!("free"), reclaimable: next!("reclaimable") },
            "changed" => Call::Changed {
                pool: next!("pool"),
                object: next!("object"),
                dirty_bytes: next!("dirty bytes"),
                clean_bytes: next!("clean bytes"),
            },
            "accessed" => Call::Accessed {
                pool: next!("pool"),
                object: next!("object"),
                kind: match words.next() {
                    Some("read") => Access::Read,
                    Some("write") => Access::Write,
                    _ => return Err(failed("the kind of access must be read or write".into())),
                },
                offset: next!("offset"),
                bytes: next!("bytes"),
                hit: next!("hit"),
            },
            "write" => Call::Write {
                pool: next!("pool"),
                object: next!("object"),
                length: next!("length"),
                sequential_bytes_so_far: next!("sequential bytes"),
                makes_object: next!("whether it makes the object"),
            },
            "base_used" => Call::BaseUsed,
            "miss" => Call::Miss {
                pool: next!("pool"),
                object: next!("object"),
                offset: next!("offset"),
                bytes: next!("bytes"),
            },
            "flush" => Call::Flush { budget_bytes: next!("budget") },
            "flushed" => {
                Call::Flushed { pool: next!("pool"), object: next!("object"), bytes: next!("bytes"), ok: next!("ok") }
            }
            "evict" => Call::Evict,
            "evicted" => {
                Call::Evicted { pool: next!("pool"), object: next!("object"), bytes: next!("bytes"), ok: next!("ok") }
            }
            other => return Err(failed(format!("there is no event '{other}'"))),
        };
        match words.next() {
            Some(extra) => Err(failed(format!("'{extra}' is too much"))),
            None => Ok(TraceEvent { now, call }),
        }
    }
}

/// The events of a whole trace; the first line that is none is the error.
pub fn parse(text: &str) -> impl Iterator<Item = Result<TraceEvent, TraceError>> + '_ {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call() -> impl Strategy<Value = Call> {
        let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>());
        (0..13, numbers).prop_map(|(kind, (pool, object, a, b, flag))| match kind {
            0 => Call::Configure {
                pool,
                settings: PoolSettings {
                    target_max_bytes: a,
                    cache_target_dirty_ratio: (b % 7) as f64 / 13.0,
                    hit_set_period: 1 + b % 1_000_000,
                    ..PoolSettings::writeback()
                },
            },
            1 => Call::RemovePool { pool },
            2 => Call::Drain { pool },
            3 => Call::Space { free: a, reclaimable: b },
            4 => Call::Changed { pool, object, dirty_bytes: a, clean_bytes: b },
            5 => Call::Accessed {
                pool,
                object,
                kind: if b % 2 == 0 { Access::Read } else { Access::Write },
                offset: b,
                bytes: a,
                hit: flag,
            },
            6 => Call::Write { pool, object, length: b, sequential_bytes_so_far: a, makes_object: flag },
            7 => Call::Miss { pool, object, offset: b, bytes: a },
            8 => Call::Flush { budget_bytes: a },
            9 => Call::Flushed { pool, object, bytes: a, ok: flag },
            10 => Call::Evict,
            11 => Call::BaseUsed,
            _ => Call::Evicted { pool, object, bytes: a, ok: flag },
        })
    }

    proptest! {
        #[test]
        fn an_event_reads_back_from_its_line(now in any::<u64>(), call in call()) {
            let event = TraceEvent { now, call };
            let line = event.to_string();
            prop_assert_eq!(line.parse::<TraceEvent>(), Ok(event), "{}", line);
        }

        #[test]
        fn no_line_makes_the_reader_panic(line in ".*") {
            let _ = line.parse::<TraceEvent>();
        }
    }

    #[test]
    fn lines_that_are_no_events_are_named() {
        for line in ["", "5", "x evict", "5 evict 1", "5 nothing", "5 changed 1 2 3", "5 configure 1 cache_mode=fast"] {
            let error = line.parse::<TraceEvent>().expect_err(line);
            assert_eq!(error.line, line);
        }
        assert_eq!(parse("# a comment\n\n5 evict\n").count(), 1);
    }
}
