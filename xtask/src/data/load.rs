//! Loading: over TLS, as the engine's administrator. Documents have fixed ids, so that loading again what was
//! cut short completes it.

use anyhow::{Context, Result, bail};
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use super::documents::{document, mapping};
use super::random::Random;
use super::{Dataset, INSIDE_ALIAS, MIXED_ALIAS, STREAM, datasets, today};
use crate::engine;
use crate::progress::{Progress, say};

/// Documents in one bulk request, about a megabyte.
const BULK: u32 = 2_000;

/// Loads what is missing; nothing is written where everything is there.
pub fn load(engine: &engine::State) -> Result<()> {
    let target = Target { client: engine.client()?, engine };
    let all = datasets(today());
    let mut missing = Vec::new();
    for set in &all {
        if target.count(set)? < u64::from(set.count) {
            missing.push(set);
        }
    }
    let total: u32 = all.iter().map(|set| set.count).sum();
    let write: u32 = missing.iter().map(|set| set.count).sum();
    if missing.is_empty() {
        target.aliases(&all)?;
        say(&format!("data: all {total} documents are there"));
        return Ok(());
    }
    let mut progress = Progress::start(format!("loading {write} documents into {} indices", missing.len()));
    let mut written = 0;
    for set in missing {
        target.create(set)?;
        let mut random = Random::named(&set.name);
        let mut next = 0;
        while next < set.count {
            let until = set.count.min(next + BULK);
            target.bulk(set, next..until, &mut random)?;
            written += until - next;
            next = until;
            progress.tick(&format!("{} % ({})", u64::from(written) * 100 / u64::from(write.max(1)), set.name));
        }
        target.send(Method::POST, &format!("{}/_refresh", set.name), None)?;
        let found = target.count(set)?;
        if found < u64::from(set.count) {
            bail!(
                "`{}` holds {found} documents after loading {}: run `cargo xtask engine up --fresh` and load again",
                set.name,
                set.count
            );
        }
    }
    target.aliases(&all)?;
    progress.done(&format!("{total} documents in {} indices", all.len()));
    Ok(())
}

struct Target<'a> {
    client: Client,
    engine: &'a engine::State,
}

impl Target<'_> {
    /// How many documents are there; 0 where the index is not.
    fn count(&self, set: &Dataset) -> Result<u64> {
        let path = format!("{}/_count?ignore_unavailable=true&allow_no_indices=true", set.name);
        let answer = self.send(Method::GET, &path, None)?;
        answer
            .get("count")
            .and_then(Value::as_u64)
            .with_context(|| format!("the engine does not count `{}`: {answer}", set.name))
    }

    fn create(&self, set: &Dataset) -> Result<()> {
        let (status, _) = self.ask(Method::HEAD, &set.name, None)?;
        if status == 200 {
            return Ok(());
        }
        let settings = json!({"number_of_shards": 1, "number_of_replicas": 0});
        if set.is_stream() {
            let template = json!({"settings": settings, "mappings": mapping(set.kind)});
            // The name of the pattern is the stream itself: nothing else shall become one.
            let body = json!({"index_patterns": [STREAM], "data_stream": {}, "priority": 100, "template": template});
            self.send(Method::PUT, &format!("_index_template/{STREAM}"), Some(&body))?;
            self.send(Method::PUT, &format!("_data_stream/{STREAM}"), None)?;
        } else {
            self.send(Method::PUT, &set.name, Some(&json!({"settings": settings, "mappings": mapping(set.kind)})))?;
        }
        Ok(())
    }

    fn bulk(&self, set: &Dataset, range: std::ops::Range<u32>, random: &mut Random) -> Result<()> {
        let action = if set.is_stream() { "create" } else { "index" };
        let mut body = String::new();
        for index in range {
            let fields = document(set.kind, set.day, index, set.count, random);
            body.push_str(&format!("{}\n{fields}\n", json!({action: {"_id": format!("{index:06}")}})));
        }
        let path = format!("{}/_bulk?filter_path=errors,items.*.status,items.*.error.reason", set.name);
        let request = self.client.post(self.url(&path)).header("content-type", "application/x-ndjson").body(body);
        let response = request
            .basic_auth(&self.engine.user, Some(&self.engine.password))
            .send()
            .context("the engine does not answer")?;
        let status = response.status();
        let answer: Value =
            response.json().with_context(|| format!("the engine answers {status} to a bulk request"))?;
        let items = answer
            .get("items")
            .and_then(Value::as_array)
            .with_context(|| format!("the engine refuses a bulk request: {answer}"))?;
        // A data stream takes each id once: a document that is there already is as good as one written now.
        let failed = items
            .iter()
            .filter_map(|item| item.get(action))
            .find(|item| !matches!(item["status"].as_u64(), Some(200 | 201 | 409)));
        match failed {
            Some(item) => bail!("the engine refuses a document of `{}`: {item}", set.name),
            None => Ok(()),
        }
    }

    /// Aliases are set at every run: setting one that is there changes nothing.
    fn aliases(&self, all: &[Dataset]) -> Result<()> {
        let mut actions = vec![json!({"add": {"index": "pii-customers", "alias": MIXED_ALIAS}})];
        for set in all.iter().filter(|set| set.name.starts_with("logs-app-")) {
            actions.push(json!({"add": {"index": set.name, "alias": INSIDE_ALIAS}}));
            actions.push(json!({"add": {"index": set.name, "alias": MIXED_ALIAS}}));
        }
        self.send(Method::POST, "_aliases", Some(&json!({"actions": actions})))?;
        Ok(())
    }

    fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, text) = self.ask(method.clone(), path, body)?;
        if !(200..300).contains(&status) {
            bail!("the engine answers {status} to `{method} /{path}`: {text}");
        }
        serde_json::from_str(&text)
            .with_context(|| format!("the engine's answer to `{method} /{path}` is not JSON: {text}"))
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, String)> {
        let mut request =
            self.client.request(method, self.url(path)).basic_auth(&self.engine.user, Some(&self.engine.password));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().with_context(|| {
            format!("the engine at {} does not answer: run `cargo xtask engine up`", self.engine.url)
        })?;
        let status = response.status().as_u16();
        Ok((status, response.text().unwrap_or_default()))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.engine.url)
    }
}
