//! What the engine does with tokens, tried out.

use oauth4os_policy::EngineRole;
use oauth4os_tokens::id;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::report::Report;
use super::{Check, grant};
use crate::client::{Answer, ClientError};
use crate::identity::{HandedIdentity, IdentityError, Told};
use crate::security_config::Trust;

/// The client the identities of a check are for.
const SUBJECT: &str = "engine-check";

pub(super) use crate::keys::AUTHINFO;

/// Whether the engine is there at all.
pub(super) async fn answers(check: &Check<'_>, report: &mut Report) -> bool {
    match check.engine.send(Method::GET, "/_plugins/_security/health", None).await {
        Ok(answer) if answer.body.get("status").and_then(Value::as_str) == Some("UP") => true,
        Ok(answer) => {
            report.failure("engine", format!("there is no running security plugin: {}", answer.refused()));
            false
        }
        Err(error) => {
            report.failure("engine", error.to_string());
            false
        }
    }
}

/// Whether the auth domain takes an identity as it should.
pub(super) async fn accepts_tokens(check: &Check<'_>, report: &mut Report) -> bool {
    match try_token(check, report).await {
        Ok(accepted) => accepted,
        Err(error) => {
            report.failure("token", error.to_string());
            false
        }
    }
}

async fn try_token(check: &Check<'_>, report: &mut Report) -> Result<bool, ProbeError> {
    let naming = check.identities.naming();
    let role = naming.role(EngineRole::Read);
    // Nobody has this role; only a cluster that takes backend roles as roles shows it.
    let unmapped = format!("{}check_unmapped", naming.role_prefix);
    let mut told = told(check, &format!("read:{}-check-none", naming.domain))?;
    told.roles.push(unmapped.clone());
    let identity = check.identities.hand_once(&told, check.clock.now())?;
    let (subject, what, otherwise) = match check.desired.trust() {
        Trust::Jwt { .. } => ("token", "token", "compare the clocks of both machines"),
        Trust::ExtendedProxy { .. } => (
            "identity",
            "word",
            "the engine sees the gateway at another address than those of `upstream.engine.extended_proxy.addresses`",
        ),
    };
    let answer = check.engine.send_as(&identity, Method::GET, AUTHINFO, None).await?;
    if answer.status != StatusCode::OK {
        report.failure(
            subject,
            format!(
                "the engine does not take the gateway's {what} (status {}): run `oauth4os engine setup --apply`; if that has nothing to change, {otherwise}",
                answer.status.as_u16()
            ),
        );
        return Ok(false);
    }
    let name = answer.body.get("user_name").and_then(Value::as_str).unwrap_or_default();
    if name != told.user {
        report.failure(
            subject,
            format!("the engine takes the gateway's {what} for the user `{}`, not `{}`: an administrator's certificate, anonymous access or another auth domain comes before `{}`", escape(name), told.user, naming.domain),
        );
        return Ok(false);
    }
    let roles = strings(answer.body.get("roles"));
    if !roles.contains(&role.as_str()) {
        report.failure(
            subject,
            format!("the engine knows the gateway's {what} but gives it no role `{role}`: run `oauth4os engine setup --apply`"),
        );
        return Ok(false);
    }
    report.ok(
        subject,
        format!(
            "the auth domain `{}` takes the gateway's {what} as user `{}` with role `{role}`",
            naming.domain, told.user
        ),
    );
    if roles.contains(&unmapped.as_str()) {
        report.warning(
            "backend roles",
            "the cluster takes backend roles as roles (`plugins.security.roles_mapping_resolution` is BACKENDROLES_ONLY or BOTH): whoever is taken for the gateway could claim any role by its name; guard its key or certificate as you guard the administrator's password, or set MAPPING_ONLY",
        );
    }
    for extra in roles.into_iter().filter(|found| *found != role && *found != unmapped) {
        if extra == "own_index" {
            report.warning(
                "foreign role",
                "the role `own_index` is mapped to every user, tokens too: it covers only an index named like the user, which no index can be, and lets every token send `_bulk`, `_mget` and `_msearch` requests",
            );
        } else {
            report.failure(
                "foreign role",
                format!("the engine gives every token also the role `{}`: take its mapping to `users`, `hosts` or `backend_roles` away", escape(extra)),
            );
        }
    }
    version(check, &identity, report).await?;
    Ok(true)
}

