//! The shape of the facts about one type and its fields.

/// A Go struct of the API.
#[derive(Debug)]
pub struct Type {
    /// OpenAPI name, such as `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    /// API group of its package; empty for the core group, and where `version` is empty too, for none.
    pub group: &'static str,
    /// Version of its package.
    pub version: &'static str,
    /// It has `apiVersion` and `kind` of its own.
    pub is_kind: bool,
    /// `+structType=atomic`: server-side apply owns it as a whole.
    pub atomic: bool,
    /// `+structType=granular`: explicitly not atomic.
    pub granular: bool,
    /// Fields in Go's order of output, those of embedded structs where the embedding stands.
    pub fields: &'static [Field],
    /// Indexes into `fields`, ordered by name.
    pub(crate) sorted: &'static [u16],
}

impl Type {
    /// The field with this JSON name (case counts).
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        let by_name = |index: &u16| self.fields.get(usize::from(*index)).map_or("", |f| f.name);
        let at = self.sorted.binary_search_by(|index| by_name(index).cmp(name)).ok()?;
        self.fields.get(usize::from(*self.sorted.get(at)?))
    }

    /// Position of a field in [`Type::fields`].
    pub fn field_index(&self, name: &str) -> Option<usize> {
        let by_name = |index: &u16| self.fields.get(usize::from(*index)).map_or("", |f| f.name);
        let at = self.sorted.binary_search_by(|index| by_name(index).cmp(name)).ok()?;
        self.sorted.get(at).map(|index| usize::from(*index))
    }

    /// The last part of the name: the kind of a kind, the Go name of any other struct.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Go's qualified name, such as `v1.PodSpec`.
    pub fn go_name(&self) -> &'static str {
        let mut dots = self.name.rmatch_indices('.');
        dots.next();
        match dots.next() {
            Some((at, _)) => self.name.get(at + 1..).unwrap_or(self.name),
            None => self.name,
        }
    }

    /// The type of the items, if this is a list kind such as `PodList`.
    pub fn list_item(&self) -> Option<&'static Type> {
        if !self.is_kind || !self.name.ends_with("List") {
            return None;
        }
        match self.field("items")?.ty.kind {
            Kind::List(item) => item.struct_type(),
            _ => None,
        }
    }
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// JSON name.
    pub name: &'static str,
    /// Protobuf field number; 0 when protobuf does not carry it.
    pub tag: u16,
    /// Field numbers of the embedded structs that hold it in protobuf, outermost first; 0 for none.
    pub via: [u8; 2],
    /// Go has a pointer: null and zero differ.
    pub pointer: bool,
    /// Go's `omitempty`: zero scalars, nil pointers, empty lists and maps are left out.
    pub omit_empty: bool,
    /// Go's `omitzero`: zero structs are left out too.
    pub omit_zero: bool,
    /// OpenAPI lists it as required.
    pub required: bool,
    /// `+mapType=atomic` or `+structType=atomic` on the field.
    pub atomic: bool,
    /// `+mapType=granular` or `+structType=granular` on the field: explicitly not atomic.
    pub granular: bool,
    /// How server-side apply merges the list.
    pub list: ListType,
    /// How a strategic merge patch treats the field.
    pub patch: Patch,
    pub ty: Ty,
    /// The rarer facts.
    pub extra: Option<&'static Extra>,
}

impl Field {
    /// Keys of a list of kind [`ListType::Map`], in declared order.
    pub fn keys(&self) -> &'static [&'static str] {
        self.extra.map_or(&[], |e| e.keys)
    }

    /// `patchMergeKey`; empty when there is none.
    pub fn merge_key(&self) -> &'static str {
        self.extra.map_or("", |e| e.merge_key)
    }

    /// What the field, its items or its values can be when their type is an enumeration; empty when it is none.
    pub fn values(&self) -> &'static [&'static str] {
        self.extra.map_or(&[], |e| e.values)
    }

    /// The `+default` marker as JSON text.
    pub fn default(&self) -> Option<&'static str> {
        self.extra.and_then(|e| e.default)
    }
}

