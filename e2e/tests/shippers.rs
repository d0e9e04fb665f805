//! What shippers send, byte for byte as they write it, with id and secret by HTTP Basic where they know nothing else: taken
//! for what it is, held to the index it is for.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Answer, ClientSettings, Connection, Engine, Gateway, OnDrop, Settings};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const PREFIX: &str = "app-logs-e2e-ship";

fn settings() -> Settings {
    let ingest = format!("ingest:{PREFIX}-*");
    let basic = |id: &str| ClientSettings::new(id, &[&ingest]).with("basic", json!(true));
    Settings::new()
        .client_with(basic("fluent-bit"))
        .client_with(basic("logstash"))
        .client_with(basic("vector"))
        .client("collector", &[&ingest])
        .client("data-prepper", &[&ingest])
}

/// What a shipper writes before each body: its request line, and its fields in its order.
struct Shipper {
    client: &'static str,
    request_line: &'static str,
    fields: &'static [&'static str],
    /// How it writes `Authorization` and what follows the scheme.
    authorization: &'static str,
    gzip: bool,
    /// In one piece with a length, or in chunks.
    chunked: bool,
}

const SHIPPERS: [Shipper; 8] = [
    Shipper {
        client: "fluent-bit",
        request_line: "POST /_bulk HTTP/1.1",
        fields: &["User-Agent: Fluent-Bit", "Content-Type: application/x-ndjson"],
        authorization: "Authorization: Basic",
        gzip: false,
        chunked: false,
    },
    Shipper {
        client: "fluent-bit",
        request_line: "POST /_bulk HTTP/1.1",
        fields: &["User-Agent: Fluent-Bit", "Content-Type: application/x-ndjson", "Content-Encoding: gzip"],
        authorization: "Authorization: Basic",
        gzip: true,
        chunked: false,
    },
    Shipper {
        client: "logstash",
        request_line: "POST /_bulk?filter_path=errors,items.*.error,items.*.status HTTP/1.1",
        fields: &[
            "Connection: Keep-Alive",
            "User-Agent: logstash/8.9.0 (OS=Linux-6.1; JVM=Eclipse-Adoptium-17) logstash-output-opensearch/2.0.3",
            "x-elastic-product-origin: logstash-output-elasticsearch",
            "Content-Type: application/json",
            "Accept-Encoding: gzip,deflate",
        ],
        authorization: "Authorization: Basic",
        gzip: false,
        chunked: false,
    },
    Shipper {
        client: "logstash",
        request_line: "POST /_bulk?filter_path=errors,items.*.error,items.*.status HTTP/1.1",
        fields: &[
            "Connection: Keep-Alive",
            "User-Agent: logstash/8.9.0 (OS=Linux-6.1; JVM=Eclipse-Adoptium-17) logstash-output-opensearch/2.0.3",
            "Content-Encoding: gzip",
            "Content-Type: application/json",
            "Accept-Encoding: gzip,deflate",
        ],
        authorization: "Authorization: Basic",
        gzip: true,
        chunked: false,
    },
    Shipper {
        client: "vector",
        request_line: "POST /_bulk?timeout=60s HTTP/1.1",
        fields: &[
            "content-type: application/x-ndjson",
            "content-encoding: gzip",
            "user-agent: Vector/0.51.0 (x86_64-unknown-linux-gnu)",
            "accept-encoding: identity",
        ],
        authorization: "authorization: Basic",
        gzip: true,
        chunked: false,
    },
    Shipper {
        client: "collector",
        request_line: "POST /_bulk HTTP/1.1",
        fields: &[
            "User-Agent: opensearch-go/2.3.0 (linux amd64; Go 1.26)",
            "Content-Type: application/json",
            "Accept-Encoding: gzip",
        ],
        authorization: "Authorization: Bearer",
        gzip: false,
        chunked: false,
    },
    Shipper {
        client: "collector",
        request_line: "POST /_bulk HTTP/1.1",
        fields: &[
            "User-Agent: opensearch-go/2.3.0 (linux amd64; Go 1.26)",
            "Content-Encoding: gzip",
            "Content-Type: application/json",
            "Accept-Encoding: gzip",
        ],
        authorization: "Authorization: Bearer",
        gzip: true,
        chunked: true,
    },
    Shipper {
        client: "data-prepper",
        request_line: "POST /_bulk HTTP/1.1",
        fields: &[
            "accept: application/json",
            "Content-Type: application/json; charset=UTF-8",
            "User-Agent: opensearch-java/2.22.0 (Java/17.0.9)",
        ],
        authorization: "Authorization: bearer",
        gzip: false,
        chunked: true,
    },
];

