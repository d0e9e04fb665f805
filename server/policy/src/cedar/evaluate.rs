//! One request put to a principal's policies.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityUid, Request};
use oauth4os_classify::Action;

use super::slice::{PrincipalPolicies, Ruled, Sliced};
use super::uid;
use crate::containment::{Budget, TooComplex, contains, overlaps};
use crate::expression::{Expressions, Requested};

/// What a request is about, for policies.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// The cluster as a whole.
    Cluster,
    /// Indices: each expression must be permitted and none forbidden.
    Indices(&'a Expressions),
    /// Indices named beside something that was decided already: none may be forbidden.
    Mentioned(&'a Expressions),
    /// Saved objects of Dashboards, by their types, `*` being any: each must be permitted and none forbidden.
    SavedObjects(&'a [String]),
    /// Indices known only to the engine, behind a scroll or point-in-time id: permitted if some index is.
    SomeIndex,
}

/// What the policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// No policies are configured.
    Unruled,
    /// Everything asked for is permitted.
    Permitted {
        /// The ids of the permitting policies.
        policies: Vec<String>,
    },
    /// A policy forbids it.
    Forbidden {
        /// The ids of the forbidding policies; never empty.
        policies: Vec<String>,
        /// The expression it forbids.
        resource: String,
    },
    /// No policy permits it.
    NotPermitted {
        /// The expression nothing permits.
        resource: String,
    },
    /// A policy could not be evaluated: it might have forbidden the request.
    Failed {
        /// Its id.
        policy: String,
    },
}

impl PrincipalPolicies {
    /// Puts one action on one resource to the policies.
    ///
    /// # Errors
    /// When the patterns of the request cannot be compared with those of the policies.
    pub fn rule(&self, action: Action, resource: &Resource<'_>) -> Result<Ruling, TooComplex> {
        let sliced = match &self.ruled {
            Ruled::ByNothing => return Ok(Answer::NotPermitted.into_ruling("anything")),
            Ruled::ByPolicies(sliced) => sliced,
            Ruled::Not => return Ok(Ruling::Unruled),
        };
        let Some(query) = Query::new(sliced, action) else {
            return Ok(Answer::NotPermitted.into_ruling("anything"));
        };
        match resource {
            Resource::Cluster => Ok(query.cluster().into_ruling("the cluster")),
            Resource::SomeIndex => {
                let everything = sliced.contained.iter().map(|(_, uid)| uid.clone()).collect();
                Ok(query.index(everything).into_ruling("the indices of this scroll or point in time"))
            }
            Resource::SavedObjects(types) => Ok(query.saved_objects(types)),
            Resource::Indices(expressions) => query.indices(expressions, false),
            Resource::Mentioned(expressions) => query.indices(expressions, true),
        }
    }
}

/// Stands for the types of saved objects that no policy names. No type is called so.
const OTHER_TYPE: &str = "<other>";

/// What Cedar says of one resource.
#[derive(Clone, Debug)]
enum Answer {
    Permitted(Vec<String>),
    Forbidden(Vec<String>),
    NotPermitted,
    Failed(String),
}

impl Answer {
    fn into_ruling(self, resource: &str) -> Ruling {
        let resource = || resource.to_owned();
        match self {
            Self::Permitted(policies) => Ruling::Permitted { policies },
            Self::Forbidden(policies) => Ruling::Forbidden { policies, resource: resource() },
            Self::NotPermitted => Ruling::NotPermitted { resource: resource() },
            Self::Failed(policy) => Ruling::Failed { policy },
        }
    }
}

struct Query<'a> {
    sliced: &'a Sliced,
    action: &'static Entity,
}

impl<'a> Query<'a> {
    fn new(sliced: &'a Sliced, action: Action) -> Option<Self> {
        Some(Self { sliced, action: FIXED.as_ref()?.actions.get(&action)? })
    }

    /// Each expression by itself. Expressions with the same patterns around them get the same answer, asked for once.
    fn indices(&self, expressions: &Expressions, only_forbids: bool) -> Result<Ruling, TooComplex> {
        let mut budget = Budget::default();
        let mut answered: HashSet<Vec<EntityUid>> = HashSet::new();
        let mut permitting: BTreeSet<String> = BTreeSet::new();
        for expression in expressions.iter() {
            let parents = self.parents(expression, &mut budget)?;
            if answered.contains(&parents) {
                continue;
            }
            match self.index(parents.iter().cloned().collect()) {
                Answer::Permitted(policies) => permitting.extend(policies),
                Answer::NotPermitted if only_forbids => {}
                refusal => return Ok(refusal.into_ruling(expression.text)),
            }
            answered.insert(parents);
        }
        Ok(Ruling::Permitted { policies: permitting.into_iter().collect() })
    }

