//! What a client may ask of OSDs.

use super::monitor::S3_POOLS;
use super::{Clause, clauses};
use std::fmt;

/// Any of read, write and execute.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    pub const NONE: Rights = Rights(0);
    pub const READ: Rights = Rights(1);
    pub const WRITE: Rights = Rights(2);
    pub const EXECUTE: Rights = Rights(4);
    pub const ALL: Rights = Rights(7);

    pub fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn and(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    pub fn without(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    fn parse(text: &str) -> Option<Rights> {
        if matches!(text, "*" | "all") {
            return Some(Rights::ALL);
        }
        text.chars().try_fold(Rights::NONE, |rights, letter| {
            let right = match letter {
                'r' => Rights::READ,
                'w' => Rights::WRITE,
                'x' => Rights::EXECUTE,
                _ => return None,
            };
            Some(rights.and(right))
        })
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(Rights::READ, "r"), (Rights::WRITE, "w"), (Rights::EXECUTE, "x")];
        letters.iter().filter(|(right, _)| self.contains(*right)).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pools {
    All,
    Named(String),
    /// Those of the S3 gateway.
    S3,
}

/// One clause of a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsdGrant {
    rights: Rights,
    pools: Pools,
    prefix: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OsdCaps {
    grants: Vec<OsdGrant>,
}

/// What an entity may do in one pool.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PoolRights {
    /// With every object.
    everywhere: Rights,
    /// With objects whose names begin so, besides.
    prefixed: Vec<(Rights, Vec<u8>)>,
}

impl OsdCaps {
    pub fn parse(text: &str) -> Result<OsdCaps, String> {
        let grants = clauses(text)?.iter().map(OsdGrant::of).collect::<Result<_, _>>()?;
        Ok(OsdCaps { grants })
    }

    /// All that may be done, to whom nothing is forbidden.
    pub fn all() -> OsdCaps {
        OsdCaps { grants: vec![OsdGrant { rights: Rights::ALL, pools: Pools::All, prefix: Vec::new() }] }
    }

    /// In the pool of that name.
    pub fn in_pool(&self, name: &str) -> PoolRights {
        let mut rights = PoolRights::default();
        for grant in &self.grants {
            let covers = match &grant.pools {
                Pools::All => true,
                Pools::Named(granted) => granted == name,
                Pools::S3 => name.starts_with(S3_POOLS),
            };
            if covers && grant.prefix.is_empty() {
                rights.everywhere = rights.everywhere.and(grant.rights);
            } else if covers {
                rights.prefixed.push((grant.rights, grant.prefix.clone()));
            }
        }
        rights
    }

    /// With an OSD as a whole, which no pool and no prefix limits.
    pub fn of_osd(&self) -> Rights {
        let whole = self.grants.iter().filter(|grant| grant.pools == Pools::All && grant.prefix.is_empty());
        whole.fold(Rights::NONE, |rights, grant| rights.and(grant.rights))
    }
}

impl OsdGrant {
    fn of(clause: &Clause<'_>) -> Result<OsdGrant, String> {
        let named = clause.pool.map_or(Pools::All, |name| Pools::Named(name.into()));
        let (rights, pools) = match (clause.is_profile, clause.what) {
            (true, "osd") => (Rights::ALL, named),
            (true, "rbd" | "nbd") => (Rights::ALL, named),
            (true, "s3") if clause.pool.is_none() => (Rights::ALL, Pools::S3),
            (true, "s3") => (Rights::ALL, named),
            (true, "read-only") => (Rights::READ, named),
            (true, what) => {
                let what = what.escape_debug();
                return Err(format!("OSDs know no 'profile {what}'; there are osd, rbd, nbd, s3 and read-only"));
            }
            (false, what) => {
                let unknown = || format!("OSDs know no 'allow {}'; there are r, w, x and *", what.escape_debug());
                (Rights::parse(what).ok_or_else(unknown)?, named)
            }
        };
        Ok(OsdGrant { rights, pools, prefix: clause.prefix.unwrap_or_default().into() })
    }
}

impl PoolRights {
    /// What of `wanted` is not granted for this object; nothing if it may be done.
    pub fn lacks(&self, wanted: Rights, object: &[u8]) -> Rights {
        let missing = wanted.without(self.everywhere);
        if missing.is_none() || self.prefixed.is_empty() {
            return missing;
        }
        self.prefixed
            .iter()
            .filter(|(_, prefix)| object.starts_with(prefix))
            .fold(missing, |missing, (rights, _)| missing.without(*rights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacks(caps: &str, pool: &str, wanted: Rights, object: &str) -> String {
        OsdCaps::parse(caps).unwrap().in_pool(pool).lacks(wanted, object.as_bytes()).to_string()
    }

    #[test]
    fn rights_are_for_the_pools_and_prefixes_they_name() {
        let both = Rights::READ.and(Rights::WRITE);
        for (caps, pool, object, missing) in [
            ("", "a", "x", "rw"),
            ("allow r", "a", "x", "w"),
            ("allow rw", "a", "x", ""),
            ("allow *", "a", "x", ""),
            ("allow rw pool=a", "a", "x", ""),
            ("allow rw pool=a", "b", "x", "rw"),
            ("allow rw pool=a prefix=log.", "a", "log.1", ""),
            ("allow rw pool=a prefix=log.", "a", "lo", "rw"),
            ("allow r, allow w pool=a object_prefix=log.", "a", "log.1", ""),
            ("allow r, allow w pool=a prefix=log.", "a", "other", "w"),
            ("profile read-only", "a", "x", "w"),
            ("profile rbd pool=vms", "vms", "x", ""),
            ("profile rbd pool=vms", "other", "x", "rw"),
            ("profile s3", "s3.data", "x", ""),
            ("profile s3", "data", "x", "rw"),
        ] {
            assert_eq!(lacks(caps, pool, both, object), missing, "{caps} in {pool} for {object}");
        }
    }

    #[test]
    fn only_what_is_granted_everywhere_is_granted_for_an_osd_as_a_whole() {
        assert_eq!(OsdCaps::parse("allow rx").unwrap().of_osd().to_string(), "rx");
        assert!(OsdCaps::parse("allow rwx pool=a, allow r prefix=b").unwrap().of_osd().is_none());
        assert_eq!(OsdCaps::all().of_osd(), Rights::ALL);
    }

    #[test]
    fn words_that_nobody_knows_are_refused() {
        for wrong in ["rw", "allow", "allow q", "profile mon", "allow r pool=", "allow r pool=a pool=b", "allow r to=b"]
        {
            assert!(OsdCaps::parse(wrong).is_err(), "{wrong}");
        }
        assert!(OsdCaps::parse(&"allow r,".repeat(2000)).is_err());
    }
}
