//! Placement groups: their names, and who holds them.

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A placement group's id; printed as Ceph does: the pool, then the seed in hexadecimal, `1.d7`.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PgId {
    pub pool: u32,
    /// Which of the pool's groups: `0..pg_num`.
    pub seed: u32,
}

impl fmt::Display for PgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.pool, self.seed)
    }
}

impl FromStr for PgId {
    type Err = String;

    fn from_str(text: &str) -> Result<PgId, String> {
        let wrong =
            || format!("'{text}' is not a placement group; one looks like 1.d7 (pool number, dot, hexadecimal)");
        let (pool, seed) = text.split_once('.').ok_or_else(wrong)?;
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain(pool) || !plain(seed) {
            return Err(wrong());
        }
        let pool = pool.parse().map_err(|_| wrong())?;
        let seed = u32::from_str_radix(seed, 16).map_err(|_| wrong())?;
        Ok(PgId { pool, seed })
    }
}

/// Who holds a placement group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
pub struct PlacementGroup {
    /// The OSDs that hold every acknowledged write of the group, up or not.
    pub in_sync: Vec<u32>,
    /// The member that orders writes; kept while it is down, so that nobody serves in its stead by mistake.
    pub primary: Option<u32>,
    /// How many primaries the group has had; one that starts again counts anew. It is the upper part of every version that the primary
    /// gives, so no two primaries ever give the same.
    pub reign: u32,
    /// The epoch of the last change of any of these.
    pub changed_epoch: u32,
}
