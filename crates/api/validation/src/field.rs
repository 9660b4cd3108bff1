//! A value with its path, and where its errors go.
//!
//! A [`Field`] reads a part of an object the way Go's types do: what is absent, null or of another type is zero. So no
//! shape of JSON makes a rule panic. Rules ask a field and tell it what is wrong with it; the texts are upstream's.
use crate::show::{Omitted, Show};
use skiff_json::Value;
use skiff_meta::Cause;
use std::{borrow::Cow, cell::RefCell, collections::HashSet, fmt::Write, rc::Rc};

/// More errors than anybody reads are not told.
const MAX_CAUSES: usize = 1000;

/// The errors found so far, in order, each once.
#[derive(Default)]
pub struct Errors {
    list: RefCell<Vec<Cause>>,
    seen: RefCell<HashSet<(String, String)>>,
}

impl Errors {
    pub fn into_causes(self) -> Vec<Cause> {
        self.list.into_inner()
    }
    fn len(&self) -> usize {
        self.list.borrow().len()
    }
    fn push(&self, reason: &str, message: String, field: String) {
        let mut list = self.list.borrow_mut();
        if list.len() < MAX_CAUSES && self.seen.borrow_mut().insert((field.clone(), message.clone())) {
            list.push(Cause { reason: reason.into(), message, field });
        }
    }
}

#[derive(Debug)]
enum Step<'a> {
    Child(Cow<'a, str>),
    Index(usize),
    Key(Cow<'a, str>),
}

/// A path as a list from the leaf to the root: growing it copies nothing.
#[derive(Clone, Debug, Default)]
struct Path<'a>(Option<Rc<(Path<'a>, Step<'a>)>>);

impl<'a> Path<'a> {
    fn push(&self, step: Step<'a>) -> Self {
        Path(Some(Rc::new((self.clone(), step))))
    }
    fn write(&self, into: &mut String) {
        let Some(node) = &self.0 else { return };
        node.0.write(into);
        let _ = match &node.1 {
            Step::Child(name) if into.is_empty() => write!(into, "{name}"),
            Step::Child(name) => write!(into, ".{name}"),
            Step::Index(i) => write!(into, "[{i}]"),
            Step::Key(k) => write!(into, "[{k}]"),
        };
    }
}

static NULL: Value = Value::Null;

#[derive(Clone)]
pub struct Field<'a> {
    value: &'a Value,
    path: Path<'a>,
    errors: &'a Errors,
}

