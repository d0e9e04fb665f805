//! The test realm: what an outside identity provider of a real organisation would hold.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::secrets;

/// The realm's name.
pub(super) const REALM: &str = "oauth4os";

/// Clients that differ from the others of their kind.
const ELSEWHERE: &str = "elsewhere";
const BRIEF: &str = "brief";
const TERMINAL: &str = "terminal";
const GATEWAY: &str = "gateway";

/// Where the gateway of the end-to-end tests is sent back to.
const CALLBACK: &str = "https://gateway.example.com/oauth/callback/keycloak";

/// A client of the realm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// Its secret; a public client has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The algorithm its tokens are signed with.
    pub algorithm: String,
}

/// A person of the realm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    /// User name.
    pub name: String,
    /// Password.
    pub password: String,
    /// Paths of groups.
    pub groups: Vec<String>,
    /// Roles of the realm.
    pub roles: Vec<String>,
}

/// Everything with a secret in it; made once per data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contents {
    /// `service` (client credentials, RS256), `service-es256` (the same, ES256), `console` (public, code flow
    /// with PKCE), `terminal` (public, people's passwords: for tests only), `elsewhere` (client credentials, tokens for
    /// another service), `brief` (client credentials, tokens of one second), `gateway` (confidential, code flow: the gateway itself).
    pub clients: BTreeMap<String, Client>,
    /// `ada` may analyse, `bo` administers.
    pub users: Vec<Person>,
}

impl Contents {
    /// With new secrets.
    pub(super) fn new() -> Result<Self> {
        let confidential = |id: &str, algorithm: &str| -> Result<(String, Client)> {
            Ok((
                id.to_owned(),
                Client { id: id.to_owned(), secret: Some(secrets::password()?), algorithm: algorithm.to_owned() },
            ))
        };
        let public = |id: &str| -> (String, Client) {
            (id.to_owned(), Client { id: id.to_owned(), secret: None, algorithm: "RS256".to_owned() })
        };
        let person = |name: &str, groups: &[&str], roles: &[&str]| -> Result<Person> {
            let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
            Ok(Person {
                name: name.to_owned(),
                password: secrets::password()?,
                groups: owned(groups),
                roles: owned(roles),
            })
        };
        Ok(Self {
            clients: BTreeMap::from([
                confidential("service", "RS256")?,
                confidential("service-es256", "ES256")?,
                confidential(ELSEWHERE, "RS256")?,
                confidential(BRIEF, "RS256")?,
                confidential(GATEWAY, "RS256")?,
                public("console"),
                public(TERMINAL),
            ]),
            users: vec![
                person("ada", &["/analysts"], &["logs-reader"])?,
                person("bo", &["/analysts", "/administrators"], &["logs-reader", "gateway-admin"])?,
            ],
        })
    }

    /// The realm as Keycloak imports it.
    pub(super) fn realm(&self) -> Value {
        json!({
            "realm": REALM,
            "enabled": true,
            "sslRequired": "none",
            "registrationAllowed": false,
            "accessTokenLifespan": 300,
            "defaultSignatureAlgorithm": "RS256",
            "roles": {
                "realm": [
                    {"name": "logs-reader", "description": "May read logs"},
                    {"name": "gateway-admin", "description": "Runs the gateway"},
                ],
                "client": {"service": [{"name": "app-writer", "description": "May write the logs of applications"}]},
            },
            "groups": [{"name": "analysts"}, {"name": "administrators"}],
            "clients": self.clients.values().map(client).collect::<Vec<_>>(),
            "users": self.users.iter().map(person).chain([service_account()]).collect::<Vec<_>>(),
            "components": {"org.keycloak.keys.KeyProvider": keys()},
        })
    }
}

