//! Reads descriptions out of the sources of the k8s-openapi crate: its JsonSchema implementations have them verbatim.
//!
//! They are prose of upstream, so they are not in this repository; a build takes them from the crate that the workspace
//! depends on anyway, and packs them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Descriptions by type and field (empty for the type itself).
pub type Descriptions = BTreeMap<(String, String), String>;

/// Finds the crate's sources by asking cargo.
pub fn sources() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").ok_or("CARGO is not set")?;
    let output = Command::new(cargo).args(["metadata", "--format-version", "1"]).output().map_err(|e| format!("run cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata = String::from_utf8_lossy(&output.stdout);
    // The paths need no JSON parser: no path on any platform that is built here has a quote in it.
    let manifest = metadata
        .split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.contains("/k8s-openapi-"))
        .ok_or("k8s-openapi is not among the dependencies")?;
    let folder = Path::new(manifest).parent().ok_or("a manifest without a folder")?;
    let versions = std::fs::read_dir(folder.join("src")).map_err(|e| e.to_string())?;
    let mut versions: Vec<PathBuf> = versions
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.is_dir() && path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("v1_")))
        .collect();
    versions.sort();
    versions.pop().ok_or_else(|| format!("{} has no version", folder.display()))
}

/// Reads every file under the folder.
pub fn read(folder: &Path) -> Result<Descriptions, String> {
    let mut descriptions = Descriptions::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for path in entries.filter_map(|entry| entry.ok().map(|e| e.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                read_file(&text, &mut descriptions);
            }
        }
    }
    Ok(descriptions)
}

fn read_file(text: &str, descriptions: &mut Descriptions) {
    let mut model = String::new();
    let mut field = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        if let Some(name) = line.strip_suffix("\".into()").and_then(|l| l.strip_prefix('"')) {
            if name.starts_with("io.k8s.") {
                model = name.to_owned();
                field.clear();
            }
        } else if indent == 16 && line.starts_with('"') {
            field = line.split('"').nth(1).unwrap_or_default().to_owned();
        } else if !model.is_empty() {
            let literal = line
                .strip_prefix("\"description\": ")
                .filter(|_| indent == 12 || indent == 20)
                .or_else(|| line.strip_prefix("schema_obj.ensure_object().insert(\"description\".into(), "));
            if let Some(description) = literal.and_then(unquote) {
                let key = if indent == 12 { String::new() } else { field.clone() };
                descriptions.insert((model.clone(), key), description);
            }
        }
    }
}

/// The value of a Rust string literal at the start of the text.
fn unquote(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut out = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'u' => {
                    let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    out.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)?);
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
}

/// Packs descriptions: records of type, field and text, each ended by a zero byte, deflated.
pub fn pack(descriptions: &Descriptions) -> Result<Vec<u8>, String> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    for ((model, field), text) in descriptions {
        let record = format!("{model}\0{field}\0{text}\0");
        encoder.write_all(record.as_bytes()).map_err(|e| e.to_string())?;
    }
    encoder.finish().map_err(|e| e.to_string())
}
