//! Any bytes for `internals::replies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::replies(data));
