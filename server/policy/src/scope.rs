//! Scopes: `verb:target[,target...]`, as they stand in a token, separated by spaces (RFC 6749 section 3.3).
//!
//! A target is an index pattern (`logs-*`), an exclusion from the patterns before it (`-logs-secret-*`), or one reserved
//! word: `cluster`, `dashboards`, `gateway`. `cluster-name/` in front of the targets names one of several configured clusters.

use std::collections::BTreeSet;
use std::fmt;

use crate::containment::Sequence;
use crate::expression::{Quoted, has_wildcard};
use crate::glob::{Glob, MAX_GLOB_CHARS};

/// The longest scope list, in bytes. As a pattern for the engine it must fit into a request header with room to spare.
pub const MAX_SCOPE_LIST_BYTES: usize = 4096;
/// The most scopes of one token.
pub const MAX_SCOPES: usize = 64;
/// The most targets of one scope.
pub const MAX_TARGETS: usize = 32;

/// What a scope permits to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Everything that needs the strongest rights on the target.
    Admin,
    /// Adding documents, never changing them.
    Ingest,
    /// The life of indices, or templates and pipelines of the cluster.
    Manage,
    /// State and statistics.
    Monitor,
    /// Searching, documents by id, and what a reader may know of an index.
    Read,
    /// Searching only.
    Search,
    /// Adding, changing and deleting documents; not reading them.
    Write,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 7] =
        [Self::Admin, Self::Ingest, Self::Manage, Self::Monitor, Self::Read, Self::Search, Self::Write];

    /// The verb as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Ingest => "ingest",
            Self::Manage => "manage",
            Self::Monitor => "monitor",
            Self::Read => "read",
            Self::Search => "search",
            Self::Write => "write",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a scope is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The cluster as a whole: `cluster`.
    Cluster,
    /// OpenSearch Dashboards: `dashboards`.
    Dashboards,
    /// The gateway's own control plane: `gateway`. No right on the engine.
    Gateway,
    /// Indices, by patterns and exclusions of which the last that matches decides.
    Indices(Sequence),
}

/// One scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    text: String,
    cluster: Option<String>,
    verb: Verb,
    target: Target,
}

/// The scopes of a token or the scopes a client may ask for, in the order given, without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet {
    scopes: Vec<Scope>,
    /// Whose scopes they are when they are those of one of several clusters.
    of_cluster: Option<String>,
}

/// The names of the configured clusters, for scopes such as `read:staging/logs-*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters(BTreeSet<String>);

impl<S: Into<String>> FromIterator<S> for Clusters {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

/// A scope that cannot be read. For OAuth it is `invalid_scope` (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Longer than [`MAX_SCOPE_LIST_BYTES`].
    #[error("the scope list is longer than {MAX_SCOPE_LIST_BYTES} bytes")]
    ListTooLong,
    /// More than [`MAX_SCOPES`].
    #[error("more than {MAX_SCOPES} scopes are asked for")]
    TooMany,
    /// A character RFC 6749 does not allow in a scope.
    #[error("the scope {0} contains a character that RFC 6749 does not allow in a scope")]
    Token(Quoted),
    /// No colon, or nothing before it.
    #[error("the scope {0} is not of the form `verb:target`, such as `read:logs-*`")]
    Form(Quoted),
    /// An unknown verb.
    #[error(
        "the scope {scope} begins with the unknown verb {verb}, known are read, search, write, ingest, manage, monitor, admin"
    )]
    Verb {
        /// The whole scope.
        scope: Quoted,
        /// What stands before the colon.
        verb: Quoted,
    },
    /// A verb that means nothing on a reserved word.
    #[error("the scope {scope} has no meaning, {hint}")]
    Meaningless {
        /// The whole scope.
        scope: Quoted,
        /// Which verbs the word takes.
        hint: &'static str,
    },
    /// No `cluster-name/` where there are several.
    #[error(
        "the scope {0} names no cluster and there are several behind this gateway, write it such as `read:cluster-name/logs-*`"
    )]
    NoCluster(Quoted),
    /// A `cluster-name/` before a word that means the gateway itself.
    #[error("the scope {0} is about the gateway itself, leave out the cluster")]
    NoClusters(Quoted),
    /// A `cluster-name/` that is not configured.
    #[error("the scope {scope} names the cluster {cluster}, which is not configured on this gateway")]
    Cluster {
        /// The whole scope.
        scope: Quoted,
        /// What stands before the slash.
        cluster: Quoted,
    },
    /// More than [`MAX_TARGETS`].
    #[error("the scope {0} has more than {MAX_TARGETS} targets, split it into several scopes")]
    TooManyTargets(Quoted),
    /// A target that is not an index pattern.
    #[error("the scope {scope} has the target {target}, {problem}")]
    Target {
        /// The whole scope.
        scope: Quoted,
        /// The target.
        target: Quoted,
        /// What is wrong with it and what to do.
        problem: &'static str,
    },
}

