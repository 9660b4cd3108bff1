//! The command line. Names are k3s's where k3s has them.
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;

/// Kubernetes in one small binary.
#[derive(Parser, Debug)]
#[command(name = "skiff", version, about, arg_required_else_help = true, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AGENT_HELP: &str = "\
A token is needed once: `skiff token create` on the server prints one, and the server keeps one that always holds in
<data-dir>/server/node-token. Nodes of a cluster have different names.

Example: skiff agent --server https://192.0.2.10:6443 --token-file /etc/skiff/token";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a server: API, datastore, scheduler, controllers, and a node, in one process
    Server(Box<ServerArgs>),
    /// Run a node that joins the cluster of a server
    #[command(after_help = AGENT_HELP)]
    Agent(Box<AgentArgs>),
    /// Make, list and delete tokens by which machines join
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Look after encryption at rest: keys and what they seal
    SecretsEncrypt {
        #[command(subcommand)]
        command: EncryptionCommand,
    },
    /// Say what this machine lacks to run containers, and how to get it
    Check {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
        /// The machine is to be an agent [default: when the configuration file is an agent's]
        #[arg(long)]
        agent: bool,
        #[command(flatten)]
        places: Places,
    },
    /// End the containers of this machine and take away what Skiff made on it
    Stop {
        /// End every container and remove mounts, namespaces, interfaces, rules and cgroups
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        places: Places,
    },
    /// Import, pull, list and remove images of the embedded runtime
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Print the administrator's kubeconfig
    Kubeconfig {
        #[command(flatten)]
        places: Places,
    },
    /// Change the log levels of the running server or agent, such as `node=debug,api=warn`
    LogLevel {
        /// A level for all (`debug`), or COMPONENT=LEVEL, several with commas between
        levels: String,
        #[command(flatten)]
        places: Places,
    },
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum, PartialEq)]
pub enum Output {
    #[default]
    Table,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// Import docker or OCI archives, or an OCI layout folder
    Import {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        places: Places,
    },
    /// Pull an image from its registry
    Pull {
        reference: String,
        #[command(flatten)]
        places: Places,
    },
    /// List images
    #[command(alias = "ls")]
    List {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
        #[command(flatten)]
        places: Places,
    },
    /// Remove images by reference or id
    #[command(alias = "remove")]
    Rm {
        #[arg(required = true)]
        references: Vec<String>,
        /// Also what containers use: they go on, and the next one needs the image again
        #[arg(long, short)]
        force: bool,
        #[command(flatten)]
        places: Places,
    },
}

#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token and print it
    Create {
        /// How long it holds: 90s, 15m, 24h, 7d; 0 is for ever
        #[arg(long, default_value = "24h")]
        ttl: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        places: Places,
    },
    /// List tokens, without their secrets
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        places: Places,
    },
    /// Delete tokens by id; nodes that joined by them stay
    #[command(alias = "rm")]
    Delete {
        #[arg(required = true)]
        ids: Vec<String>,
        #[command(flatten)]
        places: Places,
    },
}

#[derive(Subcommand, Debug)]
pub enum EncryptionCommand {
    /// Tell what is sealed with which key
    Status {
        #[arg(long, short = 'o', value_enum, default_value_t)]
        output: Output,
        #[command(flatten)]
        places: Places,
    },
    /// Seal Secrets with the server's own key, as is the default
    Enable {
        #[command(flatten)]
        places: Places,
    },
    /// Store Secrets as they are, readable for who has the disk
    Disable {
        #[command(flatten)]
        places: Places,
    },
    /// Add a new key, which does not seal yet
    Prepare {
        #[command(flatten)]
        places: Places,
    },
    /// Seal with the key that was prepared
    Rotate {
        #[command(flatten)]
        places: Places,
    },
    /// Seal every value with the present key and forget the others
    Reencrypt {
        #[command(flatten)]
        places: Places,
    },
    /// Prepare, rotate and reencrypt in one
    RotateKeys {
        #[command(flatten)]
        places: Places,
    },
}

/// Where state is when nobody says otherwise.
pub const DATA_DIR: &str = "/var/lib/skiff";

