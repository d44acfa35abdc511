//! `basaltd`: the daemons, and the tools for stores at rest.

mod arguments;
mod central;
mod dev;
mod devices;
mod examples;
mod fsck;
mod metrics;
mod mkfs;
mod nbd;
mod notify;
mod pid_file;
mod roles;
mod s3;
mod service;
mod signals;
mod supervisor;

use arguments::{Arguments, Command};
use basalt_blockstore::fsck::FsckOptions;
use basalt_cli::output::{Format, Output};
use basalt_cli::{Failure, Result};
use basalt_cli::{command_line, paperwork};
use basalt_cluster::Config;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    command_line::run_arguments(examples::EXAMPLES, dispatch)
}

fn dispatch(arguments: Arguments) -> Result<ExitCode> {
    log_to_stderr();
    if let Some(files) = basalt_ring::heap::raise_open_files_limit() {
        tracing::debug!(files, "open files at the most");
    }
    match arguments.command {
        Command::Dev(dev) => dev::run(&dev),
        Command::Mon(role) => roles::monitor(&config(&role.config)?),
        Command::Osd { role, supervised } => roles::osd(&config(&role.config)?, supervised),
        Command::Nbd(role) => nbd::run(&config(&role.config)?),
        Command::S3(role) => s3::run(&config(&role.config)?),
        Command::Completion { shell } => print(&paperwork::completion::<Arguments>(shell)),
        Command::Man { dir } => {
            paperwork::man_pages::<Arguments>("8", &dir)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Mkfs { role, osd, force } => mkfs::run(&config(&role.config)?, osd, force, arguments.format),
        Command::Fsck { base, hot, deep, repair } => {
            fsck::run(&base, hot.as_deref(), FsckOptions { deep, repair }, arguments.format)
        }
    }
}

fn print(bytes: &[u8]) -> Result<ExitCode> {
    let mut output = Output::new(Format::Plain);
    output.bytes(bytes)?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn config(path: &Path) -> Result<Config> {
    Config::load(path).map_err(|error| {
        let failure = Failure::from(error);
        match failure.errno() {
            libc::ENOENT => {
                Failure::new(libc::ENOENT, format!("{}; name the configuration with --config FILE", failure.message()))
            }
            _ => failure,
        }
    })
}

/// `BASALT_LOG` takes filters as `RUST_LOG` does elsewhere: `debug`, or `basalt_osd=trace,info`.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("BASALT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call finds a logger in place, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .try_init();
}
