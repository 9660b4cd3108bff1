//! The private door of the running server or agent: a unix socket (mode 0600) in the run folder, one JSON line each way.
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Longer lines are refused, bytes.
pub const MAX_LINE: u64 = 1 << 20;

#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    LogLevel(String),
    ImageList,
    ImageImport(PathBuf),
    ImagePull(String),
    /// An image in use only when forced.
    ImageRemove {
        reference: String,
        force: bool,
    },
    /// Zero seconds: for ever.
    TokenCreate {
        seconds: u64,
        description: String,
    },
    TokenList,
    TokenDelete(String),
    Encryption(EncryptionAsk),
}

/// What can be done to encryption at rest. Names are k3s's.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum EncryptionAsk {
    Status,
    Enable,
    Disable,
    /// A new key that opens, but does not seal yet.
    Prepare,
    /// The new key seals.
    Rotate,
    /// All values by the sealing key; the others are forgotten.
    Reencrypt,
    /// The three in one.
    RotateKeys,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionStatus {
    /// Resources, and what seals them.
    pub rules: Vec<(String, String)>,
    /// Ids, the sealing one first.
    pub own_keys: Vec<String>,
    pub file: Option<PathBuf>,
    pub stage: String,
    /// How many values lie sealed by what.
    pub values: std::collections::BTreeMap<String, usize>,
    pub stale: usize,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    Done,
    Images(Vec<Image>),
    Token(String),
    Tokens(Vec<TokenLine>),
    Encryption(EncryptionStatus),
    Failed(String),
}

#[derive(Serialize, Deserialize, Debug)]
pub struct Image {
    pub id: String,
    pub references: Vec<String>,
    /// Bytes.
    pub size: u64,
}

/// A token as lists show it: without its secret.
#[derive(Serialize, Deserialize, Debug)]
pub struct TokenLine {
    pub id: String,
    pub description: String,
    /// RFC 3339; empty when it holds for ever.
    pub expires: String,
}

/// What `skiff stop` and others must know of the server that ran last, kept in the run folder. All paths are absolute;
/// an empty one was not recorded by the version that wrote this.
#[derive(Serialize, Deserialize, Debug, Default, Clone, PartialEq)]
pub struct Traces {
    pub kubeconfig: PathBuf,
    pub cgroup: String,
    pub prefix: String,
    pub node: String,
    pub pods: Vec<ipnet::IpNet>,
    pub services: Vec<ipnet::IpNet>,
    pub registries: PathBuf,
    /// Where a server is reached; empty for an agent.
    #[serde(default)]
    pub url: String,
    /// Whose containers these are.
    #[serde(default)]
    pub data: PathBuf,
    /// Where volumes are mounted.
    #[serde(default)]
    pub kubelet: PathBuf,
    /// Where containers' logs are.
    #[serde(default)]
    pub logs: PathBuf,
}

impl Traces {
    /// Whether there may be containers.
    pub fn has_node(&self) -> bool {
        !self.prefix.is_empty()
    }
    /// What is to be recorded when this follows what `old` tells: the node of an earlier start stays known until `skiff stop`.
    pub fn after(self, old: Option<Self>) -> Self {
        match old {
            Some(old) if old.has_node() && !self.has_node() => Self { kubeconfig: self.kubeconfig, url: self.url, ..old },
            _ => self,
        }
    }
    /// Fails when the containers of this run folder belong to another state folder: they are not to be taken for orphans.
    fn belongs(&self, run: &Path, data: &Path) -> anyhow::Result<()> {
        if !self.has_node() || self.data.as_os_str().is_empty() || self.data == data {
            return Ok(());
        }
        let (run, theirs) = (run.display(), self.data.display());
        bail!(
            "the containers of {run} belong to the server or agent with --data-dir {theirs}: end them first (skiff stop --all --run-dir {run}), or give this one another --run-dir"
        )
    }
}

/// Fails when a server with this state folder must leave the run folder alone. For who holds both locks.
pub fn own(run: &Path, data: &Path) -> anyhow::Result<()> {
    read_traces(run)?.map_or(Ok(()), |t| t.belongs(run, &absolute(data)))
}

/// Writes down what `skiff stop` must know. Before any container is started.
pub fn record(run: &Path, known: Traces) -> anyhow::Result<()> {
    let known = known.after(read_traces(run)?);
    Ok(skiff_pki::write_private(&traces(run), &skiff_json::to_vec(&known)?)?)
}

/// The path as others find it from other folders, and without links as far as it exists.
pub fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

pub fn socket(run: &Path) -> PathBuf {
    run.join("skiff.sock")
}
pub fn traces(run: &Path) -> PathBuf {
    run.join("server.json")
}

pub fn read_traces(run: &Path) -> anyhow::Result<Option<Traces>> {
    let path = traces(run);
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => {
            Ok(Some(skiff_json::from_slice(&other.with_context(|| format!("read {}", path.display()))?).with_context(|| format!("read {}", path.display()))?))
        }
    }
}

/// Asks the running server. Err when none runs.
pub fn ask(run: &Path, what: &Ask) -> anyhow::Result<Told> {
    let path = socket(run);
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("reach the server at {} (does `skiff server` or `skiff agent` run, with this --run-dir?)", path.display()))?;
    let mut line = skiff_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(std::io::Read::take(stream, 64 << 20)).read_line(&mut answer).context("read the server's answer")?;
    match skiff_json::from_str(&answer).context("read the server's answer")? {
        Told::Failed(why) => bail!(why),
        told => Ok(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: &str, prefix: &str) -> Traces {
        Traces { data: data.into(), prefix: prefix.into(), ..Traces::default() }
    }

    #[test]
    fn containers_belong_to_one_state_folder() {
        let run = Path::new("/run/skiff");
        let told = of("/a", "skiff").belongs(run, Path::new("/b")).unwrap_err().to_string();
        assert!(told.contains("--data-dir /a") && told.contains("skiff stop --all --run-dir /run/skiff"), "{told}");
        for (recorded, why) in [(of("/b", "skiff"), "its own"), (of("/a", ""), "no containers"), (of("", "skiff"), "an older version's")] {
            assert!(recorded.belongs(run, Path::new("/b")).is_ok(), "{why}");
        }
    }

    #[test]
    fn a_node_stays_known_to_a_server_that_runs_none() {
        let server = Traces { url: "https://a:1".into(), ..of("/a", "") };
        let merged = server.clone().after(Some(of("/a", "skiff")));
        assert_eq!((merged.prefix.as_str(), merged.url.as_str()), ("skiff", "https://a:1"));
        assert_eq!(of("/a", "new").after(Some(of("/a", "skiff"))).prefix, "new");
        assert_eq!(server.clone().after(None), server);
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            traces(dir.path()),
            r#"{"kubeconfig":"/k","cgroup":"/skiff","prefix":"skiff","node":"n","pods":["10.42.0.0/16"],"services":[],"registries":"/r"}"#,
        )
        .unwrap();
        let t = read_traces(dir.path()).unwrap().unwrap();
        assert!(t.has_node() && t.data.as_os_str().is_empty() && t.kubelet.as_os_str().is_empty());
        own(dir.path(), Path::new("/b")).unwrap();
    }
}
