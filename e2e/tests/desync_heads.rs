//! Heads and targets that can be read in two ways, each followed by a whole request on the same connection: the answers,
//! whether the connection goes on, and every byte that reached the engine's place, compared with what was rightly sent.

use stage::Stage;

#[path = "desync/stage.rs"]
mod stage;

const GET: &str = "GET /logs-a/_search HTTP/1.1";

#[test]
fn fields_that_can_be_read_in_two_ways() {
    let mut stage = Stage::new();
    for field in [
        // Folded and indented lines.
        " X: y",
        "\tX: y",
        "X: a\r\n b",
        "X: a\r\n\tb",
        "X: a\r\n ",
        "X:\r\n Authorization: Basic YTpi",
        // Line ends, alone or doubled, and NUL.
        "X: a\nX-Proxy-User: admin",
        "X: a\rX-Proxy-User: admin",
        "X: a\n\nGET /pii-customers/_search HTTP/1.1",
        "X: a\n\r\nGET /pii-customers/_search HTTP/1.1",
        "X: a\r\n\nGET /pii-customers/_search HTTP/1.1",
        "X: a\r",
        "X: a\n",
        "\rX: a",
        "\nX: a",
        "X: \0",
        "X\0: y",
        "X\r: y",
        "X\n: y",
        // What is no name.
        "X : y",
        "X\t: y",
        "X\x0b: y",
        ": y",
        " : y",
        "X",
        "X y: z",
        "\u{feff}X: y",
        "X\u{2010}Proxy\u{2010}User: admin",
        "X\u{a0}: y",
        "X\u{e4}: y",
        "X(y): z",
        "X,Y: z",
        "X;Y: z",
        "X=Y: z",
        "X/Y: z",
        "X@Y: z",
        "[X]: y",
        "{X}: y",
        "<X>: y",
        "\"X\": y",
        "X\\Y: z",
        "X?: y",
        "X\x7f: y",
        // What is no value.
        "X: a\x01",
        "X: a\x08",
        "X: a\x0b",
        "X: a\x0c",
        "X: a\x1b",
        "X: a\x7f",
        // Once, and once only.
        "Host: localhost",
        "HOST: pii.example.com",
        "Content-Type: a/b\r\ncontent-type: a/b",
        "Content-Encoding: gzip\r\nContent-Encoding: identity",
        "Expect: 100-continue\r\nExpect: 100-continue",
    ] {
        let bytes = stage.request(GET, &format!("{field}\r\n"), "");
        stage.refused(field, &bytes, 400, true);
    }
    stage.finish();
}

#[test]
fn one_host_and_only_a_host() {
    let mut stage = Stage::new();
    for host in [
        "",
        " ",
        "a b",
        "a,b",
        "a, b",
        "a\tb",
        "a/b",
        "/",
        "http://a",
        "user@a",
        "user:password@a",
        "a:b@c",
        "a?b",
        "a#b",
        "a\\b",
        "a:b",
        "a:-1",
        "a:+1",
        "a:1:2",
        "a:1a",
        "a: 1",
        "a:999999",
        ":443",
        "[::1",
        "::1",
        "[::1]x",
        "[a]",
        "a<b>",
        "a\"b",
        "a|b",
        "a^b",
        "a`b",
        "a{b}",
        "a%00b",
        "a%2fb",
        "a;b",
        "a\u{e4}b",
        "\u{ff0e}",
        "a\x7f",
    ] {
        let bytes = stage.request_to(host, GET, "", "");
        stage.refused(&format!("host {host}"), &bytes, 400, true);
    }
    let expected = stage.forwarded(GET, "", "", "");
    for host in ["a", "a:", "A.Example.COM", "a.b.", "a_b-c~d:9200", "127.0.0.1:1", "[::1]", "[2001:db8::1]:65535"] {
        let bytes = stage.request_to(host, GET, "", "");
        stage.check(host, &bytes, &[200], false, &expected);
    }
    for line in [GET, "GET http://localhost/logs-a/_search HTTP/1.1"] {
        let token = stage.client.authorization().expect("a token").to_owned();
        for fields in [format!("Authorization: {token}"), format!("X: Host: a\r\nAuthorization: {token}")] {
            stage.refused(&fields, format!("{line}\r\n{fields}\r\n\r\n").as_bytes(), 400, true);
        }
    }
    stage.finish();
}

