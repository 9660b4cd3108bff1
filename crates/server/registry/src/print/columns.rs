//! Definitions of columns.
use super::cells::{age, name};
use crate::value::int;
use skiff_json::Value;
use skiff_meta::Timestamp;
use std::{borrow::Cow, sync::Arc};

/// One column's definition.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `boolean`, `number` or `date`.
    pub kind: Cow<'static, str>,
    pub format: Cow<'static, str>,
    /// Above zero: only in wide output.
    pub priority: i32,
    pub description: Cow<'static, str>,
}

/// Cells of an object, one for each column; the time is for ages.
pub type Cells = dyn Fn(&Value, Timestamp) -> Vec<Value> + Send + Sync;

#[derive(Clone)]
pub struct Columns {
    pub columns: Arc<[Column]>,
    pub cells: Arc<Cells>,
    /// What the rows of a list are ordered by where it is not the name.
    pub order: Option<fn(&Value) -> i64>,
    /// Fields that neither cells nor order look at, by name, wherever they are: they need not be decoded.
    pub unread: &'static [&'static str],
    /// Each event of a watch has the definitions, not the first alone.
    pub defined_always: bool,
}

impl Columns {
    pub fn new(columns: Vec<Column>, cells: impl Fn(&Value, Timestamp) -> Vec<Value> + Send + Sync + 'static) -> Self {
        Self { columns: columns.into(), cells: Arc::new(cells), order: None, unread: &[], defined_always: false }
    }
    /// Columns in the short form `Name|Ready|Desired#|IP*`: `#` an integer, `?` a boolean, `@` a date, `*` wide only.
    pub(super) fn of(short: &'static str, cells: impl Fn(&Value, Timestamp) -> Vec<Value> + Send + Sync + 'static) -> Self {
        Self { unread: &["managedFields"], ..Self::new(short.split('|').map(column).collect(), cells) }
    }
    pub(super) fn unread(self, unread: &'static [&'static str]) -> Self {
        Self { unread, ..self }
    }
    pub(super) fn ordered(self, by: fn(&Value) -> i64) -> Self {
        Self { order: Some(by), ..self }
    }
    pub(super) fn defined_always(self) -> Self {
        Self { defined_always: true, ..self }
    }
    /// Only the first so many are declared; rows have their cells all the same.
    pub(super) fn declared(self, count: usize) -> Self {
        Self { columns: self.columns.iter().take(count).cloned().collect(), ..self }
    }
    /// The first column is a text like any other.
    pub(super) fn without_format(self) -> Self {
        Self { columns: self.columns.iter().cloned().map(|c| Column { format: "".into(), ..c }).collect(), ..self }
    }
    /// What a kind shows that has nothing else to say.
    pub fn name_and_age() -> Self {
        Self::of("Name|Age", |v, now| vec![name(v), age(v, now).into()])
    }
    /// The same with the type that upstream gives the age of custom resources.
    pub fn name_and_age_dated() -> Self {
        Self::of("Name|Age@", |v, now| vec![name(v), age(v, now).into()])
    }
    /// What the replicas of a workload show.
    pub fn scale() -> Self {
        Self::of("Name|Desired#|Available#|Age", |v, now| vec![name(v), int(v, "spec.replicas").into(), int(v, "status.replicas").into(), age(v, now).into()])
    }
    /// What a kind without a printer shows.
    pub fn name_and_creation() -> Self {
        Self::of("Name|Created At@", |v, _| vec![name(v), v["metadata"]["creationTimestamp"].clone()])
    }
}

fn column(short: &'static str) -> Column {
    let (short, priority) = short.strip_suffix('*').map_or((short, 0), |s| (s, 1));
    let (name, kind) = match short.as_bytes().last() {
        Some(b'#') => (&short[..short.len() - 1], "integer"),
        Some(b'?') => (&short[..short.len() - 1], "boolean"),
        Some(b'@') => (&short[..short.len() - 1], "date"),
        _ => (short, "string"),
    };
    let format = if name == "Name" || name == "Attacher" { "name" } else { "" };
    Column { name: name.into(), kind: kind.into(), format: format.into(), priority, description: description(name).into() }
}

/// A short text of our own.
fn description(name: &str) -> String {
    match name {
        "Name" => "The name, unique within its namespace.".into(),
        "Age" => "Time since the object was created.".into(),
        "Created At" => "When the object was created.".into(),
        other => format!("{other} of the object."),
    }
}
