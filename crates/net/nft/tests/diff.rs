//! Whatever two rulesets are: playing the difference on the first gives the second, and equal ones differ in nothing.

use std::time::Duration;

use proptest::prelude::*;
use skiff_nft::*;

/// A valid ruleset out of numbers: sets 0..n with shapes and elements, chains that name lower chains and any set.
fn ruleset() -> impl Strategy<Value = Ruleset> {
    let set = (0u8..4, prop::collection::btree_map(0u16..6, 0u8..4, 0..6));
    let chain = (0u8..3, prop::collection::vec((0u8..4, 0u8..4), 0..4));
    (prop::collection::btree_map(0u8..4, set, 0..4), prop::collection::btree_map(0u8..4, chain, 0..4)).prop_map(|(sets, chains)| {
        let mut rules = Ruleset::new(Family::Inet, "t");
        let chain_exists = |id: u8| chains.contains_key(&id);
        for (id, (shape, elements)) in &sets {
            let key = [Field::Port];
            let mut made = match shape {
                0 => Set::of(&key),
                1 => Set::verdict_map(&key),
                2 => Set::map(&key, &[Field::Port]),
                _ => Set::dynamic(&key, Duration::from_secs(1)),
            };
            for (port, value) in elements {
                let value = match shape {
                    0 => Value::None,
                    1 if chain_exists(*value) => Value::Verdict(Verdict::Goto(format!("c{value}").into())),
                    1 => Value::Verdict(Verdict::Drop),
                    2 => Value::Data(Key::new().port(u16::from(*value))),
                    _ => continue,
                };
                made.elements.insert(Key::new().port(*port), value);
            }
            rules.sets.insert(format!("s{id}").into(), made);
        }
        for (id, (base, body)) in &chains {
            let mut chain = match base {
                0 => Chain::base(ChainType::Filter, Hook::Input, i32::from(*id)),
                _ => Chain::default(),
            };
            for (what, other) in body {
                let expr = match what {
                    0 if sets.contains_key(other) => Expr::Lookup { set: format!("s{other}").into(), from: Register(0), negate: false },
                    1 if other < id && chain_exists(*other) => Expr::Verdict(Verdict::Jump(format!("c{other}").into())),
                    _ => Expr::cmp_u32(CmpOp::Eq, Register(0), u32::from(*other)),
                };
                chain = chain.rule(vec![expr]);
            }
            rules.chains.insert(format!("c{id}").into(), chain);
        }
        rules
    })
}

proptest! {
    #[test]
    fn the_difference_leads_from_one_to_the_other(from in ruleset(), to in ruleset()) {
        prop_assert_eq!(to.dangling(), Vec::<String>::new());
        let mut played = from.clone();
        // A set that is lost takes its elements along before chains go; the kernel does the same.
        prop_assert_eq!(diff(&from, &to).play(&mut played), Ok(()));
        prop_assert_eq!(&played, &to);
        prop_assert!(diff(&to, &to).is_empty());
        let mut anew = from.clone();
        prop_assert_eq!(create(&to).play(&mut anew), Ok(()));
        prop_assert_eq!(anew, to);
    }
}

#[test]
fn what_leads_to_a_chain_that_is_made_again_is_made_again() {
    let with = |chain: Chain| {
        let mut rules = Ruleset::new(Family::Inet, "t");
        rules.set("map", || Set::verdict_map(&[Field::Port]));
        rules.insert("map", Key::new().port(1), Value::Verdict(Verdict::Goto("target".into())));
        rules.chains.insert("jumps".into(), Chain::default().rule(vec![Expr::Verdict(Verdict::Jump("target".into()))]));
        rules.chains.insert("target".into(), chain);
        rules
    };
    let (from, to) = (with(Chain::default()), with(Chain::base(ChainType::Filter, Hook::Input, 3)));
    let mut played = from.clone();
    assert_eq!(diff(&from, &to).play(&mut played), Ok(()));
    assert_eq!(played, to);
}
