//! Who is known by which keys: what a handshake judges the other end by.
//!
//! A client is configured with the monitors' public keys; everything else is learnt from the cluster's map, by whoever reads it. One table is
//! shared by all that connect and accept for one daemon or client, on whatever thread; it is looked at once a handshake.

use crate::limits::PUBLIC_KEYS_MAX;
use crate::{EntityName, Features, HandshakeError, Key, PublicKey};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The public keys of one entity: one, or two while they are being rotated.
pub type PublicKeys = SmallVec<[PublicKey; PUBLIC_KEYS_MAX]>;

/// Every entity's public keys, as of one epoch of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roster {
    pub epoch: u32,
    pub keys: BTreeMap<EntityName, PublicKeys>,
}

/// Why the other end is believed to be who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its key is in the configuration.
    Configured,
    /// Its key is in the cluster's table.
    Listed,
    /// It has the key that it says, and there is no table to say whose that is: it may be told where to go, and nothing else.
    Unjudged,
}

/// Why somebody who connected was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// It speaks something else, or nothing: a port scan, a wrong port.
    Stranger,
    /// It began, and did not come to an end in time, or left.
    Unfinished,
    /// What it said was changed on the way, recorded elsewhere, or malformed.
    Tampered,
    /// A name that nobody knows, or not by that key.
    Key,
    /// It asked for less than is required of the wire.
    Mode,
    /// It runs what can't be talked to, or lacks what is required.
    Software,
    /// Another cluster's, or who asks for what is not here: addresses that are wrong or old.
    Elsewhere,
}

impl TurnedAway {
    pub const ALL: [TurnedAway; 7] = [
        TurnedAway::Stranger,
        TurnedAway::Unfinished,
        TurnedAway::Tampered,
        TurnedAway::Key,
        TurnedAway::Mode,
        TurnedAway::Software,
        TurnedAway::Elsewhere,
    ];

