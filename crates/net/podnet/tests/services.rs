//! Pods, Services and the rules together, in a network namespace that stands for a node. Real sockets, no sleeps.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skiff_cri::{HostPort, Network, Protocol, SandboxNet};
use skiff_netlink::{LinkKind, Prefix, Route, in_netns, make_netns, remove_netns};
use skiff_podnet::{Config, Overlay, PodNet};
use skiff_rules::{Endpoint, NodeFacts, Service, ServicePort, ServiceProxy, Slice, SlicePort, Snapshot, SyncOutcome};

const NODE: &str = "192.168.77.1";
const LIMIT: Duration = Duration::from_secs(5);

fn isolated(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        // SAFETY: moves this thread alone into a new namespace, which goes with the thread.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            eprintln!("skipped: no right to make a network namespace");
            return;
        }
        work();
    })
    .join()
    .unwrap();
}

struct Pod {
    sandbox: SandboxNet,
    ip: IpAddr,
}

struct Node {
    dir: tempfile::TempDir,
    net: PodNet,
    runtime: tokio::runtime::Runtime,
    pods: Vec<PathBuf>,
}

impl Drop for Node {
    fn drop(&mut self) {
        for path in &self.pods {
            remove_netns(path).unwrap();
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn config(dir: &Path) -> Config {
    Config {
        prefix: "sktst".into(),
        node: "node-a".into(),
        node_ips: vec![ip(NODE)],
        cluster_pod_cidrs: vec!["10.42.0.0/16".parse().unwrap(), "fd42::/48".parse().unwrap()],
        service_cidrs: vec!["10.43.0.0/16".parse().unwrap()],
        dns_ips: vec![ip("10.43.0.10")],
        mtu: None,
        overlay: Overlay::Vxlan { vni: 7, port: 8472 },
        state: dir.join("net"),
    }
}

impl Node {
    fn new() -> Self {
        let mut route = Route::open().unwrap();
        let lo = route.link("lo").unwrap();
        route.set_up(lo.index, None).unwrap();
        let uplink = route.ensure_link("uplink", &LinkKind::Bridge, None, Some(1500)).unwrap();
        route.ensure_address(uplink.index, Prefix::new(ip(NODE), 24)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let net = PodNet::open(config(dir.path())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(net.not_ready_reason()).is_some());
        net.start(vec!["10.42.0.0/24".parse().unwrap(), "fd42::/64".parse().unwrap()]).unwrap();
        assert!(runtime.block_on(net.not_ready_reason()).is_none());
        Self { dir, net, runtime, pods: Vec::new() }
    }

    fn pod(&mut self, name: &str, host_ports: Vec<HostPort>) -> Pod {
        let netns = self.dir.path().join(name);
        make_netns(&netns).unwrap();
        self.pods.push(netns.clone());
        let sandbox = SandboxNet {
            id: name.into(),
            netns,
            pod_namespace: "default".into(),
            pod_name: name.into(),
            pod_uid: name.into(),
            host_ports,
            annotations: Default::default(),
        };
        let ips = self.runtime.block_on(self.net.attach(&sandbox)).unwrap();
        assert_eq!(self.runtime.block_on(self.net.attach(&sandbox)).unwrap(), ips);
        Pod { ip: ips.0[0], sandbox }
    }
}

/// Answers each connection with the peer's address and the server's own.
fn serve_tcp(pod: &Pod) {
    let listener = in_netns(&pod.sandbox.netns, || TcpListener::bind("0.0.0.0:8080").unwrap()).unwrap();
    let me = pod.ip;
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = stream.write_all(format!("{} {me}", peer.ip()).as_bytes());
        }
    });
}

fn ask(target: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&target.parse::<SocketAddr>().unwrap(), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (peer, server) = answer.split_once(' ').unwrap();
    Ok((peer.to_owned(), server.to_owned()))
}

fn ask_from(pod: &Pod, target: &'static str) -> std::io::Result<(String, String)> {
    in_netns(&pod.sandbox.netns, move || ask(target)).unwrap()
}

fn service(name: &str, cluster_ip: &str, node_port: u16) -> Service {
    let port = |protocol, node_port| ServicePort { name: "p".into(), protocol, port: 80, node_port };
    Service {
        namespace: "default".into(),
        name: name.into(),
        cluster_ips: vec![ip(cluster_ip)],
        ports: vec![port(6, node_port), port(17, 0)],
        ..Service::default()
    }
}

fn slice(service: &str, pods: &[&Pod]) -> Slice {
    let endpoint = |pod: &&Pod| Endpoint {
        address: pod.ip,
        ready: true,
        serving: true,
        terminating: false,
        node: Some("node-a".into()),
        zone_hints: vec![],
        node_hints: vec![],
    };
    let port = |protocol| SlicePort { name: "p".into(), protocol, port: 8080 };
    Slice {
        namespace: "default".into(),
        name: format!("{service}-1"),
        service: service.into(),
        ports: vec![port(6), port(17)],
        endpoints: pods.iter().map(endpoint).collect(),
    }
}

fn facts() -> NodeFacts {
    NodeFacts {
        node: "node-a".into(),
        zone: None,
        node_ips: vec![ip(NODE)],
        pod_cidrs: vec!["10.42.0.0/16".parse().unwrap()],
        service_cidrs: vec!["10.43.0.0/16".parse().unwrap()],
        table: "sktst-services".into(),
        masquerade_bit: 0x4000,
        local_ips: vec![ip("10.43.0.10")],
    }
}

#[test]
fn services_reach_pods_and_pods_keep_their_address() {
    isolated(|| {
        let mut node = Node::new();
        let (a, b, client) = (node.pod("a", vec![]), node.pod("b", vec![]), node.pod("c", vec![]));
        serve_tcp(&a);
        serve_tcp(&b);
        assert_eq!(ask_from(&client, Box::leak(format!("{}:8080", a.ip).into_boxed_str())).unwrap().0, client.ip.to_string());

        let mut proxy = ServiceProxy::new(facts()).unwrap();
        let mut sticky = service("sticky", "10.43.0.3", 0);
        sticky.affinity = Some(60);
        let mut snapshot = Snapshot {
            services: [service("web", "10.43.0.1", 30080), service("one", "10.43.0.2", 0), sticky, service("none", "10.43.0.4", 30081)].map(Arc::new).into(),
            slices: [slice("web", &[&a, &b]), slice("one", &[&a]), slice("sticky", &[&a, &b])].map(Arc::new).into(),
        };
        assert_eq!(proxy.sync(&snapshot).unwrap(), SyncOutcome::Rebuilt);
        assert_eq!(proxy.sync(&snapshot).unwrap(), SyncOutcome::Unchanged);
        assert_eq!(proxy.verify().unwrap(), SyncOutcome::Unchanged);

        // A pod reaches both endpoints by the cluster IP, with its own address.
        let answers: Vec<_> = (0..40).map(|_| ask_from(&client, "10.43.0.1:80").unwrap()).collect();
        assert!(answers.iter().all(|(peer, _)| *peer == client.ip.to_string()));
        assert!([&a, &b].iter().all(|pod| answers.iter().any(|(_, server)| *server == pod.ip.to_string())));
        // A pod reaches itself; the host reaches the cluster IP and the node port; a client keeps its endpoint.
        assert_eq!(ask_from(&a, "10.43.0.2:80").unwrap().1, a.ip.to_string());
        ask("10.43.0.1:80").unwrap();
        ask("192.168.77.1:30080").unwrap();
        ask_from(&client, "192.168.77.1:30080").unwrap();
        let first = ask_from(&client, "10.43.0.3:80").unwrap().1;
        assert!((0..20).all(|_| ask_from(&client, "10.43.0.3:80").unwrap().1 == first));
        // Nobody there: refused, as is a port that the Service doesn't have.
        for target in ["10.43.0.4:80", "192.168.77.1:30081", "10.43.0.1:81"] {
            assert_eq!(ask_from(&client, target).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused, "{target}");
        }
        udp_round_trip(&a, &client);

        // The last endpoint goes, and comes back: only this Service's elements move.
        snapshot.slices.remove(1);
        assert!(matches!(proxy.sync(&snapshot).unwrap(), SyncOutcome::Changed(n) if n < 12));
        assert_eq!(ask_from(&client, "10.43.0.2:80").unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        snapshot.slices.push(Arc::new(slice("one", &[&b])));
        proxy.sync(&snapshot).unwrap();
        assert_eq!(ask_from(&client, "10.43.0.2:80").unwrap().1, b.ip.to_string());

        // A new process finds the same rules and leaves them alone; after someone else's change they are made anew.
        let mut after_restart = ServiceProxy::new(facts()).unwrap();
        assert_eq!(after_restart.sync(&snapshot).unwrap(), SyncOutcome::Unchanged);
        proxy.cleanup().unwrap();
        assert_eq!(after_restart.verify().unwrap(), SyncOutcome::Rebuilt);
        after_restart.cleanup().unwrap();
        node.net.cleanup().unwrap();
        let left = Route::open().unwrap().links().unwrap();
        assert!(left.iter().all(|link| !link.name.starts_with("sktst")));
    });
}

fn udp_round_trip(server: &Pod, client: &Pod) {
    let socket = in_netns(&server.sandbox.netns, || UdpSocket::bind("0.0.0.0:8080").unwrap()).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let sender = in_netns(&client.sandbox.netns, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("10.43.0.2:80").unwrap();
        socket.send(b"ping").unwrap();
        socket
    })
    .unwrap();
    sender.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = [0; 16];
    let (length, peer) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"ping");
    socket.send_to(b"pong", peer).unwrap();
    let length = sender.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"pong");
}

