//! What peers say to each other, as `rkyv` archives; always validated before use.

pub mod monitor;
pub mod object;
