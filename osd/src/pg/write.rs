//! A write, from its arrival to its answer.

use super::changes::Changes;
use super::guard;
use super::leadership::{Leadership, Phase, writes_of};
use super::log_entry::LogEntry;
use super::read::{Reader, no_such_xattr};
use super::repair;
use super::request_id::{Applied, Claim, Ticket};
use crate::limits;
use crate::operation_vector::{self, Kind, Summary};
use crate::osd::Osd;
use crate::refusal::Refusal;
use crate::request_stage::Stage;
use crate::running_requests::RequestTimes;
use basalt_blockstore::{LogBytes, ObjectKey, Transaction};
use basalt_net::message::object::{ObjectName, ObjectRequest, Operation, OperationResult, Results};
use basalt_net::message::peer::ReplicaWrite;
use basalt_ring::Slice;
use smallvec::{SmallVec, smallvec};

/// Applies a request once, whatever the number of its copies, and returns when it is durable.
pub async fn write(
    osd: &Osd,
    leadership: &Leadership,
    key: &ObjectKey,
    request: &ObjectRequest,
    summary: &Summary,
    payload: Option<Slice>,
    times: &RequestTimes,
) -> Result<Applied, Refusal> {
    let ticket = match first_of_its_copies(leadership, request).await {
        Ok(ticket) => ticket,
        Err(answer) => {
            osd.counters().duplicate();
            return answer;
        }
    };
    let outcome = write_first(osd, leadership, key, request, summary, payload, times).await;
    match outcome {
        Ok(applied) => {
            ticket.applied(applied.clone());
            Ok(applied)
        }
        Err(refusal) => {
            if is_final(osd, &refusal) {
                ticket.refused(refusal.clone());
            }
            Err(refusal)
        }
    }
}

/// Whether the client takes a refusal for the end of its request, and does not send it again.
fn is_final(osd: &Osd, refusal: &Refusal) -> bool {
    let is_fenced = refusal.errno == libc::EIO && osd.store().fenced().is_some();
    !matches!(refusal.errno, libc::ESTALE | libc::EAGAIN) && !is_fenced
}

/// The first of a request's copies to come here.
async fn write_first(
    osd: &Osd,
    leadership: &Leadership,
    key: &ObjectKey,
    request: &ObjectRequest,
    summary: &Summary,
    mut payload: Option<Slice>,
    times: &RequestTimes,
) -> Result<Applied, Refusal> {
    osd.capacity().check_write(key.pool, summary)?;
    if !summary.only_frees
        && let Some(full) = leadership.full_member(osd)
    {
        return Err(Refusal::new(
            libc::ENOSPC,
            format!("osd.{full}, which keeps a copy, is full; delete objects or add OSDs"),
        ));
    }
    let cloned = summary.placed_bytes - summary.written_bytes;
    let _cloning = if cloned > 0 { Some(osd.cloning().acquire(cloned).await) } else { None };
    let keys = keys(key, summary);
    let mut mended = 0;
    let outcome = loop {
        let again = payload.clone();
        let outcome = apply(osd, leadership, key, &keys, request, summary, payload, times).await;
        match &outcome {
            // Part of a block is kept, and the block is damaged here.
            Err(damaged @ Refusal { damage: Some(offset), .. })
                if mended < limits::MENDS_MAX && leadership.has_members() =>
            {
                mended += 1;
                if let Some(refusal) = repair::mend(osd, key, *offset..offset + 1).await.refusal(damaged) {
                    break Err(refusal);
                }
                payload = again;
            }
            _ => break outcome,
        }
    };
    match outcome {
        Ok(applied) => Ok(applied),
        Err(refusal) => {
            // The refusal tells of the objects' state, which may not be committed yet: after a crash it must still be true.
            for key in &keys {
                osd.store().stat(key).await?;
            }
            osd.confirm_read(leadership, leadership.newest()).await?;
            Err(refusal)
        }
    }
}

