//! The configuration file: long flag names as YAML keys. It is turned into flags in front of those of the command line,
//! which so win.
use anyhow::{Context, bail};
use clap::CommandFactory;
use skiff_json::Value;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

type Map = skiff_json::Map;

/// Larger files are refused, bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Of every command: where files are.
const PLACES: [&str; 3] = ["data-dir", "run-dir", "config-dir"];

/// What the commands are that take flags of the file, by where these go in the arguments.
const ROLES: [&str; 2] = ["server", "agent"];
const ALONE: [&str; 4] = ["check", "stop", "kubeconfig", "log-level"];
const WITH_SUBCOMMAND: [&str; 3] = ["image", "token", "secrets-encrypt"];

/// The arguments with what the configuration file says put in: all of it for a `server` or an `agent`, where files are for
/// the others, which so find the server that runs.
pub fn with_config(args: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some(command) = args.get(1).and_then(|a| a.to_str()) else { return Ok(args) };
    let role = ROLES.into_iter().find(|r| *r == command);
    let at = match command {
        _ if role.is_some() || ALONE.contains(&command) => 2,
        _ if WITH_SUBCOMMAND.contains(&command) && args.get(2).is_some_and(|a| a != "help") => 3,
        _ => return Ok(args),
    };
    let Some((path, map)) = file(&args, role.is_none())? else { return Ok(args) };
    let flags = match role {
        Some(role) => flags_of(role, map),
        None => places_of(map),
    };
    let flags = flags.with_context(|| format!("read {}", path.display()))?;
    let mut out = args;
    out.splice(at..at, flags.into_iter().map(OsString::from));
    Ok(out)
}

/// Whose the file is that these arguments lead to: an agent's when it has a key that only an agent has.
pub fn role(args: &[OsString]) -> anyhow::Result<&'static str> {
    let Some((_, map)) = file(args, true)? else { return Ok("server") };
    let [server, agent] = ROLES.map(|r| longs(r, |_| true));
    let has = |flags: &[String], key: &str| flags.iter().any(|f| f == key);
    let agents = map.keys().any(|k| has(&agent, k) && !has(&server, k));
    Ok(if agents { "agent" } else { "server" })
}

/// What the file holds; None when there is none and nobody asked for one. `lenient`: nor when it is not for this user, who
/// then goes by the flags.
fn file(args: &[OsString], lenient: bool) -> anyhow::Result<Option<(PathBuf, Map)>> {
    let (path, given) = path_of(args);
    let text = match std::fs::metadata(&path).and_then(|m| if m.len() > MAX_SIZE { Ok(None) } else { std::fs::read_to_string(&path).map(Some) }) {
        Ok(Some(text)) => text,
        Ok(None) => bail!("read {}: the file is larger than {MAX_SIZE} bytes", path.display()),
        Err(e) if e.kind() == ErrorKind::NotFound && !given => return Ok(None),
        Err(e) if e.kind() == ErrorKind::PermissionDenied && !given && lenient => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("read {}", path.display())),
    };
    let map = parse(&text).with_context(|| format!("read {}", path.display()))?;
    Ok(Some((path, map)))
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

fn parse(text: &str) -> anyhow::Result<Map> {
    let config: Value = if text.trim().is_empty() { Value::Null } else { serde_saphyr::from_str(text).map_err(|e| anyhow::anyhow!("it is no YAML: {e}"))? };
    match config {
        Value::Null => Ok(Map::new()),
        Value::Object(m) => Ok(m),
        _ => bail!("it must be a map of flag names to values"),
    }
}

/// The long names of a command's flags.
fn longs(command: &str, which: impl Fn(&clap::Arg) -> bool) -> Vec<String> {
    let cli = crate::cli::Cli::command();
    let arguments = cli.find_subcommand(command).into_iter().flat_map(|c| c.get_arguments());
    arguments.filter(|a| which(a)).filter_map(|a| a.get_long()).map(str::to_owned).collect()
}

/// The file may be a server's or an agent's: other keys are for that one to judge.
fn places_of(map: Map) -> anyhow::Result<Vec<String>> {
    map.into_iter().filter(|(key, _)| PLACES.contains(&key.as_str())).map(|(key, value)| Ok(format!("--{key}={}", scalar(&key, &value)?))).collect()
}

fn flags_of(role: &str, map: Map) -> anyhow::Result<Vec<String>> {
    let known = longs(role, |a| a.get_long() != Some("config"));
    let switches = longs(role, |a| !a.get_action().takes_values());
    let mut flags = Vec::new();
    for (key, value) in map {
        if !known.iter().any(|k| *k == key) {
            if let Some(means) = crate::k3s_flags::meaning(&key) {
                bail!("key {key:?} is a flag of k3s that Skiff does not have: {means}");
            }
            let near = known.iter().min_by_key(|k| strsim::damerau_levenshtein(k, &key)).filter(|k| strsim::damerau_levenshtein(k, &key) <= 4);
            bail!("unknown key {key:?}{}", near.map(|n| format!(", did you mean {n:?}?")).unwrap_or_default());
        }
        match (switches.iter().any(|k| *k == key), value) {
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
        let flags_of = |role, text| parse(text).and_then(|map| flags_of(role, map));
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

    fn given(dir: &Path, words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).chain(["--config-dir".into(), dir.into()]).collect()
    }

    #[test]
    fn other_commands_learn_where_files_are() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.yaml"), "server: https://a:1\ntoken-file: /t\ndata-dir: /d\nrun-dir: /r\n").unwrap();
        for (words, at) in [(&["skiff", "stop", "--all"][..], 2), (&["skiff", "image", "list"], 3), (&["skiff", "token", "create", "--ttl", "1d"], 3)] {
            let args = with_config(given(dir.path(), words)).unwrap();
            assert_eq!(args[at..at + 2], ["--data-dir=/d", "--run-dir=/r"], "{words:?}");
            assert_eq!(args[at + 2..], given(dir.path(), words)[at..], "the command line comes later and wins");
        }
        for words in [&["skiff"][..], &["skiff", "completion"]] {
            assert_eq!(with_config(given(dir.path(), words)).unwrap(), given(dir.path(), words));
        }
        assert_eq!(role(&given(dir.path(), &["skiff", "check"])).unwrap(), "agent");
        std::fs::write(dir.path().join("config.yaml"), "data-dir: /d\n").unwrap();
        assert_eq!(role(&given(dir.path(), &["skiff", "check"])).unwrap(), "server");
        std::fs::write(dir.path().join("config.yaml"), "run-dir: [/a]\n").unwrap();
        assert!(with_config(given(dir.path(), &["skiff", "stop"])).is_err());
    }
}
