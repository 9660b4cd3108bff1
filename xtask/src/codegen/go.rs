//! Reads the type declarations of a Go package: structs with tags and markers, named types, constants.
//!
//! Only the shape that gofmt gives to API packages is understood; it is not a Go parser.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

/// A field of a Go struct.
#[derive(Debug, Clone)]
pub struct GoField {
    /// Go name; the type's own name when embedded.
    pub name: String,
    /// Go type expression, such as `[]corev1.Container`.
    pub ty: String,
    pub embedded: bool,
    /// The struct tag between the backticks.
    pub tag: String,
    /// Marker lines of the doc comment, without the leading `+`.
    pub markers: Vec<String>,
}

impl GoField {
    /// The value of one key of the struct tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        let start = self.tag.match_indices(key).find_map(|(at, _)| {
            let rest = self.tag.get(at + key.len()..)?;
            let boundary = at == 0 || self.tag.as_bytes().get(at - 1) == Some(&b' ');
            (boundary && rest.starts_with(":\"")).then_some(at + key.len() + 2)
        })?;
        self.tag.get(start..)?.split('"').next()
    }

    /// The value after `name=` of a marker; empty for a bare marker.
    pub fn marker(&self, name: &str) -> Option<&str> {
        marker(&self.markers, name)
    }

    /// Every value of a marker that may be repeated.
    pub fn marker_values(&self, name: &str) -> Vec<String> {
        let values = self.markers.iter().filter_map(|line| match_marker(line, name));
        values.map(str::to_owned).collect()
    }
}

/// A declared type.
#[derive(Debug, Clone)]
pub enum GoType {
    Struct {
        fields: Vec<GoField>,
        markers: Vec<String>,
    },
    /// `type A B`.
    Named(String),
    /// `type A = B`: another name for the same type.
    Alias(String),
}

/// What the files of one package declare.
#[derive(Debug, Default)]
pub struct GoPackage {
    /// Declared types; each knows the imports of its file.
    pub types: BTreeMap<String, (GoType, BTreeMap<String, String>)>,
    /// String constants by name.
    pub consts: BTreeMap<String, String>,
    /// Types marked `+enum`.
    pub enums: BTreeSet<String>,
    /// Values of the constants of each named type; `=NAME` where one is another constant converted.
    pub values: BTreeMap<String, BTreeSet<String>>,
}

/// The value of a marker in a list of marker lines.
pub fn marker<'a>(markers: &'a [String], name: &str) -> Option<&'a str> {
    markers.iter().find_map(|line| match_marker(line, name))
}

fn match_marker<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?.trim_start();
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_prefix('=').map(str::trim)
}

/// Reads every hand-written file of a package folder.
pub fn read_package(dir: &Path) -> Result<GoPackage> {
    let mut package = GoPackage::default();
    let mut files: Vec<_> =
        std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    files.sort();
    for file in files {
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let written = name.ends_with(".go") && !name.ends_with("_test.go") && !name.starts_with("zz_") && !name.ends_with(".pb.go");
        if written {
            let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            read_file(&text, &mut package);
        }
    }
    Ok(package)
}

/// Without the lines of `/* … */` comments.
fn without_block_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.lines() {
        let starts = line.trim_start().starts_with("/*");
        if starts || inside {
            inside = !line.contains("*/");
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn read_file(text: &str, package: &mut GoPackage) {
    let text = &without_block_comments(text);
    let imports = read_imports(text);
    let mut comments: Vec<String> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("//") {
            push_marker(comment, &mut comments);
        } else if let Some(rest) = line.strip_prefix("type ") {
            let markers = std::mem::take(&mut comments);
            read_type(rest, markers, &mut lines, &imports, package);
        } else if line.trim().is_empty() {
            // A marker block may stand apart from the doc comment by one empty line.
        } else {
            comments.clear();
            read_const(line, package);
        }
    }
}

fn read_type<'a>(rest: &str, markers: Vec<String>, lines: &mut impl Iterator<Item = &'a str>, imports: &BTreeMap<String, String>, package: &mut GoPackage) {
    let Some((name, definition)) = rest.split_once(' ') else { return };
    if marker(&markers, "enum").is_some() {
        package.enums.insert(name.to_owned());
    }
    let ty = if let Some(target) = definition.strip_prefix('=') {
        GoType::Alias(target.trim().to_owned())
    } else if definition == "struct {" {
        GoType::Struct { fields: read_fields(lines), markers }
    } else if definition.starts_with("struct") {
        GoType::Struct { fields: Vec::new(), markers }
    } else {
        let bare = definition.split("//").next().unwrap_or_default().trim();
        GoType::Named(bare.to_owned())
    };
    package.types.insert(name.to_owned(), (ty, imports.clone()));
}

