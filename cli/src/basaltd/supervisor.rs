//! What a host's process and the process that started it say to each other, over the child's stdin and stdout.
//!
//! The child prints `ready` once all its OSDs are up. It stops cleanly when it reads `stop`, and ends at once when its stdin ends: then
//! nobody is left whose cluster it is part of, and its stores survive that as they survive a power cut.

use basalt_cli::{Failure, Result, errno};
use std::io::{BufRead, Write};
use tokio::sync::watch;

pub const READY: &str = "ready";
pub const STOP: &str = "stop";

/// The one who started this process.
pub struct Supervisor(watch::Receiver<bool>);

impl Supervisor {
    pub fn listen() -> Result<Supervisor> {
        let (sender, receiver) = watch::channel(false);
        let listener = move || {
            for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
                if line == STOP {
                    tracing::info!("told to stop");
                    let _ = sender.send(true);
                }
            }
            tracing::warn!("whoever started this process is gone: ends at once");
            std::process::exit(libc::EXIT_FAILURE);
        };
        std::thread::Builder::new().name("supervisor".into()).spawn(listener).map_err(|error| {
            Failure::new(errno::of_io(&error), format!("cannot listen to whoever started this process: {error}"))
        })?;
        Ok(Supervisor(receiver))
    }

    pub fn wants_stop(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when this process is to stop.
    pub async fn stop_wanted(&self) {
        let _ = self.0.clone().wait_for(|wanted| *wanted).await;
    }

    pub fn say_ready(&self) {
        // If it is gone, stdin says so.
        let _ = writeln!(std::io::stdout(), "{READY}");
    }
}
