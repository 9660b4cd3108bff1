//! Proxies to pods, services and nodes: `SCHEME:NAME:PORT` names the backend, the rest of the path goes on to it.
use super::{Connect, backend::Backend, links::Base};
use crate::answer::{Reply, full};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use skiff_json::Value;
use skiff_meta::{Reason, Status};
use skiff_policy::Lookup;
use std::io::Read;

/// Scheme, name and port out of `https:web:8443`, `web:http` or `web`.
fn split(name: &str) -> Option<(&str, &str, &str)> {
    match name.split(':').collect::<Vec<_>>()[..] {
        [name] => Some(("", name, "")),
        [name, port] => Some(("", name, port)),
        [scheme @ ("" | "http" | "https"), name, port] => Some((scheme, name, port)),
        _ => None,
    }
}

/// A GET of `…/proxy` itself goes to `…/proxy/`, so that relative links work.
pub(super) fn with_slash(c: &Connect<'_>) -> Option<Response<Reply>> {
    let path = c.parts.uri.path();
    if !c.rest.is_empty() || path.ends_with('/') || !matches!(c.parts.method.as_str(), "GET" | "HEAD") || c.parts.headers.contains_key(header::UPGRADE) {
        return None;
    }
    let query = c.parts.uri.query().map_or_else(String::new, |q| format!("?{q}"));
    let mut r = Response::new(full(Bytes::new()));
    *r.status_mut() = StatusCode::MOVED_PERMANENTLY;
    r.headers_mut().insert(header::LOCATION, HeaderValue::from_str(&format!("{path}/{query}")).ok()?);
    Some(r)
}

/// What a backend that links to itself must know: the path under which clients see it.
pub(super) fn forwarded(c: &Connect<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let (true, Ok(path)) = (c.target.subresource == "proxy", HeaderValue::from_str(c.parts.uri.path())) {
        headers.insert("x-forwarded-uri", path);
    }
    headers
}

pub(super) fn backend(c: &Connect<'_>) -> Result<(Backend, String), Status> {
    let (scheme, name, port) =
        split(&c.target.name).ok_or_else(|| Status::bad_request(format!("invalid {} request {:?}", c.target.resource.resource, c.target.name)))?;
    let backend = match &*c.target.resource.resource {
        "pods" => pod(c, scheme, name, port)?,
        "services" => service(c, scheme, name, port)?,
        _ => node(c, scheme, name, port)?,
    };
    let rest = if c.rest.is_empty() { "/" } else { c.rest };
    let path = c.parts.uri.query().map_or_else(|| rest.to_owned(), |q| format!("{rest}?{q}"));
    Ok((backend, path))
}

fn plain(c: &Connect<'_>, scheme: &str, host: &str, port: u16) -> Result<Backend, Status> {
    let tls = match scheme {
        "https" => Some(super::backend::unverified()),
        _ => None,
    };
    if host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified()) || host.starts_with("169.254.") {
        return Err(Status::bad_request(format!("address not allowed: {host} of {}", c.target.name)));
    }
    Ok(Backend { host: host.to_owned(), port, tls, name: host.to_owned() })
}

fn pod(c: &Connect<'_>, scheme: &str, name: &str, port: &str) -> Result<Backend, Status> {
    let v = c.object("pods", &c.target.namespace, name)?;
    let ip = v["status"]["podIP"].as_str().unwrap_or_default();
    if ip.is_empty() {
        return Err(Status::internal(format!("no address available for pod {name}")));
    }
    let first = || v["spec"]["containers"].as_array().into_iter().flatten().find_map(|k| k["ports"][0]["containerPort"].as_u64());
    let number = if port.is_empty() {
        first().unwrap_or(80)
    } else {
        port.parse().map_err(|_| Status::bad_request(format!("invalid pod request {:?}", c.target.name)))?
    };
    plain(c, scheme, ip, u16::try_from(number).map_err(Status::internal)?)
}

fn node(c: &Connect<'_>, scheme: &str, name: &str, port: &str) -> Result<Backend, Status> {
    let kubelet = c.kubelet(name)?;
    match port.parse::<u16>() {
        Ok(p) if p != kubelet.port => Ok(Backend { port: p, tls: (scheme == "https").then(super::backend::unverified), ..kubelet }),
        _ => Ok(kubelet),
    }
}

fn unavailable(why: String) -> Status {
    Status::new(Reason::ServiceUnavailable, why)
}

/// A ready endpoint of the service's port, by name or number.
/// Whether the endpoint is this pod of the namespace: whoever writes slices by hand shall not lead the server elsewhere.
fn is_of(endpoint: &Value, namespace: &str, pod: &Value) -> bool {
    let ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
    endpoint["targetRef"]["namespace"] == namespace && endpoint["addresses"][0].is_string() && ips.into_iter().any(|ip| ip["ip"] == endpoint["addresses"][0])
}

