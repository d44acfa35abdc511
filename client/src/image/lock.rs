//! Who may write to an image: one process at a time.
//!
//! The lock is an xattr of an object of its own, set only where it is missing. Its holder changes another xattr, the beat, every half second;
//! whoever wants the lock watches that by his own clock, so that no clocks need agree. A holder whose beat stands still for ten seconds is
//! taken for dead: first the cluster is told to refuse everything that its client still sends (it is *fenced*), and only when
//! the map says so the lock is taken over. Requests of the new holder carry that map's epoch, so an OSD that has not seen it yet gets it before it serves
//! them: what the old holder had on its way was applied before, or is not applied at all. If it wakes up, every request of it
//! is refused, and so is its next beat; it stops serving.
//!
//! The same object's omap takes requests to the holder, and its answers: see [`super::change`].

use super::Id;
use super::change::{Change, Outcome};
use super::header::EBUSY;
use super::image::{Image, Inner};
use super::io::ESHUTDOWN;
use super::layout::lock_name;
use super::limits::{LOCK_BEAT, LOCK_DEAD_AFTER, LOCK_LOOK, LOCK_REQUESTS_MAX};
use crate::error::{EIO, ENODATA, ENOENT, Error, Result};
use crate::{Client, ObjectOperations, Pool};
use basalt_net::message::object::Operation;
use basalt_ring::{Instant, Task};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::time::Duration;

const ECANCELED: i32 = 125;
const OWNER: &[u8] = b"owner";
const BEAT: &[u8] = b"beat";
pub(super) const REQUEST: &str = "request.";
pub(super) const ANSWER: &str = "answer.";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Drawn anew each time the lock is taken.
    nonce: Id,
    /// By which the cluster knows the holder's requests, and `osd blocklist` refuses them.
    pub client: Id,
    /// For people.
    pub name: String,
}

/// What is to be seen of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Sight {
    pub owner: Option<Owner>,
    encoded: Vec<u8>,
    beat: Vec<u8>,
}

pub(super) async fn look(pool: &Pool, image: Id) -> Result<Sight> {
    let xattrs = match pool.list_xattrs(&lock_name(image)).await {
        Ok(xattrs) => xattrs,
        Err(error) if error.errno() == ENOENT => return Ok(Sight::default()),
        Err(error) => return Err(error),
    };
    let find = |wanted: &[u8]| xattrs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let Some(encoded) = find(OWNER) else { return Ok(Sight::default()) };
    let owner = serde_json::from_slice(&encoded)
        .map_err(|error| Error::new(EIO, format!("the lock of image {image} is damaged: {error}")))?;
    Ok(Sight { owner: Some(owner), encoded, beat: find(BEAT).unwrap_or_default() })
}

/// Watches a holder, to tell whether it lives.
pub(super) struct Watch {
    sight: Sight,
    looked: Instant,
    /// How long the beat was seen to stand still. Time in which nothing was to be seen, because the lock's own group was held up, hardly counts.
    silent: Duration,
}

pub(super) enum Liveness {
    /// It has just shown that it lives.
    Alive,
    /// It has been silent, not long enough yet to say.
    Silent,
    Dead,
}

impl Watch {
    pub fn new(pool: &Pool, sight: Sight) -> Watch {
        Watch { sight, looked: pool.ring().now(), silent: Duration::ZERO }
    }

    pub fn judge(&mut self, pool: &Pool, now: Sight) -> Liveness {
        if now != self.sight {
            *self = Watch::new(pool, now);
            return Liveness::Alive;
        }
        let looked = pool.ring().now();
        self.silent += looked.since(self.looked).min(LOCK_BEAT);
        self.looked = looked;
        if self.silent >= LOCK_DEAD_AFTER { Liveness::Dead } else { Liveness::Silent }
    }
}

/// Takes the lock. EBUSY as soon as its holder is seen to live; a dead one is fenced off.
pub(super) async fn acquire(client: &Client, pool: &Pool, image: Id, name: &str) -> Result<Held> {
    let mut watch: Option<Watch> = None;
    loop {
        let sight = look(pool, image).await?;
        let Some(owner) = sight.owner.clone() else {
            match take(client, pool, image, None).await? {
                Some(held) => return Ok(held),
                None => continue,
            }
        };
        let Some(seen) = &mut watch else {
            watch = Some(Watch::new(pool, sight));
            continue;
        };
        match seen.judge(pool, sight.clone()) {
            Liveness::Alive => return Err(in_use(name, &owner)),
            Liveness::Silent => pool.ring().sleep(LOCK_LOOK).await,
            Liveness::Dead => {
                tracing::warn!(image = name, holder = owner.name, "the lock's holder is silent: fences it off");
                client.fence(owner.client.0).await?;
                if let Some(held) = take(client, pool, image, Some(&sight)).await? {
                    return Ok(held);
                }
            }
        }
    }
}

pub(super) fn in_use(name: &str, owner: &Owner) -> Error {
    Error::new(EBUSY, format!("image {name:?} is in use by {}", owner.name))
}

/// `None`: somebody was faster.
async fn take(client: &Client, pool: &Pool, image: Id, from: Option<&Sight>) -> Result<Option<Held>> {
    let ring = pool.ring();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let owner = Owner {
        nonce: Id::random(ring),
        client: Id(client.instance()),
        name: format!("{} process {}", host.trim(), std::process::id()),
    };
    let encoded = serde_json::to_vec(&owner).map_err(|error| Error::new(EIO, error.to_string()))?;
    let guard = Operation::AssertXattr { name: OWNER.into(), value: from.map(|sight| sight.encoded.clone()) };
    let operations = ObjectOperations::new()
        .operation(guard)
        .set_xattr(OWNER, &encoded)
        .set_xattr(BEAT, owner.nonce.to_string().as_bytes());
    match pool.execute(&lock_name(image), operations).await {
        Ok(_) => {
            let (beats, running) = (Cell::new(0), RefCell::default());
            let shared = Rc::new(Shared { pool: pool.clone(), image, encoded, beats, running });
            let task = ring.spawn(live(shared.clone()));
            Ok(Some(Held { shared, task: RefCell::new(Some(task)) }))
        }
        Err(error) if error.errno() == ECANCELED => Ok(None),
        Err(error) => Err(error),
    }
}

