//! Documents of OpenAPI v3 about what lies beside group versions: where groups are told, the version, keys of tokens.
use super::{
    definition_name,
    paths::{tag_of_group, title_of_group},
};
use crate::version::GIT_VERSION;
use skiff_json::{Map, Value, json};
use skiff_registry::table::Rows;
use skiff_schema::openapi::{Descriptions, definitions_v3};

/// Everything that a client can ask about, without the slash before it.
pub(crate) fn keys(rows: &Rows, served: &[&str]) -> Vec<String> {
    let own = |g: &&str| !g.is_empty() && rows.of_group(g).any(|r| r.custom.is_none());
    let mut all = vec!["api".to_owned(), "apis".to_owned(), "version".to_owned()];
    all.extend(rows.groups().iter().map(|g| &**g).filter(own).map(|g| format!("apis/{g}")));
    all.extend(PLAIN.iter().map(|p| p.key).filter(|k| served.contains(k)).map(str::to_owned));
    all
}

/// Changes with the release alone.
pub(crate) fn hash(key: &str) -> String {
    super::v3::digest(format!("{GIT_VERSION} {} {key}", env!("CARGO_PKG_VERSION")).as_bytes())
}

/// What answers with a text of its own.
struct Plain {
    key: &'static str,
    tag: &'static str,
    id: &'static str,
    about: &'static str,
    media: &'static str,
}

const PLAIN: [Plain; 2] = [
    Plain {
        key: ".well-known/openid-configuration",
        tag: "WellKnown",
        id: "getServiceAccountIssuerOpenIDConfiguration",
        about: "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
        media: "application/json",
    },
    Plain {
        key: "openid/v1/jwks",
        tag: "openid",
        id: "getServiceAccountIssuerOpenIDKeyset",
        about: "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
        media: "application/jwk-set+json",
    },
];

/// The document of one of [`keys`].
pub(crate) fn document(key: &str) -> Value {
    const OBJECTS: &[&str] = &["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
    let versions = "get available API versions";
    let meta = |kind: &str| definition_name("", "v1", kind);
    match key {
        "api" => of(key, "core", versions, "getCoreAPIVersions", OBJECTS, Some(meta("APIVersions"))),
        "apis" => of(key, "apis", versions, "getAPIVersions", OBJECTS, Some(meta("APIGroupList"))),
        "version" => of(
            key,
            "version",
            "get the version information for this server",
            "getCodeVersion",
            &["application/json"],
            Some("io.k8s.apimachinery.pkg.version.Info".into()),
        ),
        _ => match PLAIN.iter().find(|p| p.key == key) {
            Some(p) => of(key, p.tag, p.about, p.id, &[p.media], None),
            None => {
                let group = key.trim_start_matches("apis/");
                let id = format!("get{}APIGroup", title_of_group(group));
                of(key, &tag_of_group(group), "get information of a group", &id, OBJECTS, Some(meta("APIGroup")))
            }
        },
    }
}

/// One path with a GET; without a definition it answers a text.
fn of(key: &str, tag: &str, about: &str, id: &str, media: &[&str], definition: Option<String>) -> Value {
    let root = definition.as_deref().and_then(skiff_schema::by_name);
    let schema = match root {
        Some(ty) => json!({"$ref": format!("#/components/schemas/{}", ty.name)}),
        None if definition.is_some() => json!({"type": "object"}),
        None => json!({"type": "string"}),
    };
    let content: Map = media.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect();
    let get = json!({"tags": [tag], "description": about, "operationId": id, "responses": {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}}});
    let mut components = json!({});
    if let Some(ty) = root {
        let mut schemas = definitions_v3(&[ty], "", "v1", &Descriptions::load());
        schemas.sort_keys();
        components["schemas"] = schemas.into();
    }
    components["securitySchemes"] = super::v3::security();
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": super::RELEASE}, "paths": {format!("/{key}/"): {"get": get}}, "components": components})
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_registry::table::Table;

    #[test]
    fn documents_beside_group_versions() {
        let keys = keys(&Table::builtin().rows(), &["openid/v1/jwks"]);
        assert!(keys.iter().any(|k| k == "apis/rbac.authorization.k8s.io") && !keys.iter().any(|k| k.starts_with(".well-known")));
        for (key, tag, id, definition) in [
            ("api", "core", "getCoreAPIVersions", Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions")),
            ("apis", "apis", "getAPIVersions", Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList")),
            (
                "apis/flowcontrol.apiserver.k8s.io",
                "flowcontrolApiserver",
                "getFlowcontrolApiserverAPIGroup",
                Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup"),
            ),
            ("apis/apps", "apps", "getAppsAPIGroup", Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup")),
            ("openid/v1/jwks", "openid", "getServiceAccountIssuerOpenIDKeyset", None),
        ] {
            let v = document(key);
            let get = &v["paths"][format!("/{key}/")]["get"];
            assert_eq!((get["tags"][0].as_str(), get["operationId"].as_str()), (Some(tag), Some(id)), "{key}");
            if let Some(d) = definition {
                assert!(v["components"]["schemas"][d].is_object(), "{key}: {v}");
            }
        }
    }
}
