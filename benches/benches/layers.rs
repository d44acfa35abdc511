//! `make micro`: one step of each layer that a 4 KiB write passes, without the others.

use basalt_benches::crush_shape::{CrushShape, WEIGHT_ONE};
use basalt_benches::mix;
use basalt_blockstore::layers::{AllocatorLayer, IndexLayer, LogLayer};
use basalt_cluster::crush::{Mode, Workspace};
use basalt_net::Message;
use basalt_net::frame::{self, FrameHeader};
use basalt_net::message::object::{ObjectRequest, Operation, RequestId};
use basalt_ring::uring::{self, UringConfig};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Instant;

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32c");
    for bytes in [4 << 10, 64 << 10, 4 << 20] {
        let data: Vec<u8> = (0..bytes).map(|at| mix(at as u64) as u8).collect();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{} KiB", bytes >> 10), |bencher| {
            bencher.iter(|| crc32c::crc32c(black_box(&data)));
        });
    }
    group.finish();
}

fn request() -> ObjectRequest {
    ObjectRequest {
        request: RequestId { client: 11, sequence: 12 },
        attempt: 1,
        completed_up_to: 10,
        epoch: 40,
        pool: 2,
        pg: 17,
        name: b"bench.0.000123".as_slice().into(),
        operations: [Operation::Write { offset: 40 << 10, length: 4096 }].into_iter().collect(),
    }
}

fn frames(criterion: &mut Criterion) {
    let request = request();
    let payload = vec![7u8; 4096];
    let message = frame::archive(&request, Default::default());
    let payload_crc32c = crc32c::crc32c(&payload);
    let header = FrameHeader {
        kind: ObjectRequest::KIND,
        message_len: message.len() as u32,
        payload_len: payload.len() as u32,
        message_crc32c: crc32c::crc32c(&message),
        payload_crc32c,
        sequence: 9,
    };
    let encoded = header.encode();
    let mut group = criterion.benchmark_group("frame");
    group.bench_function("a 4 KiB write, encoded", |bencher| {
        let mut scratch = Some(Default::default());
        bencher.iter(|| {
            let message = frame::archive(black_box(&request), scratch.take().unwrap_or_default());
            let header = FrameHeader { message_crc32c: crc32c::crc32c(&message), ..header };
            black_box(header.encode());
            let mut message = message;
            message.clear();
            scratch = Some(message);
        });
    });
    group.bench_function("a 4 KiB write, checked and decoded", |bencher| {
        bencher.iter(|| {
            let header = FrameHeader::decode(black_box(&encoded)).expect("its own");
            header.check_message(&message).expect("its own");
            header.check_payload(&payload).expect("its own");
            frame::deserialize::<ObjectRequest>(header.kind, &message).expect("its own")
        });
    });
    group.finish();
}

fn index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index");
    // 256 MiB in objects of 4 MiB, each block an extent.
    let mut index = IndexLayer::new(64, 1024);
    let mut number = 0;
    let mut next = move || {
        number += 1;
        mix(number)
    };
    group.bench_function("lookup", |bencher| {
        bencher.iter(|| {
            let at = next();
            assert!(index.lookup(at >> 32, at as u32));
        });
    });
    group.bench_function("overwrite", |bencher| {
        bencher.iter(|| {
            let at = next();
            index.overwrite(at >> 32, at as u32, at & 0xff_ffff);
        });
    });
    group.bench_function("insert", |bencher| bencher.iter(|| index.insert()));
    group.finish();
}

fn allocator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allocator");
    for used in [10, 90] {
        let mut allocator = AllocatorLayer::new(1 << 20, used);
        group.bench_function(format!("one block of a device {used} % full, and one freed"), |bencher| {
            bencher.iter(|| allocator.step(1));
        });
    }
    group.finish();
}

fn log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");
    for transactions in [1, 16] {
        let mut log = LogLayer::default();
        group.bench_function(format!("record of {transactions}"), |bencher| {
            bencher.iter(|| black_box(log.append(transactions)));
        });
    }
    group.finish();
}

fn crush(criterion: &mut Criterion) {
    let shape = CrushShape { hosts: 100, osds_per_host: 10, hosts_per_rack: Some(10) };
    let mut map = shape.map(|_| WEIGHT_ONE);
    let rule = map.create_replicated_rule("spread", "default", "host", None, Mode::Firstn);
    let rule = rule.unwrap_or_else(|error| panic!("{error}"));
    let (mapper, reweights) = (map.mapper(), vec![WEIGHT_ONE; 1000]);
    let (mut workspace, mut osds) = (Workspace::new(), Vec::new());
    let mut number = 0;
    criterion.bench_function("CRUSH: three hosts of 100 with 1,000 OSDs", |bencher| {
        bencher.iter(|| {
            number += 1;
            mapper.do_rule(rule, mix(number) as u32, 3, &reweights, &mut workspace, &mut osds);
            black_box(&osds);
        });
    });
}

fn executor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("executor");
    let config = UringConfig { registered_bytes: 0, ..UringConfig::default() };
    group.bench_function("a turn with one ready task", |bencher| {
        bencher.iter_custom(|times| {
            let run = uring::run(config.clone(), async |ring| {
                let begun = Instant::now();
                for _ in 0..times {
                    ring.yield_now().await;
                }
                begun.elapsed()
            });
            run.expect("io_uring works here")
        });
    });
    group.bench_function("a task begun and awaited", |bencher| {
        bencher.iter_custom(|times| {
            let run = uring::run(config.clone(), async |ring| {
                let begun = Instant::now();
                for number in 0..times {
                    black_box(ring.spawn(async move { number }).await);
                }
                begun.elapsed()
            });
            run.expect("io_uring works here")
        });
    });
    group.finish();
}

criterion_group!(layers, checksums, frames, index, allocator, log, crush, executor);
criterion_main!(layers);
