//! Putting a node together from packages: the server, the security plugin, the modules.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::Version;
use super::modules::{MODULES, Module};
use crate::cache::Cache;
use crate::java::Java;
use crate::parts::{MavenPart, Parts};
use crate::progress::Progress;
use crate::{download, files};

/// Change it when nodes must be put together anew although their packages are the same.
const RECIPE: &str = "1";
const MARKER: &str = ".assembled";

/// The node's home folder under `dir`, put together if it is missing or of other packages.
pub(super) fn ensure(version: Version, dir: &Path, java: &Java, cache: &Cache, parts: &Parts) -> Result<PathBuf> {
    let home = dir.join("home");
    let pins = artifacts(version).iter().map(|artifact| parts.maven(artifact)).collect::<Result<Vec<_>>>()?;
    let identity = identity(&pins, java);
    if std::fs::read_to_string(home.join(MARKER)).is_ok_and(|found| found == identity) {
        return Ok(home);
    }
    let found = download::maven(cache, &pins, &java.home)?;
    let progress = Progress::start(format!("putting OpenSearch {} together", version.number()));
    // Whatever happens before the rename, no half-made node is ever taken for a whole one.
    let building = dir.join("home.new");
    files::empty_folder(&building)?;
    build(version, &building, java, &found)?;
    files::write(&building.join(MARKER), identity.as_bytes(), 0o644)?;
    files::remove(&home)?;
    std::fs::rename(&building, &home).with_context(|| format!("{} cannot be put in place", home.display()))?;
    progress.done("");
    Ok(home)
}

/// The coordinates of every package of this version.
pub(super) fn artifacts(version: Version) -> Vec<String> {
    let mut all = vec![server(version), security(version)];
    if version == Version::V3_4_0 {
        all.push(MISSING_IN_SECURITY.to_owned());
    }
    for module in &MODULES {
        all.push(own_jar(module, version));
        all.extend(module.jars.iter().map(|jar| jar.coordinates(version)));
    }
    all
}

/// The security plugin's package for 3.4.0 leaves this one out and does not start without it.
const MISSING_IN_SECURITY: &str = "org.apache.commons:commons-collections4:4.5.0:jar";

fn server(version: Version) -> String {
    format!("org.opensearch.distribution.integ-test-zip:opensearch:{}:zip", version.number())
}

fn security(version: Version) -> String {
    format!("org.opensearch.plugin:opensearch-security:{}.0:zip", version.number())
}

fn own_jar(module: &Module, version: Version) -> String {
    format!("org.opensearch.plugin:{}:{}:jar", module.artifact, version.number())
}

fn identity(pins: &[&MavenPart], java: &Java) -> String {
    let mut hash = Sha256::new();
    hash.update(RECIPE);
    for pin in pins {
        hash.update(&pin.sha256);
    }
    // On a reduced runtime the modules and the options of the JVM are others.
    hash.update(java.reduced.to_string());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn modules_for(java: &Java) -> impl Iterator<Item = &'static Module> {
    MODULES.iter().filter(|module| !(module.needs_whole_java && java.reduced))
}

fn build(version: Version, home: &Path, java: &Java, found: &BTreeMap<String, PathBuf>) -> Result<()> {
    let part = |artifact: &str| found.get(artifact).with_context(|| format!("`{artifact}` was not fetched"));
    let unpacked = home.join("unpacked");
    files::unzip(part(&server(version))?, &unpacked)?;
    // Everything in the package stands in one folder.
    let top = unpacked.join(format!("opensearch-{}", version.number()));
    for entry in
        std::fs::read_dir(&top).with_context(|| format!("the server's package has no folder `{}`", top.display()))?
    {
        let entry = entry?;
        std::fs::rename(entry.path(), home.join(entry.file_name()))?;
    }
    files::remove(&unpacked)?;
    for program in std::fs::read_dir(home.join("bin"))? {
        std::fs::set_permissions(program?.path(), Permissions::from_mode(0o755))?;
    }
    std::fs::create_dir_all(home.join("config/jvm.options.d"))?;

    let plugin = home.join("plugins/opensearch-security");
    std::fs::create_dir_all(&plugin)?;
    files::unzip(part(&security(version))?, &plugin)?;
    if version == Version::V3_4_0 {
        copy_into(part(MISSING_IN_SECURITY)?, &plugin)?;
        make_rule_framework_optional(&plugin.join("plugin-descriptor.properties"))?;
    }
    for module in modules_for(java) {
        let folder = home.join("modules").join(module.name);
        std::fs::create_dir_all(&folder)?;
        copy_into(part(&own_jar(module, version))?, &folder)?;
        for jar in module.jars {
            copy_into(part(&jar.coordinates(version))?, &folder)?;
        }
        copy_from_security(&plugin, module.from_security, &folder)?;
        files::write(&folder.join("plugin-descriptor.properties"), descriptor(module, version).as_bytes(), 0o644)?;
        if !module.policy.is_empty() {
            let policy = format!("grant {{\n  {}\n}};\n", module.policy);
            files::write(&folder.join("plugin-security.policy"), policy.as_bytes(), 0o644)?;
        }
    }
    Ok(())
}

/// The plugin extends `rule-framework`, which no package holds; it works without it.
fn make_rule_framework_optional(descriptor: &Path) -> Result<()> {
    let text =
        std::fs::read_to_string(descriptor).with_context(|| format!("{} cannot be read", descriptor.display()))?;
    let lines = text.lines().map(|line| {
        if line.starts_with("extended.plugins=") {
            line.replace("rule-framework", "rule-framework;optional=true")
        } else {
            line.to_owned()
        }
    });
    files::write(descriptor, (lines.collect::<Vec<_>>().join("\n") + "\n").as_bytes(), 0o644)
}

fn copy_into(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
    std::fs::copy(file, folder.join(name)).with_context(|| format!("{} cannot be copied", file.display()))?;
    Ok(())
}

/// The two lines of the engine use different HTTP clients: those jars are taken that are there.
fn copy_from_security(plugin: &Path, starts: &[&str], folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(plugin)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if starts.iter().any(|start| name.starts_with(start)) {
            copy_into(&path, folder)?;
        }
    }
    Ok(())
}

fn descriptor(module: &Module, version: Version) -> String {
    let (number, java) = match version {
        Version::V3_4_0 => (version.number(), "21"),
        Version::V2_19_4 => (version.number(), "11"),
    };
    format!(
        "description=The module {name}\nversion={number}\nname={name}\nclassname={class}\njava.version={java}\n\
         opensearch.version={number}\ncustom.foldername=\nextended.plugins={extends}\nhas.native.controller=false\n",
        name = module.name,
        class = module.class(version),
        extends = module.extends,
    )
}
