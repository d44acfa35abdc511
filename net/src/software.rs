//! What an end of a session runs: which versions of the protocol it speaks, its features, its release. Told in the handshake, by each to
//! the other, sealed; so both find the same, and nobody in between talks them down.
//!
//! | offset | bytes | field                                                                    |
//! |-------:|------:|--------------------------------------------------------------------------|
//! |      0 |     2 | the oldest version of the protocol that it speaks                        |
//! |      2 |     2 | the newest                                                               |
//! |      4 |     8 | the features that it has                                                 |
//! |     12 |     8 | the features that it requires of the other end                           |
//! |     20 |     1 | length of its release                                                    |
//! |     21 |       | its release, in printable ASCII; what follows is of later versions, and not read |
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::Features;
use crate::frame::{PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST};
use crate::limits::RELEASE_BYTES_MAX;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Of the protocol, oldest and newest.
    pub versions: (u16, u16),
    pub features: Features,
    /// Empty: from before ends told it.
    pub release: String,
}

impl Software {
    /// This program.
    pub fn this() -> Software {
        Software::with_features(Features::CURRENT)
    }

    /// This program, were these all of its features: for tests of clusters whose daemons differ.
    pub fn with_features(features: Features) -> Software {
        let release = if features.is_none() { "" } else { env!("CARGO_PKG_VERSION") };
        Software { versions: (PROTOCOL_VERSION_OLDEST, PROTOCOL_VERSION), features, release: release.into() }
    }

    /// An end that tells nothing: it is from before there was anything to tell.
    pub fn untold() -> Software {
        Software { versions: (3, 3), features: Features::NONE, release: String::new() }
    }

    /// Whether it says anything of itself in a handshake.
    pub(crate) fn tells(&self) -> bool {
        !self.features.is_none()
    }
}

/// As `versions` shows it.
impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.release.as_str() {
            "" => f.write_str("basalt before 0.2"),
            release => write!(f, "basalt {release}"),
        }
    }
}

/// What one end tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub software: Software,
    pub required: Features,
}

impl Told {
    /// Of a peer that tells nothing.
    pub fn nothing() -> Told {
        Told { software: Software::untold(), required: Features::NONE }
    }

    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let Software { versions: (oldest, newest), features, release } = &self.software;
        bytes.extend(oldest.to_le_bytes());
        bytes.extend(newest.to_le_bytes());
        bytes.extend(features.0.to_le_bytes());
        bytes.extend(self.required.0.to_le_bytes());
        let release: Vec<u8> = release.bytes().take(RELEASE_BYTES_MAX).collect();
        bytes.push(release.len() as u8);
        bytes.extend(release);
    }

    /// `None`: it is malformed.
    pub fn decode(bytes: &[u8]) -> Option<Told> {
        let (oldest, bytes) = bytes.split_first_chunk()?;
        let (newest, bytes) = bytes.split_first_chunk()?;
        let (features, bytes) = bytes.split_first_chunk()?;
        let (required, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first()?;
        let (release, _) = bytes.split_at_checked(usize::from(*length))?;
        let is_plain = release.len() <= RELEASE_BYTES_MAX && release.iter().all(u8::is_ascii_graphic);
        let versions = (u16::from_le_bytes(*oldest), u16::from_le_bytes(*newest));
        if !is_plain || versions.0 > versions.1 {
            return None;
        }
        let release = String::from_utf8(release.to_vec()).ok()?;
        let features = Features(u64::from_le_bytes(*features));
        let software = Software { versions, features, release };
        Some(Told { software, required: Features(u64::from_le_bytes(*required)) })
    }
}

/// Why two ends can have no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    #[error(
        "the peer ({peer}) speaks versions {} to {} of the protocol, this end {} to {}: bring the older one to a release between", theirs.0, theirs.1, ours.0, ours.1
    )]
    Versions { peer: Box<Software>, ours: (u16, u16), theirs: (u16, u16) },
    #[error("the peer ({peer}) lacks {lacking}, which is required here: it must run release {} or later", lacking.needed_release())]
    PeerLacks { peer: Box<Software>, lacking: Features },
    #[error("the peer ({peer}) requires {lacking}, which this end lacks: it must run release {} or later", lacking.needed_release())]
    WeLack { peer: Box<Software>, lacking: Features },
}

