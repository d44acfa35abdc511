//! Every bound of this crate, and how they relate.

use basalt_net::limits::PAYLOAD_BYTES_MAX;
use std::time::Duration;

/// How long an operation is tried before it fails with ETIMEDOUT, unless configured.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one attempt to connect may take, handshake included, unless configured.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Back-off between attempts: doubles from the first to the second, and is spread at random over its upper half.
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(20);
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);
/// A peer that owes an answer and is silent for so long is asked for a sign of life.
pub const PING_AFTER: Duration = Duration::from_secs(4);
/// A peer that gave none for so long is taken for dead. Long, because cutting off an overloaded peer makes it no faster.
pub const DEAD_AFTER: Duration = Duration::from_secs(16);
/// How often that is looked at.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Requests in flight, in all; more wait their turn.
pub const REQUESTS_MAX: u64 = 4096;
/// Payload bytes of requests in flight and of the answers they ask for, in all.
pub const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// Operations in one request.
pub const OPERATIONS_MAX: usize = 1024;
/// The longest object name, in bytes. OSDs take [`PIECE_SUFFIX_BYTES`] more, for the pieces of striped objects.
pub const NAME_BYTES_MAX: usize = 2048;
/// A zero byte, then generation and index in hexadecimal.
pub const PIECE_SUFFIX_BYTES: usize = 33;
/// Bytes written or read by one request.
pub const TRANSFER_BYTES_MAX: u64 = PAYLOAD_BYTES_MAX as u64;

/// Names asked of one placement group at a time, and kept of all groups together.
pub const LIST_PAGE_MAX: u32 = 1024;
pub const LIST_NAMES_MAX: u32 = 1 << 17;
/// Placement groups asked at the same time.
pub const LIST_JOBS: usize = 32;

/// A larger object is stored in pieces, this many bytes each but for the last.
pub const STRIPE_UNIT: u64 = 4 << 20;
pub const PLAIN_BYTES_MAX: u64 = 8 << 20;
/// Pieces in flight.
pub const STRIPE_JOBS: usize = 4;

const _: () = {
    assert!(TRANSFER_BYTES_MAX <= REQUEST_BYTES_MAX);
    assert!(PLAIN_BYTES_MAX <= TRANSFER_BYTES_MAX);
    assert!(STRIPE_UNIT <= PLAIN_BYTES_MAX && PLAIN_BYTES_MAX.is_multiple_of(STRIPE_UNIT));
    assert!(PING_AFTER.as_millis() * 2 <= DEAD_AFTER.as_millis());
    assert!(DEAD_AFTER.as_millis() < OPERATION_TIMEOUT.as_millis());
};
