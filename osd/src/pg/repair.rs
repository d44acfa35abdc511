//! Puts a damaged piece of an object right from another member's copy. It changes nothing that anyone sees: the same version, the same
//! bytes, on other blocks of this OSD's device. A copy that is wrong as a whole is replaced.

use super::log_entry;
use super::object_state::{self, gather};
use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use basalt_blockstore::{ObjectInfo, ObjectKey, Transaction};
use basalt_cluster::PgId;
use basalt_net::message::peer::{Answer, Question, Reign};
use basalt_ring::Slice;
use std::ops::Range;

const BLOCK: u64 = basalt_blockstore::limits::BLOCK_BYTES;

/// What became of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mending {
    /// All of the range is right.
    Done,
    /// A copy that may be whole could not be had just now, or the object is being written: to be tried again.
    Unsure,
    /// All the other copies are damaged, too, or there are none.
    Impossible,
}

impl Mending {
    /// What whoever met the damage is told, if anything: it may ask again as long as a whole copy may turn up.
    pub fn refusal(self, damage: &Refusal) -> Option<Refusal> {
        match self {
            Mending::Done => None,
            Mending::Unsure => {
                Some(Refusal::new(libc::EAGAIN, format!("{}; no other copy can be had just now", damage.message)))
            }
            Mending::Impossible => Some(damage.clone()),
        }
    }
}

/// Puts the range right. The object must not be locked by the caller.
pub async fn mend(osd: &Osd, key: &ObjectKey, range: Range<u64>) -> Mending {
    let Ok(Some(info)) = osd.store().stat(key).await else { return Mending::Unsure };
    let end = range.end.div_ceil(BLOCK).saturating_mul(BLOCK).min(info.size);
    let mut at = range.start / BLOCK * BLOCK;
    while at < end {
        let piece = at..(at + limits::PUSH_PART_BYTES).min(end);
        let mending = mend_piece(osd, key, &info, piece.clone()).await;
        if mending != Mending::Done {
            return mending;
        }
        at = piece.end;
    }
    Mending::Done
}

async fn mend_piece(osd: &Osd, key: &ObjectKey, info: &ObjectInfo, piece: Range<u64>) -> Mending {
    let id = PgId { pool: key.pool, seed: key.pg };
    let Some((reign, members)) = osd.map().and_then(|map| {
        map.pg(id).map(|group| {
            let mut members = group.in_sync.clone();
            members.sort_by_key(|member| Some(*member) != group.primary);
            (Reign { pool: key.pool, pg: key.pg, reign: group.reign }, members)
        })
    }) else {
        return Mending::Unsure;
    };
    let mut mending = Mending::Impossible;
    for member in members.into_iter().filter(|member| *member != osd.id()) {
        match fetch(osd, member, reign, key, info, &piece).await {
            Ok(Some(data)) => match put(osd, key, info, piece.start, data).await {
                Ok(true) => {
                    tracing::warn!(osd = osd.id(), pg = %id, object = %key.name.escape_ascii(), from = member, ?piece, "damaged and put right from another copy");
                    osd.note_mended();
                    return Mending::Done;
                }
                Ok(false) => return Mending::Unsure,
                Err(refusal) => tracing::warn!(osd = osd.id(), pg = %id, "a good copy can't be written: {refusal}"),
            },
            // It is at another version, or away: the next one may do, or this one later.
            Ok(None) => mending = Mending::Unsure,
            Err(refusal) => {
                tracing::debug!(osd = osd.id(), member, "no good copy: {refusal}");
                if refusal.errno != libc::EIO {
                    mending = Mending::Unsure;
                }
            }
        }
    }
    mending
}