fn client(client: &Client) -> Value {
    let confidential = client.secret.is_some();
    let audience = if client.id == ELSEWHERE { "another-service" } else { "oauth4os" };
    let mut body = json!({
        "clientId": client.id,
        "enabled": true,
        "protocol": "openid-connect",
        "publicClient": !confidential,
        "serviceAccountsEnabled": confidential && client.id != GATEWAY,
        "standardFlowEnabled": !confidential || client.id == GATEWAY,
        "directAccessGrantsEnabled": client.id == TERMINAL,
        "implicitFlowEnabled": false,
        "fullScopeAllowed": true,
        "attributes": {"access.token.signed.response.alg": client.algorithm},
        "protocolMappers": [
            mapper("groups", "oidc-group-membership-mapper", &json!({"claim.name": "groups", "full.path": "false"})),
            mapper("gateway-audience", "oidc-audience-mapper", &json!({"included.custom.audience": audience})),
        ],
    });
    if let Some(fields) = body.as_object_mut() {
        if client.id == BRIEF
            && let Some(attributes) = fields.get_mut("attributes").and_then(Value::as_object_mut)
        {
            attributes.insert("access.token.lifespan".to_owned(), json!("1"));
        }
        match &client.secret {
            Some(secret) => {
                fields.insert("secret".to_owned(), json!(secret));
                fields.insert("clientAuthenticatorType".to_owned(), json!("client-secret"));
                if client.id == GATEWAY {
                    fields.insert("redirectUris".to_owned(), json!([CALLBACK]));
                }
            }
            None => {
                fields.insert(
                    "redirectUris".to_owned(),
                    json!(["http://127.0.0.1/*", "http://127.0.0.1:*", "https://localhost:*", "http://localhost:*"]),
                );
                if let Some(attributes) = fields.get_mut("attributes").and_then(Value::as_object_mut) {
                    attributes.insert("pkce.code.challenge.method".to_owned(), json!("S256"));
                }
            }
        }
    }
    body
}

fn mapper(name: &str, kind: &str, config: &Value) -> Value {
    let mut all = json!({"access.token.claim": "true", "id.token.claim": "true", "introspection.token.claim": "true"});
    if let (Some(all), Some(config)) = (all.as_object_mut(), config.as_object()) {
        all.extend(config.clone());
    }
    json!({"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": all})
}

fn person(person: &Person) -> Value {
    json!({
        "username": person.name,
        "enabled": true,
        "email": format!("{}@example.com", person.name),
        "emailVerified": true,
        "firstName": person.name,
        "lastName": "Example",
        "credentials": [{"type": "password", "value": person.password, "temporary": false}],
        "groups": person.groups,
        "realmRoles": person.roles,
        "requiredActions": [],
    })
}

/// The account behind the confidential client, so that its tokens carry a role.
fn service_account() -> Value {
    json!({
        "username": "service-account-service",
        "enabled": true,
        "serviceAccountClientId": "service",
        "realmRoles": ["logs-reader"],
        "clientRoles": {"service": ["app-writer"]},
    })
}

fn keys() -> Value {
    let key = |name: &str, config: Value| json!({"name": name, "providerId": name, "config": config});
    json!([
        key("rsa-generated", json!({"priority": ["100"], "keySize": ["2048"], "algorithm": ["RS256"]})),
        key("ecdsa-generated", json!({"priority": ["100"], "ecdsaEllipticCurveKey": ["P-256"]})),
        key("hmac-generated", json!({"priority": ["100"], "algorithm": ["HS512"]})),
        key("aes-generated", json!({"priority": ["100"]})),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_has_secrets_of_its_own_and_a_public_client_without() {
        let (one, other) = (Contents::new().unwrap(), Contents::new().unwrap());
        assert_ne!(one.clients["service"].secret, other.clients["service"].secret);
        let realm = one.realm();
        let console =
            realm["clients"].as_array().unwrap().iter().find(|client| client["clientId"] == "console").unwrap();
        assert!(console.get("secret").is_none());
        assert_eq!(console["attributes"]["pkce.code.challenge.method"], "S256");
        assert_eq!(realm["users"].as_array().unwrap().len(), 3);
    }
}
