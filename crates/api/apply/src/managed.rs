//! `metadata.managedFields`, read and written.
use crate::FieldSet;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// What makes two entries one manager's. An applier is the same whatever version it applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagerId {
    pub name: String,
    pub operation: Operation,
    /// Empty for appliers.
    pub api_version: String,
    pub subresource: String,
}

/// One manager's fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub api_version: String,
    pub set: FieldSet,
    /// RFC 3339, when the set last changed.
    pub time: Option<String>,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managed(pub BTreeMap<ManagerId, Entry>);

/// How many updating managers are kept apart; older ones are folded into one per version.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

impl Managed {
    /// Reads the list. None when an entry is malformed: upstream then starts with no managers.
    pub fn read(list: Option<&Value>) -> Option<Self> {
        let mut managers = BTreeMap::new();
        let Some(list) = list.and_then(Value::as_array) else { return Some(Self::default()) };
        for e in list {
            let text = |k: &str| e.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
            let operation = match text("operation").as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            if !matches!(text("fieldsType").as_str(), "FieldsV1") || text("apiVersion").is_empty() {
                return None;
            }
            let api_version = text("apiVersion");
            let id = ManagerId {
                name: text("manager"),
                operation,
                api_version: if operation == Operation::Apply { String::new() } else { api_version.clone() },
                subresource: text("subresource"),
            };
            let set = e.get("fieldsV1").map_or(Some(FieldSet::default()), FieldSet::from_fields_v1)?;
            let time = e.get("time").and_then(Value::as_str).map(str::to_owned);
            managers.insert(id, Entry { api_version, set, time });
        }
        Some(Self(managers))
    }

    /// The list in upstream's order: operation, time, name, version, subresource. Empty when nobody manages anything.
    pub fn write(&self) -> Vec<Value> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by(|(a, x), (b, y)| {
            let key = |id: &ManagerId, e: &Entry| (id.operation, e.time.clone(), id.name.clone(), e.api_version.clone(), id.subresource.clone());
            key(a, x).cmp(&key(b, y))
        });
        entries.into_iter().map(|(id, e)| write(id, e)).collect()
    }

    /// Folds the oldest updating managers into one when there are too many.
    pub fn cap(&mut self) {
        let mut updaters: Vec<(Option<String>, ManagerId)> =
            self.0.iter().filter(|(id, _)| id.operation == Operation::Update && id.subresource.is_empty()).map(|(id, e)| (e.time.clone(), id.clone())).collect();
        if updaters.len() <= MAX_UPDATERS {
            return;
        }
        updaters.sort();
        let mut count = updaters.len();
        for (time, id) in updaters {
            if count <= MAX_UPDATERS {
                break;
            }
            let bucket = ManagerId { name: ANCIENT.into(), ..id.clone() };
            if id.name == ANCIENT {
                continue;
            }
            let Some(old) = self.0.remove(&id) else { continue };
            match self.0.get_mut(&bucket) {
                Some(b) => {
                    b.set = b.set.union(&old.set);
                    b.time = time;
                    count -= 1;
                }
                None => {
                    self.0.insert(bucket, old);
                }
            }
        }
    }
}

fn write(id: &ManagerId, e: &Entry) -> Value {
    let mut v = json!({"manager": id.name, "operation": id.operation.as_str(), "apiVersion": e.api_version});
    if let Some(t) = &e.time {
        v["time"] = t.clone().into();
    }
    v["fieldsType"] = "FieldsV1".into();
    v["fieldsV1"] = e.set.to_fields_v1();
    if !id.subresource.is_empty() {
        v["subresource"] = id.subresource.clone().into();
    }
    v
}
