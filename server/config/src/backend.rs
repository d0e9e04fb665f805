//! Users that a cluster already has, and which of them requests go as (`driver: basic`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::problem::Problems;
use crate::secret::Secret;

/// The most users, and the longest name and password in bytes: with both a request's header stays within what servers take.
const MAX_USERS: usize = 256;
const MAX_NAME: usize = 256;
const MAX_PASSWORD: usize = 1_024;

/// Users of the cluster's own, as which requests are sent to it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Basic {
    /// The users by name, each with its password: `${NAME}` of the environment, or `{file: path}`. Changed passwords are taken
    /// into use at a reload.
    pub users: BTreeMap<String, Secret>,

    /// The user under whom the gateway reads the names of indices, aliases and data streams; it must see them all. Needed
    /// unless `strict_aliases: off` is said.
    pub catalog_user: Option<String>,

    /// The passwords.
    #[serde(skip)]
    #[schemars(skip)]
    pub passwords: BTreeMap<String, SecretString>,
}

/// The user of a cluster as which somebody's requests are sent: one name for every cluster with `driver: basic`, or one for
/// each: `{eu: reader, us: analyst}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BackendUser {
    /// The user of this name.
    Everywhere(String),
    /// By the name of the cluster.
    ByCluster(BTreeMap<String, String>),
}

/// As which user of the cluster the principals of a provider are sent: those with this role, group or scope, or all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendUserRule {
    /// Those with this role, by `claims.roles`.
    #[serde(default)]
    pub role: Option<String>,
    /// Those in this group, by `claims.groups`.
    #[serde(default)]
    pub group: Option<String>,
    /// Those with this scope of the provider.
    #[serde(default)]
    pub scope: Option<String>,
    /// The user.
    pub user: BackendUser,
}

impl BackendUser {
    /// The user in a cluster; the only one has no name.
    #[must_use]
    pub fn of_cluster(&self, cluster: Option<&str>) -> Option<&str> {
        match self {
            Self::Everywhere(user) => Some(user),
            Self::ByCluster(users) => users.get(cluster?).map(String::as_str),
        }
    }

    fn clusters(&self) -> impl Iterator<Item = &str> {
        let by_cluster = match self {
            Self::Everywhere(_) => None,
            Self::ByCluster(users) => Some(users.keys().map(String::as_str)),
        };
        by_cluster.into_iter().flatten()
    }

    /// Makes sure that it is about clusters that have users of their own. `with_users` are the names of these.
    pub(crate) fn check_clusters(&self, key: &str, with_users: &[Option<&str>], problems: &mut Problems) {
        if with_users.is_empty() {
            problems.add(key, "is for clusters with `driver: basic`, and there is none; leave it out");
        }
        for name in self.clusters().filter(|name| !with_users.contains(&Some(name))) {
            problems.add(key, format!("`{}` is no cluster with `driver: basic`", name.escape_default()));
        }
    }
}

impl BackendUserRule {
    /// Whether it is for everybody.
    #[must_use]
    pub const fn is_for_all(&self) -> bool {
        self.role.is_none() && self.group.is_none() && self.scope.is_none()
    }
}

/// Makes sure that each rule can be met, and means one thing.
pub(crate) fn check_rules(key: &str, rules: &[BackendUserRule], problems: &mut Problems) {
    for (at, rule) in rules.iter().enumerate() {
        let conditions = [&rule.role, &rule.group, &rule.scope];
        if conditions.iter().filter(|condition| condition.is_some()).count() > 1 {
            problems.add(key, "give one of `role`, `group` and `scope` in an entry; the first entry that fits decides");
        }
        if conditions.into_iter().flatten().any(String::is_empty) {
            problems.add(key, "an entry names nothing; leave the condition out for everybody");
        }
        if rule.is_for_all() && matches!(rule.user, BackendUser::Everywhere(_)) && at + 1 < rules.len() {
            problems.add(key, "the entry for everybody comes last; those behind it would never be looked at");
        }
    }
}

impl Basic {
    pub(crate) fn resolve(&mut self, base: &Path, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        for (name, secret) in &self.users {
            let key = format!("upstream.engine.basic.users `{}`", name.escape_default());
            if let Some(password) = secret.fetch(&key, base, env, problems) {
                self.passwords.insert(name.clone(), password);
            }
        }
    }

    pub(crate) fn check(&self, looks_at_names: bool, problems: &mut Problems) {
        let mut add = |key: &str, sentence: String| problems.add(format!("upstream.engine.basic.{key}"), sentence);
        if self.users.is_empty() || self.users.len() > MAX_USERS {
            add("users", format!("name 1 to {MAX_USERS} users of the cluster, each with its password"));
        }
        for name in self.users.keys().filter(|name| !is_user(name)) {
            add(
                "users",
                format!(
                    "`{}`: a name has 1 to {MAX_NAME} bytes, and no `:` and no control character",
                    name.escape_default()
                ),
            );
        }
        for (name, password) in &self.passwords {
            let password = password.expose_secret();
            if password.len() > MAX_PASSWORD || password.chars().any(char::is_control) {
                add(
                    "users",
                    format!(
                        "the password of `{}` is longer than {MAX_PASSWORD} bytes or holds a control character",
                        name.escape_default()
                    ),
                );
            }
        }
        match &self.catalog_user {
            Some(name) if !self.users.contains_key(name) => {
                add("catalog_user", format!("`{}` is none of `users`", name.escape_default()));
            }
            None if looks_at_names => add(
                "catalog_user",
                "name the user under whom the names of indices and aliases are read, or say `strict_aliases: off`: then nobody looks whether an alias leads out of a scope".to_owned(),
            ),
            _ => {}
        }
    }

    /// Makes sure that somebody who can reach the cluster is sent as one of its users.
    pub(crate) fn check_user(&self, key: &str, user: Option<&str>, problems: &mut Problems) {
        match user {
            None => problems.add(
                key,
                "can reach a cluster with `driver: basic` and has no user there; name one of `upstream.engine.basic.users`",
            ),
            Some(user) if !self.users.contains_key(user) => {
                let known: BTreeSet<&str> = self.users.keys().map(String::as_str).collect();
                let known: Vec<String> = known.into_iter().map(|name| format!("`{}`", name.escape_default())).collect();
                problems.add(
                    key,
                    format!(
                        "`{}` is none of `upstream.engine.basic.users`: {}",
                        user.escape_default(),
                        known.join(", ")
                    ),
                );
            }
            Some(_) => {}
        }
    }
}

/// RFC 7617 section 2: everything up to the first colon is the name.
fn is_user(name: &str) -> bool {
    matches!(name.len(), 1..=MAX_NAME) && !name.contains(':') && !name.chars().any(char::is_control)
}
