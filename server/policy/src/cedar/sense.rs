//! In which sense a policy means `resource in Index::"pattern"`: containment or overlap.
//!
//! A request for `l*` is partly inside `logs-*`. Where a policy grants if the test holds, the test must hold for *every*
//! name asked for; where it takes away, it must hold as soon as *one* name fits. Which is which follows from the effect
//! and from the negations around the test:
//!
//! | | `when` and the scope | `unless` |
//! | --- | --- | --- |
//! | `permit` | containment | overlap |
//! | `forbid` | overlap | containment |
//!
//! and `!` turns one into the other. The rewrite puts `IndexOverlap::"pattern"` where overlap is meant. Tests of which the sense
//! cannot be told are refused, as is whatever could fail when evaluated.

use std::collections::BTreeSet;

use cedar_policy::Effect;
use serde_json::{Map, Value, json};

use crate::expression::has_wildcard;
use crate::scope::check_pattern;

/// The entity type that stands for overlap in rewritten policies. Not in the schema, so no policy can name it.
pub(super) const OVERLAP: &str = "IndexOverlap";
/// The entity type that stands for containment.
pub(super) const CONTAINED: &str = "Index";
/// The entity type of saved objects of Dashboards; the id is the type of the object.
const SAVED_OBJECT: &str = "Dashboard";

/// The patterns a policy names, by sense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Patterns {
    pub(super) contained: BTreeSet<String>,
    pub(super) overlapped: BTreeSet<String>,
    /// Types of saved objects, which are not patterns.
    pub(super) saved_objects: BTreeSet<String>,
}

/// A policy in Cedar's JSON form with the senses told apart.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) json: Value,
    pub(super) patterns: Patterns,
    /// The patterns of the resource scope of a forbid without any condition: they are forbidden whatever else holds.
    pub(super) unconditional: Option<Vec<String>>,
}

/// Tells the senses apart. The reason of a refusal says what to write instead.
pub(super) fn rewrite(mut policy: Value, effect: Effect) -> Result<Rewritten, String> {
    let sense = match effect {
        Effect::Permit => Sense::Containment,
        Effect::Forbid => Sense::Overlap,
    };
    let mut rewriter = Rewriter { patterns: Patterns::default() };
    let Some(fields) = policy.as_object_mut() else {
        return Err(unreadable());
    };
    // Ids and annotations are kept elsewhere; Cedar copies them on every evaluation.
    fields.remove("annotations");
    let resource = fields.get_mut("resource").ok_or_else(unreadable)?;
    rewriter.scope(resource, sense)?;
    let scope_patterns: Vec<String> = rewriter.patterns.overlapped.iter().cloned().collect();
    let conditions = fields.get_mut("conditions").and_then(Value::as_array_mut).ok_or_else(unreadable)?;
    let unconditional =
        (effect == Effect::Forbid && conditions.is_empty() && !scope_patterns.is_empty()).then_some(scope_patterns);
    for condition in conditions {
        let sense = match condition.get("kind").and_then(Value::as_str) {
            Some("when") => sense,
            Some("unless") => sense.negated(),
            _ => return Err(unreadable()),
        };
        let body = condition.get_mut("body").ok_or_else(unreadable)?;
        *body = rewriter.condition(body.take(), Some(sense))?;
    }
    Ok(Rewritten { json: policy, patterns: rewriter.patterns, unconditional })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Containment,
    Overlap,
}

impl Sense {
    const fn negated(self) -> Self {
        match self {
            Self::Containment => Self::Overlap,
            Self::Overlap => Self::Containment,
        }
    }
}

struct Rewriter {
    patterns: Patterns,
}

impl Rewriter {
    /// The `resource` part of the policy's head.
    fn scope(&mut self, resource: &mut Value, sense: Sense) -> Result<(), String> {
        let fields = resource.as_object_mut().ok_or_else(unreadable)?;
        if fields.contains_key("slot") {
            return Err("templates are not read, name the resource".to_owned());
        }
        let compares_equal = fields.get("op").and_then(Value::as_str) == Some("==");
        if let Some(entity) = fields.get_mut("entity") {
            let is_index = self.entity(entity, Some(sense), compares_equal)?;
            if is_index && compares_equal {
                fields.insert("op".to_owned(), json!("in"));
            }
        }
        if let Some(entity) = fields.get_mut("in").and_then(|within| within.get_mut("entity")) {
            self.entity(entity, Some(sense), false)?;
        }
        Ok(())
    }

    /// A condition or a part of one. `sense` is lost where the value is not simply joined to the outcome.
    fn condition(&mut self, expression: Value, sense: Option<Sense>) -> Result<Value, String> {
        let (operator, argument) = only_field(expression)?;
        let rewritten = match operator.as_str() {
            "Value" => {
                if names_index(&argument) {
                    return Err("an index pattern is only understood in `resource in Index::\"pattern\"`".to_owned());
                }
                argument
            }
            "Var" => {
                if argument == "resource" {
                    return Err(
                        "`resource` is only understood in `resource in ...`, `resource == ...` and `resource is ...`"
                            .to_owned(),
                    );
                }
                argument
            }
            "!" => self.each(argument, &["arg"], sense.map(Sense::negated))?,
            "&&" | "||" => self.each(argument, &["left", "right"], sense)?,
            "if-then-else" => {
                let argument = self.each(argument, &["if"], None)?;
                self.each(argument, &["then", "else"], sense)?
            }
            "==" | "!=" | "in" if is_resource(argument.get("left")) => {
                return self.resource_test(&operator, argument, sense);
            }
            "is" if is_resource(argument.get("left")) => self.resource_type_test(argument, sense)?,
            "==" | "!=" | "in" | "contains" | "containsAll" | "containsAny" => {
                self.each(argument, &["left", "right"], None)?
            }
            "is" => self.each(argument, &["left", "in"], None)?,
            "Set" => {
                let Value::Array(members) = argument else {
                    return Err(unreadable());
                };
                members.into_iter().map(|member| self.condition(member, None)).collect::<Result<_, _>>()?
            }
            "Slot" => {
                return Err("templates are not read, name the principal and the resource".to_owned());
            }
            _ => {
                return Err(format!("the operator `{operator}` is not available in conditions"));
            }
        };
        Ok(object(&operator, rewritten))
    }

