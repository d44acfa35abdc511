//! The conformance suite on the io_uring driver, and what only it can be asked.

mod conformance;

use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{BLOCK, DeviceKind, DeviceOptions, Ring, mailbox};
use conformance::sockets::Ends;
use conformance::{concurrency, devices, sockets};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Small, so that the submission queue overflows and registered memory runs out on the way.
fn config() -> UringConfig {
    UringConfig { entries: 64, registered_bytes: 2 << 20, ..UringConfig::default() }
}

fn run<T>(main: impl AsyncFnOnce(Ring) -> T) -> T {
    uring::run(config(), |ring| main(ring)).expect("io_uring works here")
}

/// As an older kernel would run it.
fn run_plain<T>(main: impl AsyncFnOnce(Ring) -> T) -> T {
    uring::run_with_required_features(config(), |ring| main(ring)).expect("io_uring works here")
}

/// As a core that looks for completions before it sleeps.
fn run_polling<T>(main: impl AsyncFnOnce(Ring) -> T) -> T {
    let config = UringConfig { busy_poll: Duration::from_micros(200), ..config() };
    uring::run(config, |ring| main(ring)).expect("io_uring works here")
}

/// A directory on a filesystem with O_DIRECT, which the one of /tmp need not be.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable target directory");
    let path = directory.path().join("device");
    (directory, path)
}

/// Each claim three times: with all this kernel has, with the fallbacks for older ones, and with busy polling.
macro_rules! on_one_ring {
    ($($claim:ident),* $(,)?) => {$(
        #[test]
        fn $claim() {
            run(async |ring| concurrency::$claim(&ring).await);
            run_plain(async |ring| concurrency::$claim(&ring).await);
            run_polling(async |ring| concurrency::$claim(&ring).await);
        }
    )*};
}

on_one_ring!(
    timers_fire_in_order,
    a_timeout_drops_what_it_gives_up,
    ten_thousand_tasks_run,
    a_yield_lets_others_run,
    aborted_tasks_are_dropped,
    semaphores_are_fair,
    keys_are_locked_apart,
    joined_futures_keep_their_order,
    randomness_is_not_constant,
);

macro_rules! on_a_device {
    ($($claim:ident),* $(,)?) => {$(
        #[test]
        fn $claim() {
            let (_directory, path) = scratch();
            run(async |ring| devices::$claim(&ring, &path).await);
            let (_directory, path) = scratch();
            run_plain(async |ring| devices::$claim(&ring, &path).await);
            let (_directory, path) = scratch();
            run_polling(async |ring| devices::$claim(&ring, &path).await);
        }
    )*};
}

on_a_device!(
    the_size_is_reported_and_kept,
    a_read_returns_what_was_written,
    windows_of_one_buffer_are_read_at_once,
    a_large_write_is_whole,
    beyond_the_end_is_an_error,
    a_device_opened_for_reading_is_not_written,
    a_missing_device_is_not_found,
    an_exclusive_device_opens_once,
    a_discarded_range_leaves_its_neighbours,
    neighbours_written_at_once_land_where_they_belong,
    neighbours_that_cannot_be_written_fail_each,
    operations_dropped_in_flight_keep_their_buffers,
    many_operations_at_once_all_complete,
);

macro_rules! on_two_ends {
    ($($claim:ident),* $(,)?) => {$(
        #[test]
        fn $claim() {
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            run(async |ring| sockets::$claim(&Ends { server: ring.clone(), client: ring, address }).await);
            run_plain(async |ring| sockets::$claim(&Ends { server: ring.clone(), client: ring, address }).await);
            run_polling(async |ring| sockets::$claim(&Ends { server: ring.clone(), client: ring, address }).await);
        }
    )*};
}

on_two_ends!(
    gathered_slices_arrive_in_order,
    more_slices_than_the_kernel_takes_at_once_arrive,
    a_big_transfer_both_ways_is_whole,
    the_end_of_a_stream_is_seen,
    a_shutdown_ends_a_receive_in_flight,
    nobody_listening_is_refused,
    an_address_in_use_is_refused,
    a_listener_accepts_many,
    a_multishot_receive_sees_every_byte,
    a_dropped_receive_loses_nothing_but_itself,
);

