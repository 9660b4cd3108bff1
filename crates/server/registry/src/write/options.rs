//! The options of writes: `dryRun`, `fieldManager`, `fieldValidation`, `force`.
use skiff_meta::{Cause, Status};
use skiff_request::{Call, Verb};

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
        for v in call.query.all("dryRun").filter(|v| *v != "All") {
            causes.push(unsupported("dryRun", v, "\"All\""));
        }
        let given = call.query.get("fieldValidation").unwrap_or_default();
        let validation = match given {
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            _ => {
                causes.push(unsupported("fieldValidation", given, "\"Ignore\", \"Warn\", \"Strict\""));
                FieldValidation::Ignore
            }
        };
        let manager = call.query.get("fieldManager").unwrap_or_default();
        if manager.len() > MANAGER_LIMIT {
            causes.push(Cause { reason: "FieldValueTooLong".into(), message: format!("Too long: may not be more than {MANAGER_LIMIT} bytes"), field: "fieldManager".into() });
        }
        if !causes.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", causes));
        }
        Ok(Self { dry_run: call.query.get("dryRun").is_some(), manager: manager_of(manager, &call.user_agent), validation, force: call.query.flag("force") })
    }
}

fn unsupported(field: &str, given: &str, values: &str) -> Cause {
    Cause { reason: "FieldValueNotSupported".into(), message: format!("Unsupported value: {given:?}: supported values: {values}"), field: field.into() }
}

/// The name given, or the user agent up to its first slash.
fn manager_of(given: &str, agent: &str) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let name: String = agent.split('/').next().unwrap_or_default().chars().take(MANAGER_LIMIT).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}
