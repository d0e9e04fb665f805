//! The node's configuration: `opensearch.yml`, the JVM's options, and the security configuration the plugin
//! loads into its index at the first start.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::Version;
use crate::certs::{self, Certificates};
use crate::java::Java;
use crate::{files, secrets};

/// The administrator of the engine, with a password of this node's own.
pub(super) const ADMIN_USER: &str = "admin";

/// What the configuration is made from.
pub(super) struct Node<'a> {
    pub version: Version,
    pub home: &'a Path,
    pub dir: &'a Path,
    pub http_port: u16,
    pub transport_port: u16,
    pub certificates: &'a Certificates,
    pub password: &'a str,
    pub java: &'a Java,
}

/// Files of the plugin's own configuration that are taken as they are.
const TAKEN: [&str; 5] = ["action_groups.yml", "allowlist.yml", "audit.yml", "nodes_dn.yml", "tenants.yml"];

/// Writes everything under `<home>/config`.
pub(super) fn write(node: &Node<'_>) -> Result<()> {
    let config = node.home.join("config");
    for (from, name) in [
        (&node.certificates.ca, "ca.pem"),
        (&node.certificates.node, "node.pem"),
        (&node.certificates.node_key, "node-key.pem"),
    ] {
        let pem = std::fs::read(from).with_context(|| format!("{} cannot be read", from.display()))?;
        files::write(&config.join(name), &pem, 0o600)?;
    }
    write_yaml(&config.join("opensearch.yml"), &settings(node))?;
    write_jvm_options(node, &config)?;
    write_security(node, &config.join("opensearch-security"))?;
    files::make_private(&config)
}

fn settings(node: &Node<'_>) -> serde_json::Value {
    let hostname_verification = match node.version {
        Version::V3_4_0 => "transport.ssl.enforce_hostname_verification",
        Version::V2_19_4 => "plugins.security.ssl.transport.enforce_hostname_verification",
    };
    json!({
        "cluster.name": "oauth4os-development",
        "node.name": "engine-0",
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        "http.port": node.http_port,
        "transport.port": node.transport_port,
        "path.data": node.dir.join("data"),
        "path.logs": node.dir.join("logs"),
        // A full disk of a developer must not make the indices read-only.
        "cluster.routing.allocation.disk.threshold_enabled": false,
        "plugins.security.ssl.transport.pemcert_filepath": "node.pem",
        "plugins.security.ssl.transport.pemkey_filepath": "node-key.pem",
        "plugins.security.ssl.transport.pemtrustedcas_filepath": "ca.pem",
        hostname_verification: false,
        "plugins.security.ssl.http.enabled": true,
        "plugins.security.ssl.http.clientauth_mode": "OPTIONAL",
        "plugins.security.ssl.http.pemcert_filepath": "node.pem",
        "plugins.security.ssl.http.pemkey_filepath": "node-key.pem",
        "plugins.security.ssl.http.pemtrustedcas_filepath": "ca.pem",
        "plugins.security.nodes_dn": certs::both_orders(certs::NODE),
        "plugins.security.authcz.admin_dn": certs::both_orders(certs::ADMIN),
        "plugins.security.allow_default_init_securityindex": true,
        "plugins.security.restapi.roles_enabled": ["all_access"],
        // `oauth4os engine setup` adds the gateway's authentication domain over the REST API.
        "plugins.security.unsupported.restapi.allow_securityconfig_modification": true,
        "plugins.security.audit.type": "noop",
        "plugins.security.compliance.salt": "oauth4os-develop",
        "plugins.security.system_indices.enabled": true,
    })
}

fn write_jvm_options(node: &Node<'_>, config: &Path) -> Result<()> {
    files::write(&config.join("jvm.options.d/heap.options"), b"-Xms1g\n-Xmx1g\n", 0o644)?;
    if !node.java.reduced {
        return Ok(());
    }
    let path = config.join("jvm.options");
    let options = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let kept: String =
        options.lines().filter(|line| !line.contains("jdk.incubator.vector")).map(|line| format!("{line}\n")).collect();
    files::write(&path, kept.as_bytes(), 0o644)
}

fn write_security(node: &Node<'_>, folder: &Path) -> Result<()> {
    files::empty_folder(folder)?;
    let plugin = node.home.join("plugins/opensearch-security/config");
    for name in TAKEN {
        std::fs::copy(plugin.join(name), folder.join(name)).with_context(|| {
            format!("the security plugin has no `config/{name}`: delete {} and try again", node.home.display())
        })?;
    }
    let meta = |kind: &str| json!({"type": kind, "config_version": 2});
    let basic = json!({
        "description": "Users of the engine itself",
        "http_enabled": true,
        "transport_enabled": true,
        // The gateway's domain goes before it: a challenging domain answers 401 at once.
        "order": 10,
        "http_authenticator": {"type": "basic", "challenge": true},
        "authentication_backend": {"type": "intern"},
    });
    let dynamic = json!({
        "http": {"anonymous_auth_enabled": false, "xff": {"enabled": false}},
        "authc": {"basic_internal_auth_domain": basic},
        "authz": {},
    });
    write_yaml(&folder.join("config.yml"), &json!({"_meta": meta("config"), "config": {"dynamic": dynamic}}))?;
    write_yaml(&folder.join("roles.yml"), &json!({"_meta": meta("roles")}))?;
    let administrators =
        json!({"reserved": false, "backend_roles": ["admin"], "description": "The administrators of the engine"});
    write_yaml(
        &folder.join("roles_mapping.yml"),
        &json!({"_meta": meta("rolesmapping"), "all_access": administrators}),
    )?;
    let user = json!({
        "hash": secrets::bcrypt_hash(node.password)?,
        "reserved": false,
        "backend_roles": ["admin"],
        "description": "The administrator of this node",
    });
    write_yaml(&folder.join("internal_users.yml"), &json!({"_meta": meta("internalusers"), ADMIN_USER: user}))
}

/// JSON is YAML.
fn write_yaml(path: &Path, value: &serde_json::Value) -> Result<()> {
    files::write(path, serde_json::to_string_pretty(value)?.as_bytes(), 0o600)
}
