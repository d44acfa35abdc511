//! The key of one object: made, wrapped for the index, and opened again.

use super::{KEY_BYTES, Mode, Secret};
use crate::s3::fault::{Fault, Result};
use basalt_ring::Ring;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = 1 + SALT_BYTES + KEY_BYTES + TAG_BYTES;
const WRAP_INFO: &[u8] = b"basalt s3 wrap 1";
const PART_INFO: &[u8] = b"basalt s3 part 1";

/// What a wrapped key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub bucket_id: &'a str,
    pub key: &'a str,
}

/// What is authenticated with a wrapped key.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    pub mode: Mode,
    /// Of the wrapping key; empty where the client has it.
    pub key_id: &'a str,
    pub context: &'a str,
    pub place: Place<'a>,
}

impl Bound<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [self.mode.name(), self.key_id, self.context, self.place.bucket_id, self.place.key] {
            bytes.extend((field.len() as u32).to_le_bytes());
            bytes.extend(field.as_bytes());
        }
        bytes
    }
}

/// Of one object, for all its parts.
#[derive(Clone, Debug)]
pub struct DataKey(Secret);

/// Of one part.
pub struct PartKey(pub(super) LessSafeKey);

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn expand(prk: &Prk, info: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let filled = prk.expand(info, KeyLength).and_then(|okm| okm.fill(&mut key));
    assert!(filled.is_ok(), "32 bytes are fewer than HKDF can give");
    key
}

fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    match UnboundKey::new(&AES_256_GCM, key) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("a key of AES-256 has 32 bytes"),
    }
}

/// The key that wraps one data key, and nothing else.
fn wrapping(secret: &Secret, salt: &[u8]) -> LessSafeKey {
    let prk = Salt::new(HKDF_SHA256, salt).extract(secret.bytes());
    cipher(&expand(&prk, &[WRAP_INFO]))
}

fn no_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

impl DataKey {
    pub fn new(ring: &Ring) -> DataKey {
        let mut bytes = [0; KEY_BYTES];
        ring.fill_random(&mut bytes);
        DataKey(Secret::new(bytes))
    }

    /// As the index keeps it.
    pub fn wrap(&self, secret: &Secret, bound: &Bound<'_>, ring: &Ring) -> String {
        let mut salt = [0; SALT_BYTES];
        ring.fill_random(&mut salt);
        self.wrap_with_salt(secret, bound, &salt)
    }

    fn wrap_with_salt(&self, secret: &Secret, bound: &Bound<'_>, salt: &[u8; SALT_BYTES]) -> String {
        let mut sealed = self.0.bytes().to_vec();
        let done = wrapping(secret, salt).seal_in_place_append_tag(no_nonce(), Aad::from(bound.bytes()), &mut sealed);
        assert!(done.is_ok(), "32 bytes are fewer than AES-GCM can seal");
        let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
        wrapped.push(VERSION);
        wrapped.extend(salt);
        wrapped.extend(sealed);
        STANDARD.encode(wrapped)
    }

    /// `None`: the key is another one than it was wrapped with, or what is wrapped belongs elsewhere.
    pub fn unwrap(wrapped: &str, secret: &Secret, bound: &Bound<'_>) -> Result<Option<DataKey>> {
        let damaged = |problem: &str| Fault::damaged(format!("the data key of {}", bound.place.key), problem);
        let bytes = STANDARD.decode(wrapped).map_err(|_| damaged("it is no base64"))?;
        let (Some(&VERSION), WRAPPED_BYTES) = (bytes.first(), bytes.len()) else {
            return Err(damaged("it is of no version that is known"));
        };
        let (salt, sealed) = bytes.get(1..).unwrap_or_default().split_at(SALT_BYTES);
        let mut sealed = sealed.to_vec();
        let opened = wrapping(secret, salt).open_in_place(no_nonce(), Aad::from(bound.bytes()), &mut sealed);
        let key = opened.ok().and_then(|key| <[u8; KEY_BYTES]>::try_from(&*key).ok());
        Ok(key.map(|key| DataKey(Secret::new(key))))
    }

    pub fn part(&self, tag: &str, number: u32) -> PartKey {
        let prk = Prk::new_less_safe(HKDF_SHA256, self.0.bytes());
        PartKey(cipher(&expand(&prk, &[PART_INFO, &number.to_le_bytes(), tag.as_bytes()])))
    }
}

#[cfg(test)]
impl DataKey {
    pub fn of_test(byte: u8) -> DataKey {
        DataKey(Secret::new([byte; KEY_BYTES]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(key: &str) -> Bound<'_> {
        Bound { mode: Mode::Master, key_id: "m1", context: "", place: Place { bucket_id: "b", key } }
    }

    #[test]
    fn a_data_key_opens_with_its_key_in_its_place_only() {
        let (right, wrong) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let wrapped = DataKey::of_test(7).wrap_with_salt(&right, &bound("k"), &[9; SALT_BYTES]);
        let opened = DataKey::unwrap(&wrapped, &right, &bound("k")).unwrap().unwrap();
        assert_eq!(opened.0, Secret::new([7; 32]));
        assert!(DataKey::unwrap(&wrapped, &wrong, &bound("k")).unwrap().is_none());
        assert!(DataKey::unwrap(&wrapped, &right, &bound("other")).unwrap().is_none());
        let other_mode = Bound { mode: Mode::Kms, ..bound("k") };
        assert!(DataKey::unwrap(&wrapped, &right, &other_mode).unwrap().is_none());
        // Fields are told apart by more than where one ends by chance.
        let shifted = Bound { key_id: "m1k", ..bound("") };
        assert!(DataKey::unwrap(&wrapped, &right, &shifted).unwrap().is_none());
        let mut bytes = STANDARD.decode(&wrapped).unwrap();
        bytes[40] ^= 1;
        assert!(DataKey::unwrap(&STANDARD.encode(&bytes), &right, &bound("k")).unwrap().is_none());
        for damaged in ["", "!", "AQ==", &wrapped[..104]] {
            assert!(DataKey::unwrap(damaged, &right, &bound("k")).is_err(), "{damaged}");
        }
    }

    /// What is in clusters must be opened for ever. Computed by another program from the format as it is written down.
    #[test]
    fn the_format_stays() {
        let wrapped = DataKey::of_test(7).wrap_with_salt(&Secret::new([1; 32]), &bound("k"), &[9; SALT_BYTES]);
        assert_eq!(wrapped, FIRST_VERSION);
    }

    const FIRST_VERSION: &str =
        "AQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJsxtzXHHmLu9wWwhre/0pWREo4dL8YP1cU5SuuPWRKRdIotpc5hklsxo1jXsEdAig";

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", DataKey::of_test(7)).contains('7'));
    }
}
