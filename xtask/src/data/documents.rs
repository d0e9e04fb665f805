//! Documents as the field writes them: service logs, access logs, host metrics, customers. Names and addresses
//! are from the ranges reserved for examples.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration};

use super::random::Random;

/// What a document tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What a service writes.
    AppLog,
    /// What a web server writes.
    WebLog,
    /// Processor use of a host.
    Cpu,
    /// Memory of a host.
    Memory,
    /// Somebody.
    Customer,
}

const SERVICES: [&str; 6] = ["checkout", "catalog", "payments", "search", "accounts", "shipping"];
const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
const PATHS: [&str; 8] =
    ["/", "/api/products", "/api/cart", "/login", "/api/orders", "/static/app.js", "/api/search", "/admin"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X)",
    "curl/8.11.1",
    "Go-http-client/2.0",
];
const GIVEN: [&str; 10] = ["Ada", "Bo", "Chidi", "Dana", "Emre", "Fatima", "Greta", "Hiro", "Ines", "Jonas"];
const FAMILY: [&str; 10] =
    ["Okafor", "Lindqvist", "Tanaka", "Moreau", "Silva", "Novak", "Haddad", "Schmidt", "Rossi", "Kaya"];
const CITIES: [&str; 6] = ["Lisbon", "Oslo", "Osaka", "Lyon", "Izmir", "Turin"];

/// Document number `index` of `count` in its index, of this day.
pub(super) fn document(kind: Kind, day: Date, index: u32, count: u32, random: &mut Random) -> Value {
    let spacing = i64::from(index) * Duration::DAY.whole_milliseconds() as i64 / i64::from(count.max(1));
    match kind {
        Kind::AppLog => app_log(&at(day, spacing), random),
        Kind::WebLog => web_log(&at(day, spacing), random),
        Kind::Cpu => cpu(&at(day, i64::from(index / 10) * 10_000), index, random),
        Kind::Memory => memory(&at(day, i64::from(index / 10) * 10_000), index, random),
        Kind::Customer => customer(index, random),
    }
}

/// The mapping of an index of this kind.
pub(super) fn mapping(kind: Kind) -> Value {
    let keyword = || json!({"type": "keyword"});
    let (integer, float) = (json!({"type": "integer"}), json!({"type": "float"}));
    let host = json!({"properties": {"name": keyword(), "region": keyword()}});
    match kind {
        Kind::AppLog => json!({"properties": {
            "@timestamp": {"type": "date"}, "level": keyword(), "message": {"type": "text"}, "service": keyword(), "host": host,
            "trace_id": keyword(), "duration_ms": integer, "tenant": keyword(), "error": {"properties": {"code": keyword()}},
        }}),
        Kind::WebLog => json!({"properties": {
            "@timestamp": {"type": "date"}, "client": {"properties": {"ip": {"type": "ip"}}}, "host": host,
            "http": {"properties": {"method": keyword(), "status": integer, "bytes": {"type": "long"}, "referrer": keyword()}},
            "url": {"properties": {"path": keyword()}}, "user_agent": {"type": "text"}, "duration_ms": integer,
        }}),
        Kind::Cpu => json!({"properties": {
            "@timestamp": {"type": "date"}, "host": host, "cpu": {"properties": {"user": float, "system": float, "idle": float}}, "load1": float,
        }}),
        Kind::Memory => json!({"properties": {
            "@timestamp": {"type": "date"}, "host": host,
            "memory": {"properties": {"total": {"type": "long"}, "used": {"type": "long"}, "cached": {"type": "long"}}},
        }}),
        Kind::Customer => json!({"properties": {
            "customer_id": keyword(), "name": {"type": "text"}, "email": keyword(), "phone": keyword(), "city": keyword(),
            "born": {"type": "date"}, "card_last4": keyword(),
        }}),
    }
}

fn at(day: Date, milliseconds: i64) -> String {
    (day.midnight().assume_utc() + Duration::milliseconds(milliseconds)).format(&Rfc3339).unwrap_or_default()
}

fn host(random: &mut Random) -> Value {
    let region = random.skewed(&REGIONS);
    json!({"name": format!("{region}-{:02}", random.below(10)), "region": region})
}