async fn version(check: &Check<'_>, identity: &HandedIdentity, report: &mut Report) -> Result<(), ProbeError> {
    let answer = check.engine.send_as(identity, Method::GET, "/", None).await?.success()?;
    let text = |at: &str| answer.body.pointer(at).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    report.ok(
        "engine",
        format!("OpenSearch {} of the cluster `{}`", escape(&text("/version/number")), escape(&text("/cluster_name"))),
    );
    Ok(())
}

/// Whether a token gets exactly its patterns.
pub(super) async fn enforces_patterns(check: &Check<'_>, report: &mut Report) {
    let base = match id::random_id("") {
        Ok(random) => format!("{}-check-{}", check.identities.naming().domain, random.to_ascii_lowercase()),
        Err(error) => return report.failure("patterns", error.to_string()),
    };
    let (inside, outside) = (format!("{base}-in"), format!("{base}-out"));
    let tried = try_patterns(check, &base, &inside, &outside, report).await;
    if let Err(error) = tried {
        report.failure("patterns", error.to_string());
    }
    for index in [&inside, &outside] {
        if let Err(error) = delete(check, &base, index).await {
            report.failure(
                "patterns",
                format!("the index `{index}` of this check could not be deleted again, delete it: {error}"),
            );
        }
    }
}

async fn try_patterns(
    check: &Check<'_>,
    base: &str,
    inside: &str,
    outside: &str,
    report: &mut Report,
) -> Result<(), ProbeError> {
    let manage = token(check, &format!("manage:{base}-*"))?;
    let write = token(check, &format!("write:{base}-*"))?;
    let settings = json!({
        "settings": {"number_of_shards": 1, "number_of_replicas": 0},
        "mappings": {"properties": {"in": {"type": "keyword"}}},
    });
    for index in [inside, outside] {
        check.engine.send_as(&manage, Method::PUT, &format!("/{index}"), Some(&settings)).await?.success()?;
        let document = json!({"in": index});
        let path = format!("/{index}/_doc/1?refresh=true");
        check.engine.send_as(&write, Method::PUT, &path, Some(&document)).await?.success()?;
    }
    report.ok("patterns", format!("tokens for `manage:{base}-*` and `write:{base}-*` make and fill indices"));

    let read = token(check, &format!("read:{inside}"))?;
    let document = json!({"in": "x"});
    let search = |target: &str| (Method::GET, format!("{target}/_search?size=100"), None);
    let get = |method: Method, path: String, body: Option<&Value>| (method, path, body.cloned());
    let (method, path, body) = search(&format!("/{inside}"));
    let answer = check.engine.send_as(&read, method, &path, body.as_ref()).await?;
    if answer.status == StatusCode::OK && found(&answer) == [inside] {
        report.ok("patterns", "a token for `read:` an index searches it");
    } else {
        report.failure("patterns", format!("a token for `read:` an index cannot search it: {}", answer.refused()));
    }

    let mut refused = Vec::new();
    let mut narrowed = Vec::new();
    let attempts = [
        ("search another index", search(&format!("/{outside}"))),
        ("search both", search(&format!("/{inside},{outside}"))),
        ("search by a wildcard over both", search(&format!("/{base}-*"))),
        ("search `*`", search("/*")),
        ("search `_all`", search("/_all")),
        ("search without an index", search("")),
        ("get from another index", get(Method::GET, format!("/{outside}/_doc/1"), None)),
        ("read another mapping", get(Method::GET, format!("/{outside}/_mapping"), None)),
        ("write", get(Method::PUT, format!("/{inside}/_doc/2"), Some(&document))),
        ("delete a document", get(Method::DELETE, format!("/{inside}/_doc/1"), None)),
        ("delete its index", get(Method::DELETE, format!("/{inside}"), None)),
        ("delete another index", get(Method::DELETE, format!("/{outside}"), None)),
        ("read the state of the cluster", get(Method::GET, "/_cluster/health".to_owned(), None)),
        ("read the security configuration", get(Method::GET, format!("{}/roles", crate::setup::API), None)),
    ];
    for (what, (method, path, body)) in attempts {
        let answer = check.engine.send_as(&read, method, &path, body.as_ref()).await?;
        let is_search = path.contains("/_search");
        match answer.status {
            StatusCode::FORBIDDEN => refused.push(what),
            StatusCode::OK if is_search && found(&answer).iter().all(|index| *index == inside) => narrowed.push(what),
            status => report
                .failure("patterns", format!("a token for `read:{inside}` may {what} (status {})", status.as_u16())),
        }
    }
    report.ok("patterns", format!("403 when it tries to {}", refused.join(", ")));
    if !narrowed.is_empty() {
        report.warning(
            "patterns",
            format!("silently narrowed to its own index, not refused, when it tries to {}: `do_not_fail_on_forbidden` is on", narrowed.join(", ")),
        );
    }

    let search_only = token(check, &format!("search:{inside}"))?;
    let write_only = token(check, &format!("write:{inside}"))?;
    let ends = [
        (&search_only, "search:", "get a document by id", format!("/{inside}/_doc/1")),
        (&write_only, "write:", "search", format!("/{inside}/_search")),
        (&write_only, "write:", "get a document by id", format!("/{inside}/_doc/1")),
    ];
    for (token, scope, what, path) in ends {
        let answer = check.engine.send_as(token, Method::GET, &path, None).await?;
        if answer.status != StatusCode::FORBIDDEN {
            report.failure(
                "patterns",
                format!("a token for `{scope}{inside}` may {what} (status {})", answer.status.as_u16()),
            );
        }
    }
    Ok(())
}

