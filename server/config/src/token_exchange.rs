//! Whose tokens a client may exchange for its own (RFC 8693).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::clients::ClientConfig;
use crate::problem::Problems;
use crate::providers::ProviderConfig;

/// What parts a provider's name from that of its principal, and stands in no client's id.
const QUALIFIED: char = '/';

/// The right to exchange tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenExchange {
    /// Whose tokens: ids of clients, its own among them if it is to narrow its own tokens; `provider/name` for a principal of a
    /// provider, `provider/*` for all of them.
    pub subjects: BTreeSet<String>,

    /// Who may be shown to act by an `actor_token`, besides the client itself; written as `subjects`.
    #[serde(default)]
    pub actors: BTreeSet<String>,

    /// Audiences that tokens may be for instead of this gateway. Such a token opens nothing here.
    #[serde(default)]
    pub audiences: BTreeSet<String>,
}

impl TokenExchange {
    /// Whether tokens of this name may be exchanged.
    #[must_use]
    pub fn takes_subject(&self, name: &str) -> bool {
        is_among(&self.subjects, name)
    }

    /// Whether this name may be shown to act.
    #[must_use]
    pub fn takes_actor(&self, name: &str) -> bool {
        is_among(&self.actors, name)
    }
}

fn is_among(names: &BTreeSet<String>, name: &str) -> bool {
    names.contains(name)
        || name.split_once(QUALIFIED).is_some_and(|(provider, _)| names.contains(&format!("{provider}{QUALIFIED}*")))
}

pub(crate) fn check_all(clients: &[ClientConfig], providers: &[ProviderConfig], problems: &mut Problems) {
    for client in clients {
        let Some(rule) = &client.token_exchange else { continue };
        let key = format!("clients `{}`: token_exchange", client.id);
        if rule.subjects.is_empty() {
            problems.add(
                format!("{key}.subjects"),
                "name those whose tokens it may exchange, or take `token_exchange` away",
            );
        }
        for (list, names) in [("subjects", &rule.subjects), ("actors", &rule.actors)] {
            for name in names {
                check_name(&format!("{key}.{list} `{}`", name.escape_default()), name, providers, problems);
            }
        }
        for audience in &rule.audiences {
            if audience.is_empty() || audience.chars().any(|c| c.is_whitespace() || c.is_control()) {
                problems.add(format!("{key}.audiences"), "an audience is a name or an address without spaces");
            }
        }
    }
}

fn check_name(key: &str, name: &str, providers: &[ProviderConfig], problems: &mut Problems) {
    match name.split_once(QUALIFIED) {
        Some((provider, principal)) if !principal.is_empty() => {
            if !providers.iter().any(|known| known.name == provider) {
                problems.add(key, "there is no such provider in `providers`");
            }
        }
        None if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) => {
        }
        _ => problems
            .add(key, "give the id of a client, `provider/name` or `provider/*`; there is no way to name everybody"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole_and_a_provider_may_be_meant_as_a_whole() {
        let rule: TokenExchange =
            serde_saphyr::from_str("{subjects: [app, keycloak/*, okta/ada], actors: [okta/*]}").unwrap();
        for name in ["app", "keycloak/ada", "keycloak/a/b", "okta/ada"] {
            assert!(rule.takes_subject(name), "{name}");
        }
        for name in
            ["", "*", "apps", "App", "keycloak", "keycloak2/ada", "okta/adam", "okta/a", "/ada", "x/keycloak/ada"]
        {
            assert!(!rule.takes_subject(name), "{name}");
        }
        assert!(rule.takes_actor("okta/x") && !rule.takes_actor("app") && !rule.takes_actor("keycloak/ada"));
    }
}
