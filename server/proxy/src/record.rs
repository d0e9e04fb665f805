//! What is known of a request while it goes its way, and what is written down of it at the end.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use oauth4os_classify::{Operation, Targets};
use oauth4os_config::RateMode;
use oauth4os_telemetry::audit::Event;
use oauth4os_telemetry::metrics::{Outcome, OverRate};
use oauth4os_tokens::clock::UnixTime;

use crate::body::RequestBody;
use crate::connection::{ClientGone, Connection};
use crate::fields::{ConnectionOptions, opaque_id};
use crate::pool::EngineConnection;
use crate::rates::{Rules, Told};
use crate::refusal::Refusal;
use crate::session::{Decided, Session};
use crate::wire::request::RequestHead;
use crate::worker::{Worker, with_audit};

/// Index names from a body that an audit event lists.
const MAX_NOTED_TARGETS: usize = 32;

/// What is known of a request, for its record and its answer.
pub(crate) struct Exchange {
    pub(crate) request_id: String,
    pub(crate) time: UnixTime,
    pub(crate) started: Instant,
    pub(crate) session: Option<Rc<Session>>,
    pub(crate) operation: Option<Rc<Operation>>,
    pub(crate) decided: Option<Rc<Decided>>,
    /// Index names the decision was about, when the body told them.
    pub(crate) body_targets: Vec<String>,
    /// Which of the clusters it is meant for.
    pub(crate) cluster: Option<usize>,
    /// It is meant for Dashboards, in this tenant.
    pub(crate) is_dashboards: bool,
    pub(crate) dashboards_tenant: Option<String>,
    pub(crate) bytes_out: u64,
    pub(crate) status: Option<u16>,
    /// What went wrong after the decision.
    pub(crate) error: Option<String>,
    /// The gateway refused the request, whatever parts of it were allowed before: a body that cannot be read to its
    /// end, or is too large.
    pub(crate) refused: bool,
    /// Where it comes from.
    pub(crate) address: IpAddr,
    /// The rules that have counted it.
    pub(crate) counted: Rules,
    /// What the answer tells of rates.
    pub(crate) told: Option<Box<Told>>,
    /// The rates it is over.
    pub(crate) over: Vec<(OverRate, RateMode)>,
    /// What would have been refused, if rates were not only observed.
    pub(crate) observed: Option<Cow<'static, str>>,
    /// The engine answers for a part of what is asked for.
    pub(crate) is_partial: bool,
    /// It asks for a WebSocket. Whatever comes of that, the connection is not used for another request.
    pub(crate) wants_websocket: bool,
    /// The WebSocket that Dashboards has opened.
    pub(crate) websocket: Option<Box<EngineConnection>>,
}

/// Why an exchange ended without an answer of the engine.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The gateway answers instead.
    Refuse(Refusal),
    /// Nobody is left to answer to, or the answer broke off half-way: the connection ends.
    Gone,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<crate::body::BodyError> for Stop {
    fn from(error: crate::body::BodyError) -> Self {
        Self::Refuse(error.into())
    }
}

impl From<ClientGone> for Stop {
    fn from(_: ClientGone) -> Self {
        Self::Gone
    }
}

impl Exchange {
    /// Gives the request its id and its time.
    pub(crate) fn begin(worker: &Worker, address: IpAddr) -> Self {
        let mut request_id = String::with_capacity(32);
        worker.requests.write_next(&mut request_id);
        Self {
            request_id,
            time: worker.shared.clock.now(),
            started: Instant::now(),
            session: None,
            operation: None,
            decided: None,
            body_targets: Vec::new(),
            cluster: None,
            is_dashboards: false,
            dashboards_tenant: None,
            bytes_out: 0,
            status: None,
            error: None,
            refused: false,
            address,
            counted: Rules::default(),
            told: None,
            over: Vec::new(),
            observed: None,
            is_partial: false,
            wants_websocket: false,
            websocket: None,
        }
    }

