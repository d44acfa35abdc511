//! Which images are served, and those that are open: one open image for all connections to it, so that what one of them wrote and flushed
//! is there for the others.

use super::limits::LISTED_EXPORTS_MAX;
use basalt_client::image::{Image, ImageName, Mode, manage};
use basalt_client::{Client, ClientConfig, Error, Result};
use basalt_ring::Ring;
use basalt_ring::local::KeyedLock;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

const ENOENT: i32 = 2;

/// What may be served.
#[derive(Clone, Debug, Default)]
pub struct ExportPolicy {
    /// All pools if there are none.
    pub pools: Vec<String>,
    /// Whether images are served for reading only.
    pub is_read_only: bool,
}

pub struct Exports {
    ring: Ring,
    config: ClientConfig,
    /// For names and lists; each open image has a client of its own, so that one that is fenced off takes no other with it.
    client: Client,
    policy: ExportPolicy,
    open: RefCell<BTreeMap<ImageName, Rc<Export>>>,
    opening: KeyedLock<ImageName>,
}

/// An open image, or snapshot.
pub struct Export {
    pub name: ImageName,
    pub image: Image,
    connections: Cell<u64>,
}

/// A connection's part in an export. Dropped by the last of them, the image is closed.
pub struct Joined {
    exports: Rc<Exports>,
    export: Rc<Export>,
}

impl std::ops::Deref for Joined {
    type Target = Export;
    fn deref(&self) -> &Export {
        &self.export
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let (exports, export) = (self.exports.clone(), self.export.clone());
        self.exports.ring.spawn(async move { exports.leave(export).await });
    }
}

impl Export {
    pub fn is_read_only(&self) -> bool {
        *self.image.mode() != Mode::Write
    }
}

impl Exports {
    pub async fn new(ring: &Ring, config: ClientConfig, policy: ExportPolicy) -> Result<Rc<Exports>> {
        let client = Client::connect(ring, config.clone()).await?;
        let exports =
            Exports { ring: ring.clone(), config, client, policy, open: RefCell::default(), opening: KeyedLock::new() };
        Ok(Rc::new(exports))
    }

    fn parse(&self, name: &str) -> Result<ImageName> {
        let name = ImageName::parse(name)?;
        if self.policy.pools.is_empty() || self.policy.pools.contains(&name.pool) {
            return Ok(name);
        }
        Err(Error::new(ENOENT, format!("images of pool {:?} are not served here", name.pool)))
    }

    /// For one more connection.
    pub async fn join(self: &Rc<Exports>, name: &str) -> Result<Joined> {
        let export = self.find_or_open(name).await?;
        Ok(Joined { exports: self.clone(), export })
    }

    async fn find_or_open(&self, name: &str) -> Result<Rc<Export>> {
        let name = self.parse(name)?;
        let _turn = self.opening.lock(name.clone()).await;
        let there = self.open.borrow().get(&name).cloned();
        if let Some(export) = there {
            match export.image.stopped() {
                None => {
                    export.connections.set(export.connections.get() + 1);
                    return Ok(export);
                }
                // Its connections end by themselves; the next to come may have more luck.
                Some(_) => drop(self.open.borrow_mut().remove(&name)),
            }
        }
        let mode = match &name.snapshot {
            Some(snapshot) => Mode::Snapshot(snapshot.clone()),
            None if self.policy.is_read_only => Mode::Read,
            None => Mode::Write,
        };
        let client = Client::connect(&self.ring, self.config.clone()).await?;
        let image = Image::open(&client, &name.pool, &name.image, mode).await?;
        let export = Rc::new(Export { name: name.clone(), image, connections: Cell::new(1) });
        self.open.borrow_mut().insert(name, export.clone());
        Ok(export)
    }

    /// With the last connection the image is closed.
    async fn leave(&self, export: Rc<Export>) {
        let _turn = self.opening.lock(export.name.clone()).await;
        export.connections.set(export.connections.get() - 1);
        if export.connections.get() > 0 {
            return;
        }
        let is_this = self.open.borrow().get(&export.name).is_some_and(|open| Rc::ptr_eq(open, &export));
        if is_this {
            self.open.borrow_mut().remove(&export.name);
        }
        export.image.clone().close().await;
    }

    /// Closes all images, whoever is connected.
    pub async fn close(&self) {
        let all: Vec<Rc<Export>> = std::mem::take(&mut *self.open.borrow_mut()).into_values().collect();
        for export in all {
            export.image.clone().close().await;
        }
    }

    /// What a client may know of an export before it chooses it: its size, and whether it is read-only.
    pub async fn peek(&self, name: &str) -> Result<(u64, bool)> {
        let name = self.parse(name)?;
        let open = self.open.borrow().get(&name).cloned();
        if let Some(export) = open {
            return Ok((export.image.size(), export.is_read_only()));
        }
        let (header, _) = manage::info(&self.client, &name.pool, &name.image).await?;
        match &name.snapshot {
            Some(snapshot) => Ok((header.snapshot(snapshot)?.size, true)),
            None => Ok((header.size, self.policy.is_read_only)),
        }
    }

    /// All names, as many as are listed at most.
    pub async fn list(&self) -> Result<Vec<String>> {
        let map = self.client.map();
        let is_served =
            |pool: &&str| self.policy.pools.is_empty() || self.policy.pools.iter().any(|served| served == pool);
        let pools = map.pools.iter().map(|pool| pool.name.as_str()).filter(is_served);
        let mut names = Vec::new();
        for pool in pools {
            for header in manage::list(&self.client, pool).await? {
                names.push(format!("{pool}/{}", header.name));
                names.extend(
                    header.snapshots.iter().map(|snapshot| format!("{pool}/{}@{}", header.name, snapshot.name)),
                );
                if names.len() >= LISTED_EXPORTS_MAX {
                    names.truncate(LISTED_EXPORTS_MAX);
                    return Ok(names);
                }
            }
        }
        Ok(names)
    }
}
