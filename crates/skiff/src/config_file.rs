//! The configuration file: long flag names as YAML keys. It is turned into flags in front of those of the command line,
//! which so win.
use anyhow::{Context, bail};
use clap::CommandFactory;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Larger files are refused, bytes.
const MAX_SIZE: u64 = 1 << 20;

/// The arguments with what the configuration file of a `server` or an `agent` says put in. Other commands have none.
pub fn with_config(args: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some(role) = ["server", "agent"].into_iter().find(|r| args.get(1).is_some_and(|a| a == r)) else { return Ok(args) };
    let (path, given) = path_of(&args);
    let text = match std::fs::metadata(&path) {
        Ok(m) if m.len() > MAX_SIZE => bail!("read {}: the file is larger than {MAX_SIZE} bytes", path.display()),
        Ok(_) => std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !given => return Ok(args),
        Err(e) => return Err(e).with_context(|| format!("read {}", path.display())),
    };
    let flags = flags_of(role, &text).with_context(|| format!("read {}", path.display()))?;
    let mut out = args;
    out.splice(2..2, flags.into_iter().map(OsString::from));
    Ok(out)
}

/// Where the file is, and whether somebody asked for it.
fn path_of(args: &[OsString]) -> (PathBuf, bool) {
    let text: Vec<&str> = args.iter().filter_map(|a| a.to_str()).collect();
    let value = |names: &[&str]| {
        text.iter().enumerate().find_map(|(i, a)| match a.split_once('=') {
            Some((name, v)) if names.contains(&name) => Some(v),
            None if names.contains(a) => text.get(i + 1).copied(),
            _ => None,
        })
    };
    let env = |name| std::env::var(name).ok();
    if let Some(path) = value(&["--config", "-c"]).map(str::to_owned).or_else(|| env("SKIFF_CONFIG_FILE")) {
        return (path.into(), true);
    }
    let dir = value(&["--config-dir"]).map(str::to_owned).or_else(|| env("SKIFF_CONFIG_DIR")).unwrap_or_else(|| "/etc/skiff".into());
    (Path::new(&dir).join("config.yaml"), false)
}

fn flags_of(role: &str, text: &str) -> anyhow::Result<Vec<String>> {
    let config: Value = if text.trim().is_empty() { Value::Null } else { serde_saphyr::from_str(text).map_err(|e| anyhow::anyhow!("it is no YAML: {e}"))? };
    let map = match config {
        Value::Null => return Ok(Vec::new()),
        Value::Object(m) => m,
        _ => bail!("it must be a map of flag names to values"),
    };
    let command = crate::cli::Cli::command();
    let server = command.find_subcommand(role).with_context(|| format!("the {role} command is missing"))?;
    let known: Vec<&str> = server.get_arguments().filter_map(|a| a.get_long()).filter(|n| *n != "config").collect();
    let switches: Vec<&str> = server.get_arguments().filter(|a| !a.get_action().takes_values()).filter_map(|a| a.get_long()).collect();
    let mut flags = Vec::new();
    for (key, value) in map {
        if !known.contains(&key.as_str()) {
            if let Some(means) = crate::k3s_flags::meaning(&key) {
                bail!("key {key:?} is a flag of k3s that Skiff does not have: {means}");
            }
            let near = known.iter().min_by_key(|k| strsim::damerau_levenshtein(k, &key)).filter(|k| strsim::damerau_levenshtein(k, &key) <= 4);
            bail!("unknown key {key:?}{}", near.map(|n| format!(", did you mean {n:?}?")).unwrap_or_default());
        }
        match (switches.contains(&key.as_str()), value) {
            (true, Value::Bool(true)) => flags.push(format!("--{key}")),
            (true, Value::Bool(false) | Value::Null) => {}
            (true, other) => bail!("key {key:?} must be true or false, not {other}"),
            (false, Value::Array(items)) => {
                for item in items {
                    flags.push(format!("--{key}={}", scalar(&key, &item)?));
                }
            }
            (false, value) => flags.push(format!("--{key}={}", scalar(&key, &value)?)),
        }
    }
    Ok(flags)
}

fn scalar(key: &str, v: &Value) -> anyhow::Result<String> {
    match v {
        Value::String(s) => Ok(s.clone()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        other => bail!("key {key:?} must be a value or a list of values, not {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn keys_become_flags() {
        let flags = flags_of("server", "tls-san: [a, b]\nhttps-listen-port: 7443\ndisable-agent: true\n").unwrap();
        assert_eq!(flags, ["--tls-san=a", "--tls-san=b", "--https-listen-port=7443", "--disable-agent"]);
        assert!(flags_of("server", "").unwrap().is_empty());
        assert_eq!(flags_of("agent", "token-file: /t").unwrap(), ["--token-file=/t"]);
        assert!(flags_of("agent", "cluster-cidr: x").is_err(), "a server's key");
        let error = flags_of("server", "clustr-cidr: x").unwrap_err().to_string();
        assert_eq!(error, "unknown key \"clustr-cidr\", did you mean \"cluster-cidr\"?");
        let error = flags_of("server", "flannel-backend: none").unwrap_err().to_string();
        assert!(error.starts_with("key \"flannel-backend\" is a flag of k3s"), "{error}");
        for bad in ["[1]", "a: [", "disable-agent: 3", "tls-san: {a: b}"] {
            assert!(flags_of("server", bad).is_err(), "{bad}");
        }
    }
}
