//! The node's own HTTPS server: logs, exec, attach, port-forward, statistics.
//!
//! Everyone passes the [`Gate`] first; `/healthz` too, as upstream. It is the API server that asks here on behalf of
//! users, so paths and parameters are upstream's kubelet's.

mod answer;
mod exec;
mod log;
mod route;

use crate::agent::Agent;
use answer::{Body, error, text};
use async_trait::async_trait;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::CertificateDer;
use skiff_meta::Status;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The client's certificate chain, checked against the client CA by TLS already.
    pub certificates: Arc<Vec<CertificateDer<'static>>>,
    pub bearer: Option<String>,
}

/// What is asked for: access to a subresource of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub verb: &'static str,
    /// `proxy`, `log`, `stats`, `metrics`, …
    pub subresource: &'static str,
    pub path: String,
}

/// Authenticates and authorises requests to a node's server.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// The error is what the client sees (401 or 403).
    async fn allow(&self, peer: &Peer, access: &Access) -> Result<(), Status>;
}

pub async fn listen(agent: Arc<Agent>, at: SocketAddr, gate: Arc<dyn Gate>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    let tls = agent.config.tls.clone().map(TlsAcceptor::from);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                a = listener.accept() => a,
                () = agent.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve(agent.clone(), gate.clone(), tls.clone(), stream));
                }
                Err(e) => {
                    tracing::warn!(target: "node", error = %e, "connection not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok(address)
}

async fn serve(agent: Arc<Agent>, gate: Arc<dyn Gate>, tls: Option<TlsAcceptor>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(agent, gate, Peer::default(), stream).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.accept(stream));
            let Ok(Ok(stream)) = handshake.await else { return };
            let certificates = stream.get_ref().1.peer_certificates().map(|c| c.iter().map(|c| c.clone().into_owned()).collect()).unwrap_or_default();
            connection(agent, gate, Peer { certificates: Arc::new(certificates), bearer: None }, stream).await;
        }
    }
}

async fn connection<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(agent: Arc<Agent>, gate: Arc<dyn Gate>, peer: Peer, stream: S) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (agent, gate, peer) = (agent.clone(), gate.clone(), peer.clone());
        async move { Ok::<_, Infallible>(handle(agent, gate, peer, request).await) }
    });
    let builder = Builder::new(TokioExecutor::new());
    if let Err(e) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(target: "node", error = %e, "connection ended");
    }
}

async fn handle(agent: Arc<Agent>, gate: Arc<dyn Gate>, mut peer: Peer, request: Request<Incoming>) -> Response<Body> {
    let bearer = request.headers().get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    peer.bearer = bearer.map(str::to_owned);
    let path = request.uri().path().to_owned();
    let verb = match *request.method() {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    let access = Access { verb, subresource: route::subresource(&path), path: path.clone() };
    if let Err(status) = gate.allow(&peer, &access).await {
        return error(&status);
    }
    let Some(route) = route::of(&path) else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    use route::Route;
    match route {
        Route::Healthz => text(StatusCode::OK, "ok"),
        Route::Pods => answer::json(&pod_list(&agent)),
        Route::Configz => answer::json(&configz(&agent)),
        Route::Summary => answer::json(&crate::stats::summary(&agent).await),
        Route::ResourceMetrics | Route::Cadvisor => answer::metrics(crate::stats::resource_metrics(&agent).await),
        Route::Metrics => answer::metrics(own_metrics(&agent)),
        Route::Logs { namespace, pod, container } if request.headers().contains_key(http::header::UPGRADE) => {
            log::upgraded(&agent, &namespace, &pod, &container, request).await
        }
        Route::Logs { namespace, pod, container } => log::serve(&agent, &namespace, &pod, &container, request.uri().query().unwrap_or_default()).await,
        Route::Exec(at) => exec::exec(agent, at, request).await,
        Route::Attach(at) => exec::attach(agent, at, request).await,
        Route::PortForward(at) => exec::port_forward(agent, at, request).await,
        Route::Run(at) => exec::run(&agent, at, request).await,
    }
}

/// The pods of this node, each with the status that the node knows.
fn pod_list(agent: &Agent) -> skiff_json::Value {
    let one = |s: Arc<crate::pods::Slot>| {
        let mut pod: skiff_json::Value = skiff_json::from_slice(&s.bytes()).ok()?;
        if let Ok(status) = skiff_json::from_slice::<skiff_json::Value>(&s.status.read()) {
            pod["status"] = status;
        }
        Some(pod)
    };
    let items: Vec<_> = agent.pods.all().into_iter().filter_map(one).collect();
    skiff_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

fn configz(agent: &Agent) -> skiff_json::Value {
    let c = &agent.config;
    skiff_json::json!({"kubeletconfig": {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "clusterDNS": c.cluster_dns.iter().map(|ip| ip.to_string()).collect::<Vec<_>>(), "clusterDomain": c.cluster_domain, "maxPods": c.max_pods,
        "podPidsLimit": c.pod_pids_limit, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": true, "enforceNodeAllocatable": ["pods"],
        "containerLogMaxSize": format!("{}Mi", c.log_max_bytes >> 20), "containerLogMaxFiles": c.log_max_files,
        "imageGCHighThresholdPercent": c.image_gc.high, "imageGCLowThresholdPercent": c.image_gc.low,
        "nodeStatusReportFrequency": format!("{}s", c.status_period.as_secs()), "nodeLeaseDurationSeconds": c.lease_period.as_secs() * 4,
        "evictionHard": {"memory.available": c.eviction.memory_available.to_string(), "nodefs.available": format!("{}%", c.eviction.disk_available)},
        "maxParallelImagePulls": c.max_parallel_pulls,
    }})
}

fn own_metrics(agent: &Agent) -> String {
    let slots = agent.pods.all();
    let running = slots.iter().filter(|s| !s.terminated.load(std::sync::atomic::Ordering::Relaxed)).count();
    format!(
        "# TYPE kubelet_running_pods gauge\nkubelet_running_pods {running}\n# TYPE kubelet_desired_pods gauge\nkubelet_desired_pods {}\n# TYPE kubelet_node_name gauge\nkubelet_node_name{{node={:?}}} 1\n",
        slots.len(),
        agent.config.node_name
    )
}
