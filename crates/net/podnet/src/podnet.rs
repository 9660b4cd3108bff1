//! The shell: the runtime's `Network`, and the node's wishes for its network.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use parking_lot::Mutex;
use skiff_cri::{Network, PodIps, Protocol, RuntimeError, SandboxId, SandboxNet};
use skiff_netlink::{LinkKind, Prefix, Route, RouteSpec, write_sysctl};
use skiff_nft::{Family, Nft, Ruleset, create, diff};

use crate::error::at;
use crate::pod::link_name;
use crate::rules::pod_rules;
use crate::{Allocations, MappedPort, NodeNet, Overlay, PodNetError, apply_overlay, plan_overlay};

const EOPNOTSUPP: i32 = 95;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At most five bytes; every link and table begins with it, so that two clusters stand side by side.
    pub prefix: String,
    pub node: String,
    /// The one that other nodes use first.
    pub node_ips: Vec<IpAddr>,
    /// Of the whole cluster.
    pub cluster_pod_cidrs: Vec<IpNet>,
    pub service_cidrs: Vec<IpNet>,
    /// Addresses that this node's DNS server has, on a link of their own.
    pub dns_ips: Vec<IpAddr>,
    /// None: that of the link with the node's address, less what the tunnel needs.
    pub mtu: Option<u32>,
    pub overlay: Overlay,
    /// The allocations are kept in `allocations.json` in here.
    pub state: PathBuf,
}

impl Config {
    pub(crate) fn table(&self) -> String {
        format!("{}-pods", self.prefix)
    }

    fn service_link(&self) -> String {
        format!("{}-svc", self.prefix)
    }

    fn tunnel_link(&self) -> String {
        format!("{}-vx", self.prefix)
    }

    fn allocations(&self) -> PathBuf {
        self.state.join("allocations.json")
    }
}

struct State {
    route: Route,
    nft: Nft,
    allocations: Allocations,
    /// This node's own.
    pod_cidrs: Vec<IpNet>,
    rules: Option<Ruleset>,
    mtu: u32,
}

/// The pod network of this node, in the namespace of the thread that opened it. Cheap to clone.
#[derive(Clone)]
pub struct PodNet {
    config: Arc<Config>,
    state: Arc<Mutex<State>>,
}

impl PodNet {
    /// Reads the allocations; makes nothing yet.
    pub fn open(config: Config) -> Result<Self, PodNetError> {
        if config.prefix.is_empty() || config.prefix.len() > 5 {
            return Err(PodNetError::Invalid(format!("the prefix {:?} must have one to five bytes", config.prefix)));
        }
        let fail = |source| PodNetError::File { step: "make the folder", path: config.state.clone(), source };
        std::fs::create_dir_all(&config.state).map_err(fail)?;
        let allocations = Allocations::load(&config.allocations())?;
        let route = Route::open().map_err(at("open the pod network"))?;
        let nft = Nft::open()?;
        let state = State { route, nft, allocations, pod_cidrs: Vec::new(), rules: None, mtu: 1500 };
        Ok(Self { config: Arc::new(config), state: Arc::new(Mutex::new(state)) })
    }

    /// Forwarding, the link with the DNS addresses, the rules. From here on pods can be attached. Idempotent; called again when the
    /// node's pod CIDRs change, which only new pods feel.
    pub fn start(&self, pod_cidrs: Vec<IpNet>) -> Result<(), PodNetError> {
        let mut state = self.state.lock();
        state.mtu = self.mtu(&mut state.route)?;
        if self.config.cluster_pod_cidrs.iter().chain(&pod_cidrs).any(|c| c.addr().is_ipv4()) {
            write_sysctl("net/ipv4/ip_forward", "1").map_err(at("let IPv4 through"))?;
        }
        if self.config.cluster_pod_cidrs.iter().chain(&pod_cidrs).any(|c| c.addr().is_ipv6()) {
            write_sysctl("net/ipv6/conf/all/forwarding", "1").map_err(at("let IPv6 through"))?;
        }
        self.service_link(&mut state.route).map_err(at("make the Service link"))?;
        state.pod_cidrs = pod_cidrs;
        self.sync_rules(&mut state)
    }

