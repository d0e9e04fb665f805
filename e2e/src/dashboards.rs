//! A double of OpenSearch Dashboards, which no package registry has: what a client sees of its HTTP, as far as requests with a
//! credential go, on a real engine.
//!
//! As the security plugin of Dashboards does, it asks the engine who the `Authorization` field speaks for and keeps that in a
//! sealed cookie; as hapi does, it normalises paths and reads queries as forms; a change without `osd-xsrf` it takes for a
//! forged one; the console passes on to the engine what it is asked, by the URL parser of browsers; saved objects lie in the
//! engine, written with the caller's own rights.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::engine::Engine;
use crate::http::Client;
use crate::upstream::{Received, Upstream};

/// What it says its version is.
const VERSION: &str = "3.4.0";

/// Where the engine keeps saved objects.
const INDEX: &str = ".kibana";

/// What Dashboards takes from a client to the engine (`opensearch.requestHeadersAllowlist`).
const ALLOWLIST: [&str; 2] = ["authorization", "securitytenant"];

/// The server; it ends with the test's process.
pub struct Dashboards {
    upstream: Upstream,
    passed_on: Arc<Mutex<Vec<String>>>,
}

/// A request as it reads it.
struct Asked {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    /// What goes on to the engine.
    credential: Vec<(String, String)>,
    content_type: Option<String>,
    host: String,
    body: Vec<u8>,
}

impl Dashboards {
    /// Dashboards at the root of its port.
    #[must_use]
    pub fn start() -> Self {
        Self::below("")
    }

