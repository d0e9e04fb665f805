//! What stands around the gateway's roles and could widen a token: read with an administrator's access.

use oauth4os_config::PartialAccess;
use reqwest::Method;
use serde_json::Value;

use super::Check;
use super::pattern::{Reach, matches, matches_some};
use super::probe::escape;
use super::report::Report;
use crate::security_config::{SecurityConfig, Trust};
use crate::setup::{Live, order};

/// Looks at the security configuration.
pub(super) async fn examine(check: &Check<'_>, report: &mut Report) {
    let Some(admin) = check.admin else {
        report.not_checked(
            "configuration",
            "role mappings and auth domains that could widen a token: give the administrator's access with `--admin-cert` and `--admin-key`, or `--admin-user` and `--admin-password-file`",
        );
        return;
    };
    match Live::read(admin).await {
        Ok(live) => {
            own(check, &live, report);
            mappings(&live.mappings, check.desired, report);
            let ttl = cache_minutes(check).await;
            settings(&live.dynamic, &check.desired.naming().domain, check.partial_access, ttl.as_deref(), report);
        }
        Err(error) => report.failure("configuration", error.to_string()),
    }
}

/// Whether the gateway's own part is as `engine setup` makes it.
fn own(check: &Check<'_>, live: &Live, report: &mut Report) {
    let plan = live.plan(check.desired);
    if plan.is_empty() {
        report.ok("setup", "auth domain, roles and mappings are as `oauth4os engine setup` makes them");
    }
    for change in plan.changes() {
        report.failure("setup", format!("the {} is not as it should be: see `oauth4os engine setup` for the difference, `--apply` puts it right", change.object));
    }
}

