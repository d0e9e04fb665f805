//! Rates of the configuration's `rates`: for whom requests are counted, and by what they touch.

use std::time::Instant;

use e2e::{Answer, Client, ClientSettings, Engine, Gateway, OnDrop, Received, Settings, Upstream};
use serde_json::{Value, json};

const INDEX: &str = "e2e-rates-orders";
const ALIAS: &str = "e2e-rates-current";

fn rule(name: &str, per: &str, burst: u32) -> Value {
    json!({"name": name, "per": per, "limit": {"requests_per_second": 1, "burst": burst}})
}

fn with(mut rule: Value, key: &str, value: &str) -> Value {
    rule[key] = json!(value);
    rule
}

fn settings(rules: &[Value]) -> Settings {
    let all = ["read:*", "write:*", "monitor:cluster"];
    Settings::new().client("one", &all).client("two", &all).top("rates", json!(rules))
}

fn start(settings: Settings) -> Gateway {
    Gateway::start(settings.upstream(&Upstream::obliging().url()))
}

/// How many pass before one is refused, and that.
fn drain(ask: impl Fn() -> Answer) -> (u64, Answer) {
    let mut passed = 0;
    loop {
        let answer = ask();
        if answer.status == 429 {
            return (passed, answer);
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        passed += 1;
        assert!(passed < 10_000, "nothing is refused");
    }
}

/// However slow the machine: the whole burst, and one more for each second that has begun.
fn is_burst(passed: u64, burst: u64, begun: Instant) {
    let most = burst + begun.elapsed().as_secs() + 1;
    assert!((burst..=most).contains(&passed), "{passed} passed, with a burst of {burst}");
}

fn bulk(client: &Client, indices: &[&str]) -> Answer {
    let lines: String =
        indices.iter().map(|index| format!("{{\"index\":{{\"_index\":\"{index}\"}}}}\n{{}}\n")).collect();
    client.post("/_bulk").body("application/x-ndjson", lines.into_bytes()).send()
}

#[test]
fn only_what_touches_the_scope_is_counted_whatever_it_is_asked_by() {
    let gateway = start(settings(&[
        with(rule("searches", "client", 20), "scope", "search:logs-*"),
        with(rule("writes", "client", 20), "scope", "write:logs-*"),
    ]));
    let one = gateway.with("one");
    let begun = Instant::now();
    // The first twenty by all the ways to ask; what each passes depends on none.
    let ways = ["/logs-a/_search", "/logs-*/_search", "/*/_search", "/_search", "/orders,logs-b/_count", "/l*/_search"];
    for way in ways.iter().cycle().take(20) {
        one.get(way).expect(200);
    }
    let msearch = b"{\"index\":\"orders\"}\n{}\n{\"index\":\"logs-a\"}\n{}\n".to_vec();
    let (passed, refused) = drain(|| one.post("/_msearch").body("application/x-ndjson", msearch.clone()).send());
    is_burst(20 + passed, 20, begun);
    assert_eq!(refused.json()["error"]["type"], "rate_limit_exceeded_exception");
    let reason = refused.json()["error"]["reason"].to_string();
    assert!(reason.contains("`searches`") && reason.contains("Retry-After"), "{reason}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"searches\";q=20;w=20"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    for way in ways {
        drain(|| one.get(way).send());
    }
    // A search of anything else, a document by its id, the cluster, and what is written.
    for way in ["/orders/_search", "/*,-logs-*/_search", "/logs-a/_doc/1", "/_cluster/health"] {
        for _ in 0..30 {
            one.get(way).expect(200);
        }
    }
    // A body counts by its lines, once for all of them.
    for _ in 0..30 {
        assert_eq!(bulk(&one, &["orders", "orders-b"]).status, 200);
    }
    let begun = Instant::now();
    let (passed, refused) = drain(|| bulk(&one, &["orders", "logs-a", "logs-b", "logs-a"]));
    is_burst(passed, 20, begun);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"writes\";q=20;w=20"));
    // Somebody else has all of theirs.
    let (begun, two) = (Instant::now(), gateway.with("two"));
    is_burst(drain(|| two.get("/logs-a/_search").send()).0, 20, begun);
    let event = gateway.audit_of(refused.request_id());
    assert_eq!((&event["decision"], &event["status"]), (&json!("deny"), &json!(429)), "{event}");
    assert!(gateway.metric("oauth4os_over_rate_total{rate=\"rule\",mode=\"enforce\"}") >= 3.0);
}

