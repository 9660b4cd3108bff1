//! `metadata.managedFields`, read and written.
use crate::{FieldSet, Shape, wire};
use skiff_json::{Value, json};
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
///
/// Folded entries (their fields are a text) of the server's own writing sleep: they are told apart from a write by their text,
/// and read when it may touch them. One whose schema has changed meanwhile is brought up to it only then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managed(pub BTreeMap<ManagerId, Entry>, pub(crate) Vec<Asleep>);

/// An entry that was not read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asleep {
    pub id: ManagerId,
    pub api_version: String,
    pub text: String,
    pub time: Option<String>,
}

impl Asleep {
    fn woken(self, shape: Shape<'_>) -> (ManagerId, Entry) {
        let mut set = FieldSet::from_text(&self.text).unwrap_or_default();
        set.reconcile(shape);
        (self.id, Entry { api_version: self.api_version, set, time: self.time })
    }
}

/// How many updating managers are kept apart; older ones are folded into one per version.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";
/// So many fields of one level are not looked for in a text: it is read.
const FEW: usize = 8;

impl Managed {
    /// Reads the list. None when an entry is malformed: upstream then starts with no managers.
    pub fn read(list: Option<&Value>) -> Option<Self> {
        let mut all = Self::read_for(list, None)?;
        all.wake(Shape::Deduced, |_| true);
        Some(all)
    }
    /// The same, and what can sleep does, but for the entry of `me`.
    pub(crate) fn read_for(list: Option<&Value>, me: Option<&ManagerId>) -> Option<Self> {
        let mut all = Self::default();
        for e in list.and_then(Value::as_array).into_iter().flatten() {
            let text = |k: &str| e.get(k).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            let api_version = text("apiVersion").to_owned();
            if text("fieldsType") != "FieldsV1" || api_version.is_empty() {
                return None;
            }
            let id = ManagerId {
                name: text("manager").to_owned(),
                operation,
                api_version: if operation == Operation::Apply { String::new() } else { api_version.clone() },
                subresource: text("subresource").to_owned(),
            };
            let time = e.get("time").and_then(Value::as_str).map(str::to_owned);
            all.1.retain(|known| known.id != id);
            match e.get("fieldsV1") {
                Some(Value::String(text)) if text != "{}" && me != Some(&id) => {
                    all.0.remove(&id);
                    all.1.push(Asleep { id, api_version, text: text.clone(), time });
                }
                fields => {
                    let set = fields.map_or(Some(FieldSet::default()), FieldSet::from_fields_v1)?;
                    all.0.insert(id, Entry { api_version, set, time });
                }
            }
        }
        Some(all)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }
    pub(crate) fn len(&self) -> usize {
        self.0.len() + self.1.len()
    }
    /// Reads those sleepers of which `which` says so of their text.
    pub(crate) fn wake(&mut self, shape: Shape<'_>, which: impl Fn(&str) -> bool) {
        if self.1.is_empty() {
            return;
        }
        let (woken, asleep) = std::mem::take(&mut self.1).into_iter().partition(|a| which(&a.text));
        self.1 = asleep;
        self.0.extend(woken.into_iter().map(|a| a.woken(shape)));
    }
    /// Takes the entry of `id` out if it sleeps.
    pub(crate) fn sleeper(&mut self, id: &ManagerId) -> Option<Asleep> {
        let at = self.1.iter().position(|a| a.id == *id)?;
        Some(self.1.swap_remove(at))
    }
    pub(crate) fn wake_one(&mut self, asleep: Asleep, shape: Shape<'_>) {
        self.0.extend([asleep.woken(shape)]);
    }
    /// Reads those that have fields of one of these sets.
    pub(crate) fn wake_touched(&mut self, shape: Shape<'_>, sets: [&FieldSet; 3]) {
        self.wake(shape, |text| sets.iter().any(|s| touches(s, text)));
    }