async fn fetch(
    osd: &Osd,
    member: u32,
    reign: Reign,
    key: &ObjectKey,
    info: &ObjectInfo,
    piece: &Range<u64>,
) -> Result<Option<Slice>, Refusal> {
    let Some(link) = osd.peers().link(member) else { return Ok(None) };
    let Some(session) = link.session() else { return Ok(None) };
    let ranges = vec![(piece.start, piece.end - piece.start)];
    let question = Question::Object { name: key.name.to_vec(), ranges, attributes: false };
    let asked = osd.ring().timeout(limits::REPAIR_WAIT_MAX, link.ask(session, reign, question)).await;
    let answered = asked.unwrap_or_else(|_| Err(Refusal::new(libc::ETIMEDOUT, "no answer in time")))?;
    let Answer::Object(state) = answered.answer else { return Ok(None) };
    let Some(parts) = state.object.filter(|parts| parts.version == info.version && parts.size == info.size) else {
        return Ok(None);
    };
    let mut pieces = Vec::new();
    let mut position = 0;
    let mut at = piece.start;
    for segment in parts.segments {
        if segment.offset != at || segment.length > piece.end.saturating_sub(at) {
            return Ok(None);
        }
        let length = segment.length as usize;
        if segment.is_zero {
            let mut zeros = osd.ring().buffer(length);
            zeros.fill(0);
            pieces.push(zeros.freeze());
        } else {
            let Some(payload) = answered.payload.as_ref().filter(|payload| position + length <= payload.len()) else {
                return Ok(None);
            };
            pieces.push(payload.slice(position..position + length));
            position += length;
        }
        at += segment.length;
    }
    if at != piece.end {
        return Ok(None);
    }
    Ok(Some(gather(osd.ring(), &pieces)))
}

/// What of a group's log changes together with an object.
#[derive(Default)]
pub struct LogChange {
    pub entries: Vec<(u64, Vec<u8>)>,
    pub forget: Vec<u64>,
}

/// Replaces this OSD's copy of an object, in one transaction, by the one that another member has. The transaction holds the object's
/// lock, and nothing else is staged in it.
pub async fn take_over(
    osd: &Osd,
    mut transaction: Transaction,
    key: &ObjectKey,
    (reign, member): (Reign, u32),
    log: LogChange,
) -> Result<(), Refusal> {
    let gone = || Refusal::new(libc::ENOTCONN, format!("osd.{member} is not there"));
    let link = osd.peers().link(member).ok_or_else(gone)?;
    let session = link.session().ok_or_else(gone)?;
    let mut at = 0;
    let mut taken: Option<(u64, u64)> = None;
    loop {
        let ranges = vec![(at, limits::PUSH_PART_BYTES)];
        let question = Question::Object { name: key.name.to_vec(), ranges, attributes: taken.is_none() };
        let asked = osd.ring().timeout(limits::REPAIR_WAIT_MAX, link.ask(session, reign, question)).await;
        let answered = asked.unwrap_or_else(|_| Err(Refusal::new(libc::ETIMEDOUT, "no answer in time")))?;
        let Answer::Object(mut state) = answered.answer else {
            return Err(Refusal::new(libc::EPROTO, "an object was asked for, and something else came"));
        };
        let size = match &mut state.object {
            None => 0,
            Some(parts) if parts.version == 0 => {
                return Err(Refusal::new(libc::EFBIG, "its attributes are too many to be taken over at once"));
            }
            Some(parts) => {
                let is_first = taken.is_none();
                let read = *taken.get_or_insert((parts.version, parts.mtime_ns));
                if read.0 != parts.version {
                    return Err(Refusal::new(libc::EAGAIN, "it changed meanwhile"));
                }
                parts.is_whole = is_first;
                parts.size
            }
        };
        object_state::stage(&mut transaction, key, state, answered.payload).await?;
        at += limits::PUSH_PART_BYTES;
        if at >= size {
            break;
        }
    }
    let mut prepared = transaction.prepare(osd.tier().home(key.pool)).await?;
    if let Some((version, mtime_ns)) = taken {
        prepared.set_version(version, mtime_ns);
    }
    log.forget.into_iter().for_each(|version| prepared.forget_log(key.pool, key.pg, version));
    for (version, entry) in log.entries {
        prepared.put_log(key.pool, key.pg, version, log_entry::without_committed(entry).into());
    }
    let commit = prepared.submit().await?;
    osd.tier().changed(commit.hot_changes());
    commit.durable().await?;
    Ok(())
}

/// `false`: the object was written to meanwhile.
async fn put(osd: &Osd, key: &ObjectKey, info: &ObjectInfo, offset: u64, data: Slice) -> Result<bool, Refusal> {
    let mut transaction = osd.store().begin(std::slice::from_ref(key)).await;
    let now = transaction.stat(key).await?;
    if now.is_none_or(|now| now.version != info.version || now.size != info.size) {
        return Ok(false);
    }
    transaction.write(key, offset, data);
    let mut prepared = transaction.prepare(osd.tier().home(key.pool)).await?;
    prepared.set_version(info.version, info.mtime_ns);
    let commit = prepared.submit().await?;
    osd.tier().changed(commit.hot_changes());
    commit.durable().await?;
    Ok(true)
}