impl Scope {
    /// Reads one scope.
    ///
    /// # Errors
    /// When it is not a scope this gateway gives a meaning to.
    pub fn parse(text: &str, clusters: &Clusters) -> Result<Self, ScopeError> {
        if text.len() > MAX_SCOPE_LIST_BYTES {
            return Err(ScopeError::ListTooLong);
        }
        if !text.bytes().all(is_scope_token_byte) {
            return Err(ScopeError::Token(text.into()));
        }
        let (verb, targets) = text.split_once(':').ok_or_else(|| ScopeError::Form(text.into()))?;
        if verb.is_empty() || targets.is_empty() {
            return Err(ScopeError::Form(text.into()));
        }
        let verb = Verb::from_name(verb).ok_or_else(|| ScopeError::Verb { scope: text.into(), verb: verb.into() })?;
        let (cluster, targets) = match targets.split_once('/') {
            Some((name, rest)) if clusters.0.contains(name) => (Some(name.to_owned()), rest),
            Some((name, _)) => {
                return Err(ScopeError::Cluster { scope: text.into(), cluster: name.into() });
            }
            None => (None, targets),
        };
        let target = parse_target(text, verb, targets)?;
        match (&target, &cluster) {
            (Target::Gateway, Some(_)) => Err(ScopeError::NoClusters(text.into())),
            (Target::Cluster | Target::Dashboards | Target::Indices(_), None) if !clusters.0.is_empty() => {
                Err(ScopeError::NoCluster(text.into()))
            }
            _ => Ok(Self { target, text: text.to_owned(), cluster, verb }),
        }
    }

    /// The scope as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it permits to do.
    pub const fn verb(&self) -> Verb {
        self.verb
    }

