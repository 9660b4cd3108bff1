//! Writes Rust source: one `static` a type, an index by name and an index by group, version and kind.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::facts::{Expression, Field, Shape, Type};

/// A field with the proto tags of the embedded structs that it comes from, outermost first.
struct Flat<'a> {
    field: &'a Field,
    via: [u8; 2],
    /// Go names of those structs, joined by dots.
    embedded: String,
}

pub fn generate(types: &[Type]) -> Result<String, String> {
    let index: BTreeMap<&str, usize> = types.iter().enumerate().map(|(i, t)| (t.model.as_str(), i)).collect();
    let generator = Generator { types, index };
    let mut out = String::new();
    for (number, ty) in types.iter().enumerate() {
        generator.type_static(number, ty, &mut out)?;
    }
    generator.indexes(&mut out);
    Ok(out)
}

/// In the place of field numbers: nothing of the embedded struct is in protobuf.
const NOT_CARRIED: [u8; 2] = [u8::MAX, u8::MAX];

struct Generator<'a> {
    types: &'a [Type],
    index: BTreeMap<&'a str, usize>,
}

impl<'a> Generator<'a> {
    fn type_static(&self, number: usize, ty: &'a Type, out: &mut String) -> Result<(), String> {
        let mut fields = Vec::new();
        self.flatten(ty, [0, 0], "", &mut fields)?;
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by(|a, b| fields[*a].field.name.cmp(&fields[*b].field.name));
        let _ = write!(
            out,
            "pub static T{number}: Type = Type {{ name: {:?}, group: {:?}, version: {:?}, is_kind: {}, atomic: {}, granular: {}, sorted: &{order:?}, fields: &[",
            ty.model, ty.group, ty.version, ty.kind, ty.atomic, ty.granular
        );
        for flat in &fields {
            let text = self.field(flat).map_err(|e| format!("{}: {e}", ty.model))?;
            out.push_str(&text);
        }
        out.push_str("] };\n");
        Ok(())
    }

    /// Go's order: the fields of an embedded struct stand where the embedding stands.
    fn flatten(&self, ty: &'a Type, via: [u8; 2], embedded: &str, out: &mut Vec<Flat<'a>>) -> Result<(), String> {
        for field in &ty.fields {
            match &field.ty.shape {
                Shape::Ref(model) if field.has("inline") => {
                    let inner = self.lookup(model)?;
                    let tag = u8::try_from(field.tag).map_err(|e| e.to_string())?;
                    let via = match via {
                        // Protobuf does not carry the embedded struct at all (TypeMeta).
                        _ if tag == 0 => NOT_CARRIED,
                        [0, 0] => [tag, 0],
                        [outer, 0] => [outer, tag],
                        _ => return Err(format!("{}: structs embedded three deep", ty.model)),
                    };
                    let dot = if embedded.is_empty() { "" } else { "." };
                    let embedded = format!("{embedded}{dot}{}", field.name);
                    self.flatten(&self.types[inner], via, &embedded, out)?;
                }
                _ => out.push(Flat { field, via, embedded: embedded.to_owned() }),
            }
        }
        Ok(())
    }

    fn lookup(&self, model: &str) -> Result<usize, String> {
        self.index.get(model).copied().ok_or_else(|| format!("type {model} has no facts"))
    }

    fn field(&self, flat: &Flat) -> Result<String, String> {
        let field = flat.field;
        let (list, keys) = match field.value("list") {
            Some("atomic") => ("Atomic", ""),
            Some("set") => ("Set", ""),
            Some(other) => ("Map", other.strip_prefix("map:").unwrap_or_default()),
            None => ("Unset", ""),
        };
        let patch = field.value("patch").unwrap_or_default();
        let extra = extra(field, keys, &flat.embedded);
        let carried = flat.via != NOT_CARRIED;
        let (tag, via) = if carried { (field.tag, flat.via) } else { (0, [0, 0]) };
        Ok(format!(
            "Field {{ name: {:?}, tag: {}, via: {:?}, pointer: {}, omit_empty: {}, omit_zero: {}, required: {}, atomic: {}, granular: {}, list: ListType::{list}, patch: {}, ty: {}, extra: {extra} }},\n",
            field.name,
            tag,
            via,
            field.ty.pointer,
            field.has("omitempty"),
            field.has("omitzero"),
            field.has("required"),
            field.has("atomic"),
            field.has("granular"),
            patch_literal(patch),
            self.ty(&field.ty)?,
        ))
    }