#[test]
fn a_file_takes_discards_as_long_as_it_has_holes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let size = 8 << 20;
    let options = DeviceOptions { write: true, create_size: Some(size), ..DeviceOptions::default() };
    let whole = vec![7; size as usize];
    run(async |ring| {
        let sparse = ring.open_device(&path, options.clone()).await.expect("made");
        assert!(sparse.info().discard, "made with holes");
        drop(sparse);
        std::fs::write(&path, &whole).expect("written");
        std::fs::File::open(&path).expect("there").sync_all().expect("its blocks are found");
        let filled = ring.open_device(&path, options.clone()).await.expect("opens");
        assert!(!filled.info().discard, "it would lose blocks that it was given");
        filled.discard(0, size).await.expect("nothing is done");
        assert_eq!(std::fs::read(&path).expect("read"), whole);
    });
}

#[test]
fn a_sleeping_ring_is_woken_from_a_thread_without_a_ring() {
    let (sender, mut receiver) = mailbox::channel::<u32>(16);
    let thread = std::thread::spawn(move || {
        for value in 0..100 {
            if value % 10 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            while sender.try_send(value).is_err() {
                std::thread::yield_now();
            }
        }
    });
    run(async |_ring| {
        for value in 0..100 {
            assert_eq!(receiver.receive().await, Some(value));
        }
        assert_eq!(receiver.receive().await, None, "the sender is gone");
    });
    thread.join().expect("the sender ends");
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Message,
    Eventfd,
    Polling,
}

fn run_in<T>(mode: Mode, main: impl AsyncFnOnce(Ring) -> T) -> T {
    match mode {
        Mode::Message => run(main),
        Mode::Eventfd => run_plain(main),
        Mode::Polling => run_polling(main),
    }
}

#[test]
fn rings_wake_each_other_by_message() {
    wake_each_other(Mode::Message);
}

#[test]
fn rings_wake_each_other_by_eventfd() {
    wake_each_other(Mode::Eventfd);
}

#[test]
fn rings_that_poll_wake_each_other() {
    wake_each_other(Mode::Polling);
}

fn wake_each_other(mode: Mode) {
    let (there, mut coming) = mailbox::channel::<u32>(1);
    let (back, mut returned) = mailbox::channel::<u32>(1);
    let echo = std::thread::spawn(move || {
        let echo = async |_ring| {
            while let Some(value) = coming.receive().await {
                back.try_send(value + 1).expect("one at a time");
            }
        };
        run_in(mode, echo)
    });
    let main = async |ring: Ring| {
        for value in 0..2000 {
            there.try_send(value).expect("one at a time");
            let answer = ring.timeout(Duration::from_secs(10), returned.receive()).await;
            assert_eq!(answer, Ok(Some(value + 1)), "a wake-up was lost");
        }
        drop(there);
    };
    run_in(mode, main);
    echo.join().expect("the other ring ends");
}

#[test]
fn an_adopted_socket_is_served() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let duplicate: OwnedFd = uring::duplicate(theirs.as_raw_fd()).expect("a descriptor");
    drop(theirs);
    let peer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut ours = ours;
        ours.write_all(b"ping").expect("connected");
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).expect("connected");
        answer
    });
    run(async |ring| {
        let socket = ring.adopt_socket(duplicate).expect("a connected socket");
        let (result, buffer) = socket.receive_exact(ring.buffer(4)).await;
        result.expect("the peer sends");
        assert_eq!(&buffer[..], b"ping");
        socket.send(vec![buffer.freeze()]).await.0.expect("the peer receives");
    });
    assert_eq!(peer.join().expect("the peer ends"), b"ping");
}

#[test]
fn many_writes_share_a_system_call() {
    let (_directory, path) = scratch();
    run(async |ring| {
        let options = DeviceOptions { write: true, create_size: Some(1 << 20), ..DeviceOptions::default() };
        let device = ring.open_device(&path, options).await.expect("creatable");
        for _ in 0..20 {
            let before = ring.enter_count();
            let writes: Vec<_> = (0..32u64)
                .map(|index| {
                    let (device, data) = (device.clone(), ring.buffer(BLOCK).freeze());
                    ring.spawn(async move { device.write(index * BLOCK as u64, data).await })
                })
                .collect();
            // One turn, in which all of them are polled for the first time.
            ring.yield_now().await;
            assert!(ring.enter_count() - before <= 1, "one system call submits them all");
            for write in writes {
                write.await.expect("writable");
            }
        }
    });
}

#[test]
fn tasks_that_only_compute_make_no_system_call() {
    run(async |ring| {
        ring.sleep(Duration::from_millis(1)).await;
        let before = ring.enter_count();
        for _ in 0..1000 {
            ring.yield_now().await;
        }
        assert!(ring.enter_count() - before <= 1);
    });
}

