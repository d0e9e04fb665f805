//! The story of one token, told with what really happens: every request below is sent, every answer is the real one.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::blocking::{Client, Response};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::stack::{self, Stack};
use crate::{engine, http};

/// Tells it, and fails when something goes otherwise than told.
pub fn tell(stack: &Stack, binary: &Path, engine: &engine::State) -> Result<()> {
    let story = Story { stack, http: http::client_trusting(&stack.gateway.ca)? };
    let client = stack.client("log-reader")?;
    println!();
    heading("1. A token that may read logs-* and nothing else");
    shown(&format!(
        "curl -u log-reader:$SECRET -d grant_type=client_credentials -d 'scope=read:logs-*' {}/oauth/token",
        stack.gateway.url
    ));
    let token = story.token(client)?;
    println!("   token {}..., scope {}, valid for {} seconds", token.start(), token.scope, token.expires_in);

    heading("2. It searches what it may");
    let query = json!({"query": {"term": {"level": "ERROR"}}, "size": 1, "track_total_hits": true});
    shown(
        "curl -H \"Authorization: Bearer $TOKEN\" .../logs-app-*/_search -d '{\"query\":{\"term\":{\"level\":\"ERROR\"}}}'",
    );
    let found = story.expect(&token, Method::GET, "/logs-app-*/_search", Some(query), StatusCode::OK)?;
    let hit = &found.body["hits"]["hits"][0];
    println!(
        "   {} errors in logs-app-*; one of them, from {}: {}",
        found.body["hits"]["total"]["value"],
        text(&hit["_index"]),
        text(&hit["_source"]["message"])
    );

    heading("3. It cannot delete, and cannot see customers");
    let index = text(&hit["_index"]);
    shown(&format!("curl -X DELETE -H \"Authorization: Bearer $TOKEN\" .../{index}"));
    let delete = story.expect(&token, Method::DELETE, &format!("/{index}"), None, StatusCode::FORBIDDEN)?;
    println!("   403: {}", delete.reason());
    shown("curl -H \"Authorization: Bearer $TOKEN\" .../pii-customers/_search");
    let customers = story.expect(&token, Method::GET, "/pii-customers/_search", None, StatusCode::FORBIDDEN)?;
    println!("   403: {}", customers.reason());

    heading("4. The engine refuses by itself, without the gateway's help");
    println!(
        "   The gateway tells the engine who is asking and which patterns the token has; the engine's own security"
    );
    println!(
        "   plugin enforces them. `oauth4os engine check` asks the engine directly, with identities as the gateway makes them:"
    );
    shown("oauth4os engine check");
    story.engine_check(binary, engine)?;

    heading("5. An agent is held to policies as well as to its scopes");
    let agent = stack.client("my-ai-agent")?;
    let agent_token = story.token(agent)?;
    println!(
        "   my-ai-agent has the scopes {}; the RFC's Cedar policies let agents read logs-* and keep them out of pii-*.",
        agent_token.scope
    );
    let logs = story.expect(&agent_token, Method::GET, "/logs-*/_count", None, StatusCode::OK)?;
    println!("   logs-*: 200, {} documents", logs.body["count"]);
    let pii = story.expect(&agent_token, Method::GET, "/pii-customers/_count", None, StatusCode::FORBIDDEN)?;
    println!("   pii-customers: 403: {}", pii.reason());

    heading("6. The token is revoked, and the next request is refused");
    shown("curl -u log-reader:$SECRET -d token=$TOKEN .../oauth/revoke");
    story.revoke(client, &token)?;
    let after = story.expect(&token, Method::GET, "/logs-*/_count", None, StatusCode::UNAUTHORIZED)?;
    println!("   401: {}", after.reason());

    heading("7. All of it is on record");
    shown(&format!("tail {}", stack.gateway.audit.display()));
    for answer in [&found, &delete, &customers, &pii, &after] {
        story.show_audit(&answer.request_id)?;
    }
    what_next(stack);
    Ok(())
}

struct Story<'a> {
    stack: &'a Stack,
    http: Client,
}

struct Token {
    value: String,
    scope: String,
    expires_in: u64,
}

