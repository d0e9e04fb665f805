//! The way of one request, from its head to its record.

use std::rc::Rc;
use std::time::Instant;

use oauth4os_classify::{Class, ClassifyError, Operation};
use oauth4os_engine::IdentityError;
use oauth4os_telemetry::audit::Event;
use oauth4os_telemetry::metrics::Outcome;
use oauth4os_tokens::clock::UnixTime;

use crate::authenticate::authenticate;
use crate::body::RequestBody;
use crate::connection::{ClientGone, Connection, Next};
use crate::forward::Forward;
use crate::gate::Gate;
use crate::own;
use crate::refusal::Refusal;
use crate::session::{Decided, Session};
use crate::wire::request::{MAX_HEADERS, RequestHead};
use crate::worker::{MAX_KEPT_TARGET, Worker, with_audit};

/// Index names from a body that an audit event lists.
const MAX_NOTED_TARGETS: usize = 32;

/// What is known of a request, for its record and its answer.
pub(crate) struct Exchange {
    pub(crate) request_id: String,
    pub(crate) time: UnixTime,
    started: Instant,
    session: Option<Rc<Session>>,
    operation: Option<Rc<Operation>>,
    decided: Option<Rc<Decided>>,
    /// Index names the decision was about, when the body told them.
    pub(crate) body_targets: Vec<String>,
    pub(crate) bytes_out: u64,
    pub(crate) status: Option<u16>,
    /// What went wrong after the decision.
    pub(crate) error: Option<String>,
    /// The gateway refused the request, whatever parts of it were allowed before: a body that cannot be read to its
    /// end, or is too large.
    refused: bool,
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

/// Serves one request whose head has arrived.
pub(crate) async fn run(connection: &mut Connection, head: &[u8]) -> Next {
    let worker = Rc::clone(&connection.worker);
    let _under_way = worker.begin();
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let head = match RequestHead::parse(head, &mut slots, worker.shared.limits.headers) {
        Ok(head) => head,
        Err(problem) => return refuse_unread(connection, &Refusal::malformed(problem)).await,
    };
    if worker.shared.control.owns(head.path()) {
        return own::run(connection, &head).await;
    }
    let mut exchange = Exchange::begin(&worker);
    let mut body = RequestBody::new(head.framing, worker.shared.limits.body.bytes());
    let next = match exchange.serve(connection, &head, &mut body).await {
        Ok(next) => next,
        Err(Stop::Refuse(refusal)) => exchange.refuse(connection, &head, &mut body, &refusal).await,
        Err(Stop::Gone) => Next::Gone,
    };
    exchange.record(connection, &head, &body);
    next
}

/// Answers a request whose end is not known, and closes the connection.
pub(crate) async fn refuse_unread(connection: &mut Connection, refusal: &Refusal) -> Next {
    let worker = Rc::clone(&connection.worker);
    let mut exchange = Exchange::begin(&worker);
    exchange.status = Some(refusal.status);
    exchange.error = Some(refusal.reason.to_string());
    let mut out = Vec::new();
    refusal.write(&mut out, &worker.shared.issuer, &exchange.request_id, false, true);
    let next = if connection.send(&out).await.is_ok() { Next::Close } else { Next::Gone };
    with_audit(|audit| {
        let mut event = Event::new(exchange.time, "request", &exchange.request_id, "deny");
        event.address = Some(connection.peer);
        event.reason = Some(&refusal.reason);
        event.status = Some(refusal.status);
        audit.push(&event);
    });
    worker.shared.metrics.request(refusal.outcome, exchange.started.elapsed().as_secs_f64());
    next
}

impl Exchange {
    pub(crate) fn begin(worker: &Worker) -> Self {
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
            bytes_out: 0,
            status: None,
            error: None,
            refused: false,
        }
    }

    async fn serve(
        &mut self,
        connection: &mut Connection,
        head: &RequestHead<'_>,
        body: &mut RequestBody,
    ) -> Result<Next, Stop> {
        let worker = Rc::clone(&connection.worker);
        if !head.method_is_supported() {
            return Err(Refusal::method(head.method).into());
        }
        if head.expects_unknown {
            return Err(Refusal::expectation().into());
        }
        let session = authenticate(&worker, head.fields, self.time).map_err(|unauthenticated| {
            self.session = unauthenticated.session;
            unauthenticated.refusal
        })?;
        self.session = Some(Rc::clone(&session));
        session.client.limiter.check(self.time).map_err(|exceeded| Refusal::limited(exceeded.retry_after))?;
        body.check_announced()?;
        let (gate, may_repeat) = if cfg!(feature = "engine-decides") {
            (Gate::Open, false)
        } else {
            let operation = classify(&worker, head)?;
            self.operation = Some(Rc::clone(&operation));
            let may_repeat = is_repeatable(operation.class);
            (Gate::new(self, &session, operation, head, worker.shared.limits.inspected_body.as_usize())?, may_repeat)
        };
        let identity = worker.shared.identities.of(&session, self.time).map_err(|error| match error {
            IdentityError::NoRight => Refusal::forbidden(error.to_string(), None),
            _ => Refusal::internal(format!("no identity could be made for the engine: {error}")),
        })?;
        Forward { exchange: self, connection, head, body, gate, identity: &identity, may_repeat }.run().await
    }

