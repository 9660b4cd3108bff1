//! Turns Go declarations into facts: type expressions without Go's names for scalars, one row a field.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::go::{GoField, GoType, marker};
use super::sources::Package;

/// A struct type as facts.
pub struct TypeFacts {
    /// Whether it embeds TypeMeta, and so is an object of its own on the wire.
    pub kind: bool,
    /// `+structType=atomic`.
    pub atomic: bool,
    /// A struct or map type that says explicitly that it is not atomic.
    pub granular: bool,
    pub fields: Vec<FieldFacts>,
}

/// A field as facts; `text` holds every attribute but name, tag and type.
pub struct FieldFacts {
    pub json: String,
    pub tag: Option<u32>,
    pub ty: String,
    pub attributes: Vec<String>,
}

type Packages = BTreeMap<String, Package>;
/// Import path and Go name.
type Id = (String, String);

const META: &str = "k8s.io/apimachinery/pkg/apis/meta/v1";
const APIEXTENSIONS: &str = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1";

/// Objects that do not embed TypeMeta, or are spoken outside any group version.
const EXTRA_ROOTS: &[(&str, &str)] =
    &[(META, "WatchEvent"), (META, "TypeMeta"), (META, "ListMeta"), (META, "ObjectMeta"), (META, "LabelSelector"), ("k8s.io/apimachinery/pkg/version", "Info")];

/// Types with a wire form of their own, and the word for it in the facts.
const SPECIAL: &[(&str, &str, &str)] = &[
    (META, "Time", "time"),
    (META, "MicroTime", "microtime"),
    (META, "Duration", "duration"),
    (META, "FieldsV1", "fieldsv1"),
    ("k8s.io/apimachinery/pkg/api/resource", "Quantity", "quantity"),
    ("k8s.io/apimachinery/pkg/util/intstr", "IntOrString", "intorstring"),
    ("k8s.io/apimachinery/pkg/runtime", "RawExtension", "raw"),
    (APIEXTENSIONS, "JSON", "json"),
    (APIEXTENSIONS, "JSONSchemaPropsOrArray", "schemaorarray"),
    (APIEXTENSIONS, "JSONSchemaPropsOrBool", "schemaorbool"),
    (APIEXTENSIONS, "JSONSchemaPropsOrStringArray", "schemaorstrings"),
];

/// Go's own scalars, and the word for each in the facts.
const SCALARS: &[(&str, &str)] = &[
    ("string", "string"),
    ("bool", "bool"),
    ("int32", "int32"),
    ("int64", "int64"),
    ("int", "int64"),
    ("uint32", "uint32"),
    ("uint64", "uint64"),
    ("float64", "float64"),
    ("[]byte", "bytes"),
    ("interface{}", "any"),
    ("any", "any"),
];

/// Facts of every type that a served object can hold, keyed by import path and Go name.
pub fn resolve(packages: &Packages) -> Result<BTreeMap<Id, TypeFacts>> {
    let mut resolver = Resolver { packages, wanted: Vec::new(), seen: BTreeSet::new() };
    for (path, name) in EXTRA_ROOTS {
        resolver.want(((*path).to_owned(), (*name).to_owned()));
    }
    resolver.want((APIEXTENSIONS.to_owned(), "JSONSchemaProps".to_owned()));
    for package in packages.values() {
        for name in package.go.types.keys() {
            let id = (package.path.clone(), name.clone());
            if resolver.unaliased(id.clone()) == id && resolver.is_kind(&id) {
                resolver.want(id);
            }
        }
    }
    let mut facts = BTreeMap::new();
    while let Some(id) = resolver.wanted.pop() {
        let context = format!("resolve {}.{}", id.0, id.1);
        let one = resolver.struct_facts(&id).context(context)?;
        facts.insert(id, one);
    }
    Ok(facts)
}

struct Resolver<'a> {
    packages: &'a Packages,
    wanted: Vec<Id>,
    seen: BTreeSet<Id>,
}

