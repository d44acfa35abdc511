//! Every bound of the endpoint.

use std::time::Duration;

/// Connections at the same time; one more turns out the oldest, which has had its time.
pub const CONNECTIONS_MAX: usize = 32;
/// From the accept to the end of the answer.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Of a request's head. Nothing that is asked for needs more, and the library takes no less.
pub const HEAD_BYTES_MAX: usize = 8192;
pub const HEADERS_MAX: usize = 64;
/// Whoever asks again within this time is given the same figures: however often somebody asks, OSDs are asked so often.
pub const SCRAPE_AGE_MAX: Duration = Duration::from_millis(500);
/// What the page shows of the past: a look each so often, for an hour.
pub const HISTORY_INTERVAL: Duration = Duration::from_secs(5);
pub const HISTORY_MAX: usize = 720;
/// Of so many pools.
pub const HISTORY_POOLS_MAX: usize = 64;
/// How long the NBD server may take to say its figures.
pub const NBD_ANSWER_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(HEADER_TIME_MAX.as_millis() < CONNECTION_TIME_MAX.as_millis());
