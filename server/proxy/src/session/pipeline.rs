//! Documents that go through an ingest pipeline of the request's choice.

use std::rc::Rc;

use oauth4os_classify::{Action, Class, Targets};
use oauth4os_policy::{Access, Catalog, decide_pipeline};

use super::{Decided, Session};
use crate::snapshot::GatewayClient;

/// Why such a request is refused where nobody but the gateway knows the scopes.
const UNHELD: &str = "an ingest pipeline may choose any index to write to, and this engine is not told the scopes of the token: leave the pipeline out, or have it made the `index.default_pipeline` of the index";

/// What was asked for, and the answer.
pub(super) type Known = ((&'static str, Class, Action), Rc<Decided>);

impl Session {
    /// Decides whether a pipeline may be chosen for documents of this kind: only the engine will see which index it sends them to.
    pub(crate) fn decide_pipeline(&self, operation: &'static str, class: Class, action: Action) -> Rc<Decided> {
        if !self.engine_knows_scopes {
            return Rc::new(Decided::refused(UNHELD.to_owned()));
        }
        let question = (operation, class, action);
        if let Some((_, known)) = self.pipelines.borrow().iter().find(|(asked, _)| *asked == question) {
            return Rc::clone(known);
        }
        let names = self.names.borrow();
        let catalog = names.catalog.as_deref().unwrap_or_else(|| Catalog::none());
        let targets = &Targets::Body;
        let access = Access { operation, class, action, targets, hidden: false, catalog, may_narrow: false };
        let decide_for = |party: &GatewayClient| {
            Decided::from(decide_pipeline(&party.principal, &self.grants.scopes, &party.policies, &access))
        };
        let mut decided = decide_for(&self.client);
        for party in self.others() {
            if !decided.allow {
                break;
            }
            let other = decide_for(party);
            decided = if other.allow { decided.joined(&other) } else { other };
        }
        let decided = Rc::new(decided);
        self.pipelines.borrow_mut().push((question, Rc::clone(&decided)));
        decided
    }
}
