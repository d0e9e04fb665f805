//! Checked-in code that is made from tables.

mod operations;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// One generated file.
struct Generator {
    /// Path below the repository's root.
    output: &'static str,
    /// The file's contents.
    generate: fn(root: &Path) -> anyhow::Result<String>,
}

/// Every generated file, in order.
const GENERATORS: &[Generator] = &[
    Generator { output: "server/classify/src/generated.rs", generate: operations::generate },
    Generator { output: "docs/reference/config.schema.json", generate: config_schema },
];

/// Writes every generated file; with `check`, writes nothing and fails if one is not fresh.
///
/// # Errors
/// A table that cannot be read, a missing `rustfmt`, or with `check` a file that differs.
pub fn run(check: bool) -> anyhow::Result<()> {
    let root = root()?;
    let mut stale = Vec::new();
    for generator in GENERATORS {
        let path = root.join(generator.output);
        let fresh = (generator.generate)(&root).with_context(|| format!("generating `{}`", generator.output))?;
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        if present == fresh {
            continue;
        }
        if check {
            print_differences(generator.output, &present, &fresh);
            stale.push(generator.output);
        } else {
            std::fs::write(&path, fresh).with_context(|| format!("writing `{}`", path.display()))?;
            println!("wrote {}", generator.output);
        }
    }
    if !stale.is_empty() {
        bail!("not fresh: {}; run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    Ok(())
}

fn root() -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask is not inside the repository")?.to_owned())
}

/// The JSON schema of the gateway's configuration file.
fn config_schema(_: &Path) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(&sorted(oauth4os_config::Config::schema()))?;
    text.push('\n');
    Ok(text)
}

/// A value with the keys of its objects in alphabetical order, whatever order the build keeps them in: that depends on
/// which other packages are built along.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The lines that only one side has, at most twenty of each.
fn print_differences(name: &str, present: &str, fresh: &str) {
    println!("{name} differs from what its table says:");
    for (mark, from, other) in [("-", present, fresh), ("+", fresh, present)] {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        let only: Vec<&str> = from.lines().filter(|line| !other.contains(line)).collect();
        for line in only.iter().take(20) {
            println!("{mark} {line}");
        }
        if let Some(more) = only.len().checked_sub(20).filter(|more| *more > 0) {
            println!("{mark} … and {more} more lines");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_are_fresh() {
        super::run(true).unwrap();
    }
}
