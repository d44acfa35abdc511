//! The Noise protocol's primitives: X25519, AES-256-GCM and SHA-256, and the ephemeral key from outside.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::packet::{HANDSHAKE_VERSION, MARK};
use super::{HandshakeError, NONCE_BYTES};
use crate::Key;
use crate::sealing::{SealingKey, TAG_BYTES};
use curve25519_dalek::MontgomeryPoint;
use ring::digest;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error, HandshakeState};
use zeroize::Zeroize;

/// Three messages, in which each end shows its static key; neither needs to know the other's before.
const PATTERN: &str = "Noise_XX_25519_AESGCM_SHA256";

/// A Noise handshake. `random` becomes the ephemeral key: it must come from a cryptographic generator and be used once. `is_marked`: the key
/// is sent with a mark in the bit that has no meaning.
pub(super) fn begin(
    key: &Key,
    random: [u8; NONCE_BYTES],
    is_marked: bool,
    initiates: bool,
) -> Result<HandshakeState, HandshakeError> {
    // The version is in each header, outside of Noise; this way it is proven, too.
    let [low, high] = HANDSHAKE_VERSION.to_le_bytes();
    let prologue = [b'b', b'a', b's', b'a', b'l', b't', low, high];
    let params = PATTERN.parse().map_err(broken)?;
    let builder = Builder::with_resolver(params, Box::new(Primitives { random, is_marked }))
        .local_private_key(key.bytes())
        .and_then(|builder| builder.prologue(&prologue))
        .map_err(broken)?;
    if initiates { builder.build_initiator() } else { builder.build_responder() }.map_err(broken)
}

/// Noise says no more than that a message is not what the other end sent.
pub(super) fn broken(_: Error) -> HandshakeError {
    HandshakeError::Tampered
}

struct Primitives {
    random: [u8; NONCE_BYTES],
    is_marked: bool,
}

impl Drop for Primitives {
    fn drop(&mut self) {
        self.random.zeroize();
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Drawn(Some(self.random))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| {
            let dh = X25519 { is_marked: self.is_marked, ..X25519::default() };
            Box::new(dh) as Box<dyn Dh>
        })
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        let new = || Box::new(Sha256(digest::Context::new(&digest::SHA256))) as Box<dyn Hash>;
        matches!(choice, HashChoice::SHA256).then(new)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        let new = || Box::new(AesGcm(SealingKey::new(&[0; 32]))) as Box<dyn Cipher>;
        matches!(choice, CipherChoice::AESGCM).then(new)
    }
}

/// Randomness that was drawn before, for the one key that is made of it.
struct Drawn(Option<[u8; NONCE_BYTES]>);

impl Random for Drawn {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let drawn = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != drawn.len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(&drawn);
        Ok(())
    }
}

#[derive(Default)]
struct X25519 {
    secret: [u8; 32],
    public: [u8; 32],
    /// Of a key that is drawn; who has a static key is known by it as it is.
    is_marked: bool,
}

impl Drop for X25519 {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        if let Some(secret) = privkey.first_chunk() {
            self.secret = *secret;
            self.public = MontgomeryPoint::mul_base_clamped(self.secret).0;
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        rng.try_fill_bytes(&mut self.secret)?;
        self.public = MontgomeryPoint::mul_base_clamped(self.secret).0;
        if let (true, Some(highest)) = (self.is_marked, self.public.last_mut()) {
            *highest |= MARK;
        }
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let point = MontgomeryPoint(*pubkey.first_chunk().ok_or(Error::Input)?);
        let mut agreed = point.mul_clamped(self.secret).0;
        // A point of small order would make a secret that everybody knows.
        if agreed == [0; 32] {
            return Err(Error::Dh);
        }
        out.get_mut(..32).ok_or(Error::Input)?.copy_from_slice(&agreed);
        agreed.zeroize();
        Ok(())
    }
}

struct Sha256(digest::Context);

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = digest::Context::new(&digest::SHA256);
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let digest = self.0.clone().finish();
        out.iter_mut().zip(digest.as_ref()).for_each(|(place, byte)| *place = *byte);
    }
}

struct AesGcm(SealingKey);

impl Cipher for AesGcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = SealingKey::new(key);
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let len = plaintext.len();
        // Noise asks for no more than there is room for; without room nothing is written, and the other end refuses it.
        if let Some((text, tag)) = out.split_at_mut_checked(len)
            && let Some(tag) = tag.first_chunk_mut()
        {
            text.copy_from_slice(plaintext);
            *tag = self.0.seal(nonce, authtext, text);
        }
        len + TAG_BYTES
    }

    fn decrypt(&self, nonce: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (text, tag) = ciphertext.split_last_chunk().ok_or(Error::Decrypt)?;
        let mut opened = text.to_vec();
        self.0.open(nonce, authtext, &mut opened, tag).map_err(|_| Error::Decrypt)?;
        out.get_mut(..opened.len()).ok_or(Error::Decrypt)?.copy_from_slice(&opened);
        Ok(opened.len())
    }
}
