//! Persons who are logged in: what the tokens of a person mean. The control plane fills this.
//!
//! A token of a person names the login it came from and says no more than the scopes; who the person is, and what the
//! person may have at most, stands here. So a login that ends, and a right that is lost, is in force on the next request.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use oauth4os_federation::{Outsider, Provider};
use oauth4os_tokens::clock::UnixTime;

/// A person who is logged in.
#[derive(Debug)]
pub struct Person {
    /// Where.
    pub provider: Arc<Provider>,
    /// Who, and what the provider's mapping gives.
    pub outsider: Outsider,
    /// When the login ends.
    pub ends_at: UnixTime,
}

/// The logins in force, by their ids.
#[derive(Default)]
pub struct Logins {
    generation: AtomicU64,
    persons: RwLock<HashMap<Box<str>, Arc<Person>>>,
}

impl Logins {
    /// Puts a login in force, or what has changed of it.
    pub fn put(&self, id: &str, person: Person, now: UnixTime) {
        let mut persons = self.persons.write().unwrap_or_else(PoisonError::into_inner);
        if persons.len() >= 1_024 && persons.len().is_power_of_two() {
            persons.retain(|_, person| now < person.ends_at);
        }
        persons.insert(id.into(), Arc::new(person));
        // Whoever sees the new generation finds the change: it is made before it, under the lock.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes a login out of force.
    pub fn remove(&self, id: &str) {
        let mut persons = self.persons.write().unwrap_or_else(PoisonError::into_inner);
        persons.remove(id);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Changes with every change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Who is logged in.
    pub(crate) fn find(&self, id: &str, now: UnixTime) -> Option<Arc<Person>> {
        let persons = self.persons.read().unwrap_or_else(PoisonError::into_inner);
        persons.get(id).filter(|person| now < person.ends_at).cloned()
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}
