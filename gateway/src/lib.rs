//! Other people's protocols on top of `client`: objects over [`s3`], block images over [`nbd`].

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod nbd;
pub mod s3;
