//! What a verified credential may do, kept ready for its next request.

mod pipeline;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use oauth4os_classify::{Action, Class, Hidden, Operation, Targets};
use oauth4os_engine::HandedIdentity;
use oauth4os_federation::{Outsider, Provider};
use oauth4os_policy::{Access, Catalog, Decision, Forbids, Grants, PrincipalKind, Scope, decide};
use oauth4os_telemetry::audit::Event;
use oauth4os_tokens::clock::UnixTime;

use crate::cluster::Cluster;
use crate::delegation::Delegation;
use crate::logins::{Logins, Person};
use crate::names::Known;
use crate::points_in_time::Holder;
use crate::rates::{Rates, Rules};
use crate::snapshot::GatewayClient;

/// Why a wildcard in front is refused where it would be permitted otherwise.
const DOTS: &str = "a wildcard in front also stands for the engine's own indices, whose names begin with a dot, and this engine is not told of scopes that leave them out: write `*,-.*`, or names";

/// Decisions a session remembers. A token is mostly used for a handful of operations again and again.
const REMEMBERED: usize = 16;

/// How the grant was proven, and what makes the proof void.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A token of ours.
    Own {
        /// Its id, by which it is revoked.
        token_id: String,
        /// The generation of revocations under which the token was last found valid.
        revocation_generation: Cell<u64>,
        /// Whom it is about, when not the client itself.
        person: Option<Box<Whose>>,
    },
    /// A token of a provider: void when the provider's keys change, until it is verified again.
    Provider { provider: Arc<Provider>, outsider: Box<Outsider> },
    /// Id and secret of a client: void when any client changes.
    Basic { generation: u64 },
    /// A certificate of the connection, by its fingerprint: void with the connection's leave to use it.
    Certificate { fingerprint: String },
}

impl Credential {
    pub(crate) const fn own(token_id: String, revocation_generation: u64) -> Self {
        Self::Own { token_id, revocation_generation: Cell::new(revocation_generation), person: None }
    }

    /// The same, of a person who is logged in.
    pub(crate) fn for_person(self, login: String, person: Arc<Person>, generation: u64) -> Self {
        match self {
            Self::Own { token_id, revocation_generation, .. } => {
                let person = Some(Box::new(Whose { login, person, generation: Cell::new(generation) }));
                Self::Own { token_id, revocation_generation, person }
            }
            other => other,
        }
    }

    /// Whom a provider's mapping speaks of.
    fn outsider(&self) -> Option<(&Provider, &Outsider)> {
        match self {
            Self::Provider { provider, outsider } => Some((provider, outsider)),
            Self::Own { person: Some(whose), .. } => Some((&whose.person.provider, &whose.person.outsider)),
            _ => None,
        }
    }
}

/// Whose a token is.
#[derive(Debug)]
pub(crate) struct Whose {
    login: String,
    person: Arc<Person>,
    /// The generation of logins under which the person was last found.
    generation: Cell<u64>,
}

impl Whose {
    /// Whether the person is logged in, with the rights the session was made with.
    pub(crate) fn is_current(&self, logins: &Logins, now: UnixTime) -> bool {
        let generation = logins.generation();
        if self.generation.get() == generation {
            return now < self.person.ends_at;
        }
        let is_same = logins.find(&self.login, now).is_some_and(|found| Arc::ptr_eq(&found, &self.person));
        if is_same {
            self.generation.set(generation);
        }
        is_same
    }
}

/// A grant: client, scopes, lifetime, and what has been found out about it so far.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Arc<GatewayClient>,
    pub(crate) credential: Credential,
    pub(crate) grants: Grants,
    /// For whom it is used, and through whom it came, when it was exchanged.
    delegation: Option<Box<Delegation>>,
    /// The backend roles the engine is told in place of the scopes.
    pub(crate) backend_roles: Option<Arc<[String]>>,
    /// As which user of the cluster requests are sent, where it has users of its own.
    pub(crate) backend_user: Option<Arc<str>>,
    /// Whose scrolls and points in time are its own.
    pub(crate) holder: Holder,
    /// The scopes as written in the token, or as its provider's mapping gives them.
    pub(crate) scope_text: String,
    pub(crate) expires_at: UnixTime,
    /// What is hidden in some of the scopes: every search is then looked at for what goes past that.
    pub(crate) hidden: Hidden,
    /// The rules requests are counted by.
    pub(crate) rates: Arc<Rates>,
    /// Whether a search by wildcard may be narrowed by the engine to what is permitted of it.
    may_narrow: bool,
    /// Whether the engine is told the scopes. If not, a wildcard in front reaches its own indices too, whose names begin with a dot:
    /// nobody but the gateway keeps it from them.
    engine_knows_scopes: bool,
    /// The snapshot the session was made from; another one makes another session.
    pub(crate) snapshot_generation: u64,
    pub(crate) identity: RefCell<Option<Arc<HandedIdentity>>>,
    /// The names decisions and identity were made with.
    names: RefCell<Arc<Known>>,
    decisions: RefCell<Decisions>,
    pipelines: RefCell<Vec<pipeline::Known>>,
}

