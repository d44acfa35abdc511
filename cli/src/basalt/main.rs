//! `basalt`: objects, administration and bench, each command a short life: words, one ring, one client, one answer.

mod administration;
mod arguments;
mod auth;
mod bench;
mod bucket;
mod config;
mod connection;
mod crush;
mod deep_scrub;
mod disk;
mod document;
mod drain;
mod examples;
mod host_file;
mod image;
mod iostat;
mod maintenance;
mod obj;
mod osd_crush;
mod pg;
mod plain;
mod report;
mod setup;
mod slow_ops;
mod tier_simulate;
mod top;
mod user;

mod yardstick;

use arguments::{Arguments, Command, TierTool};
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_cli::{command_line, paperwork};
use clap::CommandFactory;
use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::run_arguments(examples::EXAMPLES, dispatch)
}

fn dispatch(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { global, status, command } = arguments;
    let command = match (command, status) {
        (Some(Command::Status) | None, true) => Command::Status,
        (Some(_), true) => return Err(Failure::invalid("-s is the command `status` itself: give it alone")),
        (Some(command), false) => command,
        (None, false) => {
            let names: Vec<String> =
                Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
            return Err(Failure::invalid(format!("a command is missing: one of {}", names.join(", "))));
        }
    };
    match command {
        Command::Obj(command) => obj::run(&global, command),
        Command::Image(command) => image::run(&global, command),
        Command::Bootstrap(arguments) => setup::bootstrap(&global, &arguments),
        Command::Host(command) => setup::host(&global, command),
        Command::Disk(command) => disk::run(&global, command),
        Command::Completion { shell } => {
            let mut output = Output::new(global.format);
            output.bytes(&paperwork::completion::<Arguments>(shell))?;
            output.finish()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir } => {
            paperwork::man_pages::<Arguments>("1", &dir)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench { words } => bench::run(&global, words),
        Command::Crush(command) => crush::run(&global, command),
        Command::Tier(TierTool::Simulate(arguments)) => tier_simulate::run(&global, &arguments),
        Command::User(command) => user::run(&global, command),
        Command::Bucket(command) => bucket::run(&global, command),
        Command::Gc(command) => bucket::collect(&global, command),
        Command::Lc(command) => bucket::expire(&global, command),
        Command::Auth(command) => auth::run(&global, command),
        command => administration::run(&global, command),
    }
}
