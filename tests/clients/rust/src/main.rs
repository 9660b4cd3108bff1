//! A small program with kube-rs: create, watch, patch, apply, and a reflector that keeps a store and lists again.
//! Argument: the kubeconfig. Fails at the first thing that is not as it would be against upstream.

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Config, ResourceExt};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let file = Kubeconfig::read_from(std::env::args().nth(1).context("which kubeconfig?")?)?;
    let client = Client::try_from(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"generateName": "clients-rust-"}}))?;
    let ns = namespaces.create(&PostParams::default(), &namespace).await?.name_any();
    let done = tokio::time::timeout(PATIENCE, all(client, &ns)).await;
    namespaces.delete(&ns, &DeleteParams::default()).await?;
    done.context("in time")??;
    println!("ok");
    Ok(())
}

async fn all(client: Client, ns: &str) -> Result<()> {
    requests(Api::namespaced(client.clone(), ns)).await?;
    applies(Api::namespaced(client.clone(), ns)).await?;
    cache(Api::namespaced(client, ns)).await
}

fn object<T: serde::de::DeserializeOwned>(v: Value) -> Result<T> {
    Ok(serde_json::from_value(v)?)
}

/// The code of an error; success is none.
fn code<T>(r: kube::Result<T>) -> Result<u16> {
    match r {
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(e) => Err(e.into()),
        Ok(_) => Ok(0),
    }
}

async fn requests(maps: Api<ConfigMap>) -> Result<()> {
    let events = maps.watch(&WatchParams::default().fields("metadata.name=a"), "0").await?;
    let a: ConfigMap = object(json!({"metadata": {"name": "a"}, "data": {"k": "1"}}))?;
    let made = maps.create(&PostParams::default(), &a).await?;
    ensure!(code(maps.create(&PostParams::default(), &a).await)? == 409, "create again");
    let p = PatchParams::default();
    maps.patch("a", &p, &Patch::Merge(json!({"data": {"merge": "1"}}))).await?;
    maps.patch("a", &p, &Patch::Strategic(json!({"data": {"strategic": "1"}}))).await?;
    ensure!(code(maps.replace("a", &PostParams::default(), &made).await)? == 409, "update of an old revision");
    maps.delete("a", &DeleteParams::default()).await?;
    let mut seen = String::new();
    let mut events = events.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(_) => seen += "A",
            WatchEvent::Modified(_) => seen += "M",
            WatchEvent::Deleted(_) => break,
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(e) => bail!("watch: {e:?}"),
        }
    }
    ensure!(seen == "AMM", "watch: {seen}");
    Ok(())
}

async fn applies(maps: Api<ConfigMap>) -> Result<()> {
    let of = |v: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": v}});
    maps.patch("b", &PatchParams::apply("one"), &Patch::Apply(of("1"))).await?;
    ensure!(code(maps.patch("b", &PatchParams::apply("two"), &Patch::Apply(of("2"))).await)? == 409, "apply, conflict");
    let forced = maps.patch("b", &PatchParams::apply("two").force(), &Patch::Apply(of("2"))).await?;
    let managers: Vec<_> = forced.managed_fields().iter().filter_map(|m| m.manager.clone()).collect();
    ensure!(managers == ["two"], "managers: {managers:?}");
    Ok(())
}

async fn cache(secrets: Api<Secret>) -> Result<()> {
    let (reader, writer) = reflector::store();
    // Streaming lists, as current informers ask for them.
    let config = watcher::Config::default().streaming_lists();
    let mut stream = reflector(writer, watcher(secrets.clone(), config)).applied_objects().boxed();
    let s: Secret = object(json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}}))?;
    let made = secrets.create(&PostParams::default(), &s).await?;
    let seen = stream.try_next().await?.context("the reflector ended")?;
    ensure!(seen.uid() == made.uid(), "the reflector saw {seen:?}");
    let changed = secrets.patch("s", &PatchParams::default(), &Patch::Merge(json!({"stringData": {"k": "w"}}))).await?;
    while stream.try_next().await?.context("the reflector ended")?.resource_version() != changed.resource_version() {}
    let held = reader.state();
    ensure!(held.len() == 1 && held[0].data == changed.data, "the store holds {held:?}");
    Ok(())
}
