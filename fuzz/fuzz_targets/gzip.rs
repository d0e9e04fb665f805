#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oauth4os_fuzz::gzip(data));
