//! The loop: which remotes there are, whether they answer, what they publish.
use super::{
    Aggregation, Route,
    available::{self, Finding},
    documents::{self, Known},
    remote::{Place, Remote},
};
use crate::connect::fetch;
use futures::{StreamExt, future::join_all, stream};
use skiff_json::{Value, json};
use skiff_meta::GroupVersionResource;
use skiff_policy::Lookup;
use skiff_request::{Call, Service, Target, Verb};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Remotes are looked at anew this often, and whenever an APIService, or with remotes a Service or its endpoints, changes.
const EVERY: Duration = Duration::from_secs(30);
/// A remote that takes longer to answer is unavailable.
const PATIENCE: Duration = Duration::from_secs(5);
/// Changes that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(50);
const GROUP: &str = "apiregistration.k8s.io";

impl Aggregation {
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut changes = self.changes();
        self.look().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick(), if !self.routes.load().is_empty() => {}
                next = changes.next() => match next {
                    Some(true) => tokio::time::sleep(SETTLE).await,
                    // A Service changed, and nobody's requests go anywhere.
                    Some(false) if self.routes.load().is_empty() => continue,
                    Some(false) => tokio::time::sleep(SETTLE).await,
                    None => changes = self.changes(),
                },
            }
            self.look().await;
        }
    }

    /// True for an APIService, false for what remotes depend on; ends when a watch does.
    fn changes(&self) -> stream::BoxStream<'static, bool> {
        let store = self.registry.store();
        let at = store.revision();
        let watch = |prefix: &str, own: bool| match store.watch(prefix, at) {
            Ok(w) => w.take_while(|e| std::future::ready(e.is_ok())).map(move |_| own).boxed(),
            Err(_) => stream::pending().boxed(),
        };
        stream::select_all([watch("apiservices.apiregistration.k8s.io/", true), watch("services/", false), watch("endpointslices.discovery.k8s.io/", false)])
            .boxed()
    }

    async fn look(&self) {
        let objects: Vec<Value> =
            Lookup::list(&*self.registry, "apiservices.apiregistration.k8s.io", "").iter().filter_map(|b| skiff_json::from_slice(b).ok()).collect();
        let before = self.routes.load_full();
        let mut routes: BTreeMap<Place, Arc<Route>> = BTreeMap::new();
        for remote in objects.iter().filter_map(Remote::of) {
            let same = before.get(&remote.place).filter(|r| r.remote == remote).cloned();
            let route = same.unwrap_or_else(|| {
                let tls = self.identity.tls(&remote.trust).map(Arc::new).map_err(|e| e.to_string());
                Arc::new(Route { remote: remote.clone(), tls })
            });
            routes.insert(remote.place, route);
        }
        self.known.lock().retain(|place, _| routes.contains_key(place));
        let all: Vec<Arc<Route>> = routes.values().cloned().collect();
        self.routes.store(Arc::new(routes));
        let findings = join_all(all.iter().map(|r| self.ask(r))).await;
        for (route, (finding, known)) in all.iter().zip(findings) {
            match known {
                Some(k) => drop(self.known.lock().insert(route.remote.place.clone(), Arc::new(k))),
                None => drop(self.known.lock().remove(&route.remote.place)),
            }
            if let Some(object) = objects.iter().find(|o| o["metadata"]["name"] == route.remote.name.as_str()) {
                self.tell(object, &finding).await;
            }
        }
        for object in objects.iter().filter(|o| Remote::of(o).is_none()) {
            let local = Finding { available: true, reason: "Local", message: "Local APIServices are always available".into() };
            self.tell(object, &local).await;
        }
    }

    async fn ask(&self, route: &Route) -> (Finding, Option<Known>) {
        let (r, root) = (&route.remote, route.remote.root());
        let backend = match self.backend(route) {
            Ok(b) => b,
            Err(finding) => return (finding, None),
        };
        let url = format!("https://{}{root}", backend.authority());
        let list = match tokio::time::timeout(PATIENCE, fetch(&backend, &root)).await {
            Ok(Ok(v)) => v,
            Ok(Err(why)) => return (Finding::undiscovered(&url, &why), None),
            Err(_) => return (Finding::undiscovered(&url, "context deadline exceeded"), None),
        };
        let document = |path: &'static str| {
            let backend = &backend;
            async move { tokio::time::timeout(PATIENCE, fetch(backend, path)).await.ok().and_then(Result::ok).unwrap_or_default() }
        };
        let (v2, v3) = (document("/openapi/v2").await, document("/openapi/v3").await);
        let hash = v3["paths"][root.trim_start_matches('/')]["serverRelativeURL"].as_str().and_then(|u| u.split_once("hash=")).map(|(_, h)| h.to_owned());
        let known =
            Known { version: documents::version_of(&list, &r.place), hash: hash.unwrap_or_default(), v2: documents::own_v2(&v2, &root).to_string().into() };
        (Finding::passed(), Some(known))
    }

    async fn tell(&self, object: &Value, finding: &Finding) {
        let now = self.registry.now().to_string();
        let Some(conditions) = available::conditions(object, finding, &now) else { return };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let target = Target::new(GroupVersionResource::new(GROUP, "v1", "apiservices"), "", name).sub("status");
        let uid = &object["metadata"]["uid"];
        let mut call = Call::new(Verb::Patch, target).body(json!({"metadata": {"uid": uid}, "status": {"conditions": conditions}}).to_string());
        call.content_type = "application/merge-patch+json".into();
        call.user_agent = "kube-apiserver".into();
        if let Err(status) = self.registry.serve(crate::bootstrap::server_user(), call).await {
            tracing::debug!(target: "api", %name, why = status.message, "the condition of an APIService could not be written");
        }
    }
}
