//! Containers: main ones, those of the start, and what all kinds have in common.
use super::{Options, env, handler, mounts, resources, security};
use crate::{field::Field, names};
use std::collections::BTreeMap;

/// What containers need to know of the pod around them.
pub(super) struct Inside<'a> {
    pub volumes: BTreeMap<&'a str, Field<'a>>,
    pub claims: Vec<&'a str>,
    pub grace: Option<i64>,
    pub os: Field<'a>,
    pub restart_policy: &'a str,
    pub host_users: bool,
    pub options: &'a Options,
}

impl<'a> Inside<'a> {
    pub fn of(spec: &Field<'a>, volumes: BTreeMap<&'a str, Field<'a>>, options: &'a Options) -> Self {
        let claims = spec.at("resourceClaims").items().map(|c| c.at("name").str()).filter(|n| !n.is_empty()).collect();
        Self {
            volumes,
            claims,
            grace: spec.at("terminationGracePeriodSeconds").number(),
            os: spec.at("os"),
            restart_policy: spec.at("restartPolicy").str(),
            host_users: spec.at("hostUsers").switch() != Some(false),
            options,
        }
    }
}

pub(super) fn main(list: &Field<'_>, pod: &Inside<'_>) {
    if list.list().is_empty() {
        return list.required("");
    }
    let mut names = Vec::new();
    for c in list.items() {
        common(&c, pod);
        let name = c.at("name");
        if names.contains(&name.str()) {
            name.duplicate(name.str());
        }
        names.push(name.str());
        handler::lifecycle(&c.at("lifecycle"), pod);
        handler::probes(&c, pod);
        restart_rules(&c);
    }
    host_ports(list.items());
}

pub(super) fn init(list: &Field<'_>, main: &Field<'_>, pod: &Inside<'_>) {
    let mut names: Vec<&str> = main.items().map(|c| c.at("name").str()).collect();
    for c in list.items() {
        common(&c, pod);
        let (policy, rules) = (c.at("restartPolicy"), c.at("restartPolicyRules"));
        if policy.exists() {
            restart_rules(&c);
        } else if !rules.list().is_empty() {
            policy.required("must specify restartPolicy when restart rules are used");
        }
        let name = c.at("name");
        if names.contains(&name.str()) {
            name.duplicate(name.str());
        } else if !name.str().is_empty() {
            names.push(name.str());
        }
        host_ports_of_one(list, &c);
        let sidecar = policy.is("Always");
        if sidecar {
            handler::lifecycle(&c.at("lifecycle"), pod);
            handler::probes(&c, pod);
            continue;
        }
        for f in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"].map(|f| c.at(f)) {
            if f.exists() {
                f.forbidden("may not be set for init containers without restartPolicy=Always");
            }
        }
        if !pod.options.restart_on_resize_of_init {
            for p in c.at("resizePolicy").items().map(|p| p.at("restartPolicy")).filter(|p| p.is("RestartContainer")) {
                p.invalid(p.str(), "must not be set to 'RestartContainer' for non-sidecar initContainers");
            }
        }
    }
}

/// The rules of every container.
pub(super) fn common(c: &Field<'_>, pod: &Inside<'_>) {
    let name = c.at("name");
    if name.str().is_empty() {
        name.required("");
    } else {
        name.check(names::dns1123_label);
    }
    if c.at("image").str().is_empty() {
        c.at("image").required("");
    }
    c.at("terminationMessagePolicy").one_of(&["File", "FallbackToLogsOnError"]);
    ports(&c.at("ports"));
    env::vars(&c.at("env"));
    env::sources(&c.at("envFrom"));
    mounts::mounts(c, &pod.volumes);
    mounts::devices(c, &pod.volumes);
    pull_policy(&c.at("imagePullPolicy"));
    resources::of_container(&c.at("resources"), &pod.claims, pod.options);
    resize_policy(&c.at("resizePolicy"), pod.restart_policy);
    security::of_container(&c.at("securityContext"), pod.host_users, pod.options);
}