    pub fn name(self) -> &'static str {
        match self {
            TurnedAway::Stranger => "stranger",
            TurnedAway::Unfinished => "unfinished",
            TurnedAway::Tampered => "tampered",
            TurnedAway::Key => "key",
            TurnedAway::Mode => "mode",
            TurnedAway::Software => "software",
            TurnedAway::Elsewhere => "elsewhere",
        }
    }

    pub(crate) fn of(error: &HandshakeError) -> TurnedAway {
        match error {
            HandshakeError::Magic { .. } => TurnedAway::Stranger,
            HandshakeError::TooLong { .. } | HandshakeError::Malformed(_) | HandshakeError::Tampered => {
                TurnedAway::Tampered
            }
            HandshakeError::WrongKey { .. } | HandshakeError::UnknownName { .. } => TurnedAway::Key,
            HandshakeError::Mode => TurnedAway::Mode,
            HandshakeError::Version { .. } | HandshakeError::Software(_) | HandshakeError::SoftwareRefused { .. } => {
                TurnedAway::Software
            }
            HandshakeError::Rejected { .. } => TurnedAway::Unfinished,
            HandshakeError::WrongCluster { .. }
            | HandshakeError::WrongPeer { .. }
            | HandshakeError::NotHere { .. }
            | HandshakeError::NoTable => TurnedAway::Elsewhere,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Monitors,
    Everybody,
}

#[derive(Clone, Debug)]
pub struct Trust(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    configured: Vec<(Whom, PublicKey)>,
    is_lenient: bool,
    /// Of all who are let in.
    required: AtomicU64,
    turned_away: [AtomicU64; TurnedAway::ALL.len()],
    roster: RwLock<Option<Arc<Roster>>>,
}

impl Trust {
    /// Of a client or an OSD: monitors have one of these keys, all others are learnt of from them.
    pub fn in_monitors(keys: impl IntoIterator<Item = PublicKey>) -> Trust {
        Trust::new(keys.into_iter().map(|key| (Whom::Monitors, key)).collect(), false)
    }

    /// Of a monitor: as long as it leads it has a table; while it does not, it knows nobody, and sends everybody on.
    pub fn of_monitor() -> Trust {
        Trust::new(Vec::new(), true)
    }

    /// Whoever has this key may be anybody: of clusters that still have one key for all.
    pub fn shared(key: &Key) -> Trust {
        Trust::new(vec![(Whom::Everybody, key.public())], false)
    }

    fn new(configured: Vec<(Whom, PublicKey)>, is_lenient: bool) -> Trust {
        Trust(Arc::new(Inner {
            configured,
            is_lenient,
            required: AtomicU64::new(0),
            turned_away: Default::default(),
            roster: RwLock::default(),
        }))
    }

    /// Takes a table, if it is newer than the one at hand: several readers of maps may teach, and not all are equally far.
    pub fn learn(&self, epoch: u32, roster: impl FnOnce() -> Roster) {
        if self.roster().is_some_and(|known| known.epoch >= epoch) {
            return;
        }
        let roster = Arc::new(roster());
        *self.0.roster.write().unwrap_or_else(PoisonError::into_inner) = Some(roster);
    }

    /// From now on the other end must have these features. What was required once stays required.
    pub fn require(&self, features: Features) {
        self.0.required.fetch_or(features.0, Ordering::Relaxed);
    }

    pub fn required(&self) -> Features {
        Features(self.0.required.load(Ordering::Relaxed))
    }

    /// Counts somebody who was not let in.
    pub fn turn_away(&self, why: TurnedAway) {
        if let Some(count) = self.0.turned_away.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were not let in since the start of the process, by why.
    pub fn turned_away(&self) -> [(TurnedAway, u64); TurnedAway::ALL.len()] {
        let count =
            |why: TurnedAway| self.0.turned_away.get(why as usize).map_or(0, |count| count.load(Ordering::Relaxed));
        TurnedAway::ALL.map(|why| (why, count(why)))
    }

    pub fn forget(&self) {
        *self.0.roster.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn roster(&self) -> Option<Arc<Roster>> {
        self.0.roster.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the owner of `key`, which is proven, is `name`.
    pub fn judge(&self, name: &EntityName, key: &PublicKey) -> Result<Standing, HandshakeError> {
        let covers = |whom: Whom| whom == Whom::Everybody || name.kind() == "mon";
        if self.0.configured.iter().any(|(whom, configured)| covers(*whom) && configured == key) {
            return Ok(Standing::Configured);
        }
        let Some(roster) = self.roster() else {
            let is_shared = self.0.configured.iter().any(|(whom, _)| *whom == Whom::Everybody);
            return match (self.0.is_lenient, name.kind()) {
                (true, _) => Ok(Standing::Unjudged),
                _ if is_shared => Err(HandshakeError::WrongKey { peer: name.clone() }),
                (false, "mon") => Err(HandshakeError::WrongKey { peer: name.clone() }),
                (false, _) => Err(HandshakeError::NoTable),
            };
        };
        match roster.keys.get(name) {
            Some(keys) if keys.contains(key) => Ok(Standing::Listed),
            None if name.kind() != "mon" => Err(HandshakeError::UnknownName { peer: name.clone() }),
            _ => Err(HandshakeError::WrongKey { peer: name.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> EntityName {
        EntityName::new(name).unwrap()
    }

    fn key(byte: u8) -> PublicKey {
        PublicKey([byte; 32])
    }

    fn roster(epoch: u32, entries: &[(&str, &[u8])]) -> Roster {
        let keys = entries.iter().map(|(of, keys)| (name(of), keys.iter().copied().map(key).collect()));
        Roster { epoch, keys: keys.collect() }
    }

    #[test]
    fn a_configured_monitor_key_makes_nobody_else_known() {
        let trust = Trust::in_monitors([key(1)]);
        assert_eq!(trust.judge(&name("mon.a"), &key(1)), Ok(Standing::Configured));
        assert_eq!(trust.judge(&name("osd.1"), &key(1)), Err(HandshakeError::NoTable));
        assert!(matches!(trust.judge(&name("mon.a"), &key(2)), Err(HandshakeError::WrongKey { .. })));
    }

    #[test]
    fn a_name_is_known_by_each_of_its_keys_until_they_are_dropped() {
        let trust = Trust::in_monitors([key(1)]);
        trust.learn(1, || roster(1, &[("osd.1", &[5, 6]), ("client.x", &[7])]));
        for (of, byte, is_known) in [("osd.1", 5, true), ("osd.1", 6, true), ("osd.1", 7, false), ("client.x", 7, true)]
        {
            assert_eq!(trust.judge(&name(of), &key(byte)).is_ok(), is_known, "{of} {byte}");
        }
        trust.learn(2, || roster(2, &[("osd.1", &[6])]));
        assert!(matches!(trust.judge(&name("osd.1"), &key(5)), Err(HandshakeError::WrongKey { .. })));
        assert!(matches!(trust.judge(&name("client.x"), &key(7)), Err(HandshakeError::UnknownName { .. })));
        trust.forget();
        assert_eq!(trust.judge(&name("osd.1"), &key(6)), Err(HandshakeError::NoTable));
    }

    #[test]
    fn a_monitor_without_a_table_judges_nobody() {
        let trust = Trust::of_monitor();
        assert_eq!(trust.judge(&name("client.x"), &key(7)), Ok(Standing::Unjudged));
        trust.learn(1, Roster::default);
        assert!(trust.judge(&name("client.x"), &key(7)).is_err());
    }
}
