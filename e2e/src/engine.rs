//! The real engine that `cargo xtask engine up` has started.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::answer::Answer;
use crate::http::Client;
use crate::{paths, until};

/// Whether this process wants the engine for itself.
static ALONE: AtomicBool = AtomicBool::new(false);

/// An OpenSearch with its security plugin, filled by `cargo xtask data`.
pub struct Engine {
    pub url: String,
    pub port: u16,
    pub ca: PathBuf,
    pub version: String,
    pub admin_cert: PathBuf,
    pub admin_key: PathBuf,
    /// A certificate for gateways to show, which opens nothing by itself.
    pub gateway_cert: PathBuf,
    pub gateway_key: PathBuf,
    dir: PathBuf,
    admin: Client,
}

impl Engine {
    /// The engine of this run.
    ///
    /// # Panics
    /// When there is none, or it holds no data.
    #[must_use]
    pub fn get() -> &'static Self {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        ENGINE.get_or_init(|| {
            let file = paths::engine_json();
            let text = std::fs::read_to_string(&file).expect("read the engine's state");
            let state: Value = serde_json::from_str(&text).expect("the engine's state is JSON");
            let field = |name: &str| {
                state[name].as_str().unwrap_or_else(|| panic!("`{}` has no `{name}`", file.display())).to_owned()
            };
            let port = state["http_port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
            let ca = PathBuf::from(field("ca"));
            let engine = Self {
                url: field("url"),
                port,
                version: field("version"),
                admin_cert: field("admin_cert").into(),
                admin_key: field("admin_key").into(),
                gateway_cert: field("gateway_cert").into(),
                gateway_key: field("gateway_key").into(),
                dir: field("dir").into(),
                admin: Client::new(port, &ca).with_basic(&field("user"), &field("password")),
                ca,
            };
            engine.keep_in_use();
            let customers = engine.admin.get("/pii-customers/_count").send();
            assert_eq!(
                customers.status,
                200,
                "the engine of `{}` holds no data, run `cargo xtask data`: {}",
                file.display(),
                customers.text()
            );
            engine
        })
    }

    /// The engine of this run, with no other test process at it: for tests that change its security configuration. To be
    /// called before any [`get`](Self::get) in the process.
    #[must_use]
    pub fn get_alone() -> &'static Self {
        ALONE.store(true, Ordering::SeqCst);
        Self::get()
    }

    /// Where the tests keep what belongs to this engine.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = paths::target().join(format!("engine-{}-{}", self.version, self.port));
        std::fs::create_dir_all(&folder).expect("make a folder");
        folder
    }

    /// Holds the engine as long as this process lives, together with others or alone.
    fn keep_in_use(&self) {
        static IN_USE: OnceLock<File> = OnceLock::new();
        let file = File::create(self.folder().join("in-use.lock")).expect("a lock file");
        if ALONE.load(Ordering::SeqCst) { file.lock() } else { file.lock_shared() }.expect("the lock");
        let _ = IN_USE.set(file);
    }

    /// The engine's administrator, asking the engine without the gateway.
    #[must_use]
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// Whether this is a 2.x.
    #[must_use]
    pub fn is_2(&self) -> bool {
        self.version.starts_with("2.")
    }

    /// Makes everything that was written visible to searches.
    pub fn refresh(&self, index: &str) {
        self.admin.post(&format!("/{index}/_refresh")).expect(200);
    }

    /// The latest of the indices `logs-app-<day>`, of which there is one for each of the last days.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn log_index(&self) -> String {
        let answer = self.admin().get("/_cat/indices/logs-app-2*?h=index&s=index:desc").expect(200);
        answer.text().lines().next().expect("an index").trim().to_owned()
    }

    /// How many documents there are, deleted ones not counted.
    ///
    /// # Panics
    /// When the engine does not say.
    #[must_use]
    pub fn count(&self, index: &str) -> u64 {
        self.refresh(index);
        self.admin.get(&format!("/{index}/_count")).expect(200).json()["count"].as_u64().expect("a number")
    }

    /// Deletes an index; it may be missing.
    pub fn delete_index(&self, index: &str) {
        let answer = self.admin.delete(&format!("/{index}?ignore_unavailable=true")).send();
        assert!(matches!(answer.status, 200 | 404), "`DELETE /{index}`: {}", answer.text());
    }

    /// What it has written to one of its own logs so far: `index_search_slowlog`, `deprecation`.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[must_use]
    pub fn own_log(&self, name: &str) -> String {
        let file = self.dir.join("logs").join(format!("oauth4os-development_{name}.json"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Ends it. To be called by a process that has it [alone](Self::get_alone).
    pub fn stop(&self) {
        self.xtask(&["down"]);
    }

    /// Starts it again, on the same data and the same port, and waits until it answers.
    pub fn start(&self) {
        self.xtask(&["up", "--http-port", &self.port.to_string()]);
    }

    fn xtask(&self, arguments: &[&str]) {
        let mut command = Command::new(paths::xtask());
        command.arg("engine").args(arguments).args(["--version", &self.version, "--dir"]).arg(&self.dir);
        let output = command.output().expect("run xtask");
        assert!(output.status.success(), "`xtask engine {arguments:?}`: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Asks until the answer is as it should be: some things in a cluster take effect a moment later.
    pub fn eventually(&self, target: &str, is_there: impl Fn(&Answer) -> bool) -> Answer {
        until(target, Duration::from_secs(20), || Some(self.admin.get(target).send()).filter(|answer| is_there(answer)))
    }
}
