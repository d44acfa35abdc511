//! The map as people write it, in `crushtool`'s language, both ways.

mod compile;
mod decompile;
mod token;

pub use compile::{CompileError, compile};
