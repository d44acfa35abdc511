//! What a session costs over bare TCP: 4 KiB out and 4 KiB back over loopback, two threads, at depth 1 and 32. Both are measured in turns in one
//! run, because absolute figures drift; the ratio is what counts.

use basalt_net::message::object::{ObjectReply, ObjectRequest, Operation, OperationResult, RequestId};
use basalt_net::{Credentials, EntityName, Fsid, Key, Service, session};
use basalt_ring::Ring;
use basalt_ring::uring::{UringConfig, run};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const BYTES: usize = 4096;
const ROUND: Duration = Duration::from_millis(800);
const WARM_UP: Duration = Duration::from_millis(100);
const ROUNDS: usize = 5;

fn main() {
    let (bare, framed) = (serve_bare(), serve_frames());
    println!(
        "{:>5}  {:>12}  {:>12}  {:>6}  {:>14}  {:>14}",
        "depth", "bare TCP/s", "session/s", "ratio", "bare CPU us/op", "session CPU us/op"
    );
    for depth in [1, 32] {
        let mut figures = Vec::new();
        for _ in 0..ROUNDS {
            figures.push((ask_bare(bare, depth), ask_frames(framed, depth)));
        }
        // The medians.
        let median = |pick: fn(&(Figure, Figure)) -> f64| {
            let mut values: Vec<f64> = figures.iter().map(pick).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "{depth:>5}  {:>12.0}  {:>12.0}  {:>6.2}  {:>14.1}  {:>14.1}",
            median(|round| round.0.per_second),
            median(|round| round.1.per_second),
            median(|round| round.1.per_second / round.0.per_second),
            median(|round| round.0.cpu_us),
            median(|round| round.1.cpu_us),
        );
    }
    std::process::exit(0);
}

struct Figure {
    per_second: f64,
    /// Of both ends together, for one round trip.
    cpu_us: f64,
}

/// Counts round trips from the end of a warm-up on, so that setting up is not measured.
struct Meter {
    begun: Instant,
    start: Option<(Instant, f64)>,
    count: u64,
}

impl Meter {
    fn new() -> Meter {
        Meter { begun: Instant::now(), start: None, count: 0 }
    }

    /// The figure, once the time is up.
    fn count(&mut self, count: u64) -> Option<Figure> {
        let now = Instant::now();
        let Some((start, cpu)) = self.start else {
            if now - self.begun > WARM_UP {
                self.start = Some((now, cpu_seconds()));
            }
            return None;
        };
        self.count += count;
        let took = now - start;
        (took > ROUND).then(|| Figure {
            per_second: self.count as f64 / took.as_secs_f64(),
            cpu_us: (cpu_seconds() - cpu) * 1e6 / self.count as f64,
        })
    }
}

/// Of this process, in user and kernel mode.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn serve_bare() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut bytes = vec![0; 64 << 10];
            let mut held = 0;
            while let Ok(received @ 1..) = socket.read(&mut bytes[held..]) {
                held += received;
                let whole = held / BYTES * BYTES;
                socket.write_all(&bytes[..whole]).unwrap();
                bytes.copy_within(whole..held, 0);
                held -= whole;
            }
        }
    });
    address
}

fn ask_bare(address: SocketAddr, depth: usize) -> Figure {
    let mut meter = Meter::new();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut bytes = vec![7; depth * BYTES];
    socket.write_all(&bytes).unwrap();
    let mut held = 0;
    loop {
        held += socket.read(&mut bytes[held..]).unwrap();
        let whole = held / BYTES;
        if let Some(figure) = meter.count(whole as u64) {
            return figure;
        }
        socket.write_all(&bytes[..whole * BYTES]).unwrap();
        held -= whole * BYTES;
    }
}

fn credentials(name: &str) -> Credentials {
    Credentials::shared(Fsid([5; 16]), Key::from_bytes([6; 32]), EntityName::new(name).unwrap())
}

fn serve_frames() -> SocketAddr {
    let (address, addresses) = std::sync::mpsc::channel();
    thread::spawn(move || {
        run(UringConfig::default(), async |ring| {
            let listener = ring.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            address.send(listener.local_address()).unwrap();
            loop {
                let socket = listener.accept().await.unwrap();
                let mut session = session::accept(&ring, socket, &credentials("osd.0"), |_| true).await.unwrap();
                let sender = session.sender();
                while let Some(Ok(mut frame)) = session.receive().await {
                    let request: ObjectRequest = frame.message().unwrap();
                    let reply = ObjectReply {
                        request: request.request,
                        attempt: request.attempt,
                        errno: 0,
                        message: String::new(),
                        failed_operation: None,
                        version: 1,
                        epoch: 1,
                        results: [OperationResult::Data { length: BYTES as u64 }].into(),
                    };
                    let payload = frame.take_payload().unwrap().freeze();
                    sender.send(&reply, vec![payload]).await.unwrap();
                }
            }
        })
        .unwrap();
    });
    addresses.recv().unwrap()
}

fn ask_frames(address: SocketAddr, depth: usize) -> Figure {
    run(UringConfig::default(), async |ring| ask_on(&ring, address, depth).await).unwrap()
}

async fn ask_on(ring: &Ring, address: SocketAddr, depth: usize) -> Figure {
    let mut meter = Meter::new();
    let mut session = session::connect(ring, address, &credentials("client.bench"), Service::Osd(0)).await.unwrap();
    let sender = session.sender();
    let data = ring.buffer(BYTES).freeze();
    let mut request = ObjectRequest {
        request: RequestId { client: 1, sequence: 0 },
        epoch: 1,
        pool: 1,
        pg: 1,
        name: b"rbd_data.0123456789ab.0000000000000000".as_slice().into(),
        operations: [Operation::Write { offset: 0, length: BYTES as u64 }].into(),
        completed_up_to: 0,
        attempt: 0,
    };
    let mut answered = 0;
    loop {
        while request.request.sequence < answered + depth as u64 {
            request.request.sequence += 1;
            sender.send(&request, vec![data.clone()]).await.unwrap();
        }
        let mut frame = session.receive().await.unwrap().unwrap();
        let reply: ObjectReply = frame.message().unwrap();
        assert_eq!((reply.errno, frame.take_payload().map(|payload| payload.len())), (0, Some(BYTES)));
        answered += 1;
        if let Some(figure) = meter.count(1) {
            return figure;
        }
    }
}
