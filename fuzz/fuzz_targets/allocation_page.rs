#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| basalt_blockstore::fuzzing::allocation_page(bytes));
