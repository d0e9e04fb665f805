//! The patterns of role mappings, as far as they concern the gateway's users and backend roles.
//!
//! The security plugin reads `/…/` as a Java regular expression, and `*` and `?` as wildcards; anything else is a name
//! (`WildcardMatcher`).

/// Whether a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    No,
    /// A regular expression, which only the engine can read.
    Unknown,
    Yes,
}

/// Whether the pattern matches this name.
pub(super) fn matches(pattern: &str, name: &str) -> Reach {
    reach(pattern, name, false)
}

/// Whether the pattern matches some name that begins like this.
pub(super) fn matches_some(pattern: &str, prefix: &str) -> Reach {
    reach(pattern, prefix, true)
}

fn reach(pattern: &str, name: &str, is_open: bool) -> Reach {
    match pattern.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        Some(".*") => Reach::Yes,
        Some(_) => Reach::Unknown,
        None if covers(pattern, name, is_open) => Reach::Yes,
        None => Reach::No,
    }
}

/// Walks the letters of the name and keeps the places of the pattern it can have come to.
fn covers(pattern: &str, name: &str, is_open: bool) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    // Behind a `*` the pattern may stay where it is or go on.
    let settle = |at: Vec<usize>| {
        let mut all = at;
        let mut next = 0;
        while let Some(at) = all.get(next).copied() {
            if pattern.get(at) == Some(&'*') && !all.contains(&(at + 1)) {
                all.push(at + 1);
            }
            next += 1;
        }
        all
    };
    let mut places = settle(vec![0]);
    for letter in name.chars() {
        let mut next = Vec::new();
        for at in places {
            let to = match pattern.get(at) {
                Some('*') => at,
                Some('?') => at + 1,
                Some(expected) if *expected == letter => at + 1,
                _ => continue,
            };
            if !next.contains(&to) {
                next.push(to);
            }
        }
        places = settle(next);
    }
    // An open name goes on as the pattern needs it.
    if is_open { !places.is_empty() } else { places.contains(&pattern.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_reach_names_as_the_plugin_reads_them() {
        let user = "oauth4os:";
        for pattern in ["*", "oauth4os:*", "oauth4os:agent-7", "o*", "*:agent?", "oauth4os?*", "*7", "/.*/"] {
            assert_eq!(matches_some(pattern, user), Reach::Yes, "{pattern}");
        }
        for pattern in ["admin", "", "oauth4os", "oauth4os-x:*", "OAUTH4OS:*", "?"] {
            assert_eq!(matches_some(pattern, user), Reach::No, "{pattern}");
        }
        assert_eq!(matches_some("/oauth4os:.*/", user), Reach::Unknown);
    }

    #[test]
    fn whole_names_are_matched_to_their_end() {
        assert_eq!(matches("oauth4os_*", "oauth4os_read"), Reach::Yes);
        assert_eq!(matches("*_read", "oauth4os_read"), Reach::Yes);
        assert_eq!(matches("oauth4os_rea?", "oauth4os_read"), Reach::Yes);
        assert_eq!(matches("oauth4os_rea", "oauth4os_read"), Reach::No);
        assert_eq!(matches("oauth4os_read?", "oauth4os_read"), Reach::No);
        assert_eq!(matches("**a**d*", "oauth4os_read"), Reach::Yes);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_plain_reading(pattern in "[ab*?]{0,6}", name in "[ab]{0,6}") {
            fn plain(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.split_first(), name.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) if plain(rest, name) => true,
                    (Some((b'*', _)), Some((_, shorter))) => plain(pattern, shorter),
                    (Some((expected, rest)), Some((letter, shorter))) =>
                        (*expected == b'?' || expected == letter) && plain(rest, shorter),
                    _ => false,
                }
            }
            let expected = plain(pattern.as_bytes(), name.as_bytes());
            proptest::prop_assert_eq!(matches(&pattern, &name) == Reach::Yes, expected);
            if expected {
                proptest::prop_assert_eq!(matches_some(&pattern, &name), Reach::Yes);
            }
        }
    }
}
