//! Any bytes for `internals::host`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::host(data));
