//! Fetching packages by the ordinary clients (`mvn`, `pip`), which know their registries and mirrors; no
//! address stands here. Every part is taken into the cache as soon as it is complete, so an interrupted
//! download goes on where it stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::parts::{MavenPart, Wheel};
use crate::progress::{Progress, megabytes};
use crate::{files, process};

/// The Maven plugin that copies artifacts; pinned, or each Maven would take another one.
const DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
/// Parts from this size on are fetched one by one, the others together.
const LARGE: u64 = 10_000_000;

/// Where each part is in the cache, by its coordinates; what is missing or broken is fetched.
pub fn maven(cache: &Cache, parts: &[&MavenPart], java_home: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let _lock = cache.lock()?;
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for part in parts {
        match cache.verified(&part.file_name()?, &part.sha256)? {
            Some(path) => {
                found.insert(part.artifact.clone(), path);
            }
            None => missing.push(*part),
        }
    }
    let (large, small): (Vec<&MavenPart>, Vec<&MavenPart>) = missing.into_iter().partition(|part| part.bytes >= LARGE);
    let mut batches: Vec<Vec<&MavenPart>> = large.into_iter().map(|part| vec![part]).collect();
    if !small.is_empty() {
        batches.insert(0, small);
    }
    let count = batches.len();
    for (index, batch) in batches.iter().enumerate() {
        let size = megabytes(batch.iter().map(|part| part.bytes).sum());
        let what = match batch.as_slice() {
            [one] => one.file_name()?,
            several => format!("{} small packages", several.len()),
        };
        let task = format!("fetching {what} ({size}, {} of {count})", index + 1);
        found.extend(fetch_batch(cache, batch, java_home, Progress::start(task))?);
    }
    Ok(found)
}

/// Where the wheel is in the cache; fetched if it is missing or broken.
pub fn wheel(cache: &Cache, wheel: &Wheel) -> Result<PathBuf> {
    let _lock = cache.lock()?;
    if let Some(path) = cache.verified(&wheel.file, &wheel.sha256)? {
        return Ok(path);
    }
    let mut command = pip()?;
    let folder = cache.download_folder("pip")?;
    let mut progress = Progress::start(format!("fetching {} ({})", wheel.file, megabytes(wheel.bytes)));
    command.args([
        "download",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--dest",
    ]);
    command.arg(&folder).arg(format!("{}=={}", wheel.package, wheel.version));
    let log = folder.join("pip.log");
    if !run(command, &log, &mut progress)? {
        bail!(
            "pip could not fetch `{}` {}: check the network and pip's settings, then run this again ({})",
            wheel.package,
            wheel.version,
            reason(&log)
        );
    }
    let path = cache.adopt(&folder.join(&wheel.file), &wheel.file, &wheel.sha256)?;
    files::remove(&folder)?;
    progress.done("");
    Ok(path)
}

fn fetch_batch(
    cache: &Cache,
    batch: &[&MavenPart],
    java_home: &Path,
    mut progress: Progress,
) -> Result<BTreeMap<String, PathBuf>> {
    let folder = cache.download_folder("maven")?;
    let (out, log) = (folder.join("out"), folder.join("mvn.log"));
    let mut succeeded = run_maven(batch, &folder, None, java_home, &mut progress)?;
    if succeeded && !all_sums_fit(batch, &out)? {
        // Maven asks its local repository first. If what that holds is broken, it would hand out the same bytes
        // for ever: the second try goes round it.
        succeeded = run_maven(batch, &folder, Some(&folder.join("repository")), java_home, &mut progress)?;
    }
    // What did arrive is kept, even when something else failed.
    let mut adopted = BTreeMap::new();
    for part in batch {
        let (name, arrived) = (part.file_name()?, out.join(part.file_name()?));
        if arrived.exists() {
            adopted.insert(part.artifact.clone(), cache.adopt(&arrived, &name, &part.sha256)?);
        }
    }
    if !succeeded || adopted.len() < batch.len() {
        bail!(
            "Maven could not fetch the packages: check the network and Maven's settings, then run this again ({})",
            reason(&log)
        );
    }
    files::remove(&folder)?;
    progress.done("");
    Ok(adopted)
}

