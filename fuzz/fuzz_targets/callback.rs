//! Any bytes for `internals::callback`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::callback(data));
