//! Flow control of the API: schemas of flows and levels of priority.
use crate::{
    field::Field,
    names,
    show::{internal, own},
};

const MAX_PRECEDENCE: i64 = 10_000;
const MAX_QUEUES: i64 = 10_000_000;
const MAX_HASH_BITS: u32 = 60;
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(crate) fn schema(v: &Field<'_>) {
    let spec = v.at("spec");
    let (precedence, method, level) = (spec.at("matchingPrecedence"), spec.at("distinguisherMethod"), spec.at("priorityLevelConfiguration").at("name"));
    let n = precedence.int();
    if n <= 0 {
        precedence.invalid(n, "must be a positive value");
    }
    if n > MAX_PRECEDENCE {
        precedence.invalid(n, &format!("must not be greater than {MAX_PRECEDENCE}"));
    }
    if n == 1 && !v.at("metadata.name").is("exempt") {
        precedence.invalid(n, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    if method.exists() && !matches!(method.at("type").str(), "ByNamespace" | "ByUser") {
        method.at("type").unsupported(internal("io.k8s.api.flowcontrol.v1.FlowDistinguisherMethod", method.value()), &["ByNamespace", "ByUser"]);
    }
    if level.str().is_empty() {
        level.required("must reference a priority level");
    } else {
        level.check(names::dns1123_subdomain);
    }
    for r in spec.at("rules").items() {
        rule(&r);
    }
    conditions(v, v);
}

/// Conditions of a status, of schemas and of levels.
pub(crate) fn conditions(v: &Field<'_>, _old: &Field<'_>) {
    let mut seen = Vec::new();
    for kind in v.at("status").at("conditions").items().map(|c| c.at("type")) {
        if seen.contains(&kind.str()) {
            kind.duplicate(kind.str());
        }
        seen.push(kind.str());
        if kind.str().is_empty() {
            kind.required("");
        }
    }
}

fn rule(r: &Field<'_>) {
    let (subjects, resources, others) = (r.at("subjects"), r.at("resourceRules"), r.at("nonResourceRules"));
    if subjects.list().is_empty() {
        subjects.required("subjects must contain at least one value");
    }
    for s in subjects.items() {
        subject(&s);
    }
    if resources.list().is_empty() && others.list().is_empty() {
        r.required("at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for x in resources.items() {
        verbs(&x.at("verbs"));
        some(&x.at("apiGroups"), "resource rules must supply at least one api group", "api groups");
        some(&x.at("resources"), "resource rules must supply at least one resource", "resources");
        namespaces(&x);
    }
    for x in others.items() {
        verbs(&x.at("verbs"));
        let urls = x.at("nonResourceURLs");
        some(&urls, "nonResourceURLs must contain at least one value", "non-resource URLs");
        if !urls.strs().contains(&"*") {
            for u in urls.items() {
                url(&u);
            }
        }
    }
}

/// At least one, and `*` alone.
fn some(f: &Field<'_>, none: &str, what: &str) {
    if f.list().is_empty() {
        f.required(none);
    } else if f.len() > 1 && f.strs().contains(&"*") {
        f.invalid(own(f.value()), &format!("if '*' is present, must not specify other {what}"));
    }
}

fn verbs(f: &Field<'_>) {
    some(f, "verbs must contain at least one value", "verbs");
    let all = f.strs();
    if !all.contains(&"*") && all.iter().any(|v| !VERBS.contains(v)) {
        f.unsupported(own(f.value()), &VERBS);
    }
}

fn namespaces(r: &Field<'_>) {
    let f = r.at("namespaces");
    let all = f.strs();
    if all.is_empty() && !r.at("clusterScope").flag() {
        f.required("resource rules that are not cluster scoped must supply at least one namespace");
    } else if all.contains(&"*") {
        if all.len() > 1 {
            f.invalid(own(f.value()), "if '*' is present, must not specify other namespaces");
        }
    } else {
        for n in f.items() {
            for m in names::dns1123_label(n.str()) {
                n.invalid(n.str(), &format!("each member of this list must be '*' or a DNS-1123 label; {m}"));
            }
        }
    }
}

fn url(f: &Field<'_>) {
    let path = f.str();
    let stars = path.matches('*').count();
    let why = match path {
        "" => "must not be empty",
        "/" => return,
        p if !p.starts_with('/') => "must start with slash",
        p if p.contains(' ') => "must not contain white-space",
        p if p.contains("//") => "must not contain double slash",
        p if stars > 1 || (stars == 1 && !p.ends_with("/*")) => "wildcard can only do suffix matching",
        _ => return,
    };
    f.invalid(path, why);
}

fn subject(s: &Field<'_>) {
    let parts = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let Some((kind, part)) = parts.iter().find(|(k, _)| s.at("kind").is(k)) else {
        return s.at("kind").unsupported(s.at("kind").str(), &["Group", "ServiceAccount", "User"]);
    };
    let f = s.at(part);
    if !f.exists() {
        f.required(&format!("{part} is required when subject kind is '{kind}'"));
    } else {
        let (name, namespace) = (f.at("name"), f.at("namespace"));
        if name.str().is_empty() {
            name.required("");
        } else if *kind == "ServiceAccount" && !name.is("*") {
            name.check(names::dns1123_subdomain);
        }
        if *kind == "ServiceAccount" && namespace.str().is_empty() {
            namespace.required("must specify namespace for service account");
        } else if *kind == "ServiceAccount" {
            namespace.check(names::dns1123_label);
        }
    }
    for (other, part) in parts.iter().filter(|(k, p)| k != kind && s.at(p).exists()) {
        s.at(part).forbidden(&format!("{part} is forbidden when subject kind is not '{other}'"));
    }
}

pub(crate) fn level(v: &Field<'_>) {
    let spec = v.at("spec");
    let (kind, limited, exempt) = (spec.at("type"), spec.at("limited"), spec.at("exempt"));
    if v.at("metadata.name").is("exempt") != kind.is("Exempt") {
        kind.invalid(kind.str(), "must be 'Exempt' if and only if `name` is 'exempt'");
    }
    match kind.str() {
        "Exempt" => {
            if exempt.exists() {
                shares(&exempt);
            }
            if limited.exists() {
                limited.forbidden("");
            }
        }
        "Limited" => {
            if exempt.exists() {
                exempt.forbidden("");
            }
            if !limited.exists() {
                limited.required("");
            } else {
                shares(&limited);
                response(&limited.at("limitResponse"));
                let borrowing = limited.at("borrowingLimitPercent");
                if borrowing.int() < 0 {
                    borrowing.invalid(borrowing.int(), "if specified, must be a non-negative integer");
                }
            }
        }
        // Told after what does not go with it.
        "" => {}
        k => kind.unsupported(k, &["Exempt", "Limited"]),
    }
    members(&kind, &exempt, &limited);
    conditions(v, v);
}

/// Parts that the type does not go with, whatever it is, and types that are missing.
fn members(kind: &Field<'_>, exempt: &Field<'_>, limited: &Field<'_>) {
    let misplaced = |part: &Field<'_>, kind: &Field<'_>, wanted: &str| {
        if part.exists() && !kind.is(wanted) {
            part.forbidden("");
        }
    };
    let missing = |kind: &Field<'_>| {
        if kind.str().is_empty() {
            kind.required("");
        }
    };
    misplaced(exempt, kind, "Exempt");
    misplaced(limited, kind, "Limited");
    missing(kind);
    if limited.exists() {
        let response = limited.at("limitResponse");
        misplaced(&response.at("queuing"), &response.at("type"), "Queue");
        missing(&response.at("type"));
    }
}

fn shares(f: &Field<'_>) {
    let (shares, lendable) = (f.at("nominalConcurrencyShares"), f.at("lendablePercent"));
    if shares.int() < 0 {
        shares.invalid(shares.int(), "must be a non-negative integer");
    }
    lendable.in_range(0, 100);
}

fn response(f: &Field<'_>) {
    let (kind, queuing) = (f.at("type"), f.at("queuing"));
    match kind.str() {
        "Reject" if queuing.exists() => queuing.forbidden(""),
        "Reject" => {}
        "Queue" if !queuing.exists() => queuing.required(""),
        "Queue" => queues(&queuing),
        "" => {}
        k => kind.unsupported(k, &["Queue", "Reject"]),
    }
}

fn queues(f: &Field<'_>) {
    let (limit, queues, hand) = (f.at("queueLengthLimit"), f.at("queues"), f.at("handSize"));
    let positive = |f: &Field<'_>| {
        if f.int() <= 0 {
            f.invalid(f.int(), "must be positive");
        }
    };
    positive(&limit);
    positive(&queues);
    if queues.int() > MAX_QUEUES {
        queues.invalid(queues.int(), &format!("must not be greater than {MAX_QUEUES}"));
    }
    positive(&hand);
    if hand.int() > queues.int() {
        if hand.int() > 0 {
            hand.invalid(hand.int(), &format!("should not be greater than queues ({})", queues.int()));
        }
    } else if hand.int() > 0 && entropy(queues.int(), hand.int()) > MAX_HASH_BITS {
        hand.invalid(
            hand.int(),
            &format!("required entropy bits of deckSize {} and handSize {} should not be greater than {MAX_HASH_BITS}", queues.int(), hand.int()),
        );
    }
}

/// Bits of a hash that dealing `hand` cards out of `deck` uses up.
fn entropy(deck: i64, hand: i64) -> u32 {
    ((deck as f64).log2() * hand as f64).ceil() as u32
}
