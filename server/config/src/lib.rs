//! The configuration file: types, strict parsing, checks, JSON schema.
//!
//! A [`Config`] is made in one step by [`Config::load`]: read, parse (an unknown key is an error with its line), resolve
//! paths and secrets, check. Whatever comes out can be run; whatever is unsafe or contradictory is refused here, with a
//! sentence that says what to do. Nothing else in the gateway reads the environment or the file.
//!
//! To add a key: put the field with its documentation into the section's module (the documentation becomes the JSON
//! schema's description), check it in that section's `check`, show it in `oauth4os.example.yaml` at the root of the
//! repository (a test loads it), and run `cargo xtask generate`.

mod addresses;
mod api_key;
mod backend;
mod certificates;
mod claims;
mod clients;
mod clusters;
mod dashboards;
mod distinguished_name;
mod driver;
mod grants;
mod identity;
mod limits;
mod listeners;
mod namespaces;
mod policies;
mod problem;
mod providers;
mod rates;
mod reload;
mod secret;
mod server;
mod shared_users;
mod sigv4;
mod state;
mod token_exchange;
mod tokens;
mod units;
mod upstream;
mod websockets;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

pub use addresses::{AddressRefusal, AddressRules, Network, ToldBy, TrustedProxies};
pub use api_key::{ApiKey, ApiKeys, NAMES_KEY};
pub use backend::{BackendUser, BackendUserRule, Basic};
pub use certificates::{CertificateName, ClientCertificates, DnsName, EmailName, UriName};
pub use claims::{ClaimPath, ClaimPaths, OneOrMany};
pub use clients::{ClientConfig, ClientKind, RateLimit, TokenFormat};
pub use clusters::{Cluster, NamedCluster};
pub use dashboards::Dashboards;
pub use distinguished_name::{DistinguishedName, NameAttribute};
pub use driver::{Driver, ExtendedProxy, TrustedBy};
pub use grants::{
    FieldSet, FieldSets, GrantConfig, GrantOrScope, Reference, RowBool, RowField, RowRange, RowValue, RowValues, Rows,
};
pub use identity::{IdentityKind, RESERVED_ROLE_PREFIX};
pub use limits::{Limits, RateHeaders, RateMode};
pub use namespaces::Namespace;
pub use policies::Policies;
pub use problem::{ConfigError, Problems};
pub use providers::{OutsideKind, ProviderConfig, RESERVED_ID_PREFIX, ScopeMapping, SignatureAlgorithm, TokenType};
pub use rates::{RatePer, RateRule};
pub use secret::{Secret, SecretHash};
pub use server::{Audit, AuditFailure, KeyPair, Log, LogFormat, Metrics, Stdout, Tls};
pub use sigv4::{AwsKeys, AwsService, Sigv4};
pub use state::State;
pub use token_exchange::TokenExchange;
pub use tokens::Tokens;
pub use units::{ByteSize, Span};
pub use upstream::{ConnectionPool, Engine, Origin, PartialAccess, StrictAliases, Upstream};
pub use websockets::{WebSocketPath, WebSocketVerb};