#[test]
fn host_ports_lead_to_the_pod_and_restarts_and_leaks_are_handled() {
    isolated(|| {
        let mut node = Node::new();
        let port = HostPort { protocol: Protocol::Tcp, container_port: 8080, host_port: 8088, host_ip: None };
        let (pod, client) = (node.pod("a", vec![port]), node.pod("b", vec![]));
        serve_tcp(&pod);
        assert_eq!(ask("192.168.77.1:8088").unwrap().1, pod.ip.to_string());
        assert_eq!(ask_from(&client, "192.168.77.1:8088").unwrap().0, client.ip.to_string());
        assert_eq!(ask_from(&pod, "192.168.77.1:8088").unwrap().1, pod.ip.to_string());

        // After a restart the addresses are known, and an unchanged pod still answers.
        let again = PodNet::open(config(node.dir.path())).unwrap();
        again.start(vec!["10.42.0.0/24".parse().unwrap(), "fd42::/64".parse().unwrap()]).unwrap();
        assert_eq!(node.runtime.block_on(again.attach(&pod.sandbox)).unwrap().0[0], pod.ip);
        assert_eq!(ask("192.168.77.1:8088").unwrap().1, pod.ip.to_string());

        let live = [client.sandbox.id.clone()].into();
        assert_eq!(again.reconcile(&live).unwrap(), 1);
        assert!(ask("192.168.77.1:8088").is_err());
        node.runtime.block_on(again.detach(&client.sandbox)).unwrap();
        node.runtime.block_on(again.detach(&client.sandbox)).unwrap();
        again.cleanup().unwrap();
    });
}
