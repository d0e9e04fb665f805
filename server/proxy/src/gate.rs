//! What a request's body must pass before it is forwarded.

use std::rc::Rc;
use std::sync::Arc;

use crate::points_in_time::PointsInTime;
use crate::record::{Exchange, Stop};
use crate::refusal::Refusal;
use crate::session::{Decided, Session};
use crate::wire::Framing;
use crate::wire::request::RequestHead;
use oauth4os_classify::{
    BodyError, BulkScanner, Class, ContentCoding, GzipReader, Inspection, MsearchScanner, Operation, Targets,
    check_content, gunzip, past_restriction,
};
use oauth4os_config::Limits;

/// Stands between a body and the engine. A gate that has refused lets nothing more through: a request is forwarded as a
/// whole or not at all, since the engine does nothing before it has received the last byte.
pub(crate) enum Gate {
    /// Decided already; the body may be anything.
    Open,
    /// Decided action by action, as the lines arrive.
    Bulk { judge: Judge, scanner: BulkScanner },
    /// Decided search by search, as the lines arrive.
    Msearch { judge: Judge, scanner: MsearchScanner },
    /// Decided when the whole body is there.
    Whole { judge: Judge, gzip: Option<MaxPlain> },
    /// Decided by another gate on what comes out of the body. The engine gets the body as it was sent.
    Gzip { reader: Box<GzipReader>, plain: Box<Gate> },
}

/// The most that may come out of a body with gzip, in bytes.
pub(crate) type MaxPlain = u64;

/// Decides on the items of a body.
pub(crate) struct Judge {
    session: Rc<Session>,
    operation: Rc<Operation>,
    points_in_time: Arc<PointsInTime>,
    /// The last item and its decision: mostly the next item is for the same index.
    last: Option<(Class, oauth4os_classify::Action, Targets, Rc<Decided>)>,
    /// The same of the last item that a pipeline chooses the index for.
    pipeline: Option<(Class, oauth4os_classify::Action)>,
}

impl Gate {
    /// The gate for an operation. What can be decided without the body is decided here.
    pub(crate) fn new(
        exchange: &mut Exchange,
        session: &Rc<Session>,
        operation: Rc<Operation>,
        head: &RequestHead<'_>,
        limits: &Limits,
        points_in_time: &Arc<PointsInTime>,
    ) -> Result<Self, Refusal> {
        use oauth4os_classify::Body;
        let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
        if session.hidden.rows && operation.past_rows {
            exchange.note(&Decided::past_restriction("one of the parameters of the URL"))?;
        }
        // In a bulk it is asked of each item, of which some may only add.
        if operation.pipeline && is_write(operation.class) && !matches!(operation.body, Body::Bulk { .. }) {
            exchange.note(&session.decide_pipeline(operation.name, operation.class, operation.action))?;
        }
        let is_inspected = !matches!(operation.body, Body::Opaque);
        operation.handles.iter().try_for_each(|id| points_in_time.check(id, &session.holder))?;
        if !is_inspected || !(has_body || operation.targets == Targets::Body) {
            exchange.note(&session.decide(&operation)).map_err(|refusal| explain(refusal, &operation))?;
            return Ok(Self::Open);
        }
        let coding = check_content(text(head.content_type)?, text(head.content_encoding)?).map_err(refuse_body)?;
        let judge = Judge {
            session: Rc::clone(session),
            operation: Rc::clone(&operation),
            points_in_time: Arc::clone(points_in_time),
            last: None,
            pipeline: None,
        };
        let plain = match &operation.body {
            Body::Bulk { default_index, pipeline, returns_source } => {
                Self::Bulk { judge, scanner: BulkScanner::new(default_index.as_deref(), *pipeline, *returns_source) }
            }
            Body::Msearch { default } => {
                let scanner = MsearchScanner::new(default.clone(), limits.inspected_body.as_usize());
                Self::Msearch { judge, scanner: scanner.hiding(session.hidden) }
            }
            _ => {
                let gzip = (coding == ContentCoding::Gzip).then(|| limits.inspected_body.bytes());
                return Ok(Self::Whole { judge, gzip });
            }
        };
        Ok(match coding {
            ContentCoding::Identity => plain,
            ContentCoding::Gzip => {
                let reader = Box::new(GzipReader::new(limits.decompressed_body.bytes()));
                Self::Gzip { reader, plain: Box::new(plain) }
            }
        })
    }

