//! Clusters that are not told the scopes: everybody who can reach one is sent as a user it already has, and nothing is asked
//! of the engine that only scopes could tell it.

use crate::Config;
use crate::clusters::Cluster;
use crate::driver::Driver;
use crate::identity::IdentityKind;
use crate::problem::Problems;

/// Makes sure that whoever can reach this cluster has a user there, and is held to nothing that the gateway cannot enforce.
pub(crate) fn check_cluster(config: &Config, cluster: &Cluster, problems: &mut Problems) {
    let name = cluster.name.as_deref();
    let basic = cluster.upstream.engine.basic.as_ref().filter(|_| cluster.upstream.engine.driver == Driver::Basic);
    let reaches = |scope: &str| is_for(scope, name);
    let restricted = "rows and fields are enforced by an engine that is told of them; with `driver: basic` and `sigv4` it is not: take the grant out, or give the whole scope";
    for client in &config.clients {
        let key = format!("clients `{}`", client.id);
        if client.grants.iter().any(|grant| reaches(&grant.scope)) {
            problems.add(format!("{key}: grants"), restricted);
        }
        if let Some(basic) = basic.filter(|_| client.scopes.iter().any(|scope| reaches(scope))) {
            let user = client.backend_user.as_ref().and_then(|user| user.of_cluster(name));
            basic.check_user(&format!("{key}: backend_user"), user, problems);
        }
    }
    for provider in &config.providers {
        let key = format!("providers `{}`", provider.name);
        if provider.scopes().any(|(scope, is_restricted)| is_restricted && reaches(scope)) {
            problems.add(format!("{key}: scope_mapping"), restricted);
        }
        if let Some(basic) = basic.filter(|_| provider.scopes().any(|(scope, _)| reaches(scope))) {
            let key = format!("{key}: backend_users");
            let mut users = provider.backend_users.iter().filter_map(|rule| rule.user.of_cluster(name)).peekable();
            if users.peek().is_none() {
                basic.check_user(&key, None, problems);
            }
            users.for_each(|user| basic.check_user(&key, Some(user), problems));
        }
    }
}

/// Makes sure that nobody is given a user or backend roles of which no cluster takes notice.
pub(crate) fn check(config: &Config, problems: &mut Problems) {
    let with_users: Vec<Option<&str>> = config
        .clusters()
        .iter()
        .filter(|cluster| cluster.upstream.engine.driver == Driver::Basic)
        .map(|cluster| cluster.name.as_deref())
        .collect();
    let is_told = config.clusters().is_empty()
        || config.clusters().iter().any(|cluster| cluster.upstream.engine.driver.tells_scopes());
    let unheard = "`identity: own` and `backend_roles` are for clusters that are told who is asking, and with `driver: basic` and `sigv4` none is; leave them out";
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

/// Whether a scope, as it is written, is for this cluster; the only one has no name. What cannot be read is, and is refused
/// elsewhere.
fn is_for(scope: &str, cluster: Option<&str>) -> bool {
    let targets = scope.split_once(':').map_or(scope, |(_, targets)| targets);
    match cluster {
        None => targets != "gateway",
        Some(name) => targets.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')),
    }
}
