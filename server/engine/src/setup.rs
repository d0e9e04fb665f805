//! Bringing a cluster's security configuration in line, or taking everything of the gateway away again.
//!
//! A [`Plan`] is the difference between what is there and what must be there; it can be shown and applied. Applying
//! touches the gateway's own auth domain, roles and mappings, by their names, and nothing else: the domain is written
//! as a patch of its own path, so whatever else changes meanwhile stays. A second plan after applying is empty.
//!
//! With the driver `extended_proxy` there is one thing more, `http.xff`, of which a cluster has one for all: it is taken
//! into use where nobody else uses it.

mod compare;
mod domains;
mod instructions;

use std::fmt;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Answer, ClientError, EngineClient};
use crate::security_config::SecurityConfig;

pub(crate) use domains::order;
pub use instructions::instructions;

/// The REST API of the security plugin.
pub(crate) const API: &str = "/_plugins/_security/api";

/// What must change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What is changed.
    pub object: Object,
    /// What is there; `None`: nothing.
    pub from: Option<Value>,
    /// What must be there; `None`: nothing.
    pub to: Option<Value>,
}

/// Something in the security configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// The auth domain of this name.
    Domain(String),
    /// The setting `http.xff`: whose word on the client's address is believed.
    ForwardedFor,
    /// The mapping of the role of this name.
    Mapping(String),
    /// The role of this name.
    Role(String),
}

/// The configuration was not read or not brought in line.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The engine was not reached, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The administrator may not use the security plugin's REST API.
    #[error(
        "{0}; give the administrator's client certificate (`plugins.security.authcz.admin_dn`), or a user with a role of `plugins.security.restapi.roles_enabled`"
    )]
    NotAdmin(ClientError),
    /// Roles and mappings are in place, the auth domain is not.
    #[error(
        "the cluster does not let the auth domain be written over its REST API ({0}); set `plugins.security.unsupported.restapi.allow_securityconfig_modification: true` in opensearch.yml of every node and try again, or follow `oauth4os engine setup --print`, which uses securityadmin.sh"
    )]
    DomainRefused(ClientError),
    /// The engine believes others already.
    #[error(
        "the engine believes the `X-Forwarded-For` of other proxies already (`http.xff.internalProxies: {0}`), and has one list for all: whatever comes from there could name any user of the gateway, so nothing was changed; take `http.xff` out of use first, or use `driver: jwt`"
    )]
    OtherProxies(String),
    /// The engine answers in a form it should not.
    #[error(
        "the engine's answer to `GET {API}/{0}` is not the security plugin's: is the security plugin installed and at least version 2.17"
    )]
    Answer(&'static str),
    /// Somebody else goes on changing the configuration.
    #[error(
        "the security configuration was changed by somebody else at the same time, several times in a row; try again"
    )]
    Busy,
}

/// What must change so that the cluster is as `desired`.
///
/// # Errors
/// When the cluster's configuration cannot be read, or what must be there would harm others or be harmed by them.
pub async fn plan(admin: &EngineClient, desired: &SecurityConfig) -> Result<Plan, SetupError> {
    let live = Live::read(admin).await?;
    match live.other_proxies(desired) {
        Some(others) => Err(SetupError::OtherProxies(others)),
        None => Ok(live.plan(desired)),
    }
}

/// What must change so that nothing of the gateway is left.
///
/// # Errors
/// When the cluster's configuration cannot be read.
pub async fn plan_removal(admin: &EngineClient, desired: &SecurityConfig) -> Result<Plan, SetupError> {
    Ok(Live::read(admin).await?.plan_removal(desired))
}

/// Makes the changes. The auth domain gets another order number than the plan's if that is taken by now.
///
/// # Errors
/// At the first change the engine refuses; those before it are made, and a new plan has the rest.
pub async fn apply(admin: &EngineClient, plan: &Plan) -> Result<(), SetupError> {
    for change in &plan.changes {
        change.apply(admin).await?;
    }
    Ok(())
}

impl Plan {
    /// Whether nothing must change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, in the order they are made.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to change\n");
        }
        self.changes.iter().try_for_each(|change| change.fmt(f))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.from, &self.to) {
            (None, _) => '+',
            (Some(_), None) => '-',
            (Some(_), Some(_)) => '~',
        };
        writeln!(f, "{sign} {}", self.object)?;
        for line in compare::lines(self.from.as_ref(), self.to.as_ref()) {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => write!(f, "auth domain `{name}`"),
            Self::ForwardedFor => f.write_str("setting `http.xff`"),
            Self::Mapping(name) => write!(f, "mapping of the role `{name}`"),
            Self::Role(name) => write!(f, "role `{name}`"),
        }
    }
}

/// How often a write is tried again when another one came in between.
const ATTEMPTS: usize = 10;

