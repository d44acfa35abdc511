//! What an NBD server has been asked for since its start.

use super::wire::command;
use basalt_ring::local::{Latencies, LatencyHistogram};
use std::cell::Cell;
use std::time::Duration;

/// What is not one of these is the last.
pub const COMMANDS: [(&str, u16); 7] = [
    ("read", command::READ),
    ("write", command::WRITE),
    ("flush", command::FLUSH),
    ("trim", command::TRIM),
    ("write_zeroes", command::WRITE_ZEROES),
    ("block_status", command::BLOCK_STATUS),
    ("other", u16::MAX),
];

/// Of the server's one thread.
#[derive(Default)]
pub struct Counts {
    commands: [OfCommand; COMMANDS.len()],
}

#[derive(Default)]
struct OfCommand {
    latencies: LatencyHistogram,
    bytes: Cell<u64>,
    failures: Cell<u64>,
}

#[derive(Clone, Debug)]
pub struct NbdFigures {
    pub connections: u64,
    pub commands: Vec<CommandFigures>,
}

#[derive(Clone, Debug)]
pub struct CommandFigures {
    pub command: &'static str,
    pub latencies: Latencies,
    /// That were asked for, of those that succeeded.
    pub bytes: u64,
    pub failures: u64,
}

impl Counts {
    pub fn note(&self, asked: u16, bytes: u32, is_done: bool, took: Duration) {
        let place = COMMANDS.iter().position(|(_, known)| *known == asked).unwrap_or(COMMANDS.len() - 1);
        let Some(of_command) = self.commands.get(place) else { return };
        of_command.latencies.observe(took);
        if is_done {
            of_command.bytes.set(of_command.bytes.get().saturating_add(bytes.into()));
        } else {
            of_command.failures.set(of_command.failures.get() + 1);
        }
    }

    pub fn get(&self) -> Vec<CommandFigures> {
        let figures = COMMANDS.into_iter().zip(&self.commands).map(|((command, _), of_command)| CommandFigures {
            command,
            latencies: of_command.latencies.get(),
            bytes: of_command.bytes.get(),
            failures: of_command.failures.get(),
        });
        figures.collect()
    }
}
