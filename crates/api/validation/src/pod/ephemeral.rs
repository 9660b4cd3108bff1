//! Containers for debugging, added to a running pod.
use super::{
    Options, annotations,
    container::{self, Inside},
};
use crate::{field::Field, same, show::internal};
use skiff_json::Value;

pub(super) fn containers(spec: &Field<'_>, pod: &Inside<'_>) {
    let mut names: Vec<&str> = ["containers", "initContainers"].into_iter().flat_map(|l| spec.at(l).items()).map(|c| c.at("name").str()).collect();
    let targets = names.clone();
    for c in spec.at("ephemeralContainers").items() {
        container::common(&c, pod);
        container::trimmed_image(&c);
        let (name, target) = (c.at("name"), c.at("targetContainerName"));
        if names.contains(&name.str()) {
            name.duplicate(name.str());
        } else {
            names.push(name.str());
        }
        if !target.str().is_empty() && !targets.contains(&target.str()) {
            target.not_found(target.str());
        }
        allowed(&c);
    }
}

fn allowed(c: &Field<'_>) {
    let resources = c.at("resources");
    let set = |f: &'static str| c.at(f).exists() && !(f == "resources" && resources.is_empty());
    for f in ["ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"]
        .into_iter()
        .filter(|f| set(f))
    {
        c.at(f).forbidden("cannot be set for an Ephemeral Container");
    }
    for f in c.at("volumeMounts").items().flat_map(|m| [m.at("subPath"), m.at("subPathExpr")]).filter(|f| !f.str().is_empty()) {
        f.forbidden("cannot be set for an Ephemeral Container");
    }
}

/// A write to `pods/ephemeralcontainers`: they may come, never go or change.
pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    if annotations::is_mirror(old) {
        return new.under("-", "[]").forbidden("static pods do not support ephemeral containers");
    }
    super::whole(new, &Options::of_pod(new, Some(old)));
    annotations::update(&new.at("metadata").at("annotations"), &old.at("metadata").at("annotations"));
    let list = new.at("spec").at("ephemeralContainers");
    for before in old.at("spec.ephemeralContainers").items() {
        let name = before.at("name").str();
        match list.items().filter(|c| c.at("name").is(name)).last() {
            None => list.forbidden(&format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(now) if !same::same(now.value(), before.value()) => {
                list.forbidden(&format!("existing ephemeral containers {name:?} may not be changed\n{}", difference(before.value(), now.value())))
            }
            Some(_) => {}
        }
    }
}

fn difference(old: &Value, new: &Value) -> String {
    const TYPE: &str = "io.k8s.api.core.v1.EphemeralContainer";
    same::unified(&pretty(&internal(TYPE, old).0), &pretty(&internal(TYPE, new).0))
}

/// JSON with one space of indentation, as Go indents it.
pub(super) fn pretty(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::with_capacity(json.len() * 2), 0usize, false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                quoted = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                if chars.peek().is_some_and(|n| *n == '}' || *n == ']') {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => out.push(c),
        }
    }
    out
}

fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}
