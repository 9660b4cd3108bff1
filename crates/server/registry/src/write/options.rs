//! The options of writes: `dryRun`, `fieldManager`, `fieldValidation`, `force`.
use skiff_json::{Value, json};
use skiff_meta::{Cause, Status};
use skiff_request::{Call, PatchType, Verb};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    pub manager: String,
    pub validation: FieldValidation,
    pub force: bool,
}

/// A manager's name is at most so long.
const MANAGER_LIMIT: usize = 128;

impl WriteOptions {
    pub fn of(call: &Call) -> Result<Self, Status> {
        let kind = match call.verb {
            Verb::Update => "UpdateOptions",
            Verb::Patch => "PatchOptions",
            Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
            _ => "CreateOptions",
        };
        let mut causes = Vec::new();
        let dry_run: Vec<&str> = call.query.all("dryRun").collect();
        if dry_run.iter().any(|v| *v != "All") {
            causes.push(unsupported("dryRun", &json!(dry_run).to_string(), "\"All\""));
        }
        let given = call.query.get("fieldValidation").unwrap_or_default();
        let validation = match given {
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            _ => {
                causes.push(unsupported("fieldValidation", &format!("{given:?}"), "\"\", \"Ignore\", \"Strict\", \"Warn\""));
                FieldValidation::Ignore
            }
        };
        let manager = call.query.get("fieldManager").unwrap_or_default();
        if manager.len() > MANAGER_LIMIT {
            causes.push(Cause {
                reason: "FieldValueTooLong".into(),
                message: format!("Too long: may not be more than {MANAGER_LIMIT} bytes"),
                field: "fieldManager".into(),
            });
        }
        if let Some((at, c)) = manager.chars().enumerate().find(|(_, c)| c.is_control()) {
            let message = format!("Invalid value: {}: invalid character U+{:04X} (at position {at})", quoted(manager), u32::from(c));
            causes.push(Cause { reason: "FieldValueInvalid".into(), message, field: "fieldManager".into() });
        }
        let applies = call.verb != Verb::Patch || call.content_type == PatchType::Apply.media_type();
        if !applies && call.query.get("force").is_some() {
            causes.push(Cause {
                reason: "FieldValueForbidden".into(),
                message: "Forbidden: may not be specified for non-apply patch".into(),
                field: "force".into(),
            });
        }
        if !causes.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", causes));
        }
        Ok(Self { dry_run: call.query.get("dryRun").is_some(), manager: manager_of(manager, &call.user_agent), validation, force: call.query.flag("force") })
    }
}

impl WriteOptions {
    /// As admission sees them.
    pub fn given(&self) -> Value {
        json!({"dryRun": if self.dry_run { json!(["All"]) } else { json!([]) }, "fieldManager": self.manager})
    }
}

/// As Go quotes a text in an error.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// `given` as it is shown.
fn unsupported(field: &str, given: &str, values: &str) -> Cause {
    Cause { reason: "FieldValueNotSupported".into(), message: format!("Unsupported value: {given}: supported values: {values}"), field: field.into() }
}

/// The name given, or the user agent up to its first slash.
fn manager_of(given: &str, agent: &str) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let name: String = agent.split('/').next().unwrap_or_default().chars().take(MANAGER_LIMIT).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}
