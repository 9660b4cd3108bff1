//! What the loops around the plans share: reading, writing, and being woken.
mod pods;
mod wake;
mod write;

pub(crate) use pods::{PodControl, namespace_ends, slow_start};
pub(crate) use wake::{by_uid, index_uids, wake_owner, wake_self};
pub(crate) use write::{edit, owned, put_status};

use skiff_client::Client;
use skiff_controller::{Clock, Recorder};
use skiff_informer::{Informer, Informers, Selection};
use skiff_meta::GroupVersionResource;
use std::sync::Arc;

use crate::view::Time;

/// What one controller works with.
#[derive(Clone)]
pub(crate) struct Deps {
    pub client: Client,
    pub informers: Informers,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
}

impl Deps {
    pub(crate) fn informer(&self, resource: &GroupVersionResource) -> Arc<Informer> {
        self.informers.raw(Selection::of(resource.clone()))
    }
    pub(crate) fn now(&self) -> Time {
        Time(self.clock.seconds().0)
    }
}

/// The resources that workloads are made of.
pub(crate) mod resource {
    use skiff_meta::GroupVersionResource;

    pub(crate) fn core(resource: &'static str) -> GroupVersionResource {
        GroupVersionResource::new("", "v1", resource)
    }
    pub(crate) fn apps(resource: &'static str) -> GroupVersionResource {
        GroupVersionResource::new("apps", "v1", resource)
    }
    pub(crate) fn batch(resource: &'static str) -> GroupVersionResource {
        GroupVersionResource::new("batch", "v1", resource)
    }
    pub(crate) fn policy(resource: &'static str) -> GroupVersionResource {
        GroupVersionResource::new("policy", "v1", resource)
    }
}
