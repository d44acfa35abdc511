//! Requests that change nothing, and the reading parts of those that do.

use super::guard;
use super::leadership::Leadership;
use super::repair;
use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use crate::request_stage::Stage;
use crate::running_requests::RequestTimes;
use crate::session_credits::{ReadPermit, SessionCredits};
use basalt_blockstore::{ObjectInfo, ObjectKey, Store};
use basalt_net::Payload;
use basalt_net::message::object::{ListRequest, ObjectRequest, Operation, OperationResult, Results};
use smallvec::SmallVec;

/// What a request that reads only brought.
pub struct Read {
    /// 0: there is no object.
    pub version: u64,
    pub results: Results,
    pub data: Payload,
    /// What the tier is to be told, after the reply.
    pub accesses: Accesses,
    /// Held until the reply is on its way.
    pub _permit: Option<ReadPermit>,
}

/// Mostly one.
pub type Accesses = SmallVec<[ReadAccess; 1]>;

/// One range read, and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct ReadAccess {
    pub info: ObjectInfo,
    pub offset: u64,
    pub length: u64,
    pub base_bytes: u64,
}

/// Guards and reads of one vector on one state of the object.
pub async fn read(
    osd: &Osd,
    leadership: &Leadership,
    key: &ObjectKey,
    request: &ObjectRequest,
    credits: &SessionCredits,
    times: &RequestTimes,
) -> Result<Read, Refusal> {
    let seen = judge(osd, key, request, credits).await;
    times.ended(Stage::Data, Stage::Replica);
    let version = match &seen {
        Ok(read) if read.version > 0 => read.version,
        // Of an object that is not there, nobody knows by which write: it may be the last one.
        _ => leadership.newest(),
    };
    // What is told is committed, and was the truth while it was read.
    osd.confirm_read(leadership, version).await?;
    times.ended(Stage::Replica, Stage::Reply);
    seen
}

/// What the operations see, of one state of the object: while it is written to at the same time, they are looked at again, and at last
/// with the object locked, so that nobody changes it.
async fn judge(osd: &Osd, key: &ObjectKey, request: &ObjectRequest, credits: &SessionCredits) -> Result<Read, Refusal> {
    let mut mended = 0;
    let mut round = if request.operations.len() > 1 { limits::UNLOCKED_READS_MAX } else { 0 };
    loop {
        let is_locked = round >= limits::UNLOCKED_READS_MAX;
        let lock = if is_locked { Some(osd.store().begin(std::slice::from_ref(key)).await) } else { None };
        round += 1;
        let outcome = look(osd, key, request, credits).await?;
        drop(lock);
        match outcome {
            Some(Err(refusal)) if refusal.damage.is_some() && mended < limits::MENDS_MAX => {
                // What the client asked for is damaged here: it gets it all the same, if anyone has it.
                mended += 1;
                for range in damaged_ranges(&request.operations, &refusal) {
                    if let Some(refusal) = repair::mend(osd, key, range).await.refusal(&refusal) {
                        return Err(refusal);
                    }
                }
            }
            Some(outcome) => return outcome,
            None if is_locked => return Err(Refusal::new(libc::EAGAIN, "the object changed although it was locked")),
            None => {}
        }
    }
}

/// Where to look for damage: in what is read, and in the block that was found.
fn damaged_ranges(operations: &[Operation], refusal: &Refusal) -> Vec<std::ops::Range<u64>> {
    let found = refusal.damage.map(|offset| offset..offset + 1);
    let read = operations.iter().filter_map(|operation| match operation {
        Operation::Read { offset, length } => Some(*offset..offset.saturating_add(*length)),
        _ => None,
    });
    let holding = read.filter(|range| {
        found
            .as_ref()
            .is_some_and(|found| found.start / 4096 <= range.end / 4096 && range.start / 4096 <= found.start / 4096)
    });
    let mut ranges: Vec<std::ops::Range<u64>> = holding.collect();
    if ranges.is_empty() {
        ranges.extend(found);
    }
    ranges
}

