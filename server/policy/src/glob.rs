//! One index pattern: literal characters, `*` for any run of characters, `?` for exactly one.

use std::fmt;
use std::str::Chars;

/// The longest wildcard pattern that is compared with others, in characters.
///
/// One bit per character (and one for the end) fits into a `u128`.
pub const MAX_GLOB_CHARS: usize = 127;

/// An index pattern, read as the set of index names it stands for.
///
/// A pattern that begins with a wildcard does not stand for names that begin with a dot (hidden and system
/// indices), unless it was made to ([`Glob::with_dots`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    text: Box<str>,
    /// Bytes before the first wildcard; all of them for a plain name.
    literal: usize,
    dots: bool,
}

impl Glob {
    /// Reads `text` as a pattern whose leading wildcard leaves out names with a leading dot.
    pub fn new(text: &str) -> Self {
        Self::build(text, false)
    }

    /// Reads `text` as a pattern whose leading wildcard also stands for names with a leading dot.
    pub fn with_dots(text: &str) -> Self {
        Self::build(text, true)
    }

    /// The pattern as text, with runs of `*` drawn together.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a leading wildcard stands for names with a leading dot.
    pub fn reaches_dots(&self) -> bool {
        self.dots
    }

    /// Whether the pattern is one plain name.
    pub fn is_literal(&self) -> bool {
        self.literal == self.text.len()
    }

    /// Whether the pattern begins with `*` or `?`.
    pub fn begins_with_wildcard(&self) -> bool {
        self.text.starts_with(is_wildcard)
    }

    /// Whether `name` is one of the names the pattern stands for.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_literal() {
            return *self.text == *name;
        }
        if self.begins_with_wildcard() && !self.dots && name.starts_with('.') {
            return false;
        }
        if self.is_prefix() {
            return name.starts_with(self.prefix());
        }
        matches(self.text.chars(), name.chars())
    }

    /// What stands before the first wildcard.
    pub(crate) fn prefix(&self) -> &str {
        self.text.split_at_checked(self.literal).map_or("", |(head, _)| head)
    }

    /// Whether the pattern is a plain prefix followed by one `*`.
    pub(crate) fn is_prefix(&self) -> bool {
        self.text.len() == self.literal + 1 && self.text.ends_with('*')
    }

    /// What stands behind the last wildcard.
    fn suffix(&self) -> &str {
        self.text.rsplit_once(is_wildcard).map_or(&*self.text, |(_, tail)| tail)
    }

    /// Whether a look at the two ends already shows that no name matches both. `false` says nothing.
    pub(crate) fn is_disjoint_by_ends(&self, other: &Self) -> bool {
        if self.is_literal() {
            return !other.matches(&self.text);
        }
        if other.is_literal() {
            return !self.matches(&other.text);
        }
        let (a, b) = (self.prefix(), other.prefix());
        let (x, y) = (self.suffix(), other.suffix());
        !(a.starts_with(b) || b.starts_with(a)) || !(x.ends_with(y) || y.ends_with(x))
    }

    fn build(text: &str, dots: bool) -> Self {
        let mut collapsed = String::with_capacity(text.len());
        for letter in text.chars() {
            if !(letter == '*' && collapsed.ends_with('*')) {
                collapsed.push(letter);
            }
        }
        let literal = collapsed.find(is_wildcard).unwrap_or(collapsed.len());
        Self { text: collapsed.into_boxed_str(), literal, dots }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(crate) fn is_wildcard(letter: char) -> bool {
    matches!(letter, '*' | '?')
}

/// Greedy match that goes back to the last `*` only: quadratic at worst, whatever the number of wildcards.
fn matches<'a>(mut pattern: Chars<'a>, mut name: Chars<'a>) -> bool {
    let mut retry: Option<(Chars<'a>, Chars<'a>)> = None;
    loop {
        let name_before = name.clone();
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((pattern.clone(), name_before.clone()));
                name = name_before;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(letter)) if wanted == letter => {}
            (Some(_), None) => return false,
            _ => {
                let Some((after_star, mut from)) = retry.take() else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                name = from.clone();
                retry = Some((after_star, from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_prefixes_and_inner_wildcards() {
        for (pattern, name, expected) in [
            ("logs-app", "logs-app", true),
            ("logs-app", "logs-apps", false),
            ("logs-*", "logs-", true),
            ("logs-*", "logs", false),
            ("*-app", "logs-app", true),
            ("*-app", "logs-app-", false),
            ("l*s-*p", "logs-app", true),
            ("l?gs", "logs", true),
            ("l?gs", "lgs", false),
            ("?", "é", true),
            ("**", "x", true),
            ("a*b*c", "abcabc", true),
            ("a*b*c", "abcab", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_leading_wildcard_leaves_out_leading_dots() {
        assert!(!Glob::new("*").matches(".opendistro_security"));
        assert!(!Glob::new("?kibana").matches(".kibana"));
        assert!(!Glob::new("*.kibana").matches(".kibana"));
        assert!(Glob::new(".kib*").matches(".kibana"));
        assert!(Glob::with_dots("*").matches(".opendistro_security"));
        assert!(Glob::with_dots("*.kibana").matches(".kibana"));
    }

    /// The definition, letter by letter.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((&'*', rest)) => (0..=name.len()).any(|skipped| naive(rest, &name[skipped..])),
            Some((&wanted, rest)) => name
                .split_first()
                .is_some_and(|(&letter, tail)| (wanted == '?' || wanted == letter) && naive(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_its_definition(pattern in "[ab*?.]{0,7}", name in "[abc.]{0,7}") {
            let letters: Vec<char> = pattern.chars().collect();
            let name_letters: Vec<char> = name.chars().collect();
            prop_assert_eq!(Glob::with_dots(&pattern).matches(&name), naive(&letters, &name_letters));
        }

        #[test]
        fn disjoint_by_ends_is_disjoint(a in "[ab*?.]{1,5}", b in "[ab*?.]{1,5}", name in "[ab.]{1,6}") {
            let (a, b) = (Glob::new(&a), Glob::with_dots(&b));
            if a.is_disjoint_by_ends(&b) {
                prop_assert!(!(a.matches(&name) && b.matches(&name)));
            }
        }
    }
}
