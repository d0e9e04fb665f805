//! Making, replacing and revoking keys: the part that needs an administrator.
//!
//! A key that was replaced is revoked by a later setup: the gateway goes on with it until it is reloaded. Keys are
//! known by their names, which begin with the gateway's own mark, so that several gateways can stand before one cluster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::{self, NoRandomness};
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::held::{Held, HeldError, is_token};
use super::permissions::Permissions;
use crate::client::{ClientError, EngineClient};
use crate::setup::API;

/// What the names of keys begin with.
const PREFIX: &str = "oauth4os-";
/// How many keys the engine keeps unless told otherwise, and at most.
const DEFAULT_ROOM: u64 = 100;
const MOST_ROOM: u64 = 1_000;
/// How long a key that was replaced is left alone: for so long the gateway may not have been told of the new one.
const GRACE: Duration = Duration::from_secs(3_600);
/// How long a key may live unless the engine is told otherwise, in seconds.
const DEFAULT_LONGEST: u64 = 90 * 86_400;

/// What keys there are to be, and where.
#[derive(Debug)]
pub struct ApiKeySetup {
    /// The gateway's mark in names: letters and digits.
    pub mark: String,
    /// The folder of the keys.
    pub directory: PathBuf,
    /// How long a new key is good for.
    pub lifetime: Duration,
    /// The keys.
    pub keys: Vec<WantedKey>,
}

/// A key there is to be.
#[derive(Clone, Debug)]
pub struct WantedKey {
    /// Its name in the configuration.
    pub name: String,
    /// What it permits.
    pub permissions: Permissions,
}

