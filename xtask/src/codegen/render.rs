//! Writes the facts file.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::resolve::TypeFacts;
use super::sources::Package;

const HEADER: &str = "\
# Facts about the types of the Kubernetes API. Written by `cargo xtask codegen`: do not edit.
# package MODEL GROUP VERSION | type NAME [kind] [atomic] [granular] | field: JSON-NAME TAG TYPE ATTRIBUTES…
# Of the attributes, enum=VALUE,… has `~` for a blank.
# A GROUP of \"\" is the core group; `-` means that the package is no group version.
";

/// The facts as text, one line a field, packages and types in order.
pub fn render(packages: &BTreeMap<String, Package>, types: &BTreeMap<(String, String), TypeFacts>) -> String {
    let mut out = HEADER.to_owned();
    let mut last = "";
    for ((path, name), facts) in types {
        if path != last {
            last = path;
            if let Some(package) = packages.get(path) {
                package_line(package, &mut out);
            }
        }
        type_lines(name, facts, &mut out);
    }
    out
}

fn package_line(package: &Package, out: &mut String) {
    let (group, version) = match &package.gv {
        Some((group, version)) => (format!("{group:?}"), version.as_str()),
        None => ("-".to_owned(), "-"),
    };
    let _ = writeln!(out, "package {} {group} {version}", package.model);
}

fn type_lines(name: &str, facts: &TypeFacts, out: &mut String) {
    let kind = if facts.kind { " kind" } else { "" };
    let atomic = if facts.atomic { " atomic" } else { "" };
    let granular = if facts.granular { " granular" } else { "" };
    let _ = writeln!(out, "type {name}{kind}{atomic}{granular}");
    for field in &facts.fields {
        let tag = field.tag.map_or("-".to_owned(), |t| t.to_string());
        let _ = write!(out, " {} {tag} {}", field.json, field.ty);
        for attribute in &field.attributes {
            let _ = write!(out, " {attribute}");
        }
        out.push('\n');
    }
}
