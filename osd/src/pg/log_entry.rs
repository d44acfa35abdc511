//! One entry of a placement group's log: which request made a version, of which object, what it changed, and what its client was told.
//!
//! | offset | bytes | field                                                                         |
//! |-------:|------:|-------------------------------------------------------------------------------|
//! |      0 |     1 | format, 2                                                                     |
//! |      1 |     1 | flags: 1, the object exists afterwards; 2, all of it changed; 4, xattrs did; 8, omap pairs did that are not listed |
//! |      2 |     2 | length of the object's name                                                   |
//! |      4 |     8 | the request's client                                                          |
//! |     12 |     8 | the request's sequence                                                        |
//! |     20 |     2 | number of operations                                                          |
//! |     22 |     2 | length of the recorded results; 0: each operation was just `Done`             |
//! |     24 |     4 | length of the recorded read data                                              |
//! |     28 |     8 | the version before this one in its primary's log                              |
//! |     36 |     8 | what was committed when it was ordered; 0: unknown                            |
//! |     44 |     2 | number of changed ranges                                                      |
//! |     46 |     2 | length of the changed omap keys                                               |
//! |     48 |       | the name, the ranges (offset and end), the omap keys (length and key), the results (an `rkyv` archive), the read data |
//!
//! Little-endian. The version is the entry's key. The store's checksums cover it; what it says is checked all the same. Format 1, of
//! before there were replicas, ends its header at 28 and says nothing of what changed: all of it, then.

use super::changes::Changes;
use basalt_blockstore::LogBytes;
use basalt_net::message::object::{ObjectName, OperationResult, RequestId, Results};
use rkyv::rancor;
use rkyv::util::AlignedVec;
use smallvec::smallvec;

const FORMAT: u8 = 2;
const EXISTS: u8 = 1;
const WHOLE: u8 = 2;
const XATTRS: u8 = 4;
const WHOLE_OMAP: u8 = 8;
const HEADER_BYTES: usize = 48;
const COMMITTED_AT: usize = 36;

#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    pub request: RequestId,
    pub name: ObjectName,
    pub exists: bool,
    /// The version before this one in its primary's log; 0: it is the first.
    pub previous: u64,
    /// All up to this version was on every member of the in-sync set when the entry was ordered. 0: nothing is known.
    pub committed: u64,
    pub changes: Changes,
    /// One an operation.
    pub results: Results,
    /// What the reads among them brought.
    pub data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("placement group log entry: {0}")]
pub struct MalformedEntry(String);

/// The same entry for a log that may lack others before it: it says nothing of what is committed.
pub fn without_committed(mut entry: Vec<u8>) -> Vec<u8> {
    if entry.first() == Some(&FORMAT)
        && let Some(field) = entry.get_mut(COMMITTED_AT..COMMITTED_AT + 8)
    {
        field.fill(0);
    }
    entry
}

