//! The protocol's numbers and messages, all big-endian. Pure. As the NBD project's `doc/proto.md` has them.

/// What a server begins with.
pub const MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Before each option, and in the greeting.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

pub const REQUEST_BYTES: usize = 28;
pub const OPTION_HEADER_BYTES: usize = 16;

/// In the greeting, and in the client's answer.
pub mod handshake {
    pub const FIXED_NEWSTYLE: u16 = 1;
    pub const NO_ZEROES: u16 = 2;
}

pub mod option {
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const LIST: u32 = 3;
    pub const STARTTLS: u32 = 5;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const STRUCTURED_REPLY: u32 = 8;
    pub const LIST_META_CONTEXT: u32 = 9;
    pub const SET_META_CONTEXT: u32 = 10;
}

pub mod option_reply {
    pub const ACK: u32 = 1;
    pub const SERVER: u32 = 2;
    pub const INFO: u32 = 3;
    pub const META_CONTEXT: u32 = 4;
    const ERROR: u32 = 1 << 31;
    pub const ERR_UNSUPPORTED: u32 = ERROR | 1;
    pub const ERR_POLICY: u32 = ERROR | 2;
    pub const ERR_INVALID: u32 = ERROR | 3;
    pub const ERR_TLS_REQUIRED: u32 = ERROR | 5;
    pub const ERR_UNKNOWN: u32 = ERROR | 6;
    pub const ERR_SHUTDOWN: u32 = ERROR | 7;
    pub const ERR_TOO_BIG: u32 = ERROR | 9;
}

pub mod info {
    pub const EXPORT: u16 = 0;
    pub const NAME: u16 = 1;
    pub const DESCRIPTION: u16 = 2;
    pub const BLOCK_SIZE: u16 = 3;
}

/// Of an export.
pub mod transmission {
    pub const HAS_FLAGS: u16 = 1;
    pub const READ_ONLY: u16 = 1 << 1;
    pub const SEND_FLUSH: u16 = 1 << 2;
    pub const SEND_FUA: u16 = 1 << 3;
    pub const SEND_TRIM: u16 = 1 << 5;
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub const SEND_DF: u16 = 1 << 7;
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
}

pub mod command {
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISCONNECT: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    pub const WRITE_ZEROES: u16 = 6;
    pub const BLOCK_STATUS: u16 = 7;

    pub const FLAG_FUA: u16 = 1;
    pub const FLAG_NO_HOLE: u16 = 1 << 1;
    pub const FLAG_DF: u16 = 1 << 2;
    pub const FLAG_REQ_ONE: u16 = 1 << 3;
    pub const FLAG_FAST_ZERO: u16 = 1 << 4;
}

pub mod chunk {
    pub const FLAG_DONE: u16 = 1;
    pub const OFFSET_DATA: u16 = 1;
    pub const OFFSET_HOLE: u16 = 2;
    pub const BLOCK_STATUS: u16 = 5;
    pub const ERROR: u16 = (1 << 15) | 1;
}

/// Of an extent in the context `base:allocation`.
pub mod allocation {
    pub const CONTEXT: &str = "base:allocation";
    pub const CONTEXT_ID: u32 = 1;
    pub const HOLE: u32 = 1;
    pub const ZERO: u32 = 2;
}

/// The errnos that the protocol knows.
pub mod error {
    pub const EPERM: u32 = 1;
    pub const EIO: u32 = 5;
    pub const EINVAL: u32 = 22;
    pub const ENOSPC: u32 = 28;
    pub const ENOTSUP: u32 = 95;
    pub const ESHUTDOWN: u32 = 108;

    /// The nearest to one of the cluster's.
    pub fn of(errno: i32) -> u32 {
        match errno {
            1 | 13 | 30 => EPERM,
            22 => EINVAL,
            27 | 28 | 122 => ENOSPC,
            95 => ENOTSUP,
            108 => ESHUTDOWN,
            _ => EIO,
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub flags: u16,
    pub command: u16,
    pub cookie: u64,
    pub offset: u64,
    pub length: u32,
}

impl Request {
    /// `None`: it does not begin as a request does, and nobody knows where the next one would.
    pub fn parse(bytes: &[u8; REQUEST_BYTES]) -> Option<Request> {
        let mut fields = Fields(bytes);
        (fields.u32()? == REQUEST_MAGIC).then_some(())?;
        Some(Request {
            flags: fields.u16()?,
            command: fields.u16()?,
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: fields.u32()?,
        })
    }
}

/// The head of an option: its number and the length of its data.
pub fn parse_option(bytes: &[u8; OPTION_HEADER_BYTES]) -> Option<(u32, u32)> {
    let mut fields = Fields(bytes);
    (fields.u64()? == OPTION_MAGIC).then_some(())?;
    Some((fields.u32()?, fields.u32()?))
}

/// What INFO and GO ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoRequest {
    pub export: String,
    pub wanted: Vec<u16>,
}

impl InfoRequest {
    /// `None` unless the data is exactly one.
    pub fn parse(data: &[u8]) -> Option<InfoRequest> {
        let mut fields = Fields(data);
        let export = fields.text()?;
        let count = fields.u16()?;
        let wanted = (0..count).map(|_| fields.u16()).collect::<Option<Vec<u16>>>()?;
        fields.0.is_empty().then_some(InfoRequest { export, wanted })
    }
}

/// What LIST_META_CONTEXT and SET_META_CONTEXT ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextRequest {
    pub export: String,
    pub queries: Vec<String>,
}

