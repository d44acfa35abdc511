//! A daemon's part on a thread of its own: it is told to stop, and noticed when it ends by itself.

use basalt_cli::{Failure, Result, errno};
use std::thread::JoinHandle;
use tokio::sync::watch;

pub struct Service {
    name: &'static str,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    thread: JoinHandle<Result<()>>,
}

/// Given to the part: resolves when it is to stop.
pub struct StopRequest(watch::Receiver<bool>);

impl StopRequest {
    pub async fn wanted(mut self) {
        // A sender that is gone has nobody left to serve for.
        let _ = self.0.wait_for(|wanted| *wanted).await;
    }
}

impl Service {
    pub fn start(name: &'static str, body: impl FnOnce(StopRequest) -> Result<()> + Send + 'static) -> Result<Service> {
        let (stop, stop_request) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                // Dropped, and so noticed, also when the body panics.
                let _end = end;
                body(StopRequest(stop_request))
            })
            .map_err(|error| {
                Failure::new(errno::of_io(&error), format!("cannot start the {name}'s thread: {error}"))
            })?;
        Ok(Service { name, stop, ended, thread })
    }

    /// Resolves when the part has ended, asked or not.
    pub async fn ended(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Asks the part to stop, waits for it and returns how it ended.
    pub fn stop(self) -> Result<()> {
        let _ = self.stop.send(true);
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::new(
                libc::ENOTRECOVERABLE,
                format!("the {} ended by a bug; see the line above", self.name),
            )),
        }
    }
}
