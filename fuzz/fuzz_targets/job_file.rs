#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| basalt_benches::fuzzing::job_file(bytes));
