//! What a development cluster serves besides objects.

use super::folder::Configurations;
use crate::arguments::Dev;
use crate::metrics::Sources;
use crate::nbd::NbdFiguresAsker;
use crate::service::Service;
use crate::{nbd, s3};
use basalt_cli::{Failure, Result};
use basalt_cluster::config::NbdSection;
use basalt_gateway::s3::Gateway as S3Gateway;
use std::future;

pub struct Gateways {
    nbd: Option<Service>,
    nbd_figures: Option<NbdFiguresAsker>,
    s3: Option<S3Gateway>,
}

impl Gateways {
    /// Those that were asked for. Returns once they listen.
    pub fn start(dev: &Dev, configurations: &Configurations) -> Result<Gateways> {
        let s3 = dev.s3.map(|listen| s3::start_beside(&configurations.cluster, listen)).transpose()?;
        let nbd = dev.nbd.as_ref().map(|socket| {
            let section = NbdSection { sockets: vec![socket.clone()], ..NbdSection::default() };
            nbd::start(&configurations.cluster, &section)
        });
        let (nbd, nbd_figures) = nbd.transpose()?.unzip();
        Ok(Gateways { nbd, nbd_figures, s3 })
    }

    /// Their part of what the process tells.
    pub fn add_to(&self, sources: Sources) -> Sources {
        Sources { s3: self.s3.as_ref().map(S3Gateway::counts), nbd: self.nbd_figures.clone(), ..sources }
    }

    /// Resolves, with the reason, when one has ended although nobody asked it to.
    pub async fn have_ended(&self) -> Failure {
        let nbd = async {
            match &self.nbd {
                Some(nbd) => nbd::has_ended(nbd).await,
                None => future::pending().await,
            }
        };
        let s3 = async {
            match &self.s3 {
                Some(gateway) => s3::has_ended(gateway).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            failure = nbd => failure,
            failure = s3 => failure,
        }
    }

    pub fn stop(self) -> Result<()> {
        if let Some(gateway) = self.s3 {
            gateway.stop();
        }
        self.nbd.map_or(Ok(()), Service::stop)
    }
}
