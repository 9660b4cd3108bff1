//! Building rows tersely: what most rows share is the default.
use super::{Computed, Convert, Field, Resource, Role, ScalePaths, Subresource};
use crate::{print::Columns, shape, strategy::Strategy};
use skiff_meta::{GroupVersion, GroupVersionKind};
use skiff_store::Tier;

pub const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
pub const READ_WRITE: &[&str] = &["get", "patch", "update"];

/// A namespaced resource of one version with every verb.
pub fn namespaced(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Resource {
    let storage = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    Resource {
        group: group.into(),
        kind: kind.into(),
        plural: plural.into(),
        singular: kind.to_ascii_lowercase().into(),
        short: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        versions: vec![version.into()],
        stored: GroupVersion::new(group, version),
        storage: storage.into(),
        verbs: ALL,
        subresources: Vec::new(),
        columns: Columns::name_and_age(),
        fields: Vec::new(),
        strategy: Strategy::default(),
        scale: ScalePaths::default(),
        tier: Tier::Durable,
        shape: shape::builtin(),
        convert: None,
        computed: None,
        custom: None,
    }
}

/// The same in cluster scope.
pub fn cluster(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Resource {
    Resource { namespaced: false, ..namespaced(group, version, kind, plural) }
}

impl Resource {
    pub fn short(mut self, names: &[&'static str]) -> Self {
        self.short = names.iter().map(|n| (*n).into()).collect();
        self
    }
    pub fn categories(mut self, names: &[&'static str]) -> Self {
        self.categories = names.iter().map(|n| (*n).into()).collect();
        self
    }
    /// Further served versions behind the preferred one.
    pub fn also(mut self, versions: &[&'static str]) -> Self {
        self.versions.extend(versions.iter().map(|v| (*v).into()));
        self
    }
    pub fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }
    pub fn stored_as(mut self, group: &'static str, version: &'static str, storage: &'static str, convert: Convert) -> Self {
        self.stored = GroupVersion::new(group, version);
        self.storage = storage.into();
        self.convert = Some(convert);
        self
    }
    pub fn sub(mut self, name: &'static str, role: Role, kind: (&'static str, &'static str, &'static str), verbs: &'static [&'static str]) -> Self {
        self.subresources.push(Subresource { name: name.into(), role, kind: GroupVersionKind::new(kind.0, kind.1, kind.2), verbs });
        self
    }
    /// The status subresource, of the resource's own kind.
    pub fn status(mut self) -> Self {
        let kind = GroupVersionKind::new("", "", self.kind.clone());
        self.subresources.push(Subresource { name: "status".into(), role: Role::Status, kind, verbs: READ_WRITE });
        self.strategy.status = true;
        self
    }
    pub fn scale(self) -> Self {
        self.sub("scale", Role::Scale, ("autoscaling", "v1", "Scale"), READ_WRITE)
    }
    pub fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }
    pub fn fields(mut self, fields: &[Field]) -> Self {
        self.fields = fields.to_vec();
        self
    }
    pub fn volatile(mut self) -> Self {
        self.tier = Tier::Volatile;
        self
    }
    pub fn computed(mut self, c: Computed) -> Self {
        self.computed = Some(c);
        self.verbs = if matches!(c, Computed::ComponentStatus | Computed::Usage) { &["get", "list"] } else { &["create"] };
        self
    }
    pub fn strategy(mut self, change: impl FnOnce(&mut Strategy)) -> Self {
        change(&mut self.strategy);
        self
    }
}