// What a write is made of, each of them once.
#[allow(clippy::too_many_arguments)]
async fn apply(
    osd: &Osd,
    leadership: &Leadership,
    key: &ObjectKey,
    keys: &[ObjectKey],
    request: &ObjectRequest,
    summary: &Summary,
    payload: Option<Slice>,
    times: &RequestTimes,
) -> Result<Applied, Refusal> {
    let mut transaction = osd.store().begin(keys).await;
    let read = judge_and_read(osd, &mut transaction, key, request, summary).await?;
    let placed = osd.tier().place(&mut transaction, key, summary).await?;
    let appends = request.operations.iter().any(|operation| matches!(operation, Operation::Append { .. }));
    let size = if appends { transaction.stat(key).await?.map_or(0, |info| info.size) } else { 0 };
    let changes = Changes::of(&request.operations, size);
    // Also where there is nobody yet: who joins before it is ordered is sent it.
    let replicated = payload.clone();
    let exists = stage(&mut transaction, key, &request.operations, payload).await?;
    let mut prepared = transaction.prepare(placed.placement).await?;

    // From here to the end of `ordered` nobody else of this group gets in between, so its log is in the order of its versions, here
    // and on every member.
    let order = leadership.order.acquire(1).await;
    if leadership.phase() == Phase::Ended {
        return Err(Refusal::new(libc::ESTALE, format!("{} has another primary now; ask it", leadership.pg())));
    }
    // Here and not on arrival: whoever fenced the client off is served by the map that says so, and what the client has on its way is
    // ordered before all that is served by that map, or not at all.
    osd.check_not_fenced(request.request.client)?;
    let version = leadership.next_version()?;
    let mtime_ns = osd.ring().unix_time().0;
    prepared.set_version(version, mtime_ns);
    let entry = LogEntry {
        request: request.request,
        name: ObjectName::from_slice(&key.name),
        exists,
        previous: leadership.newest(),
        committed: leadership.committed(),
        changes,
        results: read.results,
        data: read.data,
    };
    let encoded = entry.encode();
    prepared.put_log(key.pool, key.pg, version, LogBytes::from_slice(&encoded));
    let trim_below = leadership.trim();
    if let Some(below) = trim_below {
        prepared.trim_log(key.pool, key.pg, below);
    }
    let commit = prepared.submit().await?;
    times.ended(Stage::Queue, Stage::Wal);
    let write = || ReplicaWrite {
        name: key.name.clone(),
        version,
        mtime_ns,
        operations: writes_of(&request.operations),
        entry: encoded.into_vec(),
        trim_below: trim_below.unwrap_or(0),
    };
    leadership.ordered(osd, version, &entry, write, replicated);
    drop(order);

    osd.tier().written(key.pool, summary, placed, &commit);
    times.committed(commit.durable_times().await?);
    leadership.durable(version);
    leadership.wait_committed(version).await?;
    times.ended(Stage::Replica, Stage::Reply);
    Ok(Applied { version: if exists { version } else { 0 }, results: entry.results, data: entry.data })
}

/// The right to apply the request, or the answer that it has already.
async fn first_of_its_copies(
    leadership: &Leadership,
    request: &ObjectRequest,
) -> Result<Ticket, Result<Applied, Refusal>> {
    loop {
        match leadership.requests().claim(request.request, request.completed_up_to) {
            Claim::New(ticket) => return Ok(ticket),
            Claim::Running(event) => event.wait().await,
            Claim::Applied(applied) => return Err(Ok(applied)),
            Claim::Refused(refusal) => return Err(Err(Refusal::clone(&refusal))),
            Claim::Forgotten => {
                let message = format!("request {} of this client was completed before", request.request.sequence);
                return Err(Err(Refusal::new(libc::EALREADY, message)));
            }
        }
    }
}

/// All objects that the request touches.
pub fn keys(key: &ObjectKey, summary: &Summary) -> SmallVec<[ObjectKey; 1]> {
    let sources = summary.sources.iter().filter(|name| name.as_slice() != &*key.name);
    std::iter::once(key.clone())
        .chain(sources.map(|name| ObjectKey { pool: key.pool, pg: key.pg, name: name.as_slice().into() }))
        .collect()
}

/// What the reads of a request that also writes brought; small, because the log keeps it.
struct RecordedRead {
    results: Results,
    data: Vec<u8>,
}

/// Guards and reads, on the object as it is before the request's writes.
async fn judge_and_read(
    osd: &Osd,
    transaction: &mut Transaction,
    key: &ObjectKey,
    request: &ObjectRequest,
    summary: &Summary,
) -> Result<RecordedRead, Refusal> {
    let has_guards = request.operations.iter().any(|operation| operation_vector::kind(operation) == Kind::Guard);
    if !has_guards && !summary.reads {
        return Ok(RecordedRead {
            results: smallvec![OperationResult::Done; request.operations.len()],
            data: Vec::new(),
        });
    }
    // Reads wait for what is in flight, and the lock keeps new changes away, so guards and reads see one state.
    let info = transaction.stat(key).await?;
    let mut reader = Reader::new(osd.store(), key, info);
    for (index, operation) in request.operations.iter().enumerate() {
        let value = match operation {
            Operation::AssertXattr { name, .. } if info.is_some() => transaction.get_xattr(key, name).await?,
            Operation::AssertOmap { key: omap_key, .. } if info.is_some() => {
                transaction.get_omap(key, omap_key).await?
            }
            _ => None,
        };
        guard::check(operation, &key.name, info.as_ref(), value.as_deref()).map_err(|refusal| refusal.at(index))?;
        if let (Operation::Read { offset, length }, Some(info)) = (operation, info)
            && (*length).min(info.size.saturating_sub(*offset)) > limits::RECORDED_RESULT_BYTES_MAX as u64
        {
            return Err(too_much_to_record().at(index));
        }
        reader.operation(operation).await.map_err(|refusal| refusal.at(index))?;
    }
    let data = reader.data.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>();
    let results = reader.results;
    // Vectors without reads have nothing to record, however long they are.
    if summary.reads
        && data.len() + results.iter().map(recorded_bytes).sum::<usize>() > limits::RECORDED_RESULT_BYTES_MAX
    {
        return Err(too_much_to_record());
    }
    Ok(RecordedRead { results, data })
}

