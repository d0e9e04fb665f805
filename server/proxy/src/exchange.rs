//! The way of one request, from its head to its record.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;

use oauth4os_classify::{ClassifyError, Operation};
use oauth4os_config::RateMode;
use oauth4os_telemetry::audit::Event;
use oauth4os_telemetry::metrics::{Outcome, OverRate};

use crate::arrival::check_client;
use crate::authenticate::authenticate;
use crate::body::RequestBody;
use crate::certificate::ClientCertificates;
use crate::cluster::{self, Entrance};
use crate::connection::{ByteStream, ClientGone, Connection, Next};
use crate::forward::Forward;
use crate::gate::Gate;
use crate::limit::Standing;
use crate::outcome::Twice;
use crate::own;
use crate::rates::{Counted, Rules, is_told};
use crate::record::{Exchange, Stop};
use crate::refusal::{ADDRESS_RATE, CLIENT_RATE, NAMESPACE_RATE, Refusal};
use crate::session::Session;
use crate::wire::request::{MAX_HEADERS, RequestHead};
use crate::worker::{MAX_KEPT_TARGET, Worker, with_audit};
use crate::{tunnel, websocket};

/// Serves one request whose head has arrived.
pub(crate) async fn run<S: ByteStream>(connection: &mut Connection<S>, head: &[u8]) -> Next {
    let worker = Rc::clone(&connection.worker);
    let _under_way = worker.begin();
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let head = match RequestHead::parse(head, &mut slots, worker.shared.limits.headers) {
        Ok(head) => head,
        Err(problem) => return refuse_unread(connection, &Refusal::malformed(problem)).await,
    };
    let admitted = admit(connection, &head);
    if admitted.is_ok() && worker.shared.control.owns(head.path()) {
        return own::run(connection, &head).await;
    }
    let mut exchange = Exchange::begin(&worker, connection.client);
    let mut body = RequestBody::new(head.framing, worker.shared.limits.body.bytes());
    let served = match admitted {
        Ok(()) => exchange.serve(connection, &head, &mut body).await,
        Err(refusal) => Err(refusal.into()),
    };
    let next = match served {
        Ok(next) => next,
        Err(Stop::Refuse(refusal)) => exchange.refuse(connection, &head, &mut body, refusal).await,
        Err(Stop::Gone) => Next::Gone,
    };
    exchange.record(connection, &head, &body);
    if let Some(upstream) = exchange.websocket.take() {
        // Apart, so that no other connection has to have room for it.
        return Box::pin(tunnel::run(connection, &head, &exchange, *upstream)).await;
    }
    next
}

/// Finds out whose request it is, and whether it may come from there on this connection.
pub(crate) fn admit<S>(connection: &mut Connection<S>, head: &RequestHead<'_>) -> Result<(), Refusal> {
    let shared = &connection.worker.shared;
    let listener = shared.listener.load();
    let (client, admitted) = listener.admit(connection.entrance, connection.peer, head.fields);
    connection.client = client;
    admitted.and_then(|()| {
        let (taken, shown) = (listener.client_certificates.as_ref(), connection.certificate.as_deref());
        ClientCertificates::check(taken, shown, || shared.clock.now())
    })
}

