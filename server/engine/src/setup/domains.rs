//! The place of the gateway's auth domain among the others.

use serde_json::Value;

/// The security plugin's own domains have −1 (on-behalf-of tokens) and −2 (API keys); ours stays clear of what it may
/// add.
const BELOW_ZERO: i64 = -10;

/// A number for the domain `own` that no other domain has, and that is before every domain that challenges: those
/// answer 401 to a request without a credential of theirs.
///
/// The number it has is kept if it is such a one. Numbers of others are never changed.
pub(super) fn free_order(domains: &Value, own: &str) -> i64 {
    let mut taken = Vec::new();
    let mut first_challenge = i64::MAX;
    // A disabled domain may be enabled again, so it counts.
    for (_, domain) in domains.as_object().into_iter().flatten().filter(|(name, _)| *name != own) {
        let order = order(domain);
        taken.push(order);
        if domain.pointer("/http_authenticator/challenge").and_then(Value::as_bool).unwrap_or(true) {
            first_challenge = first_challenge.min(order);
        }
    }
    let is_good = |order: i64| !taken.contains(&order) && order < first_challenge;
    if let Some(current) = domains.get(own).map(order).filter(|order| is_good(*order)) {
        return current;
    }
    // Of so many numbers at least one is free; below the lowest of all there is always one.
    let lowest = taken.iter().copied().min().unwrap_or(0);
    let above_zero = 0..=i64::try_from(taken.len()).unwrap_or(i64::MAX);
    above_zero.into_iter().find(|order| is_good(*order)).unwrap_or(BELOW_ZERO.min(lowest.saturating_sub(1)))
}

/// The order of a domain; the plugin reads a missing one as 0.
pub(crate) fn order(domain: &Value) -> i64 {
    domain.get("order").and_then(Value::as_i64).unwrap_or(0)
}
