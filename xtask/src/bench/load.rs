//! The load: `wrk`, with another token in each request.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::program::{on_core, prefer};
use super::{CONNECTIONS, LOAD_CORE, Token};
use crate::files;

/// What is searched for.
pub const BODY: &str = r#"{"query":{"term":{"level":"error"}},"size":1,"from":0}"#;
/// Where.
pub const PATH: &str = "/logs-app-*/_search";

/// How long an answer may take: longer than a machine that others use stands still.
const WAIT: &str = "30s";

/// The requests, as a script for `wrk`.
#[derive(Clone)]
pub struct Requests {
    script: PathBuf,
}

/// What `wrk` counted.
#[derive(Debug, Deserialize)]
pub struct Load {
    pub requests: u64,
    /// Answers other than 2xx and 3xx, and failed connections, reads, writes, waits.
    pub errors: u64,
    pub seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Load {
    pub fn requests_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
        let requests = self.requests as f64;
        requests / self.seconds
    }
}

impl Requests {
    /// Writes the script. All requests are made before the first is sent.
    pub fn write(folder: &Path, tokens: &[Token]) -> Result<Self> {
        let list = folder.join("tokens.txt");
        let mut text = String::new();
        for token in tokens {
            // Writing to memory does not fail.
            let _ = writeln!(text, "{}", token.text);
        }
        files::write(&list, text.as_bytes(), 0o600)?;
        let script = folder.join("load.lua");
        let text = format!(
            r#"local requests, next_request = {{}}, 0
function init(arguments)
  for token in io.lines("{list}") do
    local fields = {{ ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }}
    requests[#requests + 1] = wrk.format("POST", "{PATH}", fields, [[{BODY}]])
  end
end
function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{{"requests":%d,"errors":%d,"seconds":%f,"p50_us":%f,"p99_us":%f}}\n',
    summary.requests,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
"#,
            list = list.display()
        );
        files::write(&script, text.as_bytes(), 0o600)?;
        Ok(Self { script })
    }

    /// Sends them, over and over, for so many seconds.
    pub fn send(&self, port: u16, seconds: u64) -> Result<Load> {
        let mut command = on_core(LOAD_CORE, Path::new("wrk"));
        command.args([
            "--threads",
            "1",
            "--connections",
            &CONNECTIONS.to_string(),
            "--duration",
            &format!("{seconds}s"),
            "--timeout",
            WAIT,
        ]);
        command.arg("--script").arg(&self.script).arg(format!("https://localhost:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().context("`wrk` cannot be started")?;
        prefer(&child);
        let output = child.wait_with_output().context("`wrk` cannot be waited for")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("`wrk` failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        let line = text.lines().rfind(|line| line.starts_with('{')).context("`wrk` counted nothing")?;
        serde_json::from_str(line).context("what `wrk` counted cannot be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_as_long_as_the_report_says_and_json() {
        serde_json::from_str::<serde_json::Value>(BODY).unwrap();
        assert!(BODY.len() < 64, "{}", BODY.len());
    }
}