impl Features {
    /// The first release that has all of these, in words.
    pub fn needed_release(self) -> String {
        let first = crate::features::RELEASES.iter().find(|release| release.features.contains(self));
        first.map_or_else(|| "the one that has it".to_owned(), |release| release.name.to_owned())
    }
}

/// What a session of these two ends runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub version: u16,
    pub features: Features,
}

pub(crate) fn agree(ours: &Told, theirs: &Told) -> Result<Agreed, Disagreement> {
    let peer = || Box::new(theirs.software.clone());
    let (our, their) = (ours.software.versions, theirs.software.versions);
    let version = our.1.min(their.1);
    if version < our.0.max(their.0) {
        return Err(Disagreement::Versions { peer: peer(), ours: our, theirs: their });
    }
    let lacking = ours.required.without(theirs.software.features);
    if !lacking.is_none() {
        return Err(Disagreement::PeerLacks { peer: peer(), lacking });
    }
    let lacking = theirs.required.without(ours.software.features);
    if !lacking.is_none() {
        return Err(Disagreement::WeLack { peer: peer(), lacking });
    }
    Ok(Agreed { version, features: ours.software.features.common(theirs.software.features) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(versions: (u16, u16), features: u64, required: u64) -> Told {
        let software = Software { versions, features: Features(features), release: "9.9.9".into() };
        Told { software, required: Features(required) }
    }

    #[test]
    fn a_session_runs_with_what_both_have_or_says_what_is_missing() {
        let ours = told((3, 5), 0b0111, 0b0001);
        assert_eq!(agree(&ours, &told((2, 4), 0b1011, 0b0010)), Ok(Agreed { version: 4, features: Features(0b0011) }));
        assert_eq!(agree(&ours, &told((4, 9), 0b0001, 0)), Ok(Agreed { version: 5, features: Features(0b0001) }));
        let refused = |theirs: &Told| agree(&ours, theirs).unwrap_err().to_string();
        assert!(refused(&told((6, 9), 1, 0)).contains("speaks versions 6 to 9 of the protocol, this end 3 to 5"));
        assert!(refused(&told((1, 2), 1, 0)).contains("speaks versions 1 to 2"));
        let lacks = refused(&told((3, 3), 0b0110, 0));
        assert!(lacks.contains("lacks required-in-map") && lacks.contains("release 0.2 or later"), "{lacks}");
        let lacks = refused(&told((3, 3), 0b1001, 0b1000));
        assert!(lacks.contains("requires feature-3, which this end lacks"), "{lacks}");
    }

    #[test]
    fn who_tells_nothing_is_of_version_3_and_has_no_features() {
        let mut ours = Told { software: Software::this(), required: Features::NONE };
        assert_eq!(agree(&ours, &Told::nothing()), Ok(Agreed { version: 3, features: Features::NONE }));
        ours.required = Features::REQUIRED_IN_MAP;
        let refused = agree(&ours, &Told::nothing()).unwrap_err().to_string();
        assert!(refused.contains("(basalt before 0.2) lacks required-in-map"), "{refused}");
    }

    #[test]
    fn what_a_later_version_adds_is_not_read() {
        let ours = told((3, 5), 7, 1);
        let mut bytes = Vec::new();
        ours.encode(&mut bytes);
        assert_eq!(Told::decode(&bytes), Some(ours.clone()));
        bytes.extend([1, 2, 3]);
        assert_eq!(Told::decode(&bytes), Some(ours));
    }

    proptest! {
        #[test]
        fn both_ends_find_the_same(a in any::<[u16; 2]>(), b in any::<[u16; 2]>(), masks in any::<[u64; 4]>()) {
            let told = |[x, y]: [u16; 2], features, required| told((x.min(y), x.max(y)), features, required);
            let (a, b) = (told(a, masks[0], masks[1] & masks[2]), told(b, masks[2], masks[3] & masks[0]));
            prop_assert_eq!(agree(&a, &b).ok(), agree(&b, &a).ok());
        }

        #[test]
        fn arbitrary_bytes_are_told_apart_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(told) = Told::decode(&bytes) {
                let mut again = Vec::new();
                told.encode(&mut again);
                prop_assert!(bytes.starts_with(&again));
            }
        }
    }
}