    /// What it is about.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The cluster it is for, if it names one.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The same right, seen from within the cluster it is for.
    pub(crate) fn of_the_only_cluster(&self) -> Self {
        Self { cluster: None, ..self.clone() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ScopeSet {
    /// Reads a space-separated list. The empty list is the empty set.
    ///
    /// # Errors
    /// When one of the scopes cannot be read, or the list is too long.
    pub fn parse(list: &str, clusters: &Clusters) -> Result<Self, ScopeError> {
        if list.len() > MAX_SCOPE_LIST_BYTES {
            return Err(ScopeError::ListTooLong);
        }
        Self::collect(list.split(' ').filter(|text| !text.is_empty()), clusters)
    }

    /// Reads scopes given one by one, as in a configuration file.
    ///
    /// # Errors
    /// When one of the scopes cannot be read, or they are too many or too long together.
    pub fn collect<S: AsRef<str>>(list: impl IntoIterator<Item = S>, clusters: &Clusters) -> Result<Self, ScopeError> {
        let mut scopes: Vec<Scope> = Vec::new();
        let mut bytes = 0;
        for text in list {
            let scope = Scope::parse(text.as_ref(), clusters)?;
            if scopes.contains(&scope) {
                continue;
            }
            bytes += scope.text.len() + 1;
            if bytes > MAX_SCOPE_LIST_BYTES + 1 {
                return Err(ScopeError::ListTooLong);
            }
            scopes.push(scope);
            if scopes.len() > MAX_SCOPES {
                return Err(ScopeError::TooMany);
            }
        }
        Ok(Self { scopes, of_cluster: None })
    }

    /// The scopes, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter()
    }

    /// How many scopes there are.
    pub fn len(&self) -> usize {
        self.scopes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// The scopes of the named cluster, as scopes of the only cluster.
    #[must_use]
    pub fn for_cluster(&self, name: &str) -> Self {
        let scopes = self.scopes.iter().filter(|scope| scope.cluster() == Some(name));
        Self { scopes: scopes.map(Scope::of_the_only_cluster).collect(), of_cluster: Some(name.to_owned()) }
    }

    /// The cluster whose scopes they are, if it is one of several.
    pub fn of_cluster(&self) -> Option<&str> {
        self.of_cluster.as_deref()
    }

    /// Whether the set holds `admin:gateway`, the right to the gateway's own control plane.
    pub fn administers_gateway(&self) -> bool {
        self.scopes.iter().any(|scope| scope.verb == Verb::Admin && scope.target == Target::Gateway)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.scopes.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&scope.text)?;
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a ScopeSet {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.scopes.iter()
    }
}

/// `scope-token` of RFC 6749 section 3.3.
pub(crate) fn is_scope_token_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

fn parse_target(scope: &str, verb: Verb, targets: &str) -> Result<Target, ScopeError> {
    let meaningless = |hint| Err(ScopeError::Meaningless { scope: scope.into(), hint });
    match (targets, verb) {
        ("cluster", Verb::Admin | Verb::Manage | Verb::Monitor) => Ok(Target::Cluster),
        ("cluster", _) => meaningless("`cluster` takes the verbs monitor, manage and admin"),
        ("dashboards", Verb::Admin | Verb::Manage | Verb::Read | Verb::Write) => Ok(Target::Dashboards),
        ("dashboards", _) => meaningless("`dashboards` takes the verbs read, write, manage and admin"),
        ("gateway", Verb::Admin) => Ok(Target::Gateway),
        ("gateway", _) => meaningless("`gateway` takes the verb admin"),
        _ => parse_indices(scope, targets).map(Target::Indices),
    }
}

fn parse_indices(scope: &str, targets: &str) -> Result<Sequence, ScopeError> {
    let mut sequence = Sequence::default();
    let mut wildcard_seen = false;
    for (count, target) in targets.split(',').enumerate() {
        if count >= MAX_TARGETS {
            return Err(ScopeError::TooManyTargets(scope.into()));
        }
        let problem = |problem| ScopeError::Target { scope: scope.into(), target: target.into(), problem };
        let (excludes, pattern) = target.strip_prefix('-').map_or((false, target), |pattern| (true, pattern));
        check_pattern(pattern).map_err(problem)?;
        if !excludes {
            wildcard_seen |= has_wildcard(pattern);
            sequence.include(Glob::new(pattern));
        } else if wildcard_seen {
            // An exclusion takes away as much as it can be read to.
            sequence.exclude(Glob::with_dots(pattern));
        } else {
            return Err(problem("an exclusion must come after a pattern with a wildcard"));
        }
    }
    Ok(sequence)
}

/// Index names have lower-case letters, but aliases may have others.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), &'static str> {
    if pattern.is_empty() {
        return Err("which is empty, write `*` for every index");
    }
    if pattern.len() > MAX_GLOB_CHARS {
        return Err("which is longer than 127 characters");
    }
    if matches!(pattern, "cluster" | "dashboards" | "gateway") {
        return Err("a reserved word, which stands alone in a scope of its own");
    }
    if pattern.starts_with(['_', '-', '+']) {
        return Err("but no index name begins with `_`, `-` or `+`; every index is `*`");
    }
    if matches!(pattern, "." | "..") {
        return Err("which is not an index name");
    }
    if !pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+@~*?".contains(&byte)) {
        return Err(
            "but targets are made of letters, digits, `-`, `_`, `.`, `+`, `@`, `~` and the wildcards `*` and `?`",
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