/// The lock in its holder's hands. Dropping it leaves it to be found dead.
pub(super) struct Held {
    shared: Rc<Shared>,
    task: RefCell<Option<Task<()>>>,
}

struct Shared {
    pool: Pool,
    image: Id,
    /// The owner as it is written down.
    encoded: Vec<u8>,
    beats: Cell<u64>,
    /// Requests of others that are being carried out.
    running: RefCell<BTreeSet<Vec<u8>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Held {
    /// Shows signs of life, as before, and carries out what others ask for, as long as this is held.
    pub fn serve(&self, image: &Image) {
        let task = image.inner.pool.ring().spawn(serve(self.shared.clone(), Rc::downgrade(&image.inner)));
        if let Some(before) = self.task.replace(Some(task)) {
            before.abort();
        }
    }

    /// Gives the lock back. If that fails, it is found dead later.
    pub async fn release(self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let removal = self.shared.guarded().operation(Operation::RemoveXattr { name: OWNER.into() });
        if let Err(error) = self.shared.pool.execute(&lock_name(self.shared.image), removal).await {
            tracing::warn!(image = %self.shared.image, reason = error.message(), "the lock can't be given back");
        }
    }

    /// Removes the lock's object for good, with the image.
    pub async fn remove(self) -> Result<()> {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.shared.pool.execute(&lock_name(self.shared.image), self.shared.guarded().remove()).await.map(drop)
    }
}

impl Shared {
    /// ECANCELED once another has the lock.
    fn guarded(&self) -> ObjectOperations {
        ObjectOperations::new()
            .operation(Operation::AssertXattr { name: OWNER.into(), value: Some(self.encoded.clone()) })
    }

    async fn beat(&self) -> Result<()> {
        self.beats.set(self.beats.get() + 1);
        let beat = self.guarded().set_xattr(BEAT, self.beats.get().to_string().as_bytes());
        self.pool.execute(&lock_name(self.image), beat).await.map(drop)
    }

    async fn requests(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (pairs, _) =
            self.pool.list_omap(&lock_name(self.image), b"", REQUEST.as_bytes(), LOCK_REQUESTS_MAX).await?;
        Ok(pairs)
    }

    /// The answer takes the request's place.
    async fn answer(&self, request: &[u8], outcome: &Outcome) -> Result<()> {
        let id = request.strip_prefix(REQUEST.as_bytes()).unwrap_or_default();
        let key = [ANSWER.as_bytes(), id].concat();
        let pairs = vec![(key, serde_json::to_vec(outcome).unwrap_or_default())];
        let operations = self
            .guarded()
            .operation(Operation::RemoveOmap { keys: vec![request.to_vec()] })
            .operation(Operation::SetOmap { pairs });
        self.pool.execute(&lock_name(self.image), operations).await.map(drop)
    }
}

/// Shows signs of life until another has the lock.
async fn live(shared: Rc<Shared>) {
    loop {
        shared.pool.ring().sleep(LOCK_BEAT).await;
        match shared.beat().await {
            Err(error) if is_lost(&error) => return,
            _ => {}
        }
    }
}

/// Whether a beat was refused because the lock is another's.
fn is_lost(error: &Error) -> bool {
    matches!(error.errno(), ECANCELED | ENODATA | ENOENT | ESHUTDOWN)
}

async fn serve(shared: Rc<Shared>, image: Weak<Inner>) {
    let ring = shared.pool.ring().clone();
    loop {
        ring.sleep(LOCK_BEAT).await;
        let Some(inner) = image.upgrade() else { return };
        match shared.beat().await {
            Ok(()) => {}
            Err(error) if is_lost(&error) => {
                tracing::error!(image = inner.name, "another has taken the image's lock: serves it no more");
                let message = format!("another process has taken the lock of image {:?}; open it again", inner.name);
                inner.stop(Error::new(ESHUTDOWN, message));
                return;
            }
            Err(error) => {
                tracing::warn!(image = inner.name, reason = error.message(), "can't show that it lives");
                continue;
            }
        }
        let requests = match shared.requests().await {
            Ok(requests) => requests,
            Err(error) => {
                tracing::warn!(image = inner.name, reason = error.message(), "can't look for requests");
                continue;
            }
        };
        for (key, value) in requests {
            if !shared.running.borrow_mut().insert(key.clone()) {
                continue;
            }
            let (shared, image) = (shared.clone(), Image { inner: inner.clone() });
            ring.spawn(async move {
                let outcome = match serde_json::from_slice::<Change>(&value) {
                    // What somebody uses must not become something else under his hands.
                    Ok(Change::RollBack { .. }) => Outcome::of(Err(Error::new(
                        EBUSY,
                        format!("image {:?} is in use here; end that before it is rolled back", image.name()),
                    ))),
                    Ok(change) => Outcome::of(image.change(&change).await),
                    Err(error) => Outcome::of(Err(Error::new(EIO, format!("a request that can't be read: {error}")))),
                };
                if let Err(error) = shared.answer(&key, &outcome).await {
                    tracing::warn!(image = image.name(), reason = error.message(), "a request can't be answered");
                }
                shared.running.borrow_mut().remove(&key);
            });
        }
    }
}
