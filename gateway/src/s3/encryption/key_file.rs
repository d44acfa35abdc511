//! The gateway's own keys, in a file that only it may read, and that is read anew when it changes.
//!
//! Each line has a kind, an id and a key of 32 bytes, in 64 hexadecimal digits or in base64; what follows `#` is a remark:
//!
//! ```text
//! master 2026-07 8f1c…            # new objects are encrypted with the first
//! master 2026-01 77ab…            # older objects are still read
//! kms invoices YmluCmJvb3N0…
//! ```

use super::{KEY_BYTES, Secret};
use crate::s3::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Instant, SystemTime};

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("{path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: others may read it (mode {mode:03o}): chmod 600", path = path.display())]
    Open { path: PathBuf, mode: u32 },
    /// What is wrong is not shown: it may be most of a key.
    #[error("{path}, line {line}: {problem}", path = path.display())]
    Malformed { path: PathBuf, line: usize, problem: &'static str },
}

/// What is in the file.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    masters: Vec<(String, Secret)>,
    kms: BTreeMap<String, Secret>,
}

impl Keys {
    pub fn load(path: &Path) -> Result<Keys, KeyFileError> {
        let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(limits::KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Keys::parse(&text).map_err(|(line, problem)| KeyFileError::Malformed { path: path.to_owned(), line, problem })
    }

    fn parse(text: &str) -> Result<Keys, (usize, &'static str)> {
        let mut keys = Keys::default();
        for (line, text) in (1..).zip(text.lines()) {
            let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
            let wrong = |problem| Err((line, problem));
            let (kind, id, key) = match words.as_slice() {
                [] => continue,
                [kind, id, key] => (*kind, (*id).to_owned(), *key),
                _ => return wrong("a line has a kind (master or kms), an id and a key"),
            };
            let Some(secret) = secret(key) else {
                return wrong("a key has 32 bytes, in 64 hexadecimal digits or in base64");
            };
            match kind {
                "master" if keys.master(&id).is_some() => return wrong("there is a master key of this id above"),
                "master" => keys.masters.push((id, secret)),
                "kms" if keys.kms.contains_key(&id) => return wrong("there is a key of this id above"),
                "kms" => drop(keys.kms.insert(id, secret)),
                _ => return wrong("a key is of kind master or kms"),
            }
        }
        Ok(keys)
    }

    /// For new objects.
    pub fn newest_master(&self) -> Option<(&str, &Secret)> {
        self.masters.first().map(|(id, secret)| (id.as_str(), secret))
    }

    pub fn master(&self, id: &str) -> Option<&Secret> {
        self.masters.iter().find(|(known, _)| known == id).map(|(_, secret)| secret)
    }

    pub fn kms(&self, id: &str) -> Option<&Secret> {
        self.kms.get(id)
    }
}

fn secret(text: &str) -> Option<Secret> {
    let bytes = if text.len() == 2 * KEY_BYTES && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<Vec<u8>>>()?
    } else {
        STANDARD.decode(text).ok()?
    };
    <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok().map(Secret::new)
}

/// The keys as the file has them now.
#[derive(Default)]
pub struct Keyring {
    /// `None`: there are no keys.
    path: Option<PathBuf>,
    current: RefCell<Option<Current>>,
}

struct Current {
    keys: Rc<Keys>,
    changed: Option<SystemTime>,
    looked: Instant,
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

impl Keyring {
    pub fn new(path: Option<PathBuf>) -> Keyring {
        Keyring { path, current: RefCell::default() }
    }

    /// A file that can't be read any more changes nothing: the keys that were in it stay.
    pub fn keys(&self) -> Rc<Keys> {
        let Some(path) = &self.path else { return Rc::default() };
        let mut current = self.current.borrow_mut();
        if let Some(current) = &mut *current {
            if current.looked.elapsed() < limits::KEY_FILE_KNOWN_FOR {
                return current.keys.clone();
            }
            current.looked = Instant::now();
            if changed(path) == current.changed {
                return current.keys.clone();
            }
        }
        let (time, before) = (changed(path), current.as_ref().map(|current| current.keys.clone()));
        let keys = match Keys::load(path) {
            Ok(keys) => Rc::new(keys),
            Err(problem) => {
                tracing::error!(%problem, "the keys for encryption are not read anew");
                before.unwrap_or_default()
            }
        };
        *current = Some(Current { keys: keys.clone(), changed: time, looked: Instant::now() });
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn the_first_master_key_is_for_new_objects_and_all_are_known() {
        let base64 = STANDARD.encode([9; 32]);
        let keys = Keys::parse(&format!("# keys\nmaster new {base64} # since May\n\nmaster old {HEX}\nkms k {HEX}\n"));
        let keys = keys.unwrap();
        assert_eq!(keys.newest_master(), Some(("new", &Secret::new([9; 32]))));
        assert_eq!(keys.master("old"), keys.kms("k"));
        assert!(keys.master("k").is_none() && keys.kms("new").is_none());
        assert!(Keys::parse("").unwrap().newest_master().is_none());
    }

    #[test]
    fn a_line_that_is_no_key_is_named_and_not_shown() {
        for (text, line) in [
            (format!("master a {HEX}\nmaster a {HEX}"), 2),
            (format!("kms a {HEX}\nkms a {HEX}"), 2),
            (format!("\nother a {HEX}"), 2),
            (format!("master a {}", &HEX[..62]), 1),
            (format!("master {HEX}"), 1),
            (format!("master a {HEX} b"), 1),
        ] {
            let (found, problem) = Keys::parse(&text).unwrap_err();
            assert_eq!(found, line, "{text}");
            assert!(!problem.contains("0102"), "{problem}");
        }
    }
}
