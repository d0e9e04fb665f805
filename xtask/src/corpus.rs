//! The engine's own REST tests and descriptions of its API, from the package that carries them: `cargo xtask corpus`.
//!
//! They stay in the cache, as files that a test of `classify` and the fuzz targets read:
//!
//! | file | holds |
//! | --- | --- |
//! | `apis.txt` | name, method and path of each operation, a line each |
//! | `classify/*` | a method and a target |
//! | `body/*` | a body that is one document |
//! | `bulk/*`, `msearch/*` | a byte that says "no cuts", and lines |

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use crate::cache::Cache;
use crate::download;
use crate::files;
use crate::java::{self, Need};
use crate::parts::Parts;
use crate::progress::Progress;

const ARTIFACT: &str = "org.opensearch:rest-api-spec:3.1.0:jar";
/// For Maven, where there is no Java at all.
const JAVA: Need = Need { releases: 17..=u32::MAX, preferred: 21, wheel: "25.0.2.1" };
/// Change it when the files must be made anew although the package is the same.
const RECIPE: &str = "1";
const MARKER: &str = ".made";

/// Makes the files where they are missing, and says where they are.
pub fn ensure_made() -> Result<PathBuf> {
    let (cache, parts) = (Cache::open()?, Parts::load()?);
    let pin = parts.maven(ARTIFACT)?;
    let folder = cache.root().join("rest-tests");
    let identity = format!("{} {RECIPE}", pin.sha256);
    let is_made = || std::fs::read_to_string(folder.join(MARKER)).is_ok_and(|found| found == identity);
    if is_made() {
        return Ok(folder);
    }
    let java = java::find(&JAVA, None, &cache, &parts, &files::repository().join("target/java"))?;
    let found = download::maven(&cache, &[pin], &java.home)?;
    let archive = found.get(ARTIFACT).with_context(|| format!("`{ARTIFACT}` was not fetched"))?;
    let _lock = cache.lock()?;
    if is_made() {
        return Ok(folder);
    }
    let progress = Progress::start("making seeds of the engine's own tests".to_owned());
    let building = cache.root().join("rest-tests.new");
    files::empty_folder(&building)?;
    let made = make(archive, &building)?;
    files::write(&building.join(MARKER), identity.as_bytes(), 0o644)?;
    files::remove(&folder)?;
    std::fs::rename(&building, &folder).with_context(|| format!("{} cannot be put in place", building.display()))?;
    progress.done(&format!("{made} seeds"));
    Ok(folder)
}

/// Reads the package and writes the files; how many seeds there are.
fn make(archive: &Path, folder: &Path) -> Result<usize> {
    let (apis, tests) = read(archive)?;
    let mut lines = BTreeSet::new();
    for (name, api) in &apis {
        for (path, method) in routes(api) {
            lines.insert(format!("{name} {method} {path}\n"));
        }
    }
    files::write(&folder.join("apis.txt"), lines.into_iter().collect::<String>().as_bytes(), 0o644)?;
    let mut seeds: BTreeMap<&'static str, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let (mut read, mut unread) = (0, 0);
    // A file holds several documents; one that cannot be read says nothing of the others.
    for document in tests.iter().flat_map(|text| text.split("\n---")) {
        match serde_saphyr::from_str::<Value>(document.trim_start_matches("---")) {
            Ok(test) => {
                read += 1;
                steps(&test, &mut |step| seeds_of(step, &apis, &mut seeds));
            }
            Err(_) => unread += 1,
        }
    }
    ensure!(read > 20 * unread, "{unread} of the engine's tests cannot be read, and {read} can");
    for (target, seeds) in &seeds {
        let place = folder.join(target);
        files::empty_folder(&place)?;
        for (number, seed) in seeds.iter().enumerate() {
            files::write(&place.join(format!("{number:04}")), seed, 0o644)?;
        }
    }
    Ok(seeds.values().map(BTreeSet::len).sum())
}

/// The descriptions by name, and the text of each test.
fn read(archive: &Path) -> Result<(BTreeMap<String, Value>, Vec<String>)> {
    let mut zip = zip::ZipArchive::new(File::open(archive)?).context("the package cannot be read")?;
    let (mut apis, mut tests) = (BTreeMap::new(), Vec::new());
    for at in 0..zip.len() {
        let mut file = zip.by_index(at)?;
        let name = file.name().to_owned();
        let mut text = String::new();
        if name.contains("/api/") && name.ends_with(".json") {
            file.read_to_string(&mut text)?;
            let described: Map<String, Value> =
                serde_json::from_str(&text).with_context(|| format!("{name} in the package cannot be read"))?;
            apis.extend(described.into_iter().filter(|(_, api)| api.get("url").is_some()));
        } else if name.contains("/test/") && name.ends_with(".yml") {
            file.read_to_string(&mut text)?;
            tests.push(text);
        }
    }
    ensure!(apis.len() > 100 && tests.len() > 100, "the package holds {} APIs, {} tests", apis.len(), tests.len());
    Ok((apis, tests))
}

