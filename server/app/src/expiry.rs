//! When the certificates that the gateway itself shows run out: as a metric always, in the log in time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oauth4os_proxy::{Validity, validity};
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, UnixTime};
use rustls::pki_types::CertificateDer;

use crate::cluster::Running;
use crate::tls::ServerTls;

/// How long before its end a certificate is spoken of, or a third of its life if that is shorter.
const IN_TIME: Duration = Duration::from_secs(14 * 86_400);

/// How often it is spoken of, and how often it is looked at.
const AGAIN: Duration = Duration::from_secs(86_400);
const EVERY: Duration = Duration::from_secs(60);

/// The certificates that are in use.
#[derive(Debug)]
pub(crate) struct Expiry {
    shown: Mutex<BTreeMap<Shown, Watched>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// Whom a certificate is shown to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    ToClients,
    /// To the engine of the cluster of this name, if it has one.
    ToEngine(Option<String>),
}

#[derive(Debug)]
struct Watched {
    validity: Validity,
    spoken_of: Option<UnixTime>,
}

/// What is to be said of a certificate.
#[derive(Debug, PartialEq, Eq)]
struct Notice {
    shown: Shown,
    /// How long it is still valid; nothing when it is over.
    left: Option<Duration>,
}

impl Expiry {
    pub(crate) fn new(metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self { shown: Mutex::default(), metrics, clock }
    }

    /// This chain is shown from now on. It ends with the first of its certificates that does.
    fn put(&self, shown: Shown, chain: &[CertificateDer<'_>]) {
        let ends = chain.iter().filter_map(|certificate| validity(certificate));
        let Some(validity) = ends.min_by_key(|validity| validity.not_after) else { return };
        self.metrics.certificate_expires(shown.name(), shown.cluster(), validity.not_after.as_secs());
        let mut known = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&shown).is_none_or(|known| known.validity != validity) {
            known.insert(shown, Watched { validity, spoken_of: None });
        }
    }

    /// These are shown from now on; says of each what has to be said now.
    pub(crate) fn note(&self, server_tls: &ServerTls, clusters: &[Running]) {
        self.put(Shown::ToClients, &server_tls.chain);
        for running in clusters {
            self.put(Shown::ToEngine(running.name.clone()), &running.engine_tls.chain());
        }
        self.look();
    }

    /// Says of each what has to be said now.
    fn look(&self) {
        self.due(self.clock.now()).iter().for_each(Notice::say);
    }

    /// Looks again and again.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            self.look();
        }
    }

    fn due(&self, now: UnixTime) -> Vec<Notice> {
        let mut due = Vec::new();
        for (shown, watched) in self.shown.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let Validity { not_before, not_after } = watched.validity;
            let in_time = IN_TIME.min(not_after.since(not_before) / 3);
            let is_near = now + in_time >= not_after;
            let is_said = watched.spoken_of.is_some_and(|then| {
                let is_the_same = (then <= not_after) == (now <= not_after);
                // A clock that was set back says nothing of what has been said.
                is_the_same && then <= now && now.since(then) < AGAIN
            });
            if is_near && !is_said {
                watched.spoken_of = Some(now);
                let left = (now <= not_after).then(|| not_after.since(now));
                due.push(Notice { shown: shown.clone(), left });
            }
        }
        due
    }
}

impl Shown {
    const fn name(&self) -> &'static str {
        match self {
            Self::ToClients => "listener",
            Self::ToEngine(_) => "engine",
        }
    }

    fn cluster(&self) -> &str {
        match self {
            Self::ToEngine(Some(cluster)) => cluster,
            Self::ToClients | Self::ToEngine(None) => "",
        }
    }
}

impl Notice {
    fn say(&self) {
        let (certificate, cluster) = (self.shown.name(), self.shown.cluster());
        match self.left {
            Some(left) => tracing::warn!(
                certificate,
                cluster,
                hours_left = left.as_secs() / 3_600,
                "a certificate of the gateway runs out soon; replace its files and reload the gateway"
            ),
            None => tracing::error!(
                certificate,
                cluster,
                "a certificate of the gateway has run out, and nobody who looks takes it; replace its files and reload the gateway"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use oauth4os_tokens::clock::ManualClock;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn expiry(days: &[u32]) -> (Expiry, UnixTime) {
        let begun = UnixTime::from_secs(1_800_000_000);
        let expiry = Expiry::new(Arc::new(Metrics::new()), Arc::new(ManualClock::new(begun)));
        for (number, days) in days.iter().enumerate() {
            let shown = if number == 0 { Shown::ToClients } else { Shown::ToEngine(Some(number.to_string())) };
            let validity = Validity { not_before: begun, not_after: begun + DAY * *days };
            expiry.shown.lock().unwrap().insert(shown, Watched { validity, spoken_of: None });
        }
        (expiry, begun)
    }

    #[test]
    fn it_is_spoken_of_two_weeks_ahead_once_a_day_and_after_its_end() {
        let (expiry, begun) = expiry(&[90]);
        let said = |day: u32| {
            let left = |notice: &Notice| notice.left.map(|left| left.as_secs() / 86_400);
            expiry.due(begun + DAY * day).iter().map(left).collect::<Vec<_>>()
        };
        for day in [0, 30, 75] {
            assert_eq!(said(day), [], "day {day}");
        }
        assert_eq!(said(76), [Some(14)]);
        assert_eq!(said(76), [], "once");
        assert_eq!(said(77), [Some(13)]);
        assert_eq!(said(90), [Some(0)]);
        let over = expiry.due(begun + DAY * 90 + Duration::from_secs(1));
        assert_eq!(over.iter().map(|notice| notice.left).collect::<Vec<_>>(), [None], "at once");
        assert_eq!(said(91), []);
        assert_eq!(said(92), [None]);
        // A clock that was wrong.
        assert_eq!(said(80), [Some(10)]);
    }

    #[test]
    fn one_of_short_life_is_spoken_of_in_its_last_third_and_each_by_itself() {
        let (expiry, begun) = expiry(&[3, 365, 1]);
        assert_eq!(expiry.due(begun), []);
        let hours = |hours: u32| begun + Duration::from_secs(3_600) * hours;
        let names = |now| expiry.due(now).into_iter().map(|notice| notice.shown).collect::<Vec<_>>();
        assert_eq!(names(hours(16)), [Shown::ToEngine(Some("2".to_owned()))]);
        assert_eq!(names(hours(47)), [Shown::ToEngine(Some("2".to_owned()))]);
        assert_eq!(names(hours(48)), [Shown::ToClients]);
    }
}
