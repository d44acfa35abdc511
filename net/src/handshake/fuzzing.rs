//! Each of the handshake's messages alone, from bytes that anybody may have sent.

use super::packet::{
    HANDSHAKE_VERSION, HEADER_BYTES, MAGIC, PacketHeader, Reject, Wish, decode_name, decode_proof, encode_proof,
};

/// Reads the bytes as a header and as every kind of payload. Whatever is one must be those bytes again.
pub(crate) fn packet(bytes: &[u8]) {
    let mut header = bytes.to_vec();
    header.resize(header.len().max(HEADER_BYTES), 0);
    for put_right in [false, true] {
        if put_right {
            header[..4].copy_from_slice(&MAGIC);
            header[4..6].copy_from_slice(&HANDSHAKE_VERSION.to_le_bytes());
        }
        if let Ok(decoded) = PacketHeader::decode(&header) {
            assert!(HEADER_BYTES + decoded.body_len <= crate::limits::HANDSHAKE_MESSAGE_BYTES_MAX);
        }
    }
    if let Ok(wish) = Wish::decode(bytes) {
        assert_eq!(wish.encode(), bytes);
    }
    if let Ok(name) = decode_name(bytes) {
        assert_eq!(name.as_str().as_bytes(), bytes);
    }
    if let Ok((name, told)) = decode_proof(bytes, true) {
        // Behind it there may be what later versions tell.
        assert!(bytes.starts_with(&encode_proof(&name, Some(&told))));
    }
    if let Ok(reject) = Reject::decode(bytes) {
        // A reason is made printable, and cut where it would be too long to pass on.
        let again = Reject::decode(&reject.encode()[HEADER_BYTES..]);
        assert!(again.is_ok_and(|again| reject.reason.starts_with(&again.reason)));
    }
}
