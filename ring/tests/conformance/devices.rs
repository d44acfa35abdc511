use basalt_ring::{BLOCK, Buffer, Device, DeviceOptions, Ring};
use std::path::Path;
use std::time::Duration;

pub const DEVICE_BYTES: u64 = 8 << 20;

pub fn writable() -> DeviceOptions {
    DeviceOptions { write: true, create_size: Some(DEVICE_BYTES), ..DeviceOptions::default() }
}

async fn open(ring: &Ring, path: &Path) -> Device {
    ring.open_device(path, writable()).await.expect("the scratch device opens")
}

pub fn pattern(ring: &Ring, len: usize, seed: u8) -> Buffer {
    let mut buffer = ring.buffer(len);
    for (index, byte) in buffer.iter_mut().enumerate() {
        *byte = (index / 7) as u8 ^ seed;
    }
    buffer
}

async fn read(ring: &Ring, device: &Device, offset: u64, len: usize) -> Vec<u8> {
    let (result, buffer) = device.read(offset, ring.buffer(len)).await;
    result.expect("the range is readable");
    buffer.to_vec()
}

pub async fn the_size_is_reported_and_kept(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    assert_eq!(device.info().size, DEVICE_BYTES);
    assert_eq!(device.path(), path);
    drop(device);
    let options = DeviceOptions { create_size: Some(2 * DEVICE_BYTES), ..writable() };
    let device = ring.open_device(path, options).await.expect("it exists");
    assert_eq!(device.info().size, DEVICE_BYTES, "an existing device keeps its size");
}

pub async fn a_read_returns_what_was_written(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    let written = pattern(ring, 5 * BLOCK, 3).freeze();
    device.write(BLOCK as u64, written.clone()).await.expect("writable");
    assert!(read(ring, &device, BLOCK as u64, 5 * BLOCK).await == written[..]);
    device.flush().await.expect("flushable");
    assert!(read(ring, &device, 2 * BLOCK as u64, BLOCK).await == written[BLOCK..2 * BLOCK]);
    assert!(read(ring, &device, DEVICE_BYTES - BLOCK as u64, BLOCK).await == [0; BLOCK], "never written");
}

pub async fn windows_of_one_buffer_are_read_at_once(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    device.write(0, pattern(ring, 4 * BLOCK, 9).freeze()).await.expect("writable");
    let mut first = ring.buffer(4 * BLOCK);
    let second = first.split_off(BLOCK);
    let (far, near) = (device.clone(), device.clone());
    let far = ring.spawn(async move { far.read(BLOCK as u64, second).await });
    let near = ring.spawn(async move { near.read(0, first).await });
    let (result, second) = far.await;
    result.expect("readable");
    let (result, mut whole) = near.await;
    result.expect("readable");
    whole.unsplit(second).expect("neighbours");
    assert!(whole[..] == pattern(ring, 4 * BLOCK, 9)[..]);
}

pub async fn a_large_write_is_whole(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    let written = pattern(ring, 4 << 20, 77).freeze();
    device.write(0, written.clone()).await.expect("writable");
    assert!(read(ring, &device, 0, 4 << 20).await == written[..]);
}

