//! Every bound of this crate.

use std::time::Duration;

/// How long an operation is tried before it fails with ETIMEDOUT, unless configured.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one attempt to connect may take, handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Back-off between attempts: doubles from the first to the second, with jitter.
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(20);
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);
/// Requests in flight, in all; more wait their turn.
pub const REQUESTS_MAX: u64 = 4096;
/// Payload bytes of requests in flight, in all.
pub const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// Operations in one request.
pub const OPERATIONS_MAX: usize = 1024;
/// The longest object name, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Names asked of one placement group at a time.
pub const LIST_PAGE: u32 = 1024;
