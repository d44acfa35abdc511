//! What a development cluster serves besides objects.

use super::folder::Configurations;
use crate::arguments::Dev;
use crate::nbd;
use crate::service::Service;
use basalt_cli::{Failure, Result};
use basalt_cluster::config::NbdSection;

pub struct Gateways {
    nbd: Option<Service>,
}

impl Gateways {
    /// Those that were asked for. Returns once they listen.
    pub fn start(dev: &Dev, configurations: &Configurations) -> Result<Gateways> {
        let nbd = dev.nbd.as_ref().map(|socket| {
            let section = NbdSection { sockets: vec![socket.clone()], ..NbdSection::default() };
            nbd::start(&configurations.cluster, &section)
        });
        Ok(Gateways { nbd: nbd.transpose()? })
    }

    /// Resolves, with the reason, when one has ended although nobody asked it to.
    pub async fn have_ended(&self) -> Failure {
        match &self.nbd {
            Some(nbd) => nbd::has_ended(nbd).await,
            None => std::future::pending().await,
        }
    }

    pub fn stop(self) -> Result<()> {
        self.nbd.map_or(Ok(()), Service::stop)
    }
}
