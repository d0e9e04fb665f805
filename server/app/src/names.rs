//! Keeps the data plane's knowledge of the engine's names up to date.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oauth4os_config::{Cluster, PartialAccess, StrictAliases};
use oauth4os_engine::check::ClientScopes;
use oauth4os_engine::{CatalogReader, EngineClient, guard};
use oauth4os_policy::Catalog;
use oauth4os_policy::engine::leading_out;
use oauth4os_proxy::Names;
use oauth4os_tokens::clock::Clock;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// For how long what was read goes on to count while the engine does not say anything new. One that says nothing for so
/// long serves nobody.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// What is known at first: nothing, or, where nobody looks, that all is well.
pub(crate) fn at_first(cluster: &Cluster) -> Arc<Names> {
    let engine = &cluster.upstream.engine;
    if engine.strict_aliases == StrictAliases::Off {
        tracing::warn!(
            cluster = cluster.name,
            "nobody looks at aliases (`upstream.engine.strict_aliases: off`): whoever may add one can widen a token"
        );
        if engine.client_certificate.is_none() && engine.partial_access == PartialAccess::Refuse {
            return Arc::new(Names::unguarded());
        }
    }
    Arc::new(Names::unknown())
}

/// Reads the names of a cluster once, then again and again. What is returned ends when they are known, or the engine gives
/// no answer.
///
/// Nothing is known, and so nothing is forwarded, before `guarded` (a client that shows the gateway's certificate) has
/// shown that this certificate opens nothing by itself.
pub(crate) fn watch(
    names: &Arc<Names>,
    cluster: &Cluster,
    reader: CatalogReader,
    guarded: Option<EngineClient>,
    clients: Vec<ClientScopes>,
    clock: Arc<dyn Clock>,
    control: &Runtime,
) -> oneshot::Receiver<()> {
    let engine = &cluster.upstream.engine;
    let (looked, first) = oneshot::channel();
    let partial = engine.partial_access == PartialAccess::Narrow;
    if engine.strict_aliases == StrictAliases::Off && guarded.is_none() && !partial {
        return first;
    }
    let mut watch = Watch {
        cluster: cluster.name.clone(),
        strict: engine.strict_aliases,
        partial,
        narrows: None,
        guarded,
        reader,
        clients,
        clock,
        names: Arc::clone(names),
        last_good: Instant::now(),
        last_problem: None,
        named: HashSet::new(),
    };
    let every = engine.alias_refresh.as_duration();
    control.spawn(async move {
        watch.look().await;
        // Nobody has to wait for it.
        let _ = looked.send(());
        loop {
            // A look that is asked for takes the place of the regular one.
            let _ = tokio::time::timeout(every, watch.names.wanted()).await;
            watch.look().await;
        }
    });
    first
}

struct Watch {
    cluster: Option<String>,
    strict: StrictAliases,
    /// Searches may be narrowed by the engine.
    partial: bool,
    /// Whether it was seen to do it.
    narrows: Option<bool>,
    /// Until it is shown that the gateway's certificate opens nothing by itself.
    guarded: Option<EngineClient>,
    reader: CatalogReader,
    clients: Vec<ClientScopes>,
    clock: Arc<dyn Clock>,
    names: Arc<Names>,
    last_good: Instant,
    /// Said already.
    last_problem: Option<String>,
    /// Clients and aliases that were named already and are still there.
    named: HashSet<(String, String)>,
}

impl Watch {
    async fn look(&mut self) {
        let look = self.names.begin();
        if let Some(engine) = &self.guarded {
            if let Err(error) = guard::is_no_administrator(engine).await {
                self.say(error.to_string());
                return self.names.give_up(&look);
            }
            self.guarded = None;
        }
        if self.strict == StrictAliases::Off && !self.partial {
            return self.names.finish(&look, Some(Catalog::default()), false);
        }
        match self.reader.read(self.clock.now()).await {
            Ok(catalog) => {
                if self.last_problem.take().is_some() {
                    tracing::info!(
                        cluster = self.cluster,
                        "the names of the engine's indices and aliases are known again"
                    );
                }
                self.last_good = Instant::now();
                if self.strict != StrictAliases::Off {
                    self.name(&catalog);
                }
                let narrows = self.partial && self.look_at_narrowing().await;
                self.names.finish(&look, Some(if self.is_enforced() { catalog } else { Catalog::default() }), narrows);
            }
            Err(error) => {
                self.say(error.to_string());
                if self.strict == StrictAliases::Off {
                    // They were read for the sake of narrowing alone.
                    self.names.finish(&look, Some(Catalog::default()), false);
                } else if self.last_good.elapsed() > GOOD_FOR {
                    self.names.finish(&look, None, false);
                } else {
                    self.names.give_up(&look);
                }
            }
        }
    }

    /// Whether the engine answers for the permitted part of a search; says so when that changes.
    async fn look_at_narrowing(&mut self) -> bool {
        let narrows = match self.reader.narrows(self.clock.now()).await {
            Ok(narrows) => narrows,
            Err(error) => {
                tracing::debug!(cluster = self.cluster, %error, "it cannot be seen whether the engine narrows searches");
                false
            }
        };
        if self.narrows.replace(narrows) != Some(narrows) {
            if narrows {
                tracing::info!(cluster = self.cluster, "searches may be narrowed: the engine is seen to do it");
            } else {
                tracing::warn!(
                    cluster = self.cluster,
                    "searches are not narrowed (`partial_access: narrow`): the engine is not seen to do it, set `do_not_fail_on_forbidden: true` in its security configuration"
                );
            }
        }
        narrows
    }

    /// Names the aliases that lead out of what the configured clients may, each once.
    fn name(&mut self, catalog: &Catalog) {
        let mut present = HashSet::new();
        for client in &self.clients {
            for leading in leading_out(&client.scopes, &client.forbids, catalog) {
                let key = (client.client.clone(), leading.name.to_owned());
                if !self.named.contains(&key) {
                    tracing::warn!(
                        cluster = self.cluster,
                        client = client.client,
                        alias = leading.name,
                        index = &*leading.index.name,
                        refused = self.is_enforced(),
                        "an alias inside a client's scopes stands for an index the client is not meant to reach"
                    );
                }
                present.insert(key);
            }
        }
        self.named = present;
    }

    /// Otherwise the aliases are only named.
    fn is_enforced(&self) -> bool {
        self.strict == StrictAliases::Enforce
    }

    fn say(&mut self, problem: String) {
        if self.last_problem.as_ref() != Some(&problem) {
            tracing::warn!(
                cluster = self.cluster,
                problem,
                "the names of the engine's indices and aliases cannot be read"
            );
            self.last_problem = Some(problem);
        }
    }
}