/// Where Skiff keeps its files.
#[derive(Args, Debug, Clone)]
pub struct Places {
    /// Configuration file: the long names of the flags of `server` or `agent` as YAML keys [default: <config-dir>/config.yaml]
    #[arg(long, short = 'c', env = "SKIFF_CONFIG_FILE")]
    pub config: Option<PathBuf>,
    /// Folder of state: datastore, certificates, images, volumes
    #[arg(long, short = 'd', env = "SKIFF_DATA_DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// Folder of sockets, pid files and what lives as long as containers do
    #[arg(long, env = "SKIFF_RUN_DIR", default_value = "/run/skiff")]
    pub run_dir: PathBuf,
    /// Folder of configuration
    #[arg(long, env = "SKIFF_CONFIG_DIR", default_value = "/etc/skiff")]
    pub config_dir: PathBuf,
}

#[derive(Args, Debug, Clone)]
pub struct ServerArgs {
    #[command(flatten)]
    pub places: Places,
    /// Address to serve the API on
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port to serve the API on
    #[arg(long, default_value_t = 6443)]
    pub https_listen_port: u16,
    /// Address that others reach this server by [default: the node's address]
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// More names and addresses in the server's certificate
    #[arg(long, value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Addresses of pods
    #[arg(long, default_value = "10.42.0.0/16", value_delimiter = ',', value_parser = network)]
    pub cluster_cidr: Vec<IpNet>,
    /// Addresses of Services
    #[arg(long, default_value = "10.43.0.0/16", value_delimiter = ',', value_parser = network)]
    pub service_cidr: Vec<IpNet>,
    /// Ports that Services of type NodePort get
    #[arg(long, default_value = "30000-32767")]
    pub service_node_port_range: String,
    /// Address of the cluster's DNS [default: the tenth of the service addresses]
    #[arg(long)]
    pub cluster_dns: Option<IpAddr>,
    /// Domain of the cluster's DNS
    #[arg(long, default_value = "cluster.local", value_parser = domain)]
    pub cluster_domain: String,
    /// Where to write the administrator's kubeconfig [default: <config-dir>/skiff.yaml]
    #[arg(long, short = 'o')]
    pub write_kubeconfig: Option<PathBuf>,
    /// Mode of that file
    #[arg(long, default_value = "600")]
    pub write_kubeconfig_mode: String,
    /// Folder of manifests that are applied at start and on change [default: <data-dir>/server/manifests]
    #[arg(long)]
    pub manifests_dir: Option<PathBuf>,
    /// Reads that are served at once; with those of --max-mutating-requests-inflight they are the seats that priority and fairness shares out
    #[arg(long, default_value_t = 400)]
    pub max_requests_inflight: u64,
    /// Writes that are served at once
    #[arg(long, default_value_t = 200)]
    pub max_mutating_requests_inflight: u64,
    /// Do not run a node in this process
    #[arg(long)]
    pub disable_agent: bool,
    /// Do not run the controllers: another controller manager does, or nothing is to change by itself
    #[arg(long)]
    pub disable_controller_manager: bool,
    /// Do not run the scheduler
    #[arg(long)]
    pub disable_scheduler: bool,
    /// EncryptionConfiguration: what is sealed at rest, and how; read again when it changes
    #[arg(long)]
    pub encryption_provider_config: Option<PathBuf>,
    /// AuthenticationConfiguration: issuers of tokens, and who may come without; read again when it changes
    #[arg(long)]
    pub authentication_config: Option<PathBuf>,
    /// AuthorizationConfiguration: who is asked, in which order, webhooks among them; read again when it changes
    #[arg(long)]
    pub authorization_config: Option<PathBuf>,
    /// A flag of upstream's API server, name=value: oidc-*, authentication-token-webhook-*, anonymous-auth, and those above
    #[arg(long)]
    pub kube_apiserver_arg: Vec<String>,
    #[command(flatten)]
    pub node: NodeArgs,
    /// Log levels by component: `info`, or `warn,node=debug`
    #[arg(long, env = "SKIFF_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Form of log lines
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    #[command(flatten)]
    pub audit: crate::server::audit::AuditArgs,
}

