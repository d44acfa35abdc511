//! `basaltd nbd`: block images as NBD exports, on a ring thread of its own.

use crate::devices::on_ring;
use crate::metrics::{Endpoint, Sources};
use crate::notify;
use crate::roles;
use crate::service::Service;
use crate::signals;
use basalt_cli::{Failure, Result};
use basalt_client::ClientConfig;
use basalt_cluster::Config;
use basalt_cluster::config::{ClientRole, NbdSection};
use basalt_gateway::nbd::{ExportPolicy, Listen, NbdFigures, Server, ServerConfig, TlsFiles};
use basalt_ring::local::select;
use basalt_ring::mailbox;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::mpsc;
use tokio::sync::oneshot;

type Question = oneshot::Sender<NbdFigures>;

/// Questions that wait for the server's thread.
const QUESTIONS_MAX: usize = 4;

/// Asks the server's thread for its figures, from any other.
#[derive(Clone)]
pub struct NbdFiguresAsker {
    questions: mailbox::Sender<Question>,
}

impl NbdFiguresAsker {
    /// `None`: it is too busy, or has ended. Under a tokio runtime with time.
    pub async fn ask(&self) -> Option<NbdFigures> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(answer).ok()?;
        tokio::time::timeout(crate::metrics::NBD_ANSWER_MAX, answered).await.ok()?.ok()
    }
}

pub fn run(config: &Config) -> Result<ExitCode> {
    let section = config.nbd.as_ref().ok_or_else(|| {
        Failure::invalid(format!(
            "{} has no section [nbd]; it says where to listen: socket = [\"/run/basalt/nbd.sock\"]",
            config.path.display()
        ))
    })?;
    let stop = signals::listen()?;
    let (service, figures) = start(config, section)?;
    let sources = Sources { nbd: Some(figures), ..Sources::default() };
    let _metrics = Endpoint::start(config.metrics.as_ref(), |section| section.nbd, "nbd", sources)?;
    notify::ready("serves");
    let outcome = roles::run_until(stop, async { Err(has_ended(&service).await) });
    notify::stopping();
    // What the server itself says is nearer to the cause.
    service.stop()?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

pub async fn has_ended(service: &Service) -> Failure {
    service.ended().await;
    Failure::new(libc::EIO, "the NBD server ended although nobody asked it to")
}

/// Returns once it listens.
pub fn start(config: &Config, section: &NbdSection) -> Result<(Service, NbdFiguresAsker)> {
    let config = server_config(config, section)?;
    let (questions, mut asked) = mailbox::channel::<Question>(QUESTIONS_MAX);
    let (ready, when_ready) = mpsc::channel();
    let service = Service::start("nbd", move |stop| {
        on_ring(async |ring| {
            let server = Server::start(&ring, config).await?;
            for address in server.addresses() {
                tracing::info!(%address, "serves images by NBD");
            }
            let _ = ready.send(());
            let answering = async {
                while let Some(question) = asked.receive().await {
                    // Whoever asked may not have waited.
                    let _ = question.send(server.figures());
                }
                std::future::pending::<()>().await;
            };
            select(pin!(stop.wanted()), pin!(answering)).await;
            server.close().await;
            Ok(())
        })
    })?;
    match when_ready.recv() {
        Ok(()) => Ok((service, NbdFiguresAsker { questions })),
        // It ended before it listened, and says why.
        Err(_) => {
            service.stop()?;
            Err(Failure::new(libc::EIO, "the NBD server ended before it listened"))
        }
    }
}

fn server_config(config: &Config, section: &NbdSection) -> Result<ServerConfig> {
    let tcp = section.listen.iter().map(|address| Listen::Tcp(*address));
    let unix = section.sockets.iter().map(|path| Listen::Unix(path.clone()));
    Ok(ServerConfig {
        cluster: ClientConfig::from_config(config, ClientRole::Nbd)?,
        listen: tcp.chain(unix).collect(),
        tls: section.tls.as_ref().map(|tls| TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            client_authorities: tls.client_authorities.clone(),
            is_required: tls.required,
        }),
        policy: ExportPolicy { pools: section.pools.clone(), is_read_only: section.read_only },
    })
}
