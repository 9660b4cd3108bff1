#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (skiff_fuzz::by_name("flow_control").expect("the target").run)(data));
