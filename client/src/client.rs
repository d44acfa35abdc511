//! A client of one cluster: its map, its sessions, its requests.

use crate::{Pool, Result, limits};
use basalt_net::message::monitor::{AdminCommand, CommandReply};
use basalt_net::message::object::{OsdCommand, OsdCommandReply};
use basalt_net::{EntityName, Fsid, Key};
use basalt_ring::Ring;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub fsid: Fsid,
    /// Tried in turn.
    pub monitors: Vec<SocketAddr>,
    pub key: Key,
    /// `client.admin`, say.
    pub name: EntityName,
    pub connect_timeout: Duration,
    pub operation_timeout: Duration,
}

impl ClientConfig {
    /// With the default timeouts.
    pub fn new(fsid: Fsid, monitors: Vec<SocketAddr>, key: Key, name: EntityName) -> ClientConfig {
        ClientConfig {
            fsid,
            monitors,
            key,
            name,
            connect_timeout: limits::CONNECT_TIMEOUT,
            operation_timeout: limits::OPERATION_TIMEOUT,
        }
    }
}

/// Cheap to clone; `!Send`. Its sessions end with its last clone, pools included.
#[derive(Clone)]
pub struct Client {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl Client {
    /// Reaches a monitor and waits for the first map, at most `operation_timeout`.
    pub async fn connect(_ring: &Ring, _config: ClientConfig) -> Result<Client> {
        unimplemented!()
    }
    /// The pool of this name; asks the monitor for a newer map before it says ENOENT.
    pub async fn pool(&self, _name: &str) -> Result<Pool> {
        unimplemented!()
    }
    /// The epoch of the newest map known.
    pub fn epoch(&self) -> u32 {
        unimplemented!()
    }
    /// Waits for a map at least this new, at most `operation_timeout`.
    pub async fn wait_for_epoch(&self, _epoch: u32) -> Result<()> {
        unimplemented!()
    }
    /// Runs a command on the monitor. A reply with an errno is `Ok`: look at it. Commands that change something are sent once: a session that
    /// breaks before the reply is an error that says so.
    pub async fn command(&self, _command: AdminCommand) -> Result<CommandReply> {
        unimplemented!()
    }
    /// Runs a command on one OSD. A reply with an errno is `Ok`: look at it.
    pub async fn osd_command(&self, _osd: u32, _command: OsdCommand) -> Result<OsdCommandReply> {
        unimplemented!()
    }
    pub fn ring(&self) -> &Ring {
        unimplemented!()
    }
}
