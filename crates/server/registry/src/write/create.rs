//! Creation.
use super::{
    decode::{self, Incoming},
    metadata,
    options::WriteOptions,
    persist::Change,
};
use crate::{
    registry::{Context, Registry},
    strategy::NameRule,
    value,
};
use skiff_json::Value;
use skiff_meta::{GroupVersion, Reason, Status};
use skiff_request::{Answer, Verb};

/// How many generated names are tried.
const NAMES: usize = 8;

impl Registry {
    pub(crate) async fn create(&self, ctx: &Context<'_>) -> Result<Answer, Status> {
        let options = WriteOptions::of(ctx.call)?;
        let mut incoming = decode::body(ctx, &options)?;
        decode::in_namespace(ctx, &mut incoming.value)?;
        self.create_value(ctx, &options, incoming).await
    }

    /// Creates a decoded object of the path's version; a generated name that is taken is generated anew.
    pub(crate) async fn create_value(&self, ctx: &Context<'_>, options: &WriteOptions, incoming: Incoming) -> Result<Answer, Status> {
        let kind = ctx.row.gvk(ctx.version());
        let Incoming { value: mut v, mut warnings, tracked, hollow, .. } = incoming;
        // Before anybody's fields are recorded: nobody owns what the server alone sets.
        for gone in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            value::remove(&mut v, &format!("metadata.{gone}"));
        }
        drop_foreign_managers(&mut v, &ctx.row.group);
        if ctx.call.verb != Verb::Patch {
            warnings.extend(metadata::dedup_owners(&mut v, metadata::Dedup::AsSent));
        }
        // An applied configuration may name the revision that it was read at.
        if tracked {
            value::remove(&mut v, "metadata.resourceVersion");
        }
        if let Some(read) = ctx.row.strategy.read {
            read(&mut v);
        }
        ctx.row.shape.default(&kind, &mut v, &self.now().to_string());
        ctx.row.pass_through(&mut v, &kind.group_version(), &ctx.row.working(ctx.version()));
        if !tracked {
            self.track_update(ctx, options, &mut v, None)?;
        }
        if hollow {
            ctx.row.shape.canonical(&kind, &mut v);
        }
        ctx.row.convert(&mut v, &GroupVersion::new(ctx.row.group.clone(), ctx.version().to_owned()), &ctx.row.working(ctx.version()));
        if ctx.row.custom.as_ref().is_some_and(|c| c.terminating) {
            let name = value::text(&v, "metadata.name");
            return Err(Status::forbidden(&ctx.row.group_resource(), name, "create not allowed while custom resource definition is terminating"));
        }
        let generated = value::text(&v, "metadata.name").is_empty() && !value::text(&v, "metadata.generateName").is_empty();
        for attempt in 0.. {
            let last = !generated || attempt + 1 == NAMES;
            let mut object = if last { std::mem::take(&mut v) } else { v.clone() };
            self.fill_in(ctx, &mut object);
            let change = Change { old: None, role: None, warnings: warnings.clone(), code: 201 };
            match self.persist(ctx, options, object, change).await {
                Err(s) if !last && s.is(Reason::AlreadyExists) => {}
                answer => return answer,
            }
        }
        Err(Status::internal("no generated name was free"))
    }

    /// What the server alone decides of a new object.
    fn fill_in(&self, ctx: &Context<'_>, v: &mut Value) {
        value::set(v, "metadata.uid", self.uid());
        value::set(v, "metadata.creationTimestamp", self.now().to_string());
        if value::text(v, "metadata.name").is_empty() {
            let base = value::text(v, "metadata.generateName").to_owned();
            if !base.is_empty() {
                let name = match ctx.row.strategy.name {
                    NameRule::Address => base,
                    _ => skiff_meta::generate_name(&base, || (self.options.random)()),
                };
                value::set(v, "metadata.name", name);
            }
        }
        if &*ctx.row.kind == "Namespace" && ctx.row.group.is_empty() {
            let name = value::text(v, "metadata.name").to_owned();
            crate::strategy::namespace::set_name_label(v, &name);
        }
    }
}

/// What managers own in versions of another group cannot be read, and goes.
fn drop_foreign_managers(v: &mut Value, group: &str) {
    let Some(all) = v.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) else { return };
    let sent = all.len();
    all.retain(|m| GroupVersion::parse(value::text(m, "apiVersion")).is_none_or(|gv| gv.group == *group));
    // An empty list that was sent resets what is managed; this one was not.
    if all.is_empty() && sent > 0 {
        value::remove(v, "metadata.managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn managers_of_other_groups_go() {
        let mut v = json!({"metadata": {"managedFields": [{"manager": "a", "apiVersion": "v1"}, {"manager": "b", "apiVersion": "apps/v1"}]}});
        drop_foreign_managers(&mut v, "apps");
        assert_eq!(v["metadata"]["managedFields"], json!([{"manager": "b", "apiVersion": "apps/v1"}]));
        drop_foreign_managers(&mut v, "batch");
        assert_eq!(v, json!({"metadata": {}}));
        let mut v = json!({"metadata": {"managedFields": []}});
        drop_foreign_managers(&mut v, "batch");
        assert_eq!(v, json!({"metadata": {"managedFields": []}}));
    }
}
