//! Index patterns as the security plugin matches them against whole index names: Java regular expressions.
//!
//! Only this module writes such expressions. They are made of escaped literals, `.*` and `.`; what is excluded stands in
//! a negative look-ahead; a leading wildcard begins with `(?!\.)`, so that hidden and system indices are left out; they
//! never contain `${`, which the plugin would substitute again.

use std::fmt::Write as _;

use crate::containment::Branch;
use crate::glob::Glob;

/// Matches no name: for a pattern that must be there and grant nothing.
pub(super) const NOTHING: &str = "/(?!)/";

/// One `/regex/` that matches exactly the names of the branches that are not forbidden.
pub(super) fn java_regex(branches: &[Branch<'_>], forbidden: &[Glob]) -> Option<String> {
    // Inclusions with the same exclusions share one look-ahead.
    let mut groups: Vec<(&[Glob], Vec<&Glob>)> = Vec::new();
    for branch in branches {
        match groups.iter_mut().find(|(exclusions, _)| *exclusions == branch.exclusions) {
            Some((_, includes)) if includes.contains(&branch.include) => {}
            Some((_, includes)) => includes.push(branch.include),
            None => groups.push((branch.exclusions, vec![branch.include])),
        }
    }
    let (last, others) = groups.split_last()?;
    let mut regex = String::from("/");
    write_look_ahead(&mut regex, forbidden);
    if others.is_empty() {
        write_group(&mut regex, last);
    } else {
        regex.push_str("(?:");
        for group in others {
            write_group(&mut regex, group);
            regex.push('|');
        }
        write_group(&mut regex, last);
        regex.push(')');
    }
    regex.push('/');
    Some(regex)
}

fn write_group(regex: &mut String, (exclusions, includes): &(&[Glob], Vec<&Glob>)) {
    write_look_ahead(regex, exclusions);
    write_alternatives(regex, includes.iter().copied());
}

fn write_look_ahead(regex: &mut String, exclusions: &[Glob]) {
    if !exclusions.is_empty() {
        regex.push_str("(?!");
        write_alternatives(regex, exclusions.iter());
        regex.push_str("$)");
    }
}

fn write_alternatives<'a>(regex: &mut String, globs: impl Iterator<Item = &'a Glob>) {
    regex.push_str("(?:");
    for (at, glob) in globs.enumerate() {
        if at > 0 {
            regex.push('|');
        }
        write_glob(regex, glob);
    }
    regex.push(')');
}

fn write_glob(regex: &mut String, glob: &Glob) {
    if glob.begins_with_wildcard() && !glob.reaches_dots() {
        regex.push_str(r"(?!\.)");
    }
    for letter in glob.as_str().chars() {
        match letter {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            letter if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '@' | '~') => regex.push(letter),
            letter if letter.is_ascii_punctuation() => {
                regex.push('\\');
                regex.push(letter);
            }
            // Patterns are made of ASCII; should another letter come, it stands for itself and nothing else.
            letter => {
                let _ = write!(regex, "\\x{{{:x}}}", u32::from(letter));
            }
        }
    }
}
