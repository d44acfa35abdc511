//! An open image, or a snapshot of one: what its users hold.

use super::change::Change;
use super::gate::Gate;
use super::header::{Header, Stage};
use super::header_object::{self, Stored};
use super::lock::{self, Held};
use super::view::View;
use super::{Id, directory};
use crate::error::{EINVAL, Error, Result};
use crate::{Client, Pool};
use basalt_ring::Task;
use basalt_ring::local::{KeyedLock, Semaphore};
use std::cell::RefCell;
use std::rc::Rc;

pub const EROFS: i32 = 30;

/// What an image is opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reading and writing. Takes the image's lock; EBUSY if somebody who lives has it.
    Write,
    /// Reading it as it is, whoever writes meanwhile.
    Read,
    /// Reading one of its snapshots.
    Snapshot(String),
}

/// Cheap to clone. [`Image::close`] gives its lock back; one that is dropped leaves it to be taken from a dead holder.
#[derive(Clone)]
pub struct Image {
    pub(super) inner: Rc<Inner>,
}

pub(super) struct Inner {
    pub pool: Pool,
    pub id: Id,
    pub name: String,
    pub mode: Mode,
    pub view: RefCell<Rc<View>>,
    pub header: RefCell<Stored>,
    pub gate: Gate,
    /// By object: who finds out where it is, and copies it up.
    pub objects: KeyedLock<u64>,
    /// Changes of the layers, one at a time.
    pub changing: Semaphore,
    pub held: RefCell<Option<Held>>,
    /// Why it serves nobody any more.
    pub stopped: RefCell<Option<Error>>,
    pub tidying: RefCell<Option<Task<()>>>,
}

impl Image {
    /// ENOENT if there is no such image, or no such snapshot of it.
    pub async fn open(client: &Client, pool: &str, name: &str, mode: Mode) -> Result<Image> {
        let image = Image::open_locked(client, pool, name, mode).await?;
        if image.inner.mode == Mode::Write {
            image.tidy_in_background();
        }
        Ok(image)
    }

    pub(super) async fn open_locked(client: &Client, pool: &str, name: &str, mode: Mode) -> Result<Image> {
        let pool = client.pool(pool).await?;
        let id = directory::find(&pool, name).await?;
        let held = match mode {
            Mode::Write => Some(lock::acquire(client, &pool, id, name).await?),
            Mode::Read | Mode::Snapshot(_) => None,
        };
        match Image::load(&pool, id, name, mode).await {
            Ok(image) => {
                if let Some(held) = held {
                    held.serve(&image);
                    *image.inner.held.borrow_mut() = Some(held);
                }
                Ok(image)
            }
            Err(error) => {
                if let Some(held) = held {
                    held.release().await;
                }
                Err(error)
            }
        }
    }

    async fn load(pool: &Pool, id: Id, name: &str, mode: Mode) -> Result<Image> {
        let stored = header_object::read(pool, id, name).await?;
        match stored.header.stage {
            Stage::Complete => {}
            Stage::Incomplete => return Err(directory::no_image(pool, name)),
            Stage::Removing => {
                let message = format!("image {name:?} is being removed; `basalt image rm` goes on with it");
                return Err(Error::new(super::header::EBUSY, message));
            }
        }
        let view = view_for(pool, &stored.header, &mode).await?;
        Ok(Image {
            inner: Rc::new(Inner {
                pool: pool.clone(),
                id,
                name: name.into(),
                mode,
                view: RefCell::new(Rc::new(view)),
                header: RefCell::new(stored),
                gate: Gate::new(),
                objects: KeyedLock::new(),
                changing: Semaphore::new(1),
                held: RefCell::default(),
                stopped: RefCell::default(),
                tidying: RefCell::default(),
            }),
        })
    }

    /// Waits for writes under way and gives the lock back.
    pub async fn close(self) {
        let inner = &self.inner;
        let _shut = inner.gate.shut().await;
        if let Some(tidying) = inner.tidying.take() {
            tidying.abort();
        }
        let held = inner.held.take();
        if let Some(held) = held {
            held.release().await;
        }
        inner.stop(Error::new(EINVAL, format!("image {:?} is closed", inner.name)));
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.inner.view().size
    }

    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub fn mode(&self) -> &Mode {
        &self.inner.mode
    }

    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// As it was when the image was opened, or last changed by this process.
    pub fn header(&self) -> Header {
        self.inner.header.borrow().header.clone()
    }

    /// Why it serves nobody any more, if so: another has its lock, say.
    pub fn stopped(&self) -> Option<Error> {
        self.inner.stopped.borrow().clone()
    }

    /// Makes a change as its holder; see [`super::apply`] for who is none.
    pub async fn change(&self, change: &Change) -> Result<()> {
        change.carry_out(self).await
    }
}

impl Inner {
    pub fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    /// Refuses everything from now on.
    pub fn stop(&self, why: Error) {
        self.stopped.borrow_mut().get_or_insert(why);
    }

    pub fn check_serves(&self) -> Result<()> {
        self.stopped.borrow().clone().map_or(Ok(()), Err)
    }

    pub fn check_writable(&self) -> Result<()> {
        self.check_serves()?;
        match self.mode {
            Mode::Write => Ok(()),
            Mode::Read | Mode::Snapshot(_) => {
                Err(Error::new(EROFS, format!("image {:?} is open for reading only", self.name)))
            }
        }
    }

    pub fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        let size = self.view().size;
        if offset.checked_add(length).is_some_and(|end| end <= size) {
            return Ok(());
        }
        let message = format!("{length} bytes at {offset} end beyond image {:?}, which has {size}", self.name);
        Err(Error::new(EINVAL, message))
    }

    /// Changes the header. If it is not known whether that happened, what is there now is found out before anything else is done.
    pub async fn change_header<T>(&self, change: impl FnMut(&mut Header) -> Result<T>) -> Result<T> {
        match header_object::change(&self.pool, self.id, &self.name, change).await {
            Ok((stored, outcome)) => {
                self.adopt(stored).await?;
                Ok(outcome)
            }
            Err(error) => {
                if let Err(worse) = self.reload().await {
                    self.stop(worse);
                }
                Err(error)
            }
        }
    }

    pub async fn reload(&self) -> Result<()> {
        let stored = header_object::read(&self.pool, self.id, &self.name).await?;
        self.adopt(stored).await
    }

    async fn adopt(&self, stored: Stored) -> Result<()> {
        let view = view_for(&self.pool, &stored.header, &self.mode).await?;
        *self.view.borrow_mut() = Rc::new(view);
        *self.header.borrow_mut() = stored;
        Ok(())
    }

    /// Whether the layers that were looked through are still those of the image; if not, looks what they are now. Who has no lock has to ask that
    /// after finding nothing: a layer that goes takes its objects with it. ENOENT if the snapshot is gone.
    pub async fn is_current(&self) -> Result<bool> {
        if self.mode == Mode::Write {
            return Ok(true);
        }
        let known = self.header.borrow().version;
        if header_object::version(&self.pool, self.id, &self.name).await? == known {
            return Ok(true);
        }
        self.reload().await?;
        Ok(false)
    }
}

async fn view_for(pool: &Pool, header: &Header, mode: &Mode) -> Result<View> {
    match mode {
        Mode::Write => View::of(pool, header, header.head, header.size, true).await,
        Mode::Read => View::of(pool, header, header.head, header.size, false).await,
        Mode::Snapshot(name) => {
            let snapshot = header.snapshot(name)?;
            View::of(pool, header, snapshot.layer, snapshot.size, false).await
        }
    }
}
