//! A real Keycloak with a realm for the tests: an outside identity provider, on loopback.

mod realm;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::cache::Cache;
use crate::parts::Parts;
use crate::process::{Launch, Started, require_free_port};
use crate::progress::Progress;
use crate::{download, files, http, java, progress, secrets};

pub use realm::Contents;

/// The file in Keycloak's folder that says how to talk to it; there only while it is up.
pub const STATE_FILE: &str = "keycloak.json";
const PROCESS_FILE: &str = "process.json";
const SECRETS_FILE: &str = "secrets.json";
const LOG_FILE: &str = "keycloak.log";
const VERSION: &str = "26.7.5";
const HTTP_PORT: u16 = 18180;
const START_LIMIT: Duration = Duration::from_secs(240);
const JAVA: java::Need = java::Need { releases: 17..=u32::MAX, preferred: 21, wheel: "25.0.2.1" };

/// How to bring it up.
pub struct Options {
    /// Where it lives; `None`: the default place.
    pub dir: Option<PathBuf>,
    /// The port of its HTTP listener.
    pub http_port: Option<u16>,
    /// Begin with an empty data folder.
    pub fresh: bool,
}

/// How to talk to a running Keycloak (`keycloak.json`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    /// The issuer of the realm's tokens.
    pub issuer: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The port in `url`.
    pub http_port: u16,
    /// The administrator of the whole server.
    pub admin: Administrator,
    /// Who can log in.
    #[serde(flatten)]
    pub contents: Contents,
    /// The folder it lives in.
    pub dir: PathBuf,
}

/// A user of the realm `master`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Administrator {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// What belongs to the data folder.
#[derive(Serialize, Deserialize)]
struct Secrets {
    admin: Administrator,
    contents: Contents,
}

/// Brings it up, or finds it up, and waits until the realm answers.
pub fn up(options: &Options) -> Result<State> {
    let account = Account::for_parts()?;
    let dir = folder(options.dir.as_deref(), account.as_ref())?;
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be created", dir.display()))?;
    let _lock = files::lock(&dir.join("lock"), "another `cargo xtask` is at work on this Keycloak")?;
    if let Some(started) = Started::running(&dir.join(PROCESS_FILE)) {
        if options.fresh {
            stop(&dir, &started)?;
        } else {
            if let Some(port) = options.http_port.filter(|port| *port != started.http_port) {
                bail!(
                    "Keycloak is up on port {}, not {port}: run `cargo xtask keycloak down` first",
                    started.http_port
                );
            }
            if let Ok(state) = status(Some(dir.clone())) {
                progress::say(&format!("Keycloak {} is up already (process {})", state.version, state.pid));
                return Ok(state);
            }
            match wait(&dir, &started, None) {
                Err(_) if !started.runs() => progress::say("Keycloak ended meanwhile: starting it anew"),
                waited => return waited,
            }
        }
    }
    start(options, &dir, account.as_ref())
}

/// Ends it; nothing happens where it is not up.
pub fn down(dir: Option<PathBuf>) -> Result<()> {
    let dir = folder(dir.as_deref(), Account::for_parts()?.as_ref())?;
    match Started::running(&dir.join(PROCESS_FILE)) {
        Some(started) => stop(&dir, &started),
        None => {
            files::remove(&dir.join(STATE_FILE))?;
            files::remove(&dir.join(PROCESS_FILE))?;
            progress::say("Keycloak is not up");
            Ok(())
        }
    }
}

/// The state of a running Keycloak; fails where it is not up or does not answer.
pub fn status(dir: Option<PathBuf>) -> Result<State> {
    let dir = folder(dir.as_deref(), Account::for_parts()?.as_ref())?;
    if Started::running(&dir.join(PROCESS_FILE)).is_none() {
        bail!("Keycloak is not up: run `cargo xtask keycloak up`");
    }
    let file = dir.join(STATE_FILE);
    let text = std::fs::read(&file).context("Keycloak is starting: run `cargo xtask keycloak up` to wait for it")?;
    let state: State =
        serde_json::from_slice(&text).with_context(|| format!("{} is not the state of a Keycloak", file.display()))?;
    match probe(&http::client()?, &state.issuer) {
        Ok(()) => Ok(state),
        Err(why) => bail!(
            "Keycloak runs as process {} but does not answer ({why}): see {}",
            state.pid,
            dir.join(LOG_FILE).display()
        ),
    }
}

