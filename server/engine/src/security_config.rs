//! What the engine's security configuration must say: one auth domain, the static roles, one mapping for each.
//!
//! Roles are granted by backend role only, and only by names with the gateway's prefix. Each index role has one
//! pattern, the attribute of its verb; an identity without it leaves `${attr.jwt.…}` unresolved, which matches nothing.
//! A domain of each driver can stand beside the other, with roles of its own: what is an attribute to the one is none to the
//! other.
//! For reading under a restriction there are four slots for row filters, which are claims too, and the field sets of the
//! configuration, which are not: the plugin substitutes nothing in a list of fields.

mod roles;

use std::collections::BTreeMap;
use std::net::IpAddr;

use oauth4os_config::FieldSets;
use oauth4os_policy::{EngineRole, RestrictedRole};
use oauth4os_tokens::keys::{Algorithm, PublicKey};
use serde_json::{Value, json};

use crate::identity::extended_proxy;

/// How far the engine's clock may be from the gateway's, in seconds. Tokens are renewed long before they end, so this
/// only says how long an ended one is still taken.
pub const CLOCK_SKEW_SECONDS: u32 = 5;

/// The tenant of requests that name none.
const GLOBAL_TENANT: &str = "global_tenant";

/// The names the gateway uses in the engine, so that several gateways can stand before one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The auth domain.
    pub domain: String,
    /// What the names of roles, backend roles and mappings begin with.
    pub role_prefix: String,
    /// What user names begin with. Nothing else may hand out such names.
    pub user_prefix: String,
    /// The `aud` of internal tokens, and the domain's `required_audience`.
    pub audience: String,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            domain: "oauth4os".to_owned(),
            role_prefix: "oauth4os_".to_owned(),
            user_prefix: "oauth4os:".to_owned(),
            audience: "opensearch".to_owned(),
        }
    }
}

impl Naming {
    /// Names for a second gateway: `oauth4os-staging` has the domain of this name, roles `oauth4os-staging_read`, users
    /// `oauth4os-staging:<client>`.
    ///
    /// # Errors
    /// When the name is not made of `a-z`, `0-9`, `-`, or is too long.
    pub fn of(gateway: &str) -> Result<Self, ConfigurationError> {
        let plain = !gateway.is_empty()
            && gateway.len() <= 64
            && gateway.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !plain {
            return Err(ConfigurationError::Name(gateway.escape_default().to_string()));
        }
        Ok(Self {
            domain: gateway.to_owned(),
            role_prefix: format!("{gateway}_"),
            user_prefix: format!("{gateway}:"),
            ..Self::default()
        })
    }

    /// The names of the same gateway in one of several clusters: a token for one is none for another.
    #[must_use]
    pub fn of_cluster(self, name: &str) -> Self {
        Self { audience: format!("{}:{name}", self.audience), ..self }
    }

    /// The names of the same gateway with the driver `extended_proxy`: auth domain `oauth4os-proxy`, roles
    /// `oauth4os_proxy_read`. The users are the same.
    #[must_use]
    pub fn for_extended_proxy(self) -> Self {
        Self { domain: format!("{}-proxy", self.domain), role_prefix: format!("{}proxy_", self.role_prefix), ..self }
    }

    /// The name of a role, of its backend role and of its mapping.
    #[must_use]
    pub fn role(&self, role: EngineRole) -> String {
        let verb = role.name().strip_prefix("oauth4os_").unwrap_or_else(|| role.name());
        format!("{}{verb}", self.role_prefix)
    }

    /// The name of a role for reading under a restriction, of its backend role and of its mapping.
    #[must_use]
    pub fn restricted_role(&self, role: &RestrictedRole) -> String {
        let name = role.name();
        format!("{}{}", self.role_prefix, name.strip_prefix("oauth4os_").unwrap_or(&name))
    }

    /// Whether a role or mapping of this name is the gateway's, also one of a field set that is gone.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        EngineRole::ALL.into_iter().any(|role| self.role(role) == name) || self.is_restricted(name)
    }

    /// Whether a role of this name is for reading under a restriction.
    #[must_use]
    pub fn is_restricted(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.role_prefix);
        rest.is_some_and(|rest| rest.starts_with("rows_") || rest.starts_with("fields_"))
    }

    /// The user name of a client or user.
    #[must_use]
    pub fn user(&self, subject: &str) -> String {
        format!("{}{subject}", self.user_prefix)
    }
}

