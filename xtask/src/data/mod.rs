//! The data that demos, tests and measurements work on: the same documents at every run, loaded once.
//!
//! | index | documents |
//! | --- | --- |
//! | `logs-app-<day>`, `logs-web-<day>` | one pair for today (UTC) and each of the six days before |
//! | `metrics-cpu`, `metrics-mem` | one hour every ten seconds of ten hosts |
//! | `pii-customers` | what a scoped token must never see |
//! | `app-logs-2026` | where pipelines write |
//! | `logs-stream` | a data stream |
//!
//! The alias `logs-inside` has only `logs-app-*` behind it; `mixed` also has `pii-customers`.

mod documents;
mod load;
mod random;

pub use load::load;

use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use documents::Kind;

/// The days of logs, today included.
const DAYS: i64 = 7;
const LOGS_PER_DAY: u32 = 2_000;
const METRICS: u32 = 3_600;
const CUSTOMERS: u32 = 1_000;
const INGESTED: u32 = 500;
const STREAMED: u32 = 1_500;

/// The alias whose members are all `logs-app-*`.
pub const INSIDE_ALIAS: &str = "logs-inside";
/// The alias across the border: `logs-app-*` and `pii-customers`.
pub const MIXED_ALIAS: &str = "mixed";
/// The data stream.
pub const STREAM: &str = "logs-stream";

/// An index (or data stream) and what is in it.
struct Dataset {
    name: String,
    kind: Kind,
    day: Date,
    count: u32,
}

impl Dataset {
    fn is_stream(&self) -> bool {
        self.name == STREAM
    }
}

fn datasets(today: Date) -> Vec<Dataset> {
    let mut all = Vec::new();
    for back in (0..DAYS).rev() {
        let day = today - Duration::days(back);
        for (family, kind) in [("logs-app", Kind::AppLog), ("logs-web", Kind::WebLog)] {
            all.push(Dataset { name: daily(family, day), kind, day, count: LOGS_PER_DAY });
        }
    }
    // What is not of a day is of a fixed one, so that it is the same on every day.
    let fixed = time::macros::date!(2026 - 01 - 15);
    for (name, kind, count) in [
        ("metrics-cpu", Kind::Cpu, METRICS),
        ("metrics-mem", Kind::Memory, METRICS),
        ("pii-customers", Kind::Customer, CUSTOMERS),
        ("app-logs-2026", Kind::AppLog, INGESTED),
        (STREAM, Kind::AppLog, STREAMED),
    ] {
        all.push(Dataset { name: name.to_owned(), kind, day: fixed, count });
    }
    all
}

/// `logs-app-2026.01.15`, which date math writes `<logs-app-{now/d}>`.
pub fn daily(family: &str, day: Date) -> String {
    let day = day.format(format_description!("[year].[month].[day]")).unwrap_or_default();
    format!("{family}-{day}")
}

/// The current day in UTC, as the engine's date math sees it.
pub fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn there_are_logs_of_today_and_of_the_days_before() {
        let all = datasets(date!(2026 - 03 - 02));
        let names: Vec<&str> = all.iter().map(|set| set.name.as_str()).collect();
        assert!(names.contains(&"logs-app-2026.03.02"));
        assert!(names.contains(&"logs-web-2026.02.24"));
        assert!(!names.contains(&"logs-web-2026.02.23"));
        let total: u32 = all.iter().map(|set| set.count).sum();
        assert!((20_000..60_000).contains(&total), "{total}");
    }
}
