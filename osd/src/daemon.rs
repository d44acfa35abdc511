//! A host's OSDs as threads of this process: one for each core that has any, and one for control.

use crate::control_thread::{ControlThread, Core};
use crate::core_loop::{self, News, Order};
use crate::cpu_list;
use crate::figures::FiguresOfHost;
use crate::host_config::{HostConfig, OsdDevices};
use crate::host_status::{self, HostStatus, Phase, Waited};
use crate::{Error, Result, limits};
use basalt_net::Trust;
use basalt_ring::{mailbox, uring};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc as blocking};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A host that was started. Dropped without [`Host::stop`], it is stopped all the same, and what goes wrong is only logged.
pub struct Host {
    public_address: SocketAddr,
    status: Arc<HostStatus>,
    cores: Vec<mailbox::Sender<Order>>,
    trust: Trust,
    stop: watch::Sender<bool>,
    threads: Vec<(String, JoinHandle<()>)>,
}

impl Host {
    /// Binds the public address and starts the threads. The OSDs open beside; see [`Host::wait_ready`].
    pub fn start(config: HostConfig) -> Result<Host> {
        config.check()?;
        let config = Arc::new(config);
        let failed = |source| Error::Listen { address: config.public_address, source };
        let listener = TcpListener::bind(config.public_address).map_err(failed)?;
        let public_address = listener.local_addr().map_err(failed)?;
        let failed = |source| Error::Listen { address: config.cluster_address, source };
        let cluster_listener = TcpListener::bind(config.cluster_address).map_err(failed)?;
        let cluster_address = cluster_listener.local_addr().map_err(failed)?;
        let status = Arc::new(HostStatus::new(config.osds.iter().map(|osd| osd.id)));
        let (stop, stopped) = watch::channel(false);
        let (news_sender, news) = mpsc::unbounded_channel::<News>();
        let trust = config.identity.trust.clone();
        let (cores, threads) = (Vec::new(), Vec::new());
        let mut host = Host { public_address, status: status.clone(), cores, trust, stop, threads };
        let mut cores = Vec::new();
        for (cpu, devices) in by_cpu(&config.osds) {
            let (orders, receiver) = mailbox::channel(limits::CORE_MAILBOX_MAX);
            host.cores.push(orders.clone());
            cores.push(Core { osds: devices.iter().map(|osd| osd.id).collect(), orders });
            let (config, news) = (config.clone(), news_sender.clone());
            let ring =
                uring::UringConfig { cpu: Some(cpu), busy_poll: config.busy_poll, ..uring::UringConfig::default() };
            host.spawn(format!("osd-core-{cpu}"), move || {
                let osds: Vec<u32> = devices.iter().map(|osd| osd.id).collect();
                let tell = {
                    let news = news.clone();
                    // A control thread that is gone has no use for news.
                    move |item| drop(news.send(item))
                };
                if let Err(source) = uring::run(ring, |ring| core_loop::run(ring, config, devices, receiver, tell)) {
                    tracing::error!(cpu, %source, "the core's ring failed");
                    for osd in osds {
                        let error = Error::Ring { cpu, source: std::io::Error::new(source.kind(), source.to_string()) };
                        drop(news.send(News::OpenFailed { osd, error }));
                    }
                }
            })?;
        }
        drop(news_sender);
        let control = ControlThread {
            config,
            listener,
            cluster_listener,
            public_address,
            cluster_address,
            cores,
            news,
            status,
            stop: stopped,
        };
        host.spawn("osd-control".into(), move || control.run())?;
        Ok(host)
    }

    /// Where clients reach it, with the port that was chosen.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// By which its OSDs' figures are asked for, on any thread.
    pub fn figures(&self) -> FiguresOfHost {
        FiguresOfHost::new(self.cores.clone(), self.trust.clone())
    }

    /// Waits until every OSD is open, known to the monitor, and goes by a map that has it up.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        match self.status.wait_ready(limit) {
            Waited::Ready => Ok(()),
            Waited::Failed { errno, reason } => Err(Error::Osd { errno, reason }),
            Waited::TimedOut(missing) => Err(Error::NotReady { seconds: limit.as_secs(), missing }),
        }
    }

    pub fn phases(&self) -> BTreeMap<u32, Phase> {
        self.status.phases()
    }

    /// Why nobody is served: every OSD's reason, and the errno of the first. `None` while any OSD is served, or may yet be.
    pub fn failure(&self) -> Option<Error> {
        host_status::none_serves(&self.status.phases())
    }

    /// Whether every thread still runs.
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|(_, thread)| !thread.is_finished())
    }

    /// Ends the sessions, lets what was begun end, checkpoints and closes the stores. The first thing that went wrong is the error.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        // The control thread may have ended by itself.
        let _ = self.stop.send(true);
        let mut outcome = Ok(());
        for (name, thread) in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(thread = name, "panicked");
                outcome = outcome.and(Err(Error::Panicked(name)));
            }
        }
        let unclean = self.status.phases().into_values().find_map(|phase| match phase {
            Phase::Stopped(Some(reason)) => Some(reason),
            _ => None,
        });
        outcome.and(match unclean {
            Some(reason) => Err(Error::Osd { errno: libc::EIO, reason }),
            None => Ok(()),
        })
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = Builder::new()
            .name(name.clone())
            .spawn(work)
            .map_err(|source| Error::Thread { what: name.clone(), source })?;
        self.threads.push((name, thread));
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the host did not stop cleanly");
        }
    }
}

/// Starts a host and runs it until `shutdown` gets a message or loses its sender, or until no OSD is left.
pub fn run_host(config: HostConfig, shutdown: blocking::Receiver<()>) -> Result<()> {
    let host = Host::start(config)?;
    while let Err(blocking::RecvTimeoutError::Timeout) = shutdown.recv_timeout(HEALTH_INTERVAL) {
        if let Some(failure) = host.failure() {
            return Err(failure);
        }
        if !host.is_running() {
            tracing::error!("a thread of the host has ended by itself; stopping the others");
            break;
        }
    }
    host.stop()
}

const HEALTH_INTERVAL: Duration = Duration::from_millis(200);

/// Which OSDs each CPU gets: the configured one, or spread by number over those this process may use.
fn by_cpu(osds: &[OsdDevices]) -> BTreeMap<usize, Vec<OsdDevices>> {
    let allowed = cpu_list::allowed();
    let mut cores: BTreeMap<usize, Vec<OsdDevices>> = BTreeMap::new();
    for osd in osds {
        // By the OSD's number and not its place, so that several daemons on one machine spread as well.
        let spread = allowed.get(osd.id as usize % allowed.len().max(1)).copied().unwrap_or(0);
        cores.entry(osd.core.unwrap_or(spread)).or_default().push(osd.clone());
    }
    cores
}
