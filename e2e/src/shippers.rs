//! Real shippers, run as their users run them: the OpenTelemetry Collector, built from its modules, and rsyslog, from
//! Debian's packages.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::port::Port;
use crate::process::Process;
use crate::programs::{TRAPS, folder, go_program, lock, succeeds};

/// Where Debian's packages put rsyslog's modules, and the libraries it needs.
const MODULES: [&str; 2] = ["usr/lib/x86_64-linux-gnu/rsyslog", "usr/lib/aarch64-linux-gnu/rsyslog"];
/// What a minimal system does not have of what rsyslog is made of.
const PACKAGES: [&str; 5] = ["rsyslog", "rsyslog-elasticsearch", "libestr0", "libfastjson4", "liblognorm5"];

/// A shipper at work, until this is dropped.
pub struct Shipper {
    process: Process,
    folder: TempDir,
    port: Port,
}

/// Starts the OpenTelemetry Collector of `e2e/clients/otel-collector`. `config` is given a folder for files and the port of
/// 127.0.0.1 on which it may receive.
///
/// # Panics
/// When it cannot be built or started; the message says what is missing.
#[must_use]
pub fn otel_collector(config: impl FnOnce(&Path, u16) -> Value) -> Shipper {
    let mut program = go_program("otel-collector");
    start(|folder, port| {
        let path = folder.join("collector.json");
        // YAML contains JSON.
        fs::write(&path, config(folder, port).to_string()).expect("write the configuration");
        program.arg("--config").arg(prefixed("file:", &path));
        program
    })
}

/// Starts rsyslog: the machine's own, or, where it has none that writes to OpenSearch, that of Debian's packages, unpacked in the
/// cache folder. `config` is given a folder for files and the port of 127.0.0.1 on which it may receive.
///
/// # Panics
/// When it cannot be had or started; the message says what is missing.
#[must_use]
pub fn rsyslog(config: impl FnOnce(&Path, u16) -> String) -> Shipper {
    let root = rsyslog_root();
    start(|folder, port| {
        let path = folder.join("rsyslog.conf");
        fs::write(&path, config(folder, port)).expect("write the configuration");
        let modules = modules(&root).expect("rsyslog's modules");
        let mut program = Command::new(root.join("usr/sbin/rsyslogd"));
        program.arg("-n").arg("-f").arg(path).arg("-i").arg(folder.join("pid")).arg("-M").arg(&modules);
        program.env("LD_LIBRARY_PATH", modules.parent().expect("a folder of libraries"));
        program
    })
}

impl Shipper {
    /// The port it may receive on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    /// What it has said so far, on its output and in the file `errors` of its folder.
    ///
    /// # Panics
    /// When that cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).expect("read the log");
        // Not every shipper keeps such a file, and none before it has something to say.
        log + &fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default()
    }

    /// # Panics
    /// When it is over.
    pub fn assert_is_running(&self) {
        assert!(self.process.is_running(), "{}", self.log());
    }
}

fn start(program: impl FnOnce(&Path, u16) -> Command) -> Shipper {
    let folder = tempfile::tempdir().expect("a folder");
    let port = Port::reserve();
    let mut program = program(folder.path(), port.number());
    for trap in TRAPS {
        program.env_remove(trap);
    }
    let log = File::create(folder.path().join("log")).expect("a log file");
    Shipper { process: Process::start(&program, &log), folder, port }
}

fn rsyslog_root() -> PathBuf {
    let is_there = |root: &Path| {
        root.join("usr/sbin/rsyslogd").is_file()
            && modules(root).is_some_and(|modules| modules.join("omelasticsearch.so").is_file())
    };
    let system = PathBuf::from("/");
    if is_there(&system) {
        return system;
    }
    let root = folder("e2e-rsyslog");
    let _lock = lock(&root);
    if !is_there(&root) {
        let needed =
            "rsyslog with its output module for Elasticsearch (packages `rsyslog` and `rsyslog-elasticsearch`)";
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).expect("make a folder");
        let download = || Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&root).output();
        if !download().is_ok_and(|run| run.status.success()) {
            // A new machine knows no packages yet.
            succeeds(Command::new("apt-get").arg("update"), needed);
            succeeds(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(&root), needed);
        }
        for entry in fs::read_dir(&root).expect("read a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.extension().is_some_and(|extension| extension == "deb") {
                succeeds(Command::new("dpkg").arg("--extract").arg(&entry).arg(&root), needed);
            }
        }
        assert!(is_there(&root), "the packages hold no rsyslog for this machine; the tests need {needed}");
    }
    root
}

fn modules(root: &Path) -> Option<PathBuf> {
    MODULES.iter().map(|folder| root.join(folder)).find(|folder| folder.is_dir())
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}
