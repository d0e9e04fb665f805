//! Programs in other languages that use stock clients: built in the cache folder, outside the clone, when they are not
//! there or have changed, by each language's ordinary tools.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use oauth4os_tokens::id::sha256;
use serde_json::Value;

use crate::{cache_dir, workspace};

/// Variables that would make a client trust something else than it is told to, or go another way.
pub(crate) const TRAPS: [&str; 16] = [
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "JAVA_TOOL_OPTIONS",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NETRC",
    "OPENSEARCH_GO_ROUTER",
    "OPENSEARCH_URL",
];

/// A language that has an official client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
    Go,
    Java,
    Rust,
}

impl Language {
    /// The program of `e2e/clients` in this language, ready to be run.
    ///
    /// # Panics
    /// When it cannot be built; the message says what is missing.
    #[must_use]
    pub fn program(self) -> Command {
        let source = workspace().join("e2e/clients").join(self.folder());
        match self {
            Self::Python => python(&source.join("scenario.py")),
            Self::JavaScript => {
                let home = made(
                    self.folder(),
                    &source,
                    &["package.json", "package-lock.json", "scenario.js"],
                    "node_modules",
                    |home| {
                        let needed = "`node` and `npm` (Node.js 18 or later)";
                        let mut npm = Command::new("npm");
                        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
                        step(npm.current_dir(home), self, needed);
                    },
                );
                let mut program = Command::new("node");
                program.arg(home.join("scenario.js"));
                program
            }
            Self::Go => go_program(self.folder()),
            Self::Java => {
                let home = made(
                    self.folder(),
                    &source,
                    &["pom.xml", "src/main/java/Scenario.java"],
                    "target/classes",
                    |home| {
                        let mut maven = Command::new("mvn");
                        maven.args(["--quiet", "--batch-mode", "compile", "dependency:copy-dependencies"]);
                        step(maven.current_dir(home), self, "`mvn` and a JDK (11 or later)");
                    },
                );
                let target = home.join("target");
                let java = std::env::var_os("JAVA_HOME")
                    .map_or_else(|| "java".into(), |home| PathBuf::from(home).join("bin/java"));
                let mut program = Command::new(java);
                program.arg("-cp").arg(format!(
                    "{}:{}/*",
                    target.join("classes").display(),
                    target.join("dependency").display()
                ));
                program.arg("Scenario");
                program
            }
            Self::Rust => {
                let home = made(
                    self.folder(),
                    &source,
                    &["Cargo.toml", "Cargo.lock", "src/main.rs"],
                    "target/debug/stock-client",
                    |home| {
                        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                        cargo.args(["build", "--quiet", "--locked"]).env("CARGO_TARGET_DIR", home.join("target"));
                        step(cargo.current_dir(home), self, "`cargo`");
                    },
                );
                Command::new(home.join("target/debug/stock-client"))
            }
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "js",
            Self::Go => "go",
            Self::Java => "java",
            Self::Rust => "rust",
        }
    }
}

/// Runs a program to its end and gives what it reports.
///
/// # Panics
/// When it fails or reports no JSON; what it printed is in the message.
#[must_use]
pub fn report(mut program: Command, variables: &[(&str, &OsStr)]) -> Value {
    for trap in TRAPS {
        program.env_remove(trap);
    }
    program.envs(variables.iter().map(|(name, value)| (format!("E2E_{name}"), *value)));
    // What it is given holds secrets: the message names it alone.
    let name = program.get_program().to_string_lossy().into_owned();
    let output = program.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("`{name}`: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`{name}` ended with {}:\n{stdout}{stderr}", output.status);
    serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("`{name}` reports no JSON ({error}):\n{stdout}{stderr}"))
}

/// A CommonJS script for a Node.js that has the client installed.
///
/// # Panics
/// When it cannot be installed; the message says what is missing.
#[must_use]
pub fn javascript(script: &Path) -> Command {
    drop(Language::JavaScript.program());
    let mut program = Command::new("node");
    program.arg(script).env("NODE_PATH", folder("e2e-js").join("node_modules"));
    program
}

/// A script for a Python that has the clients installed. The environment is made when it is missing or its list of packages
/// has changed.
///
/// # Panics
/// When it cannot be made; the message says what is missing.
#[must_use]
pub fn python(script: &Path) -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python =
        PYTHON.get_or_init(|| python_environment("e2e-python", "requirements.txt", "import aiohttp, opensearchpy"));
    python_program(python, script)
}

