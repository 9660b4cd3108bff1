//! The loop: looks at the folder, applies what changed, prunes what went.
use crate::attempts::{Seen, one_line};
use crate::{Document, Identity, documents, stale};
use sha2::{Digest, Sha256};
use skiff_client::{Client, DeleteOptions, ListParams, PatchBody, Target};
use skiff_controller::{Recorder, Regarding};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersion, GroupVersionResource, Reason, Status};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const MANAGER: &str = "skiff-manifests";
const LABEL: &str = "skiff.dev/manifest";
const NAMESPACE: &str = "kube-system";
/// The folder is looked at this often: a stat of a handful of files.
const LOOK: Duration = Duration::from_secs(2);

/// What the loop follows, and how it finds the resource of a kind.
pub struct Folder {
    pub path: PathBuf,
    /// (apiVersion, kind) → resource, and whether it lives in namespaces.
    pub resource_of: Arc<dyn Fn(&GroupVersion, &str) -> Option<(GroupVersionResource, bool)> + Send + Sync>,
}

/// Runs until `shutdown`.
pub async fn run(client: Client, folder: Folder, recorder: Recorder, shutdown: CancellationToken) {
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    let mut told = String::new();
    loop {
        let failed = look(&client, &folder, &recorder, &mut seen).await.err().map(|e| one_line(&e.to_string())).unwrap_or_default();
        if failed != told && !failed.is_empty() {
            tracing::warn!(target: "manifests", error = failed, "folder not followed");
        }
        told = failed;
        if shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return;
        }
    }
}

async fn look(client: &Client, folder: &Folder, recorder: &Recorder, seen: &mut BTreeMap<String, Seen>) -> Result<(), Status> {
    let files = read(folder).await.map_err(|e| Status::internal(format!("read {}: {e}", folder.path.display())))?;
    if seen.is_empty() {
        // What is remembered of files that went while the server was down.
        for name in remembered(client).await? {
            seen.entry(name).or_default();
        }
    }
    let gone: Vec<String> = seen.keys().filter(|n| !files.contains_key(*n)).cloned().collect();
    for name in gone {
        if !seen.get(&name).is_some_and(|s| s.is_due("", Instant::now())) {
            continue;
        }
        let problems = settle(client, folder, &name, &[]).await;
        if problems.is_empty() {
            seen.remove(&name);
        } else {
            tell(recorder, &name, &seen.entry(name.clone()).or_default().outcome(String::new(), problems, Instant::now()));
        }
    }
    for (name, text) in files {
        let digest: String = Sha256::digest(&text).iter().map(|b| format!("{b:02x}")).collect();
        if seen.get(&name).is_some_and(|s| !s.is_due(&digest, Instant::now())) {
            continue;
        }
        let problems = match std::str::from_utf8(&text).map_err(|e| e.to_string()).and_then(|t| documents(t).map_err(|e| e.to_string())) {
            Ok(docs) => settle(client, folder, &name, &docs).await,
            Err(why) => vec![format!("file left out: {}", one_line(&why))],
        };
        tell(recorder, &name, &seen.entry(name.clone()).or_default().outcome(digest, problems, Instant::now()));
    }
    Ok(())
}

/// In the log, and as Events of the record of the file.
fn tell(recorder: &Recorder, file: &str, problems: &[String]) {
    let about = Regarding { api_version: "v1".into(), kind: "ConfigMap".into(), namespace: NAMESPACE.into(), name: record_name(file), ..Regarding::default() };
    for problem in problems {
        tracing::warn!(target: "manifests", file, problem, "manifest not applied");
        recorder.warning(&about, "ApplyManifestFailed", format!("{file}: {problem}"));
    }
}

/// The manifests of the folder by name. A folder that is not there has none.
async fn read(folder: &Folder) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut out = BTreeMap::new();
    let mut entries = match tokio::fs::read_dir(&folder.path).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(out),
        other => other?,
    };
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = [".yaml", ".yml", ".json"].iter().any(|s| name.ends_with(s)) && !name.starts_with('.');
        let size = entry.metadata().await?.len() as usize;
        if wanted && size <= crate::documents::MAX_FILE {
            out.insert(name, tokio::fs::read(entry.path()).await?);
        }
    }
    Ok(out)
}

