//! Which workload an issuer speaks of: claims held against the rules of the configuration.

use oauth4os_config::{ClaimPath, ClaimValue, WorkloadRule};
use serde_json::{Map, Value};

/// The longest text that is held against a pattern, in bytes.
const MAX_TEXT: usize = 1024;

/// Whether the claims are all that the rule wants. A claim that is not there fits nothing, and so does a list or an object.
pub(crate) fn fits(rule: &WorkloadRule, claims: &Map<String, Value>) -> bool {
    rule.claims.iter().all(|(path, wanted)| {
        at(claims, path).is_some_and(|found| wanted.values().iter().any(|wanted| is_one_of(wanted, found)))
    })
}

fn at<'a>(claims: &'a Map<String, Value>, path: &ClaimPath) -> Option<&'a Value> {
    let (first, rest) = path.steps().split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, step| value.as_object()?.get(step))
}

fn is_one_of(wanted: &ClaimValue, found: &Value) -> bool {
    match (wanted, found) {
        (ClaimValue::Text(pattern), Value::String(text)) => is_match(pattern, text),
        // Issuers write numbers as texts so that no parser rounds them. Only the one way to write each is taken.
        (ClaimValue::Number(number), Value::String(text)) => *text == number.to_string(),
        (ClaimValue::Number(number), Value::Number(found)) => found.as_u64() == Some(*number),
        (ClaimValue::Flag(flag), Value::Bool(found)) => flag == found,
        (ClaimValue::Flag(flag), Value::String(text)) => text == if *flag { "true" } else { "false" },
        _ => false,
    }
}

/// Whether a text is what a pattern says. `*` is one or more characters within a name, which ends at `/` and `:`; `**` is one or more
/// within a part, which ends at `:`. Both stand for printable ASCII only: what looks like a letter and is none fits no pattern.
fn is_match(pattern: &str, text: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == text;
    }
    if text.len() > MAX_TEXT {
        return false;
    }
    let pattern = parse(pattern.as_bytes());
    let text = text.as_bytes();
    // The places in the text that the pattern so far can end at.
    let mut ends = vec![false; text.len() + 1];
    if let Some(first) = ends.first_mut() {
        *first = true;
    }
    for element in pattern {
        let mut next = vec![false; ends.len()];
        for (place, byte) in text.iter().enumerate() {
            let is_reached = ends.get(place) == Some(&true);
            let goes_on = element.repeats() && next.get(place) == Some(&true);
            if (is_reached || goes_on)
                && element.takes(*byte)
                && let Some(end) = next.get_mut(place + 1)
            {
                *end = true;
            }
        }
        ends = next;
    }
    ends.last() == Some(&true)
}

enum Element {
    Byte(u8),
    /// One or more within a name.
    Name,
    /// One or more within a part.
    Part,
}

impl Element {
    const fn repeats(&self) -> bool {
        matches!(self, Self::Name | Self::Part)
    }

    const fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::Name => byte.is_ascii_graphic() && byte != b'/' && byte != b':',
            Self::Part => byte.is_ascii_graphic() && byte != b':',
        }
    }
}

fn parse(pattern: &[u8]) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        (rest, elements) = match (first, after.split_first()) {
            (b'*', Some((b'*', after))) => (after, pushed(elements, Element::Part)),
            (b'*', _) => (after, pushed(elements, Element::Name)),
            (byte, _) => (after, pushed(elements, Element::Byte(*byte))),
        };
    }
    elements
}