struct Answer {
    request_id: String,
    body: Value,
}

impl Token {
    fn start(&self) -> &str {
        self.value.get(..12).unwrap_or_default()
    }
}

impl Answer {
    fn reason(&self) -> &str {
        self.body["error"]["reason"].as_str().unwrap_or("no reason")
    }
}

impl Story<'_> {
    fn token(&self, client: &stack::Client) -> Result<Token> {
        let answer = self
            .http
            .post(format!("{}/oauth/token", self.stack.gateway.url))
            .basic_auth(&client.id, Some(&client.secret))
            .form(&[("grant_type", "client_credentials")])
            .send()?;
        let body = json_body(answer, StatusCode::OK, "POST /oauth/token")?.body;
        Ok(Token {
            value: text(&body["access_token"]).to_owned(),
            scope: text(&body["scope"]).to_owned(),
            expires_in: body["expires_in"].as_u64().context("the token has no lifetime")?,
        })
    }

    fn revoke(&self, client: &stack::Client, token: &Token) -> Result<()> {
        let answer = self
            .http
            .post(format!("{}/oauth/revoke", self.stack.gateway.url))
            .basic_auth(&client.id, Some(&client.secret))
            .form(&[("token", &token.value)])
            .send()?;
        if answer.status() != StatusCode::OK {
            bail!("POST /oauth/revoke was answered with {}", answer.status());
        }
        Ok(())
    }

    fn expect(
        &self,
        token: &Token,
        method: Method,
        path: &str,
        body: Option<Value>,
        status: StatusCode,
    ) -> Result<Answer> {
        let what = format!("{method} {path}");
        let mut request =
            self.http.request(method, format!("{}{path}", self.stack.gateway.url)).bearer_auth(&token.value);
        if let Some(body) = body {
            request = request.json(&body);
        }
        json_body(request.send()?, status, &what)
    }

    fn engine_check(&self, binary: &Path, engine: &engine::State) -> Result<()> {
        let mut command = Command::new(binary);
        command.args(["engine", "check", "--config"]).arg(&self.stack.gateway.config);
        command.arg("--admin-cert").arg(&engine.admin_cert).arg("--admin-key").arg(&engine.admin_key);
        let output = command.output().context("the gateway's check cannot be started")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("   {line}");
        }
        if !output.status.success() {
            bail!("the engine does not enforce what tokens say: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Prints the audit event of a request, which is written right after its answer.
    fn show_audit(&self, request_id: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let events = std::fs::read_to_string(&self.stack.gateway.audit).unwrap_or_default();
            if let Some(line) = events.lines().rev().find(|line| line.contains(request_id)) {
                println!("   {line}");
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(5) {
                bail!("there is no audit event for the request {request_id}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn json_body(answer: Response, expected: StatusCode, what: &str) -> Result<Answer> {
    let status = answer.status();
    let request_id =
        answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let body = answer.text()?;
    if status != expected {
        bail!("{what} was answered with {status} where {expected} was expected: {body}");
    }
    let body = serde_json::from_str(&body).with_context(|| format!("{what} was not answered with JSON"))?;
    Ok(Answer { request_id, body })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn heading(line: &str) {
    println!("\n{line}");
}

fn shown(command: &str) {
    println!("   $ {command}");
}

fn what_next(stack: &Stack) {
    let folder = stack.gateway.config.parent().unwrap_or(Path::new("."));
    println!("\nEverything keeps running. What to try next:");
    println!("   the clients, their secrets and scopes   {}", folder.join(stack::FILE).display());
    println!("   the gateway's configuration             {}", stack.gateway.config.display());
    println!("   its metrics                             curl http://127.0.0.1:9464/metrics");
    println!(
        "   who a token is                          curl --cacert {} -H \"Authorization: Bearer $TOKEN\" {}/_oauth4os/v1/whoami",
        stack.gateway.ca.display(),
        stack.gateway.url
    );
    println!("   a shipper that can write and not read   client log-shipper, POST .../app-logs-1/_bulk");
    println!("   the end                                 cargo xtask demo --down");
}