#[test]
fn request_lines_that_can_be_read_in_two_ways() {
    let mut stage = Stage::new();
    for line in [
        "GET /logs-a/_search",
        "GET /logs-a/_search HTTP/1.1 HTTP/1.1",
        "GET /logs-a/_search HTTP/1.1\t",
        "GET /logs-a/_search\tHTTP/1.1",
        "GET\x0b/logs-a/_search HTTP/1.1",
        "GET\x0c/logs-a/_search HTTP/1.1",
        "GET\r/logs-a/_search HTTP/1.1",
        "GET\0 /logs-a/_search HTTP/1.1",
        "GET /logs-a/_search\rHTTP/1.1",
        "GET /logs-a/_search\nHTTP/1.1",
        "GET /logs-a/_search\0 HTTP/1.1",
        "\nGET /logs-a/_search HTTP/1.1",
        "\rGET /logs-a/_search HTTP/1.1",
        "\r\n\r\nGET /logs-a/_search HTTP/1.1",
        "\u{feff}GET /logs-a/_search HTTP/1.1",
        "GET /logs-a/_search HTTP/1",
        "GET /logs-a/_search HTTP/11",
        "GET /logs-a/_search HTTP/1.10",
        "GET /logs-a/_search HTTP/01.1",
        "GET /logs-a/_search HTTP/1,1",
        "GET /logs-a/_search HTTP/3",
        "GET /logs-a/_search HTTPS/1.1",
        "GET /logs-a/_search HTTP /1.1",
        "/logs-a/_search HTTP/1.1",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "GET: /logs-a/_search HTTP/1.1",
        "GE T /logs-a/_search HTTP/1.1",
        "GET logs-a/_search HTTP/1.1",
        "GET ?q=a HTTP/1.1",
        "GET #/logs-a/_search HTTP/1.1",
        "GET localhost/logs-a/_search HTTP/1.1",
        "GET http://localhost/logs-a/_search HTTP/1.1",
        "GET http://other.example.com/logs-a/_search HTTP/1.1",
        "GET http://localhost@other.example.com/logs-a/_search HTTP/1.1",
        "GET http:/logs-a/_search HTTP/1.1",
        "GET http:///logs-a/_search HTTP/1.1",
        "GET file:///logs-a/_search HTTP/1.1",
        "GET localhost:443 HTTP/1.1",
        "CONNECT localhost:443 HTTP/1.1",
        "CONNECT [::1]:443 HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
    ] {
        let bytes = stage.request(line, "", "");
        stage.refused(line, &bytes, 400, true);
    }
    stage.finish();
}

#[test]
fn paths_mean_the_same_to_everybody_or_nothing() {
    let mut stage = Stage::new();
    // Refused as they are, before anybody is asked what they mean.
    for target in [
        "/logs-a/../_cluster/health",
        "/logs-a/..",
        "/logs-a/%2e%2e/_cluster/health",
        "/logs-a/.%2E/_cluster/health",
        "/logs-a/..;/_cluster/health",
        "/logs-a/%2e%2e;a=b/_cluster/health",
        "/logs-a/./_search",
        "/./logs-a/_search",
        "/logs-a/%2e/_search",
        "/logs-a/.;/_search",
        "/logs-a/_search#",
        "/logs-a/_search?q=a#b",
        "/logs-a\\_search",
        "/logs-a/_search?q=\\",
        "/logs-a/..\\_cluster/health",
        "/logs-\u{e4}/_search",
        "/logs-a/_search?q=\u{e4}",
        "/logs-\x01/_search",
        "/logs-\x7f/_search",
    ] {
        let bytes = stage.request(&format!("GET {target} HTTP/1.1"), "", "");
        stage.refused(target, &bytes, 400, true);
    }
    // Refused for what they mean; the connection goes on.
    for (target, status) in [
        ("/logs-a%2f..%2f_cluster/health", 403),
        ("/logs-a/..%2f_cluster%2fhealth", 403),
        ("/logs-a/..%5c_cluster", 403),
        ("/logs-a/%252e%252e/_cluster/health", 403),
        ("//_cluster/health", 400),
        ("//logs-a/_search", 400),
        ("/logs-a//_search", 400),
        ("/logs-a/_search//", 400),
        ("/logs-a/_search;x=y", 403),
        ("/logs-a%2f_search", 403),
        ("/logs-a%2F_search", 403),
        ("/logs-a%00/_search", 400),
        ("/logs-a%0d%0aX:y/_search", 400),
        ("/logs-a%c0%afx/_search", 400),
        ("/%c0%ae%c0%ae/_cluster/health", 403),
        ("/logs-%e0%80%af/_search", 400),
        ("/logs-%f0%80%80%af/_search", 400),
        ("/logs-%ed%a0%80/_search", 400),
        ("/logs-%ff/_search", 400),
        ("/logs-%/_search", 400),
        ("/logs-%2/_search", 400),
        ("/logs-%zz/_search", 400),
        ("/logs-%u002f/_search", 400),
        ("/logs-a/_search%3fq=a", 403),
        ("/logs-a/_search%23", 403),
        ("/logs-a/_search%20", 403),
        ("/logs-a/_SEARCH", 403),
        ("/LOGS-A/_search", 403),
        ("/logs-a/%5fsearch", 403),
        ("/logs-a%2cpii-customers/_search", 403),
        ("/logs-a,pii-customers/_search", 403),
        ("/pii%2dcustomers/_search", 403),
        ("/%70ii-customers/_search", 403),
    ] {
        let bytes = stage.request(&format!("GET {target} HTTP/1.1"), "", "");
        stage.check(target, &bytes, &[status], false, b"");
    }
    // Understood, and passed on byte for byte.
    for target in [
        "/logs-a/_search?q=a/../b&r=//",
        "/%6cogs-a/_search",
        // To the engine a part of the name as any other.
        "/logs-a;x=y/_search",
        "/logs-a%3bx/_search",
        // The engine's to refuse: no decision hangs on it.
        "/logs-a/_search?q=%",
        "/logs-a/_search?q=%zz",
        "/logs-a/_search?q=%c0%af",
        "/logs-a/_search/",
        "/logs-a.b..c/_search",
    ] {
        let line = format!("GET {target} HTTP/1.1");
        let (bytes, expected) = (stage.request(&line, "", ""), stage.forwarded(&line, "", "", ""));
        stage.check(target, &bytes, &[200], false, &expected);
    }
    stage.finish();
}

