//! Other people's protocols on top of `client`: block images over [`nbd`]; S3 is to come.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod nbd;