fn app_log(time: &str, random: &mut Random) -> Value {
    let service = random.skewed(&SERVICES);
    let duration = random.long_tailed(80);
    let order = 100_000 + random.below(900_000);
    let (level, message, code) = match random.below(100) {
        0..=2 => (
            "ERROR",
            format!("upstream of {service} timed out after {duration} ms, order {order}"),
            Some("upstream_timeout"),
        ),
        3 => ("ERROR", format!("payment for order {order} was declined"), Some("payment_declined")),
        4..=11 => ("WARN", format!("retry 1 of 3 for order {order}: connection reset"), None),
        12..=30 => ("DEBUG", format!("cache miss for product {}", random.below(5_000)), None),
        31..=60 => ("INFO", format!("order {order} accepted in {duration} ms"), None),
        _ => ("INFO", format!("request handled in {duration} ms"), None),
    };
    let mut document = json!({
        "@timestamp": time, "level": level, "message": message, "service": service, "host": host(random),
        "trace_id": format!("{:016x}{:016x}", random.next(), random.next()), "duration_ms": duration,
        "tenant": random.skewed(&["a", "b", "c"]),
    });
    if let (Some(code), Some(fields)) = (code, document.as_object_mut()) {
        fields.insert("error".to_owned(), json!({"code": code}));
    }
    document
}

fn web_log(time: &str, random: &mut Random) -> Value {
    let path = random.skewed(&PATHS);
    let status = match random.below(100) {
        0 => 500,
        1 => 503,
        2..=6 => 404,
        7..=9 if path == "/admin" => 403,
        7..=9 => 401,
        10..=15 => 304,
        _ => 200,
    };
    json!({
        "@timestamp": time,
        // The three ranges that are reserved for documentation.
        "client": {"ip": format!("{}.{}", random.pick(&["192.0.2", "198.51.100", "203.0.113"]), 1 + random.below(254))},
        "http": {
            "method": random.skewed(&["GET", "POST", "PUT", "DELETE"]), "status": status, "bytes": random.long_tailed(20_000),
            "referrer": random.skewed(&["https://shop.example.com/", "-", "https://www.example.org/"]),
        },
        "url": {"path": path}, "user_agent": random.skewed(&AGENTS), "duration_ms": random.long_tailed(60), "host": host(random),
    })
}

fn metric_host(index: u32) -> Value {
    let region = REGIONS.get(index as usize % REGIONS.len()).copied().unwrap_or_default();
    json!({"name": format!("{region}-{:02}", index % 10), "region": region})
}

fn cpu(time: &str, index: u32, random: &mut Random) -> Value {
    let user = random.below(7_000);
    let system = random.below(2_500);
    let percent = |hundredths: u64| hundredths as f64 / 100.0;
    json!({
        "@timestamp": time, "host": metric_host(index),
        "cpu": {"user": percent(user), "system": percent(system), "idle": percent(10_000 - user - system)},
        "load1": percent(random.long_tailed(200)),
    })
}

fn memory(time: &str, index: u32, random: &mut Random) -> Value {
    const TOTAL: u64 = 16 << 30;
    let used = TOTAL / 4 + random.below(TOTAL / 2);
    json!({
        "@timestamp": time, "host": metric_host(index),
        "memory": {"total": TOTAL, "used": used, "cached": random.below(TOTAL - used)},
    })
}

fn customer(index: u32, random: &mut Random) -> Value {
    let (given, family) = (random.pick(&GIVEN), random.pick(&FAMILY));
    json!({
        "customer_id": format!("c-{index:06}"),
        "name": format!("{given} {family}"),
        "email": format!("{}.{}{index}@example.com", given.to_lowercase(), family.to_lowercase()),
        // Numbers set aside for fiction.
        "phone": format!("+1-202-555-01{:02}", random.below(100)),
        "city": random.pick(&CITIES),
        "born": format!("{}-{:02}-{:02}", 1950 + random.below(55), 1 + random.below(12), 1 + random.below(28)),
        "card_last4": format!("{:04}", random.below(10_000)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn documents_are_the_same_at_every_run_and_fit_their_mapping() {
        for kind in [Kind::AppLog, Kind::WebLog, Kind::Cpu, Kind::Memory, Kind::Customer] {
            let make = || {
                let mut random = Random::named("test");
                (0..50).map(|index| document(kind, date!(2026 - 01 - 15), index, 50, &mut random)).collect::<Vec<_>>()
            };
            assert_eq!(make(), make());
            let mapping = mapping(kind);
            for document in make() {
                for field in document.as_object().unwrap().keys() {
                    assert!(mapping["properties"].get(field).is_some(), "{kind:?} has no mapping for {field}");
                }
            }
        }
    }

    #[test]
    fn a_days_logs_stay_in_the_day() {
        let mut random = Random::named("test");
        let last = document(Kind::AppLog, date!(2026 - 01 - 15), 1_999, 2_000, &mut random);
        assert!(last["@timestamp"].as_str().unwrap().starts_with("2026-01-15T23:59"));
    }
}
