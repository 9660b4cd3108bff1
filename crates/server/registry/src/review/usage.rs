//! `metrics.k8s.io`: what nodes and pods use, made up out of measurements when somebody asks.
//! <https://github.com/kubernetes/metrics>
use crate::{
    print::Columns,
    registry::{Context, Registry},
    selection::Selection,
    shape::{self, Decoded, Published, Shape},
    table::{Computed, Resource, build},
};
use bytes::Bytes;
use skiff_json::{Value, json};
use skiff_meta::{Cause, GroupResource, GroupVersionKind, Head, Status, Timestamp};
use skiff_request::{Answer, ListAnswer, Verb};
use skiff_schema::Type;
use skiff_store::ListQuery;
use std::{collections::BTreeMap, sync::Arc};

pub const GROUP: &str = "metrics.k8s.io";
pub const VERSION: &str = "v1beta1";

/// What something used over a window of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// The end of the window.
    pub at: Timestamp,
    pub window_millis: u64,
    /// By container; a node is one without a name.
    pub parts: Vec<(String, Amounts)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Billionths of a core.
    pub nanocores: u64,
    pub bytes: u64,
}

/// Whoever measures.
#[async_trait::async_trait]
pub trait Usages: Send + Sync {
    /// By the node's name.
    async fn nodes(&self) -> BTreeMap<String, Usage>;
    /// By namespace and name. Pods that cannot be told of yet are left out.
    async fn pods(&self) -> BTreeMap<(String, String), Usage>;
}

/// The two resources.
pub(crate) fn rows(table: &crate::table::Table) -> Vec<Arc<Resource>> {
    let fields = |plural| table.get("", plural).map(|r| r.fields.clone()).unwrap_or_default();
    let row = |row: Resource, plural| {
        Arc::new(Resource {
            shape: Arc::new(Measured(shape::builtin())),
            columns: Columns::name_and_age(),
            fields: fields(plural),
            singular: "".into(),
            ..row.computed(Computed::Usage)
        })
    };
    vec![row(build::cluster(GROUP, VERSION, "NodeMetrics", "nodes"), "nodes"), row(build::namespaced(GROUP, VERSION, "PodMetrics", "pods"), "pods")]
}

fn amounts(a: Amounts) -> Value {
    json!({"cpu": format!("{}n", a.nanocores), "memory": format!("{}Ki", a.bytes / 1024)})
}

/// Go's text of a duration: `15.002s`, `1m0.5s`.
fn window(millis: u64) -> String {
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = format!("{}s", rest as f64 / 1000.0);
    if minutes == 0 { seconds } else { format!("{minutes}m{seconds}") }
}

/// The object of something whose own object is `head`.
fn object(kind: &GroupVersionKind, head: &Head, u: &Usage) -> Bytes {
    let mut metadata = json!({"name": head.name, "creationTimestamp": u.at.to_string()});
    if !head.namespace.is_empty() {
        metadata["namespace"] = head.namespace.clone().into();
    }
    if !head.labels.is_empty() {
        metadata["labels"] = json!(head.labels);
    }
    let mut v =
        json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata, "timestamp": u.at.to_string(), "window": window(u.window_millis)});
    if head.namespace.is_empty() {
        v["usage"] = u.parts.first().map_or_else(|| json!({}), |(_, a)| amounts(*a));
    } else {
        v["containers"] = u.parts.iter().map(|(name, a)| json!({"name": name, "usage": amounts(*a)})).collect();
    }
    v.to_string().into()
}

impl Registry {
    /// Serves `metrics.k8s.io` out of what `usages` measures.
    pub fn serve_usages(&self, usages: Arc<dyn Usages>) {
        if self.usages.set(usages).is_ok() {
            self.table.change(rows(&self.table), &[]);
        }
    }