/// A decision with its explanation as text, made once for all the audit events that show it.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) allow: bool,
    /// The engine answers for a part of what is asked for.
    pub(crate) is_partial: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
    /// The scope that would have been enough, when one would.
    pub(crate) needed_scope: Option<String>,
    /// The scopes and policies that decided.
    pub(crate) determining: Vec<String>,
    /// The rules that count what is asked for.
    pub(crate) touched: Rules,
}

/// What is asked for, in the parts a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    operation: &'static str,
    class: Class,
    action: Action,
    targets: Targets,
    hidden: bool,
}

#[derive(Debug, Default)]
struct Decisions {
    known: Vec<(Question, Rc<Decided>)>,
    /// The entry that is replaced next.
    oldest: usize,
}

impl Session {
    pub(crate) fn new(
        client: Arc<GatewayClient>,
        credential: Credential,
        grants: Grants,
        scope_text: String,
        expires_at: UnixTime,
        snapshot_generation: u64,
    ) -> Self {
        let backend_roles = match credential.outsider() {
            Some((_, outsider)) => outsider.backend_roles.clone(),
            None => client.backend_roles.clone(),
        };
        let holder = Holder { id: Arc::from(client.engine_name.as_str()), is_kept_here_alone: false };
        Self {
            client,
            credential,
            delegation: None,
            backend_roles,
            backend_user: None,
            holder,
            hidden: hidden(&grants),
            rates: Arc::default(),
            may_narrow: false,
            engine_knows_scopes: true,
            grants,
            scope_text,
            expires_at,
            snapshot_generation,
            identity: RefCell::new(None),
            names: RefCell::default(),
            decisions: RefCell::new(Decisions::default()),
            pipelines: RefCell::default(),
        }
    }

    /// The same of an exchanged token.
    pub(crate) fn for_another(mut self, delegation: Option<Delegation>) -> Self {
        self.delegation = delegation.map(Box::new);
        self
    }

    /// What policies forbid to its client and to those it came through.
    pub(crate) fn forbids(&self) -> &Forbids {
        self.delegation.as_ref().map_or_else(|| self.client.policies.forbids(), |delegation| &delegation.forbids)
    }

    /// What of it is about the cluster: all, when there is only one. Its requests are counted by `rates`.
    pub(crate) fn within(mut self, cluster: &Cluster, rates: &Arc<Rates>) -> Self {
        self.rates = Arc::clone(rates);
        let name = cluster.name.as_deref();
        if let Some(name) = name {
            self.grants = self.grants.for_cluster(name);
            self.hidden = hidden(&self.grants);
        }
        self.engine_knows_scopes = cluster.identities.tells_clients_apart() && self.backend_roles.is_none();
        // Only the identity of the scopes tells the engine what the part is.
        self.may_narrow = cluster.may_narrow && self.engine_knows_scopes;
        let user = match self.credential.outsider() {
            Some((_, outsider)) => outsider.backend_users.iter().find_map(|user| user.of_cluster(name)),
            None => self.client.backend_user.as_ref().and_then(|user| user.of_cluster(name)),
        };
        self.backend_user = user.filter(|_| cluster.identities.are_users()).map(Arc::from);
        if !self.engine_knows_scopes {
            self.holder = self.holder_of_its_scopes();
        }
        self
    }

    /// The client with its scopes and groups: where the engine does not know the scopes, what was opened with some is for nobody who
    /// has others, were it the same client.
    fn holder_of_its_scopes(&self) -> Holder {
        let mut parts: Vec<&str> = self.grants.scopes.iter().map(Scope::as_str).collect();
        parts.extend(self.client.principal.groups.iter().map(String::as_str));
        parts.sort_unstable();
        parts.insert(0, &self.client.engine_name);
        Holder { id: parts.join("\n").into(), is_kept_here_alone: true }
    }

    /// Decides by these names from here on.
    pub(crate) fn go_by(&self, names: &Arc<Known>) {
        if self.names.borrow().generation != names.generation {
            *self.names.borrow_mut() = Arc::clone(names);
            self.identity.take();
            self.decisions.take();
            self.pipelines.take();
        }
    }

    /// The names it goes by.
    pub(crate) fn names(&self) -> Arc<Known> {
        Arc::clone(&self.names.borrow())
    }