#[derive(Args, Debug, Clone)]
pub struct AgentArgs {
    #[command(flatten)]
    pub places: Places,
    /// The server to join, https://HOST:PORT
    #[arg(long, short = 's', env = "SKIFF_URL", value_parser = url)]
    pub server: String,
    /// Token of the server; seen by everybody on this machine, --token-file is not
    #[arg(long, short = 't', env = "SKIFF_TOKEN", hide_env_values = true)]
    pub token: Option<crate::flags::Secret>,
    /// File with the token of the server, which keeps one in <data-dir>/server/node-token
    #[arg(long, env = "SKIFF_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Address that the node agent listens on
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    #[command(flatten)]
    pub node: NodeArgs,
    /// Log levels by component: `info`, or `warn,node=debug`
    #[arg(long, env = "SKIFF_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Form of log lines
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

#[derive(Args, Debug, Clone)]
pub struct NodeArgs {
    /// Name of this node [default: the host's name]
    #[arg(long)]
    pub node_name: Option<String>,
    /// Address of this node [default: that of the default route]
    #[arg(long, short = 'i')]
    pub node_ip: Option<IpAddr>,
    /// Labels of this node at registration, `key=value`
    #[arg(long, value_delimiter = ',')]
    pub node_label: Vec<String>,
    /// Taints of this node at registration, `key=value:effect`
    #[arg(long, value_delimiter = ',')]
    pub node_taint: Vec<String>,
    /// Most pods on this node
    #[arg(long, default_value_t = 110)]
    pub max_pods: u32,
    /// Port of the node agent
    #[arg(long, default_value_t = 10250)]
    pub kubelet_port: u16,
    /// Registries: mirrors, credentials, certificates; read again when it changes [default: <config-dir>/registries.yaml]
    #[arg(long)]
    pub private_registry: Option<PathBuf>,
    /// Folder of image archives that are imported at start [default: <data-dir>/agent/images]
    #[arg(long)]
    pub images_dir: Option<PathBuf>,
    /// Folder of container logs
    #[arg(long, default_value = "/var/log/pods")]
    pub pod_logs_dir: PathBuf,
    /// Cgroup below which pods live
    #[arg(long, default_value = "/skiff")]
    pub cgroup_root: String,
    /// Folder of local-path volumes [default: <data-dir>/storage]
    #[arg(long)]
    pub default_local_storage_path: Option<PathBuf>,
    /// Prefix of interfaces and rule tables, so that clusters can stand side by side
    #[arg(long, default_value = "skiff")]
    pub network_prefix: String,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum, PartialEq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What an agent can reach a server by.
fn url(text: &str) -> Result<String, String> {
    skiff_client::tls::check_url(text).map_err(|e| e.to_string())?;
    Ok(text.to_owned())
}

/// A DNS name, with or without the dot at its end.
fn domain(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match skiff_meta::is_dns1123_subdomain(&name) {
        Ok(()) => Ok(name),
        Err(_) => Err("it is no DNS name, which is written like cluster.local".into()),
    }
}

/// An address and the length of its prefix, with no bits set beyond that.
fn network(text: &str) -> Result<IpNet, String> {
    let form = "a network is written like 10.42.0.0/16 or fd00:42::/56";
    let (address, length) = text.split_once('/').ok_or_else(|| format!("it has no prefix length: {form}"))?;
    let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no IP address: {form}"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = length.parse().ok().filter(|n| *n <= most).ok_or_else(|| format!("the prefix length {length:?} is no number from 0 to {most}: {form}"))?;
    let net = IpNet::new(address, length).map_err(|_| form.to_owned())?;
    match net.trunc() == net {
        true => Ok(net),
        false => Err(format!("it has bits beyond its prefix; is {} meant?", net.trunc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_url_is_told_from_other_words() {
        assert!(url("https://192.0.2.10:6443").is_ok() && url("https://[fd00::1]:6443").is_ok());
        for bad in ["foo", "foo:6443", "http://foo:6443", "https://", ""] {
            assert!(url(bad).is_err_and(|e| e.contains("https://host:port")), "{bad}");
        }
    }

    #[test]
    fn domains_are_names() {
        assert_eq!(domain("Cluster.Local."), Ok("cluster.local".into()));
        for bad in ["../x", "", ".", "a..b", "a b", "-a"] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_told_what_is_wrong_with_them() {
        assert_eq!(network("10.42.0.0/16").map(|n| n.to_string()), Ok("10.42.0.0/16".into()));
        for (text, part) in [
            ("10.0.0.0/99", "the prefix length \"99\" is no number from 0 to 32"),
            ("10.0.0.0", "no prefix length"),
            ("ten/8", "\"ten\" is no IP address"),
            ("10.42.1.0/16", "is 10.42.0.0/16 meant?"),
        ] {
            let told = network(text).expect_err(text);
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
