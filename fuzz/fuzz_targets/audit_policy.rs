#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (skiff_fuzz::by_name("audit_policy").expect("the target").run)(data));
