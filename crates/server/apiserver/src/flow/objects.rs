//! The stored FlowSchemas and PriorityLevelConfigurations: followed, kept as they should be, told their conditions.
use super::Flow;
use crate::bootstrap::{AGENT, server_user};
use futures::{StreamExt, stream};
use skiff_flowcontrol::{
    Configuration,
    upkeep::{self, Action, Brake, Kind},
};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionKind, GroupVersionResource, Reason, Status};
use skiff_policy::Lookup;
use skiff_registry::Registry;
use skiff_request::{Call, Service, Target, Verb};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Managers of what is written here, as upstream calls them.
const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";
/// The objects of the first start are looked at this often.
const ENSURE_EVERY: Duration = Duration::from_secs(60);

fn target(kind: Kind, name: &str) -> Target {
    Target::new(GroupVersionResource::new(GROUP, "v1", kind.resource()), "", name)
}

fn all(registry: &Registry, kind: Kind) -> Vec<Value> {
    let bytes = Lookup::list(registry, &format!("{}.{GROUP}", kind.resource()), "");
    bytes.iter().filter_map(|b| skiff_json::from_slice(b).ok()).collect()
}

/// What is declared at present.
pub(super) fn stored(registry: &Registry) -> Configuration {
    Configuration::read(&all(registry, Kind::Schema), &all(registry, Kind::Level))
}

/// Takes changes in and keeps the objects until `stop`.
pub(crate) async fn follow(flow: Arc<Flow>, registry: Arc<Registry>, stop: CancellationToken) {
    let mut changes = watch(&registry);
    let mut ensure = tokio::time::interval(ENSURE_EVERY);
    ensure.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut brake, begun) = (Brake::default(), tokio::time::Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ensure.tick() => kept(&registry).await,
            next = changes.next() => match next {
                Some(()) => {}
                None => changes = watch(&registry),
            },
        }
        flow.control.configure(stored(&registry));
        conditions(&registry, &mut brake, begun.elapsed()).await;
    }
}

/// Ends when a watch does.
fn watch(registry: &Registry) -> stream::BoxStream<'static, ()> {
    let at = registry.store().revision();
    let one = |kind: Kind| match registry.store().watch(&format!("{}.{GROUP}/", kind.resource()), at) {
        Ok(w) => w.map(|e| e.is_ok()).chain(stream::iter([false])).boxed(),
        Err(_) => stream::pending().boxed(),
    };
    // Many changes at once are one.
    let both = stream::select(one(Kind::Level), one(Kind::Schema)).take_while(|goes_on| std::future::ready(*goes_on));
    both.ready_chunks(64).map(|_| ()).boxed()
}

async fn kept(registry: &Registry) {
    for kind in [Kind::Level, Kind::Schema] {
        for action in upkeep::plan(kind, &all(registry, kind), &|wanted, stored| same(registry, kind, wanted, stored)) {
            if let Err(why) = act(registry, action).await.or_else(raced) {
                tracing::warn!(target: "api", resource = kind.resource(), why = why.message, "an object of flow control could not be kept as it should be");
            }
        }
    }
}

/// Somebody else was faster: it is looked at again in a minute.
fn raced(s: Status) -> Result<(), Status> {
    if s.is(Reason::Conflict) || s.is(Reason::AlreadyExists) || s.is(Reason::NotFound) { Ok(()) } else { Err(s) }
}

fn same(registry: &Registry, kind: Kind, wanted: &Value, stored: &Value) -> bool {
    let name = if kind == Kind::Level { "PriorityLevelConfiguration" } else { "FlowSchema" };
    let kind_of = GroupVersionKind::new(GROUP, "v1", name);
    let complete = registry.complete(&target(kind, ""), json!({"metadata": {"name": "x"}, "spec": wanted}), &kind_of);
    complete.is_ok_and(|v| v["spec"] == *stored)
}

async fn act(registry: &Registry, action: Action) -> Result<(), Status> {
    let name = |v: &Value| v["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let call = match action {
        Action::Create(kind, v) => Call::new(Verb::Create, target(kind, "")).body(v.to_string()),
        Action::Update(kind, v) => Call::new(Verb::Update, target(kind, &name(&v))).body(v.to_string()),
        Action::Delete(kind, name) => Call::new(Verb::Delete, target(kind, &name)),
    };
    let mut call = call.query("fieldManager", PRODUCER);
    call.user_agent = AGENT.into();
    registry.serve(server_user(), call).await.map(drop)
}

/// Writes the conditions that are not as they should be. What the brake holds back is looked at again with the next change
/// or round.
async fn conditions(registry: &Registry, brake: &mut Brake, since: Duration) {
    let (levels, now) = (all(registry, Kind::Level), registry.now().to_string());
    for schema in all(registry, Kind::Schema) {
        let level = &schema["spec"]["priorityLevelConfiguration"]["name"];
        let Some(condition) = upkeep::dangling(&schema, levels.iter().any(|l| l["metadata"]["name"] == *level), &now) else { continue };
        let name = schema["metadata"]["name"].as_str().unwrap_or_default();
        if !brake.may_write(name, since) {
            continue;
        }
        let body = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "FlowSchema", "metadata": {"name": name}, "status": {"conditions": [condition]}});
        let mut call =
            Call::new(Verb::Patch, target(Kind::Schema, name).sub("status")).body(body.to_string()).query("fieldManager", CONSUMER).query("force", "true");
        call.content_type = "application/apply-patch+yaml".into();
        call.user_agent = AGENT.into();
        if let Err(why) = registry.serve(server_user(), call).await.map(drop).or_else(raced) {
            tracing::warn!(target: "api", name, why = why.message, "the condition of a FlowSchema could not be written");
        }
    }
}

/// Makes the objects of the first start that are missing.
pub(crate) async fn create(service: &dyn Service) -> Result<(), Status> {
    for kind in [Kind::Level, Kind::Schema] {
        let make = |action| async move {
            let Action::Create(_, v) = action else { return Ok(()) };
            let mut call = Call::new(Verb::Create, target(kind, "")).body(v.to_string()).query("fieldManager", PRODUCER);
            call.user_agent = AGENT.into();
            match service.serve(server_user(), call).await {
                Err(s) if !s.is(Reason::AlreadyExists) => Err(s),
                _ => Ok(()),
            }
        };
        futures::future::try_join_all(upkeep::plan(kind, &[], &|_, _| true).into_iter().map(make)).await?;
    }
    Ok(())
}
