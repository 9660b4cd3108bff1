//! Keeps the history.
use super::{Choice, Keeper, Revision, choose, data, sort};
use crate::{
    claim::{Claim, adoption, claim},
    hash::template_hash,
    shell::{Deps, edit, resource},
};
use skiff_client::{DeleteOptions, PatchBody, Target};
use skiff_controller::{At, Expectations, Failed};
use skiff_informer::{Informer, Row};
use skiff_json::{Value, json};
use skiff_meta::{Reason, Status};
use std::sync::Arc;

pub(crate) struct Revisions {
    deps: Deps,
    pub rows: Arc<Informer>,
    wrote: Expectations,
}

const TRIES: i64 = 20;

fn read(bytes: &[u8]) -> Result<Revision, Status> {
    skiff_json::from_slice(bytes).map_err(|e| Status::internal(format!("read a revision: {e}")))
}

impl Revisions {
    pub(crate) fn new(deps: &Deps) -> Self {
        Self { deps: deps.clone(), rows: deps.informer(&resource::apps("controllerrevisions")), wrote: Expectations::new() }
    }
    /// Whether the informer shows what was written for `key`.
    pub(crate) fn settled(&self, key: &str) -> bool {
        self.wrote.met(key, &self.rows)
    }
    pub(crate) fn forget(&self, key: &str) {
        self.wrote.forget(key);
    }
    /// All revisions of the keeper, oldest first, the newest being the one of its template; and the collision count.
    pub(crate) async fn keep(&self, k: &Keeper<'_>) -> Result<(Vec<Revision>, i64), Failed> {
        let mut all = self.owned(k).await?;
        sort(&mut all);
        let data = data(k.template);
        let mut collisions = k.collisions.unwrap_or(0);
        match choose(&all, &data) {
            Choice::Newest => {}
            Choice::Renumber(i, number) => {
                let mut r = all.remove(i);
                self.renumber(k, &r, number).await?;
                r.revision = number;
                all.push(r);
            }
            Choice::Create(number) => all.push(self.create(k, &data, number, &mut collisions).await?),
        }
        Ok((all, collisions))
    }
    async fn owned(&self, k: &Keeper<'_>) -> Result<Vec<Revision>, Failed> {
        let selector = k.selector.parsed();
        let mut rows = self.rows.owned_by(&k.meta.uid.as_str().into());
        let mut orphans = self.rows.rows(&k.meta.namespace, &selector);
        orphans.retain(|r| r.controller().is_none());
        rows.extend(orphans);
        let reference = k.meta.controller_ref(k.api_version, k.kind);
        let mut all = Vec::new();
        for row in rows {
            let mut r = read(&row.bytes).at("read", &row.key)?;
            match claim(k.meta, &selector, &r.metadata) {
                Claim::Owned => {}
                Claim::Adopt => {
                    let patch = PatchBody::merge(&adoption(&r.metadata, &reference, None));
                    let target = Target::new(resource::apps("controllerrevisions"), row.namespace(), row.name());
                    r = read(&self.deps.client.patch_bytes(target, patch).await.at("adopt", &row.key)?).at("read", &row.key)?;
                }
                _ => continue,
            }
            all.push(r);
        }
        Ok(all)
    }
    async fn renumber(&self, k: &Keeper<'_>, r: &Revision, number: i64) -> Result<(), Failed> {
        let Some(row) = self.rows.row_at(&r.metadata.key()) else { return Ok(()) };
        let bytes = edit(&self.deps.client, &resource::apps("controllerrevisions"), &row, |v| v["revision"] = number.into()).await?;
        self.note(k, &bytes)
    }
    fn note(&self, k: &Keeper<'_>, bytes: &bytes::Bytes) -> Result<(), Failed> {
        let row = Row::of(bytes.clone()).at("read", k.meta.key())?;
        self.wrote.wrote(&k.meta.key(), &row.revision.to_string());
        Ok(())
    }
    /// Named by hash; on a collision with other data the next hash is tried.
    async fn create(&self, k: &Keeper<'_>, data: &Value, number: i64, collisions: &mut i64) -> Result<Revision, Failed> {
        for _ in 0..TRIES {
            let hash = template_hash(data, Some(*collisions));
            let object = object(k, data, number, &hash);
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let target = Target::new(resource::apps("controllerrevisions"), k.meta.namespace.as_str(), "");
            match self.deps.client.create_bytes(target.clone(), object.to_string()).await {
                Ok(bytes) => {
                    self.note(k, &bytes)?;
                    return read(&bytes).at("read revision", name);
                }
                Err(e) if e.is(Reason::AlreadyExists) => {
                    let there = self.deps.client.get_bytes(Target { name: name.into(), ..target }).await.at("get revision", name)?;
                    let there = read(&there).at("read revision", name)?;
                    if there.same(data) && there.metadata.controlled_by(&k.meta.uid) {
                        return Ok(there);
                    }
                    *collisions += 1;
                }
                Err(e) => return Err(e).at("create revision", name),
            }
        }
        Err(Status::internal("too many revisions of the same hash")).at("create a revision of", k.meta.key())
    }
    pub(crate) async fn delete(&self, revisions: &[&Revision]) -> Result<(), Failed> {
        for r in revisions {
            let target = Target::new(resource::apps("controllerrevisions"), r.metadata.namespace.as_str(), r.metadata.name.as_str());
            match self.deps.client.delete_target(target, &DeleteOptions::default()).await {
                Err(e) if !e.is(Reason::NotFound) => return Err(e).at("delete revision", r.metadata.key()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn object(k: &Keeper<'_>, data: &Value, number: i64, hash: &str) -> Value {
    let mut labels = k.template["metadata"]["labels"].clone();
    labels[k.hash_label] = hash.into();
    let mut prefix = k.meta.name.clone();
    prefix.truncate(223);
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{prefix}-{hash}"), "namespace": k.meta.namespace, "labels": labels, "annotations": k.meta.annotations,
            "ownerReferences": [k.meta.controller_ref(k.api_version, k.kind)],
        },
        "data": data, "revision": number,
    })
}
