//! Upstream's defaults: what an object says once the server has filled in what the writer left out.
//!
//! One walk over the object by the tables. At each struct, the function of its type runs first (upstream's
//! SetDefaults_*), then the `+default` markers of its fields, then the fields themselves: the order of upstream's
//! generated defaulters. What registries do when an object is created (names, node ports, generations) is not here.

mod autoscaling;
mod core;
mod extension;
mod fields;
mod pod;
mod services;
mod workloads;

use skiff_json::{Map, Value};
use skiff_schema::{Field, Kind, Ty, Type};
use std::borrow::Cow;

use fields::FieldsExt;

/// What defaulting takes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The present time as RFC 3339 with seconds.
    pub now: &'a str,
}

/// Fills in the defaults of an object of a known type, in canonical form.
pub fn apply(ty: &'static Type, object: &mut Value, context: Context<'_>) {
    if let Value::Object(map) = object {
        structure(ty, map, context);
    }
}

fn structure(ty: &'static Type, map: &mut Map, context: Context<'_>) {
    of_type(ty.name, map, context);
    for field in ty.fields {
        marker(field, map);
        if let Some(value) = map.get_mut(field.name) {
            descend(&field.ty, value, context);
        } else if !field.pointer {
            absent_struct(field, map, context);
        }
    }
}

/// A struct that is left out because it is zero (`omitzero`) may still get defaults.
fn absent_struct(field: &'static Field, map: &mut Map, context: Context<'_>) {
    if let (Kind::Ref(inner), true) = (field.ty.kind, field.omit_zero) {
        let mut fresh = Map::new();
        structure(inner, &mut fresh, context);
        if !fresh.is_empty() {
            map.insert(field.name.to_owned(), Value::Object(fresh));
        }
    }
}

fn descend(ty: &'static Ty, value: &mut Value, context: Context<'_>) {
    match (ty.kind, value) {
        (Kind::Ref(inner), Value::Object(map)) => structure(inner, map, context),
        (Kind::List(item), Value::Array(items)) => {
            for item_value in items {
                descend(item, item_value, context);
            }
        }
        (Kind::Map(_), Value::Object(map)) if ty.go == "v1.ResourceList" => round_up(map),
        (Kind::Map(of), Value::Object(map)) => {
            for inner in map.values_mut() {
                descend(&of.value, inner, context);
            }
        }
        _ => {}
    }
}

/// `+default`: pointers when nil, all others when zero.
fn marker(field: &Field, map: &mut Map) {
    let Some(default) = field.default() else { return };
    let unset = if field.pointer { map.is_nil(field.name) } else { map.is_zero(field.name) };
    if !unset {
        return;
    }
    // A default that is zero changes nothing: the field stays left out where Go leaves it out.
    let mut given = Map::new();
    given.extend(skiff_json::from_str(default).ok().map(|value| (field.name, value)));
    if field.pointer || !given.is_zero(field.name) {
        map.extend(given);
    }
}

/// Amounts finer than a thousandth are rounded up to thousandths.
fn round_up(map: &mut Map) {
    for value in map.values_mut() {
        let Value::String(text) = value else { continue };
        if !text.ends_with(['n', 'u']) && !text.contains(['.', '-']) {
            continue;
        }
        let rounded = skiff_meta::spelled_in_milli(text).ok().filter(|r| r != text).map(Cow::into_owned);
        if let Some(rounded) = rounded {
            *text = rounded;
        }
    }
}

/// The defaults that need more than a marker, by the type's name.
fn of_type(name: &str, map: &mut Map, context: Context<'_>) {
    if let Some(core) = name.strip_prefix("io.k8s.api.core.v1.") {
        return core::of_type(core, map);
    }
    if let Some(apps) = name.strip_prefix("io.k8s.api.apps.v1.") {
        return workloads::apps(apps, map);
    }
    if let Some(batch) = name.strip_prefix("io.k8s.api.batch.v1.") {
        return workloads::batch(batch, map);
    }
    if let Some(autoscaling) = name.strip_prefix("io.k8s.api.autoscaling.") {
        return autoscaling::of_type(autoscaling, map);
    }
    extension::of_type(name, map, context);
}

#[cfg(test)]
mod tests;
