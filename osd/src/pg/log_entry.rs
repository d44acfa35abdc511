//! One entry of a placement group's log: which request made a version, of which object, and what its client was told.
//!
//! | offset | bytes | field                                                                         |
//! |-------:|------:|-------------------------------------------------------------------------------|
//! |      0 |     1 | format, 1                                                                     |
//! |      1 |     1 | flags: 1, the object exists afterwards                                        |
//! |      2 |     2 | length of the object's name                                                   |
//! |      4 |     8 | the request's client                                                          |
//! |     12 |     8 | the request's sequence                                                        |
//! |     20 |     2 | number of operations                                                          |
//! |     22 |     2 | length of the recorded results; 0: each operation was just `Done`             |
//! |     24 |     4 | length of the recorded read data                                              |
//! |     28 |       | the name, the results (an `rkyv` archive), the read data                      |
//!
//! Little-endian. The version is the entry's key. The store's checksums cover it; what it says is checked all the same.

use basalt_net::message::object::{OperationResult, RequestId};
use rkyv::rancor;
use rkyv::util::AlignedVec;

const FORMAT: u8 = 1;
const EXISTS: u8 = 1;
const HEADER_BYTES: usize = 28;

#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    pub request: RequestId,
    pub name: Vec<u8>,
    pub exists: bool,
    /// One an operation.
    pub results: Vec<OperationResult>,
    /// What the reads among them brought.
    pub data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("placement group log entry: {0}")]
pub struct MalformedEntry(String);

impl LogEntry {
    /// Panics if a part is longer than its length field: the limits on names, operations and recorded results exclude it.
    pub fn encode(&self) -> Vec<u8> {
        let plain = self.results.iter().all(|result| *result == OperationResult::Done);
        let results = if plain {
            AlignedVec::new()
        } else {
            rkyv::to_bytes::<rancor::Error>(&self.results)
                .expect("serializing owned values into memory has no way to fail")
        };
        let length = |bytes: usize| u16::try_from(bytes).expect("limits keep it below 64 KiB");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.name.len() + results.len() + self.data.len());
        bytes.push(FORMAT);
        bytes.push(if self.exists { EXISTS } else { 0 });
        bytes.extend_from_slice(&length(self.name.len()).to_le_bytes());
        bytes.extend_from_slice(&self.request.client.to_le_bytes());
        bytes.extend_from_slice(&self.request.sequence.to_le_bytes());
        bytes.extend_from_slice(&length(self.results.len()).to_le_bytes());
        bytes.extend_from_slice(&length(results.len()).to_le_bytes());
        bytes.extend_from_slice(&u32::from(length(self.data.len())).to_le_bytes());
        bytes.extend_from_slice(&self.name);
        bytes.extend_from_slice(&results);
        bytes.extend_from_slice(&self.data);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<LogEntry, MalformedEntry> {
        let short = || MalformedEntry(format!("{} bytes are too few for what its header says", bytes.len()));
        let mut rest = bytes;
        let [format] = take(&mut rest).ok_or_else(short)?;
        if format != FORMAT {
            return Err(MalformedEntry(format!("format {format}, and this program reads format {FORMAT}")));
        }
        let [flags] = take(&mut rest).ok_or_else(short)?;
        let name_length = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let client = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let sequence = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let operations = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let results_length = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let data_length = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let (name, rest) = rest.split_at_checked(usize::from(name_length)).ok_or_else(short)?;
        let (archive, rest) = rest.split_at_checked(usize::from(results_length)).ok_or_else(short)?;
        let (data, rest) = rest.split_at_checked(data_length as usize).ok_or_else(short)?;
        if !rest.is_empty() {
            return Err(MalformedEntry(format!("{} bytes behind its end", rest.len())));
        }
        let results = if archive.is_empty() {
            vec![OperationResult::Done; usize::from(operations)]
        } else {
            let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
            aligned.extend_from_slice(archive);
            rkyv::from_bytes::<Vec<OperationResult>, rancor::Error>(&aligned)
                .map_err(|error| MalformedEntry(format!("its results are no archive: {error}")))?
        };
        Ok(LogEntry {
            request: RequestId { client, sequence },
            name: name.to_vec(),
            exists: flags & EXISTS != 0,
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

    fn entries() -> impl Strategy<Value = LogEntry> {
        let result = prop_oneof![
            Just(OperationResult::Done),
            any::<u64>().prop_map(|length| OperationResult::Data { length }),
            prop::collection::vec(any::<u8>(), 0..64).prop_map(OperationResult::Value),
        ];
        let name = prop::collection::vec(any::<u8>(), 1..200);
        let results = prop::collection::vec(result, 0..8);
        let data = prop::collection::vec(any::<u8>(), 0..200);
        (any::<(u64, u64)>(), name, any::<bool>(), results, data).prop_map(
            |((client, sequence), name, exists, results, data)| LogEntry {
                request: RequestId { client, sequence },
                name,
                exists,
                results,
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
}
