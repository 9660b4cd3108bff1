//! The index row of stored bytes: labels, selectable fields, owners.
use crate::{table::Table, value};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use skiff_json::{Map, Value};
use skiff_meta::Uid;
use skiff_store::{Indexer, Row};
use std::{borrow::Cow, fmt, sync::Arc};

/// Gives the store its rows. Made before the store, which is made before the registry.
pub struct RowIndexer {
    table: Arc<Table>,
}

impl RowIndexer {
    pub fn new(table: Arc<Table>) -> Self {
        Self { table }
    }
}

impl Indexer for RowIndexer {
    fn row(&self, key: &str, bytes: &[u8]) -> Row {
        let storage = key.split('/').next().unwrap_or_default();
        let rows = self.table.rows();
        let row = rows.of_storage(storage);
        let fields = row.as_ref().map_or(&[][..], |r| &r.fields);
        // What the members of custom resources are called is nobody's to know.
        let part = match row.as_ref() {
            Some(r) if !fields.is_empty() => {
                if r.custom.is_some() {
                    Part::Whole
                } else {
                    Part::Object
                }
            }
            _ => Part::MetadataOnly,
        };
        // What has another shape than is usual (`spec` being null) is read whole.
        let quick = only_metadata(bytes, part).or_else(|| canonical(bytes, part));
        let v = match quick.map_or_else(|| indexed(bytes, part), Ok).or_else(|_| skiff_json::parse(bytes)) {
            Ok(v) => v,
            Err(error) => {
                tracing::error!(target: "api", key, %error, "stored object is no JSON: no selector finds it");
                return Row::default();
            }
        };
        let fields = fields.iter().map(|f| (f.path, Arc::from(f.value(&v)))).collect();
        row_of(&v, fields)
    }
}

/// What no row is made of, and has most of an object's bytes: members of `metadata`, of the object, of its other parts.
const UNREAD: [&[&str]; 3] = [
    &["managedFields", "annotations", "finalizers"],
    &["data", "binaryData", "stringData", "rules", "webhooks"],
    &["containers", "initContainers", "volumes", "tolerations", "affinity", "template", "conditions", "containerStatuses", "initContainerStatuses", "images"],
];

/// The same of kinds without selectable fields, where nothing behind the metadata need be looked at.
fn only_metadata(bytes: &[u8], part: Part) -> Option<Value> {
    let metadata = skiff_meta::bare_metadata(bytes).filter(|_| part == Part::MetadataOnly)?;
    let metadata = canonical(&metadata, Part::Metadata)?;
    Some(Value::Object(Map::from_iter([("metadata".to_owned(), metadata)])))
}

/// The object as far as rows are made of it, out of canonical JSON: what is not read is passed over, whatever it says.
fn canonical(bytes: &[u8], part: Part) -> Option<Value> {
    let (v, end) = Members { part }.passing(bytes, 0)?;
    (end == bytes.len()).then_some(v)
}

/// The same out of any JSON.
fn indexed(bytes: &[u8], part: Part) -> skiff_json::Result<Value> {
    let mut from = skiff_json::Deserializer::from_slice(bytes);
    let v = Members { part }.deserialize(&mut from)?;
    from.end()?;
    Ok(v)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A custom object.
    Whole,
    /// A built-in one.
    Object,
    /// One without selectable fields.
    MetadataOnly,
    Metadata,
    Other,
}

/// Reads an object without the members that are not read of it.
#[derive(Clone, Copy)]
struct Members {
    part: Part,
}

impl Members {
    fn skips(self, key: &str) -> bool {
        let [metadata, object, other] = UNREAD;
        match self.part {
            Part::Whole => false,
            Part::MetadataOnly => key != "metadata",
            Part::Metadata => metadata.contains(&key),
            Part::Object => object.contains(&key),
            Part::Other => other.contains(&key),
        }
    }

    /// What a member is read as, where it is read as an object of its own.
    fn below(self, key: &str) -> Option<Self> {
        match (self.part, key) {
            (Part::Whole | Part::Object | Part::MetadataOnly, "metadata") => Some(Members { part: Part::Metadata }),
            (Part::Object, "spec" | "status") => Some(Members { part: Part::Other }),
            _ => None,
        }
    }

