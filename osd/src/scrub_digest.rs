//! Digests of a group's objects, so that copies of them on different OSDs can be compared without being sent.

use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use basalt_blockstore::{Error, ObjectInfo, ObjectKey, Result, Store};
use basalt_cluster::PgId;
use basalt_net::message::peer::ObjectDigest;

/// Of the objects after a name, in ascending order; and whether there are more. `deep`: all data is read for it.
pub async fn digests(
    osd: &Osd,
    pg: PgId,
    after: &[u8],
    max: usize,
    deep: bool,
) -> Result<(Vec<ObjectDigest>, bool), Refusal> {
    let max = max.clamp(1, limits::LIST_NAMES_MAX);
    let mut objects = Vec::new();
    let mut after = after.to_vec();
    loop {
        let (names, more) = osd.store().list(pg.pool, pg.seed, &after, &[], max).await?;
        after = names.last().cloned().unwrap_or_default();
        for name in names {
            objects.extend(digest(osd, &ObjectKey { pool: pg.pool, pg: pg.seed, name: name.into() }, deep).await?);
        }
        // A page of objects that were all removed since they were listed would not say where the next one begins.
        if !more || !objects.is_empty() {
            return Ok((objects, more));
        }
    }
}

/// `None`: there is no such object.
pub async fn digest(osd: &Osd, key: &ObjectKey, deep: bool) -> Result<Option<ObjectDigest>, Refusal> {
    let store = osd.store();
    let taken = async {
        let Some((info, data)) = content(store, key, deep).await? else { return Ok(None) };
        Ok(Some((info, data, attributes(store, key).await?)))
    };
    let name = key.name.to_vec();
    match taken.await {
        Ok(Some((info, data, attributes))) => Ok(Some(ObjectDigest {
            name,
            version: info.version,
            size: info.size,
            data,
            attributes,
            error: String::new(),
        })),
        // Removed meanwhile.
        Ok(None) | Err(Error::NotFound) => Ok(None),
        Err(error @ (Error::Checksum { .. } | Error::Unreadable { .. } | Error::Corrupt { .. } | Error::Busy(_))) => {
            Ok(Some(ObjectDigest { name, error: error.to_string(), ..ObjectDigest::default() }))
        }
        Err(error) => Err(error.into()),
    }
}

async fn content(store: &Store, key: &ObjectKey, deep: bool) -> Result<Option<(ObjectInfo, u32)>> {
    let mut tries = 0;
    loop {
        match store.content_digest(key, deep).await {
            Err(Error::Busy(_)) if tries < limits::UNLOCKED_READS_MAX => tries += 1,
            outcome => return outcome,
        }
    }
}

async fn attributes(store: &Store, key: &ObjectKey) -> Result<u32> {
    let mut digest = 0;
    let mut add = |pairs: &[(Vec<u8>, Vec<u8>)]| {
        for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
            digest = crc32c::crc32c_append(digest, &(part.len() as u64).to_le_bytes());
            digest = crc32c::crc32c_append(digest, part);
        }
    };
    add(&store.list_xattrs(key).await?);
    let mut after = Vec::new();
    loop {
        let (pairs, more) = store.list_omap(key, &after, &[], limits::LIST_PAIRS_STEP).await?;
        add(&pairs);
        match pairs.last() {
            Some((last, _)) if more => after = last.clone(),
            _ => return Ok(digest),
        }
    }
}
