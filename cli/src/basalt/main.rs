//! `basalt`: objects, administration and bench, each command a short life: words, one ring, one client, one answer.

mod administration;
mod arguments;
mod auth;
mod bench;
mod bucket;
mod connection;
mod crush;
mod deep_scrub;
mod document;
mod drain;
mod examples;
mod image;
mod iostat;
mod obj;
mod osd_crush;
mod pg;
mod plain;
mod report;
mod slow_ops;
mod tier_simulate;
mod top;
mod user;

mod yardstick;

use arguments::{Arguments, Command, TierTool};
use basalt_cli::command_line;
use basalt_cli::{Failure, Result};
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
