//! Every bound of the NBD server.

use std::time::Duration;

/// The longest read or write, as recommended by the protocol.
pub const REQUEST_BYTES_MAX: u32 = 32 << 20;
/// What a connection may have in flight: bytes of data either way, and requests. A request takes at least [`REQUEST_COST`].
pub const CONNECTION_BYTES_MAX: u64 = 64 << 20;
pub const CONNECTION_REQUESTS_MAX: u64 = 256;
/// Connections at the same time.
pub const CONNECTIONS_MAX: usize = 256;
/// What all connections together may have in flight.
pub const SERVER_BYTES_MAX: u64 = 512 << 20;
/// Of an option's data.
pub const OPTION_BYTES_MAX: u32 = 16 << 10;
/// Of an export's name, as the protocol says.
pub const NAME_BYTES_MAX: u32 = 4096;
/// Options that a client may try before it chooses an export.
pub const OPTIONS_MAX: u32 = 128;
/// Exports that are listed.
pub const LISTED_EXPORTS_MAX: usize = 4096;
/// Extents in one answer about block status.
pub const EXTENTS_MAX: usize = 1024;
/// How long a client may take to choose an export, to send the rest of a request it has begun, and to take what it asked for.
pub const NEGOTIATION_MAX: Duration = Duration::from_secs(30);
pub const STALL_MAX: Duration = Duration::from_secs(60);
/// Bytes received at a time, as long as they are small requests.
pub const RECEIVE_BYTES: usize = 64 << 10;
/// Replies gathered into one send.
pub const GATHERED_REPLIES_MAX: usize = 64;
/// The preferred block.
pub const BLOCK_BYTES_PREFERRED: u32 = 4096;

const _: () = {
    assert!(REQUEST_BYTES_MAX as u64 <= CONNECTION_BYTES_MAX);
    assert!(CONNECTION_BYTES_MAX <= SERVER_BYTES_MAX);
    assert!(NAME_BYTES_MAX + 64 <= OPTION_BYTES_MAX);
};