pub(super) fn trimmed_image(c: &Field<'_>) {
    let image = c.at("image");
    if image.str().trim().len() != image.str().len() {
        image.invalid(image.str(), "must not have leading or trailing whitespace");
    }
}

pub(crate) fn pull_policy(f: &Field<'_>) {
    f.one_of(&["Always", "IfNotPresent", "Never"]);
}

pub(crate) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

fn ports(list: &Field<'_>) {
    let mut seen = Vec::new();
    for p in list.items() {
        let name = p.at("name");
        if !name.str().is_empty() {
            if !names::port_name(name.str()).is_empty() {
                name.check(names::port_name);
            } else if seen.contains(&name.str()) {
                name.duplicate(name.str());
            } else {
                seen.push(name.str());
            }
        }
        if p.at("containerPort").int() == 0 {
            p.at("containerPort").required("");
        } else {
            p.at("containerPort").in_range(1, 65535);
        }
        if p.at("hostPort").int() != 0 {
            p.at("hostPort").in_range(1, 65535);
        }
        p.at("protocol").one_of(&PROTOCOLS);
    }
}

/// A port of the host can be taken once.
fn host_ports<'a>(containers: impl Iterator<Item = Field<'a>>) {
    let mut taken = std::collections::HashSet::new();
    for p in containers.flat_map(|c| c.at("ports").items()) {
        let host = p.at("hostPort");
        if host.int() == 0 {
            continue;
        }
        let id = format!("{}/{}/{}", p.at("protocol").str(), p.at("hostIP").str(), host.int());
        if taken.contains(&id) {
            host.duplicate(&id);
        } else {
            taken.insert(id);
        }
    }
}

/// Upstream looks at each container of the start alone, as the first of its list.
fn host_ports_of_one(list: &Field<'_>, c: &Field<'_>) {
    host_ports(std::iter::once(list.index(0).with(c.value())));
}

fn resize_policy(list: &Field<'_>, restart_policy: &str) {
    let mut seen = Vec::new();
    for p in list.items() {
        let (name, policy) = (p.at("resourceName").str(), p.at("restartPolicy").str());
        if seen.contains(&name) {
            p.duplicate(name);
        }
        seen.push(name);
        for (value, supported) in [(name, ["cpu", "memory"]), (policy, ["NotRequired", "RestartContainer"])] {
            match value {
                "" => list.required(""),
                v if supported.contains(&v) => {}
                v => list.unsupported(v, &supported),
            }
        }
        if restart_policy == "Never" && policy != "NotRequired" {
            list.invalid(policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

const MAX_RESTART_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;

fn restart_rules(c: &Field<'_>) {
    let (policy, rules) = (c.at("restartPolicy"), c.at("restartPolicyRules"));
    if policy.exists() {
        policy.if_any_of(&["Always", "Never", "OnFailure"]);
    } else if !rules.list().is_empty() {
        policy.required("must specify restartPolicy when restart rules are used");
    }
    if rules.len() > MAX_RESTART_RULES {
        rules.too_many(rules.len(), MAX_RESTART_RULES);
    }
    for r in rules.items() {
        r.at("action").if_any_of(&["Restart", "RestartAllContainers"]);
        let codes = r.at("exitCodes");
        if !codes.exists() {
            codes.required("must be specified");
            continue;
        }
        codes.at("operator").if_any_of(&["In", "NotIn"]);
        let values = codes.at("values");
        if values.len() > MAX_EXIT_CODES {
            values.too_many(values.len(), MAX_EXIT_CODES);
        }
    }
}

/// A change of images, with containers that may not come or go. False: what follows would make no sense.
pub(super) fn updates(new: &Field<'_>, old: &Field<'_>) -> bool {
    if new.len() != old.len() {
        new.forbidden("pod updates may not add or remove containers");
        return false;
    }
    for c in new.items() {
        if c.at("image").str().is_empty() {
            c.at("image").required("");
        }
        trimmed_image(&c);
    }
    true
}