impl Shipper {
    /// The action line each writes, for an event that goes to `index`.
    fn action(&self, index: &str, is_data_stream: bool) -> String {
        let name = match (self.client, is_data_stream) {
            ("logstash" | "vector" | "fluent-bit", false) => "index",
            _ => "create",
        };
        match self.client {
            // Logstash writes what it has no value for.
            "logstash" if is_data_stream => json!({name: {"_index": index, "routing": null}}),
            "logstash" => json!({name: {"_id": null, "_index": index, "routing": null}}),
            "data-prepper" => json!({name: {"_index": index, "require_alias": false}}),
            _ => json!({name: {"_index": index}}),
        }
        .to_string()
    }

    fn send(&self, gateway: &Gateway, connection: &mut Connection, lines: &str) -> Answer {
        let credential = if self.authorization.ends_with("Basic") {
            STANDARD.encode(format!("{}:{}", self.client, gateway.secret(self.client)))
        } else {
            gateway.token(self.client)
        };
        let body = if self.gzip { zipped(lines) } else { lines.as_bytes().to_vec() };
        let mut head = format!("{}\r\nHost: localhost:{}\r\n", self.request_line, gateway.port());
        for field in self.fields {
            let _ = write!(head, "{field}\r\n");
        }
        let _ = write!(head, "{} {credential}\r\n", self.authorization);
        let mut request = if self.chunked {
            let _ = write!(head, "Transfer-Encoding: chunked\r\n\r\n");
            let mut request = head.into_bytes();
            for piece in body.chunks(700) {
                request.extend_from_slice(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
            }
            request.extend_from_slice(b"0\r\n");
            request
        } else {
            let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), &body].concat()
        };
        if self.chunked {
            request.extend_from_slice(b"\r\n");
        }
        connection.write(&request);
        connection.answer()
    }

    fn name(&self) -> String {
        let gzip = if self.gzip { " with gzip" } else { "" };
        format!("{}{gzip}", self.client)
    }
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn events(shipper: &Shipper, index: &str, is_data_stream: bool, count: usize) -> String {
    let action = shipper.action(index, is_data_stream);
    (0..count)
        .map(|number| {
            let event = json!({"@timestamp": format!("2026-11-22T12:00:{:02}.000Z", number % 60), "log": format!("GET /orders/{number} äöü"), "stream": "stdout"});
            format!("{action}\n{event}\n")
        })
        .collect()
}

/// Every item was taken; with `filter_path` a shipper sees nothing but that.
fn all_taken(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["errors"], false, "{what}: {answer}");
    let items = answer["items"].as_array().expect("items");
    let created = |item: &Value| item.as_object().is_some_and(|item| item.values().all(|one| one["status"] == 201));
    assert!(items.iter().all(created), "{what}: {answer}");
}

