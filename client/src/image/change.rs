//! Changes of an image that only the holder of its lock may make, and how others have them made: by asking the holder if there is one who
//! lives, or else as its holder for that moment.

use super::header::{EBUSY, Header};
use super::image::{Image, Mode};
use super::layout::lock_name;
use super::limits::{HEADER_TRIES, LOCK_LOOK, LOCK_REQUEST_BYTES_MAX};
use super::lock::{self, ANSWER, Liveness, REQUEST, Watch};
use super::{Id, directory};
use crate::error::{E2BIG, EIO, ENOENT, Error, Result};
use crate::{Client, Pool};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    CreateSnapshot {
        name: String,
        /// Made up by whoever asks: asked again, it is the same snapshot.
        request: Id,
    },
    RemoveSnapshot {
        name: String,
    },
    RollBack {
        name: String,
    },
    Resize {
        size: u64,
    },
    Flatten,
}

/// How a change went, as the holder answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    errno: i32,
    message: String,
}

impl Outcome {
    pub fn of(result: Result<()>) -> Outcome {
        match result {
            Ok(()) => Outcome { errno: 0, message: String::new() },
            Err(error) => Outcome { errno: error.errno(), message: error.message().into() },
        }
    }

    fn into_result(self) -> Result<()> {
        match self.errno {
            0 => Ok(()),
            errno => Err(Error::new(errno, self.message)),
        }
    }
}

/// Has a change made, whoever holds the image's lock.
pub async fn apply(client: &Client, pool: &str, name: &str, change: &Change) -> Result<()> {
    let objects = client.pool(pool).await?;
    let id = directory::find(&objects, name).await?;
    let mut tries = 0;
    loop {
        match Image::open_locked(client, pool, name, Mode::Write).await {
            Ok(image) => {
                let changed = async {
                    image.change(change).await?;
                    image.tidy().await
                };
                let outcome = changed.await;
                image.close().await;
                return outcome;
            }
            Err(error) if error.errno() == EBUSY && tries < HEADER_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
        if let Some(outcome) = ask(&objects, id, change).await? {
            return outcome.into_result();
        }
    }
}

/// Asks the lock's holder. `None`: there is none any more, or it died over it.
async fn ask(pool: &Pool, image: Id, change: &Change) -> Result<Option<Outcome>> {
    let sight = lock::look(pool, image).await?;
    if sight.owner.is_none() {
        return Ok(None);
    }
    let number = Id::random(pool.ring());
    let (request, answer) = (format!("{REQUEST}{number}").into_bytes(), format!("{ANSWER}{number}").into_bytes());
    let encoded = serde_json::to_vec(change).map_err(|error| Error::new(EIO, error.to_string()))?;
    if encoded.len() > LOCK_REQUEST_BYTES_MAX {
        return Err(Error::new(E2BIG, format!("a request of {} bytes to the image's holder", encoded.len())));
    }
    let object = lock_name(image);
    let owner = sight.owner.clone();
    let mut watch = Watch::new(pool, sight);
    pool.set_omap(&object, vec![(request.clone(), encoded)]).await?;
    loop {
        pool.ring().sleep(LOCK_LOOK).await;
        let answered = pool.get_omap(&object, &[&answer]).await?;
        if let Some((_, value)) = answered.into_iter().next() {
            pool.remove_omap(&object, &[&answer]).await?;
            let outcome = serde_json::from_slice(&value).map_err(|error| Error::new(EIO, error.to_string()))?;
            return Ok(Some(outcome));
        }
        let sight = lock::look(pool, image).await?;
        let is_another = sight.owner != owner;
        if is_another || matches!(watch.judge(pool, sight), Liveness::Dead) {
            pool.remove_omap(&object, &[&request]).await.or_else(|error| match error.errno() {
                ENOENT => Ok(0),
                _ => Err(error),
            })?;
            return Ok(None);
        }
    }
}

impl Change {
    pub(super) async fn carry_out(&self, image: &Image) -> Result<()> {
        let inner = &image.inner;
        inner.check_writable()?;
        let _turn = inner.changing.acquire(1).await;
        let now_unix_s = inner.pool.ring().unix_time().0 / 1_000_000_000;
        let layer = Id::random(inner.pool.ring());
        match self {
            Change::CreateSnapshot { name, request } => {
                // What was acknowledged before is in the snapshot, and nothing that begins later.
                let _shut = inner.gate.shut().await;
                let depth = inner.view().depth();
                let create = |header: &mut Header| header.create_snapshot(name, layer, *request, now_unix_s, depth);
                inner.change_header(create).await
            }
            Change::RemoveSnapshot { name } => {
                let _shut = inner.gate.shut().await;
                inner.change_header(|header| header.remove_snapshot(name)).await?;
                image.tidy_in_background();
                Ok(())
            }
            Change::RollBack { name } => {
                let _shut = inner.gate.shut().await;
                inner.change_header(|header| header.roll_back(name, layer)).await?;
                image.tidy_in_background();
                Ok(())
            }
            Change::Resize { size } => {
                image.trim().await?;
                let _shut = inner.gate.shut().await;
                inner.change_header(|header| header.resize(*size)).await?;
                image.trim().await
            }
            Change::Flatten => image.flatten().await,
        }
    }
}
