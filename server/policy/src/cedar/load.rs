//! Reading policies: parsed, validated against the schema, their senses told apart.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator,
};
use miette::Diagnostic;

use super::sense::{self, Patterns};
use crate::forbids::Actions;

/// One file of policies.
#[derive(Clone, Copy, Debug)]
pub struct PolicyFile<'a> {
    /// Its name, for messages and policy ids.
    pub name: &'a str,
    /// Its contents, in Cedar's syntax.
    pub text: &'a str,
}

/// A policy that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file it stands in.
    pub file: String,
    /// Its id; `None` if the file could not be parsed so far.
    pub policy: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

/// Everything that is wrong with the policies. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors {
    /// One by one.
    pub errors: Vec<PolicyError>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.policy {
            Some(policy) => write!(f, "the policy `{policy}` in `{}` is refused: {}", self.file, self.reason),
            None => write!(f, "the policy file `{}` cannot be read: {}", self.file, self.reason),
        }
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}
impl std::error::Error for PolicyErrors {}

/// A policy ready for evaluation.
#[derive(Debug)]
pub(super) struct LoadedPolicy {
    pub(super) id: String,
    pub(super) effect: Effect,
    /// Without annotations, the senses of its patterns told apart.
    pub(super) policy: Policy,
    pub(super) patterns: Patterns,
    /// What it forbids without any condition, and which actions there.
    pub(super) unconditional: Vec<String>,
    pub(super) actions: Actions,
}

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) policies: Vec<LoadedPolicy>,
}

pub(super) fn load(files: &[PolicyFile<'_>]) -> Result<Loaded, PolicyErrors> {
    let mut loader = Loader::default();
    for file in files {
        loader.read(file);
    }
    loader.validate(files);
    if loader.errors.is_empty() {
        let policies = loader.policies.into_iter().map(|(_, policy)| policy).collect();
        return Ok(Loaded { policies });
    }
    Err(PolicyErrors { errors: loader.errors })
}

#[derive(Default)]
struct Loader {
    /// With the file each comes from.
    policies: Vec<(String, LoadedPolicy)>,
    /// As written, for the validator.
    originals: PolicySet,
    files: BTreeMap<String, String>,
    errors: Vec<PolicyError>,
}

impl Loader {
    fn read(&mut self, file: &PolicyFile<'_>) {
        let set = match PolicySet::from_str(file.text) {
            Ok(set) => set,
            Err(errors) => {
                for error in errors.iter() {
                    let reason = format!("{}{error}", position(file.text, error));
                    self.refuse(file.name, None, reason);
                }
                return;
            }
        };
        if set.templates().next().is_some() {
            self.refuse(
                file.name,
                None,
                "it holds a template (`?principal`, `?resource`), write principal and resource out".to_owned(),
            );
        }
        let mut numbered: Vec<(usize, &Policy)> = set.policies().map(|policy| (number(policy.id()), policy)).collect();
        numbered.sort_by_key(|(number, _)| *number);
        for (at, (_, policy)) in numbered.into_iter().enumerate() {
            let id = policy
                .annotation("id")
                .filter(|id| !id.is_empty())
                .map_or_else(|| format!("{}#{}", file.name, at + 1), str::to_owned);
            self.add(file.name, id, policy);
        }
    }

    fn add(&mut self, file: &str, id: String, policy: &Policy) {
        let original = policy.new_id(PolicyId::new(&id));
        if self.originals.add(original).is_err() {
            let other = self.files.get(&id).cloned().unwrap_or_default();
            return self.refuse(
                file,
                Some(id),
                format!("its id is already taken by a policy in `{other}`, ids must be unique"),
            );
        }
        self.files.insert(id.clone(), file.to_owned());
        match compile(&id, policy) {
            Ok(policy) => self.policies.push((file.to_owned(), policy)),
            Err(reason) => self.refuse(file, Some(id), reason),
        }
    }

    fn validate(&mut self, files: &[PolicyFile<'_>]) {
        let schema = match super::schema() {
            Ok(schema) => schema,
            Err(reason) => {
                return self.refuse(files.first().map_or("", |file| file.name), None, reason);
            }
        };
        let result = Validator::new(schema).validate(&self.originals, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| (error.policy_id(), with_help(error.to_string(), error)));
        let warnings =
            result.validation_warnings().filter(|warning| !matches!(warning, ValidationWarning::MixedScriptString(_)));
        let warnings = warnings.map(|warning| (warning.policy_id(), warning.to_string()));
        // One slip often shows in every action; one sentence per policy is enough, and an error says more than a warning.
        let mut found: BTreeMap<&str, String> = BTreeMap::new();
        for (id, reason) in errors.chain(warnings) {
            found.entry(id.as_ref()).or_insert(reason);
        }
        for (id, reason) in found {
            let file = self.files.get(id).cloned().unwrap_or_default();
            // The validator's sentence begins with the id, which stands in ours already.
            let reason = reason.strip_prefix(&format!("for policy `{id}`, ")).unwrap_or(&reason).to_owned();
            self.errors.retain(|error| error.policy.as_deref() != Some(id));
            self.refuse(&file, Some(id.to_owned()), reason);
        }
    }

    fn refuse(&mut self, file: &str, policy: Option<String>, reason: String) {
        self.errors.push(PolicyError { file: file.to_owned(), policy, reason });
    }
}

fn compile(id: &str, policy: &Policy) -> Result<LoadedPolicy, String> {
    let json = policy.to_json().map_err(|error| error.to_string())?;
    let rewritten = sense::rewrite(json, policy.effect())?;
    let compiled = Policy::from_json(Some(PolicyId::new(id)), rewritten.json).map_err(|error| error.to_string())?;
    Ok(LoadedPolicy {
        id: id.to_owned(),
        effect: policy.effect(),
        policy: compiled,
        patterns: rewritten.patterns,
        unconditional: rewritten.unconditional.unwrap_or_default(),
        actions: actions(&policy.action_constraint()),
    })
}

fn actions(constraint: &ActionConstraint) -> Actions {
    let named = |action: &EntityUid| Actions::named(action.id().unescaped());
    match constraint {
        ActionConstraint::Any => Actions::ALL,
        ActionConstraint::Eq(action) => named(action),
        ActionConstraint::In(actions) => actions.iter().map(named).fold(Actions::of(&[]), Actions::and),
    }
}

/// The position Cedar gave a policy when it read the file: `policy0`, `policy1`, ...
fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.strip_prefix("policy").and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

/// `line 3: ` if the error says where it is.
fn position(text: &str, error: &impl Diagnostic) -> String {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let before = offset.and_then(|offset| text.split_at_checked(offset.min(text.len())));
    before.map_or_else(String::new, |(before, _)| format!("line {}: ", before.matches('\n').count() + 1))
}

fn with_help(sentence: String, error: &impl Diagnostic) -> String {
    match error.help() {
        Some(help) => format!("{sentence} ({help})"),
        None => sentence,
    }
}
