//! The folder of manifests.
use crate::server::api::Api;
use crate::server::settings::Settings;
use skiff_controller::{Recorder, SystemClock};
use skiff_manifests::{Folder, run};
use skiff_meta::GroupVersionResource;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub fn follow(api: &Api, s: &Settings, tasks: &TaskTracker, stop: &CancellationToken) {
    let table = api.registry.table().clone();
    let resource_of = move |gv: &skiff_meta::GroupVersion, kind: &str| {
        let rows = table.rows();
        let found = rows.of_group(&gv.group).find(|r| r.kind == kind && r.serves(&gv.version) && r.computed.is_none())?;
        Some((GroupVersionResource::new(found.group.clone(), gv.version.clone(), found.plural.clone()), found.namespaced))
    };
    // For people to copy files to; that it cannot be made is told by who reads it.
    if let Err(e) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&s.manifests) {
        tracing::warn!(target: "manifests", folder = %s.manifests.display(), error = %e, "the folder of manifests could not be made");
    }
    let folder = Folder { path: s.manifests.clone(), resource_of: Arc::new(resource_of) };
    let client = api.master().named("skiff-manifests");
    let recorder = Recorder::new(client.clone(), "skiff-manifests", "", Arc::new(SystemClock));
    tasks.spawn(run(client, folder, recorder, stop.clone()));
}