    /// Notes a decision, on the whole request or on an item of its body, and turns a denial into a refusal. What was
    /// denied stands, whatever was allowed before.
    pub(crate) fn note(&mut self, decided: &Rc<Decided>) -> Result<(), Refusal> {
        if self.decided.as_ref().is_none_or(|known| !Rc::ptr_eq(known, decided)) {
            self.decided = Some(Rc::clone(decided));
        }
        if decided.allow {
            return Ok(());
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

    async fn refuse(
        &mut self,
        connection: &mut Connection,
        head: &RequestHead<'_>,
        body: &mut RequestBody,
        refusal: &Refusal,
    ) -> Next {
        self.status = Some(refusal.status);
        self.error = Some(refusal.reason.to_string());
        self.refused = !matches!(refusal.outcome, Outcome::Failed);
        // A body that has arrived is taken off, so that the connection can go on; for one that has not, the connection
        // is closed after the answer. A client that waits for `100 Continue` may send it or not.
        let taken =
            body.take(&mut connection.input, |_| Ok::<(), crate::body::BodyError>(())).is_ok() && body.is_done();
        let close = refusal.close || !taken || !head.keep_alive || connection.worker.is_draining();
        let mut out = Vec::new();
        refusal.write(&mut out, &connection.worker.shared.issuer, &self.request_id, head.method == "HEAD", close);
        match connection.send(&out).await {
            Ok(()) if close => Next::Close,
            Ok(()) => Next::KeepAlive,
            Err(ClientGone) => Next::Gone,
        }
    }

    /// Writes the audit event and counts the request.
    fn record(&self, connection: &Connection, head: &RequestHead<'_>, body: &RequestBody) {
        let elapsed = self.started.elapsed();
        let decided = self.decided.as_ref().is_some_and(|decided| decided.allow) || cfg!(feature = "engine-decides");
        let allowed = decided && !self.refused;
        let failed = self.error.is_some();
        with_audit(|audit| {
            let mut event = Event::new(self.time, "request", &self.request_id, if allowed { "allow" } else { "deny" });
            if let Some(session) = &self.session {
                event.client = Some(&session.client.principal.id);
                event.token_id = Some(&session.token_id);
                event.scopes = Some(&session.scope_text);
            }
            event.address = Some(connection.peer);
            event.method = Some(head.method);
            event.path = Some(head.path());
            if let Some(operation) = &self.operation {
                event.operation = Some(operation.name);
                if let oauth4os_classify::Targets::Indices(targets) = &operation.targets {
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
        connection.worker.shared.metrics.request(outcome, elapsed.as_secs_f64());
    }
}

/// The operation of a request, from those seen lately or read anew.
fn classify(worker: &Worker, head: &RequestHead<'_>) -> Result<Rc<Operation>, Refusal> {
    let is_kept = head.target.len() <= MAX_KEPT_TARGET;
    if is_kept {
        let known = worker.operations.borrow_mut().get(&Key(head.method, head.target)).map(Rc::clone);
        if let Some(operation) = known {
            return Ok(operation);
        }
    }
    refuse_token_in_query(head.target)?;
    let operation = oauth4os_classify::classify(head.method, head.target).map_err(|error| match error {
        ClassifyError::Unclassified { .. } => Refusal::forbidden(error.to_string(), None),
        ClassifyError::MethodNotAllowed { ref allowed, .. } => Refusal::method_of_path(error.to_string(), allowed),
        _ => Refusal::unreadable(error.to_string()),
    })?;
    let operation = Rc::new(operation);
    if is_kept {
        let key = (head.method.to_owned(), head.target.to_owned());
        worker.operations.borrow_mut().insert(key, Rc::clone(&operation));
    }
    Ok(operation)
}

/// Method and target, borrowed, as the key of a kept operation.
#[derive(Hash)]
struct Key<'a>(&'a str, &'a str);

impl quick_cache::Equivalent<(String, String)> for Key<'_> {
    fn equivalent(&self, key: &(String, String)) -> bool {
        self.0 == key.0 && self.1 == key.1
    }
}

/// A token in a URL ends up in logs (RFC 9700 section 4.3.2).
fn refuse_token_in_query(target: &str) -> Result<(), Refusal> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    if query.split(['&', ';']).any(|pair| pair.split('=').next() == Some("access_token")) {
        return Err(Refusal::unreadable(
            "a token does not belong into the URL; send it as `Authorization: Bearer`, and revoke this one",
        ));
    }
    Ok(())
}

/// Whether a request may be sent again when a connection that was kept open turns out to be closed: it changes nothing.
const fn is_repeatable(class: Class) -> bool {
    matches!(class, Class::Info | Class::Search | Class::Get | Class::Metadata | Class::Monitor | Class::ClusterMonitor)
}
