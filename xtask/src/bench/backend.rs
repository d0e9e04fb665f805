//! The backend of all proxies: HAProxy that gives one answer, for as little work as possible.

use std::path::Path;

use anyhow::Result;

use super::LOAD_CORE;
use super::program::{Program, free_port, listens, on_core};
use crate::files;

/// The answer to everything: what a search with one hit looks like.
pub const ANSWER: &str = r#"{"took":2,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.2039728,"hits":[{"_index":"logs-app-2026.11.22","_id":"rGxk1ZMBv0cJQmW3h2yT","_score":1.2039728,"_source":{"@timestamp":"2026-11-22T06:30:00.000Z","level":"error","service":"checkout","message":"payment provider did not answer in time"}}]}}"#;

/// Indices with aliases, as the gateway is told.
const INDICES: usize = 500;

/// The backend that runs.
pub struct Backend {
    pub program: Program,
    pub port: u16,
}

/// Starts it on the load's core.
pub fn start(folder: &Path) -> Result<Backend> {
    let port = free_port()?;
    let (config, log) = (folder.join("backend.cfg"), folder.join("backend.log"));
    let (answer, names) = (folder.join("answer.json"), folder.join("names.json"));
    files::write(&answer, ANSWER.as_bytes(), 0o644)?;
    files::write(&names, names_of_a_cluster().to_string().as_bytes(), 0o644)?;
    let text = format!(
        "global
    nbthread 1
    maxconn 8000
defaults
    mode http
    option http-keep-alive
    timeout connect 5s
    timeout client 600s
    timeout server 600s
frontend answer
    bind 127.0.0.1:{port}
    http-request return status 200 content-type application/json file {} if {{ path_beg /_resolve/ }}
    http-request return status 200 content-type application/json file {}
",
        names.display(),
        answer.display()
    );
    files::write(&config, text.as_bytes(), 0o644)?;
    let mut command = on_core(LOAD_CORE, Path::new("haproxy"));
    command.arg("-db").arg("-f").arg(&config);
    let mut program = Program::start("the backend", command, &log)?;
    program.wait_until(&log, || listens(port))?;
    Ok(Backend { program, port })
}

/// What the gateway is told of aliases: as many as a cluster of middle size has, all of them inside.
fn names_of_a_cluster() -> serde_json::Value {
    let indices: Vec<serde_json::Value> = (0..INDICES)
        .map(|number| serde_json::json!({"name": format!("logs-app-{number:06}"), "aliases": ["logs-app", "logs"], "attributes": ["open"]}))
        .collect();
    serde_json::json!({"indices": indices, "aliases": [], "data_streams": []})
}
