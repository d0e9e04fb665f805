//! A running gateway.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::answer::Answer;
use crate::configuration::configuration;
use crate::connection::PlainConnection;
use crate::engine::Engine;
use crate::forge::Forge;
use crate::http::Client;
use crate::port::Port;
use crate::process::Process;
use crate::settings::{ClientSettings, Driver, Settings};
use crate::{paths, tls, until};

/// The issuer of every gateway here. They share one signing key for the engine, so they are one gateway to it.
pub const ISSUER: &str = "https://gateway.example.com";

/// How long an audit line may take from the answer to the file.
const RECORDED: Duration = Duration::from_secs(10);

/// The gateway, as a process of its own.
pub struct Gateway {
    folder: TempDir,
    program: PathBuf,
    environment: Vec<(String, String)>,
    port: Port,
    metrics_port: Port,
    clients: HashMap<String, ClientSettings>,
    http: Client,
    process: Mutex<Process>,
}

/// What a command of the gateway printed, and how it ended.
#[derive(Debug)]
pub struct Run {
    pub succeeded: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Gateway {
    /// Runs another command of the gateway on this configuration.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.folder.path().join("oauth4os.yaml"));
        command.envs(environment.iter().copied());
        Run::from(command.output().expect("run the gateway"))
    }

    /// Starts a gateway and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; its log is in the message.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let gateway = Self::launched(settings);
        gateway.wait_until_ready();
        gateway
    }

    /// A gateway that cannot start before something is done for it with its own commands.
    ///
    /// # Panics
    /// When it does not become ready then.
    #[must_use]
    pub fn start_after(settings: Settings, prepare: impl FnOnce(&Self)) -> Self {
        let gateway = Self::launched(settings);
        until("the gateway to give up", Duration::from_secs(30), || (!gateway.is_running()).then_some(()));
        prepare(&gateway);
        gateway.start_again();
        gateway
    }

    fn launched(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        tls::write_server_certificate(folder.path());
        for (name, content) in &settings.files {
            tls::write_private(&folder.path().join(name), content.as_bytes());
        }
        let program = program(settings.engine_decides);
        if settings.reaches_the_engine() {
            copy_folder(shared_state(settings.driver_in_use()), &folder.path().join("state"));
        }
        let (port, metrics_port) = (Port::reserve(), Port::reserve());
        let config = configuration(&settings, folder.path(), port.number(), metrics_port.number());
        fs::write(folder.path().join("oauth4os.yaml"), config.to_string()).expect("write the configuration");
        let process = launch(&program, folder.path(), &settings.environment);
        let http = Client::new(port.number(), &folder.path().join("gateway.pem"));
        let clients = settings.clients.into_iter().map(|client| (client.id.clone(), client)).collect();
        let environment = settings.environment;
        let process = Mutex::new(process);
        Self { folder, program, environment, port, metrics_port, clients, http, process }
    }

    fn wait_until_ready(&self) {
        until("the gateway to be ready", Duration::from_secs(30), || {
            if !self.process().is_running() {
                let status = self.process().exit_status();
                panic!("the gateway ended with status {status}:\n{}", self.log());
            }
            let metrics = std::net::TcpStream::connect(("127.0.0.1", self.metrics_port.number())).is_ok();
            (metrics && self.monitor("/readyz").status == 200).then_some(())
        });
        // The listener for clients is opened last.
        until("the gateway to listen", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", self.port.number())).ok()
        });
    }

    /// Clients without a credential.
    #[must_use]
    pub const fn http(&self) -> &Client {
        &self.http
    }

    /// The same on another port of the gateway.
    #[must_use]
    pub fn http_on(&self, port: &Port) -> Client {
        Client::new(port.number(), &self.ca())
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    /// The certificate clients have to trust.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("gateway.pem")
    }

    /// The folder with configuration, state, audit file and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// # Panics
    /// When there is no such client.
    #[must_use]
    pub fn secret(&self, client: &str) -> &str {
        &self.clients.get(client).unwrap_or_else(|| panic!("no client `{client}`")).secret
    }

    /// Asks for a token of all the client's scopes.
    #[must_use]
    pub fn token(&self, client: &str) -> String {
        access_token(&self.ask_for_token(client, &[]).expect_ok())
    }

    /// Asks for a token with these scopes.
    #[must_use]
    pub fn token_with(&self, client: &str, scope: &str) -> String {
        access_token(&self.ask_for_token(client, &[("scope", scope)]).expect_ok())
    }

    /// The answer to a token request with these further parameters.
    #[must_use]
    pub fn ask_for_token(&self, client: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend_from_slice(parameters);
        self.http.with_basic(client, self.secret(client)).post("/oauth/token").form(&form).send()
    }

    /// Has a client revoke one of its tokens.
    ///
    /// # Panics
    /// When that is refused.
    pub fn revoke(&self, client: &str, token: &str) {
        self.http.with_basic(client, self.secret(client)).post("/oauth/revoke").form(&[("token", token)]).expect(200);
    }

    /// Somebody with a fresh token of this client.
    #[must_use]
    pub fn with(&self, client: &str) -> Client {
        self.http.with_token(&self.token(client))
    }

    /// The administrator whose credential was made at the first start.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn administrator(&self) -> Client {
        let text = fs::read_to_string(self.folder.path().join("state/first-admin.json"))
            .expect("the first administrator's credential");
        let credential: Value = serde_json::from_str(&text).expect("JSON");
        let text = |name: &str| credential[name].as_str().expect("a text");
        self.http.with_basic(text("client_id"), text("client_secret"))
    }

    /// Signs tokens with this gateway's own key.
    #[must_use]
    pub fn forge(&self) -> Forge {
        Forge::of_state(&self.folder.path().join("state"))
    }

    /// An answer of the listener for metrics.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn monitor(&self, path: &str) -> Answer {
        let mut connection = PlainConnection::open(([127, 0, 0, 1], self.metrics_port.number()).into());
        connection.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes());
        connection.answer()
    }

    /// The value of a metric with its labels, as `oauth4os_requests_total{outcome="Denied"}`; 0 when it is not there.
    ///
    /// # Panics
    /// When it is no number.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.monitor("/metrics").expect_ok().text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// All audit events so far.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        let text = self.audit_text();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no audit event ({error}): {line}")))
            .collect()
    }

    /// The audit file.
    #[must_use]
    pub fn audit_text(&self) -> String {
        fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap_or_default()
    }

    /// The audit event of the request with this id.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn audit_of(&self, request_id: &str) -> Value {
        self.audit_where(request_id, |event| event["request_id"] == request_id)
    }

    /// The first audit event that is such a one, waited for if need be.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn audit_where(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(&format!("the audit event: {what}"), RECORDED, || self.audit().into_iter().find(&is_it))
    }

    /// What the gateway has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default()
    }

    /// Memory that is resident now and the most that was since [`reset_peak`](Self::reset_peak), in KiB.
    ///
    /// # Panics
    /// When `/proc` does not say.
    #[must_use]
    pub fn resident_kib(&self) -> (u64, u64) {
        (self.memory("VmRSS:"), self.memory("VmHWM:"))
    }

    /// Memory that the gateway has taken for itself, without the pages of its own file, in KiB.
    ///
    /// # Panics
    /// When `/proc` does not say.
    #[must_use]
    pub fn taken_kib(&self) -> u64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process().pid())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Forgets the peak of memory.
    ///
    /// # Panics
    /// When `/proc` does not let it.
    pub fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process().pid()), "5").expect("reset the peak");
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// Ends the process as a power cut would.
    pub fn kill(&self) {
        self.process().signal_and_wait("KILL");
    }

    /// Asks the process to end, and waits.
    pub fn stop(&self) {
        self.process().signal_and_wait("TERM");
    }

    /// Starts the process again, on the same configuration and state.
    pub fn start_again(&self) {
        self.start_unready();
        self.wait_until_ready();
    }

    /// The same without waiting until it is ready, which it may never be; it listens.
    ///
    /// # Panics
    /// When it does not listen.
    pub fn start_unready(&self) {
        *self.process() = launch(&self.program, self.folder.path(), &self.environment);
        for port in [self.metrics_port.number(), self.port.number()] {
            until("the gateway to listen", Duration::from_secs(30), || {
                std::net::TcpStream::connect(("127.0.0.1", port)).ok()
            });
        }
    }

    /// Changes the configuration file; the gateway does not know yet.
    ///
    /// # Panics
    /// When the file is not as it was written.
    pub fn change_config(&self, change: impl FnOnce(&mut Value)) {
        let file = self.folder.path().join("oauth4os.yaml");
        let mut config = serde_json::from_str(&fs::read_to_string(&file).expect("the configuration")).expect("JSON");
        change(&mut config);
        self.write_file("oauth4os.yaml", &config.to_string());
    }

    /// Replaces a file of the gateway's folder at once.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_file(&self, name: &str, content: &str) {
        let new = self.folder.path().join(format!("{name}.new"));
        tls::write_private(&new, content.as_bytes());
        fs::rename(&new, self.folder.path().join(name)).expect("replace a file");
    }

    /// Gives the gateway another certificate and key; it does not know yet. Clients made before trust the old one.
    pub fn replace_certificate(&self) {
        let (certificate, key) = tls::new_pair();
        self.write_file("gateway-key.pem", &key);
        self.write_file("gateway.pem", &certificate);
    }

    /// Somebody without a credential who trusts the certificate the file holds now.
    #[must_use]
    pub fn http_of_present_certificate(&self) -> Client {
        Client::new(self.port(), &self.ca())
    }

    /// Tells the gateway to read its configuration again, and waits until it says how that ended: `applied`, `invalid`
    /// or `needs_restart`.
    pub fn reload(&self) -> &'static str {
        let results = ["applied", "invalid", "needs_restart"];
        let counts =
            || results.map(|result| self.metric(&format!("oauth4os_config_reloads_total{{result=\"{result}\"}}")));
        let before = counts();
        self.process().signal("HUP");
        until("the configuration to be reloaded", Duration::from_secs(30), || {
            let now = counts();
            (0..results.len()).find(|at| now[*at] > before[*at]).map(|at| results[at])
        })
    }

    /// Runs another command of the gateway on this configuration, with the engine's administrator's certificate.
    #[must_use]
    pub fn engine_command(&self, arguments: &[&str]) -> Run {
        engine_command(&self.program, &self.folder.path().join("oauth4os.yaml"), arguments)
    }

    /// `oauth4os check-config` of the file as it is now.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn check_config(&self) -> Run {
        let mut command = Command::new(&self.program);
        command.arg("check-config").arg("--config").arg(self.folder.path().join("oauth4os.yaml"));
        Run::from(command.output().expect("run the gateway"))
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Answer {
    /// This answer, when its status is 200.
    ///
    /// # Panics
    /// When it is another one.
    #[must_use]
    pub fn expect_ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }
}