    fn ty(&self, expression: &Expression) -> Result<String, String> {
        let kind = match &expression.shape {
            Shape::Word(word) => format!("Kind::{}", word_variant(word)?),
            Shape::Ref(model) => format!("Kind::Ref(&T{})", self.lookup(model)?),
            Shape::List(item) => format!("Kind::List(&{})", self.ty(item)?),
            Shape::Map(key, value) => {
                format!("Kind::Map(&MapOf {{ key_go: {key:?}, value: {} }})", self.ty(value)?)
            }
        };
        Ok(format!("Ty {{ kind: {kind}, go: {:?}, boxed: {} }}", expression.go, expression.boxed))
    }

    fn indexes(&self, out: &mut String) {
        let _ = write!(out, "pub static BY_NAME: [&Type; {}] = [", self.types.len());
        for number in 0..self.types.len() {
            let _ = write!(out, "&T{number},");
        }
        out.push_str("];\n");
        let mut kinds: Vec<(&str, &str, &str, usize)> = Vec::new();
        for (number, ty) in self.types.iter().enumerate() {
            if ty.kind {
                kinds.push((&ty.group, &ty.version, ty.short(), number));
            }
        }
        kinds.sort_unstable();
        let _ = write!(out, "pub static BY_KIND: [&Type; {}] = [", kinds.len());
        for (_, _, _, number) in kinds {
            let _ = write!(out, "&T{number},");
        }
        out.push_str("];\n");
    }
}

fn patch_literal(patch: &str) -> String {
    let merge = patch.split(',').any(|p| p == "merge");
    let retain = patch.split(',').any(|p| p == "retainKeys");
    let replace = patch.split(',').any(|p| p == "replace");
    format!("Patch {{ merge: {merge}, retain_keys: {retain}, replace: {replace} }}")
}

fn extra(field: &Field, keys: &str, embedded: &str) -> String {
    let merge_key = field.value("key").unwrap_or_default();
    let default = field.value("default");
    let values: Vec<String> = field.value("enum").map(|v| v.split(',').map(|v| v.replace('~', " ")).collect()).unwrap_or_default();
    if keys.is_empty() && merge_key.is_empty() && default.is_none() && embedded.is_empty() && values.is_empty() {
        return "None".to_owned();
    }
    let keys: Vec<&str> = keys.split(',').filter(|k| !k.is_empty()).collect();
    format!("Some(&Extra {{ keys: &{keys:?}, merge_key: {merge_key:?}, default: {default:?}, embedded: {embedded:?}, values: &{values:?} }})")
}

fn word_variant(word: &str) -> Result<&'static str, String> {
    Ok(match word {
        "string" => "String",
        "bool" => "Bool",
        "int32" => "Int32",
        "int64" => "Int64",
        "float64" => "Float64",
        "bytes" => "Bytes",
        "quantity" => "Quantity",
        "intorstring" => "IntOrString",
        "time" => "Time",
        "microtime" => "MicroTime",
        "duration" => "Duration",
        "raw" => "RawExtension",
        "fieldsv1" => "FieldsV1",
        "json" => "Json",
        "any" => "Any",
        "schemaorarray" => "SchemaOrArray",
        "schemaorbool" => "SchemaOrBool",
        "schemaorstrings" => "SchemaOrStrings",
        other => return Err(format!("unknown word {other}")),
    })
}
