//! Clusters of the real binary: one folder holds all of a cluster's files, so that several stand side by side.
//!
//! A cluster of one node runs on the machine as it is. Of several, each has a network namespace ([`wire`]), a host name, cgroups and
//! a folder of its own; the first is the server.

mod claim;
mod leftovers;
mod node;
mod place;
mod wire;

pub use claim::Owner;
pub use leftovers::Leftover;
pub use node::Node;

use crate::http::Client;
use crate::{build, output, root};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

/// Where Kubernetes serves its API by custom.
const DEFAULT_PORT: u16 = 6443;
/// Most nodes of a cluster.
const MANY: u8 = 100;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Start a cluster, or bring it back after a crash; prints KUBECONFIG and PIDS as its last two lines
    Up {
        /// Nodes of the cluster
        #[arg(long, default_value_t = 1)]
        nodes: u8,
        /// Image archives to import
        #[arg(long)]
        images: Vec<PathBuf>,
        /// Port of the API
        #[arg(long, default_value_t = DEFAULT_PORT)]
        port: u16,
        /// Folder of all its files
        #[arg(long, default_value = "/var/tmp/skiff-cluster")]
        dir: PathBuf,
    },
    /// End a cluster and take away all that it made
    Down {
        #[arg(long, default_value = "/var/tmp/skiff-cluster")]
        dir: PathBuf,
    },
}

/// A cluster's place on the machine: what must differ between two.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub dir: PathBuf,
    pub binary: PathBuf,
    pub port: u16,
    /// At most five letters: links and tables begin with it.
    pub prefix: String,
    /// The second byte of pod and service addresses: 10.<n>.0.0/16 and 10.<n+1>.0.0/16.
    pub network: u8,
    /// How many there are, the server's among them.
    #[serde(default = "one")]
    pub nodes: u8,
    /// The process with which the cluster is over, even if that cannot end it. None: it stays until it is ended.
    #[serde(default)]
    pub owner: Option<Owner>,
}

fn one() -> u8 {
    1
}

pub fn task(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up { nodes, images, port, dir } => {
            if !(1..=MANY).contains(&nodes) {
                bail!("--nodes {nodes}: a cluster has 1 to {MANY} nodes");
            }
            if let Some(old) = Cluster::read(&dir)?.filter(|c| c.port != port || c.nodes > nodes || (c.nodes == 1) != (nodes == 1)) {
                bail!(
                    "{} holds a cluster of {} nodes on port {}: give those --nodes and that --port, another --dir, or end it with `cargo xtask cluster down`",
                    dir.display(),
                    old.nodes,
                    old.port
                );
            }
            if let Some(missing) = images.iter().find(|i| !i.is_file()) {
                bail!("--images {}: there is no such file", missing.display());
            }
            let dir = std::path::absolute(&dir)?;
            let cluster = Cluster::with_nodes(&dir, build::binary(true)?, port, nodes);
            cluster.up(&images)?;
            let pids: Vec<String> = cluster.all().iter().filter_map(Node::running).map(|p| p.to_string()).collect();
            println!("KUBECONFIG={}", cluster.kubeconfig().display());
            println!("PIDS={}", pids.join(" "));
            Ok(())
        }
        Command::Down { dir } => match Cluster::read(&dir)? {
            Some(cluster) => cluster.down(),
            None => {
                println!("there is no cluster in {}", dir.display());
                Ok(())
            }
        },
    }
}

