#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::message::monitor::{AdminCommand, MonitorReply, MonitorRequest, OsdReport, PoolReport, ScrubReport};
use crate::message::object::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn header() -> impl Strategy<Value = FrameHeader> {
    (any::<u16>(), 0..=MESSAGE_BYTES_MAX, 0..=PAYLOAD_BYTES_MAX, any::<(u32, u32, u64)>()).prop_map(
        |(kind, message_len, payload_len, (message_crc32c, payload_crc32c, sequence))| FrameHeader {
            kind: FrameKind(kind),
            message_len,
            payload_len,
            message_crc32c,
            payload_crc32c,
            sequence,
        },
    )
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Stat),
        any::<u64>().prop_map(Operation::AssertVersion),
        (bytes(), proptest::option::of(bytes())).prop_map(|(name, value)| Operation::AssertXattr { name, value }),
        (bytes(), proptest::option::of(bytes())).prop_map(|(key, value)| Operation::AssertOmap { key, value }),
        any::<(u64, u64)>().prop_map(|(offset, length)| Operation::Write { offset, length }),
        vec((bytes(), bytes()), 0..5).prop_map(|pairs| Operation::SetOmap { pairs }),
        vec(bytes(), 0..5).prop_map(|keys| Operation::RemoveOmap { keys }),
        (bytes(), bytes(), any::<u32>(), any::<bool>()).prop_map(|(after, prefix, max, values)| Operation::ListOmap {
            after,
            prefix,
            max,
            values
        }),
    ]
}

fn object_request() -> impl Strategy<Value = ObjectRequest> {
    (any::<(u64, u64, u32, u32, u32, u64)>(), bytes(), vec(operation(), 0..6)).prop_map(
        |((client, sequence, epoch, pool, pg, completed_up_to), name, operations)| ObjectRequest {
            request: RequestId { client, sequence },
            epoch,
            pool,
            pg,
            name: name.into(),
            operations: operations.into(),
            completed_up_to,
            attempt: pg ^ 7,
        },
    )
}

/// As a session does it: the message is copied to where it is aligned, whatever its place in the stream.
fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}

/// Reads noise as every kind of message there is.
fn read_as_all(bytes: &[u8]) {
    let bytes = aligned(bytes);
    let _ = deserialize::<ObjectRequest>(ObjectRequest::KIND, &bytes);
    let _ = deserialize::<ObjectReply>(ObjectReply::KIND, &bytes);
    let _ = deserialize::<ListRequest>(ListRequest::KIND, &bytes);
    let _ = deserialize::<ListReply>(ListReply::KIND, &bytes);
    let _ = deserialize::<OsdCommandRequest>(OsdCommandRequest::KIND, &bytes);
    let _ = deserialize::<OsdCommandReply>(OsdCommandReply::KIND, &bytes);
    let _ = deserialize::<MonitorRequest>(MonitorRequest::KIND, &bytes);
    let _ = deserialize::<MonitorReply>(MonitorReply::KIND, &bytes);
}

