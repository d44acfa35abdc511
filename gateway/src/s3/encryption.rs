//! Objects whose bytes are sealed before they are stored: with a key that the client brings (SSE-C), with the gateway's (SSE-S3), or with one
//! of several that have names (SSE-KMS).
//!
//! Each object has a random *data key* of its own. The index has it only *wrapped* by the key that was chosen, so that key is never stored, and
//! whoever has the right one is told by that it opens. From the data key comes a key for each part, and with that the part's bytes are sealed
//! in chunks, so that ranges can be read, and so that bytes that were changed, moved or cut off are noticed instead of answered. What the index
//! says of the object besides, its size, ETag, metadata and which parts it has, is not sealed.
//!
//! A wrapped data key, in base64 in the index entry:
//!
//! | offset | size | field                                                                                   |
//! |--------|------|-----------------------------------------------------------------------------------------|
//! | 0      | 1    | version, 1                                                                              |
//! | 1      | 32   | salt, random                                                                            |
//! | 33     | 32   | the data key, sealed                                                                    |
//! | 65     | 16   | tag                                                                                     |
//!
//! It is sealed by AES-256-GCM with the nonce zero, under a key that is used for nothing else: HKDF-SHA256 (RFC 5869) of the wrapping key with
//! the salt, and `basalt s3 wrap 1` as info. Authenticated with it are, each behind its length (u32), the mode, the wrapping key's id, the
//! context of SSE-KMS, the bucket's id and the object's key: a wrapped key is good for nothing in another entry.
//!
//! A part `TAG.NUMBER`, across its stripes:
//!
//! | size        | field                                                  |
//! |-------------|--------------------------------------------------------|
//! | 64 KiB + 16 | a chunk: 64 KiB of the object, sealed, and the tag     |
//! | …           | more of them                                           |
//! | 1…64 KiB + 16 | the last chunk                                       |
//!
//! Its key is HKDF-Expand of the data key with `basalt s3 part 1`, the part's number (u32) and its tag as info; nobody ever writes twice under
//! one tag and number. Each chunk is sealed by AES-256-GCM. The nonce is u32 0, or 1 for the part's last chunk, and the chunk's number (u64),
//! little-endian both: chunks have their place and the last is known, as in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015).

mod chunk;
mod customer_key;
mod data_key;
mod key_file;
mod record;
mod wish;

pub use chunk::{CHUNK_BYTES, SEALED_CHUNK_BYTES, Sealer, open_chunks, plain_bytes, sealed_bytes};
pub use customer_key::CustomerKey;
pub use data_key::{DataKey, Place};
pub use key_file::{KeyFileError, Keyring, Keys};
pub use record::{Encryption, Mode, not_with_clients_key};
pub use wish::Wish;

use std::fmt;

/// As headers name it.
pub const BY_SERVER: &str = "x-amz-server-side-encryption";
pub const SERVERS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
pub const CONTEXT: &str = "x-amz-server-side-encryption-context";

const KEY_BYTES: usize = 32;

/// A key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; KEY_BYTES]);

impl Secret {
    pub fn new(bytes: [u8; KEY_BYTES]) -> Secret {
        Secret(bytes)
    }

    fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}
