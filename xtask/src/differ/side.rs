//! One of the two servers: what it must hold before, and what it answers.

use super::kinds::Kind;
use super::request::Request;
use crate::http::{Answer, Client, Connection};
use anyhow::bail;
use skiff_json::{Value, json};

/// How long a server may take for what it writes to a definition: so many reads at the most, with a pause between them.
const SETTLE_READS: usize = 100;
const SETTLE_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

pub struct Side<'a> {
    client: &'a Client,
    connection: Connection,
    /// The object of the kind as last answered, for bodies that change it.
    stored: Value,
    /// Revision at which the kind's requests began.
    since: String,
}

/// Objects that seeds refer to. Where nothing runs but an API server, nobody makes the default account either.
fn needed(namespace: &str) -> Vec<(String, Value)> {
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    vec![
        ("/api/v1/namespaces".into(), json!({"metadata": {"name": namespace}})),
        (accounts.clone(), json!({"metadata": {"name": "default"}})),
        (accounts, json!({"metadata": {"name": "sa"}})),
    ]
}

/// Makes what all kinds share.
pub fn prepare(client: &Client) -> anyhow::Result<()> {
    let mut connection = client.connect()?;
    ensure(&mut connection, "/apis/scheduling.k8s.io/v1/priorityclasses", &json!({"metadata": {"name": "pc"}, "value": 5, "preemptionPolicy": "Never"}))?;
    // Where volumes come from by themselves there is a default class, which claims are given.
    connection.request("DELETE", "/apis/storage.k8s.io/v1/storageclasses/local-path", &["content-length: 0"], &[])?;
    ensure(
        &mut connection,
        "/apis/node.k8s.io/v1/runtimeclasses",
        &json!({"metadata": {"name": "rc"}, "handler": "h", "overhead": {"podFixed": {"cpu": "1m"}}}),
    )
}

fn ensure(connection: &mut Connection, path: &str, object: &Value) -> anyhow::Result<()> {
    let answer = connection.request("POST", path, &["content-type: application/json"], object.to_string().as_bytes())?;
    if !matches!(answer.status, 201 | 409) {
        bail!("POST {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(())
}

impl<'a> Side<'a> {
    pub fn new(client: &'a Client) -> anyhow::Result<Self> {
        Ok(Self { client, connection: client.connect()?, stored: Value::Null, since: "0".into() })
    }
    /// Makes the kind's namespace, and takes away what an earlier run left.
    pub fn begin(&mut self, kind: &Kind) -> anyhow::Result<()> {
        (self.stored, self.since) = (Value::Null, "0".into());
        if kind.namespaced {
            for (path, object) in needed(&kind.namespace()) {
                ensure(&mut self.connection, &path, &object)?;
            }
        }
        for seed in &kind.seeds {
            let item = format!("{}/{}", kind.collection(), seed.object["metadata"]["name"].as_str().unwrap_or_default());
            self.send("PATCH", &item, &["content-type: application/merge-patch+json"], br#"{"metadata":{"finalizers":null}}"#)?;
            self.send("DELETE", &format!("{item}?gracePeriodSeconds=0"), &[], &[])?;
            if kind.sub("finalize") {
                let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "base"}, "spec": {}});
                self.send("PUT", &format!("{item}/finalize"), &["content-type: application/json"], body.to_string().as_bytes())?;
            }
        }
        Ok(())
    }
    /// The answer to a request; what it tells about the object is kept. A connection that breaks is an answer of status 0.
    pub fn answer(&mut self, kind: &Kind, request: &Request) -> Answer {
        let headers: Vec<&str> = request.headers.iter().map(String::as_str).collect();
        let path = request.path.replace("{since}", &self.since);
        let answer = match self.send(request.method, &path, &headers, &request.bytes(&self.stored)) {
            Ok(answer) => answer,
            Err(e) => return Answer { status: 0, headers: Vec::new(), body: e.to_string().into_bytes() },
        };
        if request.name == "since" {
            let list: Value = skiff_json::from_slice(&answer.body).unwrap_or_default();
            self.since = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        } else if answer.status < 300 && !path.contains("dryRun") && !path.contains("watch=") {
            let object: Value = skiff_json::from_slice(&answer.body).unwrap_or_default();
            // What is called by a uid, its own or another, would stand anywhere in lists.
            if let Some(name) = object["metadata"]["name"].as_str().filter(|n| request.method == "POST" && is_uid(n)) {
                let _ = self.send("DELETE", &format!("{}/{name}", kind.collection()), &[], &[]);
                return answer;
            }
            if object["kind"] == kind.kind.as_str()
                && object["metadata"]["resourceVersion"].is_string()
                && object["apiVersion"].as_str().is_some_and(|v| v.ends_with(&kind.version))
            {
                self.stored = object;
            }
            if kind.group == "apiextensions.k8s.io" && request.method != "GET" {
                self.settle(kind);
            }
        }
        answer
    }
    /// Both servers write to definitions on their own, each in its time: what comes next is asked when they have done so.
    fn settle(&mut self, kind: &Kind) {
        let item = format!("{}/{}", kind.collection(), self.stored["metadata"]["name"].as_str().unwrap_or_default());
        let mut before = String::new();
        for _ in 0..SETTLE_READS {
            let Ok(answer) = self.send("GET", &item, &[], &[]) else { return };
            let object: Value = skiff_json::from_slice(&answer.body).unwrap_or_default();
            let now = object["metadata"]["resourceVersion"].as_str().unwrap_or("gone").to_owned();
            if now == before {
                return;
            }
            before = now;
            std::thread::sleep(SETTLE_PAUSE);
        }
    }
    /// Servers close connections after some refusals: one more try, on a fresh one.
    fn send(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> anyhow::Result<Answer> {
        // A body of no bytes must be said to have none, or the request looks unfinished.
        let mut headers = headers.to_vec();
        if body.is_empty() && method != "GET" {
            headers.push("content-length: 0");
        }
        match self.connection.request(method, path, &headers, body) {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.connection = self.client.connect()?;
                self.connection.request(method, path, &headers, body)
            }
        }
    }
}

/// Eight, four, four, four and twelve hexadecimal digits.
fn is_uid(text: &str) -> bool {
    text.len() == 36 && text.bytes().enumerate().all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}
