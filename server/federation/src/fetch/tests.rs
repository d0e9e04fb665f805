use serde_json::json;

use super::*;
use crate::test_support::{Double, Reply, answer, install_tls, ok};

async fn get(double: &Double, path: &str) -> Result<Fetched, FetchError> {
    let url = Url::parse(&format!("{}{path}", double.url)).unwrap();
    Fetcher::new(None).unwrap().get(&url, Trust::Configured).await
}

#[tokio::test]
async fn a_json_document_is_read_with_its_age() {
    let double = Double::start().await;
    double.reply("/a", ok(&json!({"a": 1})));
    let head =
        "200 OK\r\ncontent-type: application/jwk-set+json; charset=utf-8\r\ncache-control: public, Max-Age=\"120\"";
    double.reply("/b", answer(head, "{}"));
    let fetched = get(&double, "/a").await.unwrap();
    assert_eq!((fetched.body.as_slice(), fetched.max_age), (&br#"{"a":1}"#[..], None));
    assert_eq!(get(&double, "/b").await.unwrap().max_age, Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn redirects_and_other_types_are_refused() {
    let double = Double::start().await;
    double.reply("/target", ok(&json!({})));
    for (path, head) in [
        ("/301", "301 Moved\r\ncontent-type: application/json\r\nlocation: /target"),
        ("/302", "302 Found\r\nlocation: http://169.254.169.254/"),
        ("/307", "307 Temporary Redirect\r\nlocation: /target"),
        ("/204", "204 No Content"),
        ("/500", "500 Error\r\ncontent-type: application/json"),
    ] {
        double.reply(path, answer(head, ""));
        assert!(matches!(get(&double, path).await, Err(FetchError::Status { .. })), "{path}");
    }
    for (path, head) in [
        ("/html", "200 OK\r\ncontent-type: text/html"),
        ("/text", "200 OK\r\ncontent-type: text/plain"),
        ("/none", "200 OK"),
        ("/two", "200 OK\r\ncontent-type: application/json\r\ncontent-type: text/html"),
        ("/gzip", "200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip"),
    ] {
        double.reply(path, answer(head, "{}"));
        assert!(matches!(get(&double, path).await, Err(FetchError::Type { .. })), "{path}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let double = Double::start().await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_vec();
    double.reply("/endless", Reply::Endless(head, vec![b' '; 64 * 1024]));
    assert!(matches!(get(&double, "/endless").await, Err(FetchError::TooLarge { .. })));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES));
    double.reply("/large", answer("200 OK\r\ncontent-type: application/json", &large));
    assert!(matches!(get(&double, "/large").await, Err(FetchError::TooLarge { .. })));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let double = Double::start().await;
    double.reply("/silent", Reply::Silence);
    let began = tokio::time::Instant::now();
    assert!(matches!(get(&double, "/silent").await, Err(FetchError::Unreachable { .. })));
    assert!(began.elapsed() >= TOTAL_TIMEOUT);
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_may_be_fetched() {
    let double = Double::start().await;
    let url = Url::parse(&double.url).unwrap();
    let refused = Fetcher::new(None).unwrap().get(&url, Trust::Discovered).await;
    assert!(matches!(refused, Err(FetchError::Forbidden { .. })));
    assert_eq!(double.asked(), 0);
}

#[test]
fn a_file_without_certificates_is_refused() {
    install_tls();
    let missing = Fetcher::new(Some(Path::new("does-not-exist.pem"))).unwrap_err();
    assert!(missing.to_string().contains("does-not-exist.pem"), "{missing}");
    assert!(Fetcher::new(Some(Path::new("Cargo.toml"))).is_err());
}