    /// Looks at the next bytes of the body; an error means that neither they nor anything after them may pass.
    pub(crate) fn pass(&mut self, exchange: &mut Exchange, bytes: &[u8]) -> Result<(), Stop> {
        match self {
            Self::Open | Self::Whole { .. } => Ok(()),
            Self::Bulk { judge, scanner } => scanner.feed(bytes, |item| {
                if item.pipeline {
                    judge.pipeline(exchange, item.class, item.action)?;
                }
                judge.one(exchange, item.class, item.action, item.index)
            }),
            Self::Msearch { judge, scanner } => scanner.feed(bytes, |item| {
                judge.search(exchange, item.targets, item.hidden, &item.body)?;
                Ok(no_way_past(exchange, item.past_restriction)?)
            }),
            Self::Gzip { reader, plain } => reader.feed(bytes, |bytes| plain.pass(exchange, bytes)),
        }
    }

    /// The body has ended; the last of it may pass when this is `Ok`. `whole` is the body when it was held back.
    pub(crate) fn finish(self, exchange: &mut Exchange, whole: &[u8]) -> Result<(), Stop> {
        let items = match self {
            Self::Open => return Ok(()),
            Self::Bulk { scanner, .. } => scanner.finish().map_err(refuse_body)?,
            Self::Msearch { scanner, .. } => scanner.finish().map_err(refuse_body)?,
            Self::Whole { mut judge, gzip } => {
                return match gzip {
                    None => judge.body(exchange, whole),
                    Some(limit) => judge.body(exchange, &gunzip(whole, limit).map_err(refuse_body)?),
                };
            }
            Self::Gzip { reader, plain } => {
                reader.finish().map_err(refuse_body)?;
                return plain.finish(exchange, whole);
            }
        };
        if items == 0 {
            return Err(Refusal::unreadable("the body names nothing to do").into());
        }
        Ok(())
    }
}

impl Judge {
    fn one(
        &mut self,
        exchange: &mut Exchange,
        class: Class,
        action: oauth4os_classify::Action,
        index: &str,
    ) -> Result<(), Stop> {
        let known = self.last.as_ref().filter(|(last_class, last_action, targets, _)| {
            *last_class == class
                && *last_action == action
                && matches!(targets, Targets::Indices(names) if names.first().is_some_and(|name| name == index))
        });
        let decided = if let Some((.., decided)) = known {
            Rc::clone(decided)
        } else {
            exchange.note_target(index);
            let targets = Targets::Indices(vec![index.to_owned()]);
            let hidden = index.starts_with('.');
            let decided = self.session.decide_targets(self.operation.name, class, action, &targets, hidden);
            self.last = Some((class, action, targets, Rc::clone(&decided)));
            decided
        };
        Ok(exchange.note(&decided)?)
    }

    /// A document whose index a pipeline may choose.
    fn pipeline(
        &mut self,
        exchange: &mut Exchange,
        class: Class,
        action: oauth4os_classify::Action,
    ) -> Result<(), Stop> {
        if self.pipeline != Some((class, action)) {
            exchange.note(&self.session.decide_pipeline(self.operation.name, class, action))?;
            self.pipeline = Some((class, action));
        }
        Ok(())
    }