/// The desired state.
#[derive(Clone, Debug)]
pub struct SecurityConfig {
    naming: Naming,
    trust: Trust,
    field_sets: FieldSets,
    tenants: Vec<String>,
}

/// What the engine believes an identity by.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// A signature by one of these keys (PEM), and this issuer.
    Jwt { issuer: String, keys: Vec<String>, source: KeySource },
    /// That it comes from one of these addresses.
    ExtendedProxy { addresses: Vec<IpAddr> },
}

/// Where the engine has the gateway's keys from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// They stand in its configuration.
    Configuration,
    /// It fetches them.
    Fetched {
        /// From this address.
        jwks_uri: String,
        /// The authority of the certificate it finds there (PEM); none for those that Java trusts.
        ca: Option<String>,
    },
}

/// The desired state cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// No public key.
    #[error("there is no key for internal tokens, so the engine could verify none")]
    NoKey,
    /// A key that is not for RS256.
    #[error("the key `{0}` is not for RS256, which internal tokens are signed with")]
    Key(String),
    /// No address of the gateway.
    #[error("there is no address of the gateway's, so the engine could believe nobody")]
    NoAddress,
    /// A gateway's name that cannot be one.
    #[error("`{0}` cannot be the gateway's name in the engine: use up to 64 of `a-z`, `0-9`, `-`")]
    Name(String),
}

impl SecurityConfig {
    /// The state for a gateway with this issuer, whose keys stand in it. While the key rotates, `keys` has the old and the new
    /// one.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub fn new<'a>(
        naming: Naming,
        issuer: &str,
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<Self, ConfigurationError> {
        let mut pems = Vec::new();
        for key in keys {
            if key.algorithm() != Algorithm::Rs256 {
                return Err(ConfigurationError::Key(key.kid().to_owned()));
            }
            pems.push(key.to_pem());
        }
        if pems.is_empty() {
            return Err(ConfigurationError::NoKey);
        }
        let trust = Trust::Jwt { issuer: issuer.to_owned(), keys: pems, source: KeySource::Configuration };
        Ok(Self::trusting(naming, trust))
    }

