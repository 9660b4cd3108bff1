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
    ImageRemove { reference: String, force: bool },
    /// Zero seconds: for ever.
    TokenCreate { seconds: u64, description: String },
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

/// What `skiff stop` and others must know of the server that ran last, kept in the run folder.
#[derive(Serialize, Deserialize, Debug, Default)]
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
        other => Ok(Some(serde_json::from_slice(&other.with_context(|| format!("read {}", path.display()))?).with_context(|| format!("read {}", path.display()))?)),
    }
}

/// Asks the running server. Err when none runs.
pub fn ask(run: &Path, what: &Ask) -> anyhow::Result<Told> {
    let path = socket(run);
    let mut stream = UnixStream::connect(&path).with_context(|| format!("reach the server at {} (does `skiff server` or `skiff agent` run, with this --run-dir?)", path.display()))?;
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(std::io::Read::take(stream, 64 << 20)).read_line(&mut answer).context("read the server's answer")?;
    match serde_json::from_str(&answer).context("read the server's answer")? {
        Told::Failed(why) => bail!(why),
        told => Ok(told),
    }
}