/// Everything the gateway needs to know to run, as written in `oauth4os.yaml`.
///
/// Relative paths are relative to the folder of the file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on, for example `0.0.0.0:8443`. Always TLS.
    #[schemars(with = "String")]
    pub listen: std::net::SocketAddr,

    /// The address clients know the gateway by, for example `https://gateway.example.com`: the `iss` of every token
    /// and the base of every endpoint in the metadata. `https`, without query, fragment or final slash (RFC 8414 section 2).
    pub issuer: String,

    /// Certificate and key of the listener.
    pub tls: Tls,

    /// Which addresses may connect. A client may have its own (`clients[].addresses`).
    #[serde(default)]
    pub addresses: AddressRules,

    /// Proxies in front of the gateway whose word on the client's address is taken.
    #[serde(default)]
    pub trusted_proxies: TrustedProxies,

    /// Where the gateway keeps its keys, clients and issued tokens.
    pub state: State,

    /// What stands behind the gateway: one cluster. Give this or `clusters`.
    #[serde(default)]
    upstream: Option<Upstream>,

    /// Several clusters behind the gateway, in place of `upstream`. Every scope then names one: `read:eu/logs-*`.
    #[serde(default)]
    clusters: Vec<NamedCluster>,

    /// Lifetimes and audience of the tokens the gateway issues.
    #[serde(default)]
    pub tokens: Tokens,

    /// Clients that are managed in this file. Clients made at run time live in the state directory instead; an id may
    /// be used only once.
    #[serde(default)]
    pub clients: Vec<ClientConfig>,

    /// What holds for several clients together (`clients[].namespace`).
    #[serde(default)]
    pub namespaces: Vec<Namespace>,

    /// Outside identity providers whose access tokens are taken beside the gateway's own.
    #[serde(default)]
    pub providers: Vec<ProviderConfig>,

    /// Sets of fields that grants may be held to, by name; the engine enforces them. After a change run `oauth4os engine setup`.
    #[serde(default)]
    pub field_sets: FieldSets,

    /// Cedar policies. Without any, the scope of a token alone decides.
    #[serde(default)]
    pub policies: Policies,

    /// What one client, one connection, one request may take.
    #[serde(default)]
    pub limits: Limits,

    /// Rates for some of the requests, beside those every client has.
    #[serde(default)]
    pub rates: Vec<RateRule>,

    /// Where audit events are written: one JSON line for each decision.
    pub audit: Audit,

    /// Prometheus metrics, health and readiness on a listener of their own.
    #[serde(default)]
    pub metrics: Metrics,

    /// The gateway's own log (standard error).
    #[serde(default)]
    pub log: Log,

    /// Threads that serve requests, each with a listener of its own on the same port (1 to 256). Default: one for each core.
    #[serde(default = "default_workers")]
    pub workers: usize,

    /// The file as it is written, to tell what has changed at a reload. It holds no secret.
    #[serde(skip)]
    #[schemars(skip)]
    written: serde_json::Value,

    /// What `upstream` or `clusters` says.
    #[serde(skip)]
    #[schemars(skip)]
    behind: Vec<Cluster>,
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Config {
    /// Reads, resolves and checks the file.
    ///
    /// # Errors
    /// When the file cannot be read, is not what the schema says, or asks for something unsafe; all problems found are
    /// in the error, one sentence each.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let base = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self::parse(&text, &base, &|name| std::env::var(name).ok())
    }

    /// As [`Config::load`], from text: `base` is the folder relative paths start from, `env` the environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        // Without the usual excerpt of the text around an error: a secret may stand there.
        let options = serde_saphyr::options! { with_snippet: false };
        let mut config: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| ConfigError::Syntax { message: error.to_string() })?;
        let options = serde_saphyr::options! { with_snippet: false };
        config.written = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| ConfigError::Syntax { message: error.to_string() })?;
        let mut problems = Problems::default();
        let (upstream, named) = (config.upstream.take(), std::mem::take(&mut config.clusters));
        if upstream.is_some() != named.is_empty() {
            problems.add("upstream", "give `upstream`, or several `clusters`, and not both");
        }
        config.behind = upstream.map(Cluster::only).into_iter().chain(named.into_iter().map(Cluster::from)).collect();
        config.resolve(base, env, &mut problems);
        config.check(&mut problems);
        problems.into_result().map(|()| config)
    }

    /// Makes sure that a gateway which runs with this configuration can go on with `new`.
    ///
    /// # Errors
    /// When something has changed that is read at the start only; every such key is in the error.
    pub fn check_reload(&self, new: &Self) -> Result<(), ConfigError> {
        reload::check(&self.written, &new.written)
    }

    /// The JSON schema of the file (draft 2020-12), as checked in at `docs/reference/config.schema.json`.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).into()
    }

    fn resolve(&mut self, base: &Path, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        self.tls.resolve(base);
        self.state.resolve(base, env, problems);
        self.behind.iter_mut().for_each(|cluster| cluster.upstream.resolve(base, env, problems));
        self.policies.resolve(base);
        self.audit.resolve(base);
        for client in &mut self.clients {
            client.resolve(base, env, problems);
        }
        for provider in &mut self.providers {
            provider.resolve(base);
        }
        namespaces::resolve(&self.namespaces, &mut self.clients, problems);
    }

    fn check(&self, problems: &mut Problems) {
        server::check_issuer(&self.issuer, problems);
        if self.workers == 0 || self.workers > 256 {
            problems.add("workers", "give a number from 1 to 256");
        }
        self.tls.check(problems);
        self.trusted_proxies.check(problems);
        clusters::check(&self.behind, problems);
        self.tokens.check(problems);
        grants::check_field_sets(&self.field_sets, problems);
        clients::check_all(&self.clients, &self.field_sets, problems);
        clients::check_certificates(&self.clients, self.tls.client_certificates.is_some(), problems);
        token_exchange::check_all(&self.clients, &self.providers, problems);
        providers::check_all(&self.providers, &self.issuer, &self.field_sets, problems);
        let has_restricted = self.clients.iter().any(|client| !client.grants.is_empty())
            || self.providers.iter().any(ProviderConfig::has_restricted_grants);
        for cluster in &self.behind {
            match &cluster.name {
                Some(name) => problems.within(format!("clusters `{}`", name.escape_default()), |problems| {
                    self.check_upstream(cluster, has_restricted, problems);
                }),
                None => self.check_upstream(cluster, has_restricted, problems),
            }
        }
        shared_users::check(self, problems);
        self.policies.check(problems);
        self.limits.check(problems);
        rates::check_all(&self.rates, problems);
        self.audit.check(problems);
        self.metrics.check(problems);
        listeners::check(self, problems);
    }

    fn check_upstream(&self, cluster: &Cluster, has_restricted: bool, problems: &mut Problems) {
        let upstream = &cluster.upstream;
        upstream.check(problems);
        if !upstream.engine.driver.tells_scopes() {
            return shared_users::check_cluster(self, cluster, problems);
        }
        if has_restricted && upstream.engine.strict_aliases != StrictAliases::Enforce {
            problems.add(
                "upstream.engine.strict_aliases",
                "must be `enforce` where grants have `rows` or `fields`: an engine before 3.0 lets go of them when an alias matches the scope",
            );
        }
        let of_clients = self.clients.iter().map(|client| (format!("clients `{}`", client.id), &client.backend_roles));
        let of_providers =
            self.providers.iter().map(|provider| (format!("providers `{}`", provider.name), &provider.backend_roles));
        driver::check_backend_roles(upstream.engine.driver, of_clients.chain(of_providers), problems);
    }

    /// The clusters behind the gateway: the only one, or several with a name each.
    #[must_use]
    pub fn clusters(&self) -> &[Cluster] {
        &self.behind
    }

    /// The audience of access tokens: `tokens.audience`, or the issuer.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.tokens.audience.as_deref().unwrap_or(&self.issuer)
    }
}

#[cfg(test)]
mod tests;
