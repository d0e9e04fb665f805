//! Tokens a gateway has never issued, signed with its own key or with none.

use std::path::Path;
use std::time::Duration;

use oauth4os_store::seal::{MasterKey, Sealer};
use oauth4os_store::{KeyUse, SqliteStore};
use oauth4os_tokens::clock::{Clock, SystemClock};
use oauth4os_tokens::keys::{Algorithm, KeySet, SigningKey};
use serde_json::{Map, Value, json};

use crate::ISSUER;
use crate::base64url::{decode, encode};

/// Has the gateway's keys.
pub struct Forge {
    access: KeySet,
    internal: KeySet,
}

/// Header and claims of a token, to be spoilt.
#[derive(Clone)]
pub struct Claims {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

/// The `jti` of a token.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn token_id(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("three parts");
    let claims: Value = serde_json::from_slice(&decode(claims)).expect("claims");
    claims["jti"].as_str().expect("an id").to_owned()
}

impl Forge {
    /// Reads the keys out of a gateway's state, also while it is running.
    pub(crate) fn of_state(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let read = |usage| {
            let sealer = Sealer::new(MasterKey::load(&folder.join("master.key")).expect("the master key"));
            runtime.block_on(SqliteStore::peek_keys(folder.join("oauth4os.db"), &sealer, usage)).expect("the keys")
        };
        Self { access: read(KeyUse::Access), internal: read(KeyUse::Internal) }
    }

    /// What the gateway itself would write for this client and scope, issued now, for five minutes.
    #[must_use]
    pub fn claims(&self, client: &str, scope: &str) -> Claims {
        let now = now();
        let claims = json!({
            "iss": ISSUER, "sub": client, "aud": ISSUER, "client_id": client, "scope": scope,
            "iat": now, "exp": now + 300, "jti": oauth4os_tokens::id::token_id().expect("random bytes"),
        });
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": self.access().kid()});
        Claims { header: object(header), claims: object(claims) }
    }

    /// The key of access tokens.
    #[must_use]
    pub fn access(&self) -> &SigningKey {
        self.access.active()
    }

    /// The key of the tokens the engine sees.
    #[must_use]
    pub fn internal(&self) -> &SigningKey {
        self.internal.active()
    }

    /// A key nobody knows.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    pub fn stranger(algorithm: Algorithm) -> SigningKey {
        SigningKey::generate(algorithm).expect("a key")
    }
}

impl Claims {
    /// These.
    ///
    /// # Panics
    /// When one of them is no object.
    #[must_use]
    pub fn new(header: Value, claims: Value) -> Self {
        Self { header: object(header), claims: object(claims) }
    }

    /// Header and claims of a token.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut parts =
            token.split('.').map(|part| object(serde_json::from_slice(&decode(part)).unwrap_or(Value::Null)));
        let mut next = || parts.next().expect("three parts");
        Self { header: next(), claims: next() }
    }

    /// Sets a claim.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Takes a claim away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Moves `iat` and `exp` by so many seconds.
    ///
    /// # Panics
    /// When they are no numbers.
    #[must_use]
    pub fn moved(mut self, seconds: i64) -> Self {
        for name in ["iat", "exp"] {
            let time = self.claims[name].as_i64().expect("a number");
            self.claims.insert(name.to_owned(), json!(time + seconds));
        }
        self
    }

    /// Sets a member of the header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// Takes a member of the header away.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Header and claims, encoded, with the dot between them.
    #[must_use]
    pub fn signing_input(&self) -> String {
        let text = |part: &Map<String, Value>| serde_json::to_string(part).expect("JSON");
        format!("{}.{}", encode(text(&self.header)), encode(text(&self.claims)))
    }

    /// The token, signed with this key whatever the header says.
    ///
    /// # Panics
    /// When the key fails.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let input = self.signing_input();
        let signature = key.sign(input.as_bytes()).expect("a signature");
        format!("{input}.{}", encode(signature))
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    (SystemClock.now() + Duration::ZERO).as_secs()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("no object: {other}"),
    }
}
