//! Whether a request touches something of a scope: what rates of a scope are counted by.
//!
//! Other than a permission, which needs everything that is touched to be within, this asks whether anything is. Where it
//! cannot be said it is taken to be.

use oauth4os_classify::{Class, Targets};

use crate::catalog::Catalog;
use crate::containment::{Branch, Budget, overlaps};
use crate::expression::Expressions;
use crate::scope::{Scope, Target};

impl Scope {
    /// Whether an operation of `class` on these targets, in the cluster of this name, touches anything of the scope.
    ///
    /// An index is touched under every one of its names: a search by an alias touches what `catalog` says it stands for, and
    /// a search of an index touches its aliases. A scroll or point in time may be of any index. Targets that stand in the body
    /// touch nothing until they are read.
    pub fn is_touched_by(
        &self,
        cluster: Option<&str>,
        class: Class,
        targets: &Targets,
        hidden: bool,
        catalog: &Catalog,
    ) -> bool {
        if self.cluster() != cluster || !self.classes().contains(&class) {
            return false;
        }
        match (self.target(), targets) {
            (Target::Cluster | Target::Dashboards, _) | (Target::Indices(_), Targets::Handle) => true,
            (Target::Indices(_), Targets::Indices(list)) => {
                // What has no reading is refused anyway.
                Expressions::parse(list, hidden).map_or(true, |requested| self.meets(&requested, catalog))
            }
            _ => false,
        }
    }

    fn meets(&self, requested: &Expressions, catalog: &Catalog) -> bool {
        let mut budget = Budget::default();
        let meets = |requested: Branch<'_>, budget: &mut Budget| {
            self.branches().any(|own| shares_a_name(own, requested, budget))
        };
        requested.iter().any(|requested| meets(requested.names, &mut budget))
            || catalog
                .reached(requested)
                .iter()
                .any(|reached| reached.index.names().any(|name| self.branches().any(|own| own.matches(name))))
    }
}

/// Whether some name is in both.
fn shares_a_name(own: Branch<'_>, requested: Branch<'_>, budget: &mut Budget) -> bool {
    if own.exclusions.is_empty() {
        return overlaps(own.include, requested, budget).unwrap_or(true);
    }
    let exclusions: Vec<_> = own.exclusions.iter().chain(requested.exclusions).cloned().collect();
    let both = Branch { include: requested.include, exclusions: &exclusions };
    overlaps(own.include, both, budget).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Index;
    use crate::scope::Clusters;

    fn touches(scope: &str, class: Class, targets: &[&str]) -> bool {
        touches_with(scope, class, targets, Catalog::none())
    }

    fn touches_with(scope: &str, class: Class, targets: &[&str], catalog: &Catalog) -> bool {
        let targets = Targets::Indices(targets.iter().map(|target| (*target).to_owned()).collect());
        let scope = Scope::parse(scope, &Clusters::default()).expect("a scope");
        scope.is_touched_by(None, class, &targets, false, catalog)
    }

    #[test]
    fn whatever_meets_the_scope_touches_it() {
        for targets in [&["logs-a"][..], &["logs-*"], &["*"], &["l*-a"], &["x", "logs-a"], &["log*", "-logs-b"]] {
            assert!(touches("search:logs-*", Class::Search, targets), "{targets:?}");
        }
        for targets in [&["orders"][..], &["orders*"], &["*-x", "-logs-*"], &["log"]] {
            assert!(!touches("search:logs-*", Class::Search, targets), "{targets:?}");
        }
        assert!(!touches("search:logs-*,-logs-b*", Class::Search, &["logs-b1"]));
        assert!(!touches("search:logs-*,-logs-b*", Class::Search, &["logs-b*"]));
        assert!(touches("search:logs-*,-logs-b*", Class::Search, &["logs-*"]));
        assert!(!touches("search:logs-*,-logs-b*", Class::Search, &["logs-*", "x", "-logs-*"]));
    }

    #[test]
    fn only_what_the_verb_is_about_touches_it() {
        assert!(touches("read:logs-*", Class::Get, &["logs-a"]));
        assert!(!touches("search:logs-*", Class::Get, &["logs-a"]));
        assert!(!touches("write:logs-*", Class::Search, &["logs-a"]));
        assert!(touches("ingest:logs-*", Class::Append, &["logs-a"]));
    }

    #[test]
    fn handles_the_cluster_and_dashboards() {
        let touches = |scope: &str, class, targets: &Targets| {
            let scope = Scope::parse(scope, &Clusters::default()).expect("a scope");
            scope.is_touched_by(None, class, targets, false, Catalog::none())
        };
        assert!(touches("search:logs-*", Class::Search, &Targets::Handle));
        assert!(!touches("search:logs-*", Class::Search, &Targets::Body));
        assert!(touches("monitor:cluster", Class::ClusterMonitor, &Targets::Cluster));
        assert!(!touches("monitor:cluster", Class::ClusterManage, &Targets::Cluster));
        assert!(touches("read:dashboards", Class::DashboardsRead, &Targets::Dashboards(vec!["*".into()])));
        assert!(!touches("search:logs-*", Class::ClusterMonitor, &Targets::Cluster));
    }

    #[test]
    fn a_scope_is_of_one_cluster() {
        let clusters: Clusters = ["eu", "us"].into_iter().collect();
        let scope = Scope::parse("search:eu/logs-*", &clusters).expect("a scope");
        let targets = Targets::Indices(vec!["logs-a".into()]);
        for (cluster, touched) in [(Some("eu"), true), (Some("us"), false), (None, false)] {
            assert_eq!(scope.is_touched_by(cluster, Class::Search, &targets, false, Catalog::none()), touched);
        }
    }

    #[test]
    fn no_other_name_leads_round_it() {
        let catalog = Catalog::new([Index {
            name: "logs-a".into(),
            data_stream: None,
            aliases: vec!["current".into(), "today".into()],
        }]);
        for targets in [&["current"][..], &["cur*"], &["x", "today"]] {
            assert!(touches_with("search:logs-*", Class::Search, targets, &catalog), "{targets:?}");
        }
        // And what is counted by an alias is counted by the index, too.
        assert!(touches_with("search:current", Class::Search, &["logs-a"], &catalog));
        assert!(touches_with("search:current", Class::Search, &["logs-*"], &catalog));
        assert!(!touches_with("search:current", Class::Search, &["logs-b"], &catalog));
    }

    proptest! {
        /// Whoever asks for a name of the scope, by whatever pattern, touches it.
        #[test]
        fn nothing_that_is_touched_is_overlooked(
            scope in "[ab*]{1,3}", out in prop::option::of("[ab*]{1,3}"), asked in "[ab*]{1,4}", name in "[ab]{1,4}",
        ) {
            let scope = out.map_or_else(|| scope.clone(), |out| format!("{scope},-{out}"));
            let Ok(parsed) = Scope::parse(&format!("search:{scope}"), &Clusters::default()) else { return Ok(()) };
            let Ok(requested) = Expressions::parse(&[asked.as_str()], false) else { return Ok(()) };
            let is_meant = parsed.branches().any(|own| own.matches(&name));
            if is_meant && requested.matches(&name) {
                let is_touched = touches(&format!("search:{scope}"), Class::Search, &[&asked]);
                prop_assert!(is_touched);
            }
        }
    }
}
