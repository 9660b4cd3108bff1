//! Probes and lifecycle hooks.
use super::container::Inside;
use crate::{field::Field, names};

pub(super) fn probes(c: &Field<'_>, pod: &Inside<'_>) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let f = c.at(name);
        if !f.exists() {
            continue;
        }
        probe(&f, pod.grace);
        if name == "readinessProbe" {
            let grace = f.at("terminationGracePeriodSeconds");
            if grace.exists() {
                grace.invalid(grace.value(), "must not be set for readinessProbes");
            }
        } else if f.at("successThreshold").int() != 1 {
            f.at("successThreshold").invalid(f.at("successThreshold").int(), "must be 1");
        }
    }
}

fn probe(f: &Field<'_>, grace: Option<i64>) {
    handler(f, grace, &["exec", "httpGet", "tcpSocket", "grpc"]);
    for part in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        f.at(part).non_negative();
    }
    let own = f.at("terminationGracePeriodSeconds");
    if own.exists() && own.int() <= 0 {
        own.invalid(own.int(), "must be greater than 0");
    }
}

pub(super) fn lifecycle(f: &Field<'_>, pod: &Inside<'_>) {
    for hook in ["postStart", "preStop"] {
        if f.at(hook).exists() {
            handler(&f.at(hook), pod.grace, &["exec", "httpGet", "tcpSocket", "sleep"]);
        }
    }
    let signal = f.at("stopSignal");
    if signal.exists() {
        match pod.os.at("name").text() {
            _ if !pod.os.exists() => signal.forbidden("may not be set for containers with empty `spec.os.name`"),
            Some("windows") => signal.if_any_of(&["SIGKILL", "SIGTERM"]),
            Some("linux") => {
                let all = linux_signals();
                signal.if_any_of(&all.iter().map(String::as_str).collect::<Vec<_>>());
            }
            _ => {}
        }
    }
}

/// Exactly one way of asking, out of `allowed`.
fn handler(f: &Field<'_>, grace: Option<i64>, allowed: &[&'static str]) {
    let mut found = false;
    for kind in allowed {
        let h = f.at(kind);
        if !h.exists() {
            continue;
        }
        if std::mem::replace(&mut found, true) {
            h.forbidden("may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" if h.at("command").list().is_empty() => h.at("command").required(""),
            "httpGet" => http_get(&h),
            "tcpSocket" => port_number_or_name(&h.at("port")),
            "grpc" => h.at("port").in_range(1, 65535),
            "sleep" => {
                let seconds = h.at("seconds").int();
                if let Some(grace) = grace.filter(|g| seconds < 0 || seconds > *g) {
                    h.invalid(seconds, &format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"));
                }
            }
            _ => {}
        }
    }
    if !found {
        f.required("must specify a handler type");
    }
}

fn http_get(h: &Field<'_>) {
    if h.at("path").str().is_empty() {
        h.at("path").required("");
    }
    port_number_or_name(&h.at("port"));
    h.at("scheme").if_any_of(&["HTTP", "HTTPS"]);
    for header in h.at("httpHeaders").items() {
        h.at("httpHeaders").check_text(header.at("name").str(), names::http_header);
    }
}

/// A port by its number or by its name.
pub(crate) fn port_number_or_name(f: &Field<'_>) {
    match f.text() {
        Some(_) => f.check(names::port_name),
        None => f.in_range(1, 65535),
    }
}

fn linux_signals() -> Vec<String> {
    const PLAIN: [&str; 34] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT",
        "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
    ];
    let mut all: Vec<String> = PLAIN.iter().map(|s| format!("SIG{s}")).collect();
    all.extend(["SIGRTMIN".to_owned(), "SIGRTMAX".to_owned()]);
    all.extend((1..=15).map(|n| format!("SIGRTMIN+{n}")));
    all.extend((1..=14).map(|n| format!("SIGRTMAX-{n}")));
    all.sort_unstable();
    all
}
