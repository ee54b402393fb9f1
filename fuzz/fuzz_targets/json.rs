//! Any bytes for `internals::json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::json(data));