fn start(options: &Options, dir: &Path, account: Option<&Account>) -> Result<State> {
    let http_port = options.http_port.unwrap_or(HTTP_PORT);
    require_free_port(http_port, "HTTP", "stop that program, or choose another port with --http-port")?;
    if options.fresh {
        files::remove(&dir.join("home/data"))?;
    }
    let (cache, parts) = (Cache::open()?, Parts::load()?);
    let java = java::find(&JAVA, account, &cache, &parts, &dir.join("java"))?;
    let home = assemble(dir, &java.home, &cache, &parts)?;
    let secrets = ensure_secrets(dir, &home)?;
    // A realm that is there already is left as it is.
    let import = home.join("data/import");
    std::fs::create_dir_all(&import)?;
    files::write_json(&import.join(format!("{}-realm.json", realm::REALM)), &secrets.contents.realm())?;
    files::give(&home, account)?;

    let mut command = Command::new(home.join("bin/kc.sh"));
    command.current_dir(&home).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
    command.env("JAVA_HOME", &java.home).env("HOME", home.join("data")).env("LANG", "C.UTF-8");
    command.env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m");
    command
        .env("KC_BOOTSTRAP_ADMIN_USERNAME", &secrets.admin.user)
        .env("KC_BOOTSTRAP_ADMIN_PASSWORD", &secrets.admin.password);
    command.args([
        "start-dev",
        "--http-host",
        "127.0.0.1",
        "--http-port",
        &http_port.to_string(),
        "--cache=local",
        "--import-realm",
    ]);
    let record = dir.join(PROCESS_FILE);
    let (mut child, started) =
        Launch { command, log: &dir.join(LOG_FILE), account, http_port, record: &record }.start()?;
    wait(dir, &started, Some(&mut child))
}

