//! Devices that pods claim (KEP-4381): made ready by their drivers before the pod's containers start, given to the containers
//! by the Container Device Interface, and given back when the last pod of the claim is over.
//!
//! What is ready is kept in a file: it outlives the agent, as containers do. Not here: device plug-ins of the older kind,
//! health of devices, and metadata files.

mod cdi;
mod plugin;
#[cfg(test)]
mod tests;
mod wire;

use crate::agent::Agent;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use parking_lot::Mutex;
use plugin::{ClaimRef, Plugin, Ready};
use serde::{Deserialize, Serialize};
use skiff_client::Client;
use skiff_cri::ContainerConfig;
use skiff_pod::view;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// The folder of plug-ins is looked at this often.
const LOOK: Duration = Duration::from_secs(5);

/// A claim whose devices are ready.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Held {
    namespace: String,
    name: String,
    /// By driver.
    devices: BTreeMap<String, Vec<Ready>>,
    /// Uids of pods.
    pods: BTreeSet<String>,
}

pub struct Devices {
    /// Where plug-ins put their sockets.
    folder: PathBuf,
    state: PathBuf,
    specifications: Vec<PathBuf>,
    /// By socket.
    plugins: Mutex<BTreeMap<PathBuf, Plugin>>,
    /// By the claim's uid.
    held: Mutex<BTreeMap<String, Held>>,
}

/// The claims of a pod: the entry in its spec, and the claim's name. The error is about one that is not made yet.
fn claims(pod: &Pod) -> Result<Vec<(String, String)>, String> {
    let known: Vec<_> = pod.status.iter().flat_map(|s| s.resource_claim_statuses.iter().flatten()).collect();
    let mut out = Vec::new();
    for e in view::spec(pod).resource_claims.iter().flatten() {
        let told = known.iter().find(|s| s.name == e.name);
        match (&e.resource_claim_name, told) {
            (Some(name), _) => out.push((e.name.clone(), name.clone())),
            // The status names no claim: none is needed.
            (None, Some(s)) => out.extend(s.resource_claim_name.clone().map(|name| (e.name.clone(), name))),
            (None, None) => return Err(format!("pod claim {} was not created yet", e.name)),
        }
    }
    Ok(out)
}

impl Devices {
    pub fn open(root: &std::path::Path) -> Self {
        let state = root.join("devices.json");
        let held = std::fs::read(&state).ok().and_then(|b| skiff_json::from_slice(&b).ok()).unwrap_or_default();
        Self {
            folder: root.join("plugins_registry"),
            state,
            specifications: cdi::FOLDERS.iter().map(PathBuf::from).collect(),
            plugins: Mutex::default(),
            held: Mutex::new(held),
        }
    }

    /// Knows plug-ins as they come and go.
    async fn look(&self) {
        let sockets: BTreeSet<PathBuf> =
            std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "sock")).collect();
        self.plugins.lock().retain(|socket, _| sockets.contains(socket));
        for socket in sockets {
            if self.plugins.lock().contains_key(&socket) {
                continue;
            }
            match plugin::identify(&socket).await {
                Ok(Some(p)) => {
                    tracing::info!(target: "node", driver = p.driver, endpoint = %p.endpoint.display(), "a driver of devices is there");
                    self.plugins.lock().insert(socket, p);
                }
                Ok(None) => {}
                Err(why) => tracing::debug!(target: "node", why, "a plug-in doesn't say who it is"),
            }
        }
    }

    async fn endpoint(&self, driver: &str) -> Result<PathBuf, String> {
        let find = || self.plugins.lock().values().find(|p| p.driver == driver).map(|p| p.endpoint.clone());
        if let Some(known) = find() {
            return Ok(known);
        }
        self.look().await;
        find().ok_or_else(|| format!("DRA driver {driver} is not registered"))
    }

    fn save(&self, held: &BTreeMap<String, Held>) -> Result<(), String> {
        let failed = |e: &dyn std::fmt::Display| format!("write {}: {e}", self.state.display());
        let scratch = self.state.with_extension("json.new");
        let bytes = skiff_json::to_vec(held).map_err(|e| failed(&e))?;
        std::fs::write(&scratch, bytes).and_then(|()| std::fs::rename(&scratch, &self.state)).map_err(|e| failed(&e))
    }

    /// Gives the container the devices that it claims.
    pub fn give(&self, pod: &Pod, c: &Container, config: &mut ContainerConfig) -> Result<(), String> {
        let wanted: Vec<_> = c.resources.iter().flat_map(|r| r.claims.iter().flatten()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (names, uid) = (claims(pod)?, view::uid(pod));
        let held = self.held.lock();
        let mut ids: Vec<String> = Vec::new();
        for w in wanted {
            let of = |h: &&Held| names.iter().any(|(entry, name)| *entry == w.name && *name == h.name) && h.pods.contains(uid);
            let serves = |d: &&Ready| w.request.as_deref().is_none_or(|r| d.requests.iter().any(|own| own == r || own.split('/').next() == Some(r)));
            for id in held.values().filter(of).flat_map(|h| h.devices.values().flatten()).filter(serves).flat_map(|d| &d.cdi) {
                if !ids.contains(id) {
                    ids.push(id.clone());
                }
            }
        }
        drop(held);
        cdi::apply(config, &ids, &cdi::read(&self.specifications))
    }
}

