//! What the pages say, in the languages there are.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;
use oauth4os_policy::{Scope, Target, Verb};
use oauth4os_telemetry::time::Rfc3339;
use oauth4os_tokens::clock::UnixTime;

/// The words of one language.
pub(crate) struct Words {
    pub(crate) language: &'static str,
    pub(crate) choose: &'static str,
    /// Before and after the name of a client.
    pub(crate) consent: (&'static str, &'static str),
    pub(crate) logged_in_as: &'static str,
    pub(crate) may: &'static str,
    pub(crate) may_not: &'static str,
    pub(crate) until: &'static str,
    pub(crate) sent_to: &'static str,
    pub(crate) only_this_machine: &'static str,
    pub(crate) allow: &'static str,
    pub(crate) deny: &'static str,
    pub(crate) account: &'static str,
    pub(crate) allowed: &'static str,
    pub(crate) nothing_allowed: &'static str,
    pub(crate) withdraw: &'static str,
    pub(crate) log_out: &'static str,
    pub(crate) logged_out: &'static str,
    pub(crate) logged_out_hint: &'static str,
    pub(crate) failed: &'static str,
    pub(crate) details: &'static str,
    verbs: [(Verb, &'static str); 7],
    /// From the day of 1970-01-01 on.
    days: [&'static str; 7],
    cluster: &'static str,
    dashboards: &'static str,
    gateway: &'static str,
    indices: &'static str,
    all_indices: &'static str,
    but: &'static str,
}

static ENGLISH: Words = Words {
    language: "en",
    choose: "Where do you log in?",
    consent: ("Let", "act for you?"),
    logged_in_as: "You are logged in as",
    may: "It will be able to:",
    may_not: "It asked for more than you have. Left out:",
    until: "Until you log out or take it back, at most until:",
    sent_to: "Afterwards you go on to",
    only_this_machine: "This is a program on the computer you are using. Allow it only if you have just started it yourself.",
    allow: "Allow",
    deny: "Do not allow",
    account: "What you have allowed",
    allowed: "allowed on",
    nothing_allowed: "You have allowed nothing to anybody.",
    withdraw: "Take back",
    log_out: "Log out",
    logged_out: "You are logged out",
    logged_out_hint: "Every token that came of this login is out of use. You may still be logged in at your provider.",
    failed: "That did not work",
    details: "Details for the operator:",
    verbs: [
        (Verb::Read, "read"),
        (Verb::Search, "search"),
        (Verb::Write, "add, change and delete documents in"),
        (Verb::Ingest, "add documents to"),
        (Verb::Manage, "create, change and delete"),
        (Verb::Monitor, "see state and statistics of"),
        (Verb::Admin, "do everything with"),
    ],
    days: ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"],
    cluster: "the cluster as a whole",
    dashboards: "OpenSearch Dashboards",
    gateway: "this gateway",
    indices: "the indices",
    all_indices: "all indices",
    but: "but not",
};

static GERMAN: Words = Words {
    language: "de",
    choose: "Wo melden Sie sich an?",
    consent: ("Darf", "für Sie handeln?"),
    logged_in_as: "Sie sind angemeldet als",
    may: "Damit wird möglich:",
    may_not: "Es wurde mehr verlangt, als Sie dürfen. Weggelassen:",
    until: "Bis Sie sich abmelden oder es zurücknehmen, längstens bis:",
    sent_to: "Danach geht es weiter zu",
    only_this_machine: "Das ist ein Programm auf dem Rechner, den Sie benutzen. Erlauben Sie es nur, wenn Sie es eben selbst gestartet haben.",
    allow: "Erlauben",
    deny: "Nicht erlauben",
    account: "Was Sie erlaubt haben",
    allowed: "erlaubt am",
    nothing_allowed: "Sie haben niemandem etwas erlaubt.",
    withdraw: "Zurücknehmen",
    log_out: "Abmelden",
    logged_out: "Sie sind abgemeldet",
    logged_out_hint: "Kein Token aus dieser Anmeldung gilt mehr. Bei Ihrem Anbieter sind Sie vielleicht noch angemeldet.",
    failed: "Das hat nicht geklappt",
    details: "Für den Betreiber:",
    verbs: [
        (Verb::Read, "lesen:"),
        (Verb::Search, "suchen in:"),
        (Verb::Write, "Dokumente hinzufügen, ändern und löschen in:"),
        (Verb::Ingest, "Dokumente hinzufügen zu:"),
        (Verb::Manage, "anlegen, ändern und löschen:"),
        (Verb::Monitor, "Zustand und Zahlen sehen von:"),
        (Verb::Admin, "alles tun mit:"),
    ],
    days: ["Donnerstag", "Freitag", "Samstag", "Sonntag", "Montag", "Dienstag", "Mittwoch"],
    cluster: "dem Cluster als Ganzem",
    dashboards: "OpenSearch Dashboards",
    gateway: "diesem Gateway",
    indices: "Indizes",
    all_indices: "alle Indizes",
    but: "aber nicht",
};

impl Words {
    /// The language that the browser likes best of those there are; English when it says nothing.
    pub(crate) fn of(headers: &HeaderMap) -> &'static Self {
        let wished = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut best: Option<(f32, &'static Self)> = None;
        for entry in wished.split(',').take(16) {
            let mut parts = entry.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default().split('-').next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
            let words = [&ENGLISH, &GERMAN].into_iter().find(|words| words.language.eq_ignore_ascii_case(tag));
            if let Some(words) = words
                && weight > 0.0
                && best.is_none_or(|(known, _)| weight > known)
            {
                best = Some((weight, words));
            }
        }
        best.map_or(&ENGLISH, |(_, words)| words)
    }

    /// A scope in plain words.
    pub(crate) fn of_scope(&self, scope: &Scope) -> String {
        let verb = self.verbs.iter().find(|(verb, _)| *verb == scope.verb()).map_or("", |(_, word)| word);
        let what = match scope.target() {
            Target::Cluster => self.cluster.to_owned(),
            Target::Dashboards => self.dashboards.to_owned(),
            Target::Gateway => self.gateway.to_owned(),
            Target::Indices(_) => self.of_indices(scope.as_str()),
        };
        match scope.cluster() {
            Some(cluster) => format!("{verb} {what} ({cluster})"),
            None => format!("{verb} {what}"),
        }
    }

    fn of_indices(&self, scope: &str) -> String {
        let targets = scope.split_once(':').map_or(scope, |(_, targets)| targets);
        let targets = targets.rsplit_once('/').map_or(targets, |(_, targets)| targets);
        let mut said = String::new();
        for target in targets.split(',') {
            let (joined, name) = match target.strip_prefix('-') {
                Some(excluded) => (format!(", {} ", self.but), excluded),
                None if said.is_empty() => (String::new(), target),
                None => (", ".to_owned(), target),
            };
            said.push_str(&joined);
            match name {
                "*" if joined.is_empty() => said.push_str(self.all_indices),
                _ if said.is_empty() => said.push_str(&format!("{} {name}", self.indices)),
                _ => said.push_str(name),
            }
        }
        said
    }

    /// A time, as people say it; the browser does not say in which zone they are.
    pub(crate) fn of_time(&self, time: UnixTime) -> String {
        let day = usize::try_from(time.as_secs().div_euclid(86_400).rem_euclid(7)).unwrap_or_default();
        let text = Rfc3339(time).to_string();
        let (date, clock) = (text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
        format!("{} {date}, {clock} UTC", self.days.get(day).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use oauth4os_policy::{Clusters, ScopeSet};

    use super::*;

    #[test]
    fn the_language_is_the_one_that_is_liked_best() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, value.parse().unwrap());
            Words::of(&headers).language
        };
        for (value, language) in [
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("en-GB,de;q=0.9", "en"),
            ("de;q=0.1,en;q=0.8", "en"),
            ("fr,de;q=0.5", "de"),
            ("fr", "en"),
            ("de;q=0", "en"),
            ("de;q=x", "en"),
            ("", "en"),
            (";;,=,", "en"),
        ] {
            assert_eq!(of(value), language, "{value}");
        }
    }

    #[test]
    fn a_scope_is_said_in_words() {
        let clusters: Clusters = ["eu"].into_iter().collect();
        let said = |scope: &str, clusters: &Clusters| {
            let set = ScopeSet::parse(scope, clusters).unwrap();
            let scope = set.iter().next().unwrap();
            (ENGLISH.of_scope(scope), GERMAN.of_scope(scope))
        };
        let only = Clusters::default();
        assert_eq!(said("read:logs-*", &only).0, "read the indices logs-*");
        assert_eq!(
            said("read:logs-*,-logs-secret-*,web", &only).0,
            "read the indices logs-*, but not logs-secret-*, web"
        );
        assert_eq!(
            said("write:*", &only),
            (
                "add, change and delete documents in all indices".to_owned(),
                "Dokumente hinzufügen, ändern und löschen in: alle Indizes".to_owned()
            )
        );
        assert_eq!(said("monitor:cluster", &only).0, "see state and statistics of the cluster as a whole");
        assert_eq!(said("search:eu/logs-*", &clusters).0, "search the indices logs-* (eu)");
    }

    #[test]
    fn a_time_has_its_day() {
        assert_eq!(ENGLISH.of_time(UnixTime::from_secs(0)), "Thursday 1970-01-01, 00:00 UTC");
        assert_eq!(GERMAN.of_time(UnixTime::from_secs(1_795_305_600 + 3_660)), "Sonntag 2026-11-22, 01:01 UTC");
    }
}
