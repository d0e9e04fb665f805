//! What a check found.

use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Could not be looked at.
    NotChecked,
    /// May widen a token, or will surprise somebody.
    Warning,
    /// The gateway does not work with this cluster, or a token gets more than it says.
    Failure,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// How much it matters.
    pub severity: Severity,
    /// What was checked, in a word or two.
    pub subject: &'static str,
    /// What was found and what to do.
    pub sentence: String,
}

/// Every finding, in the order of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub items: Vec<Item>,
}

impl Report {
    /// The worst severity; [`Severity::Ok`] when there is no finding.
    #[must_use]
    pub fn worst(&self) -> Severity {
        self.items.iter().map(|item| item.severity).max().unwrap_or(Severity::Ok)
    }

    pub(super) fn add(&mut self, severity: Severity, subject: &'static str, sentence: impl Into<String>) {
        self.items.push(Item { severity, subject, sentence: sentence.into() });
    }

    pub(super) fn ok(&mut self, subject: &'static str, sentence: impl Into<String>) {
        self.add(Severity::Ok, subject, sentence);
    }

    pub(super) fn not_checked(&mut self, subject: &'static str, sentence: impl Into<String>) {
        self.add(Severity::NotChecked, subject, sentence);
    }

    pub(super) fn warning(&mut self, subject: &'static str, sentence: impl Into<String>) {
        self.add(Severity::Warning, subject, sentence);
    }

    pub(super) fn failure(&mut self, subject: &'static str, sentence: impl Into<String>) {
        self.add(Severity::Failure, subject, sentence);
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Failure => "failure",
        })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {}: {}", self.severity, self.subject, self.sentence)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.iter().try_for_each(|item| writeln!(f, "{item}"))?;
        let count = |severity| self.items.iter().filter(|item| item.severity == severity).count();
        let plural =
            |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
        writeln!(f, "{}, {}", plural(count(Severity::Failure), "failure"), plural(count(Severity::Warning), "warning"))
    }
}
