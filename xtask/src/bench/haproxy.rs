//! HAProxy as a plain TLS proxy: it decrypts and passes on, and decides nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::PROXY_CORE;
use super::program::{Program, free_port, listens, on_core};
use crate::certs::Certificates;
use crate::files;

/// HAProxy, ready to be started.
pub struct HAProxy {
    config: PathBuf,
    log: PathBuf,
    pub port: u16,
}

impl HAProxy {
    /// Writes its configuration: one thread, TLS 1.3 with the gateway's certificate, connections kept on both sides.
    pub fn prepare(folder: &Path, certificates: &Certificates, backend: u16) -> Result<Self> {
        let port = free_port()?;
        let mut pair = std::fs::read(&certificates.node).context("the certificate cannot be read")?;
        pair.extend(std::fs::read(&certificates.node_key).context("the key cannot be read")?);
        let pem = folder.join("haproxy.pem");
        files::write(&pem, &pair, 0o600)?;
        let config = folder.join("haproxy.cfg");
        let text = format!(
            "global
    nbthread 1
    maxconn 8000
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend tls
    bind 127.0.0.1:{port} ssl crt {} ssl-min-ver TLSv1.3 alpn http/1.1
    default_backend plain
backend plain
    server backend 127.0.0.1:{backend}
",
            pem.display()
        );
        files::write(&config, text.as_bytes(), 0o644)?;
        Ok(Self { config, log: folder.join("haproxy.log"), port })
    }

    /// Starts it on the proxies' core.
    pub fn start(&self) -> Result<Program> {
        let mut command = on_core(PROXY_CORE, Path::new("haproxy"));
        command.arg("-db").arg("-f").arg(&self.config);
        let mut program = Program::start("HAProxy", command, &self.log)?;
        program.wait_until(&self.log, || listens(self.port))?;
        Ok(program)
    }
}