    /// Tells a record who asked and by what credential; never the credential itself.
    pub(crate) fn describe<'a>(&'a self, event: &mut Event<'a>) {
        let principal = &self.client.principal;
        event.client = Some(&principal.id);
        event.backend_user = self.backend_user.as_deref();
        event.scopes = Some(&self.scope_text);
        if let Some(delegation) = &self.delegation {
            event.subject = Some(&delegation.subject);
            event.actors = &delegation.actors;
        }
        match &self.credential {
            Credential::Own { token_id, person, .. } => {
                event.token_id = Some(token_id);
                if let Some(whose) = person {
                    event.user = Some(&principal.id);
                    event.client = self.client.through.as_ref().map(|client| client.principal.id.as_str());
                    event.tenant = whose.person.outsider.tenant.as_deref();
                }
            }
            Credential::Provider { provider, outsider } => {
                event.provider = Some(provider.name());
                event.tenant = outsider.tenant.as_deref();
                event.token_id = outsider.token_id.as_deref();
                if principal.kind == PrincipalKind::User {
                    event.user = Some(&principal.id);
                    event.client = outsider.client.as_deref();
                }
            }
            Credential::Basic { .. } => event.credential = Some("basic"),
            Credential::Certificate { fingerprint } => {
                event.credential = Some("certificate");
                event.certificate = Some(fingerprint);
            }
        }
    }

    /// The tenant whose it is: what the provider's token says, or the outermost namespace of the client.
    pub(crate) fn tenant(&self) -> Option<String> {
        match self.credential.outsider() {
            Some((provider, outsider)) => {
                outsider.tenant.as_ref().map(|tenant| format!("{}/{tenant}", provider.name()))
            }
            None => self.client.within.last().map(|namespace| namespace.name.clone()),
        }
    }

    /// Decides on an operation as a whole: every right it needs on its own targets.
    pub(crate) fn decide(&self, operation: &Operation) -> Rc<Decided> {
        let decide =
            |class, action| self.decide_targets(operation.name, class, action, &operation.targets, operation.hidden);
        let decided = decide(operation.class, operation.action);
        match operation.also {
            Some((class, action)) if decided.allow => {
                let also = decide(class, action);
                if also.allow { Rc::new(decided.joined(&also)) } else { also }
            }
            _ => decided,
        }
    }

    /// Decides on a part of an operation: an item of its body.
    pub(crate) fn decide_targets(
        &self,
        operation: &'static str,
        class: Class,
        action: Action,
        targets: &Targets,
        hidden: bool,
    ) -> Rc<Decided> {
        let (asked, hidden) = (hidden, hidden || !self.engine_knows_scopes);
        let mut decisions = self.decisions.borrow_mut();
        let known = decisions.known.iter().find(|(question, _)| {
            question.class == class
                && question.action == action
                && question.hidden == hidden
                && question.operation == operation
                && question.targets == *targets
        });
        if let Some((_, decided)) = known {
            return Rc::clone(decided);
        }
        let names = self.names.borrow();
        // While nothing is known nothing is forwarded: there is no identity.
        let catalog = names.catalog.as_deref().unwrap_or_else(|| Catalog::none());
        // An engine that was not seen to narrow would refuse it, or answer in a way that nobody has looked at.
        let may_narrow = self.may_narrow && names.narrows;
        let decide_for = |party: &GatewayClient, hidden| {
            let access = Access { operation, class, action, targets, hidden, catalog, may_narrow };
            Decided::from(self.decide_for(party, &access))
        };
        let decision = |hidden| {
            let mut decided = decide_for(&self.client, hidden);
            for party in self.others() {
                if !decided.allow {
                    break;
                }
                let other = decide_for(party, hidden);
                decided = if other.allow { decided.joined(&other) } else { other };
            }
            decided
        };
        let mut decided = decision(hidden);
        if !decided.allow && hidden != asked && decision(asked).allow {
            (decided.reason, decided.needed_scope) = (Some(DOTS.to_owned()), None);
        }
        decided.touched = self.rates.touched(self.grants.scopes.of_cluster(), class, targets, hidden, catalog);
        let decided = Rc::new(decided);
        let question = Question { operation, class, action, targets: targets.clone(), hidden };
        decisions.remember(question, Rc::clone(&decided));
        decided
    }

    /// Those who must be permitted whatever it does, beside its client: a client that acts for a person, and everybody a token
    /// came through. What is forbidden to them stays forbidden.
    fn others(&self) -> impl Iterator<Item = &GatewayClient> {
        let through = self.client.through.iter();
        through.chain(self.delegation.iter().flat_map(|delegation| &delegation.parties)).map(|party| &**party)
    }

    /// What one of those whose rights it has says to an access.
    fn decide_for(&self, client: &GatewayClient, access: &Access<'_>) -> Decision {
        decide(&client.principal, &self.grants.scopes, &client.policies, access)
    }
}

/// What is hidden in some of the scopes.
fn hidden(grants: &Grants) -> Hidden {
    Hidden {
        rows: !grants.restrictions.row_filters().is_empty(),
        fields: grants.restrictions.iter().any(|(_, held)| held.fields.is_some()),
    }
}

