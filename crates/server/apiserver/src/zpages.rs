//! `/statusz` and `/flagz`: what this process is and how it was started, as a text for people or as an object.
//!
//! The objects exist here only: nothing stores them, no discovery lists them.
//! <https://kubernetes.io/docs/reference/instrumentation/zpages/>
use crate::{
    answer::{self, Reply},
    metrics,
    negotiate::Form,
    server, version,
};
use bytes::Bytes;
use http::{HeaderValue, Response, header, request::Parts};
use skiff_json::{Value, json};
use skiff_meta::{Reason, Status, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::{Duration, SystemTime},
};

const COMPONENT: &str = "kube-apiserver";
const GROUP: &str = "config.k8s.io";
/// Paths below these are no means of finding faults.
const ORDINARY: [&str; 5] = ["/apis", "/api", "/openid", "/openapi", "/.well-known"];

/// A page: its kind and fields, and its lines for people.
pub(crate) struct Page {
    kind: &'static str,
    fields: Value,
    lines: String,
}

/// `paths` are all that the server lists.
pub(crate) fn statusz(paths: &[String]) -> Page {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(metrics::process_started() as u64);
    let up = SystemTime::now().duration_since(started).unwrap_or_default().as_secs();
    status(&Timestamp::from_system(started).to_string(), up, paths)
}

fn status(started: &str, up: u64, paths: &[String]) -> Page {
    let binary = version::GIT_VERSION.trim_start_matches('v');
    let emulated = version::emulated();
    let go = version::info()["goVersion"].clone();
    let places = folders(paths);
    let fields = json!({"startTime": started, "uptimeSeconds": up, "goVersion": go, "binaryVersion": binary, "emulationVersion": emulated, "paths": places});
    let uptime = format!("{} hr {:02} min {:02} sec", up / 3600, up / 60 % 60, up % 60);
    let go = go.as_str().unwrap_or_default();
    let lines =
        format!("\nStarted: {started}\nUp: {uptime}\nGo version: {go}\nBinary version: {binary}\nEmulation version: {emulated}\nPaths: {}\n", places.join(" "));
    Page { kind: "Statusz", fields, lines }
}

fn folders(paths: &[String]) -> Vec<String> {
    let firsts = paths.iter().filter_map(|p| p.split('/').nth(1)).filter(|f| !f.is_empty());
    let all: BTreeSet<String> = firsts.map(|f| format!("/{f}")).filter(|f| !ORDINARY.contains(&f.as_str())).collect();
    all.into_iter().collect()
}

pub(crate) fn flagz(flags: &BTreeMap<String, String>) -> Page {
    let mut lines = String::new();
    for (name, value) in flags {
        let _ = writeln!(lines, "{name}={value}");
    }
    Page { kind: "Flagz", fields: json!({"flags": flags}), lines }
}

/// A form that a page can have: None is the text; else the version of the object, and whether it is YAML.
type Asked = Option<(&'static str, bool)>;

fn asked(accept: &str, kind: &str) -> Option<Asked> {
    if accept.trim().is_empty() {
        return Some(None);
    }
    accept.split(',').find_map(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let media = parts.next()?;
        let params: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
        let param = |key: &str| params.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        let version = ["v1beta1", "v1alpha1"].into_iter().find(|v| param("v") == Some(v));
        let object = version.filter(|_| param("g") == Some(GROUP) && param("as") == Some(kind));
        match (media, object, param("as")) {
            ("text/plain" | "text/*" | "*/*", None, None) => Some(None),
            ("application/json" | "application/*" | "*/*", Some(v), _) => Some(Some((v, false))),
            ("application/yaml", Some(v), _) => Some(Some((v, true))),
            _ => None,
        }
    })
}

pub(crate) fn answer(parts: &Parts, page: &Page) -> Result<Response<Reply>, Status> {
    let refused = || Status::new(Reason::NotAcceptable, "only the following media types are accepted: application/json, application/yaml, text/plain");
    let Some((version, yaml)) = asked(server::accept(parts).unwrap_or_default(), page.kind).ok_or_else(refused)? else {
        let warning =
            "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";
        let name = page.kind.to_lowercase();
        let form = Form { media: Some("text/plain; charset=utf-8"), ..Form::JSON };
        return Ok(answer::response(200, &form, format!("\n{COMPONENT} {name}\n{warning}\n{}", page.lines).into(), &[]));
    };
    let mut object = json!({"kind": page.kind, "apiVersion": format!("{GROUP}/{version}"), "metadata": {"name": COMPONENT}});
    if let (Some(to), Some(fields)) = (object.as_object_mut(), page.fields.as_object()) {
        to.extend(fields.clone());
    }
    let json = Bytes::from(object.to_string());
    let mut response = match yaml {
        true => answer::response(200, &Form { media: Some("application/yaml"), ..Form::JSON }, crate::wire::yaml(&json)?, &[]),
        false => answer::response(200, &Form::JSON, json, &[]),
    };
    if version == "v1alpha1" {
        let text = format!("This version of the {} endpoint is deprecated. Please use a newer version.", page.kind.to_lowercase());
        if let Ok(v) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().insert(header::WARNING, v);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (accept, want) in [
            ("", Some(None)),
            ("*/*", Some(None)),
            ("text/plain", Some(None)),
            ("application/json", None),
            ("application/json;as=Statusz;g=config.k8s.io;v=v1beta1", Some(Some(("v1beta1", false)))),
            ("application/yaml;as=Statusz;v=v1alpha1;g=config.k8s.io", Some(Some(("v1alpha1", true)))),
            ("application/json;as=Flagz;g=config.k8s.io;v=v1beta1", None),
            ("application/json;as=Statusz;g=config.k8s.io;v=v1", None),
            ("application/vnd.kubernetes.protobuf, text/plain", Some(None)),
        ] {
            assert_eq!(asked(accept, "Statusz"), want, "{accept}");
        }
    }

    #[test]
    fn pages() {
        let paths = ["/", "/api", "/apis/apps", "/healthz/ping", "/healthz", "/metrics", "/.well-known/x"].map(str::to_owned);
        let page = status("2026-01-02T03:04:05Z", 3_725, &paths);
        assert_eq!(page.fields["paths"], json!(["/healthz", "/metrics"]));
        assert_eq!(page.fields["uptimeSeconds"], 3_725);
        assert!(page.lines.contains("Up: 1 hr 02 min 05 sec\n") && page.lines.ends_with("Paths: /healthz /metrics\n"), "{}", page.lines);
        let flags = flagz(&[("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())].into());
        assert_eq!((flags.lines.as_str(), &flags.fields["flags"]["a"]), ("a=1\nb=2\n", &json!("1")));
    }
}