fn read_fields<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<GoField> {
    let mut fields = Vec::new();
    let mut markers = Vec::new();
    for line in lines {
        if line == "}" {
            break;
        }
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("//") {
            push_marker(comment, &mut markers);
        } else if line.is_empty() {
            markers.clear();
        } else if let Some(field) = read_field(line, std::mem::take(&mut markers)) {
            fields.push(field);
        }
    }
    fields
}

fn read_field(line: &str, markers: Vec<String>) -> Option<GoField> {
    let mut parts = line.splitn(3, '`');
    let declaration = parts.next()?.split("//").next()?.trim();
    let tag = parts.next().unwrap_or_default().to_owned();
    let (name, ty, embedded) = match declaration.split_once(char::is_whitespace) {
        Some((name, ty)) => (name.to_owned(), ty.trim().to_owned(), false),
        None => {
            let name = declaration.trim_start_matches('*').rsplit('.').next()?;
            (name.to_owned(), declaration.to_owned(), true)
        }
    };
    let exported = name.starts_with(|c: char| c.is_ascii_uppercase());
    exported.then_some(GoField { name, ty, embedded, tag, markers })
}

fn push_marker(comment: &str, markers: &mut Vec<String>) {
    if let Some(marker) = comment.trim().strip_prefix('+') {
        markers.push(marker.trim().to_owned());
    }
}

fn read_const(line: &str, package: &mut GoPackage) {
    let line = line.trim().trim_start_matches("const ");
    let Some((left, right)) = line.split_once('=') else { return };
    let right = right.trim();
    if let Some((ty, inner)) = right.split_once(" //").map_or(right, |(r, _)| r).trim().strip_suffix(')').and_then(|r| r.split_once('(')) {
        let value = inner.strip_prefix('"').and_then(|i| i.strip_suffix('"')).map_or_else(|| format!("={inner}"), str::to_owned);
        package.values.entry(ty.to_owned()).or_default().insert(value);
        return;
    }
    let Some(value) = right.strip_prefix('"').and_then(|r| r.split('"').next()) else {
        return;
    };
    let mut words = left.split_whitespace();
    if let Some(name) = words.next() {
        package.consts.insert(name.to_owned(), value.to_owned());
    }
    if let Some(ty) = words.next() {
        package.values.entry(ty.to_owned()).or_default().insert(value.to_owned());
    }
}

fn read_imports(text: &str) -> BTreeMap<String, String> {
    let mut imports = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "import (" => inside = true,
            ")" if inside => break,
            _ if inside || line.starts_with("import ") => {
                let line = line.trim().trim_start_matches("import ");
                let Some((alias, rest)) = line.split_once('"') else { continue };
                let path = rest.trim_end_matches('"').to_owned();
                let last = path.rsplit('/').next().unwrap_or_default().to_owned();
                let alias = alias.trim();
                let alias = if alias.is_empty() { last } else { alias.to_owned() };
                imports.insert(alias, path);
            }
            _ => {}
        }
    }
    imports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn struct_with_markers_and_tags() {
        let text = "package v1\n\nimport (\n\tmetav1 \"k8s.io/apimachinery/pkg/apis/meta/v1\"\n)\n\n// +structType=atomic\ntype A struct {\n\tmetav1.TypeMeta `json:\",inline\"`\n\t// +optional\n\t// +default=\"x\"\n\tB *string `json:\"b,omitempty\" protobuf:\"bytes,1,opt,name=b\"`\n}\n";
        let mut package = GoPackage::default();
        read_file(text, &mut package);
        let Some((GoType::Struct { fields, markers }, imports)) = package.types.get("A") else {
            panic!("A is not a struct");
        };
        assert_eq!(marker(markers, "structType"), Some("atomic"));
        assert_eq!(imports["metav1"], "k8s.io/apimachinery/pkg/apis/meta/v1");
        assert!(fields[0].embedded);
        assert_eq!(fields[1].tag("json"), Some("b,omitempty"));
        assert_eq!(fields[1].marker("default"), Some("\"x\""));
        assert_eq!(fields[1].ty, "*string");
    }
}
