//! Any bytes for `internals::splitter`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::splitter(data));
