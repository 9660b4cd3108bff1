//! `/containerLogs/<namespace>/<pod>/<container>`
use super::answer::{Body, text};
use crate::agent::Agent;
use crate::logs::{self, Options, Stream};
use crate::pods::Slot;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use k8s_openapi::api::core::v1::{ContainerState, PodStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use skiff_cri::{ContainerId, ContainerState as Running, ContainerStatus};
use skiff_pod::view;
use skiff_streaming::Purpose;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;

pub async fn serve(agent: &Arc<Agent>, namespace: &str, pod: &str, container: &str, query: &str) -> Response<Body> {
    let q: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let get = |k: &str| q.iter().find(|(n, _)| n == k).map(|(_, v)| v.as_str());
    let options = match options(&q, agent.now()) {
        Ok(o) => o,
        Err(e) => return text(StatusCode::UNPROCESSABLE_ENTITY, format!("{{\"message\": {e:?}}}")),
    };
    let Some(slot) = agent.pods.named(namespace, pod) else {
        return text(StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist\n"));
    };
    if slot.pod().is_some_and(|p| view::find_container(&p, container).is_none()) {
        return text(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {pod:?}\n"));
    }
    let previous = get("previous").is_some_and(|v| v != "false");
    let found = match find(agent, &slot, container, previous).await {
        Ok(c) => c,
        Err(e) => return text(StatusCode::BAD_REQUEST, e),
    };
    if !tokio::fs::try_exists(&found.log_path).await.unwrap_or(false) {
        return text(StatusCode::OK, "");
    }
    let (to, from) = mpsc::channel::<Bytes>(16);
    let (agent, id, path) = (agent.clone(), found.id.clone(), found.log_path.clone());
    tokio::spawn(async move {
        let (runtime, asked) = (agent.runtime.clone(), id.clone());
        let running = move || -> futures::future::BoxFuture<'static, bool> {
            let (runtime, id) = (runtime.clone(), asked.clone());
            Box::pin(async move { matches!(runtime.container_status(&id).await, Ok(c) if matches!(c.state, Running::Running | Running::Created)) })
        };
        if let Err(e) = logs::send(path, options, running, to).await {
            tracing::debug!(target: "node", container = %id, error = %e, "log not sent");
        }
    });
    sent(from)
}

/// The same over a web socket, when the client asks for one.
pub async fn upgraded(agent: &Arc<Agent>, namespace: &str, pod: &str, container: &str, request: Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let negotiated = match skiff_streaming::negotiate(request.headers(), Purpose::Read) {
        Ok(n) => n,
        Err(e) => return text(StatusCode::BAD_REQUEST, e.to_string()),
    };
    let answer = serve(agent, namespace, pod, container, &query).await;
    if answer.status() != StatusCode::OK {
        return answer;
    }
    super::exec::switch(request, negotiated, |io, n| async move {
        let (to, from) = mpsc::channel::<Bytes>(16);
        let mut body = answer.into_body();
        let pump = async move {
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(bytes) = frame.into_data() else { continue };
                if to.send(bytes).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(pump, skiff_streaming::websocket::send(io, from, n.protocol.starts_with("base64.")));
    })
}

fn sent(from: mpsc::Receiver<Bytes>) -> Response<Body> {
    let frames = futures::stream::unfold(from, |mut f| async move { f.recv().await.map(|b| (Ok::<_, Infallible>(Frame::data(b)), f)) });
    let mut r = Response::new(StreamBody::new(frames).boxed_unsync());
    r.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    r
}

fn options(q: &[(String, String)], now: Timestamp) -> Result<Options, String> {
    let get = |k: &str| q.iter().find(|(n, _)| n == k).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty());
    let flag = |k: &str| get(k).is_some_and(|v| v != "false" && v != "0");
    let number = |k: &str| get(k).map(|v| v.parse::<u64>().map_err(|_| format!("{k}: {v:?} is no number"))).transpose();
    let tail = match get("tailLines") {
        Some("all") => None,
        _ => number("tailLines")?,
    };
    let since = match (number("sinceSeconds")?, get("sinceTime")) {
        (Some(s), _) => now.checked_sub(SignedDuration::from_secs(i64::try_from(s).unwrap_or(i64::MAX))).ok(),
        (None, Some(t)) => Some(t.parse::<Timestamp>().map_err(|_| format!("sinceTime: {t:?} is no time"))?),
        (None, None) => None,
    };
    let stream = match get("stream") {
        None | Some("All") => Stream::All,
        Some("Stdout") => Stream::Stdout,
        Some("Stderr") => Stream::Stderr,
        Some(other) => return Err(format!("stream: unsupported value {other:?}")),
    };
    Ok(Options { follow: flag("follow"), tail, since, timestamps: flag("timestamps"), limit_bytes: number("limitBytes")?, stream })
}

/// Which container's log is meant, by the pod's status: the running one, otherwise the last that ended; with `previous`
/// always the last that ended before.
fn wanted_id(status: &PodStatus, pod: &str, container: &str, previous: bool) -> Result<ContainerId, String> {
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).chain(&status.ephemeral_container_statuses).flatten();
    let c = all.into_iter().find(|c| c.name == container).ok_or_else(|| format!("container {container:?} in pod {pod:?} is not available"))?;
    let ended = |s: &Option<ContainerState>| s.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.container_id.clone()).filter(|id| !id.is_empty());
    let (now, last) = (c.state.as_ref(), ended(&c.last_state));
    let id = if previous {
        last.ok_or_else(|| format!("previous terminated container {container:?} in pod {pod:?} not found"))?
    } else if now.is_some_and(|s| s.running.is_some()) {
        c.container_id.clone().unwrap_or_default()
    } else if let Some(id) = ended(&c.state).or(last) {
        id
    } else {
        let reason = now.and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.as_deref()).unwrap_or_default();
        let why = match reason {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        return Err(format!("container {container:?} in pod {pod:?} is waiting to start: {why}"));
    };
    id.split_once("://").map(|(_, id)| ContainerId::new(id)).ok_or_else(|| format!("container {container:?} in pod {pod:?} is terminated"))
}

async fn find(agent: &Agent, slot: &Slot, container: &str, previous: bool) -> Result<ContainerStatus, String> {
    let status: PodStatus = skiff_json::from_slice(&slot.status.read()).unwrap_or_default();
    let id = wanted_id(&status, &slot.name, container, previous)?;
    agent.runtime.container_status(&id).await.map_err(|e| e.full_message())
}
