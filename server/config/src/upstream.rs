//! What stands behind the gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api_key::ApiKeys;
use crate::backend::Basic;
use crate::claims::OneOrMany;
use crate::dashboards::Dashboards;
use crate::driver::{Driver, ExtendedProxy};
use crate::jwt::Jwt;
use crate::problem::Problems;
use crate::server::KeyPair;
use crate::sigv4::Sigv4;
use crate::units::Span;

/// The most nodes of one cluster.
const MAX_NODES: usize = 64;

/// The servers requests are forwarded to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The OpenSearch engine.
    pub engine: Engine,

    /// OpenSearch Dashboards, if it is to be asked through the gateway.
    #[serde(default)]
    pub dashboards: Option<Dashboards>,
}

/// The OpenSearch engine and how it learns who is asking.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Scheme, host and port, for example `https://opensearch.example.com:9200`, or a list of them: nodes of one cluster, of
    /// which any can be asked. Plain `http` only to this machine.
    pub url: OneOrMany,

    /// Certificates (PEM) of the authority that signed the engine's. Default: the system's authorities.
    #[serde(default)]
    pub ca: Option<PathBuf>,

    /// Certificate and key (PEM) the gateway shows to the engine. Never one of the engine's administrators: such a
    /// connection may do everything, whatever a request says.
    #[serde(default)]
    pub client_certificate: Option<KeyPair>,

    /// How the engine learns who is asking.
    #[serde(default)]
    pub driver: Driver,

    /// What `driver: jwt` may say.
    #[serde(default)]
    pub jwt: Option<Jwt>,

    /// What `driver: extended_proxy` needs.
    #[serde(default)]
    pub extended_proxy: Option<ExtendedProxy>,

    /// What `driver: basic` needs.
    #[serde(default)]
    pub basic: Option<Basic>,

    /// What `driver: api_key` needs.
    #[serde(default)]
    pub api_key: Option<ApiKeys>,

    /// What `driver: sigv4` needs.
    #[serde(default)]
    pub sigv4: Option<Sigv4>,

    /// What to do about aliases that lead out of a scope: to the engine an alias whose own name matches a pattern grants
    /// all its members, so that whoever may add an alias could widen a token.
    #[serde(default)]
    pub strict_aliases: StrictAliases,

    /// What becomes of a search whose wildcards reach beyond what is permitted.
    #[serde(default)]
    pub partial_access: PartialAccess,

    /// How often the names of indices, aliases and data streams are read (1 to 60 seconds): for so long an alias that was made
    /// behind the gateway's back may go unnoticed. What passes through the gateway is noticed at once.
    #[serde(default = "default_alias_refresh")]
    pub alias_refresh: Span,

    /// How long to wait for a connection, TLS included.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,

    /// How long to wait for the first byte of an answer; long searches and `_bulk` requests need long.
    #[serde(default = "default_response_timeout")]
    pub response_timeout: Span,

    /// Connections that are kept open for the next request.
    #[serde(default)]
    pub connections: ConnectionPool,
}

/// What to do about aliases that lead out of a scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrictAliases {
    /// They are refused, and taken out of the patterns the engine is told. An alias that a scope names in full is meant.
    #[default]
    Enforce,
    /// They are named in the gateway's log, and work.
    Warn,
    /// Nobody looks.
    Off,
}

/// What becomes of a search whose wildcards reach beyond what is permitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartialAccess {
    /// It is refused.
    #[default]
    Refuse,
    /// The engine answers for the part that is permitted, and `X-OAuth4OS-Partial: true` says so. For tokens under the identity of their
    /// scopes only, and only while the gateway sees that the cluster does it (`do_not_fail_on_forbidden: true`); in others it is refused.
    Narrow,
}

/// Connections to the engine that are kept open, for each worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionPool {
    /// How many may wait for work.
    pub idle: usize,
    /// How long one may wait before it is closed.
    pub idle_timeout: Span,
}

impl Default for ConnectionPool {
    fn default() -> Self {
        Self { idle: 128, idle_timeout: Span::seconds(45) }
    }
}

fn default_alias_refresh() -> Span {
    Span::seconds(5)
}

fn default_connect_timeout() -> Span {
    Span::seconds(5)
}

fn default_response_timeout() -> Span {
    Span::seconds(300)
}