proptest! {
    #[test]
    fn a_header_reads_back_as_it_was_written(header in header()) {
        prop_assert_eq!(FrameHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed(header in header(), position in 0..HEADER_BYTES, bit in 0u8..8) {
        let mut bytes = header.encode();
        bytes[position] ^= 1 << bit;
        prop_assert!(FrameHeader::decode(&bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_no_header(bytes in any::<[u8; HEADER_BYTES]>(), with_magic in any::<bool>()) {
        let mut bytes = bytes;
        if with_magic {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        }
        prop_assert!(FrameHeader::decode(&bytes).is_err());
    }

    #[test]
    fn lengths_beyond_the_limits_are_refused_though_the_checksum_is_right(header in header(), message in any::<u32>(), payload in any::<u32>()) {
        let written = FrameHeader { message_len: message, payload_len: payload, ..header };
        let allowed = message <= MESSAGE_BYTES_MAX && payload <= PAYLOAD_BYTES_MAX;
        prop_assert_eq!(FrameHeader::decode(&written.encode()).is_ok(), allowed);
    }

    #[test]
    fn a_message_reads_back_as_it_was_sent(message in object_request()) {
        let bytes = archive(&message, AlignedVec::new());
        prop_assert_eq!(deserialize::<ObjectRequest>(ObjectRequest::KIND, &bytes), Ok(message));
    }

    #[test]
    fn noise_read_as_messages_never_panics(bytes in vec(any::<u8>(), 0..600)) {
        read_as_all(&bytes);
    }

    #[test]
    fn a_damaged_or_truncated_message_never_panics(message in object_request(), flips in vec((any::<prop::sample::Index>(), 0u8..8), 0..4), cut in any::<prop::sample::Index>()) {
        let mut bytes = archive(&message, AlignedVec::new()).to_vec();
        for (position, bit) in flips {
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
        }
        read_as_all(&bytes);
        read_as_all(&bytes[..cut.index(bytes.len())]);
    }
}

#[test]
fn a_header_is_the_bytes_of_the_table() {
    let header = FrameHeader {
        kind: FrameKind::OBJECT_REQUEST,
        message_len: 0x11,
        payload_len: 0x2233,
        message_crc32c: 0x44556677,
        payload_crc32c: 0x8899aabb,
        sequence: 0x0102030405060708,
    };
    let bytes = header.encode();
    assert_eq!(
        bytes[..36],
        [
            b'B', b'S', b'L', b'T', 3, 0, 16, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0x33, 0x22, 0, 0, 0x77, 0x66, 0x55, 0x44,
            0xbb, 0xaa, 0x99, 0x88, 8, 7, 6, 5, 4, 3, 2, 1
        ]
    );
    assert_eq!(bytes[36..], crc32c::crc32c(&bytes[..36]).to_le_bytes());
}

#[test]
fn unknown_flags_are_refused() {
    let header = FrameHeader {
        kind: FrameKind::PING,
        message_len: 0,
        payload_len: 0,
        message_crc32c: 0,
        payload_crc32c: 0,
        sequence: 0,
    };
    let mut bytes = header.encode();
    bytes[8] = 1;
    let crc = crc32c::crc32c(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(FrameHeader::decode(&bytes), Err(FrameError::Flags { seen: 1 }));
}

#[test]
fn a_message_is_not_taken_for_one_of_another_kind() {
    let bytes = archive(&MonitorRequest::Subscribe { have_epoch: 7 }, AlignedVec::new());
    assert_eq!(
        deserialize::<MonitorReply>(FrameKind::MONITOR_REQUEST, &bytes),
        Err(FrameError::Kind { seen: FrameKind::MONITOR_REQUEST, expected: FrameKind::MONITOR_REPLY })
    );
}

#[test]
fn nested_messages_survive_the_wire() {
    let report = OsdReport {
        osd: 3,
        epoch: 9,
        base_total_bytes: 1 << 40,
        base_used_bytes: 7,
        base_promised_bytes: 8,
        hot_total_bytes: 1,
        hot_used_bytes: 2,
        index_bytes: 3,
        log_bytes: 4,
        fault: "flush failed".into(),
        checksum_errors: 1,
        scrub: ScrubReport { findings: vec!["one".into(); 2], ..ScrubReport::default() },
        pools: vec![PoolReport { pool: 1, ..PoolReport::default() }; 3],
        ..OsdReport::default()
    };
    for message in [
        MonitorRequest::Report(report),
        MonitorRequest::Command {
            tag: 5,
            command: AdminCommand::PoolCreate { name: "data".into(), pg_num: Some(8), rule: None, size: Some(3) },
        },
    ] {
        let bytes = archive(&message, AlignedVec::new());
        assert_eq!(deserialize::<MonitorRequest>(FrameKind::MONITOR_REQUEST, &bytes), Ok(message));
    }
}