    pub(super) async fn usage(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let Some(usages) = self.usages.get() else { return Err(crate::registry::no_such_resource()) };
        let (kind, selection) = (ctx.row.gvk(ctx.version()), Selection::of(ctx)?);
        let of_nodes = !ctx.row.namespaced;
        let prefix = format!("{}/{}", ctx.row.plural, if of_nodes || ctx.namespace().is_empty() { String::new() } else { format!("{}/", ctx.namespace()) });
        let found = selection.select(self.store.list(&ListQuery { prefix, ..Default::default() }).entries).await?;
        let (nodes, pods) = match of_nodes {
            true => (usages.nodes().await, BTreeMap::new()),
            false => (BTreeMap::new(), usages.pods().await),
        };
        let of = |h: &Head| if of_nodes { nodes.get(&h.name) } else { pods.get(&(h.namespace.clone(), h.name.clone())) };
        let heads = found.iter().filter_map(|e| Head::of(&e.bytes).ok());
        let mut items: Vec<Bytes> = heads.filter_map(|h| of(&h).map(|u| object(&kind, &h, u))).collect();
        if ctx.call.verb != Verb::Get {
            return Ok(Answer::List(ListAnswer {
                kind,
                items,
                revision: skiff_meta::Revision::ZERO,
                continue_token: String::new(),
                remaining: None,
                warnings: Vec::new(),
            }));
        }
        let name = if of_nodes { ctx.name().to_owned() } else { format!("{}/{}", ctx.namespace(), ctx.name()) };
        let bytes = items.pop().ok_or_else(|| Status::not_found(&GroupResource::new(GROUP, kind.kind.to_ascii_lowercase()), &name))?;
        Ok(Answer::Object { code: 200, kind, bytes, warnings: Vec::new() })
    }
}

/// Nobody writes these: there is only what documents tell of them.
struct Measured(Arc<dyn Shape>);

impl Shape for Measured {
    fn decode(&self, kind: &GroupVersionKind, media: &str, body: &[u8]) -> Result<Decoded, Status> {
        self.0.decode(kind, media, body)
    }
    fn decode_value(&self, kind: &GroupVersionKind, value: Value) -> Result<Decoded, Status> {
        self.0.decode_value(kind, value)
    }
    fn default(&self, _kind: &GroupVersionKind, _value: &mut Value, _now: &str) {}
    fn canonical(&self, _kind: &GroupVersionKind, _value: &mut Value) {}
    fn validate(&self, _kind: &GroupVersionKind, _subresource: &str, _new: &Value, _old: Option<&Value>) -> Vec<Cause> {
        Vec::new()
    }
    fn table(&self, _kind: &GroupVersionKind) -> Option<&'static Type> {
        None
    }
    fn merging(&self, kind: &GroupVersionKind) -> skiff_apply::Shape<'_> {
        self.0.merging(kind)
    }
    fn published(&self, kind: &GroupVersionKind, _v3: bool) -> Option<Published> {
        let text = |what: &str| json!({"type": "string", "description": what});
        let usage =
            json!({"type": "object", "description": "What is used: cpu and memory.", "additionalProperties": {"type": "string", "description": "A quantity."}});
        let mut properties = json!({"timestamp": {"type": "string", "format": "date-time", "description": "The end of the time that was measured."}, "window": text("How long was measured.")});
        let mut required = vec!["timestamp", "window"];
        if &*kind.kind == "NodeMetrics" {
            properties["usage"] = usage;
            required.push("usage");
        } else {
            let container = json!({"type": "object", "required": ["name", "usage"], "properties": {"name": text("The container."), "usage": usage}});
            properties["containers"] = json!({"type": "array", "description": "What each container uses.", "items": container});
            required.push("containers");
        }
        let schema = json!({"type": "object", "description": format!("{} is what was measured of resources in use.", kind.kind), "required": required, "properties": properties});
        Some(Published { schema, open: false, selectable: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn objects_are_as_metrics_servers_make_them() {
        let u = Usage { at: Timestamp(60), window_millis: 15_002, parts: vec![("c".into(), Amounts { nanocores: 7, bytes: 4096 })] };
        let pods = GroupVersionKind::new(GROUP, VERSION, "PodMetrics");
        let head = Head { name: "p".into(), namespace: "n".into(), ..Default::default() };
        let v: Value = skiff_json::from_slice(&object(&pods, &head, &u)).unwrap();
        assert_eq!(v["containers"], json!([{"name": "c", "usage": {"cpu": "7n", "memory": "4Ki"}}]));
        assert_eq!((&v["window"], &v["timestamp"], &v["apiVersion"]), (&json!("15.002s"), &json!("1970-01-01T00:01:00Z"), &json!("metrics.k8s.io/v1beta1")));
        let node: Value =
            skiff_json::from_slice(&object(&GroupVersionKind::new(GROUP, VERSION, "NodeMetrics"), &Head { name: "x".into(), ..Default::default() }, &u))
                .unwrap();
        assert_eq!(node["usage"]["cpu"], "7n");
        assert_eq!(window(60_500), "1m0.5s");
    }
}
