//! Whether a user may do something for a signer: by its name, or by `domain/*`.
use skiff_meta::GroupVersionResource;
use skiff_policy::{Action, Authorizer, Decision};
use skiff_request::{Target, User};

pub(super) async fn allows(authorizer: &dyn Authorizer, user: &User, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let target = Target::new(GroupVersionResource::new("certificates.k8s.io", "*", "signers"), "", name);
        if authorizer.authorize(user, &Action::resource(verb, target)).await == Decision::Allow {
            return true;
        }
    }
    false
}
