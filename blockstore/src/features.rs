//! Feature bits of the format: what a version must know before it may touch a store.
//!
//! *Compatible*: a version that does not know the bit may ignore it. *Read-only compatible*: such a version may read the store, but not
//! change it (`basaltd fsck` may look at it, an OSD may not serve it). *Incompatible*: such a version would misread the store, and
//! refuses it. A store gets the bits of the version that opens it, durably, before that version writes anything that needs them; nothing
//! is ever taken away, so a store that a newer version has opened stays with it.

use crate::encoding::{Put, Reader};

/// Objects of at most [`crate::limits::INLINE_BYTES_MAX`] bytes have their bytes in the index.
const INLINE_OBJECTS: u64 = 1 << 0;
/// Extents may share blocks, counted in the index.
const SHARED_EXTENTS: u64 = 1 << 1;

/// Every incompatible bit that this version knows, by name.
const INCOMPATIBLE: [(u64, &str); 2] = [(INLINE_OBJECTS, "inline-objects"), (SHARED_EXTENTS, "shared-extents")];
const READ_ONLY: [(u64, &str); 0] = [];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Features {
    pub compatible: u64,
    pub read_only: u64,
    pub incompatible: u64,
}

impl Features {
    /// What a store made by this version has.
    pub const CURRENT: Features =
        Features { compatible: 0, read_only: 0, incompatible: INLINE_OBJECTS | SHARED_EXTENTS };

    /// With all that this version may write.
    pub fn upgraded(self) -> Features {
        Features {
            compatible: self.compatible | Features::CURRENT.compatible,
            read_only: self.read_only | Features::CURRENT.read_only,
            incompatible: self.incompatible | Features::CURRENT.incompatible,
        }
    }

    pub fn encode(self, bytes: &mut Vec<u8>) {
        bytes.put_u64(self.compatible);
        bytes.put_u64(self.read_only);
        bytes.put_u64(self.incompatible);
    }

    pub fn decode(reader: &mut Reader) -> Option<Features> {
        Some(Features { compatible: reader.u64()?, read_only: reader.u64()?, incompatible: reader.u64()? })
    }

    /// Why this version cannot even read the store, if so.
    pub fn refuse_reading(self) -> Result<(), String> {
        refuse("incompatible", self.incompatible, &INCOMPATIBLE, "use")
    }

    /// Why this version must not change the store, if so.
    pub fn refuse_writing(self) -> Result<(), String> {
        refuse("read-only compatible", self.read_only, &READ_ONLY, "change")
    }
}

fn refuse(what: &str, bits: u64, known: &[(u64, &str)], to: &str) -> Result<(), String> {
    let unknown = known.iter().fold(bits, |bits, (bit, _)| bits & !bit);
    if unknown == 0 {
        return Ok(());
    }
    let names: Vec<&str> = known.iter().map(|(_, name)| *name).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(format!(
        "it has {what} features {unknown:#x} that this version does not know (it knows {names}); {to} it with the version of basaltd that made it, or a newer one"
    ))
}