    /// One search: its targets, or the points in time it names instead, and what its query looks up elsewhere.
    fn search(
        &mut self,
        exchange: &mut Exchange,
        targets: Vec<String>,
        hidden: bool,
        body: &Inspection,
    ) -> Result<(), Stop> {
        let operation = Rc::clone(&self.operation);
        let targets = if body.pits.is_empty() {
            targets.iter().for_each(|target| exchange.note_target(target));
            Targets::Indices(targets)
        } else {
            Targets::Handle
        };
        let hidden = operation.hidden || hidden;
        let decided = self.session.decide_targets(operation.name, operation.class, operation.action, &targets, hidden);
        exchange.note(&decided)?;
        self.handles(body)?;
        self.lookups(exchange, body)
    }

    /// A body that was held back as a whole, and decompressed if need be.
    fn body(&mut self, exchange: &mut Exchange, body: &[u8]) -> Result<(), Stop> {
        let inspection = self.operation.body.inspect(body).map_err(refuse_body)?;
        self.whole(exchange, &inspection)?;
        if self.session.hidden.anything() {
            let past = past_restriction(body, self.session.hidden).map_err(refuse_body)?;
            no_way_past(exchange, past)?;
        }
        Ok(())
    }

    /// What such a body says.
    fn whole(&mut self, exchange: &mut Exchange, body: &Inspection) -> Result<(), Stop> {
        let operation = Rc::clone(&self.operation);
        if !body.saved_objects.is_empty() {
            body.saved_objects.iter().for_each(|name| exchange.note_target(name));
            let mut operation = Operation::clone(&operation);
            operation.targets = Targets::Dashboards(body.saved_objects.clone());
            return Ok(exchange.note(&self.session.decide(&operation))?);
        }
        if !body.pits.is_empty() {
            let decided =
                self.session.decide_targets(operation.name, operation.class, operation.action, &Targets::Handle, false);
            exchange.note(&decided)?;
            self.handles(body)?;
        } else if operation.targets != Targets::Body {
            exchange.note(&self.session.decide(&operation))?;
        } else if body.targets.is_empty() {
            return Err(Refusal::unreadable("the body names nothing to do").into());
        }
        self.lookups(exchange, body)
    }

    fn handles(&self, body: &Inspection) -> Result<(), Refusal> {
        body.pits.iter().try_for_each(|id| self.points_in_time.check(id, &self.session.holder))
    }

    fn lookups(&mut self, exchange: &mut Exchange, body: &Inspection) -> Result<(), Stop> {
        body.pipelines.iter().try_for_each(|(class, action)| self.pipeline(exchange, *class, *action))?;
        body.targets.iter().try_for_each(|target| self.one(exchange, target.class, target.action, &target.index))
    }
}

/// Whether it writes documents.
const fn is_write(class: Class) -> bool {
    matches!(class, Class::Append | Class::Write)
}

/// Refuses a search that rows or fields would not be held to.
fn no_way_past(exchange: &mut Exchange, past: Option<String>) -> Result<(), Refusal> {
    past.map_or(Ok(()), |what| exchange.note(&Decided::past_restriction(&what)))
}

/// Adds why nobody is permitted what no scope gives.
fn explain(mut refusal: Refusal, operation: &Operation) -> Refusal {
    if let Some(why) = operation.denied {
        refusal.reason = format!("{}: {why}", refusal.reason).into();
    }
    refusal
}

fn text(value: Option<&[u8]>) -> Result<Option<&str>, Refusal> {
    value
        .map(|value| std::str::from_utf8(value).map_err(|_| Refusal::content("the content type is not text")))
        .transpose()
}

fn refuse_body(error: BodyError) -> Refusal {
    match error.status() {
        413 => Refusal::too_large(error.to_string()),
        415 => Refusal::content(error.to_string()),
        _ => Refusal::unreadable(error.to_string()),
    }
}

impl From<BodyError> for Stop {
    fn from(error: BodyError) -> Self {
        Self::Refuse(refuse_body(error))
    }
}
