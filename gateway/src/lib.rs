//! Other people's protocols on top of `client`.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod s3;
