//! The paths of a group version, out of the table.
use super::{
    definition_name,
    operation::{Body, Content, Operation, Path},
    parameters::{self, Parameter},
};
use skiff_meta::GroupVersionKind;
use skiff_registry::table::{Resource, Role, Rows, Subresource};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const PATCHES: &[&str] =
    &["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
const CUSTOM_PATCHES: &[&str] = &["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
const ANY: &[&str] = &["*/*"];
const CUSTOM: &[&str] = &["application/json", "application/yaml"];

/// `AppsV1`, as operation ids have it.
fn title(group: &str, version: &str) -> String {
    title_of_group(group) + &capital(version)
}
pub(super) fn title_of_group(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    group.split(['.', '-']).map(capital).collect()
}
fn capital(s: &str) -> String {
    let mut c = s.chars();
    c.next().map_or_else(String::new, |f| f.to_uppercase().chain(c).collect())
}
fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", tag_of_group(group))
}
pub(super) fn tag_of_group(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    let mut parts = group.split('.');
    let first = parts.next().unwrap_or_default().to_owned();
    let rest: String = parts.map(capital).collect();
    format!("{first}{rest}")
}
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}/") } else { format!("/apis/{group}/{version}/") }
}

struct Of<'a> {
    r: &'a Resource,
    group: &'a str,
    version: &'a str,
}