impl Resolver<'_> {
    fn want(&mut self, id: Id) {
        if self.seen.insert(id.clone()) {
            self.wanted.push(id);
        }
    }

    fn declared(&self, id: &Id) -> Option<&(GoType, BTreeMap<String, String>)> {
        self.packages.get(&id.0)?.go.types.get(&id.1)
    }

    /// The struct behind a name, through `type A B`, with the package that declares its fields.
    fn underlying_struct(&self, id: &Id) -> Option<(Id, &Vec<GoField>, &Vec<String>)> {
        let mut id = id.clone();
        for _ in 0..8 {
            let (ty, imports) = self.declared(&id)?;
            match ty {
                GoType::Struct { fields, markers } => return Some((id, fields, markers)),
                GoType::Named(target) | GoType::Alias(target) => {
                    id = qualify(target, &id.0, imports)?;
                }
            }
        }
        None
    }

    fn is_kind(&self, id: &Id) -> bool {
        let Some((_, fields, _)) = self.underlying_struct(id) else { return false };
        let has_gv = self.packages.get(&id.0).is_some_and(|p| p.gv.is_some());
        has_gv && fields.iter().any(|f| f.embedded && f.name == "TypeMeta")
    }

    fn struct_facts(&mut self, id: &Id) -> Result<TypeFacts> {
        let Some((owner, fields, markers)) = self.underlying_struct(id) else {
            bail!("it is not a struct of a known package");
        };
        let (fields, markers) = (fields.clone(), markers.clone());
        let mut facts = Vec::new();
        for field in &fields {
            let one = self.field_facts(&owner, id, field).with_context(|| format!("field {}", field.name))?;
            facts.extend(one);
        }
        Ok(TypeFacts {
            kind: self.is_kind(id),
            atomic: marker(&markers, "structType") == Some("atomic"),
            granular: ["structType", "mapType"].iter().any(|m| marker(&markers, m) == Some("granular")),
            fields: facts,
        })
    }

    fn field_facts(&mut self, owner: &Id, id: &Id, field: &GoField) -> Result<Option<FieldFacts>> {
        let tag = field.tag("json").unwrap_or_default().to_owned();
        let mut parts = tag.split(',');
        let json = parts.next().unwrap_or_default();
        if json == "-" {
            return Ok(None);
        }
        let options: Vec<&str> = parts.collect();
        let inline = field.embedded && json.is_empty();
        let (_, imports) = self.declared(owner).context("its package is not loaded")?;
        let imports = imports.clone();
        let ty = self.type_expression(&field.ty, &owner.0, &imports)?;
        let json = if json.is_empty() { field.name.clone() } else { json.to_owned() };
        let mut attributes = self.attributes(field, &options, inline, &owner.0);
        if let Some(values) = self.enumeration(&field.ty, &owner.0, &imports) {
            // A default may hold blanks, so it stays the last.
            let at = attributes.iter().position(|a| a.starts_with("default=")).unwrap_or(attributes.len());
            attributes.insert(at, format!("enum={}", values.join(",")));
        }
        let proto = self.packages.get(&id.0).and_then(|p| p.proto.get(&id.1));
        let tag = proto.and_then(|p| p.get(&proto_name(field))).copied();
        Ok(Some(FieldFacts { json, tag, ty, attributes }))
    }

    fn attributes(&self, field: &GoField, options: &[&str], inline: bool, path: &str) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        let omit = options.contains(&"omitempty");
        if inline {
            out.push("inline".to_owned());
            return out;
        }
        if omit {
            out.push("omitempty".to_owned());
        }
        if options.contains(&"omitzero") {
            out.push("omitzero".to_owned());
        }
        let optional = omit || field.marker("optional").is_some();
        if field.marker("required").is_some() || !optional {
            out.push("required".to_owned());
        }
        if let Some(kind) = field.marker("listType") {
            let keys = field.marker_values("listMapKey").join(",");
            out.push(if keys.is_empty() { format!("list={kind}") } else { format!("list={kind}:{keys}") });
        }
        if field.marker("mapType") == Some("atomic") || field.marker("structType") == Some("atomic") {
            out.push("atomic".to_owned());
        }
        if field.marker("mapType") == Some("granular") || field.marker("structType") == Some("granular") {
            out.push("granular".to_owned());
        }
        if let Some(strategy) = field.tag("patchStrategy") {
            out.push(format!("patch={strategy}"));
        }
        if let Some(key) = field.tag("patchMergeKey") {
            out.push(format!("key={key}"));
        }
        if let Some(default) = field.marker("default") {
            out.push(format!("default={}", self.default_value(default, path)));
        }
        out
    }

    /// A default is JSON, or a reference to a constant.
    fn default_value(&self, marker: &str, path: &str) -> String {
        let constant = marker.strip_prefix("ref(").and_then(|m| m.strip_suffix(')'));
        let value = constant.and_then(|name| self.packages.get(path)?.go.consts.get(name));
        match value {
            Some(value) => format!("{value:?}"),
            None => marker.to_owned(),
        }
    }

    /// A Go type as facts: `*string=v1.DNSPolicy`, `[]&io.k8s.api.core.v1.Container`.
    fn type_expression(&mut self, ty: &str, path: &str, imports: &BTreeMap<String, String>) -> Result<String> {
        if let Some((_, word)) = SCALARS.iter().find(|(go, _)| *go == ty) {
            return Ok((*word).to_owned());
        }
        if let Some(rest) = ty.strip_prefix('*') {
            return Ok(format!("*{}", self.type_expression(rest, path, imports)?));
        }
        if let Some(rest) = ty.strip_prefix("[]") {
            return Ok(format!("[]{}", self.type_expression(rest, path, imports)?));
        }
        if let Some(rest) = ty.strip_prefix("map[") {
            let (key, value) = rest.split_once(']').context("a map type without `]`")?;
            let key = self.type_expression(key, path, imports)?;
            return Ok(format!("map[{key}]{}", self.type_expression(value, path, imports)?));
        }
        let id = qualify(ty, path, imports).with_context(|| format!("type {ty}: unknown import"))?;
        self.named_expression(id)
    }

    /// The values of an `+enum` type, of the items of a list of it or of the values of a map of it.
    fn enumeration(&self, ty: &str, path: &str, imports: &BTreeMap<String, String>) -> Option<Vec<String>> {
        let mut ty = ty.trim_start_matches('*').trim_start_matches("[]");
        if let Some(map) = ty.strip_prefix("map[") {
            ty = map.split_once(']')?.1;
        }
        let id = self.unaliased(qualify(ty, path, imports)?);
        let go = &self.packages.get(&id.0)?.go;
        let values = go.enums.contains(&id.1).then(|| go.values.get(&id.1))??;
        let (_, imports) = self.declared(&id)?;
        let value = |v: &String| match v.strip_prefix('=') {
            None => Some(v.clone()),
            Some(other) => {
                let (path, name) = qualify(other, &id.0, imports)?;
                self.packages.get(&path)?.go.consts.get(&name).cloned()
            }
        };
        // A blank would end the attribute.
        Some(values.iter().filter_map(value).map(|v| v.replace(' ', "~")).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// The type that an alias is another name for.
    fn unaliased(&self, id: Id) -> Id {
        match self.declared(&id) {
            Some((GoType::Alias(target), imports)) => qualify(target, &id.0, imports).unwrap_or(id),
            _ => id,
        }
    }

    fn named_expression(&mut self, id: Id) -> Result<String> {
        let id = self.unaliased(id);
        if let Some((_, _, word)) = SPECIAL.iter().find(|(p, n, _)| *p == id.0 && *n == id.1) {
            return Ok((*word).to_owned());
        }
        if self.underlying_struct(&id).is_some() {
            let package = self.packages.get(&id.0).context("unknown package")?;
            let expression = format!("&{}.{}", package.model, id.1);
            self.want(id);
            return Ok(expression);
        }
        let Some((GoType::Named(target), imports)) = self.declared(&id).cloned() else {
            bail!("type {}.{} is not declared in a loaded package", id.0, id.1);
        };
        let inner = self.type_expression(&target, &id.0, &imports)?;
        // A named list that has a message of its own is wrapped once more on the wire.
        let boxed = self.packages.get(&id.0).is_some_and(|p| p.proto.contains_key(&id.1));
        let short = id.0.rsplit('/').next().unwrap_or_default();
        if inner.starts_with('[') || inner.starts_with("map[") {
            let boxed = if boxed { "box" } else { "" };
            return Ok(format!("({short}.{}){boxed}{inner}", id.1));
        }
        let scalar = inner.split('=').next().unwrap_or_default();
        Ok(format!("{scalar}={short}.{}", id.1))
    }
}

fn qualify(ty: &str, path: &str, imports: &BTreeMap<String, String>) -> Option<Id> {
    match ty.split_once('.') {
        Some((alias, name)) => Some((imports.get(alias)?.clone(), name.to_owned())),
        None => Some((path.to_owned(), ty.to_owned())),
    }
}

/// The name in generated.proto: the struct tag's, or the Go name in proto's spelling.
fn proto_name(field: &GoField) -> String {
    let named = field.tag("protobuf").and_then(|tag| tag.split(',').find_map(|part| part.strip_prefix("name=")));
    match named {
        Some(name) => name.to_owned(),
        None => lower_first(&field.name),
    }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => first.to_ascii_lowercase().to_string() + chars.as_str(),
        None => String::new(),
    }
}
