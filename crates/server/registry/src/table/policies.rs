//! Who may do what: reviews, RBAC, certificates, admission, disruption, priority, extension of the API.
use super::{Computed, Resource, Role, build::*, fields};
use crate::{
    print,
    strategy::{self, NameRule, StatusMetadata, generation::ON_SPEC, generation::ON_WEBHOOKS},
};

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const AUTHN: &str = "authentication.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";
const CERTS: &str = "certificates.k8s.io";

pub fn rows() -> Vec<Resource> {
    let extension = |kind, plural| {
        cluster(ADMISSION, "v1", kind, plural).categories(&["api-extensions"]).strategy(|s| {
            s.unconditional_update = false;
            s.generation = Some(ON_SPEC);
        })
    };
    let role = |r: Resource| {
        r.strategy(|s| {
            s.create_on_update = true;
            s.name = NameRule::PathSegment;
        })
    };
    vec![
        cluster(AUTHN, "v1", "SelfSubjectReview", "selfsubjectreviews").computed(Computed::SelfSubjectReview),
        cluster(AUTHN, "v1", "TokenReview", "tokenreviews").computed(Computed::TokenReview),
        namespaced(AUTHZ, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews").computed(Computed::LocalSubjectAccessReview),
        cluster(AUTHZ, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews").computed(Computed::SelfSubjectAccessReview),
        cluster(AUTHZ, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews").computed(Computed::SelfSubjectRulesReview),
        cluster(AUTHZ, "v1", "SubjectAccessReview", "subjectaccessreviews").computed(Computed::SubjectAccessReview),
        cluster(CERTS, "v1", "CertificateSigningRequest", "certificatesigningrequests")
            .short(&["csr"])
            .sub("approval", Role::Approval, ("", "", "CertificateSigningRequest"), READ_WRITE)
            .status()
            .columns(print::certificate_signing_request())
            .fields(fields::SIGNER)
            .strategy(|s| {
                s.name = NameRule::PathSegment;
                s.prepare_create = Some(strategy::certificate::prepare_create);
                s.prepare_update = Some(strategy::certificate::prepare_update);
            }),
        cluster(CERTS, "v1", "ClusterTrustBundle", "clustertrustbundles").columns(print::cluster_trust_bundle()).fields(fields::SIGNER).strategy(|s| {
            s.unconditional_update = false;
            s.name = NameRule::PathSegment;
        }),
        namespaced(CERTS, "v1", "PodCertificateRequest", "podcertificaterequests")
            .status()
            .columns(print::pod_certificate_request())
            .fields(fields::POD_CERTIFICATE)
            .strategy(|s| {
                s.unconditional_update = false;
                s.status_metadata = StatusMetadata::Kept;
            }),
        namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).status().columns(print::pod_disruption_budget()).strategy(
            |s| {
                s.name = NameRule::PathSegment;
                s.unconditional_update = false;
                s.generation = Some(strategy::generation::ON_SPEC_OR_SELECTOR);
            },
        ),
        role(cluster(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings").columns(print::role_binding())),
        role(cluster(RBAC, "v1", "ClusterRole", "clusterroles").columns(print::role())),
        role(namespaced(RBAC, "v1", "RoleBinding", "rolebindings").columns(print::role_binding())),
        role(namespaced(RBAC, "v1", "Role", "roles").columns(print::role())),
        extension("MutatingAdmissionPolicy", "mutatingadmissionpolicies").columns(print::mutating_policy()),
        extension("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings").columns(print::policy_binding()),
        extension("MutatingWebhookConfiguration", "mutatingwebhookconfigurations").columns(print::webhooks()).strategy(|s| s.generation = Some(ON_WEBHOOKS)),
        extension("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
            .status()
            .columns(print::validating_policy())
            .strategy(|s| s.status_metadata = StatusMetadata::Kept),
        extension("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings").columns(print::policy_binding()),
        extension("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
            .columns(print::webhooks())
            .strategy(|s| s.generation = Some(ON_WEBHOOKS)),
        cluster("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
            .short(&["crd", "crds"])
            .categories(&["api-extensions"])
            .status()
            .columns(print::custom_resource_definition())
            .strategy(|s| {
                s.unconditional_update = false;
                s.status_without_table = true;
                s.metadata_twice = true;
                s.generation = Some(strategy::generation::ON_EXACT_SPEC);
                s.prepare_create = Some(strategy::definition::prepare_create);
                s.prepare_update = Some(strategy::definition::prepare_update);
                s.prepare_delete = Some(strategy::definition::prepare_delete);
            }),
        cluster("apiregistration.k8s.io", "v1", "APIService", "apiservices").categories(&["api-extensions"]).status().columns(print::api_service()).strategy(
            |s| {
                s.unconditional_update = false;
                s.prepare_create = Some(strategy::api_service::prepare_create);
                s.status_without_table = true;
                s.metadata_twice = true;
                s.name = NameRule::PathSegment;
                s.status_metadata = StatusMetadata::Kept;
            },
        ),
        cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses").short(&["pc"]).columns(print::priority_class()).strategy(|s| {
            s.generation = Some(strategy::generation::ONCE);
        }),
    ]
}
