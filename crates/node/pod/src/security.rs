//! A container's security context, with the pod's merged in.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
use crate::view;
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};
use skiff_cri::{Capabilities, Seccomp, Security, SupplementalGroupsPolicy, User};
use std::path::Path;
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum SecurityError {
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    RootUser { pod: String, container: String },
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    RootImage { pod: String, container: String },
    #[error("container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})")]
    NamedUser { user: String, pod: String, container: String },
    #[error("{field} {value} is no id of this system")]
    Id { field: &'static str, value: i64 },
    #[error("localhostProfile must be set if seccompProfile type is Localhost.")]
    NoProfile,
}

/// `image_user` is the user of the image's configuration; `seccomp_root` the folder of localhost profiles.
pub fn security(pod: &Pod, c: &Container, image_user: &str, seccomp_root: &Path) -> Result<Security, SecurityError> {
    let empty_pod = PodSecurityContext::default();
    let empty = SecurityContext::default();
    let p = view::spec(pod).security_context.as_ref().unwrap_or(&empty_pod);
    let s = c.security_context.as_ref().unwrap_or(&empty);
    let uid = s.run_as_user.or(p.run_as_user);
    verify_non_root(pod, c, s.run_as_non_root.or(p.run_as_non_root), uid, image_user)?;
    let privileged = s.privileged == Some(true);
    let profile = s.seccomp_profile.as_ref().or(p.seccomp_profile.as_ref());
    let unmasked = s.proc_mount.as_deref() == Some("Unmasked");
    let caps = s.capabilities.as_ref();
    Ok(Security {
        user: user(p, uid, s.run_as_group.or(p.run_as_group), image_user)?,
        privileged,
        readonly_rootfs: s.read_only_root_filesystem == Some(true),
        no_new_privs: s.allow_privilege_escalation == Some(false),
        capabilities: Capabilities { add: caps.and_then(|c| c.add.clone()).unwrap_or_default(), drop: caps.and_then(|c| c.drop.clone()).unwrap_or_default() },
        seccomp: if privileged { Seccomp::Unconfined } else { seccomp(profile, seccomp_root)? },
        masked_paths: unmasked.then(Vec::new),
        readonly_paths: unmasked.then(Vec::new),
    })
}

fn id(field: &'static str, value: i64) -> Result<u32, SecurityError> {
    u32::try_from(value).map_err(|_| SecurityError::Id { field, value })
}

fn user(p: &PodSecurityContext, uid: Option<i64>, gid: Option<i64>, image_user: &str) -> Result<User, SecurityError> {
    let mut groups = Vec::new();
    for g in p.fs_group.iter().chain(p.supplemental_groups.iter().flatten()) {
        let g = id("supplementalGroups", *g)?;
        if !groups.contains(&g) {
            groups.push(g);
        }
    }
    Ok(User {
        uid: uid.map(|u| id("runAsUser", u)).transpose()?,
        name: (uid.is_none() && !image_user.is_empty()).then(|| image_user.to_owned()),
        gid: gid.map(|g| id("runAsGroup", g)).transpose()?,
        supplemental_groups: groups,
        policy: match p.supplemental_groups_policy.as_deref() {
            Some("Strict") => SupplementalGroupsPolicy::Strict,
            _ => SupplementalGroupsPolicy::Merge,
        },
    })
}

fn seccomp(profile: Option<&SeccompProfile>, root: &Path) -> Result<Seccomp, SecurityError> {
    match profile.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
        Some(("Unconfined", _)) => Ok(Seccomp::Unconfined),
        Some(("Localhost", Some(file))) if !file.is_empty() => Ok(Seccomp::Localhost(root.join(file))),
        Some(("Localhost", _)) => Err(SecurityError::NoProfile),
        _ => Ok(Seccomp::RuntimeDefault),
    }
}

fn verify_non_root(pod: &Pod, c: &Container, wanted: Option<bool>, uid: Option<i64>, image_user: &str) -> Result<(), SecurityError> {
    if wanted != Some(true) {
        return Ok(());
    }
    let (pod, container) = (view::full_name(pod), c.name.clone());
    let name = image_user.split(':').next().unwrap_or_default();
    match (uid, name.parse::<u32>()) {
        (Some(0), _) => Err(SecurityError::RootUser { pod, container }),
        (Some(_), _) => Ok(()),
        (None, Ok(0)) => Err(SecurityError::RootImage { pod, container }),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) if name.is_empty() => Err(SecurityError::RootImage { pod, container }),
        (None, Err(_)) => Err(SecurityError::NamedUser { user: name.to_owned(), pod, container }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;
    fn of(pod_sc: &str, sc: &str, image_user: &str) -> Result<Security, String> {
        let p = pod(&format!(r#"{{"securityContext":{pod_sc},"containers":[{{"name":"a","securityContext":{sc}}}]}}"#));
        security(&p, &view::containers(&p)[0], image_user, Path::new("/seccomp")).map_err(|e| e.to_string())
    }
    #[test]
    fn merged() {
        let s = of(
            r#"{"runAsUser":1000,"runAsGroup":3,"fsGroup":2000,"supplementalGroups":[7,2000]}"#,
            r#"{"runAsUser":5,"allowPrivilegeEscalation":false,"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]}}"#,
            "nginx",
        )
        .unwrap();
        assert_eq!((s.user.uid, s.user.gid, s.user.name, s.user.supplemental_groups), (Some(5), Some(3), None, vec![2000, 7]));
        assert!(s.no_new_privs && s.capabilities.drop == ["ALL"]);
        assert_eq!(of("{}", "{}", "nginx").unwrap().user.name.as_deref(), Some("nginx"));
        assert_eq!(of("{}", r#"{"privileged":true}"#, "").unwrap().seccomp, Seccomp::Unconfined);
        assert_eq!(
            of("{}", r#"{"seccompProfile":{"type":"Localhost","localhostProfile":"a.json"}}"#, "").unwrap().seccomp,
            Seccomp::Localhost("/seccomp/a.json".into())
        );
    }
    #[test]
    fn non_root() {
        for (sc, image, want) in [
            (r#"{"runAsNonRoot":true,"runAsUser":0}"#, "", "container's runAsUser breaks non-root policy"),
            (r#"{"runAsNonRoot":true}"#, "", "container has runAsNonRoot and image will run as root"),
            (r#"{"runAsNonRoot":true}"#, "0:0", "container has runAsNonRoot and image will run as root"),
            (r#"{"runAsNonRoot":true}"#, "nginx", "container has runAsNonRoot and image has non-numeric user (nginx)"),
        ] {
            assert!(of("{}", sc, image).unwrap_err().starts_with(want), "{sc}");
        }
        assert!(of("{}", r#"{"runAsNonRoot":true}"#, "101").is_ok());
    }
}