#[test]
fn a_bulk_over_the_rate_leaves_nothing_behind() {
    let upstream = Upstream::obliging();
    let rules = [with(rule("writes", "client", 1), "scope", "write:logs-*")];
    let gateway = Gateway::start(settings(&rules).upstream(&upstream.url()));
    let one = gateway.with("one");
    let (first, _) = drain(|| bulk(&one, &["logs-a"]));
    let (second, refused) = drain(|| bulk(&one, &["orders", "logs-a"]));
    assert_eq!(refused.status, 429);
    // What passed did so whole; what was refused did not arrive to its end.
    let complete = |request: &Received| request.body.is_complete && request.target == "/_bulk";
    let complete = upstream.requests().into_iter().filter(complete).count();
    assert_eq!(u64::try_from(complete).expect("a number"), first + second);
}

#[test]
fn a_tenant_is_counted_as_a_whole() {
    let client =
        |id: &str, namespace: &str| ClientSettings::new(id, &["read:logs-*"]).with("namespace", json!(namespace));
    let settings = Settings::new()
        .client_with(client("web", "acme-web"))
        .client_with(client("jobs", "acme-jobs"))
        .client_with(client("other", "globex"))
        .client("free", &["read:logs-*"])
        .top(
            "namespaces",
            json!([
                {"name": "acme"},
                {"name": "acme-web", "parent": "acme"},
                {"name": "acme-jobs", "parent": "acme"},
                {"name": "globex"},
            ]),
        )
        .top("rates", json!([rule("tenants", "tenant", 10)]));
    let gateway = start(settings);
    let search = |client: &Client| client.get("/logs-a/_search").send();
    let [web, jobs, other, free] = ["web", "jobs", "other", "free"].map(|id| gateway.with(id));
    let begun = Instant::now();
    for client in [&web, &jobs, &web, &jobs, &web, &jobs] {
        assert_eq!(search(client).status, 200);
    }
    let (passed, _) = drain(|| search(&web));
    is_burst(6 + passed, 10, begun);
    // Nothing is left for the others of the tenant; another tenant has its own, and who is in none is not counted.
    let (passed, refused) = drain(|| search(&jobs));
    assert!(passed <= begun.elapsed().as_secs() + 1, "{passed}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"tenants\";q=10;w=10"));
    let begun = Instant::now();
    is_burst(drain(|| search(&other)).0, 10, begun);
    for _ in 0..50 {
        assert_eq!(search(&free).status, 200);
    }
}

#[test]
fn addresses_and_the_gateway_are_counted_over_all_clients() {
    let gateway = start(
        settings(&[rule("places", "address", 10), rule("everybody", "gateway", 40)])
            .top("trusted_proxies", json!({"networks": ["127.0.0.10"], "tell_by": "x_forwarded_for"})),
    );
    let (one, two) = (gateway.with("one"), gateway.with("two"));
    let from = |client: &Client, address: &str| {
        client.from_address([127, 0, 0, 10].into()).get("/logs-a/_search").header("X-Forwarded-For", address).send()
    };
    let begun = Instant::now();
    let (first, refused) = drain(|| from(&one, "192.0.2.1"));
    is_burst(first, 10, begun);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"places\";q=10;w=10"));
    let (second, _) = drain(|| from(&two, "192.0.2.1"));
    assert!(second <= begun.elapsed().as_secs() + 1, "{second}");
    // All addresses of one network are one; other places have their own, until all together are too many.
    let mut all = first + second;
    let mut number = 0;
    let refused = loop {
        number += 1;
        assert!(number < 1_000, "nothing is refused");
        let answer = from(&two, &format!("2001:db8::{number}"));
        if answer.status == 429 {
            break answer;
        }
        all += 1;
    };
    assert_eq!(refused.header("ratelimit-policy"), Some("\"places\";q=10;w=10"));
    let refused = loop {
        number += 1;
        assert!(number < 10_000, "nothing is refused");
        let answer = from(&one, &format!("2001:db8:0:{number:x}::1"));
        if answer.status == 429 {
            break answer;
        }
        all += 1;
    };
    assert_eq!(refused.header("ratelimit-policy"), Some("\"everybody\";q=40;w=40"));
    is_burst(all, 40, begun);
}

