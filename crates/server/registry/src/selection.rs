//! What a list or a watch is narrowed to.
use crate::{registry::Context, table::Resource};
use skiff_meta::{FieldSelector, GroupVersionKind, LabelSelector, Status};
use skiff_store::Entry;
use std::sync::Arc;

pub(crate) struct Selection {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    /// Reads fields that the index has not: those that a definition of a custom resource names.
    custom: Option<(Arc<Resource>, GroupVersionKind)>,
}

impl Selection {
    /// Reads `labelSelector`, `fieldSelector` and the name of the path.
    pub fn of(ctx: &Context<'_>) -> Result<Self, Status> {
        let q = &ctx.call.query;
        let text = |key| q.get(key).unwrap_or_default();
        let labels = LabelSelector::parse(text("labelSelector")).map_err(|e| {
            // A deletion of many reads its selector apart from the others.
            let lead = if ctx.call.verb == skiff_request::Verb::DeleteCollection { "" } else { "unable to parse requirement: " };
            Status::bad_request(format!("{lead}{e}"))
        })?;
        let mut fields = FieldSelector::parse(text("fieldSelector")).map_err(|e| Status::bad_request(e.to_string()))?;
        for (path, _, _) in &fields.terms {
            if !selectable(ctx, path) {
                return Err(Status::bad_request(unknown_field(ctx.row, path)));
            }
        }
        if !ctx.name().is_empty() {
            if fields.required("metadata.name").is_some_and(|n| n != ctx.name()) {
                return Err(Status::bad_request("field selector metadata.name does not match the name of the path"));
            }
            fields.terms.push(("metadata.name".into(), ctx.name().to_owned(), true));
        }
        let custom = fields.terms.iter().any(|(path, _, _)| ctx.row.shape.selects(&ctx.row.gvk(ctx.version()), path));
        Ok(Self { labels, fields, custom: custom.then(|| (ctx.row.clone(), ctx.row.gvk(ctx.version()))) })
    }
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
    /// What of `all` is selected. Fields of custom resources are those of the version that is asked for.
    pub async fn select(&self, mut all: Vec<Entry>) -> Result<Vec<Entry>, Status> {
        all.retain(|e| self.labels.matches_with(|k| e.row.label(k)));
        let Some((row, kind)) = &self.custom else {
            all.retain(|e| self.fields.matches_with(|path| field(e, path)));
            return Ok(all);
        };
        let seen = crate::read::views(row, &kind.version, &all).await?;
        Ok(all.into_iter().zip(seen).filter(|(e, bytes)| self.fields_match(row, kind, e, bytes)).map(|(e, _)| e).collect())
    }
    pub async fn matches(&self, e: &Entry) -> Result<bool, Status> {
        Ok(!self.select(vec![e.clone()]).await?.is_empty())
    }
    fn fields_match(&self, row: &Resource, kind: &GroupVersionKind, e: &Entry, bytes: &[u8]) -> bool {
        let Ok(v) = skiff_json::from_slice(bytes) else { return false };
        let read = |path: &str| if row.shape.selects(kind, path) { row.shape.selected(kind, &v, path) } else { field(e, path).unwrap_or_default().to_owned() };
        self.fields.terms.iter().all(|(path, value, equal)| (read(path) == *value) == *equal)
    }
}

/// Kinds without fields of their own share one check upstream, with a text of its own.
fn unknown_field(row: &Resource, path: &str) -> String {
    if row.custom.is_none() && row.fields.is_empty() {
        return format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    }
    match (&*row.group, &*row.kind) {
        ("batch", "Job") => format!("field label {path:?} not supported for Job"),
        ("resource.k8s.io", "ResourceSlice") => format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {path}"),
        _ => format!("field label not supported: {path}"),
    }
}

fn selectable(ctx: &Context<'_>, path: &str) -> bool {
    let row = ctx.row;
    row.shape.selects(&row.gvk(ctx.version()), path)
        || path == "metadata.name"
        || (path == "metadata.namespace" && ((row.namespaced && &*row.kind != "PodCertificateRequest") || (row.custom.is_none() && row.fields.is_empty())))
        || row.fields.iter().any(|f| f.path == path)
}

fn field<'e>(e: &'e Entry, path: &str) -> Option<&'e str> {
    match path {
        "metadata.name" => Some(e.name()),
        "metadata.namespace" => Some(e.namespace()),
        // The row that owns the storage may call the field otherwise.
        _ => e.row.field(path).or_else(|| e.row.field(alias(path)?)),
    }
}

/// Fields of events.k8s.io under the names of the core Event that is stored.
fn alias(path: &str) -> Option<&'static str> {
    Some(match path {
        "regarding.kind" => "involvedObject.kind",
        "regarding.namespace" => "involvedObject.namespace",
        "regarding.name" => "involvedObject.name",
        "regarding.uid" => "involvedObject.uid",
        "regarding.apiVersion" => "involvedObject.apiVersion",
        "regarding.resourceVersion" => "involvedObject.resourceVersion",
        "regarding.fieldPath" => "involvedObject.fieldPath",
        "reportingController" => "reportingComponent",
        _ => return None,
    })
}