    /// The patterns that contain the expression and those it overlaps.
    fn parents(&self, expression: Requested<'_>, budget: &mut Budget) -> Result<Vec<EntityUid>, TooComplex> {
        let mut parents = Vec::new();
        for (glob, uid) in &self.sliced.contained {
            let pattern = crate::containment::Branch { include: glob, exclusions: &[] };
            if contains(std::iter::once(pattern), expression.names, budget)? {
                parents.push(uid.clone());
            }
        }
        for (glob, uid) in &self.sliced.overlapped {
            if overlaps(glob, expression.names, budget)? {
                parents.push(uid.clone());
            }
        }
        Ok(parents)
    }

    fn cluster(&self) -> Answer {
        match FIXED.as_ref() {
            Some(fixed) => self.ask(fixed.cluster.clone()),
            None => Answer::NotPermitted,
        }
    }

    /// Each type by itself. Any type is every one that a policy names, and one more for all the others.
    fn saved_objects(&self, types: &[String]) -> Ruling {
        let is_any = types.is_empty() || types.iter().any(|name| name == "*");
        let named: &[String] = if is_any { &self.sliced.saved_objects } else { types };
        let mut permitting: BTreeSet<String> = BTreeSet::new();
        for name in named.iter().map(String::as_str).chain(is_any.then_some(OTHER_TYPE)) {
            match self.saved_object(name) {
                Answer::Permitted(policies) => permitting.extend(policies),
                refusal if name == OTHER_TYPE => return refusal.into_ruling("every kind of saved object"),
                refusal => return refusal.into_ruling(name),
            }
        }
        Ruling::Permitted { policies: permitting.into_iter().collect() }
    }

    fn saved_object(&self, name: &str) -> Answer {
        match (FIXED.as_ref(), uid("Dashboard", name)) {
            (Some(fixed), Some(object)) => {
                self.ask(Entity::new_no_attrs(object, HashSet::from([fixed.dashboard_type.clone()])))
            }
            _ => Answer::NotPermitted,
        }
    }

    fn index(&self, mut parents: HashSet<EntityUid>) -> Answer {
        let Some(fixed) = FIXED.as_ref() else {
            return Answer::NotPermitted;
        };
        parents.insert(fixed.index_type.clone());
        self.ask(Entity::new_no_attrs(fixed.requested.clone(), parents))
    }

    fn ask(&self, resource: Entity) -> Answer {
        let Ok(request) =
            Request::new(self.sliced.principal.uid(), self.action.uid(), resource.uid(), Context::empty(), None)
        else {
            return Answer::NotPermitted;
        };
        let Ok(entities) =
            Entities::from_entities([self.sliced.principal.clone(), self.action.clone(), resource], None)
        else {
            return Answer::NotPermitted;
        };
        let response = Authorizer::new().is_authorized(&request, &self.sliced.set, &entities);
        if let Some(AuthorizationError::PolicyEvaluationError(error)) = response.diagnostics().errors().next() {
            return Answer::Failed(id(error.policy_id()));
        }
        let mut policies: Vec<String> = response.diagnostics().reason().map(id).collect();
        policies.sort_unstable();
        match response.decision() {
            Decision::Allow => Answer::Permitted(policies),
            Decision::Deny if policies.is_empty() => Answer::NotPermitted,
            Decision::Deny => Answer::Forbidden(policies),
        }
    }
}

fn id(policy: &cedar_policy::PolicyId) -> String {
    let id: &str = policy.as_ref();
    id.to_owned()
}

/// The entities that are the same in every request.
struct Fixed {
    /// With the action groups each is in.
    actions: HashMap<Action, Entity>,
    cluster: Entity,
    dashboard_type: EntityUid,
    index_type: EntityUid,
    /// The requested expression. Its id is no pattern a policy can name, so only its parents count.
    requested: EntityUid,
}

/// `None` only if the names above were not Cedar names; nothing is permitted then.
static FIXED: LazyLock<Option<Fixed>> = LazyLock::new(|| {
    let schema = super::schema().ok()?;
    let in_schema = schema.action_entities().ok()?;
    let actions = Action::ALL
        .into_iter()
        .filter_map(|action| Some((action, in_schema.get(&uid("Action", action.as_str())?)?.clone())))
        .collect();
    Some(Fixed {
        actions,
        cluster: Entity::new_no_attrs(uid("Cluster", "cluster")?, HashSet::from([uid("ResourceType", "cluster")?])),
        dashboard_type: uid("ResourceType", "dashboard")?,
        index_type: uid("ResourceType", "index")?,
        requested: uid("Index", "<requested>")?,
    })
});