impl Of<'_> {
    fn gvk(&self, kind: &str) -> GroupVersionKind {
        GroupVersionKind::new(self.group.to_owned(), self.version.to_owned(), kind.to_owned())
    }
    fn definition(&self, kind: &GroupVersionKind) -> String {
        definition_name(&kind.group, &kind.version, &kind.kind)
    }
    /// `replaceAppsV1NamespacedDeployment…`.
    fn id(&self, verb: &str, middle: &str, tail: &str) -> String {
        let scope = if self.r.namespaced { "Namespaced" } else { "" };
        format!("{verb}{}{middle}{scope}{}{tail}", title(self.group, self.version), self.r.kind)
    }
    fn operation(&self, method: &'static str, action: &'static str, id: String, description: String) -> Operation {
        let kind = self.gvk(&self.r.kind);
        Operation {
            method,
            action,
            id,
            tag: tag(self.group, self.version),
            description,
            parameters: &[],
            body: None,
            answer: Content::Definition(self.definition(&kind)),
            codes: &[200],
            streams: false,
            protobuf: self.r.shape.table(&kind).is_some(),
            kind,
        }
    }
    fn own_body(&self, kind: &GroupVersionKind) -> Option<Body> {
        Some(Body { definition: self.definition(kind), media: if self.r.custom.is_some() { CUSTOM } else { ANY }, required: true })
    }
    fn patch_body(&self) -> Option<Body> {
        let media = if self.r.shape.table(&self.gvk(&self.r.kind)).is_some() { PATCHES } else { CUSTOM_PATCHES };
        Some(Body { definition: format!("{META}Patch"), media, required: true })
    }
    fn delete_body(&self) -> Option<Body> {
        Some(Body { definition: format!("{META}DeleteOptions"), media: if self.r.custom.is_some() { CUSTOM } else { ANY }, required: false })
    }
    fn list(&self, id: String) -> Operation {
        let kind = self.gvk(&format!("{}List", self.r.kind));
        let answer = Content::Definition(self.definition(&kind));
        let op = self.operation("get", "list", id, format!("list or watch objects of kind {}", self.r.kind));
        Operation { parameters: parameters::LIST, answer, streams: self.r.allows("watch"), ..op }
    }
    fn answers_deleted(&self, op: Operation) -> Operation {
        let whole = self.r.strategy.answers_object;
        let answer = if whole { op.answer.clone() } else { Content::Definition(format!("{META}Status")) };
        Operation { answer, codes: &[200, 202], body: self.delete_body(), parameters: parameters::DELETE, ..op }
    }

    fn collection(&self) -> Path {
        let kind = &self.r.kind;
        let mut operations = Vec::new();
        if self.r.allows("list") {
            operations.push(self.list(self.id("list", "", "")));
        }
        if self.r.allows("create") {
            let op = self.operation("post", "post", self.id("create", "", ""), format!("create a {kind}"));
            operations.push(Operation { parameters: parameters::WRITE, body: self.own_body(&self.gvk(kind)), codes: &[200, 201, 202], ..op });
        }
        if self.r.allows("deletecollection") {
            let op = self.operation("delete", "deletecollection", self.id("delete", "Collection", ""), format!("delete collection of {kind}"));
            let answer = Content::Definition(format!("{META}Status"));
            operations.push(Operation { parameters: parameters::DELETE_COLLECTION, body: self.delete_body(), answer, ..op });
        }
        self.path("", None, operations)
    }

    fn object(&self) -> Path {
        let kind = &self.r.kind;
        let mut operations = Vec::new();
        if self.r.allows("get") {
            operations.push(self.operation("get", "get", self.id("read", "", ""), format!("read the specified {kind}")));
        }
        if self.r.allows("update") {
            operations.push(self.put("", &self.gvk(kind), format!("replace the specified {kind}")));
        }
        if self.r.allows("delete") {
            operations.push(self.answers_deleted(self.operation("delete", "delete", self.id("delete", "", ""), format!("delete a {kind}"))));
        }
        if self.r.allows("patch") {
            operations.push(self.patch("", &self.gvk(kind), format!("partially update the specified {kind}")));
        }
        self.path("", Some(kind), operations)
    }

    fn put(&self, tail: &str, kind: &GroupVersionKind, text: String) -> Operation {
        let op = self.operation("put", "put", self.id("replace", "", tail), text);
        Operation { parameters: parameters::WRITE, body: self.own_body(kind), codes: &[200, 201], ..self.speaking(op, kind) }
    }
    fn patch(&self, tail: &str, kind: &GroupVersionKind, text: String) -> Operation {
        let op = self.operation("patch", "patch", self.id("patch", "", tail), text);
        Operation { parameters: parameters::PATCH, body: self.patch_body(), codes: &[200, 201], ..self.speaking(op, kind) }
    }
    fn speaking(&self, op: Operation, kind: &GroupVersionKind) -> Operation {
        Operation { answer: Content::Definition(self.definition(kind)), kind: kind.clone(), ..op }
    }

    fn subresource(&self, s: &Subresource) -> Vec<Path> {
        let kind = if s.kind.version.is_empty() { self.gvk(&s.kind.kind) } else { s.kind.clone() };
        if s.role == Role::Connect {
            return self.connection(s, &kind);
        }
        let (owner, tail) = (&self.r.kind, capital(&s.name));
        let mut operations = Vec::new();
        for verb in s.verbs {
            operations.push(match *verb {
                "get" => self.speaking(self.operation("get", "get", self.id("read", "", &tail), format!("read {} of the specified {owner}", s.name)), &kind),
                "update" => self.put(&tail, &kind, format!("replace {} of the specified {owner}", s.name)),
                "patch" => self.patch(&tail, &kind, format!("partially update {} of the specified {owner}", s.name)),
                _ => {
                    let op = self.speaking(self.operation("post", "post", self.id("create", "", &tail), format!("create {} of a {owner}", s.name)), &kind);
                    Operation { parameters: parameters::WRITE, body: self.own_body(&kind), codes: &[200, 201, 202], ..op }
                }
            });
        }
        operations.sort_by_key(|o| ["get", "put", "post", "patch"].iter().position(|m| *m == o.method));
        vec![self.path(&format!("/{}", s.name), Some(owner), operations)]
    }

    fn connection(&self, s: &Subresource, kind: &GroupVersionKind) -> Vec<Path> {
        let owner = &self.r.kind;
        if s.name == "log" {
            let mut op = self.operation("get", "get", self.id("read", "", "Log"), "read log of the specified Pod".into());
            op.answer = Content::Text;
            let mut path = self.path("/log", Some(owner), vec![op]);
            path.parameters.extend_from_slice(parameters::of_connection("PodLog"));
            return vec![path];
        }
        let proxy = s.name == "proxy";
        let methods: &[&str] = if proxy { &["delete", "get", "head", "options", "patch", "post", "put"] } else { &["get", "post"] };
        let make = |tail: &str| {
            methods
                .iter()
                .map(|m| {
                    let id =
                        self.id("connect", "", "").replacen(&title(self.group, self.version), &format!("{}{}", title(self.group, self.version), capital(m)), 1);
                    let op = self.operation(
                        m,
                        "connect",
                        format!("{id}{}{tail}", capital(&s.name)),
                        format!("connect {} requests to {} of {owner}", m.to_uppercase(), s.name),
                    );
                    Operation { answer: Content::Text, kind: kind.clone(), ..op }
                })
                .collect::<Vec<_>>()
        };
        let with = |mut p: Path| {
            p.parameters = parameters::of_connection(&kind.kind).to_vec();
            p
        };
        let mut all = vec![with(self.path(&format!("/{}", s.name), Some(owner), make("")))];
        if proxy {
            let mut deep = with(self.path("/proxy/{path}", Some(owner), make("WithPath")));
            deep.steps.push(("path", "path to the resource".into()));
            all.push(deep);
        }
        all
    }

    /// `…/namespaces/{namespace}/deployments[/{name}]TAIL`.
    fn path(&self, tail: &str, name: Option<&str>, operations: Vec<Operation>) -> Path {
        let mut path = root(self.group, self.version);
        let mut steps: Vec<(&'static str, String)> = Vec::new();
        if self.r.namespaced {
            path += "namespaces/{namespace}/";
            steps.push(("namespace", "object name and auth scope, such as for teams and projects".into()));
        }
        path += &self.r.plural;
        if let Some(kind) = name {
            path += "/{name}";
            steps.push(("name", format!("name of the {kind}")));
        }
        let parameters: Vec<Parameter> = vec![parameters::PRETTY];
        Path { path: path + tail, steps, parameters, operations }
    }

    /// All namespaces at once.
    fn everywhere(&self) -> Option<Path> {
        if !self.r.namespaced || !self.r.allows("list") {
            return None;
        }
        let id = format!("list{}{}ForAllNamespaces", title(self.group, self.version), self.r.kind);
        let mut op = self.list(id);
        let parameters: Vec<Parameter> = op.parameters.iter().copied().chain([parameters::PRETTY]).collect();
        op.parameters = &[];
        Some(Path { path: format!("{}{}", root(self.group, self.version), self.r.plural), steps: Vec::new(), parameters, operations: vec![op] })
    }
}

/// Every path of a group version, in alphabetical order.
pub(super) fn of_version(rows: &Rows, group: &str, version: &str) -> Vec<Path> {
    let mut all = vec![resources(group, version)];
    for r in rows.of_version(group, version) {
        let of = Of { r: &r, group, version };
        all.push(of.collection());
        if r.allows("get") {
            all.push(of.object());
        }
        all.extend(of.everywhere());
        all.extend(r.subresources.iter().flat_map(|s| of.subresource(s)));
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

fn resources(group: &str, version: &str) -> Path {
    let op = Operation {
        method: "get",
        action: "",
        id: format!("get{}APIResources", title(group, version)),
        tag: tag(group, version),
        description: "get available resources".into(),
        parameters: &[],
        body: None,
        answer: Content::Definition(format!("{META}APIResourceList")),
        codes: &[200],
        streams: false,
        kind: GroupVersionKind::new("", "", ""),
        protobuf: true,
    };
    Path { path: root(group, version), steps: Vec::new(), parameters: Vec::new(), operations: vec![op] }
}