/// Mappings of roles that are not the gateway's to users or backend roles that are.
pub(super) fn mappings(mappings: &Value, desired: &SecurityConfig, report: &mut Report) {
    let (naming, own) = (desired.naming(), desired.roles());
    let mut claimable = Vec::new();
    let mut found_any = false;
    for (role, mapping) in mappings.as_object().into_iter().flatten() {
        if naming.is_own(role) {
            continue;
        }
        let list = |field: &str| -> Vec<&str> {
            mapping.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let role = escape(role);
        let mut warn = |reach: Reach, sentence: String| match reach {
            Reach::No => {}
            Reach::Unknown => {
                found_any = true;
                report.warning("role mappings", format!("{sentence}, if the expression matches; read it"));
            }
            Reach::Yes => {
                found_any = true;
                report.warning("role mappings", sentence);
            }
        };
        for pattern in list("users") {
            warn(
                matches_some(pattern, &naming.user_prefix),
                format!(
                    "the role `{role}` is mapped to `users: {}`, so tokens of the gateway get it too",
                    escape(pattern)
                ),
            );
        }
        for pattern in list("backend_roles") {
            let reach = own.keys().map(|own| matches(pattern, own)).max().unwrap_or(Reach::No);
            warn(
                reach,
                format!(
                    "the role `{role}` is mapped to `backend_roles: {}`, so tokens of the gateway get it too",
                    escape(pattern)
                ),
            );
            if reach == Reach::No {
                claimable.push(role.clone());
            }
        }
        let all_of = list("and_backend_roles");
        if !all_of.is_empty() && all_of.iter().all(|pattern| own.keys().any(|own| matches(pattern, own) != Reach::No)) {
            warn(
                Reach::Yes,
                format!(
                    "the role `{role}` is mapped to `and_backend_roles` that tokens of the gateway can have together"
                ),
            );
        }
        for pattern in list("hosts") {
            warn(
                Reach::Yes,
                format!(
                    "the role `{role}` is mapped to `hosts: {}`: every request through the gateway comes from the gateway's address, so no mapping may match that",
                    escape(pattern)
                ),
            );
        }
    }
    if !found_any {
        report.ok("role mappings", "no role of others is mapped to users or backend roles of the gateway");
    }
    claimable.sort();
    claimable.dedup();
    if !claimable.is_empty() {
        let whoever = match desired.trust() {
            Trust::Jwt { .. } => "whoever has the gateway's key for internal tokens",
            Trust::ExtendedProxy { .. } => "whoever is taken for the gateway",
        };
        report.ok(
            "key",
            format!(
                "{whoever} can claim every backend role, and with them the roles {}: the gateway never does",
                claimable.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(", ")
            ),
        );
    }
}

/// Switches of the security plugin that change what a token gets.
pub(super) fn settings(
    dynamic: &Value,
    own: &str,
    partial_access: PartialAccess,
    cache_minutes: Option<&str>,
    report: &mut Report,
) {
    let is_on = |at: &str| dynamic.pointer(at).and_then(Value::as_bool).unwrap_or(false);
    let narrows = is_on("/do_not_fail_on_forbidden");
    if partial_access == PartialAccess::Narrow && narrows {
        report.ok("settings", "`do_not_fail_on_forbidden` is on, as `partial_access: narrow` needs it");
    } else if partial_access == PartialAccess::Narrow {
        report.failure(
            "settings",
            "`partial_access: narrow` needs `do_not_fail_on_forbidden: true` in the security configuration (config.dynamic): without it the engine refuses such searches",
        );
    } else if narrows {
        report.warning(
            "settings",
            "`do_not_fail_on_forbidden` is on: a search that asks for more than a token may see is narrowed without a word; the gateway refuses such searches before they come there",
        );
    }
    if is_on("/http/anonymous_auth_enabled") {
        report.warning(
            "settings",
            "`anonymous_auth_enabled` is on: the engine lets in whoever reaches it without a credential",
        );
    }
    if is_on("/disable_rest_auth") {
        report.failure("settings", "`disable_rest_auth` is on: the engine does not ask who is there");
    }
    let enabled: Vec<(&String, &Value)> = dynamic
        .get("authc")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, domain)| domain.get("http_enabled").and_then(Value::as_bool).unwrap_or(true))
        .collect();
    for (at, (name, domain)) in enabled.iter().enumerate() {
        for (other, _) in enabled.iter().skip(at + 1).filter(|(_, other)| order(other) == order(domain)) {
            let sentence = format!(
                "the auth domains `{}` and `{}` have the same order number {}: the engine drops one of them without a word",
                escape(name),
                escape(other),
                order(domain)
            );
            if *name == own || *other == own {
                report.failure("auth domains", sentence);
            } else {
                report.warning("auth domains", sentence);
            }
        }
    }
    for (name, domain) in enabled.iter().filter(|(name, _)| *name != own) {
        let kind = domain.pointer("/http_authenticator/type").and_then(Value::as_str).unwrap_or_default();
        if matches!(kind, "proxy" | "extended-proxy") && is_on("/http/xff/enabled") {
            let addresses = dynamic.pointer("/http/xff/internalProxies").and_then(Value::as_str).unwrap_or_default();
            report.warning(
                "auth domains",
                format!(
                    "the auth domain `{}` believes whoever sends from `{}` about the user's name, also one of the gateway's: keep others from sending from there",
                    escape(name),
                    escape(addresses)
                ),
            );
        }
    }
    let authz = dynamic.get("authz").and_then(Value::as_object).into_iter().flatten();
    let looks_up =
        authz.filter(|(_, domain)| domain.get("http_enabled").and_then(Value::as_bool).unwrap_or(true)).count() > 0;
    if looks_up && cache_minutes != Some("0") {
        report.warning(
            "settings",
            format!(
                "roles are also looked up by name (`authz`) and kept for {} minutes, from one token of a name to the next: set `plugins.security.cache.ttl_minutes: 0`",
                escape(cache_minutes.unwrap_or("60"))
            ),
        );
    }
}

async fn cache_minutes(check: &Check<'_>) -> Option<String> {
    let path = "/_cluster/settings?include_defaults=true&flat_settings=true&filter_path=*.plugins.security.cache*";
    let answer = check.admin?.send(Method::GET, path, None).await.ok()?;
    let setting = "plugins.security.cache.ttl_minutes";
    ["transient", "persistent", "defaults"]
        .iter()
        .find_map(|level| answer.body.get(level)?.get(setting)?.as_str().map(str::to_owned))
}