impl Upstream {
    pub(crate) fn resolve(&mut self, base: &Path, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        if let Some(basic) = &mut self.engine.basic {
            basic.resolve(base, env, problems);
        }
        if let Some(keys) = &mut self.engine.api_key {
            keys.resolve(base);
        }
        if let Some(sigv4) = &mut self.engine.sigv4 {
            sigv4.resolve(base);
            if let Err(sentence) = sigv4.read(env) {
                problems.add("upstream.engine.sigv4", sentence);
            }
        }
        if let Some(ca) = &mut self.engine.ca {
            *ca = base.join(&*ca);
        }
        if let Some(ca) = self.dashboards.as_mut().and_then(|dashboards| dashboards.ca.as_mut()) {
            *ca = base.join(&*ca);
        }
        if let Some(pair) = &mut self.engine.client_certificate {
            pair.resolve(base);
        }
        if let Some(jwt) = &mut self.engine.jwt {
            jwt.resolve(base);
        }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        if let Some(dashboards) = &self.dashboards {
            dashboards.check(problems);
            if self.engine.driver != Driver::Jwt {
                problems.add(
                    "upstream.dashboards",
                    "needs `driver: jwt`: Dashboards passes a token on to the engine by itself, and nothing else",
                );
            }
        }
        let engine = &self.engine;
        let urls = engine.url.values();
        for url in urls {
            if let Err(sentence) = Origin::parse(url) {
                problems.add("upstream.engine.url", format!("`{url}`: {sentence}"));
            }
        }
        if urls.is_empty() || urls.len() > MAX_NODES {
            problems.add("upstream.engine.url", format!("give one address, or up to {MAX_NODES}"));
        }
        if (1..urls.len()).any(|at| urls.get(..at).zip(urls.get(at)).is_some_and(|(before, url)| before.contains(url)))
        {
            problems.add("upstream.engine.url", "gives the same address twice");
        }
        if let Some(ca) = &engine.ca
            && !ca.is_file()
        {
            problems.add("upstream.engine.ca", format!("there is no file `{}`", ca.display()));
        }
        if let Some(pair) = &engine.client_certificate {
            pair.check("upstream.engine.client_certificate", problems);
            if engine.origins().is_ok_and(|origins| origins.iter().any(|origin| !origin.tls)) {
                problems.add(
                    "upstream.engine.client_certificate",
                    "is shown over `https` only, and an address begins with `http:`",
                );
            }
        }
        engine.check_driver(problems);
        if !(Span::seconds(1)..=Span::seconds(60)).contains(&engine.alias_refresh) {
            problems.add("upstream.engine.alias_refresh", "give a time from `1s` to `60s`");
        }
        if engine.connect_timeout < Span::seconds(1) || engine.response_timeout < Span::seconds(1) {
            problems.add("upstream.engine", "timeouts are at least `1s`");
        }
    }
}

/// Scheme, host and port of a server, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether to speak TLS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What the `Host` header says: as in the URL.
    pub authority: String,
}

impl Engine {
    /// The addresses of the nodes, taken apart.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn origins(&self) -> Result<Vec<Origin>, &'static str> {
        self.url.values().iter().map(|url| Origin::parse(url)).collect()
    }

    /// The addresses the engine sees the gateway at: the configured ones, or this machine's own when the engine is on it.
    #[must_use]
    pub fn gateway_addresses(&self) -> Vec<IpAddr> {
        let given = self.extended_proxy.as_ref().map(|proxy| proxy.addresses.as_slice()).unwrap_or_default();
        if given.is_empty() && self.is_on_this_machine() {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        given.to_vec()
    }

    fn is_on_this_machine(&self) -> bool {
        self.origins().is_ok_and(|origins| origins.iter().all(Origin::is_loopback))
    }

    fn check_driver(&self, problems: &mut Problems) {
        let mut misplaced = |key: &str, is_there: bool| {
            if is_there {
                problems
                    .add(format!("upstream.engine.{key}"), format!("is for `driver: {key}`; leave it out, or say so"));
            }
        };
        misplaced("extended_proxy", self.driver != Driver::ExtendedProxy && self.extended_proxy.is_some());
        misplaced("basic", self.driver != Driver::Basic && self.basic.is_some());
        misplaced("api_key", self.driver != Driver::ApiKey && self.api_key.is_some());
        misplaced("sigv4", self.driver != Driver::Sigv4 && self.sigv4.is_some());
        match self.driver {
            Driver::Jwt => {}
            Driver::ExtendedProxy => {
                let proxy = self.extended_proxy.clone().unwrap_or_default();
                proxy.check(self.client_certificate.is_some(), self.is_on_this_machine(), problems);
            }
            Driver::Basic => {
                let basic = self.basic.clone().unwrap_or_default();
                basic.check(self.strict_aliases != StrictAliases::Off, problems);
            }
            Driver::ApiKey => self.api_key.clone().unwrap_or_default().check(problems),
            Driver::Sigv4 => match &self.sigv4 {
                Some(sigv4) => sigv4.check(problems),
                None => problems
                    .add("upstream.engine.sigv4", "say in which region, and with which keys requests are signed"),
            },
        }
        if !self.driver.tells_scopes() && self.partial_access == PartialAccess::Narrow {
            problems.add(
                "upstream.engine.partial_access",
                "`narrow` needs an engine that is told the scopes; with this driver it would answer for all its user may see",
            );
        }
        match (self.driver, &self.jwt) {
            (Driver::Jwt, Some(jwt)) => jwt.check(problems),
            (_, Some(_)) => problems.add("upstream.engine.jwt", "is for `driver: jwt`; leave it out, or say so"),
            (_, None) => {}
        }
    }
}

impl Origin {
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let (tls, authority) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("begin with `https://`"),
        };
        if authority.contains(['/', '?', '#', '@', ' ', '\\']) {
            return Err(
                "give scheme, host and port only; the gateway's own identity is set up with `oauth4os engine setup`",
            );
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| "the port is not a number from 1 to 65535")?,
            None if tls => 443,
            None => 80,
        };
        if host.is_empty() || port == 0 {
            return Err("name host and port");
        }
        let origin = Self { tls, host: host.to_owned(), port, authority: authority.to_owned() };
        if !tls && !origin.is_loopback() {
            return Err("use `https`: identities handed to the engine must not cross a network in clear");
        }
        Ok(origin)
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}