#[test]
fn a_run_ends_with_operations_in_flight() {
    let (_directory, path) = scratch();
    let (device, buffer) = run(async |ring| {
        let options = DeviceOptions { write: true, create_size: Some(1 << 20), ..DeviceOptions::default() };
        let device = ring.open_device(&path, options).await.expect("creatable");
        let listener = ring.listen("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let socket = ring.connect(listener.local_address()).await.expect("listening");
        let accepted = listener.accept().await.expect("connected");
        let receiving = ring.buffer(1 << 20);
        drop(ring.spawn(async move { socket.receive(receiving).await.0.map(drop) }));
        drop(ring.spawn(async move { listener.accept().await.map(drop) }));
        drop(ring.spawn(async move { accepted.receive_multi().next().await.map(drop) }));
        for index in 0..100 {
            let (device, data) = (device.clone(), ring.buffer(BLOCK).freeze());
            drop(ring.spawn(async move { device.write(index * BLOCK as u64, data).await }));
        }
        ring.yield_now().await;
        (device, ring.buffer(BLOCK))
    });
    // Handles that outlive the run are dead but harmless.
    let result = run(async |_ring| device.read(0, buffer).await.0);
    assert_eq!(result.expect_err("its ring has ended").raw_os_error(), Some(libc::ECANCELED));
}

#[test]
fn a_panic_in_main_still_waits_for_the_kernel() {
    let (_directory, path) = scratch();
    let result = std::panic::catch_unwind(|| {
        run(async |ring| {
            let options = DeviceOptions { write: true, create_size: Some(1 << 20), ..DeviceOptions::default() };
            let device = ring.open_device(&path, options).await.expect("creatable");
            let data = ring.buffer(1 << 20).freeze();
            drop(ring.spawn(async move { device.write(0, data).await }));
            ring.yield_now().await;
            panic!("on purpose");
        })
    });
    assert!(result.is_err());
    run(async |ring| ring.yield_now().await);
}

#[test]
fn buffered_files_work_where_direct_io_does_not() {
    let directory = tempfile::tempdir_in("/dev/shm").expect("a memory filesystem");
    let path = directory.path().join("device");
    run(async |ring| devices::a_read_returns_what_was_written(&ring, &path).await);
}

#[test]
fn a_device_is_a_file_or_a_block_device() {
    run(async |ring| {
        let error = ring.open_device(std::path::Path::new("/dev/null"), DeviceOptions::default()).await.err();
        assert_eq!(error.expect("a character device").kind(), std::io::ErrorKind::InvalidInput);
    });
}

/// As root, for example: `losetup /dev/loop0 FILE; BASALT_TEST_BLOCK_DEVICE=/dev/loop0 cargo test --test uring -- --ignored`
#[test]
#[ignore = "needs a block device to overwrite, named by BASALT_TEST_BLOCK_DEVICE"]
fn block_devices_are_claimed_described_and_discarded() {
    let path = PathBuf::from(std::env::var_os("BASALT_TEST_BLOCK_DEVICE").expect("BASALT_TEST_BLOCK_DEVICE is set"));
    for plain in [false, true] {
        let test = async |ring: Ring| {
            let options = DeviceOptions { write: true, exclusive: true, ..DeviceOptions::default() };
            let device = ring.open_device(&path, options.clone()).await.expect("nobody has it");
            let info = device.info();
            assert_eq!(info.kind, DeviceKind::Block);
            assert!(info.size > 0 && [512, 4096].contains(&info.sector_size), "{info:?}");
            let busy = ring.open_device(&path, options).await.err().expect("claimed");
            assert_eq!(busy.raw_os_error(), Some(libc::EBUSY));
            let written = devices::pattern(&ring, 64 * BLOCK, 1).freeze();
            device.write(0, written.clone()).await.expect("writable");
            device.flush().await.expect("flushable");
            device.discard(16 * BLOCK as u64, 32 * BLOCK as u64).await.expect("discarded or ignored");
            let (result, read) = device.read(0, ring.buffer(64 * BLOCK)).await;
            result.expect("readable");
            assert!(read[..16 * BLOCK] == written[..16 * BLOCK] && read[48 * BLOCK..] == written[48 * BLOCK..]);
            if info.discard {
                assert!(read[16 * BLOCK..48 * BLOCK] != written[16 * BLOCK..48 * BLOCK], "it was discarded");
            }
        };
        if plain { run_plain(test) } else { run(test) }
    }
}

#[test]
fn neighbours_go_to_the_kernel_as_one() {
    let gathered = async |ring: Ring| {
        let (_directory, path) = scratch();
        let device = ring.open_device(&path, devices::writable()).await.expect("creatable");
        let data = devices::pattern(&ring, BLOCK, 1).freeze();
        let enters = ring.enter_count();
        let writes: Vec<_> =
            [3u64, 0, 2, 1, 9].map(|block| device.start_write(&ring, block * BLOCK as u64, data.clone())).into();
        for write in writes {
            write.await.expect("writable");
        }
        assert!(ring.enter_count() - enters < 5, "{} for five writes", ring.enter_count() - enters);
        ring.gathered_write_count()
    };
    assert_eq!(run(gathered), 4);
    assert_eq!(run_plain(gathered), 4);
    // A write that is large enough goes by itself.
    let large = run(async |ring| {
        let (_directory, path) = scratch();
        let device = ring.open_device(&path, devices::writable()).await.expect("creatable");
        let data = devices::pattern(&ring, 32 * BLOCK, 1).freeze();
        let writes: Vec<_> =
            [0u64, 32].map(|block| device.start_write(&ring, block * BLOCK as u64, data.clone())).into();
        for write in writes {
            write.await.expect("writable");
        }
        ring.gathered_write_count()
    });
    assert_eq!(large, 0);
}

/// Where the kernel's workers of this process may run, each as the kernel lists it.
fn worker_cpus() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").expect("there");
    let workers = threads.filter_map(|thread| {
        let thread = thread.ok()?.path();
        let is_worker = std::fs::read_to_string(thread.join("comm")).ok()?.starts_with("iou-wrk-");
        is_worker.then(|| std::fs::read_to_string(thread.join("status")).ok()).flatten()
    });
    let listed = |status: String| {
        Some(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned())
    };
    workers.filter_map(listed).collect()
}

