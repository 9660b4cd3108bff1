//! What a list or a watch is narrowed to.
use crate::{registry::Context, table::Resource};
use skiff_meta::{FieldSelector, LabelSelector, Status};
use skiff_store::Entry;

pub(crate) struct Selection {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Selection {
    /// Reads `labelSelector`, `fieldSelector` and the name of the path.
    pub fn of(ctx: &Context<'_>) -> Result<Self, Status> {
        let q = &ctx.call.query;
        let text = |key| q.get(key).unwrap_or_default();
        let labels = LabelSelector::parse(text("labelSelector")).map_err(|e| {
            Status::bad_request(format!("unable to parse requirement: {e}"))
        })?;
        let mut fields = FieldSelector::parse(text("fieldSelector")).map_err(|e| Status::bad_request(e.to_string()))?;
        for (path, _, _) in &fields.terms {
            if !selectable(ctx.row, path) {
                return Err(Status::bad_request(format!("field label not supported: {path}")));
            }
        }
        if !ctx.name().is_empty() {
            if fields.required("metadata.name").is_some_and(|n| n != ctx.name()) {
                return Err(Status::bad_request("field selector metadata.name does not match the name of the path"));
            }
            fields.terms.push(("metadata.name".into(), ctx.name().to_owned(), true));
        }
        Ok(Self { labels, fields })
    }
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
    pub fn matches(&self, e: &Entry) -> bool {
        self.labels.matches_with(|k| e.row.label(k)) && self.fields.matches_with(|path| field(e, path))
    }
}

fn selectable(row: &Resource, path: &str) -> bool {
    path == "metadata.name" || (path == "metadata.namespace" && row.namespaced) || row.fields.iter().any(|f| f.path == path)
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
