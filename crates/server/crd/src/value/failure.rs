//! What checking finds, and how much of a schema fitted: alternatives are judged by that.
use skiff_json::Value;
use skiff_meta::Cause;
use skiff_validation::shown;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub kind: Kind,
    /// The path below the checked value, `.a.b[0]` or `a.b[0]`; empty for the value itself.
    pub path: String,
    pub value: Value,
    pub message: String,
    /// Whether the path is told; what is wrong with whole schemas is told of nothing.
    pub placed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Required,
    /// With the values that would do.
    NotSupported(Vec<Value>),
    TooLong(u64),
    /// How many there may be.
    TooMany(u64),
    TypeInvalid,
    Invalid,
}

#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub failures: Vec<Failure>,
    /// Checks that passed.
    pub matched: usize,
}

impl Outcome {
    pub fn is_valid(&self) -> bool {
        self.failures.is_empty()
    }
    pub fn add(&mut self, f: Failure) {
        if !self.failures.iter().any(|o| o.message == f.message) {
            self.failures.push(f);
        }
    }
    pub fn merge(&mut self, other: Outcome) {
        self.matched += other.matched;
        other.failures.into_iter().for_each(|f| self.add(f));
    }
    pub fn fail(&mut self, kind: Kind, path: &str, value: impl Into<Value>, message: String) {
        self.add(Failure { kind, path: path.to_owned(), value: value.into(), message, placed: true });
    }
    /// About a schema as a whole.
    pub fn fail_unplaced(&mut self, message: String) {
        self.add(Failure { kind: Kind::Invalid, path: String::new(), value: "".into(), message, placed: false });
    }
}

/// A path below `base`, as causes name it.
pub fn place(base: &str, path: &str) -> String {
    let path = path.strip_prefix('.').unwrap_or(path);
    match (base, path) {
        ("", "") => "<nil>".into(),
        (base, "") => base.into(),
        ("", path) => path.into(),
        (base, path) => format!("{base}.{path}"),
    }
}

impl Failure {
    pub fn cause(self, base: &str) -> Cause {
        let field = place(base, if self.placed { &self.path } else { "" });
        let (reason, message) = match self.kind {
            Kind::Required => ("FieldValueRequired", "Required value".to_owned()),
            Kind::NotSupported(values) => {
                let all: Vec<String> = values.iter().map(|v| v.as_str().map_or_else(|| skiff_meta::go::quote(&v.to_string()), skiff_meta::go::quote)).collect();
                ("FieldValueNotSupported", format!("Unsupported value: {}: supported values: {}", shown(&self.value), all.join(", ")))
            }
            Kind::TooLong(max) => ("FieldValueTooLong", format!("Too long: may not be more than {max} byte{}", if max == 1 { "" } else { "s" })),
            Kind::TooMany(max) => ("FieldValueTooMany", format!("Too many: {}: must have at most {max} item{}", self.value, if max == 1 { "" } else { "s" })),
            Kind::TypeInvalid => ("FieldValueTypeInvalid", format!("Invalid value: {}: {}", shown(&self.value), self.message)),
            Kind::Invalid => ("FieldValueInvalid", format!("Invalid value: {}: {}", shown(&self.value), self.message)),
        };
        Cause { reason: reason.into(), message, field }
    }
}
