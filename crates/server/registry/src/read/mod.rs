//! Reads: one object, pages of a list, watches. All hand on the store's own bytes where the version asked for is the
//! stored one.

pub mod get;
pub mod list;
pub mod options;
pub mod token;
mod unreadable;
pub mod watch;

use crate::{body, registry::Registry, table::Resource};
use bytes::Bytes;
use skiff_json::Value;
use skiff_meta::{GroupVersion, Revision, Status};
use skiff_store::{Body, Entry};
use std::time::Duration;

/// How long a read waits for a revision from the future, as upstream's cache does.
const FRESH: Duration = Duration::from_secs(3);

/// Stored bytes in the version that is asked for. `written` is the revision that wrote them, which a deletion's event
/// does not show.
pub(crate) async fn view_of(row: &Resource, version: &str, bytes: &Bytes, revision: Revision, written: Revision) -> Result<Bytes, Status> {
    if !row.converts(version) && !row.rereads(written) {
        return Ok(bytes.clone());
    }
    let shown = || shown(row, version, bytes, written);
    let body = match row.converted().filter(|_| written != Revision::ZERO) {
        Some(kept) => kept.of(written, version, shown).await,
        None => shown().await,
    };
    let body = body.map_err(|failed| unreadable::one(row, bytes, written, failed))?;
    // What was never stored has no revision.
    Ok(if revision == Revision::ZERO { body::unstamped(&body) } else { body.stamped(revision) })
}

async fn shown(row: &Resource, version: &str, bytes: &Bytes, written: Revision) -> Result<Body, Status> {
    let to = GroupVersion::new(row.group.clone(), version.to_owned());
    let mut all = convert(row, vec![parse(row, bytes, written)?], &row.stored, &to).await?;
    let v = all.pop().ok_or_else(|| Status::internal("a conversion lost its object"))?;
    Ok(encoded(row, version, v))
}

pub(crate) async fn view(row: &Resource, version: &str, bytes: &Bytes, revision: Revision) -> Result<Bytes, Status> {
    view_of(row, version, bytes, revision, revision).await
}

/// The same for many at once: whoever converts is asked once.
pub(crate) async fn views(row: &Resource, version: &str, entries: &[Entry]) -> Result<Vec<Bytes>, Status> {
    if !row.converts(version) && !entries.iter().any(|e| row.rereads(e.revision)) {
        return Ok(entries.iter().map(|e| e.bytes.clone()).collect());
    }
    let to = GroupVersion::new(row.group.clone(), version.to_owned());
    let known: Vec<Option<Body>> = entries.iter().map(|e| row.converted()?.get(e.revision, version)).collect();
    let missing: Vec<&Entry> = entries.iter().zip(&known).filter(|(_, k)| k.is_none()).map(|(e, _)| e).collect();
    let all = missing.iter().map(|e| parse(row, &e.bytes, e.revision)).collect::<Result<Vec<_>, _>>()?;
    let all = convert(row, all, &row.stored, &to).await.map_err(|failed| unreadable::many(row, &missing, failed))?;
    let mut made = all.into_iter().zip(missing).map(|(v, e)| {
        let body = encoded(row, version, v);
        if let Some(kept) = row.converted() {
            kept.put(e.revision, version, body.clone());
        }
        body
    });
    let bodies = known.into_iter().map(|k| k.or_else(|| made.next()).ok_or_else(|| Status::internal("a conversion lost an object")));
    bodies.zip(entries).map(|(body, e)| Ok(body?.stamped(e.revision))).collect()
}

/// A stored object; of built-in kinds with its managed fields folded.
fn parse(row: &Resource, bytes: &Bytes, written: Revision) -> Result<Value, Status> {
    // What converts custom resources gets them as they are.
    let read = if row.custom.is_none() { skiff_meta::folded(bytes) } else { skiff_json::from_slice(bytes) };
    let mut v = read.map_err(|e| Status::internal(format!("decode stored {}: {e}", row.kind)))?;
    if row.rereads(written) {
        // What was stored before the stored version changed is still of the old one.
        let own = GroupVersion::parse(crate::value::text(&v, "apiVersion")).unwrap_or_else(|| row.stored.clone());
        row.shape.reread(&own.kind(row.kind.clone()), &mut v);
    }
    Ok(v)
}

