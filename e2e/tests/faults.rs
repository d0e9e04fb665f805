//! What goes wrong around the gateway: the engine restarts under load, its certificate runs out, either side is slow, and
//! connections come in heaps. Whoever is told anything is told it cleanly, nothing is done twice, and all goes on by itself.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{Gateway, Received, Settings, Upstream, json_answer, until};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

fn settings() -> Settings {
    Settings::new().client("both", &["read:logs-*", "write:app-logs-*"])
}

#[test]
fn an_engine_that_restarts_under_load_costs_clean_refusals_and_no_write_twice() {
    let is_dying = Arc::new(AtomicBool::new(false));
    let dying = Arc::clone(&is_dying);
    let first = Upstream::start(move |turn| {
        turn.read_body();
        // What has arrived may be done, and nobody is told.
        if dying.load(Ordering::SeqCst) { turn.close() } else { turn.write(&json_answer(200, "{}")) }
    });
    let gateway = Gateway::start(settings().upstream(&first.url()));
    let both = gateway.with("both");
    let written = Mutex::new(HashMap::<String, u16>::new());
    let count = |status: u16| written.lock().expect("the lock").values().filter(|known| **known == status).count();
    let is_over = AtomicBool::new(false);
    let numbers = AtomicUsize::new(0);
    let second = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let target = format!("/app-logs-a/_doc/{}", numbers.fetch_add(1, Ordering::SeqCst));
                    let status = both.put(&target).json(&json!({"a": 1})).send().status;
                    written.lock().expect("the lock").insert(target, status);
                }
            });
        }
        let over = e2e::OnDrop(|| is_over.store(true, Ordering::SeqCst));
        let wait_for = |what: &str, status: u16, more: usize| {
            let before = count(status);
            until(what, Duration::from_secs(60), || (count(status) >= before + more).then_some(()));
        };
        wait_for("writes", 200, 100);
        is_dying.store(true, Ordering::SeqCst);
        wait_for("writes that break off", 500, 1);
        first.stop();
        wait_for("refusals", 503, 50);
        let second = Upstream::start_on(first.port(), |turn| turn.oblige());
        wait_for("writes to go on", 200, 100);
        drop(over);
        second
    });
    let arrived: Vec<Received> = first.requests().into_iter().chain(second.requests()).collect();
    let mut times = HashMap::<&str, usize>::new();
    for request in &arrived {
        *times.entry(&request.target).or_default() += 1;
    }
    for (target, status) in written.into_inner().expect("the lock") {
        let times = times.get(target.as_str()).copied().unwrap_or_default();
        match status {
            200 => assert_eq!(times, 1, "{target}"),
            500 => assert!(times <= 1, "{target}: {times}"),
            503 => assert_eq!(times, 0, "{target}: a refusal that says nothing got there"),
            status => panic!("{target}: {status}"),
        }
    }
    both.get("/logs-a/_search").expect(200);
}

/// A server with TLS whose certificate can be replaced; it answers `{}` and closes.
struct TlsUpstream {
    port: u16,
    key: KeyPair,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsUpstream {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let key = KeyPair::generate().expect("a key");
        let config = Arc::new(Mutex::new(Self::config(&key, 2999)));
        let shared = Arc::clone(&config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&shared.lock().expect("the lock"));
                std::thread::spawn(move || answer(stream, config));
            }
        });
        Self { port, key, config }
    }

    fn certificate(key: &KeyPair, last_year: i32) -> rcgen::Certificate {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        params.self_signed(key).expect("a certificate")
    }

    fn config(key: &KeyPair, last_year: i32) -> Arc<ServerConfig> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let chain = vec![Self::certificate(key, last_year).der().clone()];
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a certificate");
        // Every connection is to look at the certificate.
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }

    /// Shows a certificate that is valid until the first day of this year.
    fn show(&self, last_year: i32) {
        *self.config.lock().expect("the lock") = Self::config(&self.key, last_year);
    }

    /// What is to be trusted: name and key, whatever the dates.
    fn pem(&self) -> String {
        Self::certificate(&self.key, 2999).pem()
    }
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).expect("a session"), stream);
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(1..) => head.extend_from_slice(&buffer),
            Ok(0) | Err(_) => return,
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