impl Field {
    /// Go names of the embedded structs that hold the field, joined by dots; empty for none.
    pub fn embedded(&self) -> &'static str {
        self.extra.map_or("", |e| e.embedded)
    }
}

/// Facts that few fields have.
#[derive(Debug)]
pub struct Extra {
    pub keys: &'static [&'static str],
    pub merge_key: &'static str,
    pub default: Option<&'static str>,
    /// The values of an `+enum` type.
    pub values: &'static [&'static str],
    /// Go names of the embedded structs that hold the field, joined by dots.
    pub embedded: &'static str,
}

/// `+listType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// No marker: server-side apply takes it as atomic.
    Unset,
    Atomic,
    Set,
    /// Keyed by [`Field::keys`].
    Map,
}

/// `patchStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    pub merge: bool,
    pub retain_keys: bool,
    pub replace: bool,
}

/// The type of a field, of a list's items or of a map's values.
#[derive(Debug)]
pub struct Ty {
    pub kind: Kind,
    /// Go's name where it is not the plain one of the kind, such as `v1.DNSPolicy`; else empty.
    pub go: &'static str,
    /// A list that protobuf wraps in a message with the items in field 1.
    pub boxed: bool,
}

impl Ty {
    /// The struct, when it is one.
    pub fn struct_type(&self) -> Option<&'static Type> {
        match self.kind {
            Kind::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// Go's spelling of the type, as error messages have it.
    pub fn go_type(&self) -> String {
        if !self.go.is_empty() {
            return self.go.to_owned();
        }
        match self.kind {
            Kind::String => "string".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::Int32 => "int32".to_owned(),
            Kind::Int64 => "int64".to_owned(),
            Kind::Float64 => "float64".to_owned(),
            Kind::Bytes => "[]uint8".to_owned(),
            Kind::Quantity => "resource.Quantity".to_owned(),
            Kind::IntOrString => "intstr.IntOrString".to_owned(),
            Kind::Time => "v1.Time".to_owned(),
            Kind::MicroTime => "v1.MicroTime".to_owned(),
            Kind::Duration => "v1.Duration".to_owned(),
            Kind::RawExtension => "runtime.RawExtension".to_owned(),
            Kind::FieldsV1 => "v1.FieldsV1".to_owned(),
            Kind::Json => "v1.JSON".to_owned(),
            Kind::Any => "interface {}".to_owned(),
            Kind::SchemaOrArray => "v1.JSONSchemaPropsOrArray".to_owned(),
            Kind::SchemaOrBool => "v1.JSONSchemaPropsOrBool".to_owned(),
            Kind::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray".to_owned(),
            Kind::Ref(ty) => ty.go_name().to_owned(),
            Kind::List(item) => format!("[]{}", item.go_type()),
            Kind::Map(map) => format!("map[{}]{}", map.key_go, map.value.go_type()),
        }
    }
}

/// What a value is, in JSON and in protobuf.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    String,
    Bool,
    Int32,
    Int64,
    Float64,
    /// Base64 in JSON.
    Bytes,
    /// A decimal or binary amount in canonical form.
    Quantity,
    IntOrString,
    /// RFC 3339, seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    /// Go's duration, such as `1m0s`.
    Duration,
    /// Any object; raw bytes in protobuf.
    RawExtension,
    /// A field set of server-side apply; raw bytes in protobuf.
    FieldsV1,
    /// Any JSON value; raw bytes in protobuf.
    Json,
    /// Go's `interface{}` (cells of a Table).
    Any,
    /// JSONSchemaPropsOrArray of apiextensions.
    SchemaOrArray,
    /// JSONSchemaPropsOrBool of apiextensions.
    SchemaOrBool,
    /// JSONSchemaPropsOrStringArray of apiextensions.
    SchemaOrStrings,
    Ref(&'static Type),
    List(&'static Ty),
    Map(&'static MapOf),
}

/// A map with string keys.
#[derive(Debug)]
pub struct MapOf {
    /// Go's name of the key type.
    pub key_go: &'static str,
    pub value: Ty,
}
