//! What the data plane knows of the names of a cluster: read by the control plane, replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use oauth4os_classify::{Class, Operation};
use oauth4os_policy::Catalog;
use oauth4os_policy::catalog::Listed;
use quick_cache::sync::Cache;
use tokio::sync::{Notify, watch};

/// How long the answer to a request that changes names may wait until the change is known here.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a name that the engine did not list when it was written to is not asked about again: date math, and what could not
/// be made.
const UNLISTED_FOR: Duration = Duration::from_secs(1);

/// Such names that are remembered.
const UNLISTED: usize = 1_024;

/// The names of one cluster.
#[derive(Debug)]
pub struct Names {
    known: ArcSwap<Known>,
    /// Every name, where the aliases are looked after.
    listed: ArcSwapOption<Listed>,
    unlisted: Cache<Box<str>, Instant>,
    /// Whether somebody looks.
    is_watched: bool,
    /// How often somebody has asked for another look, and up to which of these it was taken.
    asked: AtomicU64,
    seen: watch::Sender<u64>,
    wake: Notify,
}

/// What is known at one time; at first nothing.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Differs between any two that differ, and is not 0.
    pub(crate) generation: u64,
    /// `None` when the engine has not said yet, or not for too long: then nothing on indices is forwarded.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// The engine was seen to answer for the permitted part of what is asked for.
    pub(crate) narrows: bool,
}

/// One look at the engine, begun.
#[derive(Debug)]
pub struct Look {
    asked: u64,
}

impl Names {
    /// Nothing is known yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new(None, true)
    }

    /// Nobody looks: aliases may lead anywhere.
    #[must_use]
    pub fn unguarded() -> Self {
        Self::new(Some(Arc::default()), false)
    }

    fn new(catalog: Option<Arc<Catalog>>, is_watched: bool) -> Self {
        Self {
            known: ArcSwap::from_pointee(Known { generation: 1, catalog, narrows: false }),
            listed: ArcSwapOption::empty(),
            unlisted: Cache::new(UNLISTED),
            is_watched,
            asked: AtomicU64::new(0),
            seen: watch::Sender::new(0),
            wake: Notify::new(),
        }
    }

    /// Whether the engine's names are known well enough to decide.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known.load().catalog.is_some()
    }

    /// Call this before the engine is asked.
    #[must_use]
    pub fn begin(&self) -> Look {
        Look { asked: self.asked.load(Ordering::SeqCst) }
    }

    /// What came of it; `None` when nothing is known any more. `narrows`: the engine was seen to answer for the permitted part of
    /// what is asked for. In force for every request that begins later. Only one task may look at a time.
    pub fn finish(&self, look: &Look, catalog: Option<Catalog>, narrows: bool) {
        self.listed.store(catalog.as_ref().and_then(Catalog::listed));
        let known = self.known.load();
        if known.catalog.as_deref() != catalog.as_ref() || known.narrows != narrows {
            let generation = known.generation + 1;
            self.known.store(Arc::new(Known { generation, catalog: catalog.map(Arc::new), narrows }));
        }
        self.seen.send_replace(look.asked);
    }

    /// A look that failed changes nothing; whoever waits for it goes on.
    pub fn give_up(&self, look: &Look) {
        self.seen.send_replace(look.asked);
    }

    /// Ends when somebody asks for another look.
    pub async fn wanted(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn load(&self) -> Guard<Arc<Known>> {
        self.known.load()
    }

    /// Has the engine looked at, and waits until that is done: a look that begins after this call.
    pub(crate) async fn refresh(&self) {
        if !self.is_watched {
            return;
        }
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut seen = self.seen.subscribe();
        self.wake.notify_one();
        // Without an answer in time the next regular look has to do.
        let _ = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| *seen >= asked)).await;
    }
}

impl Names {
    /// Has the engine looked at when one of these names is new here: writing to it may have made an index, or a data stream, and
    /// a template may have given that an alias.
    pub(crate) async fn refresh_if_new(&self, written: impl Iterator<Item = &str> + Clone) {
        let is_new = |name: &str| self.listed.load().as_ref().is_some_and(|listed| !listed.contains(name));
        let is_asked_about = |name: &str| self.unlisted.get(name).is_some_and(|since| since.elapsed() < UNLISTED_FOR);
        if !written.clone().any(|name| is_new(name) && !is_asked_about(name)) {
            return;
        }
        let begun = Instant::now();
        self.refresh().await;
        for name in written.filter(|name| is_new(name)) {
            self.unlisted.insert(name.into(), begun);
        }
    }
}

