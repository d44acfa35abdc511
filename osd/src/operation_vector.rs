//! A request's operations, judged before anything is done: what they are, how large, and where their payload lies.

use crate::limits;
use crate::refusal::Refusal;
use basalt_net::message::object::Operation;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Guard,
    Read,
    Write,
}

pub fn kind(operation: &Operation) -> Kind {
    use Operation::*;
    match operation {
        AssertExists | AssertAbsent | AssertVersion(_) | AssertXattr { .. } | AssertOmap { .. } => Kind::Guard,
        Read { .. } | Stat | GetXattr { .. } | ListXattrs | GetOmap { .. } | ListOmap { .. } => Kind::Read,
        Touch
        | Write { .. }
        | WriteFull { .. }
        | Append { .. }
        | Zero { .. }
        | Truncate { .. }
        | Remove
        | SetXattr { .. }
        | RemoveXattr { .. }
        | SetOmap { .. }
        | RemoveOmap { .. }
        | ClearOmap
        | CloneRange { .. } => Kind::Write,
    }
}

/// What a vector asks for in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub writes: bool,
    pub reads: bool,
    /// Every write gives space back, so a full device takes it.
    pub only_frees: bool,
    /// Bytes of payload.
    pub written_bytes: u64,
    /// Bytes of data that will be written, be they payload or cloned.
    pub placed_bytes: u64,
    /// The range of the data it writes, for the tier: from the lowest offset to the highest end.
    pub written: Option<Range<u64>>,
    /// Whatever the object held, this is all of its data from now on.
    pub is_whole: bool,
    /// Objects that `CloneRange` takes from, without repeats.
    pub sources: Vec<Vec<u8>>,
}

