use std::net::TcpListener;

use serde_json::json;

use super::*;

fn engine(value: Value) -> Engine {
    // Every test may be the first one of the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    serde_json::from_value(value).unwrap()
}

fn password(user: &str, password: &str) -> AdminCredentials {
    AdminCredentials::Password { user: user.to_owned(), password: password.into() }
}

#[tokio::test]
async fn an_engine_that_is_not_there() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = EngineClient::plain(&engine(json!({"url": format!("http://127.0.0.1:{port}")}))).unwrap();
    let error = client.send(Method::GET, "/", None).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("the engine at http://127.0.0.1:{port} cannot be reached: ")), "{error}");
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn urls_and_files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let of = |value| EngineClient::plain(&engine(value)).unwrap_err().to_string();
    assert!(of(json!({"url": "http://opensearch.example.com:9200"})).contains("use `https`"));
    assert!(of(json!({"url": "https://localhost", "ca": missing})).contains("cannot be read"));
    assert!(of(json!({"url": "https://localhost", "ca": empty})).contains("holds no certificate"));
    let engine = engine(json!({"url": "https://localhost"}));
    let pair = AdminCredentials::Certificate { certificate: empty.clone(), key: empty };
    assert!(
        EngineClient::admin(&engine, &pair)
            .unwrap_err()
            .to_string()
            .contains("are not a certificate and its private key")
    );
}

#[test]
fn passwords_are_sent_whole_and_shown_nowhere() {
    let engine = engine(json!({"url": "https://localhost"}));
    let credentials = password("admin", "pass:wörd");
    let client = EngineClient::admin(&engine, &credentials).unwrap();
    let sent = client.authorization.as_ref().unwrap();
    assert!(sent.is_sensitive());
    assert_eq!(STANDARD.decode(&sent.as_bytes()[6..]).unwrap(), "admin:pass:wörd".as_bytes());
    let shown = format!("{client:?} {credentials:?} {sent:?}");
    assert!(!shown.contains("wörd") && !shown.contains("Basic"), "{shown}");
    for (user, secret) in [("a:b", "x"), ("a\r\n", "x"), ("a", "x\n")] {
        assert!(matches!(EngineClient::admin(&engine, &password(user, secret)), Err(ClientError::Credentials)));
    }
}

#[test]
fn what_the_engine_says_is_found_in_each_of_its_forms() {
    let answer = |body| Answer { request: "GET /".to_owned(), status: StatusCode::FORBIDDEN, body };
    assert_eq!(answer(json!({"error": {"reason": "no permissions"}})).reason(), "no permissions");
    assert_eq!(answer(json!({"status": "FORBIDDEN", "message": "Access\u{1b}denied"})).reason(), "Access denied");
    assert_eq!(answer(json!({"error": "plain"})).reason(), "plain");
    assert_eq!(answer(Value::Null).reason(), "Forbidden");
    assert_eq!(answer(Value::Null).refused().to_string(), "the engine answered `GET /` with 403: Forbidden");
}
