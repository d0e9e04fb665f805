//! What grants and field sets must be to mean something.

use std::collections::BTreeMap;

use super::{FieldSet, FieldSets, GrantConfig, Reference, RowBool, RowField, RowValue, RowValues, Rows};
use crate::problem::Problems;

/// The deepest and the largest filter.
const MAX_DEPTH: usize = 6;
const MAX_CLAUSES: usize = 64;
/// The longest name of a field, in bytes.
const MAX_FIELD: usize = 256;
const MAX_FIELD_SETS: usize = 16;
const MAX_FIELDS: usize = 256;
const MAX_FIELD_SET_NAME: usize = 24;

/// Where the values of a filter may come from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// From the client, which has these labels.
    Client(&'a BTreeMap<String, String>),
    /// From a provider's token.
    Provider,
}

impl GrantConfig {
    pub(crate) fn check(&self, key: &str, source: Source<'_>, sets: &FieldSets, problems: &mut Problems) {
        let key = format!("{key} `{}`", self.scope);
        if self.rows.is_none() && self.fields.is_none() {
            problems.add(&key, "give `rows` or `fields`; a scope without either stands in `scopes`");
        }
        if let Some(name) = &self.fields
            && !sets.contains_key(name)
        {
            problems.add(&key, format!("there is no `{name}` in `field_sets`"));
        }
        if let Some(rows) = &self.rows {
            let mut clauses = 0;
            if let Err(problem) = rows.check(1, &mut clauses, source) {
                problems.add(format!("{key}: rows"), problem);
            }
        }
    }
}

impl Rows {
    fn check(&self, depth: usize, clauses: &mut usize, source: Source<'_>) -> Result<(), String> {
        *clauses += 1;
        if depth > MAX_DEPTH || *clauses > MAX_CLAUSES {
            return Err(format!("a filter has at most {MAX_CLAUSES} clauses, {MAX_DEPTH} deep"));
        }
        match self {
            Self::Term(fields) => source.check(one_field(fields)?),
            Self::Terms(fields) => match one_field(fields)? {
                RowValues::List(values) if values.is_empty() => {
                    Err("`terms` without a value takes no document; take the grant away instead".to_owned())
                }
                RowValues::List(values) => values.iter().try_for_each(|value| source.check(value)),
                RowValues::From(reference) => source.check_reference(reference),
            },
            Self::Range(fields) => {
                let bounds = one_field(fields)?;
                let bounds: Vec<_> = [&bounds.gt, &bounds.gte, &bounds.lt, &bounds.lte].into_iter().flatten().collect();
                if bounds.is_empty() {
                    return Err("`range` needs one of `gt`, `gte`, `lt`, `lte`".to_owned());
                }
                bounds.into_iter().try_for_each(|value| source.check(value))
            }
            Self::Exists(RowField { field }) => check_field(field),
            Self::Bool(RowBool { filter, should, must_not }) => {
                if filter.is_empty() && should.is_empty() && must_not.is_empty() {
                    return Err("`bool` without a clause takes every document".to_owned());
                }
                let mut all = filter.iter().chain(should).chain(must_not);
                all.try_for_each(|rows| rows.check(depth + 1, clauses, source))
            }
        }
    }
}

impl Source<'_> {
    fn check(self, value: &RowValue) -> Result<(), String> {
        if let RowValue::From(reference) = value { self.check_reference(reference) } else { Ok(()) }
    }

    fn check_reference(self, reference: &Reference) -> Result<(), String> {
        match (self, reference) {
            (Self::Client(_), Reference::ClientId) | (Self::Provider, Reference::Claim(_)) => Ok(()),
            (Self::Client(labels), Reference::Label(name)) if labels.contains_key(name) => Ok(()),
            (Self::Client(_), Reference::Label(name)) => Err(format!("the client has no label `{name}`")),
            (Self::Client(_), Reference::Claim(_)) => Err(format!(
                "`${{{reference}}}` is for tokens of providers; a client has `${{client.id}}` and `${{label.<name>}}`"
            )),
            (Self::Provider, _) => {
                Err(format!("`${{{reference}}}` is for clients; a provider's token has `${{claim.<path>}}`"))
            }
        }
    }
}

fn one_field<V>(fields: &BTreeMap<String, V>) -> Result<&V, String> {
    let mut all = fields.iter();
    match (all.next(), all.next()) {
        (Some((field, value)), None) => check_field(field).map(|()| value),
        _ => Err("a clause names one field; join several with `bool`".to_owned()),
    }
}

fn check_field(field: &str) -> Result<(), String> {
    if field.is_empty() || field.len() > MAX_FIELD || field.chars().any(|c| c.is_control() || matches!(c, '*' | '$')) {
        return Err(format!("a field has a name of 1 to {MAX_FIELD} bytes, without `*`, `$` and control characters"));
    }
    Ok(())
}