/// Answers a request whose end is not known, and closes the connection.
pub(crate) async fn refuse_unread<S: ByteStream>(connection: &mut Connection<S>, refusal: &Refusal) -> Next {
    let worker = Rc::clone(&connection.worker);
    let mut exchange = Exchange::begin(&worker, connection.peer);
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
    async fn serve<S: ByteStream>(
        &mut self,
        connection: &mut Connection<S>,
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
        let Some(destination) = cluster::find(&worker.shared.clusters, connection.entrance, head) else {
            return Err(Refusal::no_cluster().into());
        };
        let (cluster, head) = (destination.cluster, &RequestHead { target: &destination.target, ..*head });
        self.cluster = Some(destination.number);
        let certificate = connection.certificate.as_deref();
        let place = (destination.number, cluster);
        let authenticated =
            authenticate(&worker, place, head.fields, certificate, connection.client, &mut self.time).await;
        let session = match authenticated {
            Ok(session) => session,
            Err(unauthenticated) => {
                self.session = unauthenticated.session;
                return Err(self.limit_stranger(&worker, connection.client, *unauthenticated.refusal).into());
            }
        };
        self.session = Some(Rc::clone(&session));
        check_client(&session.client, connection.client)?;
        self.limit(&worker, &session)?;
        self.count(session.rates.of_all())?;
        if worker.shared.audit.must_refuse() {
            return Err(Refusal::unrecorded().into());
        }
        body.check_announced()?;
        let Some(ways) = worker.ways.get(destination.number) else {
            return Err(Refusal::no_cluster().into());
        };
        let dashboards = cluster.dashboards.as_ref().zip(ways.dashboards.as_ref());
        let is_own = matches!(connection.entrance, Entrance::Dashboards(_));
        let mut call = dashboards.and_then(|(dashboards, nodes)| dashboards.call(head, nodes, is_own));
        if let Some(call) = &mut call {
            self.is_dashboards = true;
            self.wants_websocket = websocket::is_asked_for(head);
            if self.wants_websocket {
                call.open_websocket(head, &session, !connection.input.is_empty())?;
            }
            call.complete(head, &session)?;
            self.dashboards_tenant = call.extra.tenant.map(str::to_owned);
        }
        let (gate, twice) = if cfg!(feature = "engine-decides") {
            (Gate::Open, Twice::Harmful)
        } else {
            let operation = match &call {
                None => classify(&worker, head)?,
                Some(call) => {
                    refuse_token_in_query(head.target)?;
                    Rc::new(call.classify(head)?)
                }
            };
            self.operation = Some(Rc::clone(&operation));
            let twice = Twice::of(&operation);
            (Gate::new(self, &session, operation, head, &worker.shared.limits, &cluster.points_in_time)?, twice)
        };
        let Some(_in_flight) = cluster.take_flight(worker.shared.limits.requests_in_flight) else {
            worker.shared.metrics.requests_shed.inc();
            return Err(Refusal::overloaded().into());
        };
        let identity = cluster.identities.of(&session, self.time).map_err(Refusal::no_identity)?;
        let dashboards = call.as_ref();
        let (to, payload, may_repeat) = ((cluster, &ways.engine), None, twice.is_harmless());
        Forward { exchange: self, connection, to, head, body, gate, identity, payload, dashboards, twice, may_repeat }
            .run()
            .await
    }

    /// Counts the request against its client's rate.
    fn limit(&mut self, worker: &Worker, session: &Session) -> Result<(), Refusal> {
        let limiter = &session.client.limiter;
        let standing = limiter.check(self.time);
        if is_told(limiter.mode, limiter.headers) {
            self.told.get_or_insert_default().standing(CLIENT_RATE, standing);
        }
        if !standing.passed {
            self.over.push((OverRate::Client, limiter.mode));
            match limiter.mode {
                RateMode::Enforce => return Err(Refusal::limited(standing)),
                mode => self.would_limit(CLIENT_RATE, mode, standing, "the client has sent too many requests"),
            }
        }
        if session.client.within.is_empty() { Ok(()) } else { self.limit_namespaces(worker, session) }
    }

    /// Counts the request by these rules of the configuration, each once. Of those it is over, the one that wants the longest wait refuses it;
    /// it then uses up nothing of the others.
    pub(crate) fn count(&mut self, rules: Rules) -> Result<(), Refusal> {
        let new = rules.without(self.counted);
        let Some(session) = self.session.clone().filter(|_| !new.is_empty()) else { return Ok(()) };
        self.counted = self.counted.and(new);
        let (now, tenant) = (self.time, session.tenant());
        let who = Counted { client: &session.client.engine_name, tenant: tenant.as_deref(), address: self.address };
        let enforced = session.rates.iter(new).filter(|rule| rule.mode == RateMode::Enforce);
        let over = enforced
            .filter_map(|rule| Some((rule, rule.look(who, now).filter(|standing| !standing.passed)?)))
            .max_by_key(|(_, standing)| standing.wait);
        if let Some((rule, standing)) = over {
            self.over.push((OverRate::Rule, rule.mode));
            return Err(Refusal::limited_by(rule, standing));
        }
        for rule in session.rates.iter(new) {
            let Some(standing) = rule.take(who, now) else { continue };
            if is_told(rule.mode, session.client.limiter.headers) {
                self.told.get_or_insert_default().standing(rule.name.to_string(), standing);
            }
            if !standing.passed {
                self.over.push((OverRate::Rule, rule.mode));
                match rule.mode {
                    RateMode::Enforce => return Err(Refusal::limited_by(rule, standing)),
                    mode => self.would_limit(rule.name.to_string(), mode, standing, rule.exceeded()),
                }
            }
        }
        Ok(())
    }

    /// Notes that the request would have been refused for a rate, and in which words the record says so.
    fn would_limit(
        &mut self,
        rate: impl Into<Cow<'static, str>>,
        mode: RateMode,
        standing: Standing,
        observed: impl Into<Cow<'static, str>>,
    ) {
        self.observed = Some(observed.into());
        if mode == RateMode::DryRun {
            self.told.get_or_insert_default().would_limit(rate, standing);
        }
    }

    /// Counts the request against the rates of the namespaces its client is in, from the inside out: what one refuses does not
    /// use up the next.
    fn limit_namespaces(&mut self, worker: &Worker, session: &Session) -> Result<(), Refusal> {
        let snapshot = worker.shared.snapshot.load();
        let limited = session.client.within.iter().filter_map(|namespace| snapshot.namespaces.get(&namespace.name));
        for limiter in limited {
            let standing = limiter.check(self.time);
            if !standing.passed {
                self.over.push((OverRate::Namespace, limiter.mode));
                match limiter.mode {
                    RateMode::Enforce => return Err(Refusal::limited_namespace(standing)),
                    mode => self.would_limit(
                        NAMESPACE_RATE,
                        mode,
                        standing,
                        "the clients of a namespace have together sent too many requests",
                    ),
                }
            }
        }
        Ok(())
    }

    /// Counts a request without a valid credential against its address's rate; over that, it is refused for that.
    fn limit_stranger(&mut self, worker: &Worker, address: IpAddr, refusal: Refusal) -> Refusal {
        let (rate, mode) = worker.shared.snapshot.load().unauthenticated;
        let refusal = match refusal.outcome {
            Outcome::Unauthenticated => {
                let standing = worker.shared.strangers.refused(address, rate, self.time);
                if standing.passed {
                    return refusal;
                }
                if mode == RateMode::Enforce {
                    Refusal::limited_address(standing)
                } else {
                    let observed = "too many requests without a valid credential have come from the address";
                    self.would_limit(ADDRESS_RATE, mode, standing, observed);
                    refusal
                }
            }
            Outcome::Limited => refusal,
            _ => return refusal,
        };
        self.over.push((OverRate::Address, mode));
        refusal
    }

    async fn refuse<S: ByteStream>(
        &mut self,
        connection: &mut Connection<S>,
        head: &RequestHead<'_>,
        body: &mut RequestBody,
        mut refusal: Refusal,
    ) -> Next {
        self.status = Some(refusal.status);
        self.error = Some(refusal.reason.to_string());
        self.refused = !matches!(refusal.outcome, Outcome::Failed);
        if connection.is_stream && !head.expects_continue {
            connection.receive_rest(body).await;
        }
        // A body that has arrived is taken off, so that the connection can go on; for one that has not, the connection
        // is closed after the answer. A client that waits for `100 Continue` may send it or not.
        let taken =
            body.take(&mut connection.input, |_| Ok::<(), crate::body::BodyError>(())).is_ok() && body.is_done();
        let close =
            refusal.close || self.wants_websocket || !taken || !head.keep_alive || connection.worker.is_draining();
        let mut out = Vec::new();
        if let Some(told) = self.told.take() {
            refusal.told.get_or_insert_default().with(*told);
        }
        refusal.write(&mut out, &connection.worker.shared.issuer, &self.request_id, head.method == "HEAD", close);
        match connection.send(&out).await {
            Ok(()) if close => Next::Close,
            Ok(()) => Next::KeepAlive,
            Err(ClientGone) => Next::Gone,
        }
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
