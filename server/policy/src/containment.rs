//! Whether every name one set of patterns stands for is also in another set; whether two sets share a name.
//!
//! Both questions are decided over *all* possible index names, not over those that exist: an index may be created between
//! the decision and the request. The patterns become automata that run side by side over a reduced alphabet (the
//! letters that occur in them, the dot, and one that stands for every other); the search for a counterexample
//! builds only the states it reaches and is bounded by a [`Budget`], and whoever asks must take an exceeded budget as a refusal.

use std::collections::HashSet;

use crate::glob::{Glob, MAX_GLOB_CHARS};

/// The work one decision may spend on comparing patterns, in automaton steps (a few nanoseconds each).
#[derive(Debug)]
pub struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(400_000)
    }
}

impl Budget {
    fn spend(&mut self, steps: usize) -> Result<(), TooComplex> {
        let steps = u32::try_from(steps).map_err(|_| TooComplex)?;
        self.0 = self.0.checked_sub(steps).ok_or(TooComplex)?;
        Ok(())
    }
}

/// The patterns cannot be compared within the [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index patterns are too entangled to be compared, name the indices with fewer wildcards")]
pub struct TooComplex;

/// The names of one pattern without the names of others.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// What is included.
    pub include: &'a Glob,
    /// What is taken out again.
    pub exclusions: &'a [Glob],
}

/// A list of patterns and exclusions in which the last that matches a name decides.
///
/// `a*,-ab*,abc` stands for what begins with `a`, but of what begins with `ab` only for `abc`. The same set as a union:
/// each inclusion without the exclusions that come after it ([`Sequence::branches`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Each inclusion with the number of exclusions that stand before it.
    includes: Vec<(Glob, usize)>,
    exclusions: Vec<Glob>,
}

impl Sequence {
    /// Appends a pattern whose names are included from here on.
    pub fn include(&mut self, glob: Glob) {
        self.includes.push((glob, self.exclusions.len()));
    }

    /// Appends a pattern whose names are taken out of everything included so far.
    pub fn exclude(&mut self, glob: Glob) {
        self.exclusions.push(glob);
    }

    /// The union this sequence stands for.
    pub fn branches(&self) -> impl Iterator<Item = Branch<'_>> {
        self.includes
            .iter()
            .map(|(include, before)| Branch { include, exclusions: self.exclusions.get(*before..).unwrap_or_default() })
    }

    /// Whether `name` is in the set.
    pub fn matches(&self, name: &str) -> bool {
        self.branches().any(|branch| branch.matches(name))
    }

    /// All exclusions, in order.
    pub fn exclusions(&self) -> &[Glob] {
        &self.exclusions
    }
}

impl Branch<'_> {
    /// Whether `name` is included and not taken out again.
    pub fn matches(&self, name: &str) -> bool {
        self.include.matches(name) && !self.exclusions.iter().any(|exclusion| exclusion.matches(name))
    }

    /// Whether the branch stands for no name at all.
    ///
    /// # Errors
    /// When the budget does not suffice.
    pub fn is_empty(&self, budget: &mut Budget) -> Result<bool, TooComplex> {
        if self.include.is_literal() {
            return Ok(self.include.as_str().is_empty() || !self.matches(self.include.as_str()));
        }
        if self.exclusions.is_empty() {
            return Ok(false);
        }
        let mut product = Product::new(self.exclusions.len() + 1);
        product.add(self.include)?;
        product.add_all(self.relevant_exclusions())?;
        let found = product.find(budget, |states| {
            let Some((include, exclusions)) = states.split_first() else {
                return Verdict::Dead;
            };
            Verdict::of_request(include, exclusions)
        })?;
        Ok(!found)
    }

    fn relevant_exclusions(&self) -> impl Iterator<Item = &Glob> {
        self.exclusions.iter().filter(|exclusion| !exclusion.is_disjoint_by_ends(self.include))
    }
}

