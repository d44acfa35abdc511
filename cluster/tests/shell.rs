//! A real monitor on a real socket: its own thread with a tokio-uring runtime, peers that are plain blocking sockets.

use basalt_cluster::Map;
use basalt_cluster::config::MonitorStoreSettings;
use basalt_cluster::map::follower::{Followed, MapFollower};
use basalt_cluster::monitor::shell::{Inquirer, Monitor, MonitorAuth, MonitorConfig, MonitorError, Question};
use basalt_net::frame::{self, FrameHeader, HEADER_BYTES};
use basalt_net::handshake::{ClientHandshake, Progress};
use basalt_net::message::monitor::*;
use basalt_net::{Credentials, EntityName, FrameKind, Fsid, Key, Service};
use rkyv::util::AlignedVec;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const FSID: [u8; 16] = *b"a cluster's fsid";

struct Running {
    address: SocketAddr,
    inquirer: Inquirer,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), MonitorError>>>,
}

impl Running {
    fn start(folder: &Path) -> Running {
        let key_file = folder.join("key");
        if !key_file.exists() {
            Key::from_bytes([7; 32]).create(&key_file).unwrap();
        }
        let config = MonitorConfig {
            fsid: FSID,
            name: "a".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            store: MonitorStoreSettings::Embedded { data: folder.join("mon") },
            key_file,
            failure_domain: Default::default(),
            auth: MonitorAuth::shared(),
        };
        let monitor = Monitor::bind(config).unwrap();
        let (address, inquirer) = (monitor.address(), monitor.inquirer());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio_uring::start(monitor.run(async {
                let _ = stopped.await;
            }))
        });
        Running { address, inquirer, stop: Some(stop), thread: Some(thread) }
    }

    fn stop(mut self) -> Duration {
        let begin = Instant::now();
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap().unwrap();
        assert!(TcpStream::connect(self.address).is_err(), "a stopped monitor has given its port back");
        begin.elapsed()
    }
}

struct Peer {
    stream: TcpStream,
    sent: u64,
    received: u64,
    follower: MapFollower,
    map: Option<Map>,
    /// Whether the last map came as an increment.
    is_led_on: bool,
}

fn credentials(key: u8) -> Credentials {
    Credentials::shared(Fsid(FSID), Key::from_bytes([key; 32]), EntityName::new("client.test").unwrap())
}

impl Peer {
    fn connect(address: SocketAddr) -> Peer {
        Peer::connect_with(address, credentials(7), Service::Monitor).unwrap()
    }