impl Change {
    async fn apply(&self, admin: &EngineClient) -> Result<(), SetupError> {
        for _ in 0..ATTEMPTS {
            let answer = match &self.object {
                Object::Domain(_) | Object::ForwardedFor => self.patch(admin).await?,
                Object::Mapping(name) => self.put_or_delete(admin, "rolesmapping", name).await?,
                Object::Role(name) => self.put_or_delete(admin, "roles", name).await?,
            };
            match answer.status {
                status if status.is_success() && self.holds(admin).await? => return Ok(()),
                // Somebody else wrote meanwhile: again, upon theirs.
                status if status.is_success() || status == StatusCode::CONFLICT => {}
                StatusCode::NOT_FOUND if self.to.is_none() => return Ok(()),
                StatusCode::UNAUTHORIZED => return Err(SetupError::NotAdmin(answer.refused())),
                _ if matches!(self.object, Object::Domain(_) | Object::ForwardedFor) => {
                    return Err(SetupError::DomainRefused(answer.refused()));
                }
                StatusCode::FORBIDDEN => return Err(SetupError::NotAdmin(answer.refused())),
                _ => return Err(answer.refused().into()),
            }
        }
        Err(SetupError::Busy)
    }

    async fn put_or_delete(&self, admin: &EngineClient, kind: &str, name: &str) -> Result<Answer, ClientError> {
        let path = format!("{API}/{kind}/{name}");
        match &self.to {
            Some(body) => admin.send(Method::PUT, &path, Some(body)).await,
            None => admin.send(Method::DELETE, &path, None).await,
        }
    }

    /// Writes a part of the configuration that has no path of its own.
    async fn patch(&self, admin: &EngineClient) -> Result<Answer, SetupError> {
        let live = dynamic(admin).await?;
        let step = match &self.object {
            Object::Domain(name) => domain_step(&authc(&live), name, self.to.clone()),
            _ => forwarded_for_step(&live, self.to.clone()),
        };
        let patch = json!([step]);
        Ok(admin.send(Method::PATCH, &format!("{API}/securityconfig"), Some(&patch)).await?)
    }

    /// Whether a domain is there with a number of its own, or gone. The API has no way to write on a condition, so two
    /// gateways that are set up at the same time may both take the same free number; whoever sees it moves.
    async fn holds(&self, admin: &EngineClient) -> Result<bool, SetupError> {
        let Object::Domain(name) = &self.object else { return Ok(true) };
        let live = authc(&dynamic(admin).await?);
        let found = live.get(name);
        let is_there = found.is_some() == self.to.is_some();
        Ok(is_there && found.is_none_or(|domain| domains::free_order(&live, name) == order(domain)))
    }
}

/// The step of a JSON patch (RFC 6902) that makes the domain `name` what it must be, among those that are there now.
fn domain_step(live: &Value, name: &str, to: Option<Value>) -> Value {
    let path = format!("/config/dynamic/authc/{name}");
    let Some(mut domain) = to else { return json!({"op": "remove", "path": path}) };
    // The number of the plan may be taken by now.
    if let Some(fields) = domain.as_object_mut() {
        fields.insert("order".to_owned(), json!(domains::free_order(live, name)));
    }
    // `add` replaces a member that exists, and fails below one that does not (RFC 6902 section 4.1).
    if live.as_object().is_none_or(serde_json::Map::is_empty) {
        json!({"op": "add", "path": "/config/dynamic/authc", "value": {name: domain}})
    } else {
        json!({"op": "add", "path": path, "value": domain})
    }
}

/// The same for `http.xff`. It is never taken away: the engine has one always.
fn forwarded_for_step(live: &Value, to: Option<Value>) -> Value {
    let to = to.unwrap_or_else(out_of_use);
    if live.get("http").is_some_and(Value::is_object) {
        json!({"op": "add", "path": "/config/dynamic/http/xff", "value": to})
    } else {
        json!({"op": "add", "path": "/config/dynamic/http", "value": {"xff": to}})
    }
}

/// `http.xff` that nobody uses.
fn out_of_use() -> Value {
    json!({"enabled": false})
}

/// What is there.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// `config.dynamic`.
    pub(crate) dynamic: Value,
    pub(crate) roles: Value,
    pub(crate) mappings: Value,
}

impl Live {
    pub(crate) async fn read(admin: &EngineClient) -> Result<Self, SetupError> {
        Ok(Self {
            dynamic: dynamic(admin).await?,
            roles: fetch(admin, "roles").await?,
            mappings: fetch(admin, "rolesmapping").await?,
        })
    }

