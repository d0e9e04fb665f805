//! Starting a node and waiting until its security plugin answers.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::blocking::Client;
use serde::{Deserialize, Serialize};

use super::{Options, PROCESS_FILE, STATE_FILE, State, Version, assemble, config};
use crate::account::Account;
use crate::cache::Cache;
use crate::certs::Certificates;
use crate::parts::Parts;
use crate::process::{Launch, Started, require_free_port};
use crate::progress::{Progress, say};
use crate::{files, http, java, secrets};

/// Everything the node prints, in the engine's folder.
pub(super) const LOG_FILE: &str = "engine.log";
const SECRETS_FILE: &str = "secrets.json";
/// The transport port is this far above the HTTP port.
const TRANSPORT_OFFSET: u16 = 100;
/// Long: a cold start on a busy machine of two cores takes half a minute.
const START_LIMIT: Duration = Duration::from_secs(240);
const SHARD_LIMIT: Duration = Duration::from_secs(60);

/// What belongs to the data folder: its security index holds the hash of this password.
#[derive(Serialize, Deserialize)]
struct Secrets {
    user: String,
    password: String,
}

/// What a node says to `GET /`.
pub(super) enum Answer {
    /// The security plugin let the administrator in; the engine's version.
    Ready(String),
    /// Anything else, in a few words.
    NotYet(String),
}

/// Starts the node and waits for it.
pub(super) fn start(options: &Options, dir: &Path, account: Option<&Account>) -> Result<State> {
    let version = options.version;
    let http_port = options.http_port.unwrap_or(version.default_http_port());
    let Some(transport_port) = http_port.checked_add(TRANSPORT_OFFSET) else {
        bail!("port {http_port} leaves no room for the transport port 100 above it: choose a lower --http-port");
    };
    let advice = "stop that program, or choose another port with --http-port";
    require_free_port(http_port, "HTTPS", advice)?;
    require_free_port(transport_port, "transport, 100 above HTTPS", advice)?;

    if options.fresh {
        files::remove(&dir.join("data"))?;
    }
    let (cache, parts) = (Cache::open()?, Parts::load()?);
    let java = java::find(&java_need(version), account, &cache, &parts, &dir.join("java"))?;
    let home = assemble::ensure(version, dir, &java, &cache, &parts)?;
    let certificates = Certificates::ensure(&dir.join("certs"))?;
    let secrets = ensure_secrets(dir)?;
    let node = config::Node {
        version,
        home: &home,
        dir,
        http_port,
        transport_port,
        certificates: &certificates,
        password: &secrets.password,
        java: &java,
    };
    config::write(&node)?;
    for folder in ["data", "logs", "tmp"] {
        std::fs::create_dir_all(dir.join(folder))?;
        files::give(&dir.join(folder), account)?;
    }
    files::give(&home, account)?;

    let mut command = Command::new(home.join("bin/opensearch"));
    command.current_dir(&home).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
    command.env("OPENSEARCH_JAVA_HOME", &java.home).env("OPENSEARCH_TMPDIR", dir.join("tmp"));
    command.env("OPENSEARCH_PATH_CONF", home.join("config")).env("HOME", dir.join("tmp")).env("LANG", "C.UTF-8");
    let record = dir.join(PROCESS_FILE);
    let launch = Launch { command, log: &dir.join(LOG_FILE), account, http_port, record: &record };
    let (mut child, started) = launch.start()?;
    wait(version, dir, &started, Some(&mut child))
}

