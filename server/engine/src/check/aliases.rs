//! Aliases that lead out of what clients may.

use oauth4os_config::StrictAliases;
use oauth4os_policy::Catalog;
use oauth4os_policy::engine::leading_out;

use super::probe::escape;
use super::report::Report;
use super::{Check, ClientScopes};
use crate::catalog::CatalogReader;
use crate::hand_over::HandOver;

/// Reads the names of the cluster as the gateway does, and lists the aliases that lead out of a client's scopes.
pub(super) async fn examine(check: &Check<'_>, report: &mut Report) {
    let reader = CatalogReader::new(check.engine.clone(), HandOver::Told(check.identities.clone()));
    match reader.read(check.clock.now()).await {
        Ok(catalog) => list(&catalog, check.clients, check.strict_aliases, report),
        Err(error) => report.failure("aliases", error.to_string()),
    }
}

pub(super) fn list(catalog: &Catalog, clients: &[ClientScopes], strict: StrictAliases, report: &mut Report) {
    let mut found_any = false;
    for client in clients {
        for leading in leading_out(&client.scopes, &client.forbids, catalog) {
            found_any = true;
            let (name, index, client) = (escape(leading.name), escape(&leading.index.name), escape(&client.client));
            let consequence = match strict {
                StrictAliases::Enforce => {
                    "its requests that take in this name are refused, and the engine is told so too"
                }
                StrictAliases::Warn | StrictAliases::Off => {
                    "it reaches the index by both names: set `upstream.engine.strict_aliases: enforce`, or rename the alias"
                }
            };
            report.warning(
                "aliases",
                format!("`{name}` is inside the scopes of the client `{client}` and stands for `{index}`, which the client is not meant to reach; {consequence}"),
            );
        }
    }
    if !found_any {
        let scopes: usize = clients.iter().map(|client| client.scopes.len()).sum();
        report.ok(
            "aliases",
            format!("no alias leads out of the {scopes} scopes of {} configured clients", clients.len()),
        );
    }
}
