//! Images as a whole: made, listed, removed, cloned.
//!
//! The order of steps is such that whoever does them may die between any two. Creating: the name is taken, then the header is written; a name
//! that leads to no header is no image, and is taken over by the next who wants it. Cloning: the parent's snapshot notes the child, the
//! child's header is written as incomplete, the parent confirms the child, the child becomes complete; a snapshot is unprotected only after
//! those children are forgotten that have no header, by a change that is refused if one was confirmed meanwhile. Removing: the header says
//! so first, the name goes last, and the same command goes on where it ended.

use super::header::{ENOTEMPTY, Header, Stage, check_name, check_size};
use super::header_object::{self, Stored};
use super::layout::lock_name;
use super::lock::Owner;
use super::tidy::remove_layer;
use super::{Id, directory, lock};
use crate::error::{EEXIST, EINVAL, ENOENT, Error, Result};
use crate::{Client, Pool};

/// EEXIST if there is an image of this name.
pub async fn create(client: &Client, pool: &str, name: &str, size: u64) -> Result<()> {
    check_name("an image", name)?;
    check_size(size)?;
    let pool = client.pool(pool).await?;
    clear_incomplete(client, &pool, name).await?;
    let ring = pool.ring();
    let header = Header::new(Id::random(ring), name, size, Id::random(ring), now_unix_s(&pool));
    place(&pool, &header).await
}

