//! What HTTP/1 has beside plain requests and answers: version 1.0, HEAD, OPTIONS, bodies where few expect one, interim
//! answers, trailers. What is decided about each is in `docs/architecture.md`.

use e2e::{Client, Gateway, Settings, Turn, Upstream, json_answer};
use serde_json::json;

fn stage(script: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> (Upstream, Gateway, Client) {
    let upstream = Upstream::start(script);
    let gateway =
        Gateway::start(Settings::new().client("both", &["read:logs-*", "write:app-logs-*"]).upstream(&upstream.url()));
    let client = gateway.with("both");
    (upstream, gateway, client)
}

fn request(client: &Client, line: &str, fields: &str, body: &str) -> Vec<u8> {
    let authorization = client.authorization().expect("a token");
    format!("{line}\r\nHost: localhost\r\nAuthorization: {authorization}\r\n{fields}\r\n{body}").into_bytes()
}

#[test]
fn version_1_0_gets_whole_answers_without_chunks_and_without_interim_ones() {
    let (upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(match turn.received.target.as_str() {
            "/logs-chunks/_search" => {
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n".as_slice()
            }
            "/logs-length/_search" => b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}",
            _ => b"HTTP/1.0 200 OK\r\n\r\n{\"a\":1}",
        });
        if turn.received.target == "/logs-close/_search" {
            turn.close();
        }
    });
    let length = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    for target in ["/logs-chunks/_search", "/logs-length/_search", "/logs-close/_search"] {
        for (method, fields, body) in [
            ("GET", String::new(), ""),
            ("POST", length.to_owned(), "{}"),
            // Nobody of that version waits for `100 Continue`, whatever it says (RFC 9110 section 10.1.1).
            ("POST", format!("{length}Expect: 100-continue\r\n"), "{}"),
            ("GET", "Connection: keep-alive\r\n".to_owned(), ""),
        ] {
            let mut connection = client.connect();
            // The body comes apart, so that there is time to be asked for it.
            connection.write(&request(&client, &format!("{method} {target} HTTP/1.0"), &fields, ""));
            client.get("/_oauth4os/v1/whoami").expect(200);
            connection.write(body.as_bytes());
            let answer = connection.answer();
            assert_eq!((answer.status, answer.text().as_str()), (200, "{\"a\":1}"), "{method} {target} {fields}");
            assert_eq!((answer.header("transfer-encoding"), answer.header("connection")), (None, Some("close")));
            assert!(connection.is_closed_next());
        }
        // By version 1.1 the same answers leave the connection open.
        assert_eq!(client.get(target).expect(200).text(), "{\"a\":1}");
    }
    assert_eq!(upstream.requests().len(), 15);
    let mut connection = client.connect();
    connection.write(&request(&client, "GET /pii-a/_search HTTP/1.0", "", ""));
    assert_eq!(connection.answer().status, 403);
    assert!(connection.is_closed_next());
}

#[test]
fn head_gets_the_head_alone_and_the_connection_goes_on() {
    let (_upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(match turn.received.target.as_str() {
            "/logs-length" => b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".as_slice(),
            "/logs-chunks" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "/logs-none" => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        });
    });
    let mut connection = client.connect();
    for (target, status, length) in [
        ("/logs-length", 200, Some("1234")),
        ("/logs-chunks", 200, None),
        ("/logs-none", 404, Some("0")),
        ("/pii-customers", 403, Some("more")),
        ("/healthz", 200, Some("more")),
    ] {
        connection.write(&client.request("HEAD", target).bytes());
        let answer = connection.answer_to("HEAD").expect("an answer");
        assert_eq!(answer.status, status, "{target}");
        match length {
            Some("more") => assert!(answer.header("content-length").is_some_and(|length| length != "0"), "{target}"),
            length => assert_eq!(answer.header("content-length"), length, "{target}"),
        }
        connection.write(&client.get("/logs-a/_search").bytes());
        let next = connection.answer();
        assert_eq!((next.status, next.text().as_str()), (200, "{}"), "after {target}");
    }
}

#[test]
fn options_are_told_in_a_refusal() {
    let (upstream, _gateway, client) = stage(|turn| turn.oblige());
    let answer = client.request("OPTIONS", "/logs-a/_search").expect(405);
    let allowed = answer.header("allow").expect("methods");
    assert!(allowed.contains("GET") && allowed.contains("POST") && !allowed.contains("DELETE"), "{allowed}");
    client.request("OPTIONS", "/logs-a/_nothing").expect(403);
    assert!(upstream.requests().is_empty());
}

#[test]
fn bodies_are_taken_with_every_method_that_has_a_use_for_one() {
    let (upstream, _gateway, client) = stage(|turn| turn.oblige());
    let body = json!({"size": 1});
    for (number, method) in ["GET", "POST"].into_iter().enumerate() {
        for (form, fields) in
            ["length", "chunks"].into_iter().zip(["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"])
        {
            let target = format!("/logs-{form}-{number}/_search");
            let sent = if form == "chunks" { format!("a\r\n{body}\r\n0\r\n\r\n") } else { body.to_string() };
            let mut connection = client.connect();
            let fields = format!("Content-Type: application/json\r\n{fields}");
            connection.write(&request(&client, &format!("{method} {target} HTTP/1.1"), &fields, &sent));
            assert_eq!(connection.answer().status, 200, "{method} {form}");
            let received = upstream.the_request_for(&target);
            assert_eq!((received.method.as_str(), received.body.bytes), (method, body.to_string().into_bytes()));
            // What comes after the body is the next request.
            connection.write(&client.get("/logs-after/_search").bytes());
            assert_eq!(connection.answer().status, 200);
        }
    }
    // With a body that nobody reads, and one that is decided on as every body is.
    client.delete("/app-logs-a/_doc/1").body("application/json", "{}").expect(200);
    client.request("GET", "/logs-a/_msearch").body("application/x-ndjson", "{\"index\":\"pii-a\"}\n{}\n").expect(403);
}

#[test]
fn interim_answers_of_the_engine_stay_behind() {
    let (_upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        turn.write(b"HTTP/1.1 102 Processing\r\n\r\n");
        turn.write(&json_answer(200, "{}"));
    });
    let mut connection = client.connect();
    for _ in 0..3 {
        connection.write(&client.get("/logs-a/_search").bytes());
        // Python's own client would take any but `100 Continue` for the answer.
        let answer = connection.answer();
        assert_eq!((answer.status, answer.text().as_str(), answer.header("link")), (200, "{}", None));
    }
}

#[test]
fn trailers_of_the_engine_stay_behind() {
    let (_upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(
            b"HTTP/1.1 200 OK\r\ntrailer: x-late, set-cookie\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
        );
        turn.write(b"x-late: a\r\nset-cookie: security_authentication=admin\r\n\r\n");
    });
    let mut connection = client.connect();
    for _ in 0..3 {
        connection.write(&client.get("/logs-a/_search").bytes());
        // The harness takes an answer with trailers for none.
        let answer = connection.answer();
        assert_eq!((answer.status, answer.text().as_str(), answer.header("trailer")), (200, "{}", None));
    }
}
