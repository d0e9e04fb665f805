//! An engine with API keys of its own, as the security plugin has them from 3.7 on: a double, built from its source and
//! documentation, since no package of that version can be had.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oauth4os_tokens::clock::{Clock, SystemClock, UnixTime};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Turn, Upstream, base64url, json_answer};

const API: &str = "/_plugins/_security/api";
const ADMIN: &str = "Basic YWRtaW46b2YgdGhlIHRlc3Rz";

/// The double.
pub struct ApiKeyEngine {
    upstream: Upstream,
    state: Arc<Mutex<State>>,
}

struct State {
    rules: Value,
    keys: Vec<Key>,
}

/// A key as the engine keeps it.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub name: String,
    pub cluster_permissions: Value,
    pub index_permissions: Value,
    pub is_revoked: bool,
    hash: [u8; 32],
    made_at: UnixTime,
    ends_at: UnixTime,
}

impl ApiKeyEngine {
    /// The environment variable and value that `--admin-user admin` needs.
    pub const PASSWORD: (&str, &str) = ("OAUTH4OS_ENGINE_PASSWORD", "of the tests");

    /// With keys switched on, and room for twenty.
    #[must_use]
    pub fn start() -> Self {
        let rules = json!({"enabled": true, "max_tokens": 20, "max_duration_seconds": 7_776_000});
        let state = Arc::new(Mutex::new(State { rules, keys: Vec::new() }));
        let shared = Arc::clone(&state);
        let upstream = Upstream::start(move |turn| serve(turn, &shared));
        Self { upstream, state }
    }

    /// What arrives there.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Every key it ever made.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        lock(&self.state).keys.clone()
    }

    /// The keys that are in force.
    #[must_use]
    pub fn live(&self) -> Vec<Key> {
        self.keys().into_iter().filter(|key| !key.is_revoked).collect()
    }

    /// Changes a rule of `config.dynamic.api_tokens`.
    pub fn set_rule(&self, name: &str, value: Value) {
        lock(&self.state).rules[name] = value;
    }

    /// Lets time pass there: every key becomes so much older.
    pub fn age(&self, by: Duration) {
        for key in &mut lock(&self.state).keys {
            key.made_at = key.made_at - by;
        }
    }

    /// Revokes a key behind the gateway's back.
    pub fn revoke(&self, id: &str) {
        lock(&self.state).keys.iter_mut().filter(|key| key.id == id).for_each(|key| key.is_revoked = true);
    }
}

fn serve(turn: &mut Turn<'_>, state: &Mutex<State>) {
    let (method, target) = (turn.received.method.clone(), turn.received.target.clone());
    let authorization = turn.received.header("authorization").first().map(|value| (*value).to_owned());
    let authorization = authorization.unwrap_or_default();
    if authorization == ADMIN {
        let body = turn.read_body().bytes;
        let (status, answer) = administer(&method, &target, &body, &mut lock(state));
        return turn.write(&json_answer(status, &answer.to_string()));
    }
    let is_known = authorization.strip_prefix("ApiKey ").is_some_and(|token| lock(state).takes(token));
    if !is_known {
        turn.read_body();
        return turn
            .write(b"HTTP/1.1 401 Unauthorized\r\ncontent-type: text/plain\r\ncontent-length: 12\r\n\r\nUnauthorized");
    }
    if target.starts_with("/_resolve/index") {
        turn.read_body();
        let names = json!({"indices": [], "aliases": [], "data_streams": []});
        return turn.write(&json_answer(200, &names.to_string()));
    }
    if target.starts_with("/logs-pages/_search") {
        turn.read_body();
        return turn.write(&json_answer(200, r#"{"_scroll_id":"c2Nyb2xs","hits":{"hits":[]}}"#));
    }
    turn.oblige();
}

fn administer(method: &str, target: &str, body: &[u8], state: &mut State) -> (u16, Value) {
    let path = target.strip_prefix(API).unwrap_or_default();
    match (method, path) {
        ("GET", "/securityconfig") => (200, json!({"config": {"dynamic": {"api_tokens": state.rules}}})),
        ("GET", "/apitokens") => (200, state.keys.iter().map(Key::listed).collect()),
        ("POST", "/apitokens") => state.make(body),
        ("DELETE", path) => {
            let id = path.strip_prefix("/apitokens/").unwrap_or_default();
            match state.keys.iter_mut().find(|key| key.id == id) {
                Some(key) => {
                    key.is_revoked = true;
                    (200, json!({"message": format!("Token {id} revoked successfully.")}))
                }
                None => (500, json!({"error": "Failed to delete token"})),
            }
        }
        _ => (400, json!({"error": format!("no handler found for uri [{target}] and method [{method}]")})),
    }
}

impl State {
    fn make(&mut self, body: &[u8]) -> (u16, Value) {
        let bad = |sentence: &str| (400, json!({"error": sentence}));
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return bad("not JSON") };
        let known = ["name", "cluster_permissions", "index_permissions", "duration_seconds"];
        if let Some(unknown) = body.as_object().into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str()))
        {
            return bad(&format!("unknown field {}", unknown.0));
        }
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_letter) || self.keys.iter().any(|key| key.name == name) {
            return bad("bad or duplicate name");
        }
        let longest = self.rules["max_duration_seconds"].as_u64().expect("a number");
        let Some(duration) = body["duration_seconds"].as_u64().filter(|duration| *duration <= longest) else {
            return bad("the duration is not permitted");
        };
        let is_permission = |permission: &Value| {
            permission.as_object().is_some_and(|fields| {
                fields.keys().all(|field| field == "index_pattern" || field == "allowed_actions") && fields.len() == 2
            })
        };
        if !body["index_permissions"].as_array().is_some_and(|list| list.iter().all(is_permission)) {
            return bad("index_permissions");
        }
        if self.keys.len() as u64 >= self.rules["max_tokens"].as_u64().expect("a number") {
            return (429, json!({"error": "the maximum number of API tokens is reached"}));
        }
        let number = self.keys.len();
        let random: [u8; 32] = Sha256::digest(format!("{number} {name} {}", SystemClock.now().as_millis())).into();
        let token = format!("os_{}", base64url(random));
        let id = format!("key-{number}");
        self.keys.push(Key {
            id: id.clone(),
            name,
            cluster_permissions: body["cluster_permissions"].clone(),
            index_permissions: body["index_permissions"].clone(),
            is_revoked: false,
            hash: Sha256::digest(&token).into(),
            made_at: SystemClock.now(),
            ends_at: SystemClock.now() + Duration::from_secs(duration),
        });
        (200, json!({"id": id, "token": token}))
    }

    fn takes(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let now = SystemClock.now();
        let is_on = self.rules["enabled"] == json!(true);
        is_on && self.keys.iter().any(|key| key.hash == hash && !key.is_revoked && now < key.ends_at)
    }
}

impl Key {
    fn listed(&self) -> Value {
        let mut listed = json!({
            "id": self.id,
            "name": self.name,
            "iat": self.made_at.as_millis(),
            "expires_at": self.ends_at.as_millis(),
            "cluster_permissions": self.cluster_permissions,
            "index_permissions": self.index_permissions,
            "created_by": "admin",
        });
        if self.is_revoked {
            listed["revoked_at"] = json!(SystemClock.now().as_millis());
        }
        listed
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
