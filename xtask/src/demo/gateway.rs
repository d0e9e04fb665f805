//! The demo's gateway: its certificate, configuration, clients and process.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::stack::{self, Client, Credential, Gateway, Stack};
use crate::certs::Certificates;
use crate::process::{Launch, Started, require_free_port};
use crate::progress::{Progress, say};
use crate::{engine, files, http, secrets};

/// The port users were told.
const PORT: u16 = 8443;
const RECORD: &str = "gateway.process.json";
const CONFIG: &str = "oauth4os.yaml";
const LOG: &str = "gateway.log";
const AUDIT: &str = "audit.jsonl";
const STATE: &str = "state";

/// How long the gateway may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// The demo's clients: id, whether it is an agent, scopes.
const CLIENTS: [(&str, bool, &[&str]); 7] = [
    ("log-reader", false, &["read:logs-*"]),
    ("log-shipper", false, &["write:app-logs-*"]),
    ("log-processor", false, &["read:logs-*", "write:app-logs-*"]),
    ("log-search", false, &["search:logs-app-*"]),
    ("index-manager", false, &["manage:app-logs-*"]),
    ("cluster-monitor", false, &["monitor:cluster"]),
    // Its scopes reach further than the policies let it: see `policies/rfc.cedar`.
    ("my-ai-agent", true, &["read:logs-*", "read:metrics-*", "read:pii-*"]),
];

/// The policies printed in the RFC, and one that leaves machines to their scopes.
const RFC_POLICIES: &str = include_str!("../../../server/policy/tests/rfc.cedar");
const MACHINE_POLICIES: &str = "// What a machine may do, its scopes say. Agents need a permit of their own.
permit(principal is Client, action, resource);
";

