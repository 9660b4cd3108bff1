//! What a kind does differently from others on its way through the pipeline: flags and small functions of a row.
//!
//! Functions here are pure: they get the object, the one before and what is known of the request. They never read the
//! store; what needs the cluster's state (addresses, evictions) lives beside the pipeline.

pub mod api_service;
pub mod certificate;
pub mod definition;
pub mod gates;
pub mod generation;
pub mod namespace;
pub mod pod;
pub mod pod_resources;
pub mod secret;
pub mod service;
pub mod volume;
pub mod workload;

use crate::table::Role;
use generation::Generation;
use skiff_json::Value;
use skiff_meta::{NameError, Timestamp};
use skiff_request::User;

/// What preparation knows of the request.
pub struct Prepare<'a> {
    pub user: &'a User,
    pub now: Timestamp,
    /// The subresource that is written, None for the object itself.
    pub role: Option<Role>,
}

pub type PrepareCreate = fn(&mut Value, &Prepare<'_>);
pub type PrepareUpdate = fn(&mut Value, &Value, &Prepare<'_>);

/// What of the metadata a write of the status may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMetadata {
    /// What a write of the object may.
    Free,
    /// All but labels.
    NoLabels,
    /// Nothing that a client sets.
    Kept,
}

#[derive(Clone, Copy)]
pub struct Strategy {
    /// PUT of a name that is not there creates it.
    pub create_on_update: bool,
    /// PUT without a resourceVersion overwrites.
    pub unconditional_update: bool,
    pub name: NameRule,
    pub metadata_rules: MetadataRules,
    /// Fields whose rules are declared: at the end of what is wrong they stand behind a name of a declared rule.
    pub declared: &'static [&'static str],
    /// Reads are answered by the store itself, upstream without its watch cache: bad revisions are told in other words.
    pub uncached: bool,
    /// A new object keeps the status that it comes with.
    pub born_with_status: bool,
    /// Annotations that stand for fields of upstream's inner types: the whole object shows them, its metadata alone does not.
    pub inner_annotations: &'static [&'static str],
    /// Numbers that upstream's inner type has no nil for: an object of nothing shows them as 0.
    pub inner_zeros: &'static [&'static str],
    /// DELETE answers with the object, not with a Status.
    pub answers_object: bool,
    /// Has a status that only its subresource writes.
    pub status: bool,
    pub status_metadata: StatusMetadata,
    /// The status subresource has no form as a Table.
    pub status_without_table: bool,
    pub generation: Option<Generation>,
    /// Upstream's server of the kind tells what is wrong with metadata once more, and its causes so often.
    pub metadata_twice: bool,
    /// Objects go by themselves after so long; 0 for never.
    pub ttl_seconds: u32,
    /// Takes addresses and ports out of the cluster's ranges.
    pub allocates: bool,
    /// Dependents stay when a client names no policy.
    pub orphans_by_default: bool,
    /// Seconds between the mark and the removal, from the object and what the client asks; None: removed at once.
    pub grace: Option<fn(&Value, Option<i64>) -> i64>,
    /// What every answer warns of when the API itself is on its way out.
    pub deprecated: Option<&'static str>,
    /// Brings what was read into the form that is kept, before defaults and before anybody's fields are recorded.
    pub read: Option<fn(&mut Value)>,
    /// Where the kind has a pod's spec; empty for nowhere.
    pub pod_spec: &'static str,
    /// Fields that are switched off, as [`gates::drop_paths`] takes them.
    pub gated: &'static [&'static str],
    /// Takes the old form of fields over into a new object; gives what the client is told of it.
    pub adopt: Option<fn(&mut Value) -> Vec<String>>,
    pub prepare_create: Option<PrepareCreate>,
    pub prepare_update: Option<PrepareUpdate>,
    /// What the first deletion makes of an object, before its finalizers are looked at; the text is the time.
    pub prepare_delete: Option<fn(&Value, &str) -> Value>,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            create_on_update: false,
            unconditional_update: true,
            name: NameRule::Subdomain,
            metadata_rules: MetadataRules::First,
            declared: &[],
            uncached: false,
            born_with_status: false,
            inner_annotations: &[],
            inner_zeros: &[],
            answers_object: false,
            status: false,
            status_metadata: StatusMetadata::Free,
            status_without_table: false,
            generation: None,
            metadata_twice: false,
            ttl_seconds: 0,
            allocates: false,
            orphans_by_default: false,
            grace: None,
            deprecated: None,
            read: None,
            pod_spec: "",
            gated: &[],
            adopt: None,
            prepare_create: None,
            prepare_update: None,
            prepare_delete: None,
        }
    }
}