    /// Whom the engine believes beside the gateway, when that was not the gateway's doing: its domain is not there yet.
    fn other_proxies(&self, desired: &SecurityConfig) -> Option<String> {
        let ours = desired.xff()?;
        let is_set_up = authc(&self.dynamic).get(&desired.naming().domain).is_some();
        let xff = self.dynamic.pointer("/http/xff")?;
        let is_in_use = xff.get("enabled").and_then(Value::as_bool).unwrap_or(false);
        if is_set_up || !is_in_use || compare::forwarded_for(xff) == compare::forwarded_for(&ours) {
            return None;
        }
        let others = xff.get("internalProxies").and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(others.unwrap_or("every private address").to_owned())
    }

    /// The difference to `desired`. Roles come first, since a mapping needs its role; the domain comes last, so that no
    /// token is taken before everything it relies on is in place.
    pub(crate) fn plan(&self, desired: &SecurityConfig) -> Plan {
        let mut changes = Vec::new();
        for (name, to) in desired.roles() {
            changes.extend(difference(self.roles.get(&name), to, Object::Role(name), compare::role));
        }
        for (name, to) in desired.mappings() {
            changes.extend(difference(self.mappings.get(&name), to, Object::Mapping(name), compare::mapping));
        }
        changes.extend(self.left_over(desired));
        if let Some(to) = desired.xff() {
            let from = self.dynamic.pointer("/http/xff");
            changes.extend(difference(from, to, Object::ForwardedFor, compare::forwarded_for));
        }
        let name = desired.naming().domain.clone();
        let live = authc(&self.dynamic);
        let to = desired.domain(domains::free_order(&live, &name));
        changes.extend(difference(live.get(&name), to, Object::Domain(name), compare::domain));
        Plan { changes }
    }

    /// Roles and mappings of field sets that are gone.
    fn left_over(&self, desired: &SecurityConfig) -> Vec<Change> {
        let roles = desired.roles();
        let is_left_over = |name: &str| desired.naming().is_restricted(name) && !roles.contains_key(name);
        self.removals(&is_left_over)
    }

    /// The removal of roles and their mappings. A mapping goes before its role.
    fn removals(&self, is_to_go: &dyn Fn(&str) -> bool) -> Vec<Change> {
        let named = |documents: &Value| -> Vec<(String, Value)> {
            let all = documents.as_object().into_iter().flatten();
            all.filter(|(name, _)| is_to_go(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let mappings = named(&self.mappings).into_iter();
        let roles = named(&self.roles).into_iter();
        mappings
            .map(|(name, from)| removal(Object::Mapping(name), compare::mapping(&from)))
            .chain(roles.map(|(name, from)| removal(Object::Role(name), compare::role(&from))))
            .collect()
    }

    /// Everything of the gateway, in the opposite order: first no token is taken any more. `http.xff` goes out of use when it
    /// is as the gateway left it.
    pub(crate) fn plan_removal(&self, desired: &SecurityConfig) -> Plan {
        let naming = desired.naming();
        let live = authc(&self.dynamic);
        let domain = live.get(&naming.domain);
        let mut changes: Vec<Change> = domain
            .map(|from| removal(Object::Domain(naming.domain.clone()), compare::domain(from)))
            .into_iter()
            .collect();
        let xff = self.dynamic.pointer("/http/xff").map(compare::forwarded_for);
        if let Some(from) = xff.filter(|xff| desired.xff().is_some_and(|ours| compare::forwarded_for(&ours) == *xff)) {
            changes.push(Change { object: Object::ForwardedFor, from: Some(from), to: Some(out_of_use()) });
        }
        changes.extend(self.removals(&|name| naming.is_own(name)));
        Plan { changes }
    }
}

fn difference(from: Option<&Value>, to: Value, object: Object, normal: fn(&Value) -> Value) -> Option<Change> {
    let from = from.map(normal);
    (from.as_ref() != Some(&normal(&to))).then_some(Change { object, from, to: Some(to) })
}

const fn removal(object: Object, from: Value) -> Change {
    Change { object, from: Some(from), to: None }
}

/// The auth domains, by name.
fn authc(dynamic: &Value) -> Value {
    dynamic.get("authc").cloned().unwrap_or_default()
}

async fn dynamic(admin: &EngineClient) -> Result<Value, SetupError> {
    let mut config = fetch(admin, "securityconfig").await?;
    let dynamic = config.pointer_mut("/config/dynamic").map(Value::take);
    dynamic.filter(Value::is_object).ok_or(SetupError::Answer("securityconfig"))
}

async fn fetch(admin: &EngineClient, what: &'static str) -> Result<Value, SetupError> {
    let answer = admin.send(Method::GET, &format!("{API}/{what}"), None).await?;
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(SetupError::NotAdmin(answer.refused())),
        status if status.is_success() && answer.body.is_object() => Ok(answer.body),
        status if status.is_success() => Err(SetupError::Answer(what)),
        _ => Err(answer.refused().into()),
    }
}

#[cfg(test)]
mod tests;
