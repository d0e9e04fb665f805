//! The gateway with everything on: tokens, scopes, Cedar policies, limits, audit to a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::program::{Program, free_port, on_core};
use super::tokens::{self, Client, Token};
use super::{POLICIES, PROXY_CORE};
use crate::certs::Certificates;
use crate::{files, http, secrets};

/// Clients the tokens are spread over.
pub const CLIENTS: usize = 20;

const AUDIT: &str = "audit.jsonl";

/// The gateway, ready to be started.
pub struct Gateway {
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    ca: PathBuf,
    clients: Vec<Client>,
    pub port: u16,
}

impl Gateway {
    /// Writes its configuration and policies.
    pub fn prepare(folder: &Path, binary: &Path, certificates: &Certificates, backend: u16) -> Result<Self> {
        files::empty_folder(folder)?;
        let port = free_port()?;
        let clients = (0..CLIENTS)
            .map(|number| Ok(Client { id: format!("log-agent-{number:02}"), secret: secrets::password()? }))
            .collect::<Result<Vec<_>>>()?;
        let policies = folder.join("policies.cedar");
        files::write(&policies, policy_text(POLICIES, &clients).as_bytes(), 0o644)?;
        let listed: Vec<serde_json::Value> = clients
            .iter()
            .map(|client| {
                serde_json::json!({
                    "id": client.id,
                    "kind": "agent",
                    "secret": {"file": secret_file(folder, client)},
                    "scopes": ["read:logs-*"],
                    "groups": ["observability"],
                    "rate_limit": {"requests_per_second": 1_000_000, "burst": 1_000_000},
                })
            })
            .collect();
        for client in &clients {
            files::write(&secret_file(folder, client), client.secret.as_bytes(), 0o600)?;
        }
        let config = serde_json::json!({
            "listen": format!("127.0.0.1:{port}"),
            "issuer": format!("https://localhost:{port}"),
            "tls": {"certificate": certificates.node, "key": certificates.node_key},
            "state": {"directory": folder.join("state")},
            "upstream": {"engine": {"url": format!("http://127.0.0.1:{backend}")}},
            "tokens": {"lifetime": "6h", "internal_lifetime": "1h"},
            "limits": {"idle_timeout": "600s"},
            "clients": listed,
            "policies": {"files": [policies]},
            "audit": {"file": folder.join(AUDIT)},
            "workers": 1,
        });
        let path = folder.join("oauth4os.yaml");
        files::write(&path, format!("{config:#}\n").as_bytes(), 0o600)?;
        Ok(Self {
            binary: binary.to_owned(),
            config: path,
            log: folder.join("gateway.log"),
            ca: certificates.ca.clone(),
            clients,
            port,
        })
    }

    /// The file of its audit lines.
    pub fn audit(&self) -> PathBuf {
        self.config.with_file_name(AUDIT)
    }

    /// Starts it on the proxies' core; its keys and tokens are those of before.
    pub fn start(&self) -> Result<Program> {
        let mut command = on_core(PROXY_CORE, &self.binary);
        command.args(["serve", "--config"]).arg(&self.config);
        let mut program = Program::start("the gateway", command, &self.log)?;
        let client = http::client_trusting(&self.ca)?;
        let url = format!("https://localhost:{}/healthz", self.port);
        program.wait_until(&self.log, || client.get(&url).send().is_ok_and(|answer| answer.status().is_success()))?;
        Ok(program)
    }

    /// So many tokens, from its token endpoint.
    pub fn tokens(&self, count: usize) -> Result<Vec<Token>> {
        let client = http::client_trusting(&self.ca)?;
        tokens::obtain(&client, &format!("https://localhost:{}/oauth/token", self.port), &self.clients, count)
            .context("no tokens could be had from the gateway")
    }
}

fn secret_file(folder: &Path, client: &Client) -> PathBuf {
    folder.join(format!("{}.secret", client.id))
}

/// So many policies: the clients' own among those of many others.
fn policy_text(count: usize, clients: &[Client]) -> String {
    let mut text = String::from("forbid(principal in Group::\"agents\", action, resource in Index::\"pii-*\");\n");
    let mut written = 1;
    // Writing to memory does not fail.
    for client in clients {
        let _ = writeln!(
            text,
            "permit(principal == Agent::\"{}\", action in [Action::\"search\", Action::\"get\"], resource in Index::\"logs-*\");",
            client.id
        );
        written += 1;
    }
    for number in written..count {
        let _ = match number % 4 {
            0 => writeln!(
                text,
                "permit(principal == Client::\"shipper-{number}\", action == Action::\"create\", resource in Index::\"logs-{number}-*\");"
            ),
            1 => writeln!(
                text,
                "permit(principal in Group::\"team-{number}\", action in [Action::\"search\", Action::\"get\"], resource in Index::\"metrics-{number}-*\");"
            ),
            2 => writeln!(
                text,
                "forbid(principal in Group::\"team-{number}\", action in [Action::\"write\"], resource in Index::\"archive-{number}-*\");"
            ),
            // These are about the measured clients too.
            _ => writeln!(
                text,
                "forbid(principal in Group::\"observability\", action, resource in Index::\"secret-{number}-*\");"
            ),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_policies_as_promised() {
        let clients =
            [Client { id: "a".into(), secret: String::new() }, Client { id: "b".into(), secret: String::new() }];
        let text = policy_text(POLICIES, &clients);
        assert_eq!(text.lines().count(), POLICIES);
        assert_eq!(text.matches("principal == Agent::").count(), clients.len());
        assert!(text.lines().all(|line| line.ends_with(';')));
    }
}
