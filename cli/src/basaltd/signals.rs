//! SIGTERM and SIGINT as a wish to stop, for every thread to see.

use basalt_cli::{Failure, Result, errno};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Resolves, now or later, when somebody wants the process to stop.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    pub async fn wanted(&self) {
        // The sender lives as long as the process; were it gone, stopping would be right too.
        let _ = self.0.clone().wait_for(|wanted| *wanted).await;
    }
}

/// Takes the two signals over from now on. A second signal ends the process at once: the stores survive that.
pub fn listen() -> Result<Stop> {
    let failed =
        |error: std::io::Error| Failure::new(errno::of_io(&error), format!("cannot listen for signals: {error}"));
    let (sender, receiver) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::interrupt()).map_err(failed)?)
    };
    let listener = move || {
        runtime.block_on(async move {
            for already_stopping in [false, true] {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if already_stopping {
                    tracing::warn!(signal = name, "second signal: ends at once");
                    std::process::exit(128 + libc::SIGTERM);
                }
                tracing::info!(signal = name, "stopping");
                let _ = sender.send(true);
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(listener).map_err(failed)?;
    Ok(Stop(receiver))
}
