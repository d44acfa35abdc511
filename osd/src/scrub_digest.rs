//! Checksums of a group's objects, so that copies of them on different OSDs can be compared without being sent.

use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use basalt_blockstore::ObjectKey;
use basalt_cluster::PgId;
use basalt_net::message::peer::ObjectDigest;

/// Of the objects after a name, in ascending order; and whether there are more. `deep`: of the data, too.
pub async fn digests(
    osd: &Osd,
    pg: PgId,
    after: &[u8],
    max: usize,
    deep: bool,
) -> Result<(Vec<ObjectDigest>, bool), Refusal> {
    let max = max.clamp(1, limits::LIST_NAMES_MAX);
    let (names, more) = osd.store().list(pg.pool, pg.seed, after, &[], max).await?;
    let mut objects = Vec::with_capacity(names.len());
    for name in names {
        if let Some(digest) = digest(osd, ObjectKey { pool: pg.pool, pg: pg.seed, name }, deep).await? {
            objects.push(digest);
        }
    }
    Ok((objects, more))
}

/// `None`: there is no such object.
pub async fn digest(osd: &Osd, key: ObjectKey, deep: bool) -> Result<Option<ObjectDigest>, Refusal> {
    let store = osd.store();
    let Some(info) = store.stat(&key).await? else { return Ok(None) };
    let mut digest =
        ObjectDigest { name: key.name.clone(), version: info.version, size: info.size, ..ObjectDigest::default() };
    if !deep {
        return Ok(Some(digest));
    }
    let mut at = 0;
    while at < info.size {
        let length = (info.size - at).min(limits::DIGEST_STEP_BYTES);
        match store.read(&key, at, length).await {
            Ok(read) => digest.data = crc32c::crc32c_append(digest.data, &read.data),
            Err(error) => {
                digest.error = error.to_string();
                return Ok(Some(digest));
            }
        }
        at += length;
    }
    let mut attributes = 0;
    let mut add = |pairs: &[(Vec<u8>, Vec<u8>)]| {
        for (name, value) in pairs {
            attributes = crc32c::crc32c_append(attributes, &(name.len() as u64).to_le_bytes());
            attributes = crc32c::crc32c_append(attributes, name);
            attributes = crc32c::crc32c_append(attributes, &(value.len() as u64).to_le_bytes());
            attributes = crc32c::crc32c_append(attributes, value);
        }
    };
    add(&store.list_xattrs(&key).await?);
    let mut after = Vec::new();
    loop {
        let (pairs, more) = store.list_omap(&key, &after, &[], limits::LIST_PAIRS_STEP).await?;
        add(&pairs);
        match pairs.last() {
            Some((last, _)) if more => after = last.clone(),
            _ => break,
        }
    }
    digest.attributes = attributes;
    Ok(Some(digest))
}
