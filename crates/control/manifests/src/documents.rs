//! From a file's text to objects.
use skiff_json::Value;
use thiserror::Error;

/// Larger files are refused, bytes.
pub const MAX_FILE: usize = 4 << 20;
const MAX_DOCUMENTS: usize = 1000;

#[derive(Debug, Error, PartialEq)]
pub enum DocumentError {
    #[error("the file has {size} bytes, more than {MAX_FILE}")]
    Large { size: usize },
    #[error("the file has more than {MAX_DOCUMENTS} documents")]
    Many,
    #[error("document {number} is no YAML: {why}")]
    Yaml { number: usize, why: String },
    #[error("document {number} has no {field}")]
    Lacks { number: usize, field: &'static str },
}

/// One object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub object: Value,
}

/// Every object of the file, lists taken apart, in order.
pub fn documents(text: &str) -> Result<Vec<Document>, DocumentError> {
    if text.len() > MAX_FILE {
        return Err(DocumentError::Large { size: text.len() });
    }
    let mut out = Vec::new();
    for (i, part) in split(text).into_iter().enumerate() {
        let number = i + 1;
        let blank = part.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
        if blank {
            continue;
        }
        let value: Value = serde_saphyr::from_str(&part).map_err(|e| DocumentError::Yaml { number, why: e.to_string() })?;
        if value.is_null() {
            continue;
        }
        let items = value.get("items").and_then(Value::as_array).filter(|_| value["kind"].as_str().is_some_and(|k| k.ends_with("List")));
        match items {
            Some(items) => {
                for item in items {
                    out.push(document(item.clone(), number)?);
                }
            }
            None => out.push(document(value, number)?),
        }
        if out.len() > MAX_DOCUMENTS {
            return Err(DocumentError::Many);
        }
    }
    Ok(out)
}

/// Parts between lines that begin with `---`.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("---") {
            Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t']) => parts.push(rest.trim_start().to_owned() + "\n"),
            _ => {
                if let Some(last) = parts.last_mut() {
                    last.push_str(line);
                    last.push('\n');
                }
            }
        }
    }
    parts
}

fn document(object: Value, number: usize) -> Result<Document, DocumentError> {
    let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    let need = |p: &str, field| Some(text(p)).filter(|t| !t.is_empty()).ok_or(DocumentError::Lacks { number, field });
    Ok(Document {
        api_version: need("/apiVersion", "apiVersion")?,
        kind: need("/kind", "kind")?,
        name: need("/metadata/name", "metadata.name")?,
        namespace: text("/metadata/namespace"),
        object,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn files() {
        let text = "# note\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: ns}\ndata:\n  x: |\n    a\n    ----\n--- # next\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n---\n";
        let got: Vec<_> = documents(text).unwrap().into_iter().map(|d| format!("{}/{}/{}", d.kind, d.namespace, d.name)).collect();
        assert_eq!(got, ["ConfigMap/ns/a", "Secret//b"]);
        assert_eq!(documents("apiVersion: v1\nkind: Pod\n").unwrap_err(), DocumentError::Lacks { number: 1, field: "metadata.name" });
        assert!(matches!(documents("a: [").unwrap_err(), DocumentError::Yaml { number: 1, .. }));
        assert!(documents("").unwrap().is_empty());
    }
}