fn access_token(answer: &Answer) -> String {
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

fn program(engine_decides: bool) -> PathBuf {
    paths::binary(if engine_decides { "oauth4os-engine-decides" } else { "oauth4os" })
}

fn launch(program: &Path, folder: &Path, environment: &[(String, String)]) -> Process {
    let log = File::options().create(true).append(true).open(folder.join("gateway.log")).expect("a log file");
    let mut command = Command::new(program);
    command.args(["serve", "--config"]).arg(folder.join("oauth4os.yaml")).envs(environment.iter().cloned());
    Process::start(&command, &log)
}

/// The state of the gateway that the engine is set up for: every test's gateway starts with a copy of it, and so signs
/// with the key the engine knows. It is made once for each engine and driver.
fn shared_state(driver: Driver) -> &'static Path {
    static STATES: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    let (state, name) = match driver {
        Driver::Jwt => (&STATES[0], ""),
        Driver::ExtendedProxy => (&STATES[1], "extended_proxy"),
    };
    state.get_or_init(|| {
        let folder = Engine::get().folder().join(name);
        fs::create_dir_all(&folder).expect("make a folder");
        let lock = File::create(folder.join("lock")).expect("a lock file");
        lock.lock().expect("the lock");
        tls::write_server_certificate(&folder);
        let config = folder.join("oauth4os.yaml");
        fs::write(&config, configuration(&Settings::new().driver(driver), &folder, 8443, 9464).to_string())
            .expect("write the configuration");
        let run = engine_command(&program(false), &config, &["setup", "--apply"]);
        assert!(run.succeeded, "`oauth4os engine setup --apply`: {}{}", run.stdout, run.stderr);
        folder.join("state")
    })
}

fn engine_command(program: &Path, config: &Path, arguments: &[&str]) -> Run {
    let engine = Engine::get();
    let mut command = Command::new(program);
    command.arg("engine").args(arguments).arg("--config").arg(config);
    command.arg("--admin-cert").arg(&engine.admin_cert).arg("--admin-key").arg(&engine.admin_key);
    Run::from(command.output().expect("run the gateway"))
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            succeeded: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder");
    fs::set_permissions(to, fs::metadata(from).expect("a folder").permissions()).expect("set permissions");
    for entry in fs::read_dir(from).expect("list a folder") {
        let entry = entry.expect("list a folder");
        // A copy keeps the permissions.
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copy a file");
    }
}
