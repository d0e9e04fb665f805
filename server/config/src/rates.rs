//! Rates beside those every client has: of what is touched, and of whom it is counted for.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::clients::RateLimit;
use crate::limits::RateMode;
use crate::problem::Problems;

/// The most rules; which of them a request has been counted by is one bit each.
const MAX_RULES: usize = 32;
/// The longest name: it stands in header fields of answers.
const MAX_NAME: usize = 32;
/// Names of the rates that are always there.
const TAKEN: [&str; 3] = ["address", "client", "namespace"];

/// A rate for some of the requests with a valid credential. All rules that meet a request apply, besides the rates of clients and namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateRule {
    /// What answers, audit events and the log call it: up to 32 lower-case letters, digits and `-`.
    pub name: String,

    /// Whose requests are counted together.
    pub per: RatePer,

    /// Only requests that touch something of this scope are counted, for example `search:logs-*`: any index of it, by any of its names.
    /// With `clusters` it names one: `search:eu/logs-*`. Default: all requests.
    #[serde(default)]
    pub scope: Option<String>,

    /// How many.
    pub limit: RateLimit,

    /// What becomes of a request over the rate.
    #[serde(default)]
    pub mode: RateMode,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RatePer {
    /// Those of one client or user, over all its tokens.
    Client,
    /// Those of one tenant: of the outermost namespace a client is in, or of what the `tenant` claim of a provider's token says. Whoever
    /// has none is not counted.
    Tenant,
    /// Those that come from one address (of IPv6: one network of 64 bits).
    Address,
    /// All.
    Gateway,
}

/// Checks what can be said without knowing scopes.
pub(crate) fn check_all(rules: &[RateRule], problems: &mut Problems) {
    if rules.len() > MAX_RULES {
        problems.add("rates", format!("at most {MAX_RULES} rules"));
    }
    let mut seen = BTreeSet::new();
    for rule in rules {
        let key = format!("rates `{}`", rule.name.escape_default());
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !matches!(rule.name.len(), 1..=MAX_NAME) || !rule.name.bytes().all(is_plain) {
            problems.add(&key, format!("a name has up to {MAX_NAME} lower-case letters, digits and `-`"));
        }
        if TAKEN.contains(&rule.name.as_str()) {
            problems.add(&key, "a rate that is always there has this name; choose another one");
        }
        if !seen.insert(rule.name.as_str()) {
            problems.add(&key, "this name is used twice");
        }
        rule.limit.check(&format!("{key}: limit"), problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(rules: &str) -> String {
        let rules: Vec<RateRule> = serde_saphyr::from_str(rules).expect("YAML");
        let mut problems = Problems::default();
        check_all(&rules, &mut problems);
        problems.into_result().err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_rule_says_whose_and_how_many() {
        let good = "[{name: searches, per: tenant, scope: 'search:logs-*', limit: {requests_per_second: 5, burst: 9}, mode: dry_run}, \
                    {name: all-2, per: gateway, limit: {requests_per_second: 5, burst: 9}}]";
        assert_eq!(problems(good), "");
    }

    #[test]
    fn names_are_told_apart_and_can_stand_in_a_header() {
        for (name, said) in [
            ("''", "a name has up to"),
            ("Searches", "a name has up to"),
            ("'a\"b'", "a name has up to"),
            ("abcdefghijklmnopqrstuvwxyz-0123456", "a name has up to"),
            ("client", "always there"),
            ("address", "always there"),
        ] {
            let sentence =
                problems(&format!("[{{name: {name}, per: client, limit: {{requests_per_second: 1, burst: 1}}}}]"));
            assert!(sentence.contains(said), "{name}: {sentence}");
        }
        let rule = "{name: a, per: client, limit: {requests_per_second: 1, burst: 1}}";
        assert!(problems(&format!("[{rule}, {rule}]")).contains("used twice"));
        let zero = "[{name: a, per: client, limit: {requests_per_second: 0, burst: 1}}]";
        assert!(problems(zero).contains("rates `a`: limit"), "{}", problems(zero));
        let many: Vec<String> = (0..33).map(|number| rule.replace(": a,", &format!(": a{number},"))).collect();
        assert!(problems(&format!("[{}]", many.join(","))).contains("at most 32"));
    }
}