/// `None`: the object changed meanwhile.
async fn look(
    osd: &Osd,
    key: &ObjectKey,
    request: &ObjectRequest,
    credits: &SessionCredits,
) -> Result<Option<Result<Read, Refusal>>, Refusal> {
    let info = osd.store().stat(key).await?;
    let wanted = wanted_bytes(&request.operations, info.as_ref())?;
    let permit = if wanted > 0 { Some(credits.reserve_read(wanted).await) } else { None };
    let mut reader = Reader::new(osd.store(), key, info);
    let mut outcome = Ok(());
    for (index, operation) in request.operations.iter().enumerate() {
        let judged = async {
            let value = match operation {
                Operation::AssertXattr { name, .. } if info.is_some() => osd.store().get_xattr(key, name).await?,
                Operation::AssertOmap { key: omap_key, .. } if info.is_some() => {
                    osd.store().get_omap(key, std::slice::from_ref(omap_key)).await?.pop().map(|(_, value)| value)
                }
                _ => None,
            };
            guard::check(operation, &key.name, info.as_ref(), value.as_deref())?;
            reader.operation(operation).await
        };
        if let Err(refusal) = judged.await {
            outcome = Err(refusal.at(index));
            break;
        }
    }
    let version = info.map_or(0, |info| info.version);
    let now = match reader.seen_version {
        // What was read says which state it was of.
        Some(seen) => seen,
        None => osd.store().stat(key).await?.map_or(0, |info| info.version),
    };
    if now != version {
        return Ok(None);
    }
    Ok(Some(outcome.map(|()| Read {
        version,
        results: reader.results,
        data: reader.data,
        accesses: reader.accesses,
        _permit: permit,
    })))
}

/// The bytes of `[offset, offset+length)` that the object has.
fn cut(info: &ObjectInfo, offset: u64, length: u64) -> u64 {
    length.min(info.size.saturating_sub(offset))
}

/// How much data the reads of a vector bring in all.
fn wanted_bytes(operations: &[Operation], info: Option<&ObjectInfo>) -> Result<u64, Refusal> {
    let mut wanted = 0_u64;
    for (index, operation) in operations.iter().enumerate() {
        if let (Operation::Read { offset, length }, Some(info)) = (operation, info) {
            wanted = wanted.saturating_add(cut(info, *offset, *length));
            if wanted > limits::READ_BYTES_MAX {
                let message = format!("one request reads at most {} bytes; read in pieces", limits::READ_BYTES_MAX);
                return Err(Refusal::new(libc::E2BIG, message).at(index));
            }
        }
    }
    Ok(wanted)
}

/// Evaluates the reads of one vector, in order. Everything else is `Done`.
pub struct Reader<'a> {
    store: &'a Store,
    key: &'a ObjectKey,
    info: Option<ObjectInfo>,
    result_bytes_left: usize,
    pub results: Results,
    pub data: Payload,
    pub accesses: Accesses,
    /// Of the object when its data was read.
    seen_version: Option<u64>,
}