/// What must be done so that the keys are there.
#[derive(Debug, Default)]
pub struct ApiKeyPlan {
    changes: Vec<ApiKeyChange>,
    /// How many keys the engine keeps, and how many it has room for.
    kept: u64,
    room: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyChange {
    /// A key is made, in place of another one or as the first.
    Make {
        /// Its name in the configuration.
        name: String,
        /// What it permits.
        permissions: Permissions,
        /// Why the one that is there does not do.
        why: &'static str,
        /// The id of that one.
        replaces: Option<String>,
    },
    /// A key of this gateway's is revoked.
    Revoke {
        /// Its id.
        id: String,
        /// The engine's name for it.
        name: String,
    },
    /// The file of a key is taken away.
    Forget {
        /// The key's name in the configuration.
        name: String,
    },
}

/// The keys cannot be planned or made.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeySetupError {
    /// The engine was not reached, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The administrator may not make keys.
    #[error(
        "{0}; give the administrator's client certificate (`plugins.security.authcz.admin_dn`), or a user with a role of `plugins.security.restapi.roles_enabled`"
    )]
    NotAdmin(ClientError),
    /// An engine before 3.7, or without the plugin.
    #[error(
        "the engine has no API keys: they came with the security plugin 3.7; use `driver: jwt`, which needs no more than one auth domain"
    )]
    TooOld,
    /// The feature is not switched on.
    #[error(
        "the engine takes no API keys: set `config.dynamic.api_tokens.enabled: true` in its security configuration, which concerns the keys of everybody"
    )]
    SwitchedOff,
    /// The engine has no room.
    #[error(
        "the engine keeps {kept} API keys, revoked ones included, has room for {room}, and {needed} are needed; raise `config.dynamic.api_tokens.max_tokens` (at most {MOST_ROOM}), or take old ones out of its index"
    )]
    Full {
        /// How many it keeps.
        kept: u64,
        /// How many it may keep.
        room: u64,
        /// How many are to be made.
        needed: u64,
    },
    /// The engine's keys may not live as long.
    #[error(
        "the engine's API keys live {longest} seconds at most (`config.dynamic.api_tokens.max_duration_seconds`); lower `upstream.engine.api_key.lifetime`"
    )]
    TooLong {
        /// The longest time.
        longest: u64,
    },
    /// The engine answers in a form it should not.
    #[error("the engine's answer to `{0}` is not the security plugin's")]
    Answer(&'static str),
    /// A key cannot be kept. One that was made meanwhile is revoked by the next setup.
    #[error(transparent)]
    Held(#[from] HeldError),
    /// No name for a key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A key as the engine lists it.
struct Listed {
    id: String,
    name: String,
    permissions: Permissions,
    made_at: UnixTime,
    expires_at: Option<UnixTime>,
    is_revoked: bool,
}

impl ApiKeySetup {
    /// What must be done.
    ///
    /// # Errors
    /// [`ApiKeySetupError`].
    pub async fn plan(&self, admin: &EngineClient, now: UnixTime) -> Result<ApiKeyPlan, ApiKeySetupError> {
        let listed = list(admin).await?;
        let rules = Rules::read(admin).await?;
        let mut changes = Vec::new();
        let mut in_use: Vec<String> = Vec::new();
        for wanted in &self.keys {
            let held = match Held::read(&self.directory, &wanted.name) {
                Ok(held) => Some(held),
                // Whatever is there is no key.
                Err(HeldError::Missing { .. } | HeldError::Form { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let known = held.as_ref().and_then(|held| listed.iter().find(|key| key.id == held.id));
            match self.what_is_wrong(wanted, held.as_ref(), known, now) {
                None => {
                    let is_new = known.is_some_and(|known| now < known.made_at + GRACE);
                    in_use.extend(
                        held.map(|held| [Some(held.id), held.previous.filter(|_| is_new)])
                            .into_iter()
                            .flatten()
                            .flatten(),
                    );
                }
                Some(why) => {
                    let replaces = held.as_ref().map(|held| held.id.clone());
                    in_use.extend(held.map(|held| [Some(held.id), held.previous]).into_iter().flatten().flatten());
                    let (name, permissions) = (wanted.name.clone(), wanted.permissions.clone());
                    changes.push(ApiKeyChange::Make { name, permissions, why, replaces });
                }
            }
        }
        let needed = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        let kept = u64::try_from(listed.len()).unwrap_or(u64::MAX);
        if needed > 0 {
            rules.permit(kept, needed, self.lifetime)?;
        }
        changes.extend(self.own(&listed, now).filter(|key| !in_use.contains(&key.id)).map(Listed::revocation));
        Ok(ApiKeyPlan { changes, kept, room: rules.room })
    }

    /// What must be done so that none is left.
    ///
    /// # Errors
    /// [`ApiKeySetupError`].
    pub async fn plan_removal(&self, admin: &EngineClient, now: UnixTime) -> Result<ApiKeyPlan, ApiKeySetupError> {
        let listed = list(admin).await?;
        let revoked = self.own(&listed, now).map(Listed::revocation);
        let files = self.keys.iter().filter(|key| Held::path(&self.directory, &key.name).exists());
        let forgotten = files.map(|key| ApiKeyChange::Forget { name: key.name.clone() });
        let kept = u64::try_from(listed.len()).unwrap_or(u64::MAX);
        Ok(ApiKeyPlan { changes: revoked.chain(forgotten).collect(), kept, room: MOST_ROOM })
    }

    /// Does it.
    ///
    /// # Errors
    /// At the first step that fails; those before it are done, and a new plan has the rest.
    pub async fn apply(&self, admin: &EngineClient, plan: &ApiKeyPlan, now: UnixTime) -> Result<(), ApiKeySetupError> {
        Held::prepare(&self.directory)?;
        for change in &plan.changes {
            match change {
                ApiKeyChange::Make { name, permissions, replaces, .. } => {
                    let held = self.make(admin, name, permissions, replaces.clone(), now).await?;
                    held.write(&self.directory, name)?;
                }
                ApiKeyChange::Revoke { id, .. } => {
                    let answer = admin.send(Method::DELETE, &format!("{API}/apitokens/{id}"), None).await?;
                    answer.success()?;
                }
                ApiKeyChange::Forget { name } => Held::remove(&self.directory, name)?,
            }
        }
        Ok(())
    }

    /// What would be made, for somebody who makes it by hand.
    #[must_use]
    pub fn instructions(&self) -> String {
        let mut out = String::from(
            "# config.yml of the security plugin, from 3.7 on\nconfig: {dynamic: {api_tokens: {enabled: true}}}\n",
        );
        for key in &self.keys {
            let (cluster, index) = key.permissions.to_json();
            let body = json!({
                "name": format!("{}{}-1", self.prefix(), key.name),
                "cluster_permissions": cluster,
                "index_permissions": index,
                "duration_seconds": self.lifetime.as_secs(),
            });
            let path = Held::path(&self.directory, &key.name);
            out.push_str(&format!(
                "\n# {name}: POST {API}/apitokens; with what is answered make `{path}` (mode 600)\n# {{\"id\": \"…\", \"name\": \"{prefix}{name}-1\", \"token\": \"os_…\", \"expires_at\": <milliseconds since 1970>}}\n{body}\n",
                name = key.name,
                prefix = self.prefix(),
                path = path.display(),
            ));
        }
        out
    }

    fn what_is_wrong(
        &self,
        wanted: &WantedKey,
        held: Option<&Held>,
        known: Option<&Listed>,
        now: UnixTime,
    ) -> Option<&'static str> {
        let Some(held) = held else { return Some("there is none") };
        let Some(known) = known else { return Some("the engine does not know the one that is there") };
        if known.is_revoked {
            Some("it was revoked")
        } else if known.permissions != wanted.permissions {
            Some("it permits something else")
        } else if now + self.lifetime / 3 >= held.expires_at {
            Some("it ends soon")
        } else {
            None
        }
    }

    /// This gateway's keys that are in force.
    fn own<'l>(&self, listed: &'l [Listed], now: UnixTime) -> impl Iterator<Item = &'l Listed> {
        let prefix = self.prefix();
        listed.iter().filter(move |key| {
            key.name.starts_with(&prefix) && !key.is_revoked && key.expires_at.is_none_or(|end| now < end)
        })
    }

    fn prefix(&self) -> String {
        format!("{PREFIX}{}-", self.mark)
    }

    async fn make(
        &self,
        admin: &EngineClient,
        name: &str,
        permissions: &Permissions,
        previous: Option<String>,
        now: UnixTime,
    ) -> Result<Held, ApiKeySetupError> {
        const ASKED: &str = "POST apitokens";
        // The engine never lets a name be used again.
        let random = id::random_id("")?;
        let full_name = format!("{}{name}-{random}", self.prefix());
        let (cluster, index) = permissions.to_json();
        let body = json!({
            "name": full_name,
            "cluster_permissions": cluster,
            "index_permissions": index,
            "duration_seconds": self.lifetime.as_secs(),
        });
        let answer = admin.send(Method::POST, &format!("{API}/apitokens"), Some(&body)).await?;
        let answer = allowed(answer)?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(id), Some(token)) = (text("id"), text("token").filter(|token| is_token(token))) else {
            return Err(ApiKeySetupError::Answer(ASKED));
        };
        let expires_at = now + self.lifetime;
        Ok(Held { id, name: full_name, token: SecretString::from(token), expires_at, previous })
    }
}

impl ApiKeyPlan {
    /// Whether nothing must be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The steps, in their order.
    #[must_use]
    pub fn changes(&self) -> &[ApiKeyChange] {
        &self.changes
    }
}

impl fmt::Display for ApiKeyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to change\n");
        }
        for change in &self.changes {
            match change {
                ApiKeyChange::Make { name, why, replaces, .. } => {
                    let sign = if replaces.is_some() { '~' } else { '+' };
                    writeln!(f, "{sign} API key `{name}`: {why}")?;
                }
                ApiKeyChange::Revoke { name, .. } => writeln!(f, "- API key `{name}` in the engine")?,
                ApiKeyChange::Forget { name } => writeln!(f, "- file of the API key `{name}`")?,
            }
        }
        writeln!(f, "  the engine keeps {} API keys of at most {}, revoked ones included", self.kept, self.room)
    }
}

