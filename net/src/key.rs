//! Keys: each daemon and each client has a secret one of its own, in a file of 64 hexadecimal digits, and the cluster knows it by the
//! public one that belongs to it. A secret key is an X25519 scalar: any 32 random bytes are one.

use curve25519_dalek::MontgomeryPoint;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroize;

pub const KEY_BYTES: usize = 32;

/// A secret. `Debug` does not show it, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Key {
    /// `bytes` must come from a cryptographic generator.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// By which others know the owner of this key.
    pub fn public(&self) -> PublicKey {
        PublicKey(MontgomeryPoint::mul_base_clamped(self.0).0)
    }

    /// Reads a key file: 64 hexadecimal digits, with white space around them. One that other users of the machine may read is refused: it may be
    /// theirs already.
    pub fn load(path: &Path) -> Result<Key, KeyError> {
        let failed = |source| KeyError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode();
        if is_exposed(mode) {
            return Err(KeyError::Exposed { path: path.to_owned(), mode: mode & 0o7777 });
        }
        let mut text = String::new();
        // A key is short; a wrong path may name something endless.
        file.take(4096).read_to_string(&mut text).map_err(failed)?;
        let key = text.parse().map_err(|_| KeyError::Malformed { path: path.to_owned() });
        text.zeroize();
        key
    }

    /// Creates a key file that only its owner may read. Never overwrites one.
    pub fn create(&self, path: &Path) -> Result<(), KeyError> {
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            let mut text = hexadecimal(&self.0);
            text.push('\n');
            let written = file.write_all(text.as_bytes());
            text.zeroize();
            written?;
            file.sync_all()
        };
        write().map_err(|source| KeyError::Create { path: path.to_owned(), source })
    }
}

impl FromStr for Key {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Key, MalformedKey> {
        digits(text).map(Key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(not shown)")
    }
}

/// What everybody may know of a key. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; KEY_BYTES]);

impl FromStr for PublicKey {
    type Err = MalformedPublicKey;

    fn from_str(text: &str) -> Result<PublicKey, MalformedPublicKey> {
        digits(text).map(PublicKey).map_err(|MalformedKey| MalformedPublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether users beyond its owner's group may read or change a file of that mode.
fn is_exposed(mode: u32) -> bool {
    mode & 0o007 != 0
}

fn hexadecimal(bytes: &[u8; KEY_BYTES]) -> String {
    let mut text = String::with_capacity(2 * KEY_BYTES + 1);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

fn digits(text: &str) -> Result<[u8; KEY_BYTES], MalformedKey> {
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
    Ok(bytes)
}

/// What was read is not shown: it may be most of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: it is 64 hexadecimal digits, as `openssl rand -hex 32` prints them")]
pub struct MalformedKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a public key: it is 64 hexadecimal digits, as `basalt auth public-key FILE` prints them of a secret key's file"
)]
pub struct MalformedPublicKey;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "can't read the key {path}: {source}; each daemon and client has one of its own, which is made with \
         `basalt auth keygen {path}` or (umask 077; openssl rand -hex 32 > {path})",
        path = path.display()
    )]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} holds no key: it must hold 64 hexadecimal digits and nothing else; make one with `basalt auth keygen` or \
         (umask 077; openssl rand -hex 32 > {path})",
        path = path.display()
    )]
    Malformed { path: PathBuf },
    #[error(
        "every user of this machine can get at the key {path} (mode {mode:04o}): chmod 600 {path}, and rotate it if somebody may have read it",
        path = path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("can't create the key {path}: {source}; an existing key is never replaced", path = path.display())]
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
    fn a_key_that_every_user_may_get_at_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Key::from_bytes([0xa7; 32]).create(&path).unwrap();
        for (mode, exposed) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true), (0o601, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match Key::load(&path) {
                Ok(_) => assert!(!exposed, "{mode:o}"),
                Err(error) => {
                    let chmod = format!("(mode {mode:04o}): chmod 600 {}", path.display());
                    assert!(exposed && error.to_string().contains(&chmod), "{mode:o}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_public_key_is_told_what_prints_one() {
        let error = "5a".parse::<PublicKey>().unwrap_err().to_string();
        assert!(error.contains("basalt auth public-key") && !error.contains("openssl"), "{error}");
    }

    #[test]
    fn a_key_is_not_shown_even_when_it_is_malformed() {
        assert!(!format!("{:?}", Key::from_bytes([0xa7; 32])).contains("a7"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in ["", "deadbeef", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = Key::load(&path).unwrap_err().to_string();
            assert!(error.contains("openssl rand") && (text.is_empty() || !error.contains(text)), "{error}");
        }
    }

    /// RFC 7748, section 6.1.
    #[test]
    fn public_keys_are_those_of_x25519() {
        let bob: Key = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb".parse().unwrap();
        assert_eq!(bob.public().to_string(), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    }
}
