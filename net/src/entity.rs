//! Who speaks, to which cluster, and what for.

use crate::limits::ENTITY_NAME_BYTES_MAX;
use std::fmt;
use std::str::FromStr;

/// A cluster's identity, chosen at random when it is made. Shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fsid(pub [u8; 16]);

impl fmt::Display for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fsid {
    type Err = EntityError;

    fn from_str(text: &str) -> Result<Fsid, EntityError> {
        let malformed = || EntityError::Fsid { seen: text.chars().take(64).collect() };
        let digits: Vec<u8> = text
            .chars()
            .filter(|character| *character != '-')
            .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(malformed)?;
        let pairs: Vec<u8> = digits
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(high << 4 | low),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(malformed)?;
        pairs.try_into().map(Fsid).map_err(|_| malformed())
    }
}

/// `client.admin`, `osd.3`, `mon.a`: a kind and an id, at most 64 bytes of ASCII letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityName(String);

impl EntityName {
    pub fn new(name: impl Into<String>) -> Result<EntityName, EntityError> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let whole = matches!(name.split_once('.'), Some((kind, id)) if !kind.is_empty() && !id.is_empty());
        if whole && name.len() <= ENTITY_NAME_BYTES_MAX && name.bytes().all(allowed) {
            Ok(EntityName(name))
        } else {
            Err(EntityError::Name { seen: name.chars().take(ENTITY_NAME_BYTES_MAX).collect() })
        }
    }

    pub fn osd(id: u32) -> EntityName {
        EntityName(format!("osd.{id}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the dot.
    pub fn kind(&self) -> &str {
        self.0.split_once('.').map_or("", |(kind, _)| kind)
    }

    /// The part behind the dot.
    pub fn id(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, id)| id)
    }

    /// The number of an `osd.N`.
    pub fn osd_id(&self) -> Option<u32> {
        if self.kind() == "osd" { self.id().parse().ok() } else { None }
    }
}

impl fmt::Display for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EntityName {
    type Err = EntityError;

    fn from_str(text: &str) -> Result<EntityName, EntityError> {
        EntityName::new(text)
    }
}

/// What a session is for; a daemon that serves several OSDs hands it to the one that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Monitor,
    /// For clients, on the public network.
    Osd(u32),
    /// For other OSDs, on the cluster network.
    Peer(u32),
    /// For other OSDs, on the public network: nothing but signs of life.
    Heartbeat(u32),
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Monitor => f.write_str("a monitor"),
            Service::Osd(id) => write!(f, "osd.{id}"),
            Service::Peer(id) => write!(f, "osd.{id} as a peer"),
            Service::Heartbeat(id) => write!(f, "osd.{id} for heartbeats"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntityError {
    #[error(
        "{seen:?} is not an entity name: it is a kind, a dot and an id, such as client.admin, in at most {ENTITY_NAME_BYTES_MAX} letters, digits, '-', '_' and '.'"
    )]
    Name { seen: String },
    #[error("{seen:?} is not a cluster's fsid: it is a UUID, 32 hexadecimal digits")]
    Fsid { seen: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fsid_reads_back_as_it_was_shown() {
        let fsid = Fsid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xfb, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(fsid.to_string(), "00010203-0405-0607-0809-0afbfcfdfeff");
        assert_eq!(fsid.to_string().parse(), Ok(fsid));
        for wrong in ["", "00", "zz010203-0405-0607-0809-0afbfcfdfeff", "00010203-0405-0607-0809-0afbfcfdfeff0", "é"] {
            assert!(wrong.parse::<Fsid>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entity_name_has_a_kind_and_an_id() {
        let name = EntityName::new("osd.12").unwrap();
        assert_eq!((name.kind(), name.id(), name.osd_id()), ("osd", "12", Some(12)));
        assert_eq!(EntityName::new("client.s3.host-1").unwrap().id(), "s3.host-1");
        for wrong in ["", "osd", "osd.", ".3", "client.a b", "client.ä", &format!("client.{}", "a".repeat(64))] {
            assert!(EntityName::new(wrong).is_err(), "{wrong}");
        }
    }
}
