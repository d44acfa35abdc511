//! What the two commands, `basalt` (objects, administration, bench) and `basaltd` (daemons, mkfs, fsck), share: how they are told
//! what to do, how they answer and how they fail.
//!
//! Stores nothing and decides nothing about data: commands travel to the monitor and the OSDs through `client`, daemons run in `osd`
//! and `cluster`. Promises: what a person sees on stdout is the answer and nothing else; a failure is one line on stderr,
//! `Error ENAME: what is wrong, and what would be right`, and its number is the exit status; progress goes to stderr, and only to a
//! terminal; a reader that closes the pipe early is no error. Called by people and scripts, so every argument may be wrong.
//! Start reading at `basalt/main.rs` and `basaltd/main.rs`.

pub mod command_line;
pub mod errno;
pub mod failure;
pub mod name_text;
pub mod output;
pub mod paperwork;
pub mod table;

pub use failure::{Failure, Result};