fn wait(dir: &Path, started: &Started, mut child: Option<&mut Child>) -> Result<State> {
    let secrets = read_secrets(dir)?;
    let url = format!("http://127.0.0.1:{}", started.http_port);
    let issuer = format!("{url}/realms/{}", realm::REALM);
    let client = http::client()?;
    let mut progress = Progress::start(format!("starting Keycloak {VERSION} (process {})", started.pid));
    loop {
        let ended = child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
        if ended || !started.runs() {
            files::remove(&dir.join(PROCESS_FILE))?;
            files::remove(&dir.join(STATE_FILE))?;
            let log = dir.join(LOG_FILE);
            bail!(
                "{}\n\nKeycloak ended while it started ({}): its last lines are above; `up --fresh` begins with an empty data folder",
                files::last_lines(&log, 20),
                log.display()
            );
        }
        match probe(&client, &issuer) {
            Ok(()) => break,
            Err(why) => progress.tick(&why),
        }
        if progress.elapsed() > START_LIMIT {
            bail!(
                "Keycloak does not answer after {} s: see {}, or run `cargo xtask keycloak down` and try again",
                START_LIMIT.as_secs(),
                dir.join(LOG_FILE).display()
            );
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    let state = State {
        url,
        issuer,
        version: VERSION.to_owned(),
        pid: started.pid,
        http_port: started.http_port,
        admin: secrets.admin,
        contents: secrets.contents,
        dir: dir.to_owned(),
    };
    check_service_client(&client, &state)?;
    files::write_json(&dir.join(STATE_FILE), &state)?;
    progress.done("the realm answers");
    Ok(state)
}

/// The realm's own description of itself must name the issuer we expect.
fn probe(client: &reqwest::blocking::Client, issuer: &str) -> Result<(), String> {
    let address = format!("{issuer}/.well-known/openid-configuration");
    let response = client
        .get(address)
        .timeout(Duration::from_secs(3))
        .send()
        .map_err(|error| if error.is_connect() { "not listening yet".to_owned() } else { error.to_string() })?;
    let status = response.status().as_u16();
    let body: serde_json::Value = response.json().map_err(|_| format!("it answers {status}"))?;
    if body.get("issuer").and_then(serde_json::Value::as_str) == Some(issuer) {
        Ok(())
    } else {
        Err(format!("it answers {status}"))
    }
}

/// A realm left over from other secrets would only be noticed in the middle of a test.
fn check_service_client(client: &reqwest::blocking::Client, state: &State) -> Result<()> {
    let Some(service) = state.contents.clients.get("service") else {
        bail!("the realm has no client `service`: run `cargo xtask keycloak up --fresh`")
    };
    let form = BTreeMap::from([("grant_type", "client_credentials")]);
    let request = client.post(format!("{}/protocol/openid-connect/token", state.issuer));
    let response = request
        .basic_auth(&service.id, service.secret.as_ref())
        .form(&form)
        .send()
        .context("Keycloak does not answer")?;
    if !response.status().is_success() {
        bail!("Keycloak refuses the client `service` ({}): run `cargo xtask keycloak up --fresh`", response.status());
    }
    Ok(())
}

fn stop(dir: &Path, started: &Started) -> Result<()> {
    files::remove(&dir.join(STATE_FILE))?;
    started.stop(&dir.join(PROCESS_FILE), Progress::start("stopping Keycloak"))
}

fn assemble(dir: &Path, java_home: &Path, cache: &Cache, parts: &Parts) -> Result<PathBuf> {
    let home = dir.join("home");
    let artifact = format!("org.keycloak:keycloak-quarkus-dist:{VERSION}:zip");
    let pin = parts.maven(&artifact)?;
    let marker = home.join(".assembled");
    if std::fs::read_to_string(&marker).is_ok_and(|found| found == pin.sha256) {
        return Ok(home);
    }
    let found = download::maven(cache, &[pin], java_home)?;
    let archive = found.get(&artifact).with_context(|| format!("`{artifact}` was not fetched"))?;
    let progress = Progress::start(format!("unpacking Keycloak {VERSION}"));
    let building = dir.join("home.new");
    files::empty_folder(&building)?;
    files::unzip(archive, &building)?;
    let top = building.join(format!("keycloak-{VERSION}"));
    std::fs::set_permissions(top.join("bin/kc.sh"), std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the package holds no {}", top.join("bin/kc.sh").display()))?;
    files::write(&top.join(".assembled"), pin.sha256.as_bytes(), 0o644)?;
    files::remove(&home)?;
    std::fs::rename(&top, &home)?;
    files::remove(&building)?;
    progress.done("");
    Ok(home)
}

/// The secrets are in the data folder's database: both begin together.
fn ensure_secrets(dir: &Path, home: &Path) -> Result<Secrets> {
    if home.join("data/h2").exists()
        && let Ok(secrets) = read_secrets(dir)
    {
        return Ok(secrets);
    }
    files::remove(&home.join("data"))?;
    let admin = Administrator { user: "admin".to_owned(), password: secrets::password()? };
    let secrets = Secrets { admin, contents: Contents::new()? };
    files::write_json(&dir.join(SECRETS_FILE), &secrets)?;
    Ok(secrets)
}

fn read_secrets(dir: &Path) -> Result<Secrets> {
    let file = dir.join(SECRETS_FILE);
    let text = std::fs::read(&file)
        .with_context(|| format!("{} is missing: run `cargo xtask keycloak up --fresh`", file.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} cannot be read: run `cargo xtask keycloak up --fresh`", file.display()))
}

fn folder(chosen: Option<&Path>, account: Option<&Account>) -> Result<PathBuf> {
    files::place_for(chosen, &files::repository().join("target/keycloak"), "oauth4os-keycloak", account)
}