#[test]
fn twins_of_names_the_engine_trusts_go_no_further() {
    let mut stage = Stage::new();
    let mut fields = String::new();
    for name in ["X-Proxy-User", "X-Proxy-Roles", "X-Forwarded-For", "Opendistro-Security-Impersonate-As", "Host-"] {
        for twin in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            for separator in ["-", "_", "."] {
                fields += &format!("{}: admin\r\n", twin.replace('-', separator));
            }
        }
        fields += &format!("_{name}: admin\r\n{name}_: admin\r\n.{name}.: admin\r\n");
    }
    fields += "Authorization_: Basic YTpi\r\nAuthorization.: Basic YTpi\r\nTransfer_Encoding: chunked\r\nContent_Length: 9\r\n";
    fields += "Connection: authorization, host, x-opaque-ids, x-proxy-user\r\nTE: trailers\r\nUpgrade: h2c\r\n";
    let (bytes, expected) = (stage.request(GET, &fields, ""), stage.forwarded(GET, "", "", ""));
    stage.check("twins", &bytes, &[200], false, &expected);
    // Two credentials are none, however the second is spelled.
    for name in ["Authorization", "authorization", "AUTHORIZATION"] {
        let bytes = stage.request(GET, &format!("{name}: Basic YTpi\r\n"), "");
        stage.check(name, &bytes, &[400], false, b"");
    }
    stage.finish();
}

#[test]
fn heads_over_the_limits_end_the_connection() {
    let mut stage = Stage::new();
    let long = "y".repeat(64 * 1024);
    for (line, fields, status) in [
        (GET.to_owned(), format!("X: {long}\r\n"), 431),
        (GET.to_owned(), format!("{long}: y\r\n"), 431),
        (GET.to_owned(), "X: y\r\n".repeat(300), 431),
        (GET.to_owned(), "X: y\r\n".repeat(20_000), 431),
        (format!("GET /logs-a/_search?q={long} HTTP/1.1"), String::new(), 414),
        (format!("{long} / HTTP/1.1"), String::new(), 414),
    ] {
        let bytes = stage.request(&line, &fields, "");
        stage.refused(&format!("{} bytes, {status}", bytes.len()), &bytes, status, true);
    }
    stage.finish();
}

#[test]
fn in_a_row_of_requests_a_broken_one_is_the_last() {
    let mut stage = Stage::new();
    let good = stage.request(GET, "", "");
    let passed = stage.forwarded(GET, "", "", "");
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "X: a\r\n b\r\n",
        "X: a\nY: b\r\n",
        "X : a\r\n",
        "Host: b\r\n",
    ] {
        let broken = stage.request(GET, fields, "");
        let row = [good.as_slice(), &good, &broken, &good].concat();
        stage.check(fields, &row, &[200, 200, 400], true, &passed.repeat(2));
    }
    // What is read in one way and refused ends nothing.
    let refused = stage.request("GET /pii-customers/_search HTTP/1.1", "", "");
    let row = [good.as_slice(), &refused, &good, &refused].concat();
    stage.check("refused", &row, &[200, 403, 200, 403], false, &passed.repeat(2));
    // Version 1.0 keeps no connection, whatever it says.
    for fields in ["", "Connection: keep-alive\r\n"] {
        let old = stage.request("GET /logs-a/_search HTTP/1.0", fields, "");
        stage.check("HTTP/1.0", &[good.as_slice(), &old, &good].concat(), &[200, 200], true, &passed.repeat(2));
    }
    // One that asks for the end gets it.
    let last = stage.request(GET, "Connection: close\r\n", "");
    stage.check("close", &[good.as_slice(), &last, &good].concat(), &[200, 200], true, &passed.repeat(2));
    stage.finish();
}
