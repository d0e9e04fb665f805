//! The machine and the programs the figures belong to.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::process;

/// The machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gb: u64,
    pub system: String,
    pub kernel: String,
    /// The day of the measurement.
    pub date: String,
}

/// The programs.
#[derive(Debug, Serialize)]
pub struct Versions {
    pub oauth4os: String,
    pub rustc: String,
    pub haproxy: String,
    pub haproxy_tls: String,
    pub wrk: String,
}

impl Machine {
    /// This machine, now.
    pub fn describe() -> Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read: the benchmark needs Linux"))
        };
        let value = |text: &str, key: &str, separator: char| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(separator)?;
                (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        let memory_kb = value(&read("/proc/meminfo")?, "MemTotal", ':')
            .and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok())
            .unwrap_or_default();
        let day = time::OffsetDateTime::now_utc().date();
        Ok(Self {
            processor: value(&read("/proc/cpuinfo")?, "model name", ':').unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: memory_kb.div_ceil(1024 * 1024),
            system: value(&read("/etc/os-release")?, "PRETTY_NAME", '=').unwrap_or_else(|| "Linux".to_owned()),
            // What follows is the name somebody gave their build.
            kernel: read("/proc/sys/kernel/osrelease")?.trim().split('-').next().unwrap_or_default().to_owned(),
            date: day.to_string(),
        })
    }
}

impl Versions {
    /// What is installed; refuses with a sentence when something is missing.
    pub fn find() -> Result<Self> {
        let missing: Vec<&str> = ["haproxy", "wrk", "setpriv", "setsid", "taskset"]
            .into_iter()
            .filter(|program| process::on_path(program).is_none())
            .collect();
        if !missing.is_empty() {
            bail!(
                "{} missing: install with `apt-get install haproxy wrk util-linux`, or the packages of the same names",
                missing.join(" and ")
            );
        }
        let haproxy = first_output("haproxy", &["-vv"])?;
        let line = |start: &str| {
            haproxy.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default().trim().to_owned()
        };
        Ok(Self {
            oauth4os: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: first_output("rustc", &["--version"])?.trim().to_owned(),
            haproxy: line("HAProxy version ").split_whitespace().next().unwrap_or_default().to_owned(),
            haproxy_tls: line("Running on OpenSSL version : "),
            wrk: first_output("wrk", &["--version"])?.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
        })
    }
}

/// Seconds a core has been busy with programs since the machine started, and seconds the host took away.
pub fn core_busy(core: usize) -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
    let name = format!("cpu{core} ");
    let line =
        stat.lines().find_map(|line| line.strip_prefix(&name)).context("the core is not listed in /proc/stat")?;
    let ticks: Vec<f64> = line.split_ascii_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, steal; interrupts are left out, which here are the loopback network's work for the measured.
    let busy: f64 = [0, 1, 2, 7].into_iter().filter_map(|at| ticks.get(at)).sum();
    #[expect(clippy::cast_precision_loss, reason = "the system's ticks are some hundred in a second")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(busy / per_second)
}

/// What a program says of itself; some (`wrk`) end with an error after it.
fn first_output(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("`{program}` cannot be started"))?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(String::from_utf8_lossy(&text).into_owned())
}
