//! Which names a definition gets: first come, first served within its group.
use super::{Definition, Names};
use std::collections::BTreeSet;

/// What others in the group have taken.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Claimed {
    pub fn add(&mut self, names: &Names) {
        let resources = [&names.plural, &names.singular].into_iter().chain(&names.short);
        self.resources.extend(resources.filter(|n| !n.is_empty()).cloned());
        self.kinds.extend([&names.kind, &names.list_kind].into_iter().filter(|n| !n.is_empty()).cloned());
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub accepted: Names,
    /// Reason and message of the last conflict; None: all names are the definition's.
    pub conflict: Option<(&'static str, String)>,
}

fn fresh(asked: &str, own: &str, taken: &BTreeSet<String>) -> Result<(), String> {
    if asked == own || !taken.contains(asked) { Ok(()) } else { Err(format!("{asked:?} is already in use")) }
}

/// `claimed` are the accepted names of the other definitions of the group.
pub fn decide(d: &Definition, claimed: &Claimed) -> Decided {
    let (asked, mut accepted, mut conflict) = (&d.names, d.accepted.clone(), None);
    let mut settle = |reason, outcome: Result<(), String>| match outcome {
        Ok(()) => true,
        Err(why) => {
            conflict = Some((reason, why));
            false
        }
    };
    if settle("PluralConflict", fresh(&asked.plural, &d.accepted.plural, &claimed.resources)) {
        accepted.plural.clone_from(&asked.plural);
    }
    if settle("SingularConflict", fresh(&asked.singular, &d.accepted.singular, &claimed.resources)) {
        accepted.singular.clone_from(&asked.singular);
    }
    let new = asked.short.iter().filter(|s| !d.accepted.short.contains(s));
    let taken: Vec<String> = new.filter_map(|s| fresh(s, "", &claimed.resources).err()).collect();
    let outcome = match &taken[..] {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    };
    if settle("ShortNamesConflict", outcome) {
        accepted.short.clone_from(&asked.short);
    }
    if settle("KindConflict", fresh(&asked.kind, &d.accepted.kind, &claimed.kinds)) {
        accepted.kind.clone_from(&asked.kind);
    }
    if settle("ListKindConflict", fresh(&asked.list_kind, &d.accepted.list_kind, &claimed.kinds)) {
        accepted.list_kind.clone_from(&asked.list_kind);
    }
    accepted.categories.clone_from(&asked.categories);
    Decided { accepted, conflict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn definition(names: skiff_json::Value) -> Definition {
        Definition::read(&json!({"spec": {"group": "g", "names": names}}))
    }

    #[test]
    fn the_first_gets_the_names() {
        let first = definition(json!({"plural": "as", "singular": "a", "kind": "A", "listKind": "AList", "shortNames": ["x"]}));
        let free = decide(&first, &Claimed::default());
        assert_eq!((free.conflict, &free.accepted), (None, &first.names));
        let mut claimed = Claimed::default();
        claimed.add(&free.accepted);
        let second = definition(json!({"plural": "bs", "singular": "b", "kind": "A", "listKind": "BList", "shortNames": ["x", "y"]}));
        let decided = decide(&second, &claimed);
        assert_eq!(decided.conflict, Some(("KindConflict", "\"A\" is already in use".into())));
        assert_eq!((decided.accepted.plural.as_str(), decided.accepted.kind.as_str(), decided.accepted.short.len()), ("bs", "", 0));
    }
}
