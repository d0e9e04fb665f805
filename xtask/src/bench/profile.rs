//! Where the gateway's cycles go, by `perf`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use serde::Serialize;

use crate::process;
use crate::progress::say;

/// Functions that are listed one by one.
const LISTED: usize = 40;

/// Parts of the gateway, by what the names of their functions contain; the first that fits counts.
const PARTS: &[(&str, &[&str])] = &[
    (
        "TLS: AES-GCM and other cryptography",
        &["aws_lc", "aes_gcm", "aesni", "gcm_", "ghash", "EVP_", "sha256", "SHA256"],
    ),
    ("TLS: records (rustls)", &["rustls"]),
    ("audit lines", &["oauth4os_telemetry::audit", "oauth4os_telemetry::time", "serde_json", "serde_core", "serde::"]),
    ("metrics", &["oauth4os_telemetry::metrics", "prometheus_client"]),
    ("bodies that are inspected", &["oauth4os_classify"]),
    ("HTTP heads", &["oauth4os_proxy::wire", "oauth4os_proxy::fields", "httparse", "memchr", "memmem"]),
    ("the gateway's other code", &["oauth4os", "quick_cache"]),
    ("runtime (tokio, mio)", &["tokio", "mio::"]),
    ("memory (mimalloc)", &["mi_", "_mi_", "mimalloc"]),
    ("copying and comparing (libc)", &["memcpy", "memmove", "memset", "memcmp", "bcmp", "__mem"]),
    ("clock", &["clock_gettime", "vdso"]),
];
const KERNEL: &str = "kernel (sockets, epoll, scheduling)";
const OTHER: &str = "everything else";

/// Shares of the samples.
#[derive(Debug, Serialize)]
pub struct Breakdown {
    pub samples: u64,
    /// Part and share, largest first.
    pub parts: Vec<(String, f64)>,
    /// Function and share, largest first.
    pub functions: Vec<(String, f64)>,
}

/// Samples the process while `load` runs. Nothing where `perf` is not installed or not permitted.
pub fn take(folder: &Path, pid: u32, load: impl FnOnce() -> Result<()>) -> Result<Option<Breakdown>> {
    if process::on_path("perf").is_none() {
        say("`perf` is not installed (Debian: linux-perf): where the cycles go is left out");
        return Ok(None);
    }
    let data = folder.join("perf.data");
    let mut record = Command::new("perf");
    record.args(["record", "--quiet", "--freq", "2500", "--event", "cpu-clock", "--pid", &pid.to_string(), "--output"]);
    record.arg(&data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let recorder = record.spawn().context("`perf` cannot be started")?;
    let loaded = load();
    let recorded = finish(recorder)?;
    loaded?;
    if !recorded || !data.exists() {
        say("`perf` could not record: where the cycles go is left out");
        return Ok(None);
    }
    let mut report = Command::new("perf");
    report.args(["report", "--stdio", "--no-children", "--quiet", "--sort", "dso,symbol", "--show-nr-samples"]);
    report.args(["--field-separator", "|", "--input"]).arg(&data);
    let output = report.output().context("`perf` cannot be started")?;
    Ok(Some(Breakdown::read(&String::from_utf8_lossy(&output.stdout))))
}

/// Ends the recording; `perf` writes its file when it is interrupted.
fn finish(mut recorder: Child) -> Result<bool> {
    if let Some(pid) = i32::try_from(recorder.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself, with an error.
        let _ = rustix::process::kill_process(pid, Signal::INT);
    }
    let status = recorder.wait()?;
    // Interrupted as it was told to be: some versions say so by their status.
    Ok(status.success() || status.code().is_none() || status.code() == Some(130))
}

impl Breakdown {
    /// Reads lines of `share% | samples | object | [k] function`.
    fn read(text: &str) -> Self {
        let mut total = 0;
        let mut parts: BTreeMap<&str, u64> = BTreeMap::new();
        let mut functions: Vec<(String, u64)> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.splitn(4, '|').map(str::trim);
            let (Some(_), Some(samples), Some(object), Some(function)) =
                (columns.next(), columns.next(), columns.next(), columns.next())
            else {
                continue;
            };
            let Ok(samples) = samples.parse::<u64>() else { continue };
            total += samples;
            let in_kernel = function.starts_with("[k]");
            // Some versions add columns for inter-process communication.
            let function = function.split('|').next().unwrap_or_default();
            let name = function.trim_start_matches("[k]").trim_start_matches("[.]").trim();
            let part = if in_kernel { KERNEL } else { part_of(object, name) };
            *parts.entry(part).or_default() += samples;
            let shown = if in_kernel { format!("kernel: {name}") } else { name.to_owned() };
            functions.push((shown, samples));
        }
        let mut parts: Vec<(String, u64)> =
            parts.into_iter().map(|(part, samples)| (part.to_owned(), samples)).collect();
        for list in [&mut parts, &mut functions] {
            list.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
        }
        functions.truncate(LISTED);
        #[expect(clippy::cast_precision_loss, reason = "samples of some seconds are far below 2^52")]
        let share = |(name, samples): (String, u64)| (name, samples as f64 / total.max(1) as f64);
        Self {
            samples: total,
            parts: parts.into_iter().map(share).collect(),
            functions: functions.into_iter().map(share).collect(),
        }
    }
}

fn part_of(object: &str, function: &str) -> &'static str {
    PARTS
        .iter()
        .find(|(_, names)| names.iter().any(|name| function.contains(name) || object.contains(name)))
        .map_or(OTHER, |(part, _)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_part() {
        let text = "\
# Overhead
 50.00%|   50|[kernel.kallsyms]|[k] tcp_sendmsg
 30.00%|   30|oauth4os|[.] rustls::conn::read_tls
 15.00%|   15|oauth4os|[.] <oauth4os_proxy::wire::request::RequestHead>::parse
  5.00%|    5|libc.so.6|[.] 0x00000000000a1b2c
";
        let breakdown = Breakdown::read(text);
        assert_eq!(breakdown.samples, 100);
        let parts: Vec<(&str, f64)> = breakdown.parts.iter().map(|(part, share)| (part.as_str(), *share)).collect();
        assert_eq!(parts, [(KERNEL, 0.5), ("TLS: records (rustls)", 0.3), ("HTTP heads", 0.15), (OTHER, 0.05)]);
        assert_eq!(breakdown.functions.first().map(|(name, _)| name.as_str()), Some("kernel: tcp_sendmsg"));
    }
}