    /// The list in upstream's order: operation, time, name, version, subresource. Empty when nobody manages anything.
    pub fn write(&self) -> Vec<Value> {
        self.list(|set| set.to_fields_v1(), |text| skiff_json::from_str(text).unwrap_or_default())
    }
    /// The same, folded.
    pub(crate) fn write_folded(&self) -> Vec<Value> {
        self.list(|set| set.to_text().into(), |text| text.into())
    }
    fn list(&self, of_set: impl Fn(&FieldSet) -> Value, of_text: impl Fn(&str) -> Value) -> Vec<Value> {
        let awake = self.0.iter().map(|(id, e)| (id, &e.api_version, &e.time, Err(&e.set)));
        let asleep = self.1.iter().map(|a| (&a.id, &a.api_version, &a.time, Ok(&a.text)));
        let mut entries: Vec<_> = awake.chain(asleep).collect();
        entries.sort_by(|(a, version_a, time_a, _), (b, version_b, time_b, _)| {
            let key = |id: &ManagerId| (id.operation, id.name.clone(), id.subresource.clone());
            let ((op_a, name_a, sub_a), (op_b, name_b, sub_b)) = (key(a), key(b));
            (op_a, time_a, name_a, version_a, sub_a).cmp(&(op_b, time_b, name_b, version_b, sub_b))
        });
        let one = |(id, version, time, set): (&ManagerId, &String, &Option<String>, Result<&String, &FieldSet>)| {
            write(id, version, time.as_deref(), set.map_or_else(&of_set, |text| of_text(text)))
        };
        entries.into_iter().map(one).collect()
    }

    /// Folds the oldest updating managers into one when there are too many.
    pub fn cap(&mut self) {
        if self.len() > MAX_UPDATERS {
            self.wake(Shape::Deduced, |_| true);
        }
        let mut updaters: Vec<(Option<String>, ManagerId)> = self
            .0
            .iter()
            .filter(|(id, _)| id.operation == Operation::Update && id.subresource.is_empty())
            .map(|(id, e)| (e.time.clone(), id.clone()))
            .collect();
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

fn write(id: &ManagerId, api_version: &str, time: Option<&str>, fields: Value) -> Value {
    let mut v = json!({"manager": id.name, "operation": id.operation.as_str(), "apiVersion": api_version});
    if let Some(t) = time {
        v["time"] = t.into();
    }
    v["fieldsType"] = "FieldsV1".into();
    v["fieldsV1"] = fields;
    if !id.subresource.is_empty() {
        v["subresource"] = id.subresource.clone().into();
    }
    v
}

/// Whether a text of fields may have one of the set.
fn touches(set: &FieldSet, text: &str) -> bool {
    if set.nodes().len() > FEW {
        return true;
    }
    set.nodes().iter().any(|n| {
        let Some(below) = wire::below(text, &n.element) else { return false };
        n.member && wire::is_member(below) || touches(&n.below, below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Element;

    #[test]
    fn sleepers_wake_when_they_are_touched() {
        let entry = |name: &str, text: &str| json!({"manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": text});
        let (spec, status) = (r#"{"f:spec":{"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:x":{}}}}}"#, r#"{"f:status":{".":{},"f:x":{}},"f:z":{}}"#);
        let list = json!([entry("a", spec), entry("b", status), entry("b", status), entry("c", "{}")]);
        let all = Managed::read_for(Some(&list), None).unwrap();
        assert_eq!((all.0.len(), all.1.len(), all.len()), (1, 2, 3));
        let woken = |path: &[Element]| {
            let (mut all, mut set) = (all.clone(), FieldSet::default());
            set.insert(path);
            all.wake_touched(Shape::Deduced, [&set, &FieldSet::default(), &FieldSet::default()]);
            let list = all.write_folded();
            assert_eq!(list.iter().filter_map(|e| e["fieldsV1"].as_str()).collect::<Vec<_>>(), [spec, status, "{}"]);
            all.0.into_keys().map(|id| id.name).collect::<Vec<_>>().join("")
        };
        let f = Element::field;
        assert_eq!(woken(&[f("status")]), "bc");
        assert_eq!(woken(&[f("status"), f("x")]), "bc");
        assert_eq!(woken(&[f("status"), f("y")]), "c");
        assert_eq!(woken(&[f("z")]), "bc");
        assert_eq!(woken(&[f("spec")]), "c", "it has fields below, and not the field itself");
        let item = Element::Key([("name".into(), crate::Scalar::String("a".into()))].into());
        assert_eq!(woken(&[f("spec"), f("list"), item.clone()]), "ac");
        assert_eq!(woken(&[f("spec"), f("list"), item.clone(), f("x")]), "ac");
        assert_eq!(woken(&[f("spec"), f("list"), item, f("y")]), "c");
    }
}
