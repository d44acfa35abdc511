//! Peers that speak another protocol, or none, or this one with absurd lengths: the daemon drops them and serves all others meanwhile.

use crate::dev_cluster::{DevCluster, noise};
use basalt_net::frame::{FrameHeader, FrameKind};
use basalt_net::handshake::{ClientHandshake, Credentials, Progress};
use basalt_net::sealing::Sealer;
use basalt_net::{EntityName, Fsid, Key, Roster, Service, Software, Trust, WireMode};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than an unauthenticated peer is given, and than a daemon takes to say farewell.
const DROPPED_WITHIN: Duration = Duration::from_secs(8);
/// What a peer that sends for ever may get rid of before it is dropped; the kernel's own buffers are the larger part of it.
const UNREAD_BYTES_MAX: usize = 64 << 20;
const HALF_OPEN: usize = 500;
/// A daemon that allocates by a length it was sent has more than this in no time.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;

struct Ports {
    monitor: SocketAddr,
    osd: SocketAddr,
}

fn ports(cluster: &DevCluster) -> Ports {
    let text = fs::read_to_string(cluster.config()).unwrap();
    let monitors = text.lines().find(|line| line.starts_with("monitors")).unwrap();
    let dump = cluster.must_json(&["osd", "dump"]);
    let osd = dump["osds"][0]["public_addr"].as_str().unwrap();
    let osd = osd.split('/').next().unwrap().parse().unwrap();
    Ports { monitor: monitors.split('"').nth(1).unwrap().parse().unwrap(), osd }
}

fn assert_serves(cluster: &mut DevCluster) {
    assert!(cluster.is_alive(), "{}", cluster.log());
    let begun = Instant::now();
    assert_eq!(cluster.put("x", b"served").status, 0);
    assert_eq!(cluster.get("x").stdout, b"served");
    assert!(begun.elapsed() < Duration::from_secs(5), "served, but after {:?}", begun.elapsed());
    let log = cluster.log();
    assert!(!log.contains("panicked"), "{log}");
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak << 10 < RESIDENT_BYTES_MAX, "the daemon once had {peak} KiB");
}

