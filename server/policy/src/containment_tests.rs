use proptest::prelude::*;

use super::*;

/// Every name of one to `longest` letters over the letters of the generated patterns, the dot, and one that no pattern
/// names.
fn names(longest: u32) -> impl Iterator<Item = String> {
    const LETTERS: [char; 4] = ['a', 'b', '.', 'x'];
    (1..=longest).flat_map(|length| {
        (0..4_usize.pow(length)).map(move |mut number| {
            (0..length)
                .map(|_| {
                    let letter = LETTERS[number % 4];
                    number /= 4;
                    letter
                })
                .collect()
        })
    })
}

const LONGEST: u32 = 6;

fn sequence(items: &[(bool, String, bool)]) -> Sequence {
    let mut sequence = Sequence::default();
    for (includes, pattern, dots) in items {
        let glob = if *dots { Glob::with_dots(pattern) } else { Glob::new(pattern) };
        if *includes { sequence.include(glob) } else { sequence.exclude(glob) }
    }
    sequence
}

fn items(most: usize) -> impl Strategy<Value = Vec<(bool, String, bool)>> {
    prop::collection::vec((prop::bool::weighted(0.65), "[ab.*?*]{1,4}", any::<bool>()), 1..=most)
}

/// The law itself: the last item that matches decides.
fn last_match(items: &[(bool, String, bool)], name: &str) -> bool {
    let matching = |(_, pattern, dots): &&(bool, String, bool)| {
        if *dots { Glob::with_dots(pattern).matches(name) } else { Glob::new(pattern).matches(name) }
    };
    items.iter().rev().find(matching).is_some_and(|(includes, _, _)| *includes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_sequence_is_decided_by_its_last_match(items in items(5), name in "[ab.x]{1,6}") {
        prop_assert_eq!(sequence(&items).matches(&name), last_match(&items, &name));
    }

    /// Both directions: what is said to be contained is, for every name; what is not has a name that shows it.
    #[test]
    fn containment_is_containment_of_names(allowed in items(4), requested in items(3)) {
        let (allowed, requested) = (sequence(&allowed), sequence(&requested));
        for branch in requested.branches() {
            let contained = contains(allowed.branches(), branch, &mut Budget::default()).unwrap();
            let witness = names(LONGEST).find(|name| branch.matches(name) && !allowed.matches(name));
            prop_assert_eq!(contained, witness.is_none(), "{:?} shows it", witness);
        }
    }

    #[test]
    fn overlap_is_a_name_in_common(pattern in "[ab.*?]{1,4}", dots: bool, requested in items(3)) {
        let glob = if dots { Glob::with_dots(&pattern) } else { Glob::new(&pattern) };
        let requested = sequence(&requested);
        for branch in requested.branches() {
            let overlap = overlaps(&glob, branch, &mut Budget::default()).unwrap();
            let witness = names(LONGEST).find(|name| glob.matches(name) && branch.matches(name));
            prop_assert_eq!(overlap, witness.is_some(), "{:?} shows it", witness);
        }
    }

    #[test]
    fn emptiness_is_having_no_name(requested in items(4)) {
        for branch in sequence(&requested).branches() {
            let empty = branch.is_empty(&mut Budget::default()).unwrap();
            prop_assert_eq!(empty, !names(LONGEST).any(|name| branch.matches(&name)));
        }
    }

    /// Names as they are in the field, longer than the brute force reaches: soundness for the names drawn.
    #[test]
    fn containment_is_sound_for_long_names(
        allowed in "(logs|pii|metrics)-[a-c*?]{0,4}(-[0-9*]{0,4})?",
        requested in "(logs|pii|metrics|l|\\*)-?[a-c*?]{0,4}(-[0-9*]{0,4})?",
        tails in prop::collection::vec("[a-c0-9-]{0,8}", 8),
    ) {
        let (allowed, requested) = (Glob::new(&allowed), Glob::new(&requested));
        let branch = Branch { include: &requested, exclusions: &[] };
        if contains(std::iter::once(Branch { include: &allowed, exclusions: &[] }), branch, &mut Budget::default()).unwrap() {
            for tail in &tails {
                let name = requested.as_str().replace('*', tail).replace('?', "a");
                prop_assert!(allowed.matches(&name), "{}", name);
            }
        }
    }
}

fn contained(allowed: &[&str], requested: &str) -> bool {
    let allowed: Vec<Glob> = allowed.iter().map(|text| Glob::new(text)).collect();
    let requested = Glob::new(requested);
    let branches = allowed.iter().map(|include| Branch { include, exclusions: &[] });
    contains(branches, Branch { include: &requested, exclusions: &[] }, &mut Budget::default()).unwrap()
}

#[test]
fn containment_is_not_matching() {
    assert!(contained(&["logs-*"], "logs-2026*"));
    assert!(contained(&["logs-*"], "logs-*"));
    assert!(contained(&["logs-*"], "logs-a*b?c"));
    assert!(!contained(&["logs-*"], "l*"));
    assert!(!contained(&["logs-*"], "log?-*"));
    assert!(!contained(&["logs-*"], "*"));
    assert!(!contained(&["l?gs-*"], "l*gs-*"));
    assert!(contained(&["*-app"], "logs-*-app"));
    assert!(contained(&["a*", "?b*", "*"], "*b"), "the union covers what no single pattern does");
    assert!(contained(&["?", "??*"], "*"), "every name has one letter, or two and more");
    assert!(!contained(&["*"], ".kibana*"));
    assert!(contained(&[".kib*"], ".kibana*"));
}

#[test]
fn entangled_patterns_run_out_of_budget_instead_of_time() {
    let text = format!("*{}", "a?b?".repeat(30));
    let many: Vec<Glob> = (0..20).map(|n| Glob::new(&format!("*a{}b*", "?".repeat(n + 20)))).collect();
    let requested = Glob::new(&text);
    let branches = many.iter().map(|include| Branch { include, exclusions: &[] });
    let branch = Branch { include: &requested, exclusions: &[] };
    let started = std::time::Instant::now();
    let _ = contains(branches, branch, &mut Budget::default());
    assert!(started.elapsed().as_secs() < 5, "the budget bounds the work");

    let mut budget = Budget(10);
    let wide = Glob::new("*a*b*a*b*");
    let branch = Branch { include: &wide, exclusions: &[] };
    let narrow = Glob::new("*b*a*b*b*a*");
    assert_eq!(
        contains(std::iter::once(Branch { include: &narrow, exclusions: &[] }), branch, &mut budget),
        Err(TooComplex)
    );
    let too_long = Glob::new(&format!("*{}*", "a".repeat(200)));
    let branch = Branch { include: &too_long, exclusions: &[] };
    assert_eq!(
        contains(std::iter::once(Branch { include: &narrow, exclusions: &[] }), branch, &mut Budget::default()),
        Err(TooComplex)
    );
}
