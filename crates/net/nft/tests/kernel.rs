//! The real kernel, in a namespace of the test's own.

use std::time::Duration;

use skiff_nft::*;

/// Runs `work` in a new network namespace; says so and does nothing without the right to make one.
fn isolated(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        // SAFETY: moves this thread alone into a new namespace, which goes with the thread.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            eprintln!("skipped: no right to make a network namespace");
            return;
        }
        work();
    })
    .join()
    .unwrap();
}

fn sample() -> Ruleset {
    let mut rules = Ruleset::new(Family::Inet, "sample");
    let key = [Field::Ipv4, Field::Proto, Field::Port];
    rules.set("services", || Set::verdict_map(&key));
    rules.set("sticky", || Set::dynamic(&[Field::Ipv4], Duration::from_secs(10)));
    rules.set("ends", || Set::map(&[Field::Index], &[Field::Ipv4, Field::Port]));
    for index in 0..2u32 {
        let data = Key::new().ip([10, 0, 0, index as u8].into()).port(80);
        rules.insert("ends", Key::new().index(index), Value::Data(data));
    }
    for port in 1..1000 {
        let key = Key::new().ip([10, 43, 0, 1].into()).proto(6).port(port);
        rules.insert("services", key, Value::Verdict(Verdict::Goto("svc".into())));
    }
    let (r0, r1, r2) = (Register(0), Register(1), Register(2));
    let dispatch = vec![
        Expr::Meta { key: MetaKey::Family, to: r0 },
        Expr::Cmp { op: CmpOp::Eq, from: r0, value: vec![2] },
        Expr::destination_address(false, r0),
        Expr::Meta { key: MetaKey::L4Proto, to: r1 },
        Expr::destination_port(r2),
        Expr::VerdictLookup { map: "services".into(), from: r0 },
    ];
    rules.chains.insert("prerouting".into(), Chain::base(ChainType::Nat, Hook::Prerouting, -100).rule(dispatch));
    let svc = Chain::default().rule(vec![Expr::source_address(false, r0), Expr::Update { set: "sticky".into(), from: r0 }]).rule(vec![
        Expr::Meta { key: MetaKey::L4Proto, to: r0 },
        Expr::Cmp { op: CmpOp::Eq, from: r0, value: vec![6] },
        Expr::Random { modulus: 2, to: r0 },
        Expr::MapLookup { map: "ends".into(), from: r0, to: r1 },
        Expr::Nat { kind: NatKind::Destination, ipv6: false, address: Some(r1), port: Some(r2) },
    ]);
    rules.chains.insert("svc".into(), svc);
    let postrouting = Chain::base(ChainType::Nat, Hook::Postrouting, 100).rule(vec![
        Expr::Meta { key: MetaKey::Mark, to: r0 },
        Expr::Bitwise { from: r0, to: r0, mask: 0x4000u32.to_ne_bytes().into(), xor: vec![0; 4] },
        Expr::cmp_u32(CmpOp::Neq, r0, 0),
        Expr::Masquerade { fully_random: true },
    ]);
    rules.chains.insert("postrouting".into(), postrouting);
    let input = Chain::base(ChainType::Filter, Hook::Input, 0)
        .rule(vec![Expr::FibType { of: Fib::Source, to: r0 }, Expr::cmp_u32(CmpOp::Eq, r0, 2), Expr::Counter])
        .rule(vec![Expr::Ct { key: CtKey::State, to: r0 }, Expr::cmp_u32(CmpOp::Eq, r0, 0), Expr::Reject(Reject::PortUnreachable)]);
    rules.chains.insert("input".into(), input);
    rules
}

#[test]
fn the_kernel_takes_a_ruleset_and_its_changes_and_says_so() {
    isolated(|| {
        let mut nft = Nft::open().unwrap();
        let mut first = sample();
        nft.apply(create(&first)).unwrap();
        assert!(holds(&mut nft, &first));

        let mut second = first.clone();
        second.chains.remove("svc");
        second.sets.remove("ends");
        second.sets.remove("sticky");
        second.sets.get_mut("services").unwrap().elements.clear();
        let key = Key::new().ip([10, 43, 0, 1].into()).proto(17).port(53);
        second.insert("services", key, Value::Verdict(Verdict::Drop));
        nft.apply(diff(&first, &second)).unwrap();
        assert!(holds(&mut nft, &second) && !nft.holds(&first).unwrap());
        if let Some(listing) = nft_program() {
            assert_eq!(listing.matches("\"drop\"").count(), 1, "{listing}");
        }

        nft.apply(diff(&second, &first)).unwrap();
        assert!(holds(&mut nft, &first));
        // A refused transaction names its operation and changes nothing.
        let bad = Op::DeleteSet { set: "services".into() };
        let ops = vec![Op::FlushChain { chain: "input".into() }, bad];
        let error = nft.apply(Transaction { family: Family::Inet, table: "sample".into(), ops }).unwrap_err();
        assert_eq!(error.to_string(), "table sample: delete set services");
        assert!(holds(&mut nft, &first));

        // Twenty thousand elements go in one batch.
        for port in 0..20_000 {
            let key = Key::new().ip([10, 44, 0, 1].into()).proto(6).port(port);
            first.insert("services", key, Value::Verdict(Verdict::Accept));
        }
        nft.apply(create(&first)).unwrap();
        assert!(holds(&mut nft, &first));

        nft.delete_table(Family::Inet, "sample").unwrap();
        nft.delete_table(Family::Inet, "sample").unwrap();
        assert_eq!(nft.observe(Family::Inet, "sample").unwrap(), Observed::default());
    });
}

/// The kernel moves grown sets when it finds the time: reads until it has, or until it won't.
fn holds(nft: &mut Nft, rules: &Ruleset) -> bool {
    (0..100).any(|_| nft.holds(rules).unwrap())
}

/// The ruleset as the nft program reads it, in this namespace.
fn nft_program() -> Option<String> {
    match std::process::Command::new("nft").args(["-j", "list", "ruleset"]).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(_) => {
            eprintln!("skipped: the nft program is not installed");
            None
        }
    }
}
