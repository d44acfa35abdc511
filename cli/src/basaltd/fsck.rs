//! `basaltd fsck`: a store at rest, checked from its superblock to its last byte.

use basalt_cli::output::Format;
use basalt_cli::{Failure, Result};
use std::path::Path;
use std::process::ExitCode;

pub fn run(_base: &Path, _hot: Option<&Path>, _deep: bool, _format: Format) -> Result<ExitCode> {
    Err(Failure::new(libc::EOPNOTSUPP, "fsck is not wired yet"))
}
