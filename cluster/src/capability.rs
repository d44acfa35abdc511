//! What an entity may do, in Ceph's words: `allow r`, `allow rw pool=vms prefix=rbd_`, `profile rbd`, several of them separated by commas.
//!
//! For monitors: `r` shows, `w` changes, `*` also sees to keys. For OSDs: `r` reads, `w` writes, `x` has an OSD do something by itself (scrub,
//! drain), each in all pools or in one, for all objects or those whose names begin with a prefix. Profiles are what daemons need.
//! Words that nobody knows are refused: what is ignored in silence would be more, or less, than was meant.

mod monitor;
mod osd;

pub(crate) use monitor::level_of;
pub use monitor::{Level, MonitorCaps};
pub use osd::{OsdCaps, OsdGrant, PoolRights, Rights};

use crate::limits;

/// One clause: `allow WHAT` or `profile NAME`, and `key=value` behind it.
struct Clause<'a> {
    is_profile: bool,
    what: &'a str,
    pool: Option<&'a str>,
    prefix: Option<&'a str>,
}

/// The clauses of a capability. Values have neither blanks nor commas.
fn clauses(text: &str) -> Result<Vec<Clause<'_>>, String> {
    if text.len() > limits::CAPS_BYTES_MAX {
        return Err(format!("capabilities of {} bytes; at most {} are taken", text.len(), limits::CAPS_BYTES_MAX));
    }
    let parts = text.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(clause).collect()
}

fn clause(part: &str) -> Result<Clause<'_>, String> {
    let wrong = |problem: &str| {
        let part = part.escape_debug();
        format!("capability '{part}': {problem}; it is such as 'allow rw pool=vms prefix=a.' or 'profile rbd'")
    };
    let mut words = part.split_whitespace();
    let is_profile = match words.next() {
        Some("allow") => false,
        Some("profile") => true,
        _ => return Err(wrong("it begins with neither 'allow' nor 'profile'")),
    };
    let what = words.next().ok_or_else(|| wrong("nothing is allowed"))?;
    let mut clause = Clause { is_profile, what, pool: None, prefix: None };
    for word in words {
        let place = match word.split_once('=') {
            Some(("pool", value)) if !value.is_empty() => (&mut clause.pool, value),
            Some(("prefix" | "object_prefix", value)) if !value.is_empty() => (&mut clause.prefix, value),
            _ => return Err(wrong("only pool=NAME and prefix=TEXT may follow")),
        };
        let (place, value) = place;
        if place.replace(value).is_some() {
            return Err(wrong("the same is said twice"));
        }
    }
    Ok(clause)
}