    /// The state for a gateway whose word is believed, from these addresses.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub fn extended_proxy(naming: Naming, addresses: Vec<IpAddr>) -> Result<Self, ConfigurationError> {
        if addresses.is_empty() {
            return Err(ConfigurationError::NoAddress);
        }
        Ok(Self::trusting(naming, Trust::ExtendedProxy { addresses }))
    }

    fn trusting(naming: Naming, trust: Trust) -> Self {
        Self { naming, trust, field_sets: FieldSets::default(), tenants: vec![GLOBAL_TENANT.to_owned()] }
    }

    /// Lets what Dashboards does for a token use these tenants, as the engine names them; without any, the one that all
    /// share.
    #[must_use]
    pub fn with_tenants(mut self, tenants: impl IntoIterator<Item = String>) -> Self {
        let tenants: Vec<String> = tenants.into_iter().collect();
        if !tenants.is_empty() {
            self.tenants = tenants;
        }
        self
    }

    /// With the engine's domain having the keys from there, where keys vouch for identities.
    #[must_use]
    pub fn with_keys_from(mut self, from: KeySource) -> Self {
        if let Trust::Jwt { source, .. } = &mut self.trust {
            *source = from;
        }
        self
    }

    /// Also with roles for these field sets.
    #[must_use]
    pub fn with_field_sets(mut self, field_sets: &FieldSets) -> Self {
        self.field_sets.clone_from(field_sets);
        self
    }

    /// The names.
    #[must_use]
    pub const fn naming(&self) -> &Naming {
        &self.naming
    }

    /// What the engine believes an identity by.
    pub(crate) const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The setting `http.xff`, as in `config.dynamic`, where the domain depends on it: whose `X-Forwarded-For` the engine
    /// believes, and with it whose `X-Proxy-User`.
    #[must_use]
    pub fn xff(&self) -> Option<Value> {
        match &self.trust {
            Trust::Jwt { .. } => None,
            Trust::ExtendedProxy { addresses } => Some(json!({
                "enabled": true,
                "internalProxies": one_of(addresses),
                "remoteIpHeader": "X-Forwarded-For",
            })),
        }
    }

    /// The auth domain, as in `config.dynamic.authc`.
    ///
    /// `order` must be of no other domain: the plugin keeps the domains in a set ordered by this number alone and drops
    /// a second one without a word.
    #[must_use]
    pub fn domain(&self, order: i64) -> Value {
        let (description, authenticator) = match &self.trust {
            Trust::Jwt { issuer, keys, source } => {
                ("Tokens of the oauth4os gateway", self.jwt_authenticator(issuer, keys, source))
            }
            Trust::ExtendedProxy { .. } => ("The word of the oauth4os gateway", proxy_authenticator()),
        };
        json!({
            "description": description,
            "http_enabled": true,
            "order": order,
            "http_authenticator": authenticator,
            // What an identity may do stands in it.
            "authentication_backend": {"type": "noop", "config": {}},
        })
    }

    fn jwt_authenticator(&self, issuer: &str, keys: &[String], source: &KeySource) -> Value {
        let mut config = json!({
            "jwt_header": "Authorization",
            "subject_key": "sub",
            "roles_key": "roles",
            "required_audience": self.naming.audience,
            "required_issuer": issuer,
            "jwt_clock_skew_tolerance_seconds": CLOCK_SKEW_SECONDS,
        });
        let (kind, of_source) = match source {
            KeySource::Configuration => ("jwt", json!({"signing_key": one_or_many(keys)})),
            // Not `jwt`, which takes an address in later versions only.
            KeySource::Fetched { jwks_uri, ca: None } => ("openid", json!({"jwks_uri": jwks_uri})),
            KeySource::Fetched { jwks_uri, ca: Some(ca) } => {
                let tls = json!({"enable_ssl": true, "verify_hostnames": true, "pemtrustedcas_content": ca});
                ("openid", json!({"jwks_uri": jwks_uri, "openid_connect_idp": tls}))
            }
        };
        if let (Some(config), Value::Object(of_source)) = (config.as_object_mut(), of_source) {
            config.extend(of_source);
        }
        json!({"type": kind, "challenge": false, "config": config})
    }

    /// The roles, by name.
    #[must_use]
    pub fn roles(&self) -> BTreeMap<String, Value> {
        let attributes = match &self.trust {
            Trust::Jwt { .. } => "attr.jwt",
            Trust::ExtendedProxy { .. } => "attr.proxy",
        };
        let plain = EngineRole::ALL
            .into_iter()
            .map(|role| (self.naming.role(role), roles::body(role, attributes, &self.tenants)));
        let restricted = RestrictedRole::all(self.field_sets.keys()).into_iter().map(|role| {
            let fields = role.fields.as_ref().and_then(|name| self.field_sets.get(name));
            (self.naming.restricted_role(&role), roles::restricted(&role, fields, attributes))
        });
        plain.chain(restricted).collect()
    }

    /// The mappings, by name of the role.
    #[must_use]
    pub fn mappings(&self) -> BTreeMap<String, Value> {
        let mapping = |name: String| (name.clone(), json!({"description": roles::OWNER, "backend_roles": [name]}));
        self.roles().into_keys().map(mapping).collect()
    }
}

/// A static role as the REST API takes it, its pattern an attribute of this family.
pub(crate) fn static_role(role: EngineRole, attributes: &str) -> Value {
    roles::body(role, attributes, &[])
}

fn one_or_many(keys: &[String]) -> Value {
    match keys {
        [key] => json!(key),
        keys => json!(keys),
    }
}

fn proxy_authenticator() -> Value {
    json!({
        "type": "extended-proxy",
        "challenge": false,
        "config": {
            "user_header": extended_proxy::USER,
            "roles_header": extended_proxy::ROLES,
            "roles_separator": ",",
            "attr_header_prefix": extended_proxy::ATTRIBUTE_PREFIX,
        },
    })
}

/// The addresses as the Java regular expression that the plugin compares with the whole address of a peer.
fn one_of(addresses: &[IpAddr]) -> String {
    let escaped = addresses.iter().map(|address| extended_proxy::as_java_writes(*address).replace('.', r"\."));
    escaped.collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests;
