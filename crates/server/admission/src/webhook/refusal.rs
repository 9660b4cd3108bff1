//! The words of a refusal.
use crate::value;
use skiff_json::{Value, json};
use skiff_meta::Status;

/// The webhook's own status, made a failure, its message led in by who refuses.
pub(crate) fn refusal(webhook: &str, result: Option<&Value>) -> Status {
    let by = format!("admission webhook {webhook:?} denied the request");
    let result = result.cloned().unwrap_or_else(|| json!({}));
    let code = value::at(&result, "code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok()).filter(|c| *c >= 400).unwrap_or(400);
    let message = match (value::text(&result, "message"), value::text(&result, "reason")) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let wire = json!({"kind": "Status", "status": "Failure", "reason": value::text(&result, "reason"), "details": result.get("details")});
    Status { message, code, ..Status::from_json(code, wire.to_string().as_bytes()) }
}