pub(crate) fn check_field_sets(sets: &FieldSets, problems: &mut Problems) {
    if sets.len() > MAX_FIELD_SETS {
        problems.add("field_sets", format!("at most {MAX_FIELD_SETS}: each is a handful of roles in the engine"));
    }
    for (name, set) in sets {
        let key = format!("field_sets `{name}`");
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() > MAX_FIELD_SET_NAME || !name.bytes().all(is_plain) {
            problems.add(
                &key,
                format!("a name has 1 to {MAX_FIELD_SET_NAME} of `a-z`, `0-9`, `_`: roles are called after it"),
            );
        }
        let (FieldSet::Exclude(fields) | FieldSet::Include(fields)) = set;
        if fields.is_empty() || fields.len() > MAX_FIELDS {
            problems.add(&key, format!("name 1 to {MAX_FIELDS} fields"));
        }
        for field in fields {
            // The plugin reads `~` as "all but", substitutes `${`, and takes `/…/` for a regular expression.
            if check_field(&field.replace('*', "a")).is_err() || field.starts_with(['~', '/']) {
                problems.add(&key, format!("`{}` is not the name of a field", field.escape_default()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn problems(yaml: &str, source: Source<'_>) -> String {
        let grant: GrantConfig = match serde_saphyr::from_str(yaml) {
            Ok(grant) => grant,
            Err(error) => return error.to_string(),
        };
        let sets = FieldSets::from([("slim".to_owned(), FieldSet::Exclude(BTreeSet::from(["email".to_owned()])))]);
        let mut problems = Problems::default();
        grant.check("grants", source, &sets, &mut problems);
        problems.to_string()
    }

    #[test]
    fn what_can_be_written() {
        let labels = BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]);
        for rows in [
            "{term: {tenant: acme}}",
            "{term: {tenant: '${label.tenant}'}}",
            "{term: {owner: '${client.id}'}}",
            "{terms: {region: [eu, 7, true, 1.5]}}",
            "{range: {year: {gte: 2026, lt: 2027}}}",
            "{exists: {field: tenant.name}}",
            "{bool: {must: [{term: {a: 1}}], should: [{term: {b: 'a $ b { }'}}], must_not: [{exists: {field: c}}]}}",
        ] {
            let yaml = format!("{{scope: 'read:orders-*', rows: {rows}, fields: slim}}");
            assert_eq!(problems(&yaml, Source::Client(&labels)), "", "{rows}");
        }
        let claim = "{scope: 'read:x', rows: {terms: {org: '${claim.orgs\\.of.me}'}}}";
        assert_eq!(problems(claim, Source::Provider), "");
    }

    #[test]
    fn what_cannot_is_refused_with_a_sentence() {
        let labels = BTreeMap::new();
        for (rest, expected) in [
            ("", "give `rows` or `fields`"),
            (", fields: fat", "there is no `fat`"),
            (", rows: {match: {a: b}}", "match"),
            (", rows: {script: {source: '1'}}", "script"),
            (", rows: {term: {a: b, c: d}}", "names one field"),
            (", rows: {term: {}}", "names one field"),
            (", rows: {term: {'a*': 1}}", "without `*`"),
            (", rows: {exists: {field: '${client.id}'}}", "without `*`, `$`"),
            (", rows: {term: {a: {value: b}}}", "a text, a number, true or false"),
            (", rows: {term: {a: null}}", "a text, a number, true or false"),
            (", rows: {term: {a: .inf}}", "non-finite"),
            (", rows: {term: {a: 'x-${client.id}'}}", "as a whole"),
            (", rows: {term: {a: '${user.name}'}}", "as a whole"),
            (", rows: {term: {a: '${label.x}'}}", "no label `x`"),
            (", rows: {term: {a: '${claim.org}'}}", "for tokens of providers"),
            (", rows: {terms: {a: {index: b, id: '1', path: c}}}", "a list of values"),
            (", rows: {terms: {a: b}}", "use `term`"),
            (", rows: {terms: {a: []}}", "takes no document"),
            (", rows: {range: {a: {}}}", "needs one of"),
            (", rows: {range: {a: {from: 1}}}", "from"),
            (", rows: {bool: {}}", "takes every document"),
            (
                ", rows: {bool: {filter: [{bool: {filter: [{bool: {filter: [{bool: {filter: [{bool: {filter: [{bool: {filter: [{term: {a: 1}}]}}]}}]}}]}}]}}]}}",
                "6 deep",
            ),
        ] {
            let shown = problems(&format!("{{scope: 'read:x'{rest}}}"), Source::Client(&labels));
            assert!(shown.contains(expected), "{rest}: {shown}");
        }
        let shown = problems("{scope: 'read:x', rows: {term: {a: '${client.id}'}}}", Source::Provider);
        assert!(shown.contains("is for clients"), "{shown}");
    }

    #[test]
    fn field_sets_are_checked() {
        let shown = |yaml: &str| {
            let sets: FieldSets = serde_saphyr::from_str(yaml).unwrap();
            let mut problems = Problems::default();
            check_field_sets(&sets, &mut problems);
            problems.to_string()
        };
        assert_eq!(shown("{slim: {exclude: [email, 'card.*']}, ids: {include: [id]}}"), "");
        for (yaml, expected) in [
            ("{Slim: {exclude: [a]}}", "a name has"),
            ("{slim: {exclude: []}}", "name 1 to"),
            ("{slim: {exclude: ['~a']}}", "`~a` is not"),
            ("{slim: {exclude: ['/a/']}}", "`/a/` is not"),
            ("{slim: {include: ['${user.name}']}}", "is not the name of a field"),
        ] {
            assert!(shown(yaml).contains(expected), "{yaml}: {}", shown(yaml));
        }
    }
}
