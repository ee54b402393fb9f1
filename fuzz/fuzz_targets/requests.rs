//! Any bytes for `internals::requests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::requests(data));