#[test]
fn an_engine_whose_certificate_has_run_out_is_not_spoken_to_until_it_has_another() {
    let engine = TlsUpstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("engine-ca.pem");
    std::fs::write(&ca, engine.pem()).expect("write the certificates");
    let url = format!("https://localhost:{}", engine.port);
    let gateway = Gateway::start(settings().upstream(&url).engine_option("ca", json!(ca)));
    let both = gateway.with("both");
    both.get("/logs-a/_search").expect(200);
    engine.show(2020);
    for _ in 0..5 {
        let answer = both.put("/app-logs-a/_doc/1").json(&json!({})).expect(503);
        assert_eq!(answer.json()["error"]["type"], "gateway_exception");
    }
    until("a word about it", Duration::from_secs(10), || {
        let log = gateway.log().to_lowercase();
        (log.contains("certificate") && log.contains("expired")).then_some(())
    });
    engine.show(2999);
    until("the engine to be asked again", Duration::from_secs(30), || {
        (both.get("/logs-a/_search").send().status == 200).then_some(())
    });
}

#[test]
fn who_takes_or_gives_an_answer_too_slowly_is_cut_off() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        match turn.received.target.as_str() {
            "/logs-large/_search" => {
                turn.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
                let piece = vec![b' '; 1024 * 1024];
                for _ in 0..1000 {
                    if turn.keeps_open() {
                        turn.write(&piece);
                    }
                }
                turn.close();
            }
            // A head that never ends, a piece at a time.
            "/logs-drip/_search" => {
                turn.write(b"HTTP/1.1 200 OK\r\n");
                while turn.keeps_open() {
                    turn.write(b"x-a: b\r\n");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            _ => turn.write(&json_answer(200, "{}")),
        }
    });
    let gateway = Gateway::start(settings().upstream(&upstream.url()).limit("body_timeout", json!("2s")));
    let both = gateway.with("both");
    both.get("/logs-a/_search").expect(200);
    gateway.reset_peak();
    let (before, _) = gateway.resident_kib();
    let mut slow = both.connect();
    slow.write(&both.get("/logs-large/_search").bytes());
    until("the answer", Duration::from_secs(10), || {
        (!upstream.requests_for("/logs-large/_search").is_empty()).then_some(())
    });
    let event = gateway.audit_where("the answer nobody took", |event| event["path"] == "/logs-large/_search");
    assert!(event["bytes_out"].as_u64().is_some_and(|bytes| bytes < 100_000_000), "{event}");
    assert!(slow.answer_to("GET").is_err(), "the answer looked whole");
    let answer = both.get("/logs-drip/_search").send();
    assert_eq!(answer.status, 504, "{}", answer.text());
    both.get("/logs-a/_search").expect(200);
    let (_, peak) = gateway.resident_kib();
    assert!(peak < before + 8 * 1024, "{before} KiB before, {peak} KiB at most");
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_harm_nobody() {
    const CONNECTIONS: usize = 10_000;
    /// Of memory for one that waits, TLS included.
    const KIB_EACH: u64 = 32;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // The gateway inherits it.
    setrlimit(Resource::Nofile, limit).expect("more open files");
    assert!(limit.maximum.is_none_or(|most| most > 10_500), "this needs `ulimit -Hn` above 10500");
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()).limit("idle_timeout", json!("1h")));
    let both = gateway.with("both");
    both.get("/logs-a/_search").expect(200);
    let (before, _) = gateway.resident_kib();
    let idle = Mutex::new(Vec::with_capacity(CONNECTIONS));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..CONNECTIONS / 4 {
                    let mut connection = both.connect();
                    connection.write(&both.get("/logs-a/_search").bytes());
                    assert_eq!(connection.answer().status, 200);
                    idle.lock().expect("the lock").push(connection.into_socket());
                }
            });
        }
    });
    assert!(gateway.metric("oauth4os_connections") >= 10_000.0);
    let (after, _) = gateway.resident_kib();
    let each = (after - before) / CONNECTIONS as u64;
    println!("{CONNECTIONS} idle connections: {before} KiB before, {after} KiB after, {each} KiB each");
    assert!(each <= KIB_EACH, "{each} KiB each");
    for _ in 0..100 {
        both.get("/logs-a/_search").expect(200);
    }
    drop(idle);
    until("all to be closed", Duration::from_secs(60), || {
        (gateway.metric("oauth4os_connections") <= 8.0).then_some(())
    });
    both.get("/logs-a/_search").expect(200);
}
