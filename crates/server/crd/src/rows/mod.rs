//! The row of a definition: one resource for each served version, with its names, subresources and columns.

mod columns;
mod compiled;
mod publish;
mod shape;

pub use compiled::{Compiled, Scale};
pub use shape::CustomShape;

use crate::definition::{Definition, Version};
use bytes::Bytes;
use skiff_meta::{GroupVersion, GroupVersionKind, Revision, version_priority};
use skiff_registry::{
    print::Columns,
    shape::Shape,
    strategy::{Strategy, generation},
    table::{ALL, Converted, Converter, Custom, READ_WRITE, Resource, Role, ScalePaths, Str, Subresource},
};
use skiff_store::Tier;
use std::sync::Arc;
use tokio::sync::watch;

/// What a row has that its definition does not say.
pub struct Facts {
    /// The definition's stored bytes.
    pub bytes: Bytes,
    /// See [`Custom::since`].
    pub since: Revision,
    pub retired: watch::Receiver<bool>,
    pub converter: Option<Arc<dyn Converter>>,
}

fn owned(text: &str) -> Str {
    text.to_owned().into()
}

/// None when nothing is served.
pub fn of(d: &Definition, facts: Facts) -> Option<Arc<Resource>> {
    let shape: Arc<dyn Shape> = Arc::new(CustomShape::new(facts.bytes, d.versions.iter().map(|v| v.name.as_str())));
    let stored = d.stored()?;
    let mut served: Vec<&Version> = d.versions.iter().filter(|v| v.served).collect();
    served.sort_by(|a, b| version_priority(&b.name).cmp(&version_priority(&a.name)).then_with(|| a.name.cmp(&b.name)));
    let preferred = *served.first()?;
    let base = base(d, stored, &served, shape);
    let converted = Arc::new(Converted::default());
    let custom = |warning, versions| Custom {
        since: facts.since,
        converter: facts.converter.clone(),
        converted: converted.clone(),
        terminating: d.terminating || d.deleting,
        retired: facts.retired.clone(),
        warning,
        list_kind: owned(&d.accepted.list_kind),
        versions,
    };
    let one = |v: &Version| {
        let mut row = as_version(base.clone(), v);
        row.custom = Some(custom(warning(d, v), Vec::new()));
        row
    };
    let versions = served.iter().map(|v| (owned(&v.name), Arc::new(one(v)))).collect();
    let mut row = one(preferred);
    row.custom = Some(custom(warning(d, preferred), versions));
    Some(Arc::new(row))
}

fn base(d: &Definition, stored: &Version, served: &[&Version], shape: Arc<dyn Shape>) -> Resource {
    Resource {
        group: owned(&d.group),
        kind: owned(&d.accepted.kind),
        plural: owned(&d.accepted.plural),
        singular: owned(&d.accepted.singular),
        short: d.accepted.short.iter().map(|s| owned(s)).collect(),
        categories: d.accepted.categories.iter().map(|s| owned(s)).collect(),
        namespaced: d.namespaced,
        versions: served.iter().map(|v| owned(&v.name)).collect(),
        stored: GroupVersion::new(d.group.clone(), stored.name.clone()),
        storage: format!("{}.{}", d.accepted.plural, d.group).into(),
        verbs: ALL,
        subresources: Vec::new(),
        columns: Columns::name_and_age(),
        fields: Vec::new(),
        strategy: Strategy { unconditional_update: false, metadata_twice: true, ..Strategy::default() },
        scale: ScalePaths::default(),
        tier: Tier::Durable,
        shape,
        convert: None,
        computed: None,
        custom: None,
    }
}

/// What differs between versions.
fn as_version(mut row: Resource, v: &Version) -> Resource {
    row.columns = columns::of(&v.columns);
    row.strategy.status = v.status;
    row.strategy.generation = Some(if v.status { generation::ON_CUSTOM } else { generation::ON_ALL });
    let sub = |name: &'static str, role, kind| Subresource { name: name.into(), role, kind, verbs: READ_WRITE };
    if v.status {
        row.subresources.push(sub("status", Role::Status, GroupVersionKind::new("", "", row.kind.clone())));
    }
    if let Some(s) = &v.scale {
        row.subresources.push(sub("scale", Role::Scale, GroupVersionKind::new("autoscaling", "v1", "Scale")));
        let path = |p: &str| -> Str { owned(p.strip_prefix('.').unwrap_or(p)) };
        row.scale = ScalePaths { desired: path(&s.desired), current: path(&s.current), selector: Some(path(&s.selector)) };
    }
    row
}

fn warning(d: &Definition, v: &Version) -> Option<Str> {
    if !v.deprecated {
        return None;
    }
    if let Some(own) = &v.warning {
        return Some(owned(own));
    }
    let kind = &d.accepted.kind;
    let mut text = format!("{}/{} {kind} is deprecated", d.group, v.name);
    let better = d.versions.iter().filter(|o| o.served && !o.deprecated && version_priority(&o.name) > version_priority(&v.name));
    if let Some(best) = better.max_by_key(|o| version_priority(&o.name)) {
        text += &format!("; use {}/{} {kind}", d.group, best.name);
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn versions_have_rows_of_their_own() {
        let v = json!({"spec": {"group": "g.io", "scope": "Namespaced", "versions": [
            {"name": "v1beta1", "served": true, "storage": true, "deprecated": true, "subresources": {"status": {}}},
            {"name": "v1", "served": true, "storage": false, "subresources": {"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}}},
            {"name": "v2", "served": false, "storage": false}]},
            "status": {"acceptedNames": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}}});
        let (_retire, retired) = watch::channel(false);
        let facts = Facts { bytes: Bytes::new(), since: Revision::ZERO, retired, converter: None };
        let row = of(&Definition::read(&v), facts).unwrap();
        assert_eq!((row.versions.len(), &*row.versions[0], &*row.stored.version, row.has_status()), (2, "v1", "v1beta1", false));
        let beta = row.at("v1beta1");
        assert!(beta.has_status() && beta.subresource("scale").is_none());
        assert_eq!(beta.custom.as_ref().unwrap().warning.as_deref(), Some("g.io/v1beta1 Thing is deprecated; use g.io/v1 Thing"));
        assert_eq!((&*row.scale.desired, row.scale.selector.as_deref()), ("spec.n", Some("")));
    }
}