/// A script for a Python that has the reference for AWS signatures installed, in the same way.
///
/// # Panics
/// When it cannot be made; the message says what is missing.
#[must_use]
pub fn python_with_botocore(script: &Path) -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python =
        PYTHON.get_or_init(|| python_environment("e2e-sigv4", "sigv4-requirements.txt", "import botocore.auth"));
    python_program(python, script)
}

/// A script for a Python that has Authlib installed, in the same way.
///
/// # Panics
/// When it cannot be made; the message says what is missing.
#[must_use]
pub fn python_with_authlib(script: &Path) -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let needed = "import authlib.integrations.requests_client";
    let python = PYTHON.get_or_init(|| python_environment("e2e-authlib", "authlib-requirements.txt", needed));
    python_program(python, script)
}

fn python_program(python: &Path, script: &Path) -> Command {
    let mut program = Command::new(python);
    program.arg(script).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "error::DeprecationWarning:__main__");
    program
}

fn python_environment(name: &str, list: &str, needed: &str) -> PathBuf {
    let list = workspace().join("e2e/python").join(list);
    let wanted = fs::read_to_string(&list).expect("read the list of packages");
    let environment = folder(name);
    let _lock = lock(&environment);
    let python = environment.join("bin/python");
    // Written last, so that what is half-made is made again.
    let made = environment.join("requirements.txt");
    // An environment ends with the Python it was made by.
    let works = || {
        let mut program = Command::new(&python);
        program.args(["-c", needed]).output().is_ok_and(|run| run.status.success())
    };
    if fs::read_to_string(&made).ok().as_ref() != Some(&wanted) || !works() {
        let _ = fs::remove_dir_all(&environment);
        let mut venv = Command::new("python3");
        succeeds(venv.args(["-m", "venv"]).arg(&environment), "`python3` (3.10 or later) with its venv module");
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&list);
        succeeds(&mut pip, "pip, and the package index it asks");
        fs::write(&made, wanted).expect("write the list of packages");
    }
    python
}

/// The program in a folder of `e2e/clients` that is written in Go.
pub(crate) fn go_program(name: &str) -> Command {
    let source = workspace().join("e2e/clients").join(name);
    let home = made(name, &source, &["go.mod", "go.sum", "main.go"], "program", |home| {
        let mut go = Command::new("go");
        go.args(["build", "-mod=readonly", "-buildvcs=false", "-o", "program", "."]);
        succeeds(go.current_dir(home), "`go` (1.25 or later)");
    });
    Command::new(home.join("program"))
}

/// The folder a program is built in, with the present files of its source; `build` runs when they have changed, or its output
/// is not there.
fn made(name: &str, source: &Path, files: &[&str], output: &str, build: impl FnOnce(&Path)) -> PathBuf {
    let home = folder(&format!("e2e-{name}"));
    let _lock = lock(&home);
    let contents: Vec<(&str, Vec<u8>)> =
        files.iter().map(|name| (*name, fs::read(source.join(name)).expect("read a source"))).collect();
    let wanted = base16(&sha256(
        &contents.iter().flat_map(|(name, text)| [name.as_bytes(), b"\0", text].concat()).collect::<Vec<u8>>(),
    ));
    // Written last, so that what is half-made is made again.
    let stamp = home.join("made-of");
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) || !home.join(output).exists() {
        let _ = fs::remove_file(&stamp);
        for (name, text) in contents {
            let path = home.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
            fs::write(path, text).expect("write a source");
        }
        build(&home);
        fs::write(&stamp, wanted).expect("write what it was made of");
    }
    home
}

fn step(command: &mut Command, language: Language, needed: &str) {
    succeeds(command, &format!("{needed} for the stock client in {language:?}"));
}

pub(crate) fn succeeds(command: &mut Command, needed: &str) {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("the tests need {needed}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} failed; the tests need {needed}, and its packages:\n{stdout}{stderr}");
}

/// A folder of this name in the cache folder; it need not be there.
pub(crate) fn folder(name: &str) -> PathBuf {
    let cache = cache_dir();
    fs::create_dir_all(&cache).unwrap_or_else(|error| {
        panic!("cannot make `{}`: {error}; set OAUTH4OS_CACHE to another folder", cache.display())
    });
    cache.join(name)
}

/// One process at a time makes what is in a folder.
pub(crate) fn lock(folder: &Path) -> File {
    let file = File::create(folder.with_extension("lock")).expect("a lock file");
    file.lock().expect("the lock");
    file
}

fn base16(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
