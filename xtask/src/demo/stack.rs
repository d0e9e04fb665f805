//! `stack.json`: how scripts, tests and people talk to the running demo. Keys are added, never renamed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine;

/// The file, in the demo's folder.
pub const FILE: &str = "stack.json";

/// Everything that is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stack {
    /// The gateway.
    pub gateway: Gateway,
    /// The engine behind it.
    pub engine: Engine,
    /// Clients that can get tokens.
    pub clients: Vec<Client>,
}

/// The gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gateway {
    /// Where it listens.
    pub url: String,
    /// The authority that signed its certificate (PEM).
    pub ca: PathBuf,
    /// Its process.
    pub pid: u32,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its audit events.
    pub audit: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Who may manage it.
    pub admin: Credential,
}

/// A client's id and secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credential {
    /// The `client_id`.
    pub client_id: String,
    /// The secret.
    pub client_secret: String,
}

/// The engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Engine {
    /// Where it listens.
    pub url: String,
    /// The authority that signed its certificate (PEM).
    pub ca: PathBuf,
    /// Its administrator.
    pub user: String,
    /// The administrator's password.
    pub password: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
}

/// A client of the demo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// The `client_id`.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// What it may ask for.
    pub scopes: Vec<String>,
}

impl From<&engine::State> for Engine {
    fn from(state: &engine::State) -> Self {
        Self {
            url: state.url.clone(),
            ca: state.ca.clone(),
            user: state.user.clone(),
            password: state.password.clone(),
            version: state.version.clone(),
            pid: state.pid,
        }
    }
}

impl Stack {
    /// The demo's client of this id.
    pub fn client(&self, id: &str) -> anyhow::Result<&Client> {
        let found = self.clients.iter().find(|client| client.id == id);
        found.ok_or_else(|| anyhow::anyhow!("the demo has no client `{id}`: run `cargo xtask demo --down` and again"))
    }
}