/// Checks what can be checked without the object. `payload` is how many bytes came with the request.
pub fn summarize(operations: &[Operation], payload: usize, object_size_max: u64) -> Result<Summary, Refusal> {
    if operations.is_empty() || operations.len() > limits::OPERATIONS_MAX {
        return Err(Refusal::new(
            libc::EINVAL,
            format!("a request has 1 to {} operations, and this one has {}", limits::OPERATIONS_MAX, operations.len()),
        ));
    }
    let mut summary = Summary { only_frees: true, ..Summary::default() };
    let mut payload_left = payload as u64;
    for (index, operation) in operations.iter().enumerate() {
        match kind(operation) {
            Kind::Guard => {}
            Kind::Read => summary.reads = true,
            Kind::Write => summary.writes = true,
        }
        let (range, payload_bytes) = match operation {
            Operation::Write { offset, length } => (Some((*offset, *length)), *length),
            Operation::WriteFull { length } => (Some((0, *length)), *length),
            Operation::Append { length } => (None, *length),
            Operation::Zero { offset, length } | Operation::CloneRange { offset, length, .. } => {
                (Some((*offset, *length)), 0)
            }
            Operation::Truncate { size } => (Some((*size, 0)), 0),
            _ => (None, 0),
        };
        if let Some((offset, length)) = range
            && offset.checked_add(length).is_none_or(|end| end > object_size_max)
        {
            return Err(Refusal::new(
                libc::EFBIG,
                format!("{length} bytes at {offset} end beyond the largest object, {object_size_max} bytes (max_object_size)"),
            )
            .at(index));
        }
        payload_left = payload_left.checked_sub(payload_bytes).ok_or_else(|| {
            Refusal::new(libc::EINVAL, format!("the operations write more than the {payload} bytes of payload"))
                .at(index)
        })?;
        summary.written_bytes += payload_bytes;
        summary.placed_bytes += payload_bytes;
        summary.is_whole |= matches!(operation, Operation::WriteFull { .. });
        match operation {
            Operation::Write { .. } | Operation::WriteFull { .. } => {
                if let Some((offset, length)) = range {
                    let before = summary.written.take().unwrap_or(offset..offset + length);
                    summary.written = Some(before.start.min(offset)..before.end.max(offset + length));
                }
            }
            Operation::CloneRange { source, source_offset, length, .. } => {
                if source_offset.checked_add(*length).is_none_or(|end| end > object_size_max) {
                    let message = format!(
                        "the source's {length} bytes at {source_offset} end beyond the largest object, {object_size_max} bytes"
                    );
                    return Err(Refusal::new(libc::EFBIG, message).at(index));
                }
                summary.placed_bytes += length;
                if summary.placed_bytes - summary.written_bytes > limits::CLONE_BYTES_MAX {
                    let message =
                        format!("one request clones at most {} bytes; clone in pieces", limits::CLONE_BYTES_MAX);
                    return Err(Refusal::new(libc::E2BIG, message).at(index));
                }
                if source.is_empty() || source.len() > limits::OBJECT_NAME_BYTES_MAX {
                    return Err(Refusal::new(
                        libc::EINVAL,
                        format!(
                            "the source's name has {} bytes; 1 to {} are possible",
                            source.len(),
                            limits::OBJECT_NAME_BYTES_MAX
                        ),
                    )
                    .at(index));
                }
                if !summary.sources.contains(source) {
                    summary.sources.push(source.clone());
                }
            }
            _ => {}
        }
        let frees = matches!(
            operation,
            Operation::Remove
                | Operation::RemoveXattr { .. }
                | Operation::RemoveOmap { .. }
                | Operation::ClearOmap
                | Operation::Truncate { .. }
        );
        summary.only_frees &= frees || kind(operation) != Kind::Write;
    }
    if payload_left > 0 {
        return Err(Refusal::new(
            libc::EINVAL,
            format!("{payload} bytes of payload came, and the operations write {} of them", summary.written_bytes),
        ));
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(operations: &[Operation], payload: usize) -> i32 {
        summarize(operations, payload, 1 << 20).unwrap_err().errno
    }

    #[test]
    fn payload_and_operations_must_agree_to_the_byte() {
        let write = |length| Operation::Write { offset: 0, length };
        assert!(summarize(&[write(10), Operation::Append { length: 5 }], 15, 1 << 20).is_ok());
        assert_eq!(errno(&[write(10), write(6)], 15), libc::EINVAL);
        assert_eq!(errno(&[write(10)], 15), libc::EINVAL);
        assert_eq!(errno(&[write(10), Operation::Append { length: u64::MAX }], 15), libc::EINVAL);
        assert_eq!(errno(&[], 0), libc::EINVAL);
    }

    #[test]
    fn no_write_ends_beyond_the_largest_object() {
        for operation in [
            Operation::Write { offset: 1 << 20, length: 1 },
            Operation::WriteFull { length: (1 << 20) + 1 },
            Operation::Zero { offset: u64::MAX, length: 1 },
            Operation::Truncate { size: (1 << 20) + 1 },
            Operation::CloneRange { source: b"a".to_vec(), source_offset: 0, offset: 1, length: 1 << 20 },
            Operation::CloneRange { source: b"a".to_vec(), source_offset: u64::MAX, offset: 0, length: 1 },
        ] {
            let refusal = summarize(&[Operation::Touch, operation], 1 << 21, 1 << 20).unwrap_err();
            assert_eq!((refusal.errno, refusal.operation), (libc::EFBIG, Some(1)));
            assert!(refusal.message.contains("1048576"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_vector_frees_only_if_all_its_writes_do() {
        let frees = |operations: &[Operation]| summarize(operations, 0, 1 << 20).unwrap().only_frees;
        assert!(frees(&[Operation::AssertExists, Operation::Remove]));
        assert!(!frees(&[Operation::Remove, Operation::Touch]));
    }

    #[test]
    fn the_written_range_covers_every_write() {
        let operations = [Operation::Write { offset: 100, length: 10 }, Operation::Write { offset: 20, length: 5 }];
        assert_eq!(summarize(&operations, 15, 1 << 20).unwrap().written, Some(20..110));
    }
}
