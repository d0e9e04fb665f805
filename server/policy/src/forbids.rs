//! What policies forbid without any condition: the part of them that the engine can be told.

use oauth4os_classify::Action;

use crate::glob::Glob;

/// Some of the actions that policies speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Actions(u16);

impl Actions {
    /// Whatever is done.
    pub const ALL: Self = Self::of(&Action::ALL);
    /// `Action::"read"`, a group.
    pub const READ: Self = Self::of(&[Action::Search, Action::Get, Action::Describe]);
    /// `Action::"write"`, a group.
    pub const WRITE: Self = Self::of(&[Action::Create, Action::Update, Action::Delete]);

    /// These actions.
    pub const fn of(actions: &[Action]) -> Self {
        let mut set = 0;
        let mut rest = actions;
        while let [action, others @ ..] = rest {
            set |= 1 << *action as u16;
            rest = others;
        }
        Self(set)
    }

    /// The actions of a name in a policy, an action's or a group's; none where it is not known.
    pub fn named(name: &str) -> Self {
        match name {
            "read" => Self::READ,
            "write" => Self::WRITE,
            _ => Action::ALL.into_iter().find(|action| action.as_str() == name).map_or(Self(0), |one| Self::of(&[one])),
        }
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Patterns of names, each with the actions that are forbidden on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forbids(Vec<(Glob, Actions)>);

impl Forbids {
    /// Nothing is forbidden.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds what is forbidden on the names of a pattern.
    pub fn add(&mut self, names: Glob, actions: Actions) {
        match self.0.iter_mut().find(|(known, _)| *known == names) {
            Some((_, known)) => *known = known.and(actions),
            None => self.0.push((names, actions)),
        }
    }

    /// Adds all that `other` forbids.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(names, actions)| self.add(names.clone(), *actions));
    }

    /// The patterns on which every one of these actions is forbidden.
    pub fn of(&self, actions: Actions) -> Vec<Glob> {
        let forbidden = self.0.iter().filter(|(_, forbidden)| forbidden.contains(actions));
        forbidden.map(|(names, _)| names.clone()).collect()
    }

    /// The patterns on which everything is forbidden.
    pub fn everywhere(&self) -> Vec<Glob> {
        self.of(Actions::ALL)
    }
}

impl<I: IntoIterator<Item = Glob>> From<I> for Forbids {
    /// Names on which everything is forbidden.
    fn from(names: I) -> Self {
        let mut forbids = Self::default();
        names.into_iter().for_each(|names| forbids.add(names, Actions::ALL));
        forbids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_forbidden_by_its_name_its_group_or_with_all() {
        let mut forbids = Forbids::default();
        let mut forbid = |names: &str, actions| forbids.add(Glob::new(names), actions);
        forbid("all", Actions::ALL);
        forbid("reading", Actions::named("read"));
        forbid("search", Actions::named("search"));
        forbid("parts", Actions::named("search"));
        forbid("parts", Actions::named("get").and(Actions::named("describe")));
        forbid("nothing", Actions::named("unknown"));
        let of = |actions| forbids.of(actions).iter().map(Glob::to_string).collect::<Vec<_>>();
        assert_eq!(of(Actions::ALL), ["all"]);
        assert_eq!(of(Actions::READ), ["all", "reading", "parts"]);
        assert_eq!(of(Actions::of(&[Action::Search])), ["all", "reading", "search", "parts"]);
        assert_eq!(of(Actions::WRITE), ["all"]);
    }
}