/// Whether an operation makes an index when the one it names is not there.
pub(crate) const fn may_make_an_index(operation: &Operation) -> bool {
    matches!(operation.class, Class::Append | Class::Write)
}

/// Whether an operation can change what names stand for.
pub(crate) fn are_changed_by(operation: &str) -> bool {
    const CHANGING: [&str; 19] = [
        "cluster.delete_component_template",
        "cluster.put_component_template",
        "indices.clone",
        "indices.create",
        "indices.create_data_stream",
        "indices.delete",
        "indices.delete_alias",
        "indices.delete_data_stream",
        "indices.delete_index_template",
        "indices.delete_template",
        "indices.open",
        "indices.put_alias",
        "indices.put_index_template",
        "indices.put_template",
        "indices.rollover",
        "indices.shrink",
        "indices.split",
        "indices.update_aliases",
        "snapshot.restore",
    ];
    CHANGING.contains(&operation)
}

#[cfg(test)]
mod tests {
    use oauth4os_policy::catalog::Index;

    use super::*;

    fn catalog(alias: &str) -> Catalog {
        Catalog::new([Index { name: "a".into(), data_stream: None, aliases: vec![alias.into()] }])
    }

    #[test]
    fn what_is_the_same_has_the_same_generation() {
        let names = Names::unknown();
        assert!(!names.are_known());
        let mut generations = Vec::new();
        for found in [Some(catalog("x")), Some(catalog("x")), Some(catalog("y")), None, Some(catalog("y"))] {
            names.finish(&names.begin(), found, false);
            generations.push(names.load().generation);
        }
        assert_eq!(generations, [2, 2, 3, 4, 5]);
        names.finish(&names.begin(), Some(catalog("y")), true);
        assert_eq!((names.load().generation, names.load().narrows), (6, true));
        assert!(names.are_known() && Names::unguarded().are_known());
    }

    #[tokio::test]
    async fn who_asks_waits_for_a_look_that_began_afterwards() {
        let names = Arc::new(Names::unknown());
        let before = names.begin();
        let asking = Arc::clone(&names);
        let asks = tokio::spawn(async move { asking.refresh().await });
        names.wanted().await;
        names.finish(&before, Some(catalog("old")), false);
        tokio::task::yield_now().await;
        assert!(!asks.is_finished(), "that look began too early");
        names.finish(&names.begin(), Some(catalog("new")), false);
        asks.await.unwrap();
        assert_eq!(names.load().generation, 3);
    }

    #[tokio::test]
    async fn a_write_to_a_name_that_is_not_listed_waits_for_a_look() {
        let names = Arc::new(Names::unknown());
        names.finish(&names.begin(), Some(catalog("x")), false);
        // What is listed, under whatever name, needs none.
        names.refresh_if_new(["a", "x"].into_iter()).await;
        let looks = async |found: Catalog| {
            let writing = Arc::clone(&names);
            let writes = tokio::spawn(async move { writing.refresh_if_new(["a", "b"].into_iter()).await });
            names.wanted().await;
            names.finish(&names.begin(), Some(found), false);
            writes.await.unwrap();
        };
        looks(catalog("y")).await;
        // It was not made, or is called otherwise: not again for a while.
        names.refresh_if_new(["b"].into_iter()).await;
        names.unlisted.clear();
        let plain = Index { name: "b".into(), ..Index::default() };
        let one = Index { name: "a".into(), data_stream: None, aliases: vec!["y".into()] };
        let generation = names.load().generation;
        looks(Catalog::new([plain, one])).await;
        assert_eq!(names.load().generation, generation, "an index with one name changes no decision");
        names.unlisted.clear();
        names.refresh_if_new(["a", "b"].into_iter()).await;
        // Where nobody looks, nobody waits.
        Names::unguarded().refresh().await;
        Names::unguarded().refresh_if_new(["b"].into_iter()).await;
    }

    #[test]
    fn operations_that_change_names_are_of_the_table() {
        for target in [
            "PUT /logs-a/_alias/x",
            "POST /_aliases",
            "PUT /logs-a",
            "POST /logs-a/_rollover",
            "PUT /_index_template/t",
        ] {
            let (method, path) = target.split_once(' ').unwrap();
            let operation = oauth4os_classify::classify(method, path).unwrap();
            assert!(are_changed_by(operation.name), "{target} is {}", operation.name);
        }
        assert!(!are_changed_by("search") && !are_changed_by("indices.refresh"));
    }
}