    fn mtu(&self, route: &mut Route) -> Result<u32, PodNetError> {
        if let Some(mtu) = self.config.mtu {
            return Ok(mtu);
        }
        let step = at("look for the MTU");
        let addresses = route.addresses();
        let links = route.links().map_err(step)?;
        let addresses = addresses.map_err(at("list the addresses"))?;
        let carrier = addresses.iter().find(|(_, prefix)| self.config.node_ips.first() == Some(&prefix.address));
        let mtu = carrier.and_then(|(index, _)| links.iter().find(|l| l.index == *index)).map_or(1500, |l| l.mtu.min(9000));
        Ok(mtu.saturating_sub(if self.config.node_ips.first().is_some_and(IpAddr::is_ipv6) { 70 } else { 50 }).max(1280))
    }

    fn service_link(&self, route: &mut Route) -> skiff_netlink::Result<()> {
        // Small kernels lack dummy links; a bridge without ports serves as well.
        let name = self.config.service_link();
        let kind = match route.find_link(&name)?.is_some_and(|link| link.kind == "bridge") {
            true => LinkKind::Bridge,
            false => LinkKind::Dummy,
        };
        let link = match route.ensure_link(&name, &kind, None, None) {
            Err(error) if error.is(EOPNOTSUPP) => route.ensure_link(&name, &LinkKind::Bridge, None, None)?,
            other => other?,
        };
        for ip in &self.config.dns_ips {
            route.ensure_address(link.index, Prefix::host(*ip))?;
        }
        for cidr in &self.config.service_cidrs {
            let source = self.config.node_ips.iter().find(|ip| ip.is_ipv4() == cidr.addr().is_ipv4()).copied();
            let destination = Prefix::new(cidr.network(), cidr.prefix_len());
            route.ensure_route(&RouteSpec { destination, gateway: None, link: link.index, source, onlink: false })?;
        }
        Ok(())
    }

    fn sync_rules(&self, state: &mut State) -> Result<(), PodNetError> {
        let target = pod_rules(&self.config, &state.pod_cidrs, &state.allocations);
        let transaction = match state.rules.take() {
            Some(applied) => diff(&applied, &target),
            None => create(&target),
        };
        state.nft.apply(transaction)?;
        state.rules = Some(target);
        Ok(())
    }

    /// Routes to the pods of these nodes, and no others. Called whenever the list of nodes changes.
    pub fn set_nodes(&self, nodes: &[NodeNet]) -> Result<(), PodNetError> {
        let mut state = self.state.lock();
        let me = NodeNet { name: self.config.node.clone(), ips: self.config.node_ips.clone(), pod_cidrs: state.pod_cidrs.clone() };
        let step = || at("route to the other nodes' pods");
        let addresses = state.route.addresses().map_err(step())?;
        let on_link: Vec<IpNet> = addresses
            .iter()
            .filter(|(_, prefix)| me.ips.contains(&prefix.address))
            .filter_map(|(_, prefix)| IpNet::new(prefix.address, prefix.length).ok())
            .collect();
        let plan = plan_overlay(&me, nodes, &self.config.overlay, &on_link);
        let link = self.config.tunnel_link();
        let cluster = &self.config.cluster_pod_cidrs;
        apply_overlay(&mut state.route, &link, &me, &self.config.overlay, &plan, cluster).map_err(step())
    }

    /// Releases what belongs to no sandbox in `live`. Returns how many were released.
    pub fn reconcile(&self, live: &BTreeSet<SandboxId>) -> Result<usize, PodNetError> {
        let mut state = self.state.lock();
        let leaked: Vec<String> = state.allocations.sandboxes.keys().filter(|id| !live.contains(&SandboxId::from(id.as_str()))).cloned().collect();
        for id in &leaked {
            self.release(&mut state, id)?;
        }
        let known: BTreeSet<String> = state.allocations.sandboxes.values().map(|a| a.link.clone()).collect();
        let pods = format!("{}-p", self.config.prefix);
        for link in state.route.links().map_err(at("list the links"))? {
            if link.name.starts_with(&pods) && link.kind == "veth" && !known.contains(&link.name) {
                state.route.remove_link(&link.name).map_err(at("remove a leaked link"))?;
            }
        }
        Ok(leaked.len())
    }

