//! Tokens from a gateway, as any client gets them.

use anyhow::{Context, Result, bail};
use reqwest::blocking::Client as HttpClient;

use crate::progress::Progress;

/// A client that is allowed to search.
#[derive(Debug)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

/// An access token.
#[derive(Debug)]
pub struct Token {
    pub text: String,
}

/// Gets so many tokens, in turn for each client.
pub fn obtain(http: &HttpClient, endpoint: &str, clients: &[Client], count: usize) -> Result<Vec<Token>> {
    let mut progress = Progress::start(format!("getting {count} tokens"));
    let mut tokens = Vec::with_capacity(count);
    for client in clients.iter().cycle().take(count) {
        let request = http.post(endpoint).basic_auth(&client.id, Some(&client.secret));
        let answer = request
            .form(&[("grant_type", "client_credentials")])
            .send()
            .context("the token endpoint does not answer")?;
        let status = answer.status();
        let body: serde_json::Value = answer.json().context("the token endpoint's answer is not JSON")?;
        let Some(text) = body.get("access_token").and_then(serde_json::Value::as_str) else {
            bail!("the token endpoint answered {status}: {body}");
        };
        tokens.push(Token { text: text.to_owned() });
        progress.tick(&format!("{} of {count}", tokens.len()));
    }
    progress.done("");
    Ok(tokens)
}
