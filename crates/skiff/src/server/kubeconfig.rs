//! The administrator's kubeconfig.
use crate::server::identity::Keys;
use crate::server::settings::Settings;
use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::os::unix::fs::PermissionsExt;

/// Written whole, with the mode that was asked for (0600 unless told otherwise).
pub fn write(s: &Settings, keys: &Keys) -> anyhow::Result<()> {
    let b64 = |text: &str| STANDARD.encode(text);
    let host = if s.listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { s.listen.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: https://{host}:{}\n    certificate-authority-data: {}\nusers:\n- name: default\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: default\n  context:\n    cluster: default\n    user: default\ncurrent-context: default\n",
        s.listen.port(),
        b64(keys.server_ca.certificate()),
        b64(&keys.admin.certificate),
        b64(&keys.admin.key),
    );
    skiff_pki::write_private(&s.kubeconfig, text.as_bytes())?;
    std::fs::set_permissions(&s.kubeconfig, std::fs::Permissions::from_mode(s.kubeconfig_mode))
        .with_context(|| format!("set the mode of {}", s.kubeconfig.display()))
}