/// The check's own token may do it; where the roles are wrong, the administrator's access must.
async fn delete(check: &Check<'_>, base: &str, index: &str) -> Result<(), ProbeError> {
    let path = format!("/{index}");
    let manage = token(check, &format!("manage:{base}-*"))?;
    let answer = check.engine.send_as(&manage, Method::DELETE, &path, None).await;
    let is_gone = |answer: &Answer| answer.status.is_success() || answer.status == StatusCode::NOT_FOUND;
    match (answer, check.admin) {
        (Ok(answer), _) if is_gone(&answer) => Ok(()),
        (_, Some(admin)) => {
            let answer = admin.send(Method::DELETE, &path, None).await?;
            if is_gone(&answer) { Ok(()) } else { Err(answer.refused().into()) }
        }
        (answer, None) => Err(answer?.refused().into()),
    }
}

/// The indices of the hits, each once.
fn found(answer: &Answer) -> Vec<&str> {
    let hits = answer.body.pointer("/hits/hits").and_then(Value::as_array);
    let mut found: Vec<&str> = hits.into_iter().flatten().filter_map(|hit| hit.get("_index")?.as_str()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What the engine is told of a token with these scopes.
pub(super) fn told(check: &Check<'_>, scopes: &str) -> Result<Told, IdentityError> {
    check.identities.told(SUBJECT, &grant(scopes))
}

fn token(check: &Check<'_>, scopes: &str) -> Result<HandedIdentity, IdentityError> {
    check.identities.hand_once(&told(check, scopes)?, check.clock.now())
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Names from the cluster, fit for a terminal.
pub(super) fn escape(name: &str) -> String {
    name.chars()
        .take(200)
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect::<Vec<_>>() } else { vec![letter] })
        .collect()
}

#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no token could be made for the check: {0}")]
    Identity(#[from] IdentityError),
}