impl Decisions {
    fn remember(&mut self, question: Question, decided: Rc<Decided>) {
        if self.known.len() < REMEMBERED {
            self.known.push((question, decided));
        } else if let Some(entry) = self.known.get_mut(self.oldest) {
            *entry = (question, decided);
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
    }
}

impl Decided {
    /// A refusal for this reason.
    fn refused(reason: String) -> Self {
        Self {
            allow: false,
            is_partial: false,
            reason: Some(reason),
            needed_scope: None,
            determining: Vec::new(),
            touched: Rules::default(),
        }
    }

    /// A refusal of what the engine would answer without regard to rows or fields.
    pub(crate) fn past_restriction(what: &str) -> Rc<Self> {
        Rc::new(Self::refused(format!(
            "the engine does not hold {what} to the rows and fields of this token; leave it out, or use a token for all of them"
        )))
    }

    /// Two permissions, both of which were needed.
    fn joined(&self, other: &Self) -> Self {
        let new = other.determining.iter().filter(|by| !self.determining.contains(by));
        Self {
            allow: self.allow && other.allow,
            is_partial: self.is_partial || other.is_partial,
            reason: None,
            needed_scope: None,
            determining: self.determining.iter().chain(new).cloned().collect(),
            touched: self.touched.and(other.touched),
        }
    }
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        let needed_scope = match &decision.refusal {
            Some(oauth4os_policy::Refusal::Scope { needed, .. }) => scope_for_header(&needed.to_string()),
            _ => None,
        };
        Self {
            allow: decision.allow,
            is_partial: decision.is_partial,
            reason: decision.refusal.map(|refusal| refusal.to_string()),
            needed_scope,
            determining: decision.determining.iter().map(|by| by.as_str().to_owned()).collect(),
            touched: Rules::default(),
        }
    }
}

/// A scope that is shown in backticks, as the `scope` of a challenge; `None` when it could not stand in a header.
fn scope_for_header(shown: &str) -> Option<String> {
    let scope = shown.trim_matches('`');
    // RFC 6749 section 3.3: printable ASCII without `"` and `\\`.
    let is_plain = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    scope.bytes().all(is_plain).then(|| scope.to_owned())
}

#[cfg(test)]
mod tests {
    use oauth4os_config::{AddressRules, RateHeaders, RateLimit, RateMode};
    use oauth4os_policy::{Clusters, Policies, Principal, PrincipalKind, ScopeSet};

    use super::*;
    use crate::limit::Limiter;
    use crate::names::Names;

    fn decide(scopes: &str, method: &str, target: &str) -> Rc<Decided> {
        let principal = Principal { id: "app".to_owned(), kind: PrincipalKind::Client, groups: Vec::new() };
        let limit = RateLimit { requests_per_second: 1, burst: 1 };
        let client = GatewayClient {
            policies: Policies::none().for_principal(&principal),
            limiter: Arc::new(Limiter::new(limit, RateMode::Enforce, RateHeaders::Refusals)),
            engine_name: principal.id.clone(),
            grants: Grants::default(),
            backend_roles: None,
            backend_user: None,
            addresses: AddressRules::default(),
            within: Vec::new(),
            through: None,
            principal,
        };
        let held = ScopeSet::parse(scopes, &Clusters::default()).expect("scopes");
        let credential = Credential::own("t".to_owned(), 0);
        let session =
            Session::new(Arc::new(client), credential, held.into(), scopes.to_owned(), UnixTime::from_secs(1), 0);
        session.go_by(&Names::unguarded().load());
        session.decide(&oauth4os_classify::classify(method, target).expect("an operation"))
    }

    #[test]
    fn an_operation_with_two_rights_needs_both() {
        let (both, update) = ("/logs-a/_delete_by_query", "/logs-a/_update/1");
        let allowed = decide("write:logs-* read:logs-a", "POST", both);
        assert!(allowed.allow);
        assert_eq!(allowed.determining, ["write:logs-*", "read:logs-a"]);
        assert_eq!(decide("admin:logs-*", "POST", both).determining, ["admin:logs-*"]);
        for (scopes, needed) in [("write:logs-*", "search:logs-a"), ("read:logs-*", "write:logs-a")] {
            let refused = decide(scopes, "POST", both);
            assert!(!refused.allow);
            assert_eq!(refused.needed_scope.as_deref(), Some(needed));
            assert!(refused.reason.is_some());
        }
        assert!(!decide("write:logs-* read:logs-b", "POST", both).allow);
        assert!(decide("write:logs-a", "POST", update).allow);
        assert!(!decide("write:logs-a", "POST", "/logs-a/_update/1?_source=true").allow);
        assert!(decide("write:logs-a read:logs-a", "POST", "/logs-a/_update/1?_source=true").allow);
    }
}