fn pushed(mut elements: Vec<Element>, element: Element) -> Vec<Element> {
    elements.push(element);
    elements
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_star_stays_within_a_name_and_two_within_a_part() {
        for (pattern, fits, does_not) in [
            (
                "acme/app",
                vec!["acme/app"],
                vec!["acme/app2", "acme/ap", "Acme/app", "acme/app ", " acme/app", "acme/app\n", ""],
            ),
            (
                "acme/*",
                vec!["acme/app", "acme/a", "acme/a.b_c-d"],
                vec![
                    "acme/",
                    "acme",
                    "acme/a/b",
                    "acme2/a",
                    "evil/acme/a",
                    "acme/a b",
                    "acme/a\u{0}",
                    "acme/а",
                    "acme/a:b",
                    "ACME/a",
                ],
            ),
            (
                "repo:acme/*:ref:refs/heads/main",
                vec!["repo:acme/app:ref:refs/heads/main"],
                vec![
                    "repo:acme/app:environment:x:ref:refs/heads/main",
                    "repo:acme/app:ref:refs/heads/main2",
                    "repo:acme/a/b:ref:refs/heads/main",
                    "repo:evil/acme/app:ref:refs/heads/main",
                ],
            ),
            (
                "repo:acme/app:ref:refs/heads/**",
                vec!["repo:acme/app:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/feature/x/y"],
                vec![
                    "repo:acme/app:ref:refs/heads/",
                    "repo:acme/app:ref:refs/heads/a:b",
                    "repo:acme/app:ref:refs/tags/a",
                ],
            ),
            ("v*.*", vec!["v1.2", "v1.2.3", "v..."], vec!["v1", "v.1", "v1."]),
            ("*a*", vec!["bab", "aaa"], vec!["a", "ab", "ba"]),
        ] {
            for text in fits {
                assert!(is_match(pattern, text), "`{pattern}` fits `{text}`");
            }
            for text in does_not {
                assert!(!is_match(pattern, text), "`{pattern}` does not fit `{text}`");
            }
        }
        // What looks the same is not: Cyrillic letters, a wide slash, a letter with its accent apart.
        for text in ["аcme/app", "acme\u{ff0f}app", "acme\u{2215}app", "acme/ap\u{200b}p"] {
            assert!(!is_match("acme/app", text) && !is_match("acme/*", text), "{text}");
        }
        assert!(is_match("acme/é", "acme/é") && !is_match("acme/é", "acme/e\u{301}"));
        // Neither length nor stars make it slow.
        assert!(is_match(&"*a".repeat(120), &"a".repeat(1_024)));
        assert!(!is_match(&"*a".repeat(120), &"a".repeat(5_000)));
    }

    #[test]
    fn numbers_and_flags_fit_as_they_are_and_as_text() {
        let fits = |wanted: Value, found: Value| {
            let rule = json!({"claims": {"x": wanted, "sub": "s"}, "client": "c"});
            let rule: WorkloadRule = serde_json::from_value(rule).unwrap();
            super::fits(&rule, json!({"x": found, "sub": "s"}).as_object().unwrap())
        };
        assert!(fits(json!(123), json!(123)) && fits(json!(123), json!("123")));
        for other in [
            json!(124),
            json!("0123"),
            json!("123 "),
            json!("+123"),
            json!("123.0"),
            json!(123.5),
            json!(-123),
            json!([123]),
            json!(null),
        ] {
            assert!(!fits(json!(123), other.clone()), "{other}");
        }
        assert!(
            fits(json!(true), json!(true)) && fits(json!(true), json!("true")) && fits(json!(false), json!("false"))
        );
        assert!(!fits(json!(true), json!("True")) && !fits(json!(true), json!(1)) && !fits(json!(false), json!("")));
        assert!(
            fits(json!(["a", 7, "b*"]), json!("bc"))
                && fits(json!(["a", 7]), json!(7))
                && !fits(json!(["a", 7]), json!("b"))
        );
        // A list is not one of its members, and an object none of its parts.
        assert!(!fits(json!("a"), json!(["a"])) && !fits(json!("a"), json!({"a": "a"})));
    }

    #[test]
    fn a_claim_that_is_missing_fits_nothing() {
        let rule = json!({"claims": {r"kubernetes\.io.namespace": "ci", "sub": "s"}, "client": "c"});
        let rule: WorkloadRule = serde_json::from_value(rule).unwrap();
        let fits = |claims: Value| super::fits(&rule, claims.as_object().unwrap());
        assert!(fits(json!({"sub": "s", "kubernetes.io": {"namespace": "ci", "pod": {"name": "x"}}})));
        assert!(!fits(json!({"sub": "s", "kubernetes": {"io": {"namespace": "ci"}}})));
        assert!(!fits(json!({"sub": "s", "kubernetes.io": "ci"})));
        assert!(!fits(json!({"sub": "s"})) && !fits(json!({"kubernetes.io": {"namespace": "ci"}})));
    }
}