impl Listed {
    fn of(key: &Value) -> Option<Self> {
        let millis = |name: &str| key.get(name).and_then(Value::as_i64).filter(|time| *time > 0);
        Some(Self {
            id: key.get("id")?.as_str()?.to_owned(),
            name: key.get("name")?.as_str()?.to_owned(),
            permissions: Permissions::listed(key),
            made_at: millis("iat").map_or(UnixTime::from_secs(0), UnixTime::from_millis),
            expires_at: millis("expires_at").map(UnixTime::from_millis),
            is_revoked: millis("revoked_at").is_some(),
        })
    }

    fn revocation(&self) -> ApiKeyChange {
        ApiKeyChange::Revoke { id: self.id.clone(), name: self.name.clone() }
    }
}

async fn list(admin: &EngineClient) -> Result<Vec<Listed>, ApiKeySetupError> {
    const ASKED: &str = "GET apitokens";
    let answer = allowed(admin.send(Method::GET, &format!("{API}/apitokens"), None).await?)?;
    let keys = answer.as_array().ok_or(ApiKeySetupError::Answer(ASKED))?;
    keys.iter().map(|key| Listed::of(key).ok_or(ApiKeySetupError::Answer(ASKED))).collect()
}

/// What the engine permits of keys.
struct Rules {
    is_on: bool,
    room: u64,
    /// In seconds; `None`: as long as one likes.
    longest: Option<u64>,
}