/// Removes a clone of this name of which nothing came. EEXIST if there is an image.
async fn clear_incomplete(client: &Client, pool: &Pool, name: &str) -> Result<()> {
    let there = match directory::find(pool, name).await {
        Ok(id) => header_object::read(pool, id, name).await,
        Err(error) => Err(error),
    };
    match there {
        Ok(Stored { header, .. }) if header.stage == Stage::Incomplete => remove(client, pool.name(), name).await,
        Ok(_) => Err(Error::new(EEXIST, format!("there is an image {name:?} in pool {:?} already", pool.name()))),
        Err(error) if error.errno() == ENOENT => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the header's name, and writes it.
async fn place(pool: &Pool, header: &Header) -> Result<()> {
    directory::add(pool, &header.name, header.id).await?;
    header_object::create(pool, header).await?;
    // Somebody may have taken the name over before the header was there.
    if directory::find(pool, &header.name).await? == header.id {
        return Ok(());
    }
    header_object::remove(pool, header.id).await?;
    Err(Error::new(EEXIST, format!("there is an image {:?} in pool {:?} already", header.name, pool.name())))
}

fn now_unix_s(pool: &Pool) -> u64 {
    pool.ring().unix_time().0 / 1_000_000_000
}

/// All images of a pool, in byte order of their names. Names that lead to no image are left out.
pub async fn list(client: &Client, pool: &str) -> Result<Vec<Header>> {
    let pool = client.pool(pool).await?;
    let mut found = Vec::new();
    for (name, id) in directory::list(&pool).await? {
        match header_object::read(&pool, id, &name).await {
            Ok(Stored { header, .. }) if header.stage != Stage::Incomplete => found.push(header),
            Ok(_) => {}
            Err(error) if error.errno() == ENOENT => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What an image is, and who has its lock.
pub async fn info(client: &Client, pool: &str, name: &str) -> Result<(Header, Option<Owner>)> {
    let pool = client.pool(pool).await?;
    let id = directory::find(&pool, name).await?;
    let Stored { header, .. } = header_object::read(&pool, id, name).await?;
    let sight = lock::look(&pool, id).await?;
    Ok((header, sight.owner))
}

/// ENOTEMPTY if it has snapshots, EBUSY if somebody uses it.
pub async fn remove(client: &Client, pool: &str, name: &str) -> Result<()> {
    let pool = client.pool(pool).await?;
    let id = directory::find(&pool, name).await?;
    let there = match header_object::read(&pool, id, name).await {
        Ok(stored) => Some(stored.header),
        Err(error) if error.errno() == ENOENT => None,
        Err(error) => return Err(error),
    };
    if there.is_some() {
        let held = lock::acquire(client, &pool, id, name).await?;
        let removing = header_object::change(&pool, id, name, |header| {
            if !header.snapshots.is_empty() {
                let count = header.snapshots.len();
                let message = format!("image {name:?} has {count} snapshots; remove them first (`snap rm`)");
                return Err(Error::new(ENOTEMPTY, message));
            }
            header.stage = Stage::Removing;
            Ok(())
        });
        let header = match removing.await {
            Ok((Stored { header, .. }, ())) => header,
            Err(error) => {
                held.release().await;
                return Err(error);
            }
        };
        for layer in header.layers.iter().map(|layer| layer.id).chain(header.garbage.iter().copied()) {
            remove_layer(&pool, header.family, layer).await?;
        }
        if let Some(parent) = &header.parent {
            let forgotten = header_object::change(&pool, parent.image, &parent.name, |header| {
                header.forget_child(parent.snapshot, id);
                Ok(())
            });
            match forgotten.await {
                Err(error) if error.errno() != ENOENT => return Err(error),
                _ => {}
            }
        }
        header_object::remove(&pool, id).await?;
        held.remove().await?;
    } else {
        // What a removal that was cut short left over.
        match pool.remove(&lock_name(id)).await {
            Err(error) if error.errno() != ENOENT => return Err(error),
            _ => {}
        }
    }
    directory::remove(&pool, name, id).await?;
    match there {
        Some(_) => Ok(()),
        None => Err(directory::no_image(&pool, name)),
    }
}

/// Makes `child` an image that shows what a protected snapshot of `parent` has, of the same pool.
pub async fn clone(client: &Client, pool: &str, parent: &str, snapshot: &str, child: &str) -> Result<()> {
    check_name("an image", child)?;
    let pool = client.pool(pool).await?;
    let ring = pool.ring();
    clear_incomplete(client, &pool, child).await?;
    let id = Id::random(ring);
    let parent_id = directory::find(&pool, parent).await?;
    let announced =
        header_object::change(&pool, parent_id, parent, |header| header.announce_child(snapshot, id, child));
    let (Stored { header: parent_header, .. }, ()) = announced.await?;
    let header = Header::clone_of(&parent_header, snapshot, id, child, Id::random(ring), now_unix_s(&pool))?;
    let Some(of) = header.parent.clone() else {
        return Err(Error::new(EINVAL, format!("image {child:?} would have no parent")));
    };
    if let Err(error) = place(&pool, &header).await {
        let _ = header_object::change(&pool, parent_id, parent, |header| {
            header.forget_child(of.snapshot, id);
            Ok(())
        })
        .await;
        return Err(error);
    }
    match header_object::change(&pool, parent_id, parent, |header| header.confirm_child(of.snapshot, id)).await {
        Ok(_) => {}
        Err(error) => {
            if error.errno() == ENOENT {
                header_object::remove(&pool, id).await?;
                directory::remove(&pool, child, id).await?;
            }
            return Err(error);
        }
    }
    header_object::change(&pool, id, child, |header| {
        header.stage = Stage::Complete;
        Ok(())
    })
    .await
    .map(drop)
}

/// Keeps a snapshot from being removed; clones are made of such only.
pub async fn protect(client: &Client, pool: &str, name: &str, snapshot: &str) -> Result<()> {
    let pool = client.pool(pool).await?;
    let id = directory::find(&pool, name).await?;
    header_object::change(&pool, id, name, |header| header.protect_snapshot(snapshot)).await.map(drop)
}

/// EBUSY if there are clones of it.
pub async fn unprotect(client: &Client, pool: &str, name: &str, snapshot: &str) -> Result<()> {
    let pool = client.pool(pool).await?;
    let id = directory::find(&pool, name).await?;
    // Children of which nothing came, or that are gone.
    let Stored { header, .. } = header_object::read(&pool, id, name).await?;
    let mut gone = Vec::new();
    for child in &header.snapshot(snapshot)?.children {
        let is_child = match header_object::read(&pool, child.image, &child.name).await {
            Ok(Stored { header, .. }) => header.parent.is_some_and(|parent| parent.image == id),
            Err(error) if error.errno() == ENOENT => false,
            Err(error) => return Err(error),
        };
        if !is_child {
            gone.push(child.clone());
        }
    }
    header_object::change(&pool, id, name, |header| {
        let of = header.snapshot(snapshot)?.id;
        for child in &gone {
            // One that was confirmed meanwhile is there by now.
            if header.snapshot(snapshot)?.children.contains(child) {
                header.forget_child(of, child.image);
            }
        }
        header.unprotect_snapshot(snapshot)
    })
    .await
    .map(drop)
}

/// The names of a snapshot's clones.
pub async fn children(client: &Client, pool: &str, name: &str, snapshot: &str) -> Result<Vec<String>> {
    let (header, _) = info(client, pool, name).await?;
    Ok(header.snapshot(snapshot)?.children.iter().map(|child| child.name.clone()).collect())
}
