//! What rules let pass because the old object has it already: a stricter server must not make updates impossible.
use crate::{
    field::{Field, passes},
    labels,
};

/// Exceptions from the rules, none for a new object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// It is a Pod, not a template of pods.
    pub is_pod: bool,
    pub any_deletion_cost: bool,
    pub any_selector_value: bool,
    pub any_node_value: bool,
    pub indivisible_huge_pages: bool,
    pub any_spread_selector: bool,
    pub spread_keys_in_selector: bool,
    pub token_path_anywhere: bool,
    pub host_sysctls: bool,
    pub restart_on_resize_of_init: bool,
    pub user_namespaces_with_devices: bool,
    pub image_without_reference: bool,
    pub sys_admin_without_escalation: bool,
}

impl Options {
    pub fn of_pod(pod: &Field<'_>, old: Option<&Field<'_>>) -> Self {
        let _ = pod;
        let mut o = Self::of_template(old);
        o.is_pod = true;
        o
    }

    /// `old` is the old pod or template: something with `metadata` and `spec`.
    pub fn of_template(old: Option<&Field<'_>>) -> Self {
        let mut o = Self::default();
        let Some(old) = old else { return o };
        let (spec, meta) = (old.at("spec"), old.at("metadata"));
        let none = Self::default();
        let breaks = |f: &Field<'_>, rule: &dyn Fn(&Field<'_>)| !passes(f.value(), rule);
        o.any_deletion_cost = super::annotations::deletion_cost(&meta.at("annotations")).is_err();
        let affinity = spec.at("affinity");
        o.any_selector_value = ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
            let kind = affinity.child(*kind);
            let terms = kind
                .at("requiredDuringSchedulingIgnoredDuringExecution")
                .items()
                .chain(kind.at("preferredDuringSchedulingIgnoredDuringExecution").items().map(|w| w.at("podAffinityTerm")));
            terms.into_iter().any(|t| ["labelSelector", "namespaceSelector"].iter().any(|s| breaks(&t.child(*s), &|s| label_values(&s.at("matchExpressions")))))
        });
        let node_terms = affinity.at("nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        o.any_node_value = node_terms.items().any(|t| breaks(&t.at("matchExpressions"), &label_values));
        o.indivisible_huge_pages = super::containers(&spec)
            .iter()
            .any(|c| ["limits", "requests"].iter().any(|s| c.at("resources").child(*s).entries().any(|(k, q)| super::resources::indivisible(k, q.str()))));
        o.any_spread_selector = spec.at("topologySpreadConstraints").items().any(|c| breaks(&c.at("labelSelector"), &|s| labels::selector(s, false)));
        o.spread_keys_in_selector = breaks(&spec.at("topologySpreadConstraints"), &|list| list.items().for_each(|c| super::spread::keys(&c, false)));
        o.token_path_anywhere = spec.at("volumes").items().flat_map(|v| v.at("projected.sources").items()).any(|s| {
            let path = s.at("serviceAccountToken.path");
            !path.str().is_empty() && breaks(&path, &super::sources::local_path)
        });
        o.host_sysctls = spec.at("securityContext.sysctls").items().any(|s| super::security::on_host(&spec, s.at("name").str()).is_some());
        o.restart_on_resize_of_init = spec
            .at("initContainers")
            .items()
            .any(|c| !c.at("restartPolicy").is("Always") && c.at("resizePolicy").items().any(|p| p.at("restartPolicy").is("RestartContainer")));
        o.user_namespaces_with_devices =
            spec.at("hostUsers").switch() == Some(false) && super::containers(&spec).iter().any(|c| !c.at("volumeDevices").list().is_empty());
        o.image_without_reference = spec.at("volumes").items().any(|v| v.at("image").exists() && v.at("image.reference").str().is_empty());
        o.sys_admin_without_escalation = super::containers(&spec).iter().any(|c| breaks(&c.at("securityContext"), &|s| super::security::escalation(s, &none)));
        o
    }
}

fn label_values(expressions: &Field<'_>) {
    for v in expressions.items().flat_map(|e| e.at("values").items()) {
        v.check(crate::names::label_value);
    }
}