    /// Removes every link and rule of this prefix, and the allocations.
    pub fn cleanup(&self) -> Result<(), PodNetError> {
        let mut state = self.state.lock();
        let ours = format!("{}-", self.config.prefix);
        for link in state.route.links().map_err(at("list the links"))? {
            if link.name.starts_with(&ours) {
                state.route.remove_link(&link.name).map_err(at("remove a link"))?;
            }
        }
        state.nft.delete_table(Family::Inet, &self.config.table())?;
        (state.rules, state.allocations) = (None, Allocations::default());
        match std::fs::remove_file(self.config.allocations()) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(PodNetError::File { step: "remove", path: self.config.allocations(), source }),
            _ => Ok(()),
        }
    }

    fn attach_now(&self, sandbox: &SandboxNet) -> Result<PodIps, PodNetError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.pod_cidrs.is_empty() {
            return Err(PodNetError::NotReady("the node has no pod CIDR yet".into()));
        }
        let link = link_name(&self.config.prefix, sandbox.id.as_str());
        let allocation = state.allocations.allocate(sandbox.id.as_str(), &link, &state.pod_cidrs)?;
        allocation.host_ports = sandbox.host_ports.iter().filter(|p| p.host_port != 0).map(mapped).collect();
        let (ips, has_ports) = (allocation.ips.clone(), !allocation.host_ports.is_empty());
        // Kept before the kernel has it: a crash in between leaks nothing that reconcile doesn't find.
        state.allocations.store(&self.config.allocations())?;
        let step = format!("connect pod {}/{}", sandbox.pod_namespace, sandbox.pod_name);
        crate::pod::connect(&mut state.route, &link, &sandbox.netns, &ips, state.mtu).map_err(at(step))?;
        if has_ports {
            self.sync_rules(state)?;
        }
        Ok(PodIps(ips))
    }

    fn release(&self, state: &mut State, id: &str) -> Result<(), PodNetError> {
        let link = link_name(&self.config.prefix, id);
        state.route.remove_link(&link).map_err(at("disconnect a pod"))?;
        if let Some(gone) = state.allocations.sandboxes.remove(id) {
            state.allocations.store(&self.config.allocations())?;
            if !gone.host_ports.is_empty() && !state.pod_cidrs.is_empty() {
                self.sync_rules(state)?;
            }
        }
        Ok(())
    }
}

fn mapped(port: &skiff_cri::HostPort) -> MappedPort {
    let protocol = match port.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    };
    MappedPort { protocol, host_ip: port.host_ip, host_port: port.host_port, container_port: port.container_port }
}

async fn blocking<T: Send + 'static>(step: String, work: impl FnOnce() -> Result<T, PodNetError> + Send + 'static) -> skiff_cri::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| RuntimeError::failed(step, error)),
        Err(error) => Err(RuntimeError::failed(step, error)),
    }
}

#[async_trait]
impl Network for PodNet {
    async fn attach(&self, sandbox: &SandboxNet) -> skiff_cri::Result<PodIps> {
        let (this, sandbox) = (self.clone(), sandbox.clone());
        blocking(format!("set up the network of sandbox {}", sandbox.id), move || this.attach_now(&sandbox)).await
    }

    async fn detach(&self, sandbox: &SandboxNet) -> skiff_cri::Result<()> {
        let (this, id) = (self.clone(), sandbox.id.to_string());
        blocking(format!("take down the network of sandbox {id}"), move || this.release(&mut this.state.lock(), &id)).await
    }

    async fn not_ready_reason(&self) -> Option<String> {
        self.state.lock().pod_cidrs.is_empty().then(|| "the node has no pod CIDR yet".to_owned())
    }
}
