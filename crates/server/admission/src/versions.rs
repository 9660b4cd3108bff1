//! The object of a request in the versions that webhooks and policies want to see it in.
use skiff_json::Value;
use skiff_meta::{GroupVersionKind, Status, unfold};
use skiff_policy::Attributes;

/// Old and new object as one kind.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub kind: GroupVersionKind,
    pub object: Option<Value>,
    pub old: Option<Value>,
}

/// Views made so far; forgotten when the object changes.
#[derive(Default)]
pub(crate) struct Views(Vec<std::sync::Arc<View>>);

impl Views {
    pub async fn of(&mut self, a: &Attributes<'_>, kind: &GroupVersionKind) -> Result<std::sync::Arc<View>, Status> {
        if let Some(known) = self.0.iter().find(|v| v.kind == *kind) {
            return Ok(known.clone());
        }
        let object = optional(a, a.object.as_deref(), kind).await?;
        let view = std::sync::Arc::new(View { kind: kind.clone(), object, old: optional(a, a.old, kind).await? });
        self.0.push(view.clone());
        Ok(view)
    }
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

async fn optional(a: &Attributes<'_>, v: Option<&Value>, to: &GroupVersionKind) -> Result<Option<Value>, Status> {
    match v {
        Some(v) => {
            let mut v = v.clone();
            unfold(&mut v);
            converted(a, v, a.kind, to).await.map(Some)
        }
        None => Ok(None),
    }
}

async fn converted(a: &Attributes<'_>, v: Value, from: &GroupVersionKind, to: &GroupVersionKind) -> Result<Value, Status> {
    if from == to { Ok(v) } else { a.lookup.convert(a.target, v, from, to).await }
}

/// Puts a changed object of `kind` in the request's place: completed, and in the version that the request carries.
/// Gives whether that changed anything.
pub(crate) async fn replace(a: &mut Attributes<'_>, kind: &GroupVersionKind, changed: Value) -> Result<bool, Status> {
    let v = a.lookup.complete(a.target, changed, kind)?;
    let v = converted(a, v, kind, a.kind).await?;
    let Some(object) = a.object.as_deref_mut() else { return Ok(false) };
    unfold(object);
    let differs = *object != v;
    *object = v;
    Ok(differs)
}
