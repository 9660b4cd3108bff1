//! The network of a cluster of several nodes: a network namespace for each node, and one with the bridge between them.
//!
//! The bridge has a namespace of its own, so that the machine's packet filter (which sees bridged frames, too) and other
//! clusters have no part in what nodes say to each other. The machine is on it by one link, and so reaches the API.

use anyhow::Context;
use skiff_netlink::{LinkKind, Prefix, Route, RouteSpec, make_netns, remove_netns};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

const MTU: u32 = 1500;
const BRIDGE: &str = "br0";
const NODE_LINK: &str = "eth0";

/// Where one cluster's namespaces are pinned, and its numbers.
pub struct Wire<'a> {
    /// Folder of the pins.
    pub dir: PathBuf,
    /// The machine's link begins with it.
    pub prefix: &'a str,
    /// The third byte of the nodes' addresses: 198.18.<n>.0/24.
    pub network: u8,
}

impl Wire<'_> {
    /// 198.18.0.0/15 is set aside for tests of network equipment: nobody has it.
    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.network, last)
    }
    /// The address of a node, counted from 1.
    pub fn node_address(&self, node: u8) -> Ipv4Addr {
        self.address(10 + node)
    }
    /// Its network namespace.
    pub fn netns(&self, node: u8) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }
    fn switch(&self) -> PathBuf {
        self.dir.join("switch")
    }
    fn uplink(&self) -> String {
        format!("{}-up", self.prefix)
    }

    /// Makes what is missing for that many nodes. What is there stays, so that containers keep their network.
    pub fn up(&self, nodes: u8) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir).with_context(|| format!("make {}", self.dir.display()))?;
        let switch = self.switch();
        let mut inside = namespace(&switch)?;
        let bridge = inside.ensure_link(BRIDGE, &LinkKind::Bridge, None, Some(MTU))?.index;
        inside.set_up(bridge, None)?;
        let mut host = Route::open()?;
        let uplink = self.uplink();
        if inside.find_link("up")?.is_none() {
            // Half a pair, of a namespace that has gone.
            host.remove_link(&uplink)?;
        }
        let link = host.ensure_veth(&uplink, None, "up", &switch, MTU)?.index;
        host.set_up(link, None)?;
        host.ensure_address(link, Prefix::new(IpAddr::V4(self.address(1)), 24))?;
        plug(&mut inside, bridge, "up")?;
        for node in 1..=nodes {
            self.connect(&mut inside, bridge, node).with_context(|| format!("connect node {node}"))?;
        }
        Ok(())
    }

    fn connect(&self, inside: &mut Route, bridge: u32, node: u8) -> anyhow::Result<()> {
        let netns = self.netns(node);
        let mut own = namespace(&netns)?;
        let port = format!("n{node}");
        if own.find_link(NODE_LINK)?.is_none() {
            inside.remove_link(&port)?;
        }
        inside.ensure_veth(&port, None, NODE_LINK, &netns, MTU)?;
        plug(inside, bridge, &port)?;
        let lo = own.link("lo")?.index;
        own.set_up(lo, None)?;
        let link = own.link(NODE_LINK)?.index;
        own.set_up(link, None)?;
        own.ensure_address(link, Prefix::new(IpAddr::V4(self.node_address(node)), 24))?;
        // By the machine: what it lets through is its own affair.
        let all = Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        own.ensure_route(&RouteSpec { destination: all, gateway: Some(IpAddr::V4(self.address(1))), link, source: None, onlink: false })?;
        Ok(())
    }

    /// Takes everything away.
    pub fn down(&self) -> anyhow::Result<()> {
        Route::open()?.remove_link(&self.uplink())?;
        let pins = match std::fs::read_dir(&self.dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| format!("read {}", self.dir.display()))?,
        };
        for pin in pins {
            remove_netns(&pin?.path())?;
        }
        std::fs::remove_dir(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

/// The pinned namespace; made when it is not there, or when only its file is (after the machine was started anew).
fn namespace(path: &Path) -> anyhow::Result<Route> {
    if path.exists() {
        if let Ok(there) = Route::open_in(path) {
            return Ok(there);
        }
        remove_netns(path)?;
    }
    make_netns(path)?;
    Ok(Route::open_in(path)?)
}

fn plug(inside: &mut Route, bridge: u32, name: &str) -> anyhow::Result<()> {
    let link = inside.link(name)?.index;
    inside.set_master(link, bridge)?;
    inside.set_up(link, None)?;
    Ok(())
}
