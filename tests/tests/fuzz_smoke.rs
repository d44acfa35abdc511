//! The fuzz targets of `fuzz/`, with the stable toolchain and without libFuzzer: over their seeds, over the corpus that fuzzing has found
//! so far, and for a moment over mutations of both. `make fuzz` runs them for long.

use basalt_tests::random::Random;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// How long each target is run over mutations; `BASALT_FUZZ_MS` sets another time.
const MOMENT: Duration = Duration::from_millis(1500);
const INPUT_BYTES_MAX: usize = 16 << 10;
const CORPUS_BYTES_MAX: u64 = 300 << 10;

fn targets() -> Vec<Target> {
    let crates = [
        basalt_blockstore::fuzzing::TARGETS,
        basalt_net::fuzzing::TARGETS,
        basalt_cluster::fuzzing::TARGETS,
        basalt_benches::fuzzing::TARGETS,
    ];
    crates.concat()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Another input, made of one of these and perhaps of a second.
fn mutate(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(inputs).clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let rest = bytes.len() - at;
        match random.below(8) {
            0..=1 if rest > 0 => bytes[at] ^= 1 << random.below(8),
            2 if rest > 0 => bytes[at] = random.bits() as u8,
            // Lengths, counts and numbers at their extremes.
            3..=4 => {
                let width = 1 << random.below(4);
                let number = match random.below(5) {
                    0 => 0,
                    1 => u64::MAX,
                    2 => 1 << random.below(64),
                    3 => (1 << random.below(64)) - 1,
                    _ => bytes.len() as u64 + random.below(5),
                };
                for (place, byte) in bytes[at..].iter_mut().take(width).zip(number.to_le_bytes()) {
                    *place = byte;
                }
            }
            5 => bytes.truncate(at),
            6 => {
                let other = random.pick(inputs);
                let from = random.below(other.len() as u64 + 1) as usize;
                let length = random.below((other.len() - from) as u64 + 1) as usize;
                bytes.splice(at..at + rest.min(random.below(64) as usize), other[from..from + length].iter().copied());
            }
            _ => {
                let length = random.below(9) as usize;
                bytes.splice(at..at, random.bytes(length));
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn smoke(name: &str) {
    let all = targets();
    let (_, run, seeds) = all.iter().find(|(known, ..)| *known == name).expect("a target of this name");
    let mut inputs = seeds();
    assert!(!inputs.is_empty());
    let corpus = files(&folder("corpus").join(name));
    inputs.extend(corpus.iter().map(|path| fs::read(path).expect("a file of the corpus")));
    let tried = |bytes: &[u8]| {
        let outcome = std::panic::catch_unwind(|| run(bytes));
        assert!(outcome.is_ok(), "{name} fails on these bytes: {}", hex(bytes));
    };
    inputs.iter().for_each(|bytes| tried(bytes));
    let moment = std::env::var("BASALT_FUZZ_MS").ok().and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let (begun, mut random, mut runs) = (Instant::now(), Random::new(1), 0);
    while begun.elapsed() < moment.unwrap_or(MOMENT) {
        tried(&mutate(&inputs, &mut random));
        runs += 1;
    }
    println!("{name}: {} inputs of the corpus, {runs} mutations", inputs.len());
}

macro_rules! smoke {
    ($($claim:ident: $target:literal,)+) => {
        $(
            #[test]
            fn $claim() {
                smoke($target);
            }
        )+

        #[test]
        fn every_target_has_a_test_and_a_fuzzer() {
            let names: BTreeSet<String> = targets().iter().map(|(name, ..)| name.to_string()).collect();
            assert_eq!(BTreeSet::from([$($target.to_owned()),+]), names);
            let stem = |path: &PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert_eq!(files(&folder("fuzz_targets")).iter().map(stem).collect::<BTreeSet<_>>(), names);
            let corpora: BTreeSet<String> = files(&folder("corpus")).iter().map(stem).collect();
            assert!(corpora.is_subset(&names), "a corpus without a target: {corpora:?}");
        }
    };
}

smoke! {
    no_bytes_of_a_superblock_panic: "superblock",
    no_bytes_of_an_allocation_page_panic: "allocation_page",
    no_bytes_of_a_wal_record_panic: "wal_record",
    no_log_makes_replay_panic: "wal_replay",
    no_bytes_of_an_index_node_panic: "index_node",
    no_bytes_of_an_index_entry_panic: "index_entry",
    no_stream_of_bytes_makes_a_session_panic: "session",
    no_bytes_of_a_message_about_objects_panic: "object_message",
    no_bytes_of_a_message_to_the_monitor_panic: "monitor_message",
    no_bytes_of_a_handshake_panic: "handshake",
    no_bytes_of_a_map_panic: "cluster_map",
    no_text_of_a_configuration_panics: "cluster_config",
    no_text_of_a_pools_settings_panics: "pool_settings",
    no_text_of_a_crush_map_panics: "crush_text",
    no_bytes_of_a_crush_map_panic: "crush_map",
    no_text_of_a_job_file_panics: "job_file",
}

#[test]
fn the_kept_corpus_is_small() {
    let sizes = files(&folder("corpus")).into_iter().flat_map(|target| files(&target));
    let bytes: u64 = sizes.map(|path| path.metadata().map_or(0, |metadata| metadata.len())).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes: merge it anew with `make fuzz-corpus`");
}
