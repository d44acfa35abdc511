//! What an OSD has of a placement group, told from its log and one small record beside it.
//!
//! The record is an object of the pool that no map has, one a group: whether the copy is complete, and up to where everything that
//! was committed is in it. It is written when a copy begins to be filled and when it is complete, each time durable before anything
//! that relies on it; in between, entries of the log carry what was committed when they were ordered.

use super::log_entry::LogEntry;
use crate::limits;
use crate::refusal::Refusal;
use basalt_blockstore::{ObjectKey, Placement, Store};
use basalt_cluster::PgId;
use basalt_net::message::peer::MemberStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub is_complete: bool,
    /// All that was committed up to here is in this copy.
    pub committed: u64,
    /// Of the log; 0: it is empty.
    pub newest: u64,
    /// What came before the oldest entry of the log. 0: it goes back to the beginning.
    pub before_oldest: u64,
}

impl Summary {
    pub fn status(&self) -> MemberStatus {
        let Summary { is_complete, committed, newest, before_oldest } = *self;
        MemberStatus { is_complete, committed, newest, before_oldest }
    }
}

const XATTR: &[u8] = b"status";
/// When the group's copies were compared last, in seconds since 1970, as text.
const COMPARED_XATTR: &[u8] = b"compared";

fn record_key(pg: PgId) -> ObjectKey {
    ObjectKey { pool: limits::OWN_POOL, pg: 0, name: format!("group/{pg}").into_bytes().into() }
}

/// Of a group that was never filled nor settled: complete, as it began here.
async fn read_record(store: &Store, pg: PgId) -> Result<(bool, u64), Refusal> {
    let key = record_key(pg);
    let value = match store.get_xattr(&key, XATTR).await {
        Ok(Some(value)) => value,
        Ok(None) | Err(basalt_blockstore::Error::NotFound) => return Ok((true, 0)),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&value);
    let parsed = text.split_once(' ').and_then(|(state, committed)| {
        let committed = committed.parse().ok()?;
        match state {
            "complete" => Some((true, committed)),
            "filling" => Some((false, committed)),
            _ => None,
        }
    });
    parsed.ok_or_else(|| {
        Refusal::new(libc::EIO, format!("the record of group {pg} says {text:?}, which it never should"))
    })
}

async fn write_record(store: &Store, pg: PgId, is_complete: bool, committed: u64) -> Result<(), Refusal> {
    let key = record_key(pg);
    let mut transaction = store.begin(std::slice::from_ref(&key)).await;
    let state = if is_complete { "complete" } else { "filling" };
    transaction.touch(&key);
    transaction.set_xattr(&key, XATTR, format!("{state} {committed}").as_bytes());
    transaction.prepare(Placement::Base).await?.submit().await?.durable().await?;
    Ok(())
}

/// `None`: never while this OSD was the primary.
pub async fn compared_unix_s(store: &Store, pg: PgId) -> Result<Option<u64>, Refusal> {
    match store.get_xattr(&record_key(pg), COMPARED_XATTR).await {
        Ok(value) => Ok(value.and_then(|value| String::from_utf8_lossy(&value).parse().ok())),
        Err(basalt_blockstore::Error::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub async fn keep_compared(store: &Store, pg: PgId, unix_s: u64) -> Result<(), Refusal> {
    let key = record_key(pg);
    let mut transaction = store.begin(std::slice::from_ref(&key)).await;
    transaction.touch(&key);
    transaction.set_xattr(&key, COMPARED_XATTR, unix_s.to_string().as_bytes());
    transaction.prepare(Placement::Base).await?.submit().await?.durable().await?;
    Ok(())
}

pub async fn load(store: &Store, pg: PgId) -> Result<Summary, Refusal> {
    let (is_complete, committed) = read_record(store, pg).await?;
    let mut summary = Summary { is_complete, committed, newest: 0, before_oldest: 0 };
    let mut from = 0;
    let mut is_first = true;
    loop {
        let step = store.read_log(pg.pool, pg.seed, from, limits::LOG_READ_STEP).await?;
        let Some((last, _)) = step.last() else { break };
        from = last.saturating_add(1);
        for (version, bytes) in step {
            let entry = decode(pg, version, &bytes)?;
            if is_first {
                summary.before_oldest = entry.previous;
                is_first = false;
            }
            summary.newest = version;
            summary.committed = summary.committed.max(entry.committed);
        }
    }
    if is_first {
        summary.before_oldest = committed;
    }
    Ok(summary)
}

pub fn decode(pg: PgId, version: u64, bytes: &[u8]) -> Result<LogEntry, Refusal> {
    LogEntry::decode(bytes).map_err(|error| {
        let version = super::version::show(version);
        Refusal::new(libc::EIO, format!("{pg}: version {version} of its log is damaged: {error}"))
    })
}

/// The copy is incomplete from here on, and its log is no log of it.
pub async fn begin_fill(store: &Store, pg: PgId) -> Result<(), Refusal> {
    write_record(store, pg, false, 0).await?;
    remove_log(store, pg).await?;
    Ok(())
}

pub async fn settle(store: &Store, pg: PgId, committed: u64) -> Result<(), Refusal> {
    write_record(store, pg, true, committed).await
}

/// The store trims some entries at a time.
pub async fn remove_log(store: &Store, pg: PgId) -> basalt_blockstore::Result<()> {
    while !store.read_log(pg.pool, pg.seed, 0, 1).await?.is_empty() {
        let mut prepared = store.begin(&[]).await.prepare(Placement::Base).await?;
        prepared.trim_log(pg.pool, pg.seed, u64::MAX);
        prepared.submit().await?.durable().await?;
    }
    Ok(())
}

/// The group is none of this OSD's any more.
pub async fn remove_record(store: &Store, pg: PgId) -> basalt_blockstore::Result<()> {
    let key = record_key(pg);
    if store.stat(&key).await?.is_none() {
        return Ok(());
    }
    let mut transaction = store.begin(std::slice::from_ref(&key)).await;
    if transaction.stat(&key).await?.is_some() {
        transaction.remove(&key);
    }
    transaction.prepare(Placement::Base).await?.submit().await?.durable().await
}