fn record_name(file: &str) -> String {
    let digest: String = Sha256::digest(file.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("skiff-manifest-{digest}")
}

fn config_maps() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "configmaps")
}

/// The files of which something is remembered.
async fn remembered(client: &Client) -> Result<Vec<String>, Status> {
    let p = ListParams { labels: LABEL.into(), ..Default::default() };
    let page = client.list_bytes(config_maps(), NAMESPACE, &p).await?;
    let name = |b: &[u8]| skiff_json::from_slice::<Value>(b).ok()?.pointer("/data/file")?.as_str().map(str::to_owned);
    Ok(page.items.iter().filter_map(|b| name(b)).collect())
}

/// Applies the documents and prunes the rest. Answers with what did not go well, a line each.
async fn settle(client: &Client, folder: &Folder, file: &str, docs: &[Document]) -> Vec<String> {
    let target = Target::new(config_maps(), NAMESPACE, record_name(file));
    let before: Vec<Identity> = match client.get_bytes(target.clone()).await {
        Ok(b) => skiff_json::from_slice::<Value>(&b).ok().and_then(|v| skiff_json::from_str(v.pointer("/data/objects")?.as_str()?).ok()).unwrap_or_default(),
        Err(e) if e.is(Reason::NotFound) => Vec::new(),
        Err(e) => return vec![problem("read the record of what was applied", &e)],
    };
    let mut problems = Vec::new();
    let mut wanted = Vec::new();
    for d in docs {
        let id = Identity::from(d);
        if let Err(e) = apply(client, folder, d).await {
            problems.push(problem(&format!("apply {} {}", d.kind, d.name), &e));
        }
        wanted.push(id);
    }
    let mut kept = wanted.clone();
    for id in stale(&before, &wanted) {
        if let Err(e) = prune(client, folder, &id).await {
            problems.push(problem(&format!("prune {} {}", id.kind, id.name), &e));
            kept.push(id);
        }
    }
    if let Err(e) = remember(client, target, file, &before, &kept).await {
        problems.push(problem("write the record of what was applied", &e));
    }
    problems
}

fn problem(step: &str, e: &Status) -> String {
    format!("{step}: {}", one_line(&e.to_string()))
}

async fn remember(client: &Client, target: Target, file: &str, before: &[Identity], kept: &[Identity]) -> Result<(), Status> {
    if kept.is_empty() {
        return match client.delete_target(target, &DeleteOptions::default()).await {
            Err(e) if !e.is(Reason::NotFound) => Err(e),
            _ => Ok(()),
        };
    }
    if before == kept {
        return Ok(());
    }
    let objects = skiff_json::to_string(kept).map_err(Status::internal)?;
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": target.name, "namespace": NAMESPACE, "labels": {LABEL: "true"}}, "data": {"file": file, "objects": objects}});
    client.patch_bytes(target, PatchBody::apply(&body, MANAGER)).await.map(drop)
}

fn target_of(folder: &Folder, id: &Identity) -> Result<Target, Status> {
    let gv = GroupVersion::parse(&id.api_version).ok_or_else(|| Status::bad_request(format!("apiVersion {:?} is malformed", id.api_version)))?;
    let found = (folder.resource_of)(&gv, &id.kind);
    let (resource, namespaced) = found.ok_or_else(|| Status::bad_request(format!("no matches for kind {:?} in version {:?}", id.kind, id.api_version)))?;
    let namespace = match (namespaced, id.namespace.as_str()) {
        (false, _) => "",
        (true, "") => "default",
        (true, n) => n,
    };
    Ok(Target::new(resource, namespace, &*id.name))
}

async fn apply(client: &Client, folder: &Folder, d: &Document) -> Result<(), Status> {
    let target = target_of(folder, &Identity::from(d))?;
    let mut object = d.object.clone();
    if !target.namespace.is_empty() {
        object["metadata"]["namespace"] = target.namespace.clone().into();
    }
    client.patch_bytes(target, PatchBody::apply(&object, MANAGER)).await.map(drop)
}

async fn prune(client: &Client, folder: &Folder, id: &Identity) -> Result<(), Status> {
    let options = DeleteOptions { propagation_policy: Some("Background"), ..Default::default() };
    match client.delete_target(target_of(folder, id)?, &options).await {
        Err(e) if !e.is(Reason::NotFound) => Err(e),
        _ => Ok(()),
    }
}