pub async fn beyond_the_end_is_an_error(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    let (result, buffer) = device.read(DEVICE_BYTES, ring.buffer(BLOCK)).await;
    assert_eq!(result.expect_err("nothing is there").kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(buffer.len(), BLOCK, "the buffer comes back");
    assert!(device.write(u64::MAX - BLOCK as u64 + 1, buffer.freeze()).await.is_err());
}

pub async fn a_device_opened_for_reading_is_not_written(ring: &Ring, path: &Path) {
    drop(open(ring, path).await);
    let device = ring.open_device(path, DeviceOptions::default()).await.expect("it exists");
    device.write(0, ring.buffer(BLOCK).freeze()).await.expect_err("not opened for writing");
    assert!(read(ring, &device, 0, BLOCK).await == [0; BLOCK]);
}

pub async fn a_missing_device_is_not_found(ring: &Ring, path: &Path) {
    let missing = path.with_extension("missing");
    let result = ring.open_device(&missing, DeviceOptions { write: true, ..DeviceOptions::default() }).await;
    assert_eq!(result.err().expect("nothing is there").kind(), std::io::ErrorKind::NotFound);
}

pub async fn an_exclusive_device_opens_once(ring: &Ring, path: &Path) {
    let exclusive = DeviceOptions { exclusive: true, ..writable() };
    let device = ring.open_device(path, exclusive.clone()).await.expect("nobody has it");
    let busy = ring.open_device(path, exclusive.clone()).await.err().expect("somebody has it");
    assert_eq!(busy.raw_os_error(), Some(libc::EBUSY));
    let clone = device.clone();
    drop(device);
    assert!(ring.open_device(path, exclusive.clone()).await.is_err(), "a clone still has it");
    drop(clone);
    ring.open_device(path, exclusive).await.expect("it was closed");
}

pub async fn a_discarded_range_leaves_its_neighbours(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    let written = pattern(ring, 32 * BLOCK, 1).freeze();
    device.write(0, written.clone()).await.expect("writable");
    device.discard(8 * BLOCK as u64, 16 * BLOCK as u64).await.expect("discarded or ignored");
    assert!(read(ring, &device, 0, 8 * BLOCK).await == written[..8 * BLOCK]);
    assert!(read(ring, &device, 24 * BLOCK as u64, 8 * BLOCK).await == written[24 * BLOCK..]);
    device.write(9 * BLOCK as u64, written.slice(0..BLOCK)).await.expect("writable after a discard");
    assert!(read(ring, &device, 9 * BLOCK as u64, BLOCK).await == written[..BLOCK]);
}

/// Writes begun in one turn land where they belong, in whatever order they were begun, with gaps and sizes of all kinds, also when the device next to
/// it is written at the same offsets.
pub async fn neighbours_written_at_once_land_where_they_belong(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    let other = ring.open_device(&path.with_extension("other"), writable()).await.expect("creatable");
    let written = pattern(ring, 128 * BLOCK, 11).freeze();
    // Blocks 0 to 127 in pieces of one to four blocks, every seventh piece left out, the order turned about.
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < 128 {
        let count = (at * 5 % 4 + 1).min(128 - at);
        pieces.push(at..at + count);
        at += count;
    }
    let mut pieces: Vec<_> = pieces.into_iter().enumerate().filter(|(index, _)| index % 7 != 3).collect();
    pieces.rotate_left(17);
    pieces.reverse();
    let begin = |device: &Device, blocks: &std::ops::Range<usize>, from: usize| {
        let data =
            written.slice((blocks.start + from) % 64 * BLOCK..((blocks.start + from) % 64 + blocks.len()) * BLOCK);
        device.start_write(ring, (blocks.start * BLOCK) as u64, data)
    };
    let writes: Vec<_> =
        pieces.iter().flat_map(|(_, blocks)| [begin(&device, blocks, 0), begin(&other, blocks, 32)]).collect();
    for (index, write) in writes.into_iter().enumerate() {
        // Some are given up, and land all the same.
        if index % 5 != 0 {
            write.await.expect("writable");
        }
    }
    for (device, from) in [(&device, 0), (&other, 32)] {
        let mut expected = vec![0; 128 * BLOCK];
        for (_, blocks) in &pieces {
            let source = (blocks.start + from) % 64 * BLOCK;
            let length = blocks.len() * BLOCK;
            expected[blocks.start * BLOCK..][..length].copy_from_slice(&written[source..][..length]);
        }
        // Those given up may take as long as the device likes.
        let mut rounds = 0;
        while read(ring, device, 0, 128 * BLOCK).await != expected {
            rounds += 1;
            assert!(rounds < 100, "something is not where it belongs");
            ring.sleep(Duration::from_millis(50)).await;
        }
    }
}

pub async fn neighbours_that_cannot_be_written_fail_each(ring: &Ring, path: &Path) {
    drop(open(ring, path).await);
    let device = ring.open_device(path, DeviceOptions::default()).await.expect("it exists");
    let data = ring.buffer(BLOCK).freeze();
    let writes: Vec<_> = (0..9).map(|block| device.start_write(ring, block * BLOCK as u64, data.clone())).collect();
    for write in writes {
        write.await.expect_err("not opened for writing");
    }
}

/// Dropped operations run out in the background and harm nothing: neither the device's content nor anyone's memory.
pub async fn operations_dropped_in_flight_keep_their_buffers(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    let base = pattern(ring, 64 * BLOCK, 5).freeze();
    device.write(0, base.clone()).await.expect("writable");
    for round in 0..200u64 {
        let offset = round % 64 * BLOCK as u64;
        let mut read = Box::pin(device.read(offset, ring.buffer(BLOCK)));
        let mut write = Box::pin(device.write(offset, base.slice(offset as usize..offset as usize + BLOCK)));
        // Polled once, so both are submitted; then dropped.
        let polled = std::future::poll_fn(|context| {
            let read = read.as_mut().poll(context).is_ready();
            let write = write.as_mut().poll(context).is_ready();
            std::task::Poll::Ready(read || write)
        });
        polled.await;
        drop((read, write));
        // If the memory of the dropped read had been freed, this buffer could be it, and its bytes would change.
        let mut probe = ring.buffer(BLOCK);
        probe.fill(0xEE);
        ring.yield_now().await;
        assert!(probe.iter().all(|byte| *byte == 0xEE));
    }
    ring.sleep(Duration::from_millis(100)).await;
    device.flush().await.expect("flushable");
    assert!(read(ring, &device, 0, 64 * BLOCK).await == base[..]);
}

pub async fn many_operations_at_once_all_complete(ring: &Ring, path: &Path) {
    let device = open(ring, path).await;
    let writes: Vec<_> = (0..1500u64)
        .map(|index| {
            let (ring, device) = (ring.clone(), device.clone());
            ring.clone().spawn(async move {
                let data = pattern(&ring, BLOCK, index as u8).freeze();
                device.write(index * BLOCK as u64, data).await
            })
        })
        .collect();
    for write in writes {
        write.await.expect("writable");
    }
    for index in [0u64, 1, 255, 256, 1499] {
        let expected = pattern(ring, BLOCK, index as u8);
        assert!(read(ring, &device, index * BLOCK as u64, BLOCK).await == expected[..], "block {index}");
    }
}