    /// The object that begins at `from`, and where it ends.
    fn passing(self, bytes: &[u8], from: usize) -> Option<(Value, usize)> {
        let (mut map, mut at) = (Map::new(), from);
        if bytes.get(at..at + 2)? == b"{}" {
            return Some((Value::Object(map), at + 2));
        }
        (bytes.get(at) == Some(&b'{')).then_some(())?;
        loop {
            let key = std::str::from_utf8(skiff_json::pass::plain_string(bytes, at + 1)?).ok()?;
            let value = at + key.len() + 4;
            (bytes.get(value - 1) == Some(&b':')).then_some(())?;
            let end = match self.below(key) {
                _ if self.skips(key) => skiff_json::pass::value_end(bytes, value)?,
                Some(below) => {
                    let (read, end) = below.passing(bytes, value)?;
                    map.insert(key, read);
                    end
                }
                None => {
                    let end = skiff_json::pass::value_end(bytes, value)?;
                    map.insert(key, skiff_json::parse(bytes.get(value..end)?).ok()?);
                    end
                }
            };
            match bytes.get(end)? {
                b',' => at = end,
                b'}' => return Some((Value::Object(map), end + 1)),
                _ => return None,
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = from.next_key::<Cow<'de, str>>()? {
            if self.skips(&key) {
                from.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = match self.below(&key) {
                Some(below) => from.next_value_seed(below)?,
                None => from.next_value()?,
            };
            map.insert(key.into_owned(), value);
        }
        Ok(Value::Object(map))
    }
}

fn row_of(v: &Value, fields: Box<[(&'static str, Arc<str>)]>) -> Row {
    let mut labels: Vec<(Arc<str>, Arc<str>)> =
        value::map(v, "metadata.labels").into_iter().flatten().map(|(k, v)| (Arc::from(k.as_str()), Arc::from(v.as_str().unwrap_or_default()))).collect();
    labels.sort();
    Row {
        uid: Uid::from(value::text(v, "metadata.uid")),
        labels: labels.into(),
        fields,
        owners: value::list(v, "metadata.ownerReferences").iter().map(|o| Uid::from(value::text(o, "uid"))).collect(),
        deleting: value::at(v, "metadata.deletionTimestamp").is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn what_rows_are_made_of_is_read() {
        let v = json!({"kind": "Pod", "metadata": {"name": "a", "labels": {"data": "x", "annotations": "y"}, "managedFields": [{"a": 1}]}, "spec": {"containers": [], "nodeName": "n"}, "status": {"phase": "Running"}, "data": {"a": "b"}, "type": "t"});
        let bytes = v.to_string().into_bytes();
        let metadata = json!({"name": "a", "labels": {"data": "x", "annotations": "y"}});
        assert_eq!(
            indexed(&bytes, Part::Object).unwrap(),
            json!({"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}, "type": "t"})
        );
        assert_eq!(indexed(&bytes, Part::MetadataOnly).unwrap(), json!({"metadata": metadata}));
        for part in [Part::Whole, Part::Object, Part::MetadataOnly] {
            assert_eq!(canonical(&bytes, part), indexed(&bytes, part).ok());
        }
        for odd in ["{} ", r#"{"spec":null}"#, r#"{"a" :1}"#, r#"{"a\u0062":1}"#, "[]", "{", ""] {
            assert_eq!(canonical(odd.as_bytes(), Part::Object), None, "{odd}");
        }
        assert_eq!(canonical(b"{}", Part::Object), Some(json!({})));
        assert_eq!(only_metadata(&bytes, Part::MetadataOnly).unwrap(), json!({"metadata": metadata}));
        assert_eq!(only_metadata(&bytes, Part::Object), None);
        let custom = json!({"metadata": {"name": "a"}, "spec": {"template": "x"}, "data": {"a": "b"}});
        assert_eq!(indexed(custom.to_string().as_bytes(), Part::Whole).unwrap(), custom);
        assert!(indexed(b"{} x", Part::Whole).is_err());
    }

    /// Everything that a reader of more than a path looks at.
    fn rich() -> Value {
        json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"hostNetwork": true, "unschedulable": true, "replicas": 3, "nodeName": "n", "serviceAccountName": "s", "schedulerName": "d", "restartPolicy": "Never"},
            "status": {"podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}], "succeeded": 2, "replicas": 3, "phase": "Running", "nominatedNodeName": "m"},
            "source": {"component": "c", "host": "h"}, "reportingComponent": "r", "deprecatedSource": {"component": "e"}, "involvedObject": {"name": "o"}, "regarding": {"name": "o"},
        })
    }

    #[test]
    fn no_field_is_passed_over() {
        let (table, rich) = (Table::builtin(), rich());
        let mut seen = 0;
        for row in table.rows().all().filter(|r| r.custom.is_none()) {
            for f in &row.fields {
                let mut v = rich.clone();
                if let crate::table::Read::At(path) = f.read {
                    crate::value::set(&mut v, path, "here");
                }
                let read = indexed(v.to_string().as_bytes(), Part::Object).unwrap();
                assert_eq!(canonical(v.to_string().as_bytes(), Part::Object).as_ref(), Some(&read));
                assert_eq!(f.value(&read), f.value(&v), "{} of {}", f.path, row.plural);
                seen += 1;
            }
        }
        assert!(seen > 20);
    }

    #[test]
    fn objects_of_another_shape_keep_their_labels() {
        let indexer = RowIndexer::new(Arc::new(Table::builtin()));
        let row = indexer.row("pods/a/b", br#"{"metadata":{"labels":{"x":"y"}},"spec":null,"status":null}"#);
        assert_eq!(row.labels.len(), 1);
    }
}
