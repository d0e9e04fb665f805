//! A real OpenSearch with the security plugin and TLS: one node, on loopback.

mod assemble;
mod config;
mod modules;
mod start;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::process::Started;
use crate::progress::Progress;
use crate::{files, http, progress};

/// The file in the engine's folder that says how to talk to it; there only while it is up.
pub const STATE_FILE: &str = "engine.json";
const PROCESS_FILE: &str = "process.json";

/// The engines we are built against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The current one.
    V3_4_0,
    /// The last of the 2.x line.
    V2_19_4,
}

impl Version {
    /// As OpenSearch prints it.
    pub fn number(self) -> &'static str {
        match self {
            Self::V3_4_0 => "3.4.0",
            Self::V2_19_4 => "2.19.4",
        }
    }

    fn default_http_port(self) -> u16 {
        match self {
            Self::V3_4_0 => 19200,
            Self::V2_19_4 => 19219,
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "3.4.0" => Ok(Self::V3_4_0),
            "2.19.4" => Ok(Self::V2_19_4),
            _ => Err("choose 3.4.0 or 2.19.4".to_owned()),
        }
    }
}

/// How to bring one up.
pub struct Options {
    /// Which.
    pub version: Version,
    /// Where it lives; `None`: the default place.
    pub dir: Option<PathBuf>,
    /// The port of its HTTPS listener; `None`: the version's own.
    pub http_port: Option<u16>,
    /// Begin with an empty data folder.
    pub fresh: bool,
}

/// How to talk to a running engine (`engine.json`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// `https://localhost:<port>`.
    pub url: String,
    /// Its CA, PEM.
    pub ca: PathBuf,
    /// A user of the role `all_access`.
    pub user: String,
    /// Its password, random per node.
    pub password: String,
    /// The version it reports.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The port in `url`.
    pub http_port: u16,
    /// The administrator's client certificate, PEM: it may do everything, the security configuration included.
    pub admin_cert: PathBuf,
    /// Its key, PKCS#8 PEM.
    pub admin_key: PathBuf,
    /// The client certificate of a gateway, PEM: it opens nothing by itself.
    pub gateway_cert: PathBuf,
    /// Its key, PKCS#8 PEM.
    pub gateway_key: PathBuf,
    /// The folder it lives in.
    pub dir: PathBuf,
}

impl State {
    /// Reads a state file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read(file)
            .with_context(|| format!("there is no engine at {}: run `cargo xtask engine up`", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not the state of an engine", file.display()))
    }

    /// A client for it.
    pub fn client(&self) -> Result<reqwest::blocking::Client> {
        http::client_trusting(&self.ca)
    }
}

/// Brings an engine up, or finds it up, and waits until its security plugin answers.
pub fn up(options: &Options) -> Result<State> {
    let account = Account::for_parts()?;
    let dir = folder(options.version, options.dir.as_deref(), account.as_ref())?;
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be created", dir.display()))?;
    let _lock = files::lock(&dir.join("lock"), "another `cargo xtask` is at work on this engine")?;

    let record = dir.join(PROCESS_FILE);
    if let Some(started) = Started::running(&record) {
        if options.fresh {
            stop(options.version, &dir, &started)?;
        } else {
            if let Some(port) = options.http_port.filter(|port| *port != started.http_port) {
                bail!(
                    "this engine is up on port {}, not {port}: run `cargo xtask engine down` first",
                    started.http_port
                );
            }
            if let Ok(state) = status(options.version, Some(dir.clone())) {
                progress::say(&format!("OpenSearch {} is up already (process {})", state.version, state.pid));
                return Ok(state);
            }
            match start::wait(options.version, &dir, &started, None) {
                Err(_) if !started.runs() => {
                    progress::say(&format!("OpenSearch {} ended meanwhile: starting it anew", options.version.number()))
                }
                waited => return waited,
            }
        }
    }
    start::start(options, &dir, account.as_ref())
}

/// Ends an engine; nothing happens where none is up.
pub fn down(version: Version, dir: Option<PathBuf>) -> Result<()> {
    let dir = folder(version, dir.as_deref(), Account::for_parts()?.as_ref())?;
    match Started::running(&dir.join(PROCESS_FILE)) {
        Some(started) => stop(version, &dir, &started),
        None => {
            files::remove(&dir.join(STATE_FILE))?;
            files::remove(&dir.join(PROCESS_FILE))?;
            progress::say(&format!("OpenSearch {} is not up", version.number()));
            Ok(())
        }
    }
}

/// The state of a running engine; fails where it is not up or does not answer.
pub fn status(version: Version, dir: Option<PathBuf>) -> Result<State> {
    let dir = folder(version, dir.as_deref(), Account::for_parts()?.as_ref())?;
    let arguments = if version == Version::V3_4_0 { String::new() } else { format!(" --version {}", version.number()) };
    if Started::running(&dir.join(PROCESS_FILE)).is_none() {
        bail!("OpenSearch {} is not up: run `cargo xtask engine up{arguments}`", version.number());
    }
    if !dir.join(STATE_FILE).exists() {
        bail!("OpenSearch {} is starting: run `cargo xtask engine up{arguments}` to wait for it", version.number());
    }
    let state = State::read(&dir.join(STATE_FILE))?;
    let client = state.client()?;
    match start::probe(&client, &state.url, &state.user, &state.password, Duration::from_secs(5)) {
        start::Answer::Ready(_) => Ok(state),
        start::Answer::NotYet(why) => bail!(
            "OpenSearch {} runs as process {} but does not answer ({why}): see {}",
            version.number(),
            state.pid,
            dir.join(start::LOG_FILE).display()
        ),
    }
}

fn stop(version: Version, dir: &Path, started: &Started) -> Result<()> {
    files::remove(&dir.join(STATE_FILE))?;
    started.stop(&dir.join(PROCESS_FILE), Progress::start(format!("stopping OpenSearch {}", version.number())))
}

fn folder(version: Version, chosen: Option<&Path>, account: Option<&Account>) -> Result<PathBuf> {
    let usual = files::repository().join("target/engine").join(version.number());
    files::place_for(chosen, &usual, &format!("oauth4os-engine-{}", version.number()), account)
}
