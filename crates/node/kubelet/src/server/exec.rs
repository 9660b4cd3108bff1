//! Live streams: exec, attach, port-forward, and the one-shot run.
use super::answer::{Body, body, error, text};
use super::route::At;
use crate::agent::Agent;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use skiff_cri::{AsyncDuplex, ContainerFilter, ContainerId, ContainerState, ExecOptions, ExecStream, RuntimeError, SandboxId};
use skiff_meta::{Reason, Status};
use skiff_pod::names;
use skiff_streaming::{Negotiated, Purpose, Wanted, portforward, remotecommand};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

struct Query(Vec<(String, String)>);

impl Query {
    fn of<B>(request: &Request<B>) -> Self {
        Self(url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect())
    }
    /// The kubelet's own names and those of the API are both taken.
    fn flag(&self, names: [&str; 2]) -> bool {
        self.0.iter().any(|(k, v)| names.contains(&k.as_str()) && (v == "1" || v == "true"))
    }
    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == name).map(|(_, v)| v.clone()).collect()
    }
    fn wanted(&self) -> Wanted {
        let tty = self.flag(["tty", "tty"]);
        Wanted { stdin: self.flag(["input", "stdin"]), stdout: self.flag(["output", "stdout"]), stderr: self.flag(["error", "stderr"]) && !tty, tty }
    }
}

async fn container(agent: &Agent, at: &At) -> Result<ContainerId, Status> {
    let not_found = || Status { message: format!("pod {:?} not found in namespace {:?}", at.pod, at.namespace), ..Status::new(Reason::NotFound, "") };
    let slot = match &at.uid {
        Some(uid) => agent.pods.get(uid),
        None => agent.pods.named(&at.namespace, &at.pod),
    };
    let slot = slot.ok_or_else(not_found)?;
    let labels = BTreeMap::from([(names::POD_UID.to_owned(), slot.uid.clone()), (names::CONTAINER_NAME.to_owned(), at.container.clone())]);
    let filter = ContainerFilter { labels, state: Some(ContainerState::Running), ..Default::default() };
    let found = agent.runtime.list_containers(&filter).await.map_err(|e| Status::internal(e.full_message()))?;
    let newest = found.into_iter().max_by_key(|c| c.metadata.attempt);
    newest.map(|c| c.id).ok_or_else(|| Status::new(Reason::NotFound, format!("container not found (\"{}\")", at.container)))
}

/// Switches protocols; the streams live in a task of their own.
pub(super) fn switch<F>(
    mut request: Request<Incoming>,
    negotiated: Negotiated,
    run: impl FnOnce(TokioIo<hyper::upgrade::Upgraded>, Negotiated) -> F + Send + 'static,
) -> Response<Body>
where
    F: std::future::Future<Output = ()> + Send + 'static,
{
    let mut response = Response::new(body(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().extend(negotiated.headers.clone());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(io) => run(TokioIo::new(io), negotiated).await,
            Err(e) => tracing::debug!(target: "node", error = %e, "connection not upgraded"),
        }
    });
    response
}

pub async fn exec(agent: Arc<Agent>, at: At, request: Request<Incoming>) -> Response<Body> {
    let query = Query::of(&request);
    let argv = query.all("command");
    if argv.is_empty() {
        return error(&Status::bad_request("you must specify at least 1 command for the container"));
    }
    let wanted = query.wanted();
    let id = match container(&agent, &at).await {
        Ok(id) => id,
        Err(s) => return error(&s),
    };
    let options = ExecOptions { argv, tty: wanted.tty, stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr };
    remote(request, wanted, async move { agent.runtime.exec(&id, &options).await }).await
}

pub async fn attach(agent: Arc<Agent>, at: At, request: Request<Incoming>) -> Response<Body> {
    let wanted = Query::of(&request).wanted();
    let id = match container(&agent, &at).await {
        Ok(id) => id,
        Err(s) => return error(&s),
    };
    let open = async move {
        let stream = agent.runtime.attach(&id).await?;
        // How the container ends is told by its status; the attachment has succeeded by then.
        let exit = stream.exit;
        Ok(ExecStream { exit: Box::pin(async move { exit.await.map(|_| 0) }), ..stream })
    };
    remote(request, wanted, open).await
}

async fn remote(request: Request<Incoming>, wanted: Wanted, open: impl Future<Output = Result<ExecStream, RuntimeError>> + Send + 'static) -> Response<Body> {
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return error(&Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let negotiated = match skiff_streaming::negotiate(request.headers(), Purpose::RemoteCommand) {
        Ok(n) => n,
        Err(e) => return error(&Status::bad_request(e.to_string())),
    };
    switch(request, negotiated, move |io, n| async move {
        if let Err(e) = remotecommand::serve(io, n, wanted, open).await {
            tracing::debug!(target: "node", error = %e, "remote command ended");
        }
    })
}

struct Forward {
    agent: Arc<Agent>,
    sandbox: SandboxId,
    pod: String,
}

#[async_trait::async_trait]
impl portforward::Connect for Forward {
    async fn connect(&self, port: u16) -> Result<Box<dyn AsyncDuplex>, String> {
        self.agent
            .runtime
            .port_forward(&self.sandbox, port)
            .await
            .map_err(|e| format!("error forwarding port {port} to pod {}: {}", self.pod, e.full_message()))
    }
}

pub async fn port_forward(agent: Arc<Agent>, at: At, request: Request<Incoming>) -> Response<Body> {
    let slot = match &at.uid {
        Some(uid) => agent.pods.get(uid),
        None => agent.pods.named(&at.namespace, &at.pod),
    };
    let filter = |uid: &str| skiff_cri::SandboxFilter {
        labels: BTreeMap::from([(names::POD_UID.to_owned(), uid.to_owned())]),
        state: Some(skiff_cri::SandboxState::Ready),
        ..Default::default()
    };
    let sandbox = match &slot {
        Some(s) => agent.runtime.list_sandboxes(&filter(&s.uid)).await.unwrap_or_default().into_iter().next(),
        None => None,
    };
    let Some(sandbox) = sandbox else {
        return error(&Status::new(Reason::NotFound, format!("pod {:?} not found in namespace {:?}", at.pod, at.namespace)));
    };
    let ports: Vec<u16> = Query::of(&request).all("port").iter().flat_map(|p| p.split(',').filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect();
    let negotiated = match skiff_streaming::negotiate(request.headers(), Purpose::PortForward) {
        Ok(n) => n,
        Err(e) => return error(&Status::bad_request(e.to_string())),
    };
    let forward = Arc::new(Forward { agent, sandbox: sandbox.id, pod: at.pod });
    switch(request, negotiated, move |io, n| async move {
        if let Err(e) = portforward::serve(io, n, &ports, forward).await {
            tracing::debug!(target: "node", error = %e, "port forward ended");
        }
    })
}

/// Runs a command and answers with its output.
pub async fn run(agent: &Agent, at: At, request: Request<Incoming>) -> Response<Body> {
    let query = Query::of(&request);
    let mut argv: Vec<String> = query.all("cmd").iter().flat_map(|c| c.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    argv.extend(query.all("command"));
    let _ = Limited::new(request.into_body(), 1 << 20).collect().await;
    let id = match container(agent, &at).await {
        Ok(id) => id,
        Err(s) => return error(&s),
    };
    match agent.runtime.exec_sync(&id, &argv, Duration::from_secs(3600)).await {
        Ok(out) => text(StatusCode::OK, [out.stdout, out.stderr].concat()),
        Err(e) => error(&Status::internal(e.full_message())),
    }
}