/// Waits until the node answers; `child` is given when this command started it.
pub(super) fn wait(version: Version, dir: &Path, started: &Started, mut child: Option<&mut Child>) -> Result<State> {
    let ca = dir.join("certs/ca.pem");
    let client = http::client_trusting(&ca)?;
    let secrets = read_secrets(dir)?;
    let url = format!("https://localhost:{}", started.http_port);
    let state = |reported: String| State {
        url: url.clone(),
        ca: ca.clone(),
        user: secrets.user.clone(),
        password: secrets.password.clone(),
        version: reported,
        pid: started.pid,
        http_port: started.http_port,
        admin_cert: dir.join("certs/admin.pem"),
        admin_key: dir.join("certs/admin-key.pem"),
        gateway_cert: dir.join("certs/gateway.pem"),
        gateway_key: dir.join("certs/gateway-key.pem"),
        dir: dir.to_owned(),
    };
    let doing = if child.is_some() { "starting" } else { "waiting for" };
    let mut progress = Progress::start(format!("{doing} OpenSearch {} (process {})", version.number(), started.pid));
    loop {
        // A child that ended stays in the process table until it is waited for.
        let ended = child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
        if ended || !started.runs() {
            files::remove(&dir.join(PROCESS_FILE))?;
            files::remove(&dir.join(STATE_FILE))?;
            bail!(died(version, dir));
        }
        match probe(&client, &url, &secrets.user, &secrets.password, Duration::from_secs(3)) {
            Answer::Ready(reported) => {
                let state = state(reported);
                wait_for_shards(&client, &state, &mut progress)?;
                files::write_json(&dir.join(STATE_FILE), &state)?;
                progress.done("the security plugin answers");
                return Ok(state);
            }
            Answer::NotYet(why) => progress.tick(&why),
        }
        if progress.elapsed() > START_LIMIT {
            bail!(
                "OpenSearch {} does not answer after {} s: see {}, or run `cargo xtask engine down` and try again",
                version.number(),
                START_LIMIT.as_secs(),
                dir.join(LOG_FILE).display()
            );
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// After a restart with data the node answers before its indices do. An index that stays away is not our
/// business: the node is up, and its user sees which.
fn wait_for_shards(client: &Client, state: &State, progress: &mut Progress) -> Result<()> {
    let address =
        format!("{}/_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout=1s", state.url);
    let began = Instant::now();
    while began.elapsed() < SHARD_LIMIT {
        // 408 says that a second was not enough.
        let answer = client.get(&address).basic_auth(&state.user, Some(&state.password)).send();
        if answer.is_ok_and(|response| response.status().is_success()) {
            return Ok(());
        }
        progress.tick("its indices are being opened");
        std::thread::sleep(Duration::from_millis(100));
    }
    say("some indices of the engine could not be opened: see `_cat/indices`, or begin anew with `up --fresh`");
    Ok(())
}

/// Asks `GET /` as the administrator.
pub(super) fn probe(client: &Client, url: &str, user: &str, password: &str, limit: Duration) -> Answer {
    let response = match client.get(url).basic_auth(user, Some(password)).timeout(limit).send() {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Answer::NotYet("not listening yet".to_owned()),
        Err(error) if error.is_timeout() => return Answer::NotYet("no answer in time".to_owned()),
        Err(error) => return Answer::NotYet(error.to_string()),
    };
    let status = response.status().as_u16();
    match status {
        200 => match response
            .json::<serde_json::Value>()
            .ok()
            .and_then(|body| Some(body.pointer("/version/number")?.as_str()?.to_owned()))
        {
            Some(version) => Answer::Ready(version),
            None => Answer::NotYet("something else answers on this port".to_owned()),
        },
        503 => Answer::NotYet("the security plugin is not ready yet".to_owned()),
        401 => Answer::NotYet("it refuses the administrator's password; `up --fresh` begins anew".to_owned()),
        _ => Answer::NotYet(format!("it answers {status}")),
    }
}

fn java_need(version: Version) -> java::Need {
    match version {
        Version::V3_4_0 => java::Need { releases: 21..=u32::MAX, preferred: 25, wheel: "25.0.2.1" },
        // The security manager, which 2.x depends on, went away after 21.
        Version::V2_19_4 => java::Need { releases: 11..=21, preferred: 17, wheel: "21.0.8.2" },
    }
}

/// A data folder without its password cannot be entered again, and a password without data is of no use: both
/// begin together.
fn ensure_secrets(dir: &Path) -> Result<Secrets> {
    let has_data = dir.join("data/nodes").exists();
    if has_data && let Ok(secrets) = read_secrets(dir) {
        return Ok(secrets);
    }
    files::remove(&dir.join("data"))?;
    let secrets = Secrets { user: config::ADMIN_USER.to_owned(), password: secrets::password()? };
    files::write_json(&dir.join(SECRETS_FILE), &secrets)?;
    Ok(secrets)
}

fn read_secrets(dir: &Path) -> Result<Secrets> {
    let file = dir.join(SECRETS_FILE);
    let text = std::fs::read(&file)
        .with_context(|| format!("{} is missing: run `cargo xtask engine up --fresh`", file.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} cannot be read: run `cargo xtask engine up --fresh`", file.display()))
}

fn died(version: Version, dir: &Path) -> String {
    let log = dir.join(LOG_FILE);
    let lines = files::last_lines(&log, 20);
    let advice = if lines.contains("Address already in use") {
        "a port was taken while it started: run the command again"
    } else if lines.contains("OutOfMemory")
        || lines.contains("insufficient memory")
        || lines.contains("Cannot allocate memory")
    {
        "there is too little memory: it needs about 1.5 GB"
    } else {
        "its last lines are above; `up --fresh` begins with an empty data folder"
    };
    format!("{lines}\n\nOpenSearch {} ended while it started ({}): {advice}", version.number(), log.display())
}
