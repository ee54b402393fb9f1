//! Any bytes for `internals::stored_login`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| airelays::internals::stored_login(data));
