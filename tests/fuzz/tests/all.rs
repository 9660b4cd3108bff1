//! Each target under a number of changed inputs: no panic. `cargo xtask fuzz --seconds N` goes on for longer.
use skiff_fuzz::ALL;
use skiff_fuzz::campaign::{self, Until};

/// Inputs a target; SKIFF_FUZZ_INPUTS sets another number.
fn inputs() -> u64 {
    std::env::var("SKIFF_FUZZ_INPUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
}

#[test]
fn no_target_panics() {
    let mut failed = Vec::new();
    for target in ALL {
        let outcome = campaign::run(target, 1, Until::Inputs(inputs()), |_| {});
        println!("{}: {} inputs, slowest {:?}", target.name, outcome.inputs, outcome.slowest.0);
        if let Some((input, said)) = outcome.panic {
            failed.push(format!("{}: {said}: {}", target.name, campaign::quoted(&input)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn names_are_unique() {
    for (i, target) in ALL.iter().enumerate() {
        assert_eq!(ALL.iter().position(|t| t.name == target.name), Some(i), "{} is there twice", target.name);
    }
}