fn recorded_bytes(result: &OperationResult) -> usize {
    let held = match result {
        OperationResult::Value(value) => value.len(),
        OperationResult::Pairs { pairs, .. } => {
            pairs.iter().map(|(key, value)| key.len() + value.len() + limits::RECORDED_RESULT_OVERHEAD).sum()
        }
        OperationResult::Done | OperationResult::Data { .. } | OperationResult::Stat { .. } => 0,
    };
    held + limits::RECORDED_RESULT_OVERHEAD
}

fn too_much_to_record() -> Refusal {
    let max = limits::RECORDED_RESULT_BYTES_MAX;
    Refusal::new(
        libc::EOVERFLOW,
        format!("a request that also writes reads at most {max} bytes; read in a request of its own"),
    )
}

/// Puts the writes into the transaction, in order. Returns whether the object exists after them.
pub async fn stage(
    transaction: &mut Transaction,
    key: &ObjectKey,
    operations: &[Operation],
    payload: Option<Slice>,
) -> Result<bool, Refusal> {
    let mut payload = Payload { slice: payload, position: 0 };
    let mut exists = true;
    // Whether the object was removed so far: then it has none of the xattrs that the transaction's reads show.
    let mut removed = false;
    // Xattrs that this request has set or removed so far, which the transaction's reads do not show.
    let mut xattrs: Vec<(&[u8], bool)> = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        if operation_vector::kind(operation) != Kind::Write {
            continue;
        }
        match operation {
            Operation::Write { offset, length } => match payload.take(*length) {
                Some(data) => transaction.write(key, *offset, data),
                None => transaction.touch(key),
            },
            Operation::WriteFull { length } => {
                transaction.truncate(key, 0);
                if let Some(data) = payload.take(*length) {
                    transaction.write(key, 0, data);
                }
            }
            Operation::Append { length } => match payload.take(*length) {
                Some(data) => transaction.append(key, data),
                None => transaction.touch(key),
            },
            Operation::Touch => transaction.touch(key),
            Operation::Zero { offset, length } => {
                transaction.touch(key);
                transaction.zero(key, *offset, *length);
            }
            Operation::Truncate { size } => transaction.truncate(key, *size),
            Operation::Remove => {
                if transaction.stat(key).await?.is_none() {
                    return Err(Refusal::no_such_object(&key.name).at(index));
                }
                transaction.remove(key);
                exists = false;
                removed = true;
                xattrs.clear();
                continue;
            }
            Operation::SetXattr { name, value } => {
                transaction.set_xattr(key, name, value);
                xattrs.push((name, true));
            }
            Operation::RemoveXattr { name } => {
                let staged = xattrs.iter().rev().find(|(staged, _)| staged == name).map(|(_, present)| *present);
                let present = match staged {
                    Some(present) => present,
                    None => !removed && transaction.get_xattr(key, name).await?.is_some(),
                };
                if !present {
                    return Err(no_such_xattr(name).at(index));
                }
                transaction.remove_xattr(key, name);
                xattrs.push((name, false));
            }
            Operation::SetOmap { pairs } => {
                transaction.touch(key);
                for (omap_key, value) in pairs {
                    transaction.set_omap(key, omap_key, value);
                }
            }
            Operation::RemoveOmap { keys } => {
                transaction.touch(key);
                for omap_key in keys {
                    transaction.remove_omap(key, omap_key);
                }
            }
            Operation::ClearOmap => {
                transaction.touch(key);
                transaction.clear_omap(key);
            }
            Operation::CloneRange { source, source_offset, offset, length } => {
                let source = ObjectKey { pool: key.pool, pg: key.pg, name: source.as_slice().into() };
                if transaction.stat(&source).await?.is_none() {
                    return Err(Refusal::no_such_object(&source.name).at(index));
                }
                transaction.touch(key);
                if *length > 0 {
                    transaction.clone_range(&source, *source_offset, key, *offset, *length);
                }
            }
            _ => unreachable!("{operation:?} is not a write"),
        }
        exists = true;
    }
    Ok(exists)
}

/// Hands out a request's payload in order. That it suffices was checked on arrival.
struct Payload {
    slice: Option<Slice>,
    position: usize,
}

impl Payload {
    /// `None` for no bytes.
    fn take(&mut self, length: u64) -> Option<Slice> {
        let length = usize::try_from(length).ok().filter(|length| *length > 0)?;
        let slice = self.slice.take()?;
        let end = self.position + length;
        let taken = slice.slice(self.position..end);
        self.position = end;
        // The last to take has the memory for itself: the store pads it there to a whole block.
        self.slice = (end < slice.len()).then_some(slice);
        Some(taken)
    }
}
