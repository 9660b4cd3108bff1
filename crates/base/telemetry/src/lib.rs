//! Structured logs: one line an event, each with its component, each component's level set alone and live.
//!
//! A component is the `target` of a tracing event: `api`, `store`, `scheduler`, `controller`, `node`, `net`, `dns`,
//! … A level specification is `info`, or `node=debug,api=warn`, or both: `warn,node=debug`.

pub mod metrics;

use std::io::IsTerminal;
use std::sync::OnceLock;
use thiserror::Error;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

#[derive(Debug, Error, PartialEq)]
pub enum LevelError {
    #[error("unknown log level {given:?}: it is one of off, error, warn, info, debug, trace{}", near(nearest))]
    Level { given: String, nearest: Option<&'static str> },
    #[error("unknown component {given:?} in the log levels{}: there are {}", near(nearest), COMPONENTS.join(", "))]
    Component { given: String, nearest: Option<&'static str> },
    #[error("logs are not set up")]
    NotStarted,
}

fn near(n: &Option<&'static str>) -> String {
    n.map(|n| format!(" (did you mean {n}?)")).unwrap_or_default()
}

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Targets of our own log lines. A part of one is written behind two colons: `node::runtime`.
pub const COMPONENTS: [&str; 22] = [
    "admission",
    "api",
    "audit",
    "auth",
    "certificates",
    "controller",
    "crd",
    "dns",
    "events",
    "images",
    "informer",
    "lease",
    "manifests",
    "net",
    "node",
    "node-lifecycle",
    "proxy",
    "scheduler",
    "skiff",
    "store",
    "volumes",
    "webhook",
];

/// Crates of others that log, under their own names.
const OUTSIDE: [&str; 6] = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "tokio_tungstenite"];

static RELOAD: OnceLock<reload::Handle<Targets, tracing_subscriber::Registry>> = OnceLock::new();

/// Reads a level specification.
pub fn parse(spec: &str) -> Result<Targets, LevelError> {
    let mut targets = Targets::new().with_default(LevelFilter::INFO);
    for part in spec.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match part.split_once('=') {
            Some((name, l)) => targets = targets.with_target(component(name.trim())?, level(l.trim())?),
            None => targets = targets.with_default(level(part)?),
        }
    }
    Ok(targets)
}

/// The name itself, when lines can have it.
fn component(name: &str) -> Result<&str, LevelError> {
    let first = name.split("::").next().unwrap_or_default();
    if COMPONENTS.iter().chain(&OUTSIDE).any(|known| *known == first) {
        return Ok(name);
    }
    let distance = |known: &&&'static str| strsim::damerau_levenshtein(known, first);
    let nearest = COMPONENTS.iter().filter(|known| distance(known) <= 2 || known.starts_with(first) && first.len() > 1).min_by_key(distance);
    Err(LevelError::Component { given: name.to_owned(), nearest: nearest.copied() })
}

fn level(word: &str) -> Result<LevelFilter, LevelError> {
    let lower = word.to_lowercase();
    let found = LEVELS.iter().find(|(n, _)| *n == lower).map(|(_, l)| *l);
    found.ok_or_else(|| {
        let nearest = LEVELS.iter().map(|(n, _)| *n).filter(|n| strsim::levenshtein(n, &lower) <= 2).min_by_key(|n| strsim::levenshtein(n, &lower));
        LevelError::Level { given: word.to_owned(), nearest }
    })
}

/// Starts logging to standard error; JSON lines when asked for.
pub fn start(spec: &str, json: bool) -> Result<(), LevelError> {
    let (filter, handle) = reload::Layer::new(parse(spec)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json { registry.with(lines.json().flatten_event(true)).try_init() } else { registry.with(lines).try_init() };
    if started.is_ok() {
        let _ = RELOAD.set(handle);
    }
    Ok(())
}

/// Changes the levels of a running process.
pub fn set_levels(spec: &str) -> Result<(), LevelError> {
    let targets = parse(spec)?;
    let handle = RELOAD.get().ok_or(LevelError::NotStarted)?;
    handle.reload(targets).map_err(|_| LevelError::NotStarted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_by_component() {
        let t = parse("warn,node=debug").unwrap();
        assert!(t.would_enable("node", &Level::DEBUG) && !t.would_enable("api", &Level::INFO) && t.would_enable("api", &Level::WARN));
        assert!(parse("node::runtime=trace,hyper=debug").is_ok());
        assert_eq!(parse("nod=debug").unwrap_err(), LevelError::Component { given: "nod".into(), nearest: Some("node") });
        assert_eq!(parse("schedul=debug").unwrap_err(), LevelError::Component { given: "schedul".into(), nearest: Some("scheduler") });
        assert!(parse("kubelet=debug").unwrap_err().to_string().contains("there are admission, api"));
        assert_eq!(parse("node=debgu").unwrap_err(), LevelError::Level { given: "debgu".into(), nearest: Some("debug") });
    }
}