impl Rules {
    async fn read(admin: &EngineClient) -> Result<Self, ApiKeySetupError> {
        let answer = allowed(admin.send(Method::GET, &format!("{API}/securityconfig"), None).await?)?;
        let dynamic = answer.pointer("/config/dynamic").ok_or(ApiKeySetupError::Answer("GET securityconfig"))?;
        let rule = |name: &str| dynamic.pointer("/api_tokens").and_then(|rules| rules.get(name));
        let longest = rule("max_duration_seconds").and_then(Value::as_u64).unwrap_or(DEFAULT_LONGEST);
        Ok(Self {
            is_on: rule("enabled").and_then(Value::as_bool).unwrap_or(false),
            room: rule("max_tokens").and_then(Value::as_u64).unwrap_or(DEFAULT_ROOM).min(MOST_ROOM),
            longest: (longest > 0).then_some(longest),
        })
    }

    fn permit(&self, kept: u64, needed: u64, lifetime: Duration) -> Result<(), ApiKeySetupError> {
        if !self.is_on {
            return Err(ApiKeySetupError::SwitchedOff);
        }
        if kept.saturating_add(needed) > self.room {
            return Err(ApiKeySetupError::Full { kept, room: self.room, needed });
        }
        match self.longest {
            Some(longest) if lifetime.as_secs() > longest => Err(ApiKeySetupError::TooLong { longest }),
            _ => Ok(()),
        }
    }
}

/// The body of a good answer.
fn allowed(answer: crate::client::Answer) -> Result<Value, ApiKeySetupError> {
    match answer.status {
        status if status.is_success() => Ok(answer.body),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ApiKeySetupError::NotAdmin(answer.refused())),
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST if is_unknown(&answer.body) => Err(ApiKeySetupError::TooOld),
        _ => Err(answer.refused().into()),
    }
}

/// What an engine says that has no such endpoint: `no handler found for uri [...]`.
fn is_unknown(body: &Value) -> bool {
    body.get("error").and_then(Value::as_str).is_some_and(|error| error.starts_with("no handler found"))
}