    /// Notes a decision, on the whole request or on an item of its body, and turns a denial into a refusal. What was
    /// denied stands, whatever was allowed before.
    pub(crate) fn note(&mut self, decided: &Rc<Decided>) -> Result<(), Refusal> {
        if self.decided.as_ref().is_none_or(|known| !Rc::ptr_eq(known, decided)) {
            self.decided = Some(Rc::clone(decided));
        }
        self.is_partial |= decided.is_partial;
        if decided.allow {
            return self.count(decided.touched);
        }
        let reason = decided.reason.clone().unwrap_or_else(|| "the request is not permitted".to_owned());
        Err(Refusal::forbidden(reason, decided.needed_scope.clone()))
    }

    /// Notes an index the body named, once, as far as the record has room.
    pub(crate) fn note_target(&mut self, index: &str) {
        if self.body_targets.len() < MAX_NOTED_TARGETS && !self.body_targets.iter().any(|noted| noted == index) {
            self.body_targets.push(index.to_owned());
        }
    }

    /// The names of indices that the request was decided on, as far as they were noted.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> + Clone {
        let targets = match self.operation.as_deref().map(|operation| &operation.targets) {
            Some(Targets::Indices(targets)) => targets.as_slice(),
            _ => &[],
        };
        targets.iter().chain(&self.body_targets).map(String::as_str)
    }

    /// Whether there is no room to note more of them.
    pub(crate) const fn names_more(&self) -> bool {
        self.body_targets.len() == MAX_NOTED_TARGETS
    }

    /// Writes the audit event and counts the request.
    pub(crate) fn record<S>(&self, connection: &Connection<S>, head: &RequestHead<'_>, body: &RequestBody) {
        let elapsed = self.started.elapsed();
        let decided = self.decided.as_ref().is_some_and(|decided| decided.allow) || cfg!(feature = "engine-decides");
        let allowed = decided && !self.refused;
        let failed = self.error.is_some();
        with_audit(|audit| {
            let mut event = Event::new(self.time, "request", &self.request_id, if allowed { "allow" } else { "deny" });
            if let Some(session) = &self.session {
                session.describe(&mut event);
                event.opaque_id = opaque_id(head.fields, &ConnectionOptions::of(head.fields));
            }
            event.address = Some(connection.client);
            let cluster = self.cluster.and_then(|number| connection.worker.shared.clusters.get(number));
            event.cluster = cluster.and_then(|cluster| cluster.name.as_deref());
            event.upstream = self.is_dashboards.then_some("dashboards");
            event.dashboards_tenant = self.dashboards_tenant.as_deref();
            event.method = Some(head.method);
            event.path = Some(head.path());
            if let Some(operation) = &self.operation {
                event.operation = Some(operation.name);
                if let Targets::Indices(targets) | Targets::Dashboards(targets) = &operation.targets {
                    event.targets = targets;
                }
            }
            if !self.body_targets.is_empty() {
                event.targets = &self.body_targets;
            }
            if let Some(decided) = &self.decided {
                event.determining = &decided.determining;
            }
            if allowed {
                event.error = self.error.as_deref();
            } else {
                event.reason = self.error.as_deref();
            }
            event.observed = self.observed.as_deref();
            event.partial = self.is_partial && allowed;
            event.status = self.status;
            event.latency_us = u64::try_from(elapsed.as_micros()).ok();
            event.bytes_in = body.received();
            event.bytes_out = self.bytes_out;
            audit.push(&event);
        });
        let outcome = match self.status {
            _ if allowed && !failed => Outcome::Allowed,
            Some(401) => Outcome::Unauthenticated,
            Some(403) => Outcome::Denied,
            Some(429) => Outcome::Limited,
            Some(400..=499) => Outcome::Malformed,
            _ => Outcome::Failed,
        };
        for (rate, mode) in &self.over {
            connection.worker.shared.metrics.over_rate(*rate, mode.as_str());
        }
        connection.worker.shared.metrics.request(outcome, elapsed.as_secs_f64());
    }
}