/// The values of a field.
impl<'a> Field<'a> {
    pub fn root(value: &'a Value, errors: &'a Errors) -> Self {
        Self { value, path: Path::default(), errors }
    }
    /// The field at a dotted path.
    pub fn at(&self, path: &'static str) -> Self {
        self.under(path, path)
    }
    /// The field at the dotted path `path`, which errors call `shown`.
    pub fn under(&self, path: &str, shown: &'static str) -> Self {
        let value = path.split('.').try_fold(self.value, |v, key| v.get(key)).unwrap_or(&NULL);
        Self { value, path: self.path.push(Step::Child(shown.into())), errors: self.errors }
    }
    /// The value at a dotted path; errors about it are told of this field.
    pub fn inside(&self, path: &str) -> Self {
        let value = path.split('.').try_fold(self.value, |v, key| v.get(key)).unwrap_or(&NULL);
        Self { value, ..self.clone() }
    }
    /// The entry `key` of a map.
    pub fn key(&self, key: impl Into<Cow<'a, str>>) -> Self {
        let key = key.into();
        let value = self.value.get(&*key).unwrap_or(&NULL);
        Self { value, path: self.path.push(Step::Key(key)), errors: self.errors }
    }
    /// A member whose name is known only now.
    pub fn child(&self, name: impl Into<Cow<'a, str>>) -> Self {
        let name = name.into();
        let value = self.value.get(&*name).unwrap_or(&NULL);
        Self { value, path: self.path.push(Step::Child(name)), errors: self.errors }
    }
    pub fn index(&self, i: usize) -> Self {
        Self { value: self.value.get(i).unwrap_or(&NULL), path: self.path.push(Step::Index(i)), errors: self.errors }
    }
    /// The same value under another last step of the path.
    pub fn sibling(&self, shown: &'static str) -> Self {
        let parent = self.path.0.as_ref().map(|node| node.0.clone()).unwrap_or_default();
        Self { path: parent.push(Step::Child(shown.into())), ..self.clone() }
    }
    /// Another value at this path.
    pub fn with(&self, value: &'a Value) -> Self {
        Self { value, ..self.clone() }
    }
    pub fn items(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let me = self.clone();
        (0..self.list().len()).map(move |i| me.index(i))
    }
    /// The entries of a map, with the paths that keys have.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + use<'a> {
        let me = self.clone();
        self.value
            .as_object()
            .into_iter()
            .flatten()
            .map(move |(k, value)| (k.as_str(), Field { value, path: me.path.push(Step::Key(Cow::Borrowed(k))), errors: me.errors }))
    }
    pub fn value(&self) -> &'a Value {
        self.value
    }
    pub fn list(&self) -> &'a [Value] {
        self.value.as_array().map_or(&[], Vec::as_slice)
    }
    /// Items of a list or entries of a map.
    pub fn len(&self) -> usize {
        self.value.as_object().map_or(self.list().len(), |m| m.len())
    }
    /// No items, no entries, no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.str().is_empty()
    }
    pub fn exists(&self) -> bool {
        !self.value.is_null()
    }
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }
    pub fn str(&self) -> &'a str {
        self.text().unwrap_or_default()
    }
    pub fn is(&self, text: &str) -> bool {
        self.str() == text
    }
    pub fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }
    pub fn int(&self) -> i64 {
        self.number().unwrap_or_default()
    }
    pub fn switch(&self) -> Option<bool> {
        self.value.as_bool()
    }
    pub fn flag(&self) -> bool {
        self.switch().unwrap_or_default()
    }
    /// The texts of a list.
    pub fn strs(&self) -> Vec<&'a str> {
        self.list().iter().map(|v| v.as_str().unwrap_or_default()).collect()
    }
    pub fn path(&self) -> String {
        let mut path = String::new();
        self.path.write(&mut path);
        path
    }
}

