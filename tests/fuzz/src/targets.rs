//! The targets: a name, inputs to begin from, and what is done with any bytes.

mod api;
mod net;
mod node;
mod seeds;
mod server;

/// One decoder, or a few that take the same bytes.
pub struct Target {
    pub name: &'static str,
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub run: fn(&[u8]),
}

pub const ALL: &[Target] = &[
    Target { name: "json", seeds: seeds::objects, run: api::json },
    Target { name: "yaml", seeds: seeds::yaml, run: api::yaml },
    Target { name: "protobuf", seeds: seeds::protobuf, run: api::protobuf },
    Target { name: "defaults_and_validation", seeds: seeds::objects, run: api::defaults_and_validation },
    Target { name: "json_patch", seeds: seeds::json_patches, run: api::json_patch },
    Target { name: "merge_patch", seeds: seeds::patches, run: api::merge_patch },
    Target { name: "strategic_patch", seeds: seeds::patches, run: api::strategic_patch },
    Target { name: "apply", seeds: seeds::patches, run: api::apply },
    Target { name: "field_set", seeds: seeds::field_sets, run: api::field_set },
    Target { name: "words", seeds: seeds::words, run: api::words },
    Target { name: "cel", seeds: seeds::cel, run: api::cel },
    Target { name: "jsonpath", seeds: seeds::jsonpaths, run: server::jsonpath },
    Target { name: "crd_schema", seeds: seeds::schemas, run: server::crd_schema },
    Target { name: "requests", seeds: seeds::objects, run: server::requests },
    Target { name: "queries", seeds: seeds::queries, run: server::queries },
    Target { name: "token", seeds: seeds::tokens, run: server::token },
    Target { name: "manifests", seeds: seeds::yaml, run: server::manifests },
    Target { name: "audit_policy", seeds: seeds::audit_policies, run: server::audit_policy },
    Target { name: "flow_control", seeds: seeds::flow_control, run: server::flow_control },
    Target { name: "log_levels", seeds: seeds::levels, run: server::log_levels },
    Target { name: "tar", seeds: seeds::tars, run: node::tar },
    Target { name: "layer", seeds: seeds::layers, run: node::layer },
    Target { name: "image_manifest", seeds: seeds::manifests, run: node::image_manifest },
    Target { name: "image_reference", seeds: seeds::references, run: node::image_reference },
    Target { name: "registries", seeds: seeds::registries, run: node::registries },
    Target { name: "spdy", seeds: seeds::spdy, run: node::spdy },
    Target { name: "websocket", seeds: seeds::websocket, run: node::websocket },
    Target { name: "dns", seeds: seeds::dns, run: net::dns },
    Target { name: "resolv_conf", seeds: seeds::resolv_conf, run: net::resolv_conf },
    Target { name: "netlink", seeds: seeds::netlink, run: net::netlink },
];

pub fn by_name(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|t| t.name == name)
}