/// Whether every name of `requested` is in one of the `allowed` branches.
///
/// # Errors
/// When the budget does not suffice: the request must then be refused.
pub fn contains<'a>(
    allowed: impl Iterator<Item = Branch<'a>>,
    requested: Branch<'_>,
    budget: &mut Budget,
) -> Result<bool, TooComplex> {
    if requested.include.is_literal() {
        let name = requested.include.as_str();
        let mut allowed = allowed;
        return Ok(allowed.any(|branch| branch.matches(name)) || !requested.matches(name));
    }
    let mut candidates = Vec::new();
    for branch in allowed {
        if branch.include.is_disjoint_by_ends(requested.include) {
            continue;
        }
        if branch.exclusions.is_empty() && is_plainly_within(branch.include, requested.include) {
            return Ok(true);
        }
        candidates.push(branch);
    }
    if candidates.is_empty() && requested.exclusions.is_empty() {
        return Ok(false);
    }

    let mut product = Product::new(candidates.len() + 1);
    product.add(requested.include)?;
    let exclusions = product.add_all(requested.relevant_exclusions())?;
    let mut sizes = Vec::with_capacity(candidates.len());
    for branch in &candidates {
        product.add(branch.include)?;
        sizes.push(product.add_all(branch.relevant_exclusions())?);
    }
    let found = product.find(budget, |states| {
        let Some((include, rest)) = states.split_first() else {
            return Verdict::Dead;
        };
        let Some((excluded, mut rest)) = rest.split_at_checked(exclusions) else {
            return Verdict::Dead;
        };
        let verdict = Verdict::of_request(include, excluded);
        if verdict == Verdict::Dead {
            return verdict;
        }
        let mut covered = false;
        for size in &sizes {
            let Some((include, tail)) = rest.split_first() else {
                return Verdict::Dead;
            };
            let Some((excluded, tail)) = tail.split_at_checked(*size) else {
                return Verdict::Dead;
            };
            if include.accepts_everything && excluded.iter().all(|exclusion| exclusion.is_dead) {
                return Verdict::Dead;
            }
            covered |= include.accepts && !excluded.iter().any(|exclusion| exclusion.accepts);
            rest = tail;
        }
        if covered { Verdict::Continue } else { verdict }
    })?;
    Ok(!found)
}

/// Whether some name matches both `glob` and `requested`.
///
/// # Errors
/// When the budget does not suffice: what is forbidden must then be taken as touched.
pub fn overlaps(glob: &Glob, requested: Branch<'_>, budget: &mut Budget) -> Result<bool, TooComplex> {
    if requested.include.is_literal() {
        let name = requested.include.as_str();
        return Ok(glob.matches(name) && requested.matches(name));
    }
    if glob.is_literal() {
        return Ok(requested.matches(glob.as_str()));
    }
    if glob.is_disjoint_by_ends(requested.include) {
        return Ok(false);
    }
    let mut product = Product::new(requested.exclusions.len() + 2);
    product.add(glob)?;
    product.add(requested.include)?;
    product.add_all(requested.relevant_exclusions())?;
    product.find(budget, |states| {
        let Some((glob, rest)) = states.split_first() else {
            return Verdict::Dead;
        };
        let Some((include, exclusions)) = rest.split_first() else {
            return Verdict::Dead;
        };
        if glob.is_dead {
            return Verdict::Dead;
        }
        match Verdict::of_request(include, exclusions) {
            Verdict::Found if !glob.accepts => Verdict::Continue,
            verdict => verdict,
        }
    })
}

