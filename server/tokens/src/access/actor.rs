//! Who acts for whom (RFC 8693 section 4.1).

use serde_json::{Map, Value};

/// The most actors one after the other: as often a token can be exchanged for another one.
pub const MAX_ACTORS: usize = 4;

/// Somebody who acts for the subject of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// The name, as a subject is named.
    pub sub: String,
    /// The client that showed a token of the actor, when it was not the actor itself.
    pub client_id: Option<String>,
}

impl Actor {
    /// A client that acts itself.
    #[must_use]
    pub fn new(sub: impl Into<String>) -> Self {
        Self { sub: sub.into(), client_id: None }
    }
}

/// The claim `act`: the actor in front, in it those who acted before; `None` without any.
#[must_use]
pub fn write_actors(actors: &[Actor]) -> Option<Value> {
    actors.iter().rev().fold(None, |before, actor| {
        let mut act = Map::new();
        act.insert("sub".to_owned(), actor.sub.as_str().into());
        if let Some(client_id) = &actor.client_id {
            act.insert("client_id".to_owned(), client_id.as_str().into());
        }
        if let Some(before) = before {
            act.insert("act".to_owned(), before);
        }
        Some(Value::Object(act))
    })
}

/// Reads the claim `act` as it is written here; `None` when it is anything else, or has more than [`MAX_ACTORS`].
#[must_use]
pub fn read_actors(claim: Value) -> Option<Vec<Actor>> {
    let mut actors = Vec::new();
    let mut next = Some(claim);
    while let Some(claim) = next {
        let Value::Object(mut act) = claim else { return None };
        let sub = match act.remove("sub") {
            Some(Value::String(sub)) if !sub.is_empty() => sub,
            _ => return None,
        };
        let client_id = match act.remove("client_id") {
            None => None,
            Some(Value::String(id)) if !id.is_empty() => Some(id),
            Some(_) => return None,
        };
        next = act.remove("act");
        if !act.is_empty() || actors.len() == MAX_ACTORS {
            return None;
        }
        actors.push(Actor { sub, client_id });
    }
    Some(actors)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chain_is_read_as_it_was_written() {
        let mut chain = Vec::new();
        assert_eq!(write_actors(&chain), None);
        for number in 0..MAX_ACTORS {
            let client_id = (number % 2 == 0).then(|| "runner".to_owned());
            chain.insert(0, Actor { sub: format!("agent-{number}"), client_id });
            assert_eq!(read_actors(write_actors(&chain).unwrap()), Some(chain.clone()));
        }
        chain.push(Actor::new("one too many"));
        assert_eq!(read_actors(write_actors(&chain).unwrap()), None);
    }

    #[test]
    fn what_nobody_writes_here_is_not_read() {
        assert_eq!(read_actors(json!({"sub": "a"})), Some(vec![Actor::new("a")]));
        for claim in [
            json!(null),
            json!("a"),
            json!([]),
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 1}),
            json!({"sub": "a", "client_id": ""}),
            json!({"sub": "a", "client_id": null}),
            json!({"sub": "a", "iss": "https://x"}),
            json!({"sub": "a", "act": null}),
            json!({"sub": "a", "act": {}}),
            json!({"sub": "a", "act": [{"sub": "b"}]}),
        ] {
            assert_eq!(read_actors(claim.clone()), None, "{claim}");
        }
    }
}