    /// Dashboards with `server.basePath` and `server.rewriteBasePath`.
    #[must_use]
    pub fn below(base_path: &'static str) -> Self {
        let engine = Engine::get().admin().anonymous();
        let passed_on = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&passed_on);
        let upstream = Upstream::start(move |turn| {
            let body = turn.read_body().bytes;
            let mut answer = serve(&engine, base_path, &turn.received, body, &noted);
            if turn.received.method == "HEAD" {
                let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
                answer.truncate(end);
            }
            turn.write(&answer);
        });
        Self { upstream, passed_on }
    }

    /// The server, and what it has received.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Method and target of every call the console has passed on to the engine.
    #[must_use]
    pub fn passed_on(&self) -> Vec<String> {
        self.passed_on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(engine: &Client, base_path: &str, received: &Received, body: Vec<u8>, noted: &Mutex<Vec<String>>) -> Vec<u8> {
    let header = |name: &str| received.header(name).first().map(ToString::to_string);
    let (raw_path, raw_query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let Some(path) = raw_path.strip_prefix(base_path) else {
        return error(404, "Not Found", "Not Found");
    };
    // The tenant all share has no name in the engine's requests, but is called `global` in those of Dashboards.
    let goes_on = |name: &&str| header(name).filter(|value| *name != "securitytenant" || value != "global");
    let credential = ALLOWLIST.iter().filter_map(|name| Some(((*name).to_owned(), goes_on(name)?))).collect();
    let asked = Asked {
        method: received.method.clone(),
        path: normalize(path),
        query: form(raw_query),
        credential,
        content_type: header("content-type"),
        host: header("host").unwrap_or_default(),
        body,
    };
    let who = asked.engine(engine, "GET", "/_plugins/_security/authinfo", None);
    if who.status != 200 {
        return error(401, "Unauthorized", &who.text());
    }
    if !matches!(asked.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        match header("osd-version") {
            Some(version) if version != VERSION => {
                return error(400, "Bad Request", "Browser client is out of date, please refresh the page");
            }
            None if header("osd-xsrf").is_none() => {
                return error(400, "Bad Request", "Request must contain a osd-xsrf header.");
            }
            _ => {}
        }
    }
    asked.answer(engine, base_path, noted)
}

impl Asked {
    fn answer(&self, engine: &Client, base_path: &str, noted: &Mutex<Vec<String>>) -> Vec<u8> {
        let segments: Vec<&str> = self.path.split('/').skip(1).filter(|segment| !segment.is_empty()).collect();
        let segments = match segments.as_slice() {
            ["w", _, rest @ ..] => rest,
            all => all,
        };
        match (self.method.as_str(), segments) {
            ("GET", []) => redirect(&format!("{base_path}/app/home")),
            ("GET", ["app", "old"]) => redirect(&format!("http://{}/app/home", self.host)),
            ("GET" | "HEAD", ["api", "status"]) => ok(&json!({
                "name": "dashboards", "version": {"number": VERSION}, "status": {"overall": {"state": "green"}},
            })),
            ("POST", ["api", "console", "proxy"]) => self.console(engine, noted),
            (method, ["api", "saved_objects", rest @ ..]) => self.saved_objects(engine, method, rest),
            _ => error(404, "Not Found", "Not Found"),
        }
    }

    /// Asks the engine with the caller's credential.
    fn engine(&self, engine: &Client, method: &str, target: &str, body: Option<(&str, &[u8])>) -> Answer {
        let mut request = engine.request(method, target);
        for (name, value) in &self.credential {
            request = request.header(name, value);
        }
        if let Some((content_type, body)) = body {
            request = request.body(content_type, body);
        }
        request.send()
    }

    /// `src/plugins/console/server/routes/api/console/proxy`.
    fn console(&self, engine: &Client, noted: &Mutex<Vec<String>>) -> Vec<u8> {
        let all = |name: &str| -> Vec<&str> {
            self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
        };
        let (paths, methods) = (all("path"), all("method"));
        let ([path], [method]) = (paths.as_slice(), methods.as_slice()) else {
            return error(400, "Bad Request", "[request query]: expected one path and one method");
        };
        let method = method.to_uppercase();
        let target = browsers_url(path);
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {target}"));
        let body = (!self.body.is_empty())
            .then(|| (self.content_type.as_deref().unwrap_or("application/octet-stream"), self.body.as_slice()));
        let answer = self.engine(engine, &method, &target, body);
        let content_type = answer.header("content-type").unwrap_or("text/plain").to_owned();
        if method == "HEAD" {
            return respond(answer.status, "text/plain", format!("{} - x", answer.status).as_bytes());
        }
        respond(answer.status, &content_type, &answer.body)
    }

    /// `src/core/server/saved_objects/routes`.
    fn saved_objects(&self, engine: &Client, method: &str, path: &[&str]) -> Vec<u8> {
        let overwrite = self.query.iter().any(|(name, value)| name == "overwrite" && value == "true");
        let verb = if overwrite { "_doc" } else { "_create" };
        let put = |kind: &str, id: &str, object: &Value| {
            let body = source(kind, object).to_string();
            self.engine(
                engine,
                "PUT",
                &format!("/{INDEX}/{verb}/{}?refresh=true", escaped(&format!("{kind}:{id}"))),
                Some(("application/json", body.as_bytes())),
            )
        };
        match (method, path) {
            ("GET", ["_find"]) => {
                let kinds: Vec<&str> =
                    self.query.iter().filter(|(name, _)| name == "type").map(|(_, value)| value.as_str()).collect();
                let body = json!({"size": 1000, "query": {"terms": {"type": kinds}}}).to_string();
                let target = format!("/{INDEX}/_search");
                let answer = self.engine(engine, "POST", &target, Some(("application/json", body.as_bytes())));
                if answer.status != 200 {
                    return denied(&answer);
                }
                let hits = answer.json()["hits"]["hits"].as_array().cloned().unwrap_or_default();
                ok(
                    &json!({"page": 1, "total": hits.len(), "saved_objects": hits.iter().map(object).collect::<Vec<_>>()}),
                )
            }
            ("POST", ["_import"]) => {
                let objects = imported(&self.body);
                let mut failed = None;
                for saved in &objects {
                    let text = |name: &str| saved[name].as_str().unwrap_or_default().to_owned();
                    let answer = put(&text("type"), &text("id"), saved);
                    if !matches!(answer.status, 200 | 201) {
                        failed = Some(answer);
                    }
                }
                failed.map_or_else(
                    || ok(&json!({"successCount": objects.len(), "success": true})),
                    |answer| denied(&answer),
                )
            }
            ("POST", ["_bulk_get"]) => {
                let wanted: Value = serde_json::from_slice(&self.body).unwrap_or_default();
                let wanted: Vec<Value> = wanted.as_array().cloned().unwrap_or_default();
                let found = wanted.iter().map(|it| {
                    let id = format!("{}:{}", it["type"].as_str().unwrap_or(""), it["id"].as_str().unwrap_or(""));
                    object(&self.engine(engine, "GET", &format!("/{INDEX}/_doc/{}", escaped(&id)), None).json())
                });
                ok(&json!({"saved_objects": found.collect::<Vec<_>>()}))
            }
            ("POST", [kind]) => {
                let answer = put(kind, "made", &serde_json::from_slice(&self.body).unwrap_or_default());
                if answer.status == 201 { ok(&json!({"id": "made", "type": kind})) } else { denied(&answer) }
            }
            ("POST", [kind, id]) => {
                let answer = put(kind, id, &serde_json::from_slice(&self.body).unwrap_or_default());
                if matches!(answer.status, 200 | 201) { ok(&json!({"id": id, "type": kind})) } else { denied(&answer) }
            }
            ("GET" | "DELETE", [kind, id]) => {
                let id = escaped(&format!("{kind}:{id}"));
                let answer = self.engine(engine, method, &format!("/{INDEX}/_doc/{id}?refresh=true"), None);
                match answer.status {
                    200 if method == "GET" => ok(&object(&answer.json())),
                    200 => ok(&json!({})),
                    _ => denied(&answer),
                }
            }
            _ => error(404, "Not Found", "Not Found"),
        }
    }
}

fn source(kind: &str, saved: &Value) -> Value {
    json!({"type": kind, kind: saved["attributes"], "references": saved["references"]})
}

fn object(hit: &Value) -> Value {
    let id = hit["_id"].as_str().unwrap_or_default();
    let (kind, id) = id.split_once(':').unwrap_or(("", id));
    json!({"type": kind, "id": id, "attributes": hit["_source"][kind]})
}

/// The lines of the one file in a form (`multipart/form-data`).
fn imported(body: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(body).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What the engine refused, as Dashboards says it.
fn denied(answer: &Answer) -> Vec<u8> {
    error(answer.status, "Error", &answer.text())
}

fn ok(body: &Value) -> Vec<u8> {
    respond(200, "application/json; charset=utf-8", body.to_string().as_bytes())
}

fn error(status: u16, kind: &str, message: &str) -> Vec<u8> {
    let body = json!({"statusCode": status, "error": kind, "message": message});
    respond(status, "application/json; charset=utf-8", body.to_string().as_bytes())
}

fn redirect(location: &str) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n");
    answer
        .push_str("set-cookie: security_authentication=Fe26.2**sealed; HttpOnly; Path=/\r\ncontent-length: 0\r\n\r\n");
    answer.into_bytes()
}

/// Every answer carries the sealed cookie, as it does after a request with a credential.
fn respond(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\nosd-name: dashboards\r\ncontent-type: {content_type}\r\n");
    for cookie in ["security_authentication", "security_authentication_jwt1"] {
        let _ = write!(head, "set-cookie: {cookie}=Fe26.2**sealed; HttpOnly; Path=/\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// As hapi's router: escapes of unreserved characters mean the characters.
fn normalize(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..(at + 3).min(rest.len())];
        let byte = escape.get(1..).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(escape),
        }
        rest = &rest[at + escape.len()..];
    }
    out.push_str(rest);
    out
}

/// As `URLSearchParams` reads a query.
fn form(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut left = text.as_bytes();
        while let Some((&byte, after)) = left.split_first() {
            left = after;
            let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            match (byte, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
                (b'%', Some(decoded)) => {
                    bytes.push(decoded);
                    left = &after[2..];
                }
                (b'+', _) => bytes.push(b' '),
                _ => bytes.push(byte),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// The path the console sends to the engine: without slashes at the front, as the URL parser of browsers has it, with `pretty`.
fn browsers_url(path: &str) -> String {
    let path: String = path.trim_start_matches('/').chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
    let path = path.trim().split('#').next().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment.to_lowercase().replace("%2e", ".").as_str() {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment.replace('<', "%3C").replace('>', "%3E").replace('{', "%7B").replace('}', "%7D")),
        }
    }
    let mut target = format!("/{}?", segments.join("/"));
    for (name, value) in form(query) {
        let _ = write!(target, "{}={}&", escaped(&name), escaped(&value));
    }
    target + "pretty=true"
}

fn escaped(text: &str) -> String {
    crate::http::percent_encode(text)
}
