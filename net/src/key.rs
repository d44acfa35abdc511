//! The cluster key: 32 random bytes that every daemon and client of a cluster has, in a file of 64 hexadecimal digits.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub const KEY_BYTES: usize = 32;

/// A shared secret. `Debug` does not show it.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// `bytes` must come from a cryptographic generator.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Reads a key file: 64 hexadecimal digits, with white space around them.
    pub fn load(path: &Path) -> Result<Key, KeyError> {
        let failed = |source| KeyError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        // A key is short; a wrong path may name something endless.
        std::fs::File::open(path).map_err(failed)?.take(4096).read_to_string(&mut text).map_err(failed)?;
        text.parse().map_err(|_| KeyError::Malformed { path: path.to_owned() })
    }

    /// Creates a key file that only its owner may read. Never overwrites one.
    pub fn create(&self, path: &Path) -> Result<(), KeyError> {
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            let mut text = String::with_capacity(2 * KEY_BYTES + 1);
            for byte in self.0 {
                text.push_str(&format!("{byte:02x}"));
            }
            text.push('\n');
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| KeyError::Create { path: path.to_owned(), source })
    }
}

impl FromStr for Key {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Key, MalformedKey> {
        let digits = text.trim();
        if digits.len() != 2 * KEY_BYTES {
            return Err(MalformedKey);
        }
        let mut bytes = [0; KEY_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let digit = |character: &u8| char::from(*character).to_digit(16);
            match pair {
                [high, low] => {
                    let value = digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low).ok_or(MalformedKey)?;
                    *byte = u8::try_from(value).map_err(|_| MalformedKey)?;
                }
                _ => return Err(MalformedKey),
            }
        }
        Ok(Key(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(not shown)")
    }
}

/// What was read is not shown: it may be most of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cluster key: it is 64 hexadecimal digits, as `openssl rand -hex 32` prints them")]
pub struct MalformedKey;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "can't read the cluster key {path}: {source}; copy it from another host of the cluster, or make one for a new cluster: \
         (umask 077; openssl rand -hex 32 > {path})",
        path = path.display()
    )]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} holds no cluster key: it must hold 64 hexadecimal digits and nothing else; copy it from another host of the cluster, or make \
         one for a new cluster: (umask 077; openssl rand -hex 32 > {path})",
        path = path.display()
    )]
    Malformed { path: PathBuf },
    #[error("can't create the cluster key {path}: {source}; an existing key is never replaced", path = path.display())]
    Create { path: PathBuf, source: io::Error },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_created_key_is_private_reads_back_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Key::from_bytes([0xa7; 32]).create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Key::load(&path).unwrap().bytes(), &[0xa7; 32]);
        assert!(Key::from_bytes([1; 32]).create(&path).is_err());
        assert_eq!(Key::load(&path).unwrap().bytes(), &[0xa7; 32]);
    }

    #[test]
    fn a_key_is_not_shown_even_when_it_is_malformed() {
        assert!(!format!("{:?}", Key::from_bytes([0xa7; 32])).contains("a7"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in ["", "deadbeef", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            std::fs::write(&path, text).unwrap();
            let error = Key::load(&path).unwrap_err().to_string();
            assert!(error.contains("openssl rand") && (text.is_empty() || !error.contains(text)), "{error}");
        }
    }
}
