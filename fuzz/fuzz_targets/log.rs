//! Any bytes for `internals::log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::log(data));
