//! Clusters that are not told the scopes: everybody who can reach one is sent as a user it already has, and nothing is asked
//! of the engine that only scopes could tell it.

use crate::Config;
use crate::clusters::Cluster;
use crate::driver::Driver;
use crate::identity::IdentityKind;
use crate::problem::Problems;
use crate::upstream::Engine;

/// Makes sure that whoever can reach this cluster has a user there, and is held to nothing that the gateway cannot enforce.
pub(crate) fn check_cluster(config: &Config, cluster: &Cluster, problems: &mut Problems) {
    let name = cluster.name.as_deref();
    let users = Users::of(&cluster.upstream.engine);
    let reaches = |scope: &str| is_for(scope, name);
    let restricted = "rows and fields are enforced by an engine that is told of them; this cluster's driver does not tell it: take the grant out, or give the whole scope";
    for client in &config.clients {
        let key = format!("clients `{}`", client.id);
        if client.grants.iter().any(|grant| reaches(&grant.scope)) {
            problems.add(format!("{key}: grants"), restricted);
        }
        if let Some(known) = users.as_ref().filter(|_| client.scopes.iter().any(|scope| reaches(scope))) {
            let user = client.backend_user.as_ref().and_then(|user| user.of_cluster(name));
            known.check(&format!("{key}: backend_user"), user, problems);
        }
    }
    for provider in &config.providers {
        let key = format!("providers `{}`", provider.name);
        if provider.scopes().any(|(scope, is_restricted)| is_restricted && reaches(scope)) {
            problems.add(format!("{key}: scope_mapping"), restricted);
        }
        if let Some(known) = users.as_ref().filter(|_| provider.scopes().any(|(scope, _)| reaches(scope))) {
            let key = format!("{key}: backend_users");
            let mut users = provider.backend_users.iter().filter_map(|rule| rule.user.of_cluster(name)).peekable();
            if users.peek().is_none() {
                known.check(&key, None, problems);
            }
            users.for_each(|user| known.check(&key, Some(user), problems));
        }
    }
}

/// Makes sure that nobody is given a user or backend roles of which no cluster takes notice.
pub(crate) fn check(config: &Config, problems: &mut Problems) {
    let with_users: Vec<Option<&str>> = config
        .clusters()
        .iter()
        .filter(|cluster| Users::of(&cluster.upstream.engine).is_some())
        .map(|cluster| cluster.name.as_deref())
        .collect();
    let is_told = config.clusters().is_empty()
        || config.clusters().iter().any(|cluster| cluster.upstream.engine.driver.tells_scopes());
    let unheard = "`identity: own` and `backend_roles` are for clusters that are told who is asking, and none is by its driver; leave them out";
    for client in &config.clients {
        let key = format!("clients `{}`", client.id);
        if let Some(user) = &client.backend_user {
            user.check_clusters(&format!("{key}: backend_user"), &with_users, problems);
        }
        if client.identity == IdentityKind::Own && !is_told {
            problems.add(key, unheard);
        }
    }
    for provider in &config.providers {
        let key = format!("providers `{}`", provider.name);
        for rule in &provider.backend_users {
            rule.user.check_clusters(&format!("{key}: backend_users"), &with_users, problems);
        }
        if provider.identity == IdentityKind::Own && !is_told {
            problems.add(key, unheard);
        }
    }
}

/// The users that requests can be sent as.
struct Users<'e> {
    /// Where they are configured.
    place: &'static str,
    names: Vec<&'e str>,
}

impl<'e> Users<'e> {
    /// `None` where there is no choice.
    fn of(engine: &'e Engine) -> Option<Self> {
        match engine.driver {
            Driver::Basic => {
                let names = engine.basic.iter().flat_map(|basic| basic.users.keys()).map(String::as_str);
                Some(Self { place: "upstream.engine.basic.users", names: names.collect() })
            }
            Driver::ApiKey => {
                let names = engine.api_key.iter().flat_map(|keys| keys.keys.keys()).map(String::as_str);
                Some(Self { place: "upstream.engine.api_key.keys", names: names.collect() })
            }
            Driver::Jwt | Driver::ExtendedProxy | Driver::Sigv4 => None,
        }
    }

    /// Makes sure that somebody who can reach the cluster is sent as one of them.
    fn check(&self, key: &str, user: Option<&str>, problems: &mut Problems) {
        let place = self.place;
        match user {
            None => problems.add(
                key,
                format!(
                    "can reach a cluster where requests go as users of its own, and has none; name one of `{place}`"
                ),
            ),
            Some(user) if !self.names.contains(&user) => {
                let known: Vec<String> = self.names.iter().map(|name| format!("`{}`", name.escape_default())).collect();
                problems.add(key, format!("`{}` is none of `{place}`: {}", user.escape_default(), known.join(", ")));
            }
            Some(_) => {}
        }
    }
}

/// Whether a scope, as it is written, is for this cluster; the only one has no name. What cannot be read is, and is refused
/// elsewhere.
fn is_for(scope: &str, cluster: Option<&str>) -> bool {
    let targets = scope.split_once(':').map_or(scope, |(_, targets)| targets);
    match cluster {
        None => targets != "gateway",
        Some(name) => targets.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')),
    }
}