/// Whether the peer closes, within the time it should need.
fn is_dropped(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(DROPPED_WITHIN)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

#[test]
fn other_protocols_are_dropped() {
    let mut cluster = DevCluster::start();
    let Ports { monitor, osd } = ports(&cluster);
    // As a browser begins: a record of type handshake, TLS 1.0, then a ClientHello.
    let tls = [&[0x16, 3, 1, 0x02, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise(5, 508)].concat();
    for address in [monitor, osd] {
        let sent: [(&str, Vec<u8>); 5] = [
            ("noise", noise(1, 100_000)),
            ("HTTP", b"GET /metrics HTTP/1.1\r\nHost: basalt\r\nAccept: */*\r\n\r\n".to_vec()),
            ("TLS", tls.clone()),
            ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
            ("the right magic, then noise", [b"BSLT".as_slice(), &noise(6, 2000)].concat()),
        ];
        for (what, bytes) in sent {
            let mut stream = connect(address);
            // It may be closed before all is sent.
            let _ = stream.write_all(&bytes);
            assert!(is_dropped(&mut stream), "{what} is still heard at {address}");
        }
    }
    assert_serves(&mut cluster);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

#[test]
fn a_gigabyte_of_zeros_is_not_read() {
    let mut cluster = DevCluster::start();
    let Ports { monitor, osd } = ports(&cluster);
    let zeros = vec![0; 1 << 20];
    for address in [monitor, osd] {
        let mut stream = connect(address);
        let mut sent = 0;
        while sent < 1 << 30 {
            match stream.write(&zeros) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        assert!(sent <= UNREAD_BYTES_MAX, "{address} took {sent} bytes from an unknown peer");
    }
    assert_serves(&mut cluster);
}

#[test]
fn half_open_connections_keep_nobody_out() {
    let mut cluster = DevCluster::start();
    let Ports { monitor, osd } = ports(&cluster);
    let mut held = Vec::new();
    for address in [monitor, osd] {
        for index in 0..HALF_OPEN {
            let mut stream = connect(address);
            // Some say nothing, some begin as a client would and never go on.
            let _ = stream.write_all(&b"BSLT\x01\x00\x01"[..index % 8]);
            held.push(stream);
        }
    }
    assert_serves(&mut cluster);
    let dropped = held.iter_mut().filter_map(|stream| is_dropped(stream).then_some(())).count();
    assert_eq!(dropped, 2 * HALF_OPEN, "half-open connections are held for ever");
    assert_serves(&mut cluster);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

/// How many this daemon (mon, osd) of the cluster's process has not let in, or cut off, for that reason.
pub fn turned_away(cluster: &DevCluster, daemon: &str, why: &str) -> u64 {
    // A scrape of just now is given out again.
    std::thread::sleep(Duration::from_millis(600));
    let url = fs::read_to_string(cluster.dir().join("run/dev.metrics")).unwrap();
    let address = url.trim().trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = connect(address.parse().unwrap());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = format!("basalt_turned_away_total{{daemon=\"{daemon}\",why=\"{why}\"}} ");
    let count = text.lines().find_map(|shown| shown.strip_prefix(&line));
    count.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
}

/// A stream behind a handshake as the cluster's administrator, and what seals its frames.
fn authenticated(cluster: &DevCluster, address: SocketAddr, service: Service) -> (TcpStream, Sealer) {
    let (stream, sealer, _) = shake_hands(cluster, address, service, |_, _| {});
    (stream, sealer.unwrap())
}

/// A handshake whose messages may be altered before they are sent, by their number; with what was sent. No sealer: it was not let in.
fn shake_hands(
    cluster: &DevCluster,
    address: SocketAddr,
    service: Service,
    alter: impl Fn(usize, &mut Vec<u8>),
) -> (TcpStream, Option<Sealer>, Vec<u8>) {
    let text = fs::read_to_string(cluster.config()).unwrap();
    let digits: String = text.split('"').nth(1).unwrap().replace('-', "");
    let mut fsid = [0; 16];
    for (index, byte) in fsid.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap();
    }
    let key = |of: &str| Key::load(&cluster.dir().join(of)).unwrap();
    let trust = Trust::in_monitors([key("keys/mon.a").public()]);
    let osds = [(EntityName::osd(0), [key("keys/host.0").public()].into_iter().collect())];
    trust.learn(1, || Roster { epoch: 1, keys: osds.into() });
    let name = EntityName::new("client.admin").unwrap();
    let credentials = Credentials {
        fsid: Fsid(fsid),
        key: key("key"),
        name,
        trust,
        mode: WireMode::Secure,
        software: Software::this(),
    };
    let nonce = noise(address.port().into(), 32).try_into().unwrap();
    let mut handshake = ClientHandshake::new(credentials, service, nonce);
    let mut stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut step = handshake.start();
    let (mut sent, mut messages) = (Vec::new(), 0);
    loop {
        if !step.send.is_empty() {
            alter(messages, &mut step.send);
            messages += 1;
            sent.extend_from_slice(&step.send);
        }
        stream.write_all(&step.send).unwrap();
        match step.progress {
            Progress::Read(length) => {
                let mut bytes = vec![0; length];
                if stream.read_exact(&mut bytes).is_err() {
                    return (stream, None, sent);
                }
                step = handshake.receive(&bytes);
            }
            Progress::Done(authenticated) => return (stream, authenticated.sealer(), sent),
            Progress::Failed(_) => return (stream, None, sent),
        }
    }
}

/// What somebody in between could do without a key: to the handshake, and to a session that is sealed.
#[test]
fn what_was_altered_or_recorded_is_dropped_and_counted() {
    let mut cluster = DevCluster::start();
    let Ports { monitor, osd } = ports(&cluster);
    for (daemon, address, service) in [("mon", monitor, Service::Monitor), ("osd", osd, Service::Osd(0))] {
        let count = |why: &str| turned_away(&cluster, daemon, why);
        let before = count("tampered");
        // The last byte of the proof.
        let flip = |number: usize, message: &mut Vec<u8>| {
            if let (1, Some(last)) = (number, message.last_mut()) {
                *last ^= 1;
            }
        };
        let (_, sealer, _) = shake_hands(&cluster, address, service, flip);
        assert!(sealer.is_none(), "{daemon} took an altered proof");
        assert_eq!(count("tampered"), before + 1);
        // All that an administrator said once, said again.
        let (_, sealer, recorded) = shake_hands(&cluster, address, service, |_, _| {});
        assert!(sealer.is_some());
        let mut again = connect(address);
        let _ = again.write_all(&recorded);
        assert!(is_dropped(&mut again), "{daemon} let a recorded client in");
        assert_eq!(count("tampered"), before + 2);
        // A frame with a flipped bit, and a whole one that comes twice.
        let ping = |sequence| FrameHeader::describe(FrameKind::PING, &[], &[], sequence).unwrap().encode();
        let (mut stream, mut sealer) = authenticated(&cluster, address, service);
        let mut altered = sealed(&mut sealer, &ping(0));
        altered[3] ^= 1;
        let _ = stream.write_all(&altered);
        assert!(is_dropped(&mut stream), "{daemon} read an altered frame");
        assert_eq!(count("tampered"), before + 3);
        let (mut stream, mut sealer) = authenticated(&cluster, address, service);
        let frame = sealed(&mut sealer, &ping(0));
        let _ = stream.write_all(&[&frame[..], &frame].concat());
        assert!(is_dropped(&mut stream), "{daemon} read a frame twice");
        assert_eq!(count("tampered"), before + 4);
        // A port scan, and one that connects and leaves.
        let before = (count("stranger"), count("unfinished"));
        let mut scan = connect(address);
        let _ = scan.write_all(b"GET / HTTP/1.1\r\n\r\n");
        assert!(is_dropped(&mut scan));
        drop(connect(address));
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!((count("stranger"), count("unfinished")), (before.0 + 1, before.1 + 1));
    }
    assert_serves(&mut cluster);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

/// A header and what follows it, as a peer that has the session's key says it.
fn sealed(sealer: &mut Sealer, frame: &[u8]) -> Vec<u8> {
    let (header, message) = frame.split_first_chunk().unwrap();
    let mut message = message.to_vec();
    let head = sealer.seal(header, &mut message, &mut []);
    [&head[..], &message].concat()
}

#[test]
fn absurd_frames_of_an_authenticated_peer_end_its_session_only() {
    let mut cluster = DevCluster::start();
    let Ports { monitor, osd } = ports(&cluster);
    let header = |kind, message: &[u8], sequence| FrameHeader::describe(kind, message, &[], sequence).unwrap();
    for (address, service, request) in [
        (monitor, Service::Monitor, FrameKind::MONITOR_REQUEST),
        (osd, Service::Osd(0), FrameKind::OBJECT_REQUEST),
        (osd, Service::Osd(0), FrameKind::LIST_REQUEST),
        (osd, Service::Osd(0), FrameKind::OSD_COMMAND_REQUEST),
    ] {
        let right = header(request, &[], 0);
        let message = noise(7, 400);
        let mut torn = right.encode();
        torn[20] ^= 1;
        let absurd: [(&str, Vec<u8>); 9] = [
            ("a message of 4 GiB", FrameHeader { message_len: u32::MAX, ..right }.encode().into()),
            ("a payload of 4 GiB", FrameHeader { payload_len: u32::MAX, ..right }.encode().into()),
            ("both", FrameHeader { message_len: u32::MAX, payload_len: u32::MAX, ..right }.encode().into()),
            ("a header with a flipped bit", torn.into()),
            ("no frame at all", noise(8, 4096)),
            ("an empty request", right.encode().into()),
            ("a request of noise", [&header(request, &message, 0).encode()[..], &message].concat()),
            ("a kind that nobody knows", header(FrameKind(0xffff), &[], 0).encode().into()),
            ("another's message", [&header(request, &message, 0).encode()[..], &noise(9, 400)].concat()),
        ];
        for (what, bytes) in absurd {
            let (mut stream, mut sealer) = authenticated(&cluster, address, service);
            let _ = stream.write_all(&sealed(&mut sealer, &bytes));
            assert!(is_dropped(&mut stream), "{what} is borne by {service} for {request:?}");
        }
        // Announced, allowed, and never sent: it costs the session's credits, and harms nobody.
        for _ in 0..50 {
            let (mut stream, mut sealer) = authenticated(&cluster, address, service);
            let large = FrameHeader { message_len: 8 << 20, payload_len: 16 << 20, ..right };
            stream.write_all(&sealed(&mut sealer, &large.encode())).unwrap();
        }
    }
    assert_serves(&mut cluster);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

/// Strangers: so many that connected and say nothing, and others that come all the time, with garbage, with what was recorded, with a stranger's
/// key.
struct Crowd {
    held: Vec<TcpStream>,
    is_over: Arc<AtomicBool>,
    coming: Vec<JoinHandle<u64>>,
}

impl Crowd {
    fn gather(addresses: [SocketAddr; 2], recorded: &[u8]) -> Crowd {
        let half_open = |address: SocketAddr| (0..HALF_OPEN).map(move |_| connect(address));
        let held = addresses.into_iter().flat_map(half_open).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let come = |address: SocketAddr| {
            let (is_over, recorded) = (is_over.clone(), recorded.to_vec());
            std::thread::spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut stream = connect(address);
                    let said = match count % 3 {
                        0 => noise(count, 4000),
                        1 => recorded.clone(),
                        _ => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                    };
                    // It may be closed before all is sent.
                    let _ = stream.write_all(&said);
                    count += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                count
            })
        };
        let coming = addresses.map(come).into();
        Crowd { held, is_over, coming }
    }

    /// How many came besides those that were there.
    fn leave(self) -> u64 {
        assert_eq!(self.held.len(), 2 * HALF_OPEN);
        self.is_over.store(true, Ordering::Relaxed);
        self.coming.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}

/// Measures, in turns with and without them, and so needs a machine without other work.
#[test]
#[ignore = "measures, for a minute"]
fn a_crowd_of_strangers_slows_clients_by_less_than_a_tenth() {
    let cluster = DevCluster::start_with(&["--base", "2G", "--hot", "0"]);
    let Ports { monitor, osd } = ports(&cluster);
    let (_, _, recorded) = shake_hands(&cluster, osd, Service::Osd(0), |_, _| {});
    let rate = |rw: &str| {
        let words = ["bench", "--name=t", "--pool=data", "--bs=4k", "--iodepth=4", "--size=64M", "--time_based"];
        let report = cluster.must(&[&words[..], &["--runtime=2", "--output-format=json", rw]].concat());
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        report["jobs"][0][rw.trim_start_matches("--rw=rand")]["iops"].as_f64().unwrap()
    };
    for rw in ["--rw=randwrite", "--rw=randread"] {
        rate(rw);
        let beside_a_crowd = || {
            let crowd = Crowd::gather([monitor, osd], &recorded);
            let rate = rate(rw);
            assert!(crowd.leave() > 100, "a crowd");
            rate
        };
        // Whichever comes second may have it easier, so each comes second as often.
        let mut crowd_second: Vec<f64> = Vec::new();
        let mut crowd_first: Vec<f64> = Vec::new();
        for _ in 0..5 {
            let alone = rate(rw);
            crowd_second.push(beside_a_crowd() / alone);
            let beside = beside_a_crowd();
            crowd_first.push(beside / rate(rw));
        }
        for ratios in [&mut crowd_second, &mut crowd_first] {
            ratios.sort_by(f64::total_cmp);
        }
        let ratio = (crowd_second[2] * crowd_first[2]).sqrt();
        println!("{rw}: beside a crowd {ratio:.2} of what it is alone: {crowd_second:.2?}, {crowd_first:.2?}");
        assert!(ratio > 0.9, "{rw}: {ratio}, of {crowd_second:?} and {crowd_first:?}");
    }
}