impl LogEntry {
    /// Panics if a part is longer than its length field: the limits on names, operations and recorded results exclude it.
    pub fn encode(&self) -> LogBytes {
        let plain = self.results.iter().all(|result| *result == OperationResult::Done);
        let results = if plain {
            AlignedVec::new()
        } else {
            rkyv::to_bytes::<rancor::Error>(&self.results)
                .expect("serializing owned values into memory has no way to fail")
        };
        let length = |bytes: usize| u16::try_from(bytes).expect("limits keep it below 64 KiB");
        let Changes { is_whole, ranges, xattrs, omap } = &self.changes;
        let keys = omap.listed();
        let keys_length: usize = keys.iter().map(|key| 2 + key.len()).sum();
        let flags = [(self.exists, EXISTS), (*is_whole, WHOLE), (*xattrs, XATTRS), (omap.is_whole(), WHOLE_OMAP)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
        let parts = [self.name.len(), 16 * ranges.len(), keys_length, results.len(), self.data.len()];
        let mut bytes = LogBytes::with_capacity(HEADER_BYTES + parts.iter().sum::<usize>());
        // In one piece on the stack, since one is made for every write.
        let mut header = [0; HEADER_BYTES];
        header[0] = FORMAT;
        header[1] = flags;
        header[2..4].copy_from_slice(&length(self.name.len()).to_le_bytes());
        header[4..12].copy_from_slice(&self.request.client.to_le_bytes());
        header[12..20].copy_from_slice(&self.request.sequence.to_le_bytes());
        header[20..22].copy_from_slice(&length(self.results.len()).to_le_bytes());
        header[22..24].copy_from_slice(&length(results.len()).to_le_bytes());
        header[24..28].copy_from_slice(&u32::from(length(self.data.len())).to_le_bytes());
        header[28..36].copy_from_slice(&self.previous.to_le_bytes());
        header[COMMITTED_AT..44].copy_from_slice(&self.committed.to_le_bytes());
        header[44..46].copy_from_slice(&length(ranges.len()).to_le_bytes());
        header[46..48].copy_from_slice(&length(keys_length).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&self.name);
        for range in ranges {
            bytes.extend_from_slice(&range.start.to_le_bytes());
            bytes.extend_from_slice(&range.end.to_le_bytes());
        }
        for key in keys {
            bytes.extend_from_slice(&length(key.len()).to_le_bytes());
            bytes.extend_from_slice(key);
        }
        bytes.extend_from_slice(&results);
        bytes.extend_from_slice(&self.data);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<LogEntry, MalformedEntry> {
        let short = || MalformedEntry(format!("{} bytes are too few for what its header says", bytes.len()));
        let mut rest = bytes;
        let [format] = take(&mut rest).ok_or_else(short)?;
        if !(1..=FORMAT).contains(&format) {
            return Err(MalformedEntry(format!("format {format}, and this program reads formats 1 to {FORMAT}")));
        }
        let [flags] = take(&mut rest).ok_or_else(short)?;
        let name_length = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let client = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let sequence = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let operations = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let results_length = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let data_length = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let (mut previous, mut committed, mut ranges_count, mut keys_length) = (0, 0, 0, 0);
        if format > 1 {
            previous = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            committed = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            ranges_count = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            keys_length = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        }
        let (name, mut rest) = rest.split_at_checked(usize::from(name_length)).ok_or_else(short)?;
        let mut changes = if format == 1 { Changes::everything() } else { Changes::default() };
        for _ in 0..ranges_count {
            let start = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            let end = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            changes.range(start..end);
        }
        let (mut keys, rest) = rest.split_at_checked(usize::from(keys_length)).ok_or_else(short)?;
        while !keys.is_empty() {
            let length = u16::from_le_bytes(take(&mut keys).ok_or_else(short)?);
            let (key, after) = keys.split_at_checked(usize::from(length)).ok_or_else(short)?;
            changes.omap.key(key);
            keys = after;
        }
        changes.is_whole |= flags & WHOLE != 0;
        changes.xattrs |= flags & XATTRS != 0;
        if flags & WHOLE_OMAP != 0 {
            changes.omap.all();
        }
        let (archive, rest) = rest.split_at_checked(usize::from(results_length)).ok_or_else(short)?;
        let (data, rest) = rest.split_at_checked(data_length as usize).ok_or_else(short)?;
        if !rest.is_empty() {
            return Err(MalformedEntry(format!("{} bytes behind its end", rest.len())));
        }
        let results = if archive.is_empty() {
            smallvec![OperationResult::Done; usize::from(operations)]
        } else {
            let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
            aligned.extend_from_slice(archive);
            rkyv::from_bytes::<Results, rancor::Error>(&aligned)
                .map_err(|error| MalformedEntry(format!("its results are no archive: {error}")))?
        };
        Ok(LogEntry {
            request: RequestId { client, sequence },
            name: name.into(),
            exists: flags & EXISTS != 0,
            previous,
            committed,
            changes,
            results,
            data: data.to_vec(),
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::Range;

    fn entries() -> impl Strategy<Value = LogEntry> {
        let result = prop_oneof![
            Just(OperationResult::Done),
            any::<u64>().prop_map(|length| OperationResult::Data { length }),
            prop::collection::vec(any::<u8>(), 0..64).prop_map(OperationResult::Value),
        ];
        let name = prop::collection::vec(any::<u8>(), 1..200);
        let results = prop::collection::vec(result, 0..8);
        let data = prop::collection::vec(any::<u8>(), 0..200);
        let ranges = prop::collection::vec((0u64..1 << 40, 1u64..1 << 30), 0..20);
        let keys = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20);
        let changes = (any::<bool>(), any::<bool>(), ranges, keys).prop_map(|(is_whole, xattrs, ranges, keys)| {
            let mut changes = Changes { is_whole, xattrs, ..Changes::default() };
            for (start, length) in ranges {
                let range: Range<u64> = start..start + length;
                changes.range(range);
            }
            keys.iter().for_each(|key| changes.omap.key(key));
            changes
        });
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
        (numbers, name, any::<bool>(), changes, results, data).prop_map(
            |((client, sequence, previous, committed), name, exists, changes, results, data)| LogEntry {
                request: RequestId { client, sequence },
                name: name.into(),
                exists,
                previous,
                committed,
                changes,
                results: results.into(),
                data,
            },
        )
    }

    proptest! {
        #[test]
        fn an_entry_reads_back_as_it_was_written(entry in entries()) {
            prop_assert_eq!(LogEntry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn an_entry_that_is_copied_into_another_log_says_nothing_of_what_is_committed_there(entry in entries()) {
            let copied = LogEntry::decode(&without_committed(entry.encode().into_vec())).unwrap();
            prop_assert_eq!(copied, LogEntry { committed: 0, ..entry });
        }

        #[test]
        fn a_cut_entry_is_refused(entry in entries(), cut in any::<prop::sample::Index>()) {
            let bytes = entry.encode();
            let kept = cut.index(bytes.len());
            prop_assert!(LogEntry::decode(&bytes[..kept]).is_err());
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = LogEntry::decode(&bytes);
        }

        #[test]
        fn a_damaged_entry_is_an_error_or_an_entry_but_no_panic(entry in entries(), at in any::<prop::sample::Index>(), mask in 1u8..) {
            let mut bytes = entry.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            let _ = LogEntry::decode(&bytes);
        }
    }

    #[test]
    fn an_entry_of_before_there_were_replicas_changed_all_there_is() {
        let mut bytes = vec![1, 1];
        bytes.extend_from_slice(&3u16.to_le_bytes());
        bytes.extend_from_slice(&7u64.to_le_bytes());
        bytes.extend_from_slice(&9u64.to_le_bytes());
        bytes.extend_from_slice(&2u16.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(b"abc");
        let entry = LogEntry::decode(&bytes).unwrap();
        assert_eq!((entry.name.as_slice(), entry.exists, entry.results.len()), (&b"abc"[..], true, 2));
        assert_eq!((entry.changes, entry.previous), (Changes::everything(), 0));
    }
}