impl ContextRequest {
    pub fn parse(data: &[u8]) -> Option<ContextRequest> {
        let mut fields = Fields(data);
        let export = fields.text()?;
        let count = fields.u32()?;
        let mut queries = Vec::new();
        for _ in 0..count {
            queries.push(fields.text()?);
        }
        fields.0.is_empty().then_some(ContextRequest { export, queries })
    }

    /// Whether `base:allocation` is among what is asked for. `lists`: no query asks for everything.
    pub fn wants_allocation(&self, lists: bool) -> bool {
        let matches = |query: &String| query == allocation::CONTEXT || (lists && query == "base:");
        (lists && self.queries.is_empty()) || self.queries.iter().any(matches)
    }
}

/// Reads fields from the front; `None` where there are too few bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&mut self) -> Option<u16> {
        self.0.split_off(..2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.0.split_off(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.0.split_off(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
    }

    /// A length and so many bytes of UTF-8.
    fn text(&mut self) -> Option<String> {
        let length = self.u32()?;
        let bytes = self.0.split_off(..usize::try_from(length).ok()?)?;
        String::from_utf8(bytes.to_vec()).ok()
    }
}

pub fn greeting() -> Vec<u8> {
    let flags = handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES;
    [&MAGIC.to_be_bytes()[..], &OPTION_MAGIC.to_be_bytes(), &flags.to_be_bytes()].concat()
}

pub fn option_reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut reply = Vec::with_capacity(20 + data.len());
    reply.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    for field in [option, kind, length] {
        reply.extend(field.to_be_bytes());
    }
    reply.extend(data);
    reply
}

pub fn simple_reply(error: u32, cookie: u64) -> Vec<u8> {
    [&SIMPLE_REPLY_MAGIC.to_be_bytes()[..], &error.to_be_bytes(), &cookie.to_be_bytes()].concat()
}

/// The head of a chunk of a structured reply, with the fields that come before its data.
pub fn chunk(kind: u16, is_last: bool, cookie: u64, fields: &[u8], data_length: u32) -> Vec<u8> {
    let flags = if is_last { chunk::FLAG_DONE } else { 0 };
    let length = u32::try_from(fields.len()).unwrap_or(u32::MAX).saturating_add(data_length);
    let mut head = Vec::with_capacity(20 + fields.len());
    head.extend(STRUCTURED_REPLY_MAGIC.to_be_bytes());
    head.extend(flags.to_be_bytes());
    head.extend(kind.to_be_bytes());
    head.extend(cookie.to_be_bytes());
    head.extend(length.to_be_bytes());
    head.extend(fields);
    head
}

/// A chunk that ends a reply with an error. Long messages are cut.
pub fn error_chunk(error: u32, message: &str, cookie: u64) -> Vec<u8> {
    let mut end = message.len().min(1024);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let message = message.get(..end).unwrap_or_default().as_bytes();
    let length = message.len() as u16;
    let fields = [&error.to_be_bytes()[..], &length.to_be_bytes(), message].concat();
    chunk(chunk::ERROR, true, cookie, &fields, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
    }

    #[test]
    fn an_option_that_says_more_than_it_has_is_refused() {
        let whole = [text("data/disk"), vec![0, 2, 0, 3, 0, 1]].concat();
        let parsed = InfoRequest { export: "data/disk".into(), wanted: vec![info::BLOCK_SIZE, info::NAME] };
        assert_eq!(InfoRequest::parse(&whole), Some(parsed));
        for end in 0..whole.len() {
            assert_eq!(InfoRequest::parse(&whole[..end]), None, "cut at {end}");
        }
        assert_eq!(InfoRequest::parse(&[whole, vec![0]].concat()), None);
    }

    #[test]
    fn a_query_for_the_namespace_lists_its_context_but_does_not_set_it() {
        let request = |queries: &[&str]| {
            let count = (queries.len() as u32).to_be_bytes().to_vec();
            let all = [text("e"), count, queries.iter().flat_map(|query| text(query)).collect()].concat();
            ContextRequest::parse(&all).unwrap()
        };
        assert!(request(&["base:"]).wants_allocation(true) && !request(&["base:"]).wants_allocation(false));
        assert!(request(&["x:y", "base:allocation"]).wants_allocation(false));
        assert!(request(&[]).wants_allocation(true) && !request(&[]).wants_allocation(false));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = InfoRequest::parse(&bytes);
            let _ = ContextRequest::parse(&bytes);
            if let Some(head) = bytes.first_chunk() {
                let _ = Request::parse(head);
            }
            if let Some(head) = bytes.first_chunk() {
                let _ = parse_option(head);
            }
        }

        #[test]
        fn an_error_chunk_says_how_long_its_message_is(message in ".{0,2000}") {
            let chunk = error_chunk(error::EIO, &message, 7);
            let length = u16::from_be_bytes([chunk[24], chunk[25]]) as usize;
            prop_assert_eq!(chunk.len(), 26 + length);
            prop_assert!(std::str::from_utf8(&chunk[26..]).is_ok());
        }
    }
}