/// Brings the gateway up, or finds it up with this binary, engine and configuration.
pub fn up(folder: &Path, binary: &Path, engine: &engine::State) -> Result<Stack> {
    let certificates = Certificates::ensure(&folder.join("certs"))?;
    let clients = clients(folder)?;
    let config_changed = write_config(folder, &certificates, &clients, engine)?;
    let record = folder.join(RECORD);
    if let Some(started) = Started::running(&record) {
        let is_current = !config_changed && is_newer(&record, binary) && is_newer(&record, &certificates.node);
        if is_current && let Some(stack) = known(folder, &started) {
            say(&format!("the gateway is up already (process {})", started.pid));
            return Ok(stack);
        }
        started.stop(&record, Progress::start("stopping the gateway that ran before"))?;
    }
    require_free_port(PORT, "the gateway's", "end the program that has it")?;

    let setup = Progress::start("preparing the engine: one auth domain, nine static roles");
    let mut command = Command::new(binary);
    command.args(["engine", "setup", "--apply", "--config"]).arg(folder.join(CONFIG));
    command.arg("--admin-cert").arg(&engine.admin_cert).arg("--admin-key").arg(&engine.admin_key);
    let output = command.output().context("the gateway cannot be started")?;
    if !output.status.success() {
        bail!("the engine cannot be prepared: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    setup.done("");

    let mut command = Command::new(binary);
    command.args(["serve", "--config"]).arg(folder.join(CONFIG)).current_dir(folder);
    let log = folder.join(LOG);
    let launch = Launch { command, log: &log, account: None, http_port: PORT, record: &record };
    let (_, started) = launch.start()?;
    let url = format!("https://localhost:{PORT}");
    wait_until_ready(&url, &certificates.ca, &started, &log)?;
    let stack = Stack {
        gateway: Gateway {
            url,
            ca: certificates.ca,
            pid: started.pid,
            config: folder.join(CONFIG),
            audit: folder.join(AUDIT),
            log,
            admin: admin(folder)?,
        },
        engine: engine.into(),
        clients,
    };
    files::write_json(&folder.join(stack::FILE), &stack)?;
    Ok(stack)
}

/// Ends the gateway; its state stays.
pub fn down(folder: &Path) -> Result<()> {
    let record = folder.join(RECORD);
    match Started::running(&record) {
        Some(started) => started.stop(&record, Progress::start("stopping the gateway"))?,
        None => say("the gateway is not up"),
    }
    files::remove(&folder.join(stack::FILE))
}

/// The stack file, when it is about the process that runs.
fn known(folder: &Path, started: &Started) -> Option<Stack> {
    let text = std::fs::read(folder.join(stack::FILE)).ok()?;
    let stack: Stack = serde_json::from_slice(&text).ok()?;
    (stack.gateway.pid == started.pid).then_some(stack)
}

/// The clients with the secrets they were given before.
fn clients(folder: &Path) -> Result<Vec<Client>> {
    let path = folder.join("clients.json");
    let known: Vec<Client> = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let mut clients = Vec::new();
    for (id, _, scopes) in CLIENTS {
        let secret = match known.iter().find(|client| client.id == id) {
            Some(client) => client.secret.clone(),
            None => secrets::password()?,
        };
        clients.push(Client {
            id: id.to_owned(),
            secret,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        });
    }
    files::write_json(&path, &clients)?;
    Ok(clients)
}

/// Writes the configuration and its policies; true when something is different from before.
fn write_config(
    folder: &Path,
    certificates: &Certificates,
    clients: &[Client],
    engine: &engine::State,
) -> Result<bool> {
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies)?;
    let mut changed = write_if_changed(&policies.join("rfc.cedar"), RFC_POLICIES)?;
    changed |= write_if_changed(&policies.join("machines.cedar"), MACHINE_POLICIES)?;
    let clients: Vec<serde_json::Value> = clients
        .iter()
        .zip(CLIENTS)
        .map(|(client, (_, is_agent, _))| {
            let digest: String =
                Sha256::digest(client.secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            serde_json::json!({
                "id": client.id,
                "kind": if is_agent { "agent" } else { "machine" },
                "secret_hash": format!("sha256:{digest}"),
                "scopes": client.scopes,
            })
        })
        .collect();
    let config = serde_json::json!({
        "listen": format!("127.0.0.1:{PORT}"),
        "issuer": format!("https://localhost:{PORT}"),
        "tls": {"certificate": certificates.node, "key": certificates.node_key},
        "state": {"directory": folder.join(STATE)},
        "upstream": {"engine": {"url": engine.url, "ca": engine.ca}},
        "clients": clients,
        "policies": {"files": [policies.join("rfc.cedar"), policies.join("machines.cedar")]},
        "audit": {"file": folder.join(AUDIT)},
        "metrics": {"listen": "127.0.0.1:9464"},
    });
    // YAML is a superset of JSON; people read it all the same.
    let text =
        format!("# Written by `cargo xtask demo`. The annotated example is oauth4os.example.yaml.\n{config:#}\n");
    changed |= write_if_changed(&folder.join(CONFIG), &text)?;
    Ok(changed)
}

fn write_if_changed(path: &Path, text: &str) -> Result<bool> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(false);
    }
    files::write(path, text.as_bytes(), 0o600)?;
    Ok(true)
}

/// The administrator's credential: from the file of the first start, or as it was kept.
fn admin(folder: &Path) -> Result<Credential> {
    let kept = folder.join("admin.json");
    let first = folder.join(STATE).join("first-admin.json");
    if first.exists() {
        let text = std::fs::read(&first)?;
        files::write(&kept, &text, 0o600)?;
        files::remove(&first)?;
    }
    let text = std::fs::read(&kept).with_context(|| {
        format!(
            "the administrator's credential is lost: delete {} and run the demo again",
            folder.join(STATE).display()
        )
    })?;
    Ok(serde_json::from_slice(&text)?)
}

fn wait_until_ready(url: &str, ca: &Path, started: &Started, log: &Path) -> Result<()> {
    let client = http::client_trusting(ca)?;
    let mut progress = Progress::start("starting the gateway");
    let began = Instant::now();
    loop {
        let answer = client.get(format!("{url}/readyz")).send();
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            progress.done("");
            return Ok(());
        }
        if !started.runs() {
            bail!("the gateway ended; the end of its log:\n{}", files::last_lines(log, 10));
        }
        if began.elapsed() > PATIENCE {
            bail!("the gateway is not ready after {} s; see {}", PATIENCE.as_secs(), log.display());
        }
        progress.tick("");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether `one` was written after `other`.
fn is_newer(one: &Path, other: &Path) -> bool {
    let written = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    matches!((written(one), written(other)), (Some(one), Some(other)) if one > other)
}