    fn each(&mut self, mut argument: Value, fields: &[&str], sense: Option<Sense>) -> Result<Value, String> {
        for field in fields {
            if let Some(part) = argument.get_mut(field) {
                *part = self.condition(part.take(), sense)?;
            }
        }
        Ok(argument)
    }

    /// `resource in x`, `resource == x`, `resource != x`.
    fn resource_test(&mut self, operator: &str, mut argument: Value, sense: Option<Sense>) -> Result<Value, String> {
        let negates = operator == "!=";
        let sense = if negates { sense.map(Sense::negated) } else { sense };
        let right = argument.get_mut("right").ok_or_else(unreadable)?;
        let is_index = self.test_against(right, sense, operator != "in")?;
        if operator == "in" || !is_index {
            return Ok(object(operator, argument));
        }
        // A request for one name is that name exactly when it is contained in it.
        let contained = object("in", argument);
        Ok(if negates { object("!", json!({ "arg": contained })) } else { contained })
    }

    /// `resource is T`, `resource is T in x`.
    fn resource_type_test(&mut self, mut argument: Value, sense: Option<Sense>) -> Result<Value, String> {
        if let Some(within) = argument.get_mut("in") {
            self.test_against(within, sense, false)?;
        }
        Ok(argument)
    }

    /// The right side of a test: an entity or a set of entities. Says whether an index pattern was among them.
    fn test_against(&mut self, right: &mut Value, sense: Option<Sense>, compares_equal: bool) -> Result<bool, String> {
        if let Some(members) = right.get_mut("Set").and_then(Value::as_array_mut) {
            let mut any = false;
            for member in members {
                any |= self.test_against(member, sense, compares_equal)?;
            }
            return Ok(any);
        }
        match right.get_mut("Value") {
            Some(Value::Array(members)) => {
                let mut any = false;
                for member in members {
                    any |= self.entity(member, sense, compares_equal)?;
                }
                Ok(any)
            }
            Some(entity) => self.entity(entity, sense, compares_equal),
            None => {
                Err("`resource` is only compared with entities written out, such as `Index::\"logs-*\"`".to_owned())
            }
        }
    }

    /// One entity literal. Index patterns are noted and, in the sense of overlap, renamed.
    fn entity(&mut self, entity: &mut Value, sense: Option<Sense>, compares_equal: bool) -> Result<bool, String> {
        let entity =
            if entity.get("__entity").is_some() { entity.get_mut("__entity").ok_or_else(unreadable)? } else { entity };
        if entity.get("type").and_then(Value::as_str) == Some(SAVED_OBJECT) {
            self.patterns.saved_objects.extend(entity.get("id").and_then(Value::as_str).map(str::to_owned));
        }
        if entity.get("type").and_then(Value::as_str) != Some(CONTAINED) {
            return Ok(false);
        }
        let pattern = entity.get("id").and_then(Value::as_str).ok_or_else(unreadable)?.to_owned();
        check_pattern(&pattern).map_err(|problem| format!("it names the index pattern `{pattern}`, {problem}"))?;
        if compares_equal && has_wildcard(&pattern) {
            return Err(format!(
                "a request is never equal to the pattern `{pattern}`, write `resource in Index::\"{pattern}\"`"
            ));
        }
        match sense {
            Some(Sense::Containment) => {
                self.patterns.contained.insert(pattern);
            }
            Some(Sense::Overlap) => {
                self.patterns.overlapped.insert(pattern);
                entity.as_object_mut().ok_or_else(unreadable)?.insert("type".to_owned(), json!(OVERLAP));
            }
            None => {
                return Err(format!(
                    "a test for `{pattern}` inside a comparison or an `if` cannot be told to mean all or some of the names asked for, join tests with `&&`, `||` and `!`"
                ));
            }
        }
        Ok(true)
    }
}

fn is_resource(expression: Option<&Value>) -> bool {
    expression.and_then(|expression| expression.get("Var")).and_then(Value::as_str) == Some("resource")
}

/// Whether an index pattern stands anywhere in a literal.
fn names_index(value: &Value) -> bool {
    match value {
        Value::Array(members) => members.iter().any(names_index),
        Value::Object(fields) => {
            fields.get("type").and_then(Value::as_str) == Some(CONTAINED) || fields.values().any(names_index)
        }
        _ => false,
    }
}

fn only_field(expression: Value) -> Result<(String, Value), String> {
    let Value::Object(fields) = expression else {
        return Err(unreadable());
    };
    let mut fields = fields.into_iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => Ok(field),
        _ => Err(unreadable()),
    }
}

fn object(field: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(field.to_owned(), value)]))
}

fn unreadable() -> String {
    "it has a form that is not understood".to_owned()
}