/// Each path of an operation with each of its methods.
fn routes(api: &Value) -> Vec<(&str, &str)> {
    let paths = api["url"]["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut routes = Vec::new();
    for path in paths {
        let Some(text) = path["path"].as_str() else { continue };
        let methods = path["methods"].as_array().map(Vec::as_slice).unwrap_or_default();
        routes.extend(methods.iter().filter_map(Value::as_str).map(|method| (text, method)));
    }
    routes
}

/// Every `do` of a test: its setup, its end and its sections alike.
fn steps(value: &Value, found: &mut impl FnMut(&Map<String, Value>)) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| steps(value, found)),
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("do", Value::Object(step)) => found(step),
                    _ => steps(value, found),
                }
            }
        }
        _ => {}
    }
}

/// The request of a step, as the engine's test runner would send it.
fn seeds_of(
    step: &Map<String, Value>,
    apis: &BTreeMap<String, Value>,
    seeds: &mut BTreeMap<&'static str, BTreeSet<Vec<u8>>>,
) {
    let called = step.iter().find_map(|(name, arguments)| Some((name, apis.get(name)?, arguments)));
    let Some((name, api, arguments)) = called else { return };
    let none = Map::new();
    let arguments = arguments.as_object().unwrap_or(&none);
    if let Some(request) = request_line(api, arguments) {
        seeds.entry("classify").or_default().insert(request.into_bytes());
    }
    let Some(body) = arguments.get("body") else { return };
    let lines = matches!(name.as_str(), "bulk" | "msearch" | "msearch_template");
    match (lines, text_of(body, lines)) {
        (true, Some(text)) => {
            let target = if name == "bulk" { "bulk" } else { "msearch" };
            seeds.entry(target).or_default().insert([&[0], text.as_bytes()].concat());
        }
        (false, Some(text)) => {
            seeds.entry("body").or_default().insert(text.into_bytes());
        }
        (_, None) => {}
    }
}

/// Method and target: the longest path whose parts are given, and the rest as the query.
fn request_line(api: &Value, arguments: &Map<String, Value>) -> Option<String> {
    let names = |path: &str| -> Vec<String> {
        path.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect()
    };
    let given = |path: &str| names(path).iter().all(|name| arguments.contains_key(name));
    let (path, method) = routes(api)
        .into_iter()
        .filter(|(path, _)| given(path))
        .max_by_key(|(path, method)| (names(path).len(), *method == "POST"))?;
    let mut target = path.to_owned();
    for name in names(path) {
        target = target.replace(&format!("{{{name}}}"), &encoded(&plain(arguments.get(&name)?)?));
    }
    let others = arguments.iter().filter(|(name, _)| *name != "body" && !names(path).contains(name));
    let query: Vec<String> =
        others.filter_map(|(name, value)| Some(format!("{name}={}", encoded(&plain(value)?)))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    Some(format!("{method} {target}{mark}{}", query.join("&")))
}

/// A parameter as text; a list has commas.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(values) => Some(values.iter().map(plain).collect::<Option<Vec<_>>>()?.join(",")),
        Value::Null | Value::Object(_) => None,
    }
}

/// What cannot stand in a target as it is, in percent-encoding.
fn encoded(text: &str) -> String {
    let stands = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~*,:@!$'()".contains(&byte);
    let one = |byte: u8| if stands(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// A body as it is sent. A list of lines ends each of them.
fn text_of(body: &Value, lines: bool) -> Option<String> {
    match body {
        Value::String(text) => Some(text.clone()),
        Value::Array(values) if lines => {
            values.iter().map(|value| Some(format!("{}\n", text_of(value, false)?))).collect()
        }
        Value::Null => None,
        _ => Some(body.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn api() -> Value {
        json!({"url": {"paths": [
            {"path": "/_bulk", "methods": ["POST", "PUT"]}, {"path": "/{index}/_bulk", "methods": ["POST", "PUT"]},
        ]}})
    }

    #[test]
    fn a_step_becomes_a_request_and_a_body() {
        let step = json!({"catch": "bad", "bulk": {"index": ["a", "b c"], "refresh": true, "body": [{"index": {}}, {"x": 1}]}});
        let apis = BTreeMap::from([("bulk".to_owned(), api())]);
        let mut seeds = BTreeMap::new();
        steps(&json!({"a test": [{"do": step}, {"match": {"items": 1}}]}), &mut |step| {
            seeds_of(step, &apis, &mut seeds)
        });
        let one = |text: &[u8]| BTreeSet::from([text.to_vec()]);
        assert_eq!(seeds["classify"], one(b"POST /a,b%20c/_bulk?refresh=true"));
        assert_eq!(seeds["bulk"], one(b"\0{\"index\":{}}\n{\"x\":1}\n"));
        assert_eq!(routes(&api()).len(), 4);
    }
}