/// The errors of a field.
impl<'a> Field<'a> {
    fn tell(&self, reason: &str, what: &str, value: &dyn Show, detail: &str) {
        let mut message = String::from(what);
        if let Some(value) = value.shown() {
            message += ": ";
            message += &value;
        }
        if !detail.is_empty() {
            message += ": ";
            message += detail;
        }
        self.errors.push(reason, message, self.path());
    }
    /// Tells what somebody else found, at the place that they name.
    pub fn tell_cause(&self, c: Cause) {
        self.errors.push(&c.reason, c.message, c.field);
    }
    pub fn required(&self, why: &str) {
        self.tell("FieldValueRequired", "Required value", &Omitted, why);
    }
    pub fn forbidden(&self, why: &str) {
        self.tell("FieldValueForbidden", "Forbidden", &Omitted, why);
    }
    pub fn invalid(&self, value: impl Show, why: &str) {
        self.tell("FieldValueInvalid", "Invalid value", &value, why);
    }
    /// Nothing is wrong, but the client should know.
    pub fn warn(&self, why: &str) {
        self.tell("", why, &Omitted, "");
    }
    /// A warning whose text says itself where it is.
    pub fn warn_whole(&self, text: String) {
        self.errors.push("", text, String::new());
    }
    pub fn internal(&self, why: &str) {
        self.tell("InternalError", "Internal error", &Omitted, why);
    }
    pub fn duplicate(&self, value: impl Show) {
        self.duplicate_for(value, "");
    }
    pub fn duplicate_for(&self, value: impl Show, why: &str) {
        self.tell("FieldValueDuplicate", "Duplicate value", &value, why);
    }
    pub fn not_found(&self, value: impl Show) {
        self.not_found_for(value, "");
    }
    pub fn not_found_for(&self, value: impl Show, why: &str) {
        self.tell("FieldValueNotFound", "Not found", &value, why);
    }
    pub fn unsupported(&self, value: impl Show, supported: &[&str]) {
        let all: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.tell("FieldValueNotSupported", "Unsupported value", &value, &format!("supported values: {}", all.join(", ")));
    }
    /// Longer than `max` bytes.
    pub fn too_long(&self, max: usize) {
        self.tell("FieldValueTooLong", "Too long", &Omitted, &format!("may not be more than {max} byte{}", if max == 1 { "" } else { "s" }));
    }
    pub fn too_long_characters(&self, max: usize) {
        self.tell("FieldValueTooLong", "Too long", &Omitted, &format!("may not be more than {max} character{}", if max == 1 { "" } else { "s" }));
    }
    pub fn too_many(&self, actual: usize, max: usize) {
        self.tell("FieldValueTooMany", "Too many", &(actual as i64), &format!("must have at most {max} item{}", if max == 1 { "" } else { "s" }));
    }
    /// Tells what `check` finds wrong with the text of the field.
    pub fn check(&self, check: fn(&str) -> crate::names::Messages) {
        self.check_text(self.str(), check);
    }
    /// Tells of this field what `check` finds wrong with `text`.
    pub fn check_text(&self, text: &str, check: fn(&str) -> crate::names::Messages) {
        for message in check(text) {
            self.invalid(text, &message);
        }
    }
    /// A text out of a fixed set; an empty one is missing.
    pub fn one_of(&self, supported: &[&str]) {
        if self.str().is_empty() {
            self.required("");
        } else {
            self.if_any_of(supported);
        }
    }
    /// A text out of a fixed set, the empty one too only if it is in it.
    pub fn if_any_of(&self, supported: &[&str]) {
        if !supported.contains(&self.str()) {
            self.unsupported(self.str(), supported);
        }
    }
    /// Like [`Self::if_any_of`] for a field that may be left out.
    pub fn optional_of(&self, supported: &[&str]) {
        if self.exists() {
            self.if_any_of(supported);
        }
    }
    pub fn non_negative(&self) {
        if self.int() < 0 {
            self.invalid(self.int(), "must be greater than or equal to 0");
        }
    }
    pub fn positive(&self) {
        if self.int() <= 0 {
            self.invalid(self.int(), "must be greater than zero");
        }
    }
    pub fn in_range(&self, min: i64, max: i64) {
        if !(min..=max).contains(&self.int()) {
            self.invalid(self.int(), &range(min, max));
        }
    }
    /// A change of what may not change.
    pub fn immutable(&self, old: &Field<'_>) {
        if !crate::same::same(self.value, old.value) {
            self.invalid(self.value, "field is immutable");
        }
    }
    /// The same of a selector by labels.
    pub fn immutable_selector(&self, old: &Field<'_>) {
        let shown = |v: &Value| crate::show::selector(v);
        if !crate::same::same(self.value, old.value) && shown(self.value).0 != shown(old.value).0 {
            self.invalid(shown(self.value), "field is immutable");
        }
    }
    /// How many errors there are, to see whether a rule adds one.
    pub fn mark(&self) -> usize {
        self.errors.len()
    }
    pub fn clean_since(&self, mark: usize) -> bool {
        self.errors.len() == mark
    }
    /// Puts what was told since a mark in the order of its texts.
    pub fn sort_since(&self, mark: usize) {
        let text = |c: &Cause| format!("{}: {}", c.field, c.message);
        if let Some(since) = self.errors.list.borrow_mut().get_mut(mark..) {
            since.sort_by_cached_key(text);
        }
    }
}

pub(crate) fn range(min: i64, max: i64) -> String {
    format!("must be between {min} and {max}, inclusive")
}

/// Whether a rule finds nothing wrong with a value.
pub(crate) fn passes(value: &Value, rule: impl FnOnce(&Field<'_>)) -> bool {
    let errors = Errors::default();
    rule(&Field::root(value, &errors));
    errors.len() == 0
}