fn encoded(row: &Resource, version: &str, mut v: Value) -> Body {
    row.shape.canonical(&row.gvk(version), &mut v);
    body::encode(&v)
}

/// From one version to another; what converts custom resources may be a webhook.
pub(crate) async fn convert(row: &Resource, mut all: Vec<Value>, from: &GroupVersion, to: &GroupVersion) -> Result<Vec<Value>, Status> {
    if let Some(custom) = &row.custom {
        return converted(row, custom, all, to).await;
    }
    if from == to {
        return Ok(all);
    }
    for v in &mut all {
        row.convert(v, from, to);
    }
    Ok(all)
}

/// Objects of a custom resource say themselves which version they are of.
async fn converted(row: &Resource, custom: &crate::table::Custom, mut all: Vec<Value>, to: &GroupVersion) -> Result<Vec<Value>, Status> {
    let wanted = to.to_string();
    let others: Vec<usize> = all.iter().enumerate().filter(|(_, v)| crate::value::text(v, "apiVersion") != wanted).map(|(i, _)| i).collect();
    let Some(converter) = &custom.converter else {
        let kind = to.kind(row.kind.clone());
        for v in all.iter_mut().filter(|v| crate::value::text(v, "apiVersion") != wanted) {
            v["apiVersion"] = wanted.as_str().into();
            row.shape.prune(&kind, v);
        }
        return Ok(all);
    };
    if others.is_empty() {
        return Ok(all);
    }
    let asked = others.iter().filter_map(|i| all.get(*i).cloned()).collect();
    for (i, mut v) in others.into_iter().zip(converter.convert(asked, to).await?) {
        row.shape.reread(&to.kind(row.kind.clone()), &mut v);
        if let Some(slot) = all.get_mut(i) {
            *slot = v;
        }
    }
    Ok(all)
}

/// A stored object in the version that it is worked on in.
pub(crate) async fn opened(row: &Resource, version: &str, entry: &Entry) -> Result<Value, Status> {
    let v = parse(row, &entry.bytes, entry.revision)?;
    let mut all = convert(row, vec![v], &row.stored, &row.working(version)).await?;
    all.pop().ok_or_else(|| Status::internal("a conversion lost its object"))
}

/// An object that was worked on, in the version that is stored.
pub(crate) async fn sealed(row: &Resource, version: &str, v: Value) -> Result<Value, Status> {
    let from = row.working(version);
    if from == row.stored {
        return Ok(v);
    }
    let mut all = convert(row, vec![v], &from, &row.stored).await?;
    let mut v = all.pop().ok_or_else(|| Status::internal("a conversion lost its object"))?;
    row.shape.canonical(&row.stored_gvk(), &mut v);
    Ok(v)
}

/// 504; who reads out of the store itself is not asked to try again soon.
fn too_new(row: &Resource, asked: Revision, current: Revision) -> Status {
    let mut s = Status::revision_too_large(asked.0, current.0);
    if row.strategy.uncached
        && let Some(details) = &mut s.details
    {
        details.retry_after_seconds = 0;
    }
    s
}

impl Registry {
    /// Waits for `asked` to be visible; 504 when it does not come.
    pub(crate) async fn await_revision(&self, row: &Resource, asked: Revision) -> Result<(), Status> {
        if asked <= self.store.revision() {
            return Ok(());
        }
        let begun = std::time::Instant::now();
        let waited = tokio::time::timeout(FRESH, self.store.wait_for(asked)).await;
        self.counts.waited(row, begun.elapsed());
        if waited.is_err() {
            return Err(too_new(row, asked, self.store.revision()));
        }
        Ok(())
    }
}