/// Containment that shows without a search: the same pattern, or a longer prefix under a `prefix*`.
fn is_plainly_within(allowed: &Glob, requested: &Glob) -> bool {
    let dots_fit = allowed.reaches_dots() || !requested.reaches_dots() || !requested.begins_with_wildcard();
    if allowed.as_str() == requested.as_str() {
        return dots_fit;
    }
    if !allowed.is_prefix() || !requested.prefix().starts_with(allowed.prefix()) {
        return false;
    }
    !allowed.prefix().is_empty() || allowed.reaches_dots() || (dots_fit && !requested.prefix().starts_with('.'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The name read so far is what was searched for.
    Found,
    /// No continuation of the name can be.
    Dead,
    Continue,
}

impl Verdict {
    fn of_request(include: &State, exclusions: &[State]) -> Self {
        if include.is_dead || exclusions.iter().any(|exclusion| exclusion.accepts_everything) {
            return Self::Dead;
        }
        if include.accepts && !exclusions.iter().any(|exclusion| exclusion.accepts) {
            Self::Found
        } else {
            Self::Continue
        }
    }
}

/// What one automaton says of the name read so far.
#[derive(Clone, Copy, Debug)]
struct State {
    accepts: bool,
    /// Every continuation is accepted.
    accepts_everything: bool,
    /// No continuation is accepted.
    is_dead: bool,
}

/// One pattern as a bit-parallel automaton: bit `i` says that the first `i` tokens have been matched.
struct Automaton {
    tokens: Vec<char>,
    stars: u128,
    end: u128,
    /// The `*` that ends the pattern, if one does: once reached, everything is accepted.
    last_star: u128,
    refuses_leading_dot: bool,
}

impl Automaton {
    fn new(glob: &Glob) -> Result<Self, TooComplex> {
        let tokens: Vec<char> = glob.as_str().chars().collect();
        if tokens.len() > MAX_GLOB_CHARS {
            return Err(TooComplex);
        }
        let stars = bits(&tokens, |token| token == '*');
        let end = 1 << tokens.len();
        let refuses_leading_dot = glob.begins_with_wildcard() && !glob.reaches_dots();
        Ok(Self { stars, end, last_star: stars & (end >> 1), tokens, refuses_leading_dot })
    }

    fn start(&self) -> u128 {
        self.close(1)
    }

    /// A `*` may also match nothing. Neighbouring stars do not occur ([`Glob`] draws them together), so once is enough.
    fn close(&self, bits: u128) -> u128 {
        bits | ((bits & self.stars) << 1)
    }

    /// The positions a letter leads away from; `None` is a letter no pattern names.
    fn consumers(&self, letter: Option<char>) -> u128 {
        bits(&self.tokens, |token| token == '?' || (token != '*' && Some(token) == letter))
    }

    fn state(&self, bits: u128) -> State {
        State { accepts: bits & self.end != 0, accepts_everything: bits & self.last_star != 0, is_dead: bits == 0 }
    }
}

fn bits(tokens: &[char], wanted: impl Fn(char) -> bool) -> u128 {
    tokens.iter().enumerate().filter(|(_, token)| wanted(**token)).fold(0, |bits, (at, _)| bits | (1 << at))
}

/// Automata that read the same name side by side.
struct Product {
    automata: Vec<Automaton>,
}

impl Product {
    fn new(capacity: usize) -> Self {
        Self { automata: Vec::with_capacity(capacity) }
    }

    fn add(&mut self, glob: &Glob) -> Result<(), TooComplex> {
        self.automata.push(Automaton::new(glob)?);
        Ok(())
    }

    fn add_all<'a>(&mut self, globs: impl Iterator<Item = &'a Glob>) -> Result<usize, TooComplex> {
        let before = self.automata.len();
        for glob in globs {
            self.add(glob)?;
        }
        Ok(self.automata.len() - before)
    }

    /// Whether a non-empty name exists for which `judge` says [`Verdict::Found`].
    fn find(&self, budget: &mut Budget, judge: impl Fn(&[State]) -> Verdict) -> Result<bool, TooComplex> {
        let alphabet = self.alphabet();
        budget.spend(alphabet.len() * self.automata.len())?;
        let letters: Vec<(bool, Vec<u128>)> = alphabet
            .iter()
            .map(|&letter| (letter == Some('.'), self.automata.iter().map(|a| a.consumers(letter)).collect()))
            .collect();

        let start: Vec<u128> = self.automata.iter().map(Automaton::start).collect();
        let mut seen: HashSet<Vec<u128>> = HashSet::new();
        let mut states: Vec<State> = Vec::with_capacity(self.automata.len());
        let mut open = vec![start];
        let mut first = true;
        while let Some(from) = open.pop() {
            for (is_dot, consumers) in &letters {
                budget.spend(self.automata.len())?;
                let to: Vec<u128> = self
                    .automata
                    .iter()
                    .zip(&from)
                    .zip(consumers)
                    .map(|((automaton, bits), consumers)| {
                        if first && *is_dot && automaton.refuses_leading_dot {
                            return 0;
                        }
                        automaton.close(((bits & consumers) << 1) | (bits & automaton.stars))
                    })
                    .collect();
                if seen.contains(&to) {
                    continue;
                }
                states.clear();
                states.extend(self.automata.iter().zip(&to).map(|(automaton, bits)| automaton.state(*bits)));
                match judge(&states) {
                    Verdict::Found => return Ok(true),
                    Verdict::Dead => {}
                    Verdict::Continue => {
                        seen.insert(to.clone());
                        open.push(to);
                    }
                }
            }
            first = false;
        }
        Ok(false)
    }

    fn alphabet(&self) -> Vec<Option<char>> {
        let mut letters: Vec<char> = self
            .automata
            .iter()
            .flat_map(|automaton| &automaton.tokens)
            .copied()
            .filter(|c| !crate::glob::is_wildcard(*c))
            .collect();
        letters.push('.');
        letters.sort_unstable();
        letters.dedup();
        letters.into_iter().map(Some).chain([None]).collect()
    }
}

#[cfg(test)]
#[path = "containment_tests.rs"]
mod tests;