#[test]
fn a_rate_holds_over_connections_and_workers() {
    let gateway = start(settings(&[with(rule("searches", "gateway", 60), "scope", "search:logs-*")]));
    let (one, two) = (gateway.with("one"), gateway.with("two"));
    let begun = Instant::now();
    let passed: u64 = std::thread::scope(|scope| {
        let send =
            |client: &Client| (0..25).filter(|_| client.get("/logs-a/_search").send().status == 200).count() as u64;
        let clients = [&one, &two].into_iter().cycle().take(8);
        let threads: Vec<_> = clients.map(|client| scope.spawn(move || send(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    is_burst(passed, 60, begun);
}

#[test]
fn observing_tells_the_operator_and_a_dry_run_the_client_too() {
    let gateway = start(settings(&[
        with(rule("watched", "client", 2), "mode", "observe"),
        with(with(rule("coming", "client", 4), "mode", "dry_run"), "scope", "search:logs-*"),
    ]));
    let one = gateway.with("one");
    let answers: Vec<Answer> = (0..20).map(|_| one.get("/logs-a/_search").expect(200)).collect();
    let (first, last) = (&answers[0], &answers[19]);
    assert_eq!(first.header("ratelimit-policy"), Some("\"coming\";q=4;w=4"));
    assert_eq!((first.header("ratelimit"), first.header("x-oauth4os-would-limit")), (Some("\"coming\";r=3;t=1"), None));
    assert_eq!(last.header("x-oauth4os-would-limit"), Some("\"coming\";t=1"));
    let event = gateway.audit_of(last.request_id());
    assert_eq!((&event["decision"], &event["status"]), (&json!("allow"), &json!(200)), "{event}");
    assert!(event["observed"].as_str().is_some_and(|what| what.contains("`coming`")), "{event}");
    // Of the one that is only watched the client hears nothing.
    let other = one.get("/orders/_search").expect(200);
    assert_eq!((other.header("ratelimit"), other.header("x-oauth4os-would-limit")), (None, None));
    let event = gateway.audit_of(other.request_id());
    assert!(event["observed"].as_str().is_some_and(|what| what.contains("`watched`")), "{event}");
    for (mode, least) in [("observe", 10.0), ("dry_run", 8.0)] {
        let metric = gateway.metric(&format!("oauth4os_over_rate_total{{rate=\"rule\",mode=\"{mode}\"}}"));
        assert!(metric >= least, "{mode}: {metric}");
    }
    // A refusal for another reason tells of it, too.
    let denied = one.get("/logs-a/_search?q=x&access_token=y").expect(400);
    assert_eq!(denied.header("x-oauth4os-would-limit"), None);

    // The rates that are always there have the same modes.
    let gateway = start(
        Settings::new()
            .client("one", &["read:logs-*"])
            .limit("per_client", json!({"requests_per_second": 1, "burst": 2}))
            .limit("rate_mode", json!("dry_run")),
    );
    let one = gateway.with("one");
    let last = (0..20).map(|_| one.get("/logs-a/_search").expect(200)).reduce(|_, last| last).expect("an answer");
    assert_eq!(last.header("x-oauth4os-would-limit"), Some("\"client\";t=1"));
    let refused = one.get("/pii-a/_search").expect(403);
    assert_eq!(refused.header("x-oauth4os-would-limit"), Some("\"client\";t=1"));
    assert!(gateway.metric("oauth4os_over_rate_total{rate=\"client\",mode=\"dry_run\"}") >= 10.0);
}

#[test]
fn the_longest_wait_is_told_and_a_refused_request_uses_up_nothing() {
    let slow = json!({"name": "slow", "per": "client", "limit": {"requests_per_second": 1, "burst": 1}});
    let wide = json!({"name": "wide", "per": "client", "limit": {"requests_per_second": 1, "burst": 1000}});
    let settings = settings(&[wide, slow]).limit("rate_headers", json!("all"));
    let gateway = start(settings);
    let one = gateway.with("one");
    let (passed, refused) = drain(|| one.get("/logs-a/_search").send());
    let more = (0..200).filter(|_| one.get("/logs-a/_search").send().status == 200).count() as u64;
    let told: Vec<&str> = refused.every("ratelimit-policy");
    assert_eq!(told.first(), Some(&"\"slow\";q=1;w=1"), "{told:?}");
    // Of the wide one only what passed is used up.
    let answer = loop {
        let answer = one.get("/logs-a/_search").send();
        if answer.status == 200 {
            break answer;
        }
    };
    let wide = answer.every("ratelimit").into_iter().find(|told| told.starts_with("\"wide\"")).expect("a standing");
    let left: u64 =
        wide.split("r=").nth(1).and_then(|rest| rest.split(';').next()).expect("r").parse().expect("a number");
    assert!(left >= 1000 - passed - more - 10, "{wide}, and {passed} and {more} had passed");
}

#[test]
fn rules_are_reloaded_and_keep_their_counts() {
    let gateway = start(settings(&[rule("all", "client", 30)]));
    let one = gateway.with("one");
    let search = || one.get("/logs-a/_search").send();
    let begun = Instant::now();
    is_burst(drain(search).0, 30, begun);
    gateway.change_config(|config| config["rates"][0]["scope"] = json!("read:orders"));
    assert_eq!(gateway.reload(), "applied");
    for _ in 0..50 {
        assert_eq!(search().status, 200);
    }
    gateway.change_config(|config| config["rates"][0]["scope"] = json!("read:logs-*"));
    assert_eq!(gateway.reload(), "applied");
    let passed = drain(search).0;
    assert!(passed <= begun.elapsed().as_secs() + 1, "{passed} passed after the reload");
    // What cannot be read changes nothing.
    gateway.change_config(|config| config["rates"][0]["scope"] = json!("logs-*"));
    assert_eq!(gateway.reload(), "invalid");
    assert!(gateway.log().contains("the rate `all` cannot be used"), "{}", gateway.log());
    drain(search);
    let run = gateway.check_config();
    assert!(!run.succeeded && run.stderr.contains("the rate `all` cannot be used"), "{}", run.stderr);
}

#[test]
fn no_alias_leads_round_a_rate() {
    let remove = || Engine::get().delete_index(INDEX);
    remove();
    let _index = OnDrop(remove);
    let admin = Engine::get().admin();
    admin.put(&format!("/{INDEX}")).json(&json!({"aliases": {ALIAS: {}}})).expect(200);
    let scope = format!("search:{INDEX}");
    let gateway = Gateway::start(
        Settings::new()
            .client("one", &["read:e2e-rates-*"])
            .top("rates", json!([with(rule("orders", "client", 10), "scope", &scope)])),
    );
    let one = gateway.with("one");
    let begun = Instant::now();
    let (by_alias, refused) = drain(|| one.get(&format!("/{ALIAS}/_search")).send());
    is_burst(by_alias, 10, begun);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"orders\";q=10;w=10"));
    let (more, _) = drain(|| one.get(&format!("/{INDEX}/_search")).send());
    assert!(more <= begun.elapsed().as_secs() + 1, "{more} passed by the other name");
    // The pages of a scroll may be of any index, so they count as well.
    drain(|| one.get(&format!("/{ALIAS}/_search?scroll=1m")).send());
}
