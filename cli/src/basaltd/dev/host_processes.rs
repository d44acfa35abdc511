//! The hosts of a development cluster as processes of their own. They end with this one, however it ends; one of them that ends before
//! is told of in the log, and not started again.

use crate::signals::Stop;
use crate::supervisor::{READY, STOP};
use basalt_cli::{Failure, Result};
use basalt_cluster::Config;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A host whose OSDs take longer to open is taken for stuck.
const READY_TIMEOUT: Duration = Duration::from_secs(600);
/// What is under way may take so long to end; then the host is killed, which its stores survive.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub struct HostProcesses(Vec<HostProcess>);

struct HostProcess {
    name: String,
    child: Child,
    /// Says once that all OSDs are up; its sender goes with the process.
    ready: Receiver<()>,
    ended: Option<ExitStatus>,
}

impl HostProcesses {
    /// One for each configuration.
    pub fn start(configs: &[Config]) -> Result<HostProcesses> {
        let mut hosts = HostProcesses(Vec::new());
        for config in configs {
            hosts.0.push(HostProcess::start(config)?);
        }
        Ok(hosts)
    }

    /// Returns false if the cluster is to stop before all are ready.
    pub fn wait_ready(&self, stop: &Stop) -> Result<bool> {
        let begun = Instant::now();
        for host in &self.0 {
            loop {
                match host.ready.recv_timeout(POLL) {
                    Ok(()) => break,
                    _ if stop.is_wanted() => return Ok(false),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Failure::new(libc::EIO, format!("{} ended; its log above says why", host.name)));
                    }
                    Err(RecvTimeoutError::Timeout) if begun.elapsed() > READY_TIMEOUT => {
                        return Err(Failure::new(
                            libc::ETIMEDOUT,
                            format!("the OSDs of {} are not up after {} s", host.name, READY_TIMEOUT.as_secs()),
                        ));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        }
        Ok(true)
    }

    /// Never ends: tells of hosts that did.
    pub async fn watch(&mut self) {
        loop {
            for host in self.0.iter_mut().filter(|host| host.ended.is_none()) {
                if let Ok(Some(status)) = host.child.try_wait() {
                    tracing::warn!(host = host.name, pid = host.child.id(), "ended: {}", describe(status));
                    host.ended = Some(status);
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Stops all that still run, at once. The first one that does not end well is the error.
    pub fn stop(mut self) -> Result<()> {
        for host in &mut self.0 {
            if let Some(mut pipe) = host.child.stdin.as_ref() {
                // One that is gone needs no telling.
                let _ = writeln!(pipe, "{STOP}");
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut outcome = Ok(());
        for host in self.0.iter_mut().filter(|host| host.ended.is_none()) {
            let status = host.wait(deadline);
            // Killed by somebody else: its stores survive that, and nothing is left to stop.
            if !status.is_some_and(|status| status.success() || status.signal().is_some()) {
                let how = status.map_or_else(|| "did not end in time, and was killed".to_owned(), describe);
                outcome =
                    outcome.and(Err(Failure::new(libc::EIO, format!("{} did not stop cleanly: {how}", host.name))));
            }
        }
        outcome
    }
}

/// What is not stopped is killed.
impl Drop for HostProcesses {
    fn drop(&mut self) {
        for host in &mut self.0 {
            let _ = host.child.kill();
            let _ = host.child.wait();
        }
    }
}

impl HostProcess {
    fn start(config: &Config) -> Result<HostProcess> {
        let name = config.osd.as_ref().map_or_else(String::new, |section| section.host.clone());
        let failed =
            |error: &std::io::Error| Failure::file(&config.path, error).while_doing(format_args!("starting {name}"));
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut child = Command::new(program)
            .args(["osd", "--supervised", "--config"])
            .arg(&config.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's Ctrl-C is for this process, which stops the others.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error))?;
        let (sender, ready) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                    if line == READY {
                        let _ = sender.send(());
                    }
                }
            });
        }
        Ok(HostProcess { name, child, ready, ended: None })
    }

    /// `None`: it had to be killed.
    fn wait(&mut self, deadline: Instant) -> Option<ExitStatus> {
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        None
    }
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => format!("exit status {}", status.code().unwrap_or_default()),
    }
}