/// A flush of a pinned ring waited for the ring's thread to sleep, since its worker had no other CPU.
#[test]
fn workers_of_a_pinned_ring_run_on_any_cpu() {
    let before = std::fs::read_to_string("/proc/thread-self/status").expect("there");
    let allowed =
        before.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("told").trim().to_owned();
    let first = allowed.split(['-', ',']).next().and_then(|cpu| cpu.parse().ok()).expect("a number");
    uring::run(UringConfig { cpu: Some(first), ..config() }, |ring| async move {
        let (_directory, path) = scratch();
        let device = ring.open_device(&path, devices::writable()).await.expect("creatable");
        device.write(0, devices::pattern(&ring, BLOCK, 1).freeze()).await.expect("writable");
        device.flush().await.expect("flushable");
        assert!(!worker_cpus().is_empty(), "a flush has a worker");
        uring::spread_workers().expect("/proc is there");
        assert!(worker_cpus().iter().all(|cpus| *cpus == allowed), "{:?} of {allowed}", worker_cpus());
        assert_eq!(uring::spread_workers().expect("/proc is there"), 0, "once is enough");
    })
    .expect("io_uring works here");
}

/// The kernel writes as much as the limit on a file's size lets it, and stops in the middle of what went to it as one: what it did not come to is
/// tried again, and fails for itself. The limit is the process's, so this test needs one of its own, as nextest gives it.
#[test]
fn of_neighbours_written_in_part_each_knows_its_own_fate() {
    let limit = libc::rlimit { rlim_cur: 2 * BLOCK as u64 + 512, rlim_max: libc::RLIM_INFINITY };
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    run(async |ring| {
        let (_directory, path) = scratch();
        let device = ring.open_device(&path, devices::writable()).await.expect("creatable");
        let data = devices::pattern(&ring, 5 * BLOCK, 1).freeze();
        // SAFETY: neither touches memory beyond the live local; the signal would end the process.
        let limited = unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit)
        };
        assert_eq!(limited, 0);
        let writes: Vec<_> = (0..5)
            .map(|block| {
                device.start_write(&ring, (block * BLOCK) as u64, data.slice(block * BLOCK..(block + 1) * BLOCK))
            })
            .collect();
        let mut outcomes = Vec::new();
        for write in writes {
            outcomes.push(write.await.map_err(|error| error.raw_os_error()));
        }
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &unlimited) }, 0);
        assert_eq!(outcomes[..2], [Ok(()), Ok(())]);
        assert!(outcomes[2..].iter().all(Result::is_err), "{outcomes:?}");
        assert_eq!(outcomes[3..], [Err(Some(libc::EFBIG)), Err(Some(libc::EFBIG))]);
        let (read, content) = device.read(0, ring.buffer(2 * BLOCK)).await;
        read.expect("readable");
        assert!(content[..] == data[..2 * BLOCK]);
        assert_eq!(ring.gathered_write_count(), 5);
    });
}