#[test]
fn each_shipper_writes_its_own_index_and_no_other() {
    let engine = Engine::get();
    let clear = || engine.delete_index(&format!("{PREFIX}-*"));
    clear();
    let _remove = OnDrop(clear);
    let customers = engine.count("pii-customers");
    let gateway = Gateway::start(settings());
    for (number, shipper) in SHIPPERS.iter().enumerate() {
        let what = shipper.name();
        let index = format!("{PREFIX}-{}-{number}-2026.11.22", shipper.client);
        let mut connection = gateway.http().connect();
        for _ in 0..3 {
            // Batches go over one connection.
            all_taken(&shipper.send(&gateway, &mut connection, &events(shipper, &index, false, 200)), &what);
        }
        assert_eq!(engine.count(&index), 600, "{what}");

        // An event for another index holds back the batch, with a sentence that a shipper logs.
        let mixed = events(shipper, &index, false, 3) + &events(shipper, "pii-customers", false, 1);
        let refused = shipper.send(&gateway, &mut gateway.http().connect(), &mixed);
        let reason = refused.json()["error"]["reason"].as_str().expect("a reason").to_owned();
        assert_eq!(refused.status, 403, "{what}: {reason}");
        assert!(reason.contains("the operation `bulk` needs the scope `ingest:pii-customers`"), "{what}: {reason}");
        // What is there stays as it is: `ingest` neither changes nor deletes.
        for line in [
            format!("{{\"delete\":{{\"_index\":\"{index}\",\"_id\":\"1\"}}}}\n"),
            format!("{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"1\"}}}}\n{{}}\n"),
        ] {
            let refused = shipper.send(&gateway, &mut gateway.http().connect(), &line);
            assert_eq!(refused.status, 403, "{what}: {}", refused.text());
        }
        assert_eq!((engine.count(&index), engine.count("pii-customers")), (600, customers), "{what}");
    }
}

#[test]
fn data_streams_are_written_to_by_create() {
    let engine = Engine::get();
    let admin = engine.admin();
    let template = format!("/_index_template/{PREFIX}-streams");
    let clear = || {
        let _ = engine.admin().delete(&format!("/_data_stream/{PREFIX}-stream-*")).send();
        let _ = engine.admin().delete(&format!("/_index_template/{PREFIX}-streams")).send();
    };
    clear();
    let _remove = OnDrop(clear);
    let body = json!({"index_patterns": [format!("{PREFIX}-stream-*")], "data_stream": {}, "priority": 500,
        "template": {"settings": {"number_of_replicas": 0}}});
    admin.put(&template).json(&body).expect(200);
    let gateway = Gateway::start(settings());
    for (number, shipper) in SHIPPERS.iter().enumerate() {
        let stream = format!("{PREFIX}-stream-{number}");
        let mut connection = gateway.http().connect();
        all_taken(&shipper.send(&gateway, &mut connection, &events(shipper, &stream, true, 100)), &shipper.name());
        assert_eq!(engine.count(&stream), 100, "{}", shipper.name());
        // The index behind it is the engine's business: nobody writes there by its name.
        let behind = format!(".ds-{stream}-000001");
        let refused = shipper.send(&gateway, &mut connection, &events(shipper, &behind, true, 1));
        assert_eq!(refused.status, 403, "{}: {}", shipper.name(), refused.text());
    }
}

/// What they ask besides, when they start and to see whether the other side is well.
#[test]
fn what_they_ask_besides_does_not_lead_them_astray() {
    let gateway = Gateway::start(settings());
    let logstash = gateway.http().with_basic("logstash", gateway.secret("logstash"));
    assert_eq!(logstash.request("HEAD", "/").send().status, 200);
    assert!(logstash.get("/").expect(200).json()["version"]["number"].is_string());
    // Licences and templates are not theirs, and where nodes are is nobody's business; each is a clear no, at once.
    for target in ["/_license", "/_xpack", "/_nodes/http", "/_cluster/health"] {
        let answer = logstash.get(target).send();
        assert!(matches!(answer.status, 403 | 404), "{target}: {} {}", answer.status, answer.text());
        assert!(answer.json()["error"]["reason"].is_string(), "{target}: {}", answer.text());
    }
    logstash.put("/_index_template/logstash").json(&json!({"index_patterns": ["logstash-*"]})).expect(403);
    logstash.get(&format!("/{PREFIX}-any/_search")).expect(403);
    // Wrong secrets are 401, which all of them report.
    gateway.http().with_basic("logstash", "wrong").get("/").expect(401);
}
