//! Namespaces: what holds for several clients together.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::addresses::AddressRules;
use crate::clients::{ClientConfig, RateLimit};
use crate::problem::Problems;

/// The most namespaces within each other.
const MAX_DEPTH: usize = 8;

/// A tenant, a team, a stage: its clients keep to its rules besides their own, and to those of every namespace it is in. So what
/// is within can only be narrower.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// What clients name it by: letters, digits, `.`, `_`, `-`; at most 128.
    pub name: String,

    /// The namespace it is in.
    #[serde(default)]
    pub parent: Option<String>,

    /// Where its clients may be used from.
    #[serde(default)]
    pub addresses: AddressRules,

    /// What its clients may send together. Without it only each for itself is limited.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
}

/// Checks all, and tells each client which it is in, from the inside out.
pub(crate) fn resolve(namespaces: &[Namespace], clients: &mut [ClientConfig], problems: &mut Problems) {
    let mut by_name = BTreeMap::new();
    for namespace in namespaces {
        let key = format!("namespaces `{}`", namespace.name);
        let is_plain = namespace.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if namespace.name.is_empty() || namespace.name.len() > 128 || !is_plain {
            problems.add(&key, "a name has 1 to 128 letters, digits, `.`, `_` or `-`");
        }
        if let Some(limit) = namespace.rate_limit {
            limit.check(&format!("{key}: rate_limit"), problems);
        }
        if by_name.insert(namespace.name.as_str(), namespace).is_some() {
            problems.add(&key, "this name is used twice");
        }
    }
    for namespace in namespaces {
        if let Err(sentence) = lineage(&namespace.name, &by_name) {
            problems.add(format!("namespaces `{}`: parent", namespace.name), sentence);
        }
    }
    for client in clients {
        let Some(name) = &client.namespace else { continue };
        match lineage(name, &by_name) {
            Ok(within) => client.within = within,
            // What is wrong with a parent was said above.
            Err(_) if by_name.contains_key(name.as_str()) => {}
            Err(sentence) => problems.add(format!("clients `{}`: namespace", client.id), sentence),
        }
    }
}

/// The namespace of this name and those it is in.
fn lineage(name: &str, by_name: &BTreeMap<&str, &Namespace>) -> Result<Vec<Namespace>, String> {
    let mut within: Vec<Namespace> = Vec::new();
    let mut next = Some(name);
    while let Some(name) = next {
        let Some(namespace) = by_name.get(name) else {
            return Err(format!("there is no namespace `{name}`; list it in `namespaces`"));
        };
        if within.iter().any(|known| known.name == name) {
            return Err(format!("`{name}` is within itself; take one `parent` away"));
        }
        if within.len() == MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} namespaces are within each other; take some away"));
        }
        within.push(Namespace::clone(namespace));
        next = namespace.parent.as_deref();
    }
    Ok(within)
}