    fn connect_with(address: SocketAddr, credentials: Credentials, service: Service) -> Result<Peer, String> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut machine = ClientHandshake::new(credentials, service, [3; 32]);
        let mut step = machine.start();
        loop {
            stream.write_all(&step.send).map_err(|error| error.to_string())?;
            match step.progress {
                Progress::Read(length) => {
                    let mut bytes = vec![0; length];
                    stream.read_exact(&mut bytes).map_err(|error| error.to_string())?;
                    step = machine.receive(&bytes);
                }
                Progress::Done(authenticated) => {
                    assert_eq!(authenticated.peer.as_str(), "mon.a");
                    let follower = MapFollower::default();
                    return Ok(Peer { stream, sent: 0, received: 0, follower, map: None, is_led_on: false });
                }
                Progress::Failed(error) => return Err(error.to_string()),
            }
        }
    }

    fn send_frame(&mut self, kind: FrameKind, message: &[u8]) {
        let header = FrameHeader::describe(kind, message, &[], self.sent).unwrap();
        self.sent += 1;
        self.stream.write_all(&header.encode()).unwrap();
        self.stream.write_all(message).unwrap();
    }

    fn send(&mut self, request: &MonitorRequest) {
        self.send_frame(FrameKind::MONITOR_REQUEST, &frame::archive(request, AlignedVec::new()));
    }

    fn receive_frame(&mut self) -> (FrameKind, AlignedVec) {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).unwrap();
        let header = FrameHeader::decode(&header).unwrap();
        assert_eq!(header.sequence, self.received);
        self.received += 1;
        let mut message = AlignedVec::new();
        message.resize(header.message_len as usize, 0);
        self.stream.read_exact(&mut message).unwrap();
        header.check_message(&message).unwrap();
        (header.kind, message)
    }

    fn receive(&mut self) -> MonitorReply {
        let (kind, message) = self.receive_frame();
        frame::deserialize(kind, &message).unwrap()
    }

    /// The next map, put together or led on to, as a client does it.
    fn receive_map(&mut self) -> Map {
        loop {
            let MonitorReply::Map(news) = self.receive() else { panic!("a map is due") };
            self.is_led_on = matches!(news, MapNews::Increment { .. });
            match self.follower.receive(self.map.as_ref(), news).unwrap() {
                Followed::Whole(map) | Followed::Newer(map) => {
                    self.map = Some(map.clone());
                    return map;
                }
                Followed::Nothing => {}
                Followed::AskForWhole => panic!("an increment that leads nowhere"),
            }
        }
    }

    fn command(&mut self, command: AdminCommand) -> CommandReply {
        self.send(&MonitorRequest::Command { tag: 5, command });
        loop {
            if let MonitorReply::Command { tag: 5, reply } = self.receive() {
                return reply;
            }
        }
    }

    /// Waits until the monitor has ended the connection.
    fn sees_the_end(mut self) -> bool {
        let ended = self.stream.read_to_end(&mut Vec::new());
        match ended {
            Ok(length) => length < 1 << 20,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn boot(osd: u32) -> MonitorRequest {
    MonitorRequest::Boot(OsdBoot {
        osd,
        life: 1,
        store_id: [9; 16],
        host: "h".into(),
        public_address: "127.0.0.1:6800".into(),
        cluster_address: "127.0.0.1:6801".into(),
        base_bytes: 1 << 40,
        hot_bytes: 1 << 30,
        rotational: true,
    })
}

fn create(name: &str) -> AdminCommand {
    AdminCommand::PoolCreate { name: name.into(), pg_num: Some(8), rule: None, size: None }
}

#[test]
fn what_was_decided_reaches_subscribers_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    let mut subscriber = Peer::connect(monitor.address);
    subscriber.send(&MonitorRequest::Subscribe { have_epoch: 0 });
    assert_eq!(subscriber.receive_map().epoch(), 1);
    let mut osd = Peer::connect(monitor.address);
    osd.send(&boot(0));
    assert!(subscriber.receive_map().osd(0).unwrap().is_up);
    let mut admin = Peer::connect(monitor.address);
    assert_eq!(admin.command(create("data")).message, "pool 'data' created");
    let map = subscriber.receive_map();
    assert_eq!(map.place(1, b"object").unwrap().acting, [0]);
    assert_eq!(admin.command(AdminCommand::PoolGet { name: "nopool".into(), variable: "size".into() }).errno, 2);
    let took = monitor.stop();
    assert!(took < Duration::from_secs(1), "stopping took {took:?}");

    let monitor = Running::start(folder.path());
    let mut subscriber = Peer::connect(monitor.address);
    subscriber.send(&MonitorRequest::Subscribe { have_epoch: 0 });
    assert_eq!(subscriber.receive_map(), map);
    monitor.stop();
}

#[test]
fn a_reply_comes_after_the_map_that_it_speaks_of() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    let mut peer = Peer::connect(monitor.address);
    peer.send(&boot(0));
    peer.send(&MonitorRequest::Subscribe { have_epoch: 0 });
    peer.receive_map();
    for round in 0..20 {
        let name = format!("pool-{round}");
        peer.send(&MonitorRequest::Command { tag: 1, command: create(&name) });
        let map = peer.receive_map();
        assert!(map.pool_by_name(&name).is_some());
        // The first increments are not small beside so small a map.
        assert!(peer.is_led_on || round < 5, "round {round}");
        assert!(matches!(peer.receive(), MonitorReply::Command { tag: 1, .. }));
    }
    monitor.stop();
}

#[test]
fn a_peer_without_the_key_or_for_another_service_is_turned_away_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    assert!(Peer::connect_with(monitor.address, credentials(8), Service::Monitor).is_err());
    let error = Peer::connect_with(monitor.address, credentials(7), Service::Osd(0)).err().unwrap();
    assert!(error.contains("osd.0"), "{error}");
    let mut peer = Peer::connect(monitor.address);
    assert_eq!(peer.command(AdminCommand::Status).errno, 0);
    monitor.stop();
}

