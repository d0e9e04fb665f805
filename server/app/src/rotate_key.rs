//! `oauth4os engine rotate-key`: asks the gateway that runs, since it alone may write its state.

use std::error::Error as _;
use std::process::ExitCode;
use std::time::Duration;

use oauth4os_config::{Config, Driver, KeySource};
use reqwest::{Certificate, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::arguments::GatewayAccess;
use crate::{Failure, engine, tls};

/// The environment variable of the client's secret.
const SECRET: &str = "OAUTH4OS_CLIENT_SECRET";

const PATH: &str = "/_oauth4os/v1/engine/keys";

/// Making a key takes a tenth of a second and more.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Starts a rotation, or only says how far it is.
pub(crate) fn run(
    config: &Config,
    cluster: Option<&str>,
    status: bool,
    access: &GatewayAccess,
) -> Result<ExitCode, Failure> {
    if cluster.is_some() {
        return Err("one key is for all clusters; leave out `--cluster`".into());
    }
    let method = if status { Method::GET } else { Method::POST };
    let (answered, answer) = engine::in_runtime(ask(config, access, method))?;
    match answered {
        StatusCode::CREATED => println!("a new key was made: `{}`", text(&answer, "kid")),
        StatusCode::OK if !status => println!("there is a new key already: `{}`", text(&answer, "kid")),
        _ => {}
    }
    for keys in answer.get("clusters").and_then(Value::as_array).into_iter().flatten() {
        print!("{}", describe(config, keys));
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(config: &Config, access: &GatewayAccess, method: Method) -> Result<(StatusCode, Value), Failure> {
    let base = access.gateway.as_deref().unwrap_or(&config.issuer).trim_end_matches('/');
    if !base.starts_with("https://") {
        return Err(format!("`{base}` cannot be asked: begin the address of the gateway with `https://`").into());
    }
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .timeout(TIMEOUT);
    if let Some(path) = &access.gateway_ca {
        let authorities = Certificate::from_pem_bundle(tls::certificates_as_text(path)?.as_bytes())?;
        builder = builder.tls_certs_only(authorities);
    }
    let secret = secret(access)?;
    let request = builder
        .build()?
        .request(method, format!("{base}{PATH}"))
        .basic_auth(&access.client_id, Some(secret.expose_secret()));
    let unreachable = |error: reqwest::Error| format!("the gateway at {base} cannot be asked: {}", deepest(&error));
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let body: Value = serde_json::from_slice(&answer.bytes().await.map_err(unreachable)?).unwrap_or_default();
    if status.is_success() {
        return Ok((status, body));
    }
    let reason = text(&body, "error_description");
    Err(format!("the gateway at {base} answers {}: {}", status.as_u16(), printable(reason)).into())
}

fn secret(access: &GatewayAccess) -> Result<SecretString, Failure> {
    let text = match &access.client_secret_file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?
        }
        None => std::env::var(SECRET)
            .map_err(|_| format!("give the client's secret in `--client-secret-file` or {SECRET}"))?,
    };
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

/// How far a cluster is, and what to do next.
fn describe(config: &Config, keys: &Value) -> String {
    let name = keys.get("cluster").and_then(Value::as_str);
    let prefix = name.map(|name| format!("cluster `{}`: ", printable(name))).unwrap_or_default();
    let mut lines = format!("{prefix}`{}` signs\n", text(keys, "signing"));
    if let Some(waiting) = keys.get("waiting").and_then(Value::as_str) {
        let cluster = config.clusters().iter().find(|cluster| cluster.name.as_deref() == name);
        let stands_in_configuration = cluster.map(|cluster| &cluster.upstream.engine).is_some_and(|engine| {
            engine.driver == Driver::Jwt && engine.jwt.as_ref().is_none_or(|jwt| jwt.keys == KeySource::Static)
        });
        lines.push_str(&format!("{prefix}`{}` waits until the engine takes it", printable(waiting)));
        if stands_in_configuration {
            let option = name.map(|name| format!(" --cluster {name}")).unwrap_or_default();
            lines.push_str(&format!(": run `oauth4os engine setup --apply{option}`"));
        }
        lines.push('\n');
    }
    for retiring in keys.get("retiring").and_then(Value::as_array).into_iter().flatten() {
        let until = retiring.get("ends_at").and_then(Value::as_str);
        let until = until.map(|time| format!("; its last token ends at {}", printable(time))).unwrap_or_default();
        lines.push_str(&format!("{prefix}`{}` signs no more{until}\n", text(retiring, "kid")));
    }
    if let Some(problem) = keys.get("problem").and_then(Value::as_str) {
        lines.push_str(&format!("{prefix}{}\n", printable(problem)));
    }
    lines
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What another process says, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().take(400).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn deepest(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
