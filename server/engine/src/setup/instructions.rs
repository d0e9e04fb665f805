//! What to do by hand, where the gateway may not do it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::security_config::{SecurityConfig, Trust};

/// What no security configuration can hold, with the driver `extended_proxy`.
const WHO_IS_BELIEVED: &str = "\
    #\n\
    # The engine believes whoever sends from an address of `http.xff.internalProxies`: that list must name the gateway's\n\
    # addresses and no others. So that nobody else who sends from there is believed, let in nobody without a\n\
    # certificate, in opensearch.yml of every node (after a restart it holds for every client of the HTTP port, Dashboards\n\
    # too):\n\
    #   plugins.security.ssl.http.clientauth_mode: REQUIRE\n\
    #   plugins.security.ssl.http.pemtrustedcas_filepath: an authority that signs for such clients alone\n\
    # and give the gateway a certificate of that authority (`upstream.engine.client_certificate`), which must not be one of\n\
    # `plugins.security.authcz.admin_dn`. `oauth4os engine check` proves both.\n";

/// The security configuration as YAML fragments, and what to do with them.
#[must_use]
pub fn instructions(desired: &SecurityConfig) -> String {
    let naming = desired.naming();
    let mut text = format!(
        "# What the cluster's security configuration must hold for the gateway `{domain}`.\n\
         #\n\
         # `oauth4os engine setup --apply` does all of this over the REST API. For the auth domain that needs, in\n\
         # opensearch.yml of every node:\n\
         #   plugins.security.unsupported.restapi.allow_securityconfig_modification: true\n\
         #\n\
         # By hand:\n\
         # 1. Save the configuration the cluster has now, on a node, as its administrator:\n\
         #      plugins/opensearch-security/tools/securityadmin.sh -backup backup -icl -nhnv \\\n\
         #        -cacert root-ca.pem -cert admin.pem -key admin-key.pem\n\
         # 2. Add each fragment below to the file it names, in the folder `backup`. Change nothing else there.\n\
         # 3. In config.yml give the domain an `order` that no other domain has, lower than that of every domain with\n\
         #    `challenge: true`: of two domains with one number the engine drops one without a word.\n\
         # 4. Load the changed files, one at a time:\n\
         #      plugins/opensearch-security/tools/securityadmin.sh -f backup/roles.yml -t roles -icl -nhnv \\\n\
         #        -cacert root-ca.pem -cert admin.pem -key admin-key.pem\n\
         #    and so on with `-f backup/roles_mapping.yml -t rolesmapping` and `-f backup/config.yml -t config`.\n\
         # 5. oauth4os engine check\n",
        domain = naming.domain,
    );
    let roles: Map<String, Value> = desired.roles().into_iter().collect();
    let mappings: Map<String, Value> = desired.mappings().into_iter().collect();
    let mut dynamic = json!({"authc": {naming.domain.as_str(): desired.domain(0)}});
    if let (Some(xff), Some(fields)) = (desired.xff(), dynamic.as_object_mut()) {
        fields.insert("http".to_owned(), json!({"xff": xff}));
    }
    let config = json!({"config": {"dynamic": dynamic}});
    if matches!(desired.trust(), Trust::ExtendedProxy { .. }) {
        text.push_str(WHO_IS_BELIEVED);
    }
    for (file, value) in
        [("roles.yml", Value::Object(roles)), ("roles_mapping.yml", Value::Object(mappings)), ("config.yml", config)]
    {
        let _ = write!(text, "\n# ---- {file}\n");
        write_yaml(&mut text, &value, 0);
    }
    text
}

/// Writes a value as YAML: block style, with strings in double quotes as in JSON, which YAML 1.2 reads the same, and
/// those of several lines as a block.
fn write_yaml(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let _ = write!(text, "{indent}{}:", key(name));
                write_value(text, value, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(text, "{indent}-");
                match item {
                    Value::Object(_) => {
                        text.push('\n');
                        write_yaml(text, item, depth + 1);
                    }
                    _ => write_value(text, item, depth),
                }
            }
        }
        _ => {}
    }
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            write_yaml(text, value, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write_yaml(text, value, depth + 1);
        }
        Value::String(lines) if lines.trim_end().contains('\n') => {
            text.push_str(" |\n");
            for line in lines.lines() {
                let _ = writeln!(text, "{}{line}", "  ".repeat(depth + 1));
            }
        }
        other => {
            let _ = writeln!(text, " {other}");
        }
    }
}

fn key(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_plain { name.to_owned() } else { Value::from(name).to_string() }
}