/// Copies the batch into `<folder>/out`; true if Maven says that it did.
fn run_maven(
    batch: &[&MavenPart],
    folder: &Path,
    repository: Option<&Path>,
    java_home: &Path,
    progress: &mut Progress,
) -> Result<bool> {
    let (out, pom) = (folder.join("out"), folder.join("pom.xml"));
    files::empty_folder(&out)?;
    files::write(&pom, pom_for(batch, &out)?.as_bytes(), 0o644)?;
    let mut command = Command::new("mvn");
    command
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(&pom)
        .arg(format!("{DEPENDENCY_PLUGIN}:copy"))
        .current_dir(folder);
    if let Some(repository) = repository {
        command.arg(format!("-Dmaven.repo.local={}", repository.display()));
    }
    if std::env::var_os("JAVA_HOME").is_none() && process::on_path("java").is_none() {
        command.env("JAVA_HOME", java_home);
        trust_what_the_system_trusts(&mut command);
    }
    run(command, &folder.join("mvn.log"), progress)
}

/// A Java of our own does not know the certificate authorities that were added to the system's, as behind the
/// mirror of a company.
fn trust_what_the_system_trusts(maven: &mut Command) {
    let options = std::env::var("MAVEN_OPTS").unwrap_or_default();
    let stores = ["/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts"];
    if let Some(store) = stores.into_iter().find(|store| Path::new(store).is_file())
        && !options.contains("trustStore")
    {
        maven.env("MAVEN_OPTS", format!("{options} -Djavax.net.ssl.trustStore={store}"));
    }
}

fn all_sums_fit(batch: &[&MavenPart], out: &Path) -> Result<bool> {
    for part in batch {
        let file = out.join(part.file_name()?);
        if !file.exists() || crate::cache::files_sum(&file)? != part.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One Maven run copies the whole batch; `-Dartifact` takes one artifact per run, at three seconds each.
fn pom_for(batch: &[&MavenPart], out: &Path) -> Result<String> {
    let mut items = String::new();
    for part in batch {
        let (group, artifact, version, kind) = part.coordinates()?;
        items.push_str(&format!(
            "<artifactItem><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version><type>{kind}</type></artifactItem>"
        ));
    }
    Ok(format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>oauth4os</groupId><artifactId>parts</artifactId><version>1</version>\
         <packaging>pom</packaging><build><plugins><plugin><groupId>org.apache.maven.plugins</groupId>\
         <artifactId>maven-dependency-plugin</artifactId><configuration><outputDirectory>{}</outputDirectory>\
         <artifactItems>{items}</artifactItems></configuration></plugin></plugins></build></project>",
        xml_text(&out.display().to_string())
    ))
}

fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn pip() -> Result<Command> {
    for name in ["pip3", "pip"] {
        if answers(Command::new(name).arg("--version")) {
            return Ok(Command::new(name));
        }
    }
    if answers(Command::new("python3").args(["-m", "pip", "--version"])) {
        let mut command = Command::new("python3");
        command.args(["-m", "pip"]);
        return Ok(command);
    }
    bail!(
        "no Java fits and `pip`, which would fetch one, is not on the PATH: install a JDK (21 or later) or Python with pip"
    )
}

fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a command with its output in a log file; true if it succeeded.
fn run(mut command: Command, log: &Path, progress: &mut Progress) -> Result<bool> {
    let out = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = match command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "`{program}` is not on the PATH: install it (packages are fetched with Maven and pip) and run this again"
            )
        }
        Err(error) => return Err(error).with_context(|| format!("`{program}` cannot be started")),
    };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        progress.tick("");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The first line in which the client says what went wrong, and where the rest is.
fn reason(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let line =
        text.lines().find(|line| line.contains("ERROR")).or_else(|| text.lines().next_back()).unwrap_or_default();
    // What stands before it are the colours of a terminal.
    let line = line.split_once("ERROR").map_or(line, |(_, rest)| rest).trim_start_matches([']', ':', ' ']);
    let brief: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("{brief} ...; all of it in {}", log.display())
}
