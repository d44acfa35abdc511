//! A client of one cluster: its map, its sessions, its requests.

use crate::cluster_view::{ClusterView, Target};
use crate::error::{EINVAL, ENOENT, ETIMEDOUT, Error, Result};
use crate::monitor_link::{Broken, MonitorLink};
use crate::osd_link::OsdLink;
use crate::request::{Answer, Request};
use crate::request_ids::RequestIds;
use crate::{Pool, limits, retry};
use basalt_cluster::Config;
use basalt_cluster::Map;
use basalt_cluster::config::ClientRole;
use basalt_net::key::KeyError;
use basalt_net::message::monitor::{AdminCommand, CommandReply};
use basalt_net::message::object::{OsdCommand, OsdCommandReply, OsdCommandRequest};
use basalt_net::{Credentials, EntityName, Fsid, Key, Software, Trust, WireMode};
use basalt_ring::Ring;
use basalt_ring::local::{Either, Semaphore, select};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub fsid: Fsid,
    /// Tried in turn.
    pub monitors: Vec<SocketAddr>,
    pub key: Key,
    /// `client.admin`, say.
    pub name: EntityName,
    /// By what monitors and OSDs are judged; taught by the maps that come in.
    pub trust: Trust,
    /// What is asked of monitors and OSDs.
    pub mode: WireMode,
    /// What it says that it runs.
    pub software: Software,
    pub connect_timeout: Duration,
    pub operation_timeout: Duration,
}

impl ClientConfig {
    /// What a configuration file says of a client in that role; reads the key.
    pub fn from_config(config: &Config, role: ClientRole) -> std::result::Result<ClientConfig, KeyError> {
        let (name, key_file) = config.client(role);
        let key = Key::load(key_file)?;
        let (trust, mode) = (config.trust(&key), config.public_mode);
        let shared = ClientConfig::new(Fsid(config.fsid.into_bytes()), config.monitors.clone(), key, name);
        Ok(ClientConfig { trust, mode, ..shared })
    }

    /// Of a cluster that has one key for all, with the default timeouts.
    pub fn new(fsid: Fsid, monitors: Vec<SocketAddr>, key: Key, name: EntityName) -> ClientConfig {
        ClientConfig {
            trust: Trust::shared(&key),
            mode: WireMode::Crc,
            software: Software::this(),
            fsid,
            monitors,
            key,
            name,
            connect_timeout: limits::CONNECT_TIMEOUT,
            operation_timeout: limits::OPERATION_TIMEOUT,
        }
    }

    /// As what it proves itself.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            fsid: self.fsid,
            key: self.key.clone(),
            name: self.name.clone(),
            trust: self.trust.clone(),
            mode: self.mode,
            software: self.software.clone(),
        }
    }
}

/// Cheap to clone; `!Send`. Its sessions end with its last clone and the last of its pools.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub ring: Ring,
    pub config: ClientConfig,
    pub view: ClusterView,
    pub ids: RequestIds,
    /// Requests that may be in flight, and their bytes.
    pub slots: Semaphore,
    pub bytes: Semaphore,
    monitor: MonitorLink,
    /// By OSD.
    links: RefCell<BTreeMap<u32, Rc<OsdLink>>>,
}

impl Inner {
    /// The session with an OSD, opened if there is none that works.
    pub fn link(&self, target: &Target) -> Rc<OsdLink> {
        let mut links = self.links.borrow_mut();
        if let Some(link) = links.get(&target.osd)
            && !link.is_down()
            && link.target() == target
        {
            return link.clone();
        }
        let link = OsdLink::open(&self.ring, target.clone(), self.config.credentials(), self.config.connect_timeout);
        let link = Rc::new(link);
        links.insert(target.osd, link.clone());
        link
    }
}

impl Client {
    /// Reaches a monitor and waits for the first map, at most `operation_timeout`. Fails at once where waiting is in vain: EACCES if the monitors
    /// have another key, EINVAL if they belong to another cluster, EPROTO if they are of another version.
    pub async fn connect(ring: &Ring, config: ClientConfig) -> Result<Client> {
        if config.monitors.is_empty() {
            return Err(Error::new(EINVAL, "no monitor is configured; at least one address is needed"));
        }
        let view = ClusterView::new(config.fsid, config.trust.clone());
        let monitor = MonitorLink::open(
            ring,
            view.clone(),
            config.monitors.clone(),
            config.credentials(),
            config.connect_timeout,
        );
        let client = Client {
            inner: Rc::new(Inner {
                ring: ring.clone(),
                ids: RequestIds::new(ring.random_u64()),
                slots: Semaphore::new(limits::REQUESTS_MAX),
                bytes: Semaphore::new(limits::REQUEST_BYTES_MAX),
                links: RefCell::default(),
                monitor,
                view,
                config,
            }),
        };
        match select(client.wait_for_epoch(1), client.inner.monitor.refused()).await {
            Either::First(has_map) => has_map.map(|()| client.clone()),
            Either::Second(refusal) => Err(refusal),
        }
    }

