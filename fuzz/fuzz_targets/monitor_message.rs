#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| basalt_net::fuzzing::monitor_message(bytes));
