//! Any bytes for `internals::settings`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::settings(data));