/// When the rules that hold for every kind's metadata are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataRules {
    /// Before those of the kind.
    First,
    /// The same, but what the kind's own rules say of the name stays among them.
    FirstAlone,
    /// Behind the kind's first rules: those about these fields.
    Behind(&'static [&'static str]),
    /// Where nothing else is wrong.
    Last,
}

impl MetadataRules {
    /// What is wrong with a new object, in order: its metadata's causes and its kind's.
    pub fn order<C>(self, metadata: Vec<C>, kinds: Vec<C>, field: impl Fn(&C) -> &str) -> Vec<C> {
        let at = match self {
            MetadataRules::First | MetadataRules::FirstAlone => 0,
            MetadataRules::Behind(fields) => kinds.iter().position(|c| !fields.contains(&field(c))).unwrap_or(kinds.len()),
            MetadataRules::Last if !kinds.is_empty() => return kinds,
            MetadataRules::Last => 0,
        };
        let mut all = kinds;
        all.splice(at..at, metadata);
        all
    }
}

/// What names of a kind may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    Subdomain,
    /// The same by a declared rule: it is looked at last, counts bytes, and knows nothing of `generateName`.
    DeclaredSubdomain,
    Label,
    /// Anything that is one step of a path: RBAC's names with colons.
    PathSegment,
    /// An address in its canonical form: IPAddresses. What it is generated from is the name, too.
    Address,
}

impl NameRule {
    pub fn check(self, name: &str) -> Result<(), Vec<NameError>> {
        match self {
            NameRule::Subdomain => skiff_meta::is_dns1123_subdomain(name),
            NameRule::DeclaredSubdomain => skiff_meta::is_dns1123_subdomain(name)
                .map_err(|all| all.into_iter().map(|e| NameError(e.0.replace("more than 253 characters", "more than 253 bytes"))).collect()),
            NameRule::Label => skiff_meta::is_dns1123_label(name),
            NameRule::PathSegment => path_segment(name),
            NameRule::Address => address(name),
        }
    }
}

fn address(name: &str) -> Result<(), Vec<NameError>> {
    let wrong: Vec<NameError> = skiff_validation::ip_address_name(name).into_iter().map(|m| NameError(m.to_string())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn path_segment(name: &str) -> Result<(), Vec<NameError>> {
    let mut errs = Vec::new();
    if name == "." || name == ".." {
        errs.push(NameError(format!("may not be '{name}'")));
    }
    for c in ['/', '%'] {
        if name.contains(c) {
            errs.push(NameError(format!("may not contain '{c}'")));
        }
    }
    if errs.is_empty() { Ok(()) } else { Err(errs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_metadata_have_their_place() {
        for (rules, want) in [
            (MetadataRules::First, "m1 m2 a b"),
            (MetadataRules::Behind(&["a"]), "a m1 m2 b"),
            (MetadataRules::Behind(&["b"]), "m1 m2 a b"),
            (MetadataRules::Behind(&["a", "b"]), "a b m1 m2"),
            (MetadataRules::Last, "a b"),
        ] {
            assert_eq!(rules.order(vec!["m1", "m2"], vec!["a", "b"], |c| c).join(" "), want, "{rules:?}");
        }
        assert_eq!(MetadataRules::Last.order(vec!["m"], vec![], |c| c), ["m"]);
        assert_eq!(NameRule::DeclaredSubdomain.check(&"a".repeat(254)), Err(vec![NameError("must be no more than 253 bytes".into())]));
    }
}
