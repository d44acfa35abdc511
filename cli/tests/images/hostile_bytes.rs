//! What a client may send that is no NBD: it loses its connection, or is refused, and nobody else notices.

use crate::dev_cluster::noise;
use crate::server::{Served, must};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const OPTION: &[u8; 8] = b"IHAVEOPT";

fn connect(served: &Served) -> UnixStream {
    let stream = UnixStream::connect(served.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Past the greeting.
fn greeted(served: &Served) -> UnixStream {
    let mut stream = connect(served);
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
    stream.write_all(&3u32.to_be_bytes()).unwrap();
    stream
}

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    [&OPTION[..], &number.to_be_bytes(), &(data.len() as u32).to_be_bytes(), data].concat()
}

/// The kind of the reply to an option, and its data.
fn reply(stream: &mut UnixStream) -> (u32, Vec<u8>) {
    let mut head = [0; 20];
    stream.read_exact(&mut head).unwrap();
    let field = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
    let mut data = vec![0; field(16) as usize];
    stream.read_exact(&mut data).unwrap();
    (field(12), data)
}

/// In transmission on this export, with simple replies.
fn transmitting(served: &Served, export: &str) -> UnixStream {
    let mut stream = greeted(served);
    let data = [&(export.len() as u32).to_be_bytes()[..], export.as_bytes(), &[0, 0]].concat();
    stream.write_all(&option(7, &data)).unwrap();
    loop {
        match reply(&mut stream) {
            (3, _) => {}
            (1, _) => return stream,
            (kind, data) => panic!("{kind:#x}: {}", String::from_utf8_lossy(&data)),
        }
    }
}

fn request(command: u16, flags: u16, offset: u64, length: u32) -> Vec<u8> {
    [
        &0x2560_9513u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &7u64.to_be_bytes(),
        &offset.to_be_bytes(),
        &length.to_be_bytes(),
    ]
    .concat()
}

/// The error of a simple reply to [`request`].
fn error(stream: &mut UnixStream) -> u32 {
    let mut head = [0; 16];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[..4], 0x6744_6698u32.to_be_bytes());
    assert_eq!(head[8..], 7u64.to_be_bytes());
    u32::from_be_bytes(head[4..8].try_into().unwrap())
}

/// Whether the server ends the connection, having sent whatever.
fn is_closed(stream: &mut UnixStream) -> bool {
    let mut rest = Vec::new();
    // A reset is an end, too.
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn nonsense_ends_its_own_connection_and_no_other() {
    let mut served = Served::start();
    served.create("data/disk", "16M");
    let mut bystander = transmitting(&served, "data/disk");
    let long_name = vec![b'x'; 20_000];
    let endless = [&OPTION[..], &1u32.to_be_bytes(), &u32::MAX.to_be_bytes()].concat();
    let not_options: Vec<Vec<u8>> =
        vec![noise(1, 64), noise(2, 100_000), endless, option(1, &long_name), option(1, &[0xff; 9])];
    for bytes in not_options {
        let mut stream = greeted(&served);
        // The server may be gone before all is sent.
        let _ = stream.write_all(&bytes);
        assert!(is_closed(&mut stream), "{:?}", &bytes[..bytes.len().min(20)]);
    }
    // Flags that were not offered.
    let mut stream = connect(&served);
    stream.write_all(&[0xff; 4]).unwrap();
    assert!(is_closed(&mut stream));
    // Requests that are none, and a write of more than anybody takes.
    for bytes in [noise(3, 28), request(1, 0, 0, u32::MAX)] {
        let mut stream = transmitting(&served, "data/disk");
        let _ = stream.write_all(&bytes);
        assert!(is_closed(&mut stream));
    }
    // Half of an option, half of a request, half of a write's data: then the client leaves.
    drop(greeted(&served).write_all(&option(7, b"1234")[..13]));
    let mut stream = transmitting(&served, "data/disk");
    stream.write_all(&[request(1, 0, 0, 4096), vec![1; 100]].concat()).unwrap();
    drop(stream);
    bystander.write_all(&request(0, 0, 0, 512)).unwrap();
    assert_eq!(error(&mut bystander), 0);
    let mut data = [9; 512];
    bystander.read_exact(&mut data).unwrap();
    assert_eq!(data, [0; 512], "what came only in half was not written");
    assert!(served.cluster.is_alive());
}

#[test]
fn options_whose_lengths_lie_are_refused_and_the_next_is_heard() {
    let served = Served::start();
    served.create("data/disk", "16M");
    let mut stream = greeted(&served);
    let lie = [&100u32.to_be_bytes()[..], b"data/disk", &[0, 0]].concat();
    let many = [&9u32.to_be_bytes()[..], b"data/disk", &[0xff, 0xff]].concat();
    for (number, data, expected) in [
        (7, &lie[..], 0x8000_0003u32),
        (6, &many[..], 0x8000_0003),
        (7, b"", 0x8000_0003),
        (3, b"x", 0x8000_0003),
        (10, &lie, 0x8000_0003),
        (77, b"what", 0x8000_0001),
        (7, &vec![0; 20_000], 0x8000_0009),
    ] {
        stream.write_all(&option(number, data)).unwrap();
        let (kind, message) = reply(&mut stream);
        assert_eq!(kind, expected, "{number}: {}", String::from_utf8_lossy(&message));
    }
    stream.write_all(&option(2, b"")).unwrap();
    assert_eq!(reply(&mut stream).0, 1);
    assert!(is_closed(&mut stream));
}

#[test]
fn requests_beyond_the_end_or_with_unknown_flags_are_refused_one_by_one() {
    let served = Served::start();
    served.create("data/disk", "16M");
    let mut stream = transmitting(&served, "data/disk");
    let end = 16 << 20;
    for (bytes, expected) in [
        (request(0, 0, end, 1), 22),
        (request(0, 0, u64::MAX, 4096), 22),
        (request(0, 0, 0, 33 << 20), 22),
        (request(0, 0x8000, 0, 512), 22),
        ([request(1, 0, end - 1, 2), vec![1; 2]].concat(), 28),
        ([request(1, 2, 0, 2), vec![1; 2]].concat(), 22),
        (request(4, 0, end, 4096), 28),
        (request(6, 0, 1, u32::MAX), 28),
        (request(3, 0, 1, 1), 22),
        (request(7, 0, 0, 4096), 22),
        (request(99, 0, 0, 0), 22),
        (request(3, 0, 0, 0), 0),
    ] {
        stream.write_all(&bytes).unwrap();
        assert_eq!(error(&mut stream), expected, "{:?}", &bytes[..28]);
    }
}

#[test]
fn whoever_takes_no_replies_keeps_nobody_from_theirs() {
    let served = Served::start();
    served.create("data/disk", "64M");
    let uri = served.uri("data/disk");
    must("qemu-io", &["-f", "raw", "-c", "write -P 5 0 32M", &uri]);
    // Asks for gigabytes and reads none of them.
    let mut greedy: Vec<UnixStream> = (0..4).map(|_| transmitting(&served, "data/disk")).collect();
    for stream in &mut greedy {
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        for _ in 0..200 {
            if stream.write_all(&request(0, 0, 0, 32 << 20)).is_err() {
                break;
            }
        }
    }
    let said = must(
        "qemu-io",
        &["-f", "raw", "-c", "read -P 5 0 16M", "-c", "write -P 6 1M 1M", "-c", "read -P 6 1M 1M", &uri],
    );
    assert!(!said.contains("verification failed"), "{said}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.cluster.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 1536 << 10, "{kib} KiB");
}