impl Cluster {
    /// A cluster of one node in this folder: the one that was there before, or a new one whose names follow from the port
    /// and whose addresses nothing on this machine has yet.
    pub fn of(dir: &Path, binary: PathBuf, port: u16) -> Self {
        Self::with_nodes(dir, binary, port, 1)
    }
    /// The same with several nodes; more than there were are added to it.
    pub fn with_nodes(dir: &Path, binary: PathBuf, port: u16, nodes: u8) -> Self {
        if let Some(old) = Self::read(dir).ok().flatten().filter(|c| c.port == port) {
            return Self { binary, nodes: nodes.max(old.nodes), ..old };
        }
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let prefix = if port == DEFAULT_PORT { "skiff".to_owned() } else { format!("s{port:04x}") };
        Self { dir: dir.to_owned(), binary, port, prefix, network: place::network(port, &routes), nodes, owner: None }
    }
    /// The same, which is over when this process is; `folder`, in which the cluster's is, goes with it.
    pub fn owned(self, folder: &Path) -> Self {
        Self { owner: Owner::this(folder), ..self }
    }
    fn wire(&self) -> wire::Wire<'_> {
        wire::Wire { dir: self.dir.join("ns"), prefix: &self.prefix, network: self.network }
    }
    /// A node, counted from 1, which is the server's.
    pub fn node(&self, i: u8) -> Node {
        let dir = if i == 1 { self.dir.clone() } else { self.dir.join(Self::name(i)) };
        let apart = (self.nodes > 1).then(|| (self.wire().netns(i), Self::name(i)));
        Node { dir, binary: self.binary.clone(), apart }
    }
    /// What a node of several is called.
    pub fn name(i: u8) -> String {
        format!("node-{i}")
    }
    /// Where a node of several is reached from the machine.
    pub fn address(&self, i: u8) -> std::net::Ipv4Addr {
        self.wire().node_address(i)
    }
    pub fn all(&self) -> Vec<Node> {
        (1..=self.nodes).map(|i| self.node(i)).collect()
    }
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("etc/skiff.yaml")
    }
    fn record(dir: &Path) -> PathBuf {
        dir.join("cluster.json")
    }
    /// The cluster that was started in this folder.
    pub fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read(Self::record(dir)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(skiff_json::from_slice(&other?).with_context(|| format!("read {}", Self::record(dir).display()))?)),
        }
    }
    /// The server's process, if it still is one.
    pub fn running(&self) -> Option<i32> {
        self.node(1).running()
    }
    /// Starts the server, further arguments at the end; gives its process id.
    pub fn start(&self, extra: &[&str]) -> anyhow::Result<i32> {
        claim::take(self)?;
        std::fs::create_dir_all(&self.dir)?;
        std::fs::write(Self::record(&self.dir), skiff_json::to_vec(self)?)?;
        if self.nodes > 1 {
            self.wire().up(self.nodes).context("make the network of the nodes")?;
        }
        self.node(1).start("server", |server| {
            server.args(["--https-listen-port", &self.port.to_string()]);
            server.args(["--cluster-cidr", &format!("10.{}.0.0/16", self.network), "--service-cidr", &format!("10.{}.0.0/16", self.network + 1)]);
            self.place(server, 1);
            server.args(extra);
        })
    }
    /// Starts a further node; gives its process id.
    pub fn start_agent(&self, i: u8) -> anyhow::Result<i32> {
        self.node(i).start("agent", |agent| {
            agent.args(["--server", &format!("https://{}:{}", self.address(1), self.port), "--token-file"]).arg(self.dir.join("data/server/node-token"));
            self.place(agent, i);
        })
    }
    /// What keeps nodes of one machine apart.
    fn place(&self, command: &mut Process, i: u8) {
        command.args(["--network-prefix", &self.prefix]);
        if self.nodes == 1 {
            command.args(["--kubelet-port", &place::kubelet_port(self.port).to_string(), "--cgroup-root", &format!("/{}", self.prefix)]);
        } else {
            let address = self.address(i).to_string();
            command.args([
                "--node-name",
                &Self::name(i),
                "--node-ip",
                &address,
                "--bind-address",
                &address,
                "--cgroup-root",
                &format!("/{}-n{i}", self.prefix),
            ]);
        }
    }
    /// Starts the server and the agents, waits until all nodes are ready, and imports the archives on each.
    pub fn up(&self, images: &[PathBuf]) -> anyhow::Result<i32> {
        let pid = self.start(&[])?;
        self.wait("the API", Duration::from_secs(60), || self.kubectl(&["get", "--raw", "/readyz"]).is_ok())?;
        for i in 2..=self.nodes {
            self.start_agent(i)?;
        }
        self.wait("the nodes", Duration::from_secs(120), || self.ready() >= usize::from(self.nodes))?;
        for (node, archive) in self.all().iter().flat_map(|n| images.iter().map(move |a| (n, a))) {
            node.import(archive)?;
        }
        Ok(pid)
    }
    /// Imports an archive on the first node.
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        self.node(1).import(archive)
    }
    /// How many nodes say that they are.
    fn ready(&self) -> usize {
        let each = "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status}{'\\n'}{end}";
        self.kubectl(&["get", "nodes", "-o", each]).map_or(0, |out| out.lines().filter(|l| *l == "True").count())
    }
    /// The real kubectl against this cluster; gives what it printed.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        output(Process::new("kubectl").arg("--kubeconfig").arg(self.kubeconfig()).args(args))
    }
    /// The same with something on its standard input.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        use std::io::Write;
        let mut child = Process::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start kubectl")?;
        child.stdin.take().context("kubectl has no input")?.write_all(input.as_bytes())?;
        let out = child.wait_with_output()?;
        if !out.status.success() {
            bail!("kubectl {} failed: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
    /// Waits for a condition; an error names it and shows the end of the server's log.
    pub fn wait(&self, what: &str, at_most: Duration, done: impl FnMut() -> bool) -> anyhow::Result<()> {
        self.wait_every(what, at_most, Duration::from_millis(100), done)
    }
    /// The same with a pause of its own between two looks.
    pub fn wait_every(&self, what: &str, at_most: Duration, pause: Duration, mut done: impl FnMut() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !done() {
            // Right after the start, the process may not have its command line yet.
            let ended = start.elapsed() > Duration::from_secs(1) && self.running().is_none();
            if ended || start.elapsed() > at_most {
                bail!("{what} did not come; the server's log ends with:\n{}", self.log_end());
            }
            std::thread::sleep(pause);
        }
        Ok(())
    }
    /// Whether the API says that it is ready.
    pub fn port_answers(&self) -> bool {
        let ready = || Client::anonymous(&self.kubeconfig())?.connect()?.get("/readyz");
        ready().is_ok_and(|a| a.status == 200)
    }
    pub fn log_end(&self) -> String {
        let logs: Vec<String> = self.all().iter().map(Node::log_end).collect();
        logs.join("\n--- the next node's log:\n")
    }
    /// Ends the server alone, by SIGTERM or SIGKILL; containers go on.
    pub fn end_server(&self, hard: bool) -> anyhow::Result<()> {
        self.node(1).end(hard)
    }
    /// Ends everything and removes the folder.
    pub fn down(&self) -> anyhow::Result<()> {
        let all = self.all();
        for node in all.iter().rev() {
            node.end(false).or_else(|_| node.end(true))?;
        }
        if self.nodes > 1 {
            // After a start of the machine the namespaces are gone, but not what is to be done in them.
            self.wire().up(self.nodes).context("find the network of the nodes")?;
        }
        for node in all.iter().rev().filter(|n| n.dir.join("run").exists()) {
            node.stop()?;
        }
        self.wire().down().context("take the network of the nodes away")?;
        // What is mounted below the folder is not ours to delete.
        let mounts = leftovers::mounts(&self.dir)?;
        if !mounts.is_empty() {
            bail!("{} is kept, because something is still mounted there: {mounts:?}", self.dir.display());
        }
        std::fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))?;
        claim::release(self);
        Ok(())
    }
    /// What is left on the machine after [`Cluster::down`]: processes, mounts, links, tables, cgroups.
    pub fn leftovers(&self) -> anyhow::Result<Vec<Leftover>> {
        leftovers::find(self)
    }
}

/// Where downloads and made images are kept between runs.
pub fn cache() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| root().join("target"), PathBuf::from).join(".cache/skiff")
}
