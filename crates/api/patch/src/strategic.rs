//! Strategic merge patch: maps.
//! <https://git.k8s.io/community/contributors/devel/sig-api-machinery/strategic-merge-patch.md>
use crate::{PatchError, list, order};
use skiff_json::{Map, Value};
use skiff_schema::{Field, Kind, Patch, Ty, Type};

pub(crate) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
pub(crate) const SET_ORDER: &str = "$setElementOrder/";

/// What a strategic merge knows of a value: its type and the markers of the field that holds it.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub ty: Option<&'static Type>,
    /// The values of a map, when it is one.
    pub values: Option<&'static Ty>,
    pub patch: Patch,
    pub merge_key: &'static str,
}

impl Facts {
    const NONE: Facts = Facts { ty: None, values: None, patch: Patch { merge: false, retain_keys: false, replace: false }, merge_key: "" };

    fn of_type(ty: &'static Type) -> Self {
        Facts { ty: Some(ty), ..Self::NONE }
    }
    fn of_ty(ty: &'static Ty) -> Self {
        match ty.kind {
            Kind::Ref(t) => Self::of_type(t),
            Kind::List(item) => Self::of_ty(item),
            Kind::Map(m) => Facts { values: Some(&m.value), ..Self::NONE },
            _ => Self::NONE,
        }
    }
    fn of_field(f: &'static Field) -> Self {
        Facts { patch: f.patch, merge_key: f.merge_key(), ..Self::of_ty(&f.ty) }
    }
    pub fn field(&self, name: &str) -> Facts {
        if let Some(f) = self.ty.and_then(|t| t.field(name)) {
            return Self::of_field(f);
        }
        self.values.map_or(Self::NONE, Self::of_ty)
    }
    /// The items of a list: the same type, without the list's markers.
    pub fn item(&self) -> Facts {
        Facts { ty: self.ty, values: self.values, ..Self::NONE }
    }
}

/// Applies `patch` onto `target`, an object of type `ty`.
pub fn strategic_patch(target: &Value, patch: &Value, ty: &'static Type) -> Result<Value, PatchError> {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(PatchError::Malformed("a strategic merge patch must be an object".into()));
    };
    merge_map(target, patch, Facts::of_type(ty)).map(Value::Object)
}

pub(crate) fn merge_map(target: &Map, patch: &Map, facts: Facts) -> Result<Map, PatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch.iter().filter(|(k, _)| *k != DIRECTIVE).map(|(k, v)| (k.clone(), v.clone())).collect()),
            Some("delete") => Ok(Map::new()),
            Some("merge") => {
                let rest: Map = patch.iter().filter(|(k, _)| *k != DIRECTIVE).map(|(k, v)| (k.clone(), v.clone())).collect();
                merge_map(target, &rest, facts)
            }
            _ => Err(PatchError::Unknown(format!("unknown patch type: {} in map: {}", shown(directive), shown(&Value::Object(patch.clone()))))),
        };
    }
    let mut out = target.clone();
    retain_keys(&mut out, patch)?;
    for (key, order) in patch.iter().filter_map(|(k, v)| Some((k.strip_prefix(SET_ORDER)?, v))) {
        let merged = order::merge_ordered(out.get(key), patch.get(key), order, facts.field(key), key)?;
        match merged {
            Some(v) => drop(out.insert(key.to_owned(), v)),
            None => drop(out.shift_remove(key)),
        }
    }
    // All at once: each alone would move those behind it.
    let taken = |key: &str| patch.get(key).is_some_and(Value::is_null);
    if patch.values().any(Value::is_null) {
        out.retain(|key, _| !taken(key));
    }
    for (key, value) in patch {
        if key == RETAIN_KEYS || key.starts_with(SET_ORDER) || (patch.contains_key(&format!("{SET_ORDER}{key}")) && value.is_array()) {
            continue;
        }
        if let Some(field) = key.strip_prefix(DELETE_PRIMITIVES) {
            list::delete_primitives(&mut out, field, value)?;
        } else {
            merge_field(&mut out, key, value, facts.field(key))?;
        }
    }
    Ok(out)
}

/// A value as Go prints it with `%v`.
pub fn shown(v: &Value) -> String {
    match v {
        Value::Null => "<nil>".into(),
        Value::String(s) => s.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<_, _> = map.iter().collect();
            format!("map[{}]", sorted.into_iter().map(|(k, v)| format!("{k}:{}", shown(v))).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

fn merge_field(out: &mut Map, key: &str, value: &Value, facts: Facts) -> Result<(), PatchError> {
    if value.is_null() {
        out.shift_remove(key);
        return Ok(());
    }
    let merged = match (out.get(key), value) {
        (Some(Value::Object(old)), Value::Object(new)) if !facts.patch.replace => Value::Object(merge_map(old, new, facts)?),
        (None | Some(Value::Null), Value::Object(new)) => Value::Object(merge_map(&Map::new(), new, facts)?),
        (Some(Value::Array(old)), Value::Array(new)) if facts.patch.merge => Value::Array(list::merge_list(old, new, facts)?),
        (_, Value::Array(new)) => Value::Array(list::without_directives(new, facts)?),
        _ => value.clone(),
    };
    out.insert(key.to_owned(), merged);
    Ok(())
}

/// `$retainKeys`: only these keys of the target stay.
fn retain_keys(out: &mut Map, patch: &Map) -> Result<(), PatchError> {
    let Some(keep) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keep: Vec<&str> =
        keep.as_array().ok_or_else(|| PatchError::Malformed("invalid patch format of retainKeys".into()))?.iter().filter_map(Value::as_str).collect();
    for (k, v) in patch.iter().filter(|(k, _)| !k.starts_with('$')) {
        if !v.is_null() && !keep.contains(&k.as_str()) {
            return Err(PatchError::Malformed("retainKeys list doesn't contain all the keys present in the patch".into()));
        }
    }
    out.retain(|k, _| keep.contains(&k.as_str()));
    Ok(())
}