#[test]
fn garbage_before_and_after_the_handshake_ends_its_own_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    let mut witness = Peer::connect(monitor.address);
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut garbage = |length: usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as u8
        })
        .take(length)
        .collect()
    };
    for length in [1, 8, 40, 200, 5000, 100_000] {
        let mut stream = TcpStream::connect(monitor.address).unwrap();
        // It may cut us short in the middle of it.
        let _ = stream.write_all(&garbage(length));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 2048);
        assert_eq!(witness.command(AdminCommand::PgStat).errno, 0);
    }
    for length in [40, 200, 5000] {
        let mut peer = Peer::connect(monitor.address);
        let _ = peer.stream.write_all(&garbage(length));
        assert!(peer.sees_the_end());
    }
    for length in [0, 7, 64, 4096] {
        let mut peer = Peer::connect(monitor.address);
        peer.send_frame(FrameKind::MONITOR_REQUEST, &garbage(length));
        assert!(peer.sees_the_end());
        let mut peer = Peer::connect(monitor.address);
        peer.send_frame(FrameKind::OBJECT_REQUEST, &garbage(length));
        assert!(peer.sees_the_end());
    }
    // Longer than any request may be, with a header that says so.
    let mut peer = Peer::connect(monitor.address);
    let header = FrameHeader {
        kind: FrameKind::MONITOR_REQUEST,
        message_len: 2 << 20,
        payload_len: 0,
        message_crc32c: 0,
        payload_crc32c: 0,
        sequence: 0,
    };
    peer.stream.write_all(&header.encode()).unwrap();
    assert!(peer.sees_the_end());
    // A replayed frame has a number that is past.
    let mut peer = Peer::connect(monitor.address);
    peer.send(&MonitorRequest::Subscribe { have_epoch: 0 });
    peer.sent = 0;
    peer.send(&MonitorRequest::Subscribe { have_epoch: 0 });
    assert!(peer.sees_the_end());
    assert_eq!(witness.command(AdminCommand::Status).errno, 0);
    monitor.stop();
}

#[test]
fn a_peer_that_says_nothing_is_let_go_after_five_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    let mut silent = TcpStream::connect(monitor.address).unwrap();
    let mut dripping = TcpStream::connect(monitor.address).unwrap();
    let begin = Instant::now();
    let drip = std::thread::spawn(move || {
        // One byte at a time of what looks like a handshake's beginning.
        let mut first = ClientHandshake::new(credentials(7), Service::Monitor, [3; 32]).start().send.into_iter();
        while begin.elapsed() < Duration::from_secs(20) {
            let Some(byte) = first.next() else { return Duration::MAX };
            if dripping.write_all(&[byte]).is_err() {
                return begin.elapsed();
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        Duration::MAX
    });
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(9), "{took:?}");
    assert!(drip.join().unwrap() < Duration::from_secs(9));
    monitor.stop();
}

#[test]
fn pings_are_answered_and_a_farewell_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    let mut peer = Peer::connect(monitor.address);
    peer.send_frame(FrameKind::PING, &[]);
    assert_eq!(peer.receive_frame().0, FrameKind::PONG);
    peer.send_frame(FrameKind::CLOSE, b"done");
    assert!(peer.sees_the_end());
    monitor.stop();
}

#[test]
fn a_peer_that_never_reads_is_cut_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    let mut admin = Peer::connect(monitor.address);
    admin.send(&boot(0));
    let wide = AdminCommand::PoolCreate { name: "wide".into(), pg_num: Some(8192), rule: None, size: None };
    assert_eq!(admin.command(wide).errno, 0);
    let mut deaf = Peer::connect(monitor.address);
    deaf.stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = frame::archive(&MonitorRequest::Command { tag: 1, command: AdminCommand::PgDump }, AlignedVec::new());
    let begin = Instant::now();
    // Its answers pile up, first in the kernel's buffers and then in the monitor, until that has had enough.
    for sequence in 0.. {
        let header = FrameHeader::describe(FrameKind::MONITOR_REQUEST, &request, &[], sequence).unwrap();
        if deaf.stream.write_all(&[&header.encode()[..], &request].concat()).is_err() {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "{sequence} answers were kept for someone who reads none");
        assert_eq!(admin.command(AdminCommand::OsdStat).errno, 0);
    }
    assert_eq!(admin.command(AdminCommand::OsdStat).errno, 0);
    monitor.stop();
}

#[test]
fn a_second_monitor_on_the_same_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = Running::start(folder.path());
    let config = MonitorConfig {
        fsid: FSID,
        name: "b".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        store: MonitorStoreSettings::Embedded { data: folder.path().join("mon") },
        key_file: folder.path().join("key"),
        failure_domain: Default::default(),
        auth: MonitorAuth::shared(),
    };
    let refused = Monitor::bind(config).err().unwrap().to_string();
    assert!(refused.contains("monitor.redb"), "{refused}");
    monitor.stop();
}

#[test]
fn its_own_process_asks_a_monitor_that_leads_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let inquirer = running.inquirer.clone();
    let ask = |question| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(inquirer.ask(question))
    };
    let begun = Instant::now();
    while !inquirer.leads() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = ask(Question::Status).unwrap();
    assert_eq!(status["osdmap"]["epoch"], 1);
    for question in [Question::Health, Question::Df, Question::OsdDf, Question::OsdPerf, Question::TierStatus] {
        assert!(ask(question).is_some(), "{question:?}");
    }
    running.stop();
    assert!(!inquirer.leads());
    assert_eq!(ask(Question::Status), None);
}