impl<'a> Reader<'a> {
    pub fn new(store: &'a Store, key: &'a ObjectKey, info: Option<ObjectInfo>) -> Reader<'a> {
        Reader {
            store,
            key,
            info,
            result_bytes_left: limits::RESULT_BYTES_MAX,
            results: Results::new(),
            data: Payload::new(),
            accesses: Accesses::new(),
            seen_version: None,
        }
    }

    pub async fn operation(&mut self, operation: &Operation) -> Result<(), Refusal> {
        let result = match operation {
            Operation::Read { offset, length } => self.data(*offset, *length).await?,
            Operation::Stat => {
                let info = self.object()?;
                OperationResult::Stat { size: info.size, mtime_ns: info.mtime_ns, version: info.version }
            }
            Operation::GetXattr { name } => {
                self.object()?;
                let value = self.store.get_xattr(self.key, name).await?.ok_or_else(|| no_such_xattr(name))?;
                self.spend(value.len())?;
                OperationResult::Value(value)
            }
            Operation::ListXattrs => {
                self.object()?;
                let pairs = self.store.list_xattrs(self.key).await?;
                self.spend(bytes_of(&pairs))?;
                OperationResult::Pairs { pairs, more: false }
            }
            Operation::GetOmap { keys } => {
                self.object()?;
                let mut pairs = Vec::new();
                // In steps, so that what one request may hold is bounded whatever the values' sizes.
                for step in keys.chunks(limits::LIST_PAIRS_STEP) {
                    let found = self.store.get_omap(self.key, step).await?;
                    self.spend(bytes_of(&found))?;
                    pairs.extend(found);
                }
                OperationResult::Pairs { pairs, more: false }
            }
            Operation::ListOmap { after, prefix, max, values } => self.list_omap(after, prefix, *max, *values).await?,
            _ => OperationResult::Done,
        };
        self.results.push(result);
        Ok(())
    }

    fn object(&self) -> Result<ObjectInfo, Refusal> {
        self.info.ok_or_else(|| Refusal::no_such_object(&self.key.name))
    }

    async fn data(&mut self, offset: u64, length: u64) -> Result<OperationResult, Refusal> {
        let info = self.object()?;
        let length = cut(&info, offset, length);
        if length == 0 {
            return Ok(OperationResult::Data { length: 0 });
        }
        let read = self.store.read(self.key, offset, length).await?;
        self.seen_version = Some(read.info.version);
        let length = read.data.len() as u64;
        self.accesses.push(ReadAccess { info, offset, length, base_bytes: read.base_bytes });
        if length > 0 {
            self.data.push(read.data);
        }
        Ok(OperationResult::Data { length })
    }

    /// A page ends at `max` pairs or when it is large enough; it then says that there are more.
    async fn list_omap(
        &mut self,
        after: &[u8],
        prefix: &[u8],
        max: u32,
        values: bool,
    ) -> Result<OperationResult, Refusal> {
        self.object()?;
        let max = max as usize;
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut more;
        loop {
            let from = pairs.last().map_or(after, |(key, _)| key.as_slice());
            let step = limits::LIST_PAIRS_STEP.min(max - pairs.len());
            let (found, has_more) = self.store.list_omap(self.key, from, prefix, step).await?;
            more = has_more;
            for (key, value) in found {
                let value = if values { value } else { Vec::new() };
                let size = pair_bytes(&key, &value);
                if size > self.result_bytes_left && !pairs.is_empty() {
                    return Ok(OperationResult::Pairs { pairs, more: true });
                }
                self.spend(size)?;
                pairs.push((key, value));
            }
            if !more || pairs.len() >= max {
                break;
            }
        }
        Ok(OperationResult::Pairs { pairs, more })
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.result_bytes_left = self.result_bytes_left.checked_sub(bytes).ok_or_else(|| {
            Refusal::new(
                libc::E2BIG,
                format!(
                    "the results of one request have at most {} bytes; ask for less at a time",
                    limits::RESULT_BYTES_MAX
                ),
            )
        })?;
        Ok(())
    }
}

/// What a pair takes on the wire, its lengths included.
fn pair_bytes(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + 16
}

fn bytes_of(pairs: &[(Vec<u8>, Vec<u8>)]) -> usize {
    pairs.iter().map(|(key, value)| pair_bytes(key, value)).sum()
}

pub fn no_such_xattr(name: &[u8]) -> Refusal {
    Refusal::new(libc::ENODATA, format!("there is no xattr '{}'", name.escape_ascii()))
}

/// A page of the names in a placement group.
pub async fn list(osd: &Osd, leadership: &Leadership, request: &ListRequest) -> Result<(Vec<Vec<u8>>, bool), Refusal> {
    let max = (request.max as usize).clamp(1, limits::LIST_NAMES_MAX);
    let page = osd.store().list(request.pool, request.pg, &request.after, &request.prefix, max).await?;
    osd.confirm_read(leadership, leadership.newest()).await?;
    Ok(page)
}