    /// The pool of this name; asks the monitor for its newest map before it says ENOENT.
    pub async fn pool(&self, name: &str) -> Result<Pool> {
        let find = || self.inner.view.map().and_then(|map| map.pool_by_name(name).map(|pool| pool.id));
        let id = match find() {
            Some(id) => Some(id),
            None => {
                self.refresh().await?;
                find()
            }
        };
        id.map(|id| Pool::new(self.clone(), id, name)).ok_or_else(|| {
            Error::new(ENOENT, format!("there is no pool {name:?}; `basalt osd pool ls` shows those there are"))
        })
    }

    /// The newest map known.
    pub fn map(&self) -> Rc<Map> {
        self.inner.view.map().unwrap_or_else(|| unreachable!("a client is connected once it has a map"))
    }

    /// The epoch of the newest map known.
    pub fn epoch(&self) -> u32 {
        self.inner.view.epoch()
    }

    /// Waits for a map at least this new, at most `operation_timeout`.
    pub async fn wait_for_epoch(&self, epoch: u32) -> Result<()> {
        let limit = self.inner.config.operation_timeout;
        self.inner
            .ring
            .timeout(limit, self.inner.view.wait_for_epoch(epoch))
            .await
            .map_err(|_| self.no_monitor(limit, &format!("for map {epoch} of cluster {}", self.inner.config.fsid)))
    }

    /// Waits for the monitor's newest map.
    pub async fn refresh(&self) -> Result<()> {
        // Whoever is answered has been sent the map that the answer speaks of, and small answers are made of no map.
        self.command(AdminCommand::OsdStat).await.map(drop)
    }

    /// Runs a command on the monitor. A reply with an errno is `Ok`: look at it. Resent like any request, under one id: a command that
    /// changes something is carried out once.
    pub async fn command(&self, command: AdminCommand) -> Result<CommandReply> {
        let limit = self.inner.config.operation_timeout;
        let random = || u128::from(self.inner.ring.random_u64());
        let id = random() << 64 | random();
        let replied = async {
            loop {
                match self.inner.monitor.command(id, &command).await {
                    Ok(reply) => return reply,
                    Err(Broken) => self.inner.ring.sleep(limits::RETRY_DELAY_MIN).await,
                }
            }
        };
        self.inner.ring.timeout(limit, replied).await.map_err(|_| self.no_monitor(limit, "for its reply"))
    }

    /// Runs a command on one OSD. A reply with an errno is `Ok`: look at it. Resent like any request, under one id.
    pub async fn osd_command(&self, osd: u32, command: OsdCommand) -> Result<OsdCommandReply> {
        if self.map().osd(osd).is_none_or(|found| !found.exists) {
            return Err(Error::new(ENOENT, format!("there is no osd.{osd}; `basalt osd ls` shows those there are")));
        }
        let issued = self.inner.ids.issue();
        let request = OsdCommandRequest { request: issued.id(), command };
        match retry::run(&self.inner, Request::Command { osd, request }, 0).await? {
            Answer::Command(reply) => Ok(reply),
            _ => Err(Error::protocol(format_args!("osd.{osd}"), "another kind of reply")),
        }
    }

    /// Has every OSD refuse whatever the client with this [`Client::instance`] sends: once this returns, nothing of it is applied any more after
    /// anything that this client asks for.
    pub async fn fence(&self, instance: u64) -> Result<()> {
        let reply = self.command(AdminCommand::BlocklistAdd { client: instance }).await?;
        if reply.errno != 0 {
            return Err(Error::new(reply.errno, reply.message));
        }
        // Whoever is answered has been sent the map that does it, so its epoch goes with all requests from now on.
        self.refresh().await
    }

    /// By which OSDs tell this client from others: random, drawn when it was made.
    pub fn instance(&self) -> u64 {
        self.inner.ids.client()
    }

    pub fn ring(&self) -> &Ring {
        &self.inner.ring
    }

    fn no_monitor(&self, limit: Duration, what: &str) -> Error {
        let obstacle = self.inner.monitor.obstacle();
        Error::new(ETIMEDOUT, format!("waited {limit:?} for a monitor and {what}: {obstacle}"))
    }
}
