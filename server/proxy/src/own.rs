//! Requests to the gateway's own endpoints: read as strictly as all others, then handed to the control plane.

use std::io::Write as _;
use std::rc::Rc;

use crate::body::{BodyError, RequestBody};
use crate::connection::{ByteStream, ClientGone, Connection, Next};
use crate::control::{Answer, MAX_BODY, Origin};
use crate::fields::is_removed_from_response;
use crate::record::{Exchange, Stop};
use crate::refusal::{Refusal, reason_phrase};
use crate::wire::request::RequestHead;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Serves a request to the gateway itself. What the control plane decides it records itself; what does not get that far
/// is recorded here.
pub(crate) async fn run<S: ByteStream>(connection: &mut Connection<S>, head: &RequestHead<'_>) -> Next {
    let worker = Rc::clone(&connection.worker);
    let mut exchange = Exchange::begin(&worker, connection.client);
    let mut body = RequestBody::new(head.framing, MAX_BODY);
    let mut out = Vec::new();
    let is_head = head.method == "HEAD";
    let close = match ask(connection, head, &mut body, &exchange.request_id).await {
        Ok(answer) => {
            let close = !head.keep_alive || worker.is_draining();
            write_answer(&answer, &exchange.request_id, is_head, close, &mut out);
            close
        }
        Err(Stop::Refuse(refusal)) => {
            let close = refusal.close || !body.is_done() || !head.keep_alive;
            refusal.write(&mut out, &worker.shared.issuer, &exchange.request_id, is_head, close);
            exchange.status = Some(refusal.status);
            exchange.error = Some(refusal.reason.into_owned());
            exchange.refused = true;
            close
        }
        Err(Stop::Gone) => return Next::Gone,
    };
    let sent = connection.send(&out).await;
    if exchange.refused {
        exchange.record(connection, head, &body);
    }
    match sent {
        Ok(()) if close => Next::Close,
        Ok(()) => Next::KeepAlive,
        Err(ClientGone) => Next::Gone,
    }
}

async fn ask<S: ByteStream>(
    connection: &mut Connection<S>,
    head: &RequestHead<'_>,
    body: &mut RequestBody,
    request_id: &str,
) -> Result<Answer, Stop> {
    if !head.method_is_supported() {
        return Err(Refusal::method(head.method).into());
    }
    if head.expects_unknown {
        return Err(Refusal::expectation().into());
    }
    body.check_announced()?;
    if head.expects_continue && !body.is_done() && connection.input.is_empty() {
        connection.send(CONTINUE).await?;
    }
    let mut received = Vec::new();
    loop {
        body.take(&mut connection.input, |bytes| {
            received.extend_from_slice(bytes);
            Ok::<(), BodyError>(())
        })?;
        if body.is_done() {
            break;
        }
        if connection.receive().await? == 0 {
            return Err(Stop::Gone);
        }
    }
    let certificate = connection.certificate.as_ref().map(|shown| shown.names.clone()).unwrap_or_default();
    let origin = Origin { address: connection.client, request_id: request_id.to_owned(), certificate };
    let worker = Rc::clone(&connection.worker);
    worker.shared.control.ask(head, received, origin).await.map_err(|error| {
        tracing::error!(%error, request_id, "an own endpoint gave no answer");
        Refusal::internal(error.to_string()).into()
    })
}

fn write_answer(answer: &Answer, request_id: &str, to_head: bool, close: bool, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", answer.status, reason_phrase(answer.status));
    for (name, value) in &answer.headers {
        // The router speaks for the gateway: its challenge and cookies stay, unlike the engine's.
        let is_ours = name == "www-authenticate" || name == "set-cookie";
        if name != "content-length" && (is_ours || !is_removed_from_response(name.as_str())) {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    // The answer to HEAD has the length of the one to GET, which the router tells, or none (RFC 9110 section 8.6).
    match answer.headers.get("content-length") {
        Some(length) if to_head => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(length.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        None if to_head => {}
        _ if answer.status == 204 => {}
        _ => {
            let _ = write!(out, "content-length: {}\r\n", answer.body.len());
        }
    }
    let _ = write!(out, "x-request-id: {request_id}\r\n");
    if close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !to_head {
        out.extend_from_slice(&answer.body);
    }
}