/// Follows the folder of plug-ins, so that they learn that they are known.
pub fn spawn(agent: Arc<Agent>) {
    let shutdown = agent.shutdown.clone();
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        loop {
            if agent.devices.folder.is_dir() {
                agent.devices.look().await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }));
}

impl Devices {
    /// Makes the devices of the pod's claims ready; again where that was done already, it does nothing.
    pub async fn prepare(&self, client: &Client, pod: &Pod) -> Result<(), String> {
        let (namespace, uid) = (pod.metadata.namespace.as_deref().unwrap_or_default(), view::uid(pod));
        for (_, name) in claims(pod)? {
            let done = self.held.lock().values().any(|h| h.name == name && h.namespace == namespace && h.pods.contains(uid));
            if !done {
                self.prepare_claim(client, namespace, &name, uid).await.map_err(|why| format!("claim {namespace}/{name}: {why}"))?;
            }
        }
        Ok(())
    }

    async fn prepare_claim(&self, client: &Client, namespace: &str, name: &str, pod: &str) -> Result<(), String> {
        let claim = client.get::<ResourceClaim>(namespace, name).await.map_err(|e| e.to_string())?;
        let claim_uid = claim.metadata.uid.clone().unwrap_or_default();
        let status = claim.status.unwrap_or_default();
        if !status.reserved_for.iter().flatten().any(|r| r.uid == pod) {
            return Err("it is not reserved for the pod".into());
        }
        let allocation = status.allocation.ok_or("it has no devices yet")?;
        let drivers: BTreeSet<&String> = allocation.devices.iter().flat_map(|d| d.results.iter().flatten()).map(|r| &r.driver).collect();
        let mut held =
            self.held.lock().get(&claim_uid).cloned().unwrap_or_else(|| Held { namespace: namespace.to_owned(), name: name.to_owned(), ..Held::default() });
        let reference = ClaimRef { namespace: namespace.to_owned(), name: name.to_owned(), uid: claim_uid.clone() };
        for driver in drivers {
            if held.devices.contains_key(driver) {
                continue;
            }
            let endpoint = self.endpoint(driver).await?;
            let ready = plugin::prepare(&endpoint, &reference).await.map_err(|why| format!("driver {driver}: {why}"))?;
            held.devices.insert(driver.clone(), ready);
        }
        held.pods.insert(pod.to_owned());
        let mut all = self.held.lock();
        all.insert(claim_uid, held);
        self.save(&all)
    }

    /// Uids of pods that have devices here.
    pub fn users(&self) -> BTreeSet<String> {
        self.held.lock().values().flat_map(|h| h.pods.clone()).collect()
    }

    /// Gives back what no pod on this node uses any more. What fails stays, and is tried again.
    pub async fn release(&self, pod: &str) -> Result<(), String> {
        let mine: Vec<(String, Held)> = self.held.lock().iter().filter(|(_, h)| h.pods.contains(pod)).map(|(uid, h)| (uid.clone(), h.clone())).collect();
        for (uid, held) in mine {
            if held.pods.len() == 1 {
                let reference = ClaimRef { namespace: held.namespace.clone(), name: held.name.clone(), uid: uid.clone() };
                for driver in held.devices.keys() {
                    let endpoint = self.endpoint(driver).await?;
                    plugin::unprepare(&endpoint, &reference).await.map_err(|why| format!("claim {}/{}: driver {driver}: {why}", held.namespace, held.name))?;
                }
            }
            let mut all = self.held.lock();
            if let Some(h) = all.get_mut(&uid) {
                h.pods.remove(pod);
                if h.pods.is_empty() {
                    all.remove(&uid);
                }
            }
            self.save(&all)?;
        }
        Ok(())
    }
}