fn service(c: &Connect<'_>, scheme: &str, name: &str, port: &str) -> Result<Backend, Status> {
    let v = c.object("services", &c.target.namespace, name)?;
    let ports = v["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let chosen = match (port, ports) {
        ("", [only]) => only,
        ("", _) => ports
            .iter()
            .find(|p| p["name"].as_str().unwrap_or_default().is_empty())
            .ok_or_else(|| unavailable(format!("no endpoints available for service {:?}", c.target.name)))?,
        (wanted, _) => ports
            .iter()
            .find(|p| p["name"] == wanted || p["port"].as_u64().is_some_and(|n| n.to_string() == wanted))
            .ok_or_else(|| unavailable(format!("no service port {wanted:?} found for service {name:?}")))?,
    };
    let slices = Lookup::list(c.registry, "endpointslices.discovery.k8s.io", &c.target.namespace);
    let mut all: Vec<(String, u16)> = Vec::new();
    for slice in slices.iter().filter_map(|b| skiff_json::from_slice::<Value>(b).ok()) {
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] != name {
            continue;
        }
        let same = |p: &&Value| p["name"].as_str().unwrap_or_default() == chosen["name"].as_str().unwrap_or_default();
        let Some(port) = slice["ports"].as_array().into_iter().flatten().find(same).and_then(|p| u16::try_from(p["port"].as_u64()?).ok()) else { continue };
        let ready = slice["endpoints"].as_array().into_iter().flatten().filter(|e| e["conditions"]["ready"] != false);
        let ready = ready.filter(|e| {
            c.object("pods", &c.target.namespace, e["targetRef"]["name"].as_str().unwrap_or_default()).is_ok_and(|pod| is_of(e, &c.target.namespace, &pod))
        });
        all.extend(ready.filter_map(|e| Some((e["addresses"][0].as_str()?.to_owned(), port))));
    }
    if all.is_empty() {
        return Err(unavailable(format!("no endpoints available for service {:?}", c.target.name)));
    }
    let (ip, port) = all.swap_remove(c.registry.random() as usize % all.len());
    plain(c, scheme, &ip, port)
}

/// The path up to and with `…/proxy`.
fn prefix<'a>(c: &Connect<'a>) -> &'a str {
    let path = c.parts.uri.path();
    path.strip_suffix(c.rest).unwrap_or(path).trim_end_matches('/')
}

/// Redirects and links of the backend to its own paths lead through the proxy.
pub(super) async fn rewritten(c: &Connect<'_>, backend: &Backend, mut response: Response<Reply>) -> Result<Response<Reply>, Status> {
    let authority = backend.authority();
    let asked = c.parts.uri.authority().map(|a| a.as_str()).or_else(|| c.parts.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
    let base = Base { prefix: prefix(c).to_owned(), hosts: [authority, asked.to_owned()] };
    if let Some(location) = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()) {
        let through = base.rewritten(location).and_then(|l| HeaderValue::from_str(&l).ok());
        if let Some(l) = through {
            response.headers_mut().insert(header::LOCATION, l);
        }
        return Ok(response);
    }
    let text = |name| response.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok()).unwrap_or_default();
    let html = text(header::CONTENT_TYPE).split(';').next().is_some_and(|t| t.trim() == "text/html");
    let packed = match text(header::CONTENT_ENCODING) {
        "" => false,
        "gzip" => true,
        _ => return Ok(response),
    };
    if html && c.parts.method != http::Method::HEAD { page(base, response, packed).await } else { Ok(response) }
}

/// A page is read whole, so it has a limit.
const PAGE_LIMIT: usize = 32 << 20;

async fn read(mut body: Reply) -> Result<Bytes, Status> {
    let mut out = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| unreadable(&e))?;
        out.extend_from_slice(frame.data_ref().map_or(&[], |d| &**d));
        if out.len() > PAGE_LIMIT {
            return Err(unreadable(&"it is too large"));
        }
    }
    Ok(out.into())
}

fn unreadable(why: &dyn std::fmt::Display) -> Status {
    unavailable(format!("error trying to reach service: rewrite the links of a page: {why}"))
}

async fn page(base: Base, response: Response<Reply>, packed: bool) -> Result<Response<Reply>, Status> {
    let (mut head, body) = response.into_parts();
    let mut bytes = read(body).await?;
    if packed {
        let mut plain = Vec::new();
        let read = flate2::read::GzDecoder::new(&*bytes).take(PAGE_LIMIT as u64 + 1).read_to_end(&mut plain).map_err(|e| unreadable(&e))?;
        if read > PAGE_LIMIT {
            return Err(unreadable(&"it is too large"));
        }
        bytes = plain.into();
        head.headers.remove(header::CONTENT_ENCODING);
    }
    head.headers.remove(header::CONTENT_LENGTH);
    let bytes = match std::str::from_utf8(&bytes) {
        Ok(text) => base.html(text).into(),
        Err(_) => bytes,
    };
    Ok(Response::from_parts(head, full(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn endpoints_are_pods_of_the_namespace() {
        let pod = json!({"status": {"podIPs": [{"ip": "10.42.0.7"}]}});
        let endpoint = |namespace: &str, ip: &str| json!({"addresses": [ip], "targetRef": {"kind": "Pod", "namespace": namespace, "name": "p"}});
        for (e, good) in [
            (endpoint("a", "10.42.0.7"), true),
            (endpoint("b", "10.42.0.7"), false),
            (endpoint("a", "192.0.2.1"), false),
            (json!({"addresses": ["10.42.0.7"]}), false),
            (json!({"targetRef": {"namespace": "a"}}), false),
        ] {
            assert_eq!(is_of(&e, "a", &pod), good, "{e}");
        }
    }

    #[test]
    fn names_of_backends() {
        assert_eq!(split("web"), Some(("", "web", "")));
        assert_eq!(split("web:http"), Some(("", "web", "http")));
        assert_eq!(split("https:web:8443"), Some(("https", "web", "8443")));
        assert_eq!(split("ftp:web:1"), None);
    }
}
