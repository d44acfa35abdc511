#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| basalt_cluster::fuzzing::crush_map(bytes));
