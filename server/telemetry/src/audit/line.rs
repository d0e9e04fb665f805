//! An event as one line of JSON.
//!
//! Every request writes one, so the line is put together from ready pieces; what has to be escaped is left to the JSON
//! library. A test holds the result against that library's own.

use std::io::Write as _;

use super::Event;
use crate::time::Rfc3339;

/// Appends the event and the end of the line.
pub(super) fn write(event: &Event<'_>, line: &mut Vec<u8>) -> serde_json::Result<()> {
    line.extend_from_slice(br#"{"time":""#);
    Rfc3339(event.time).write(line);
    line.push(b'"');
    text(line, br#","event":"#, event.event)?;
    text(line, br#","request_id":"#, event.request_id)?;
    optional_text(line, br#","opaque_id":"#, event.opaque_id)?;
    optional_text(line, br#","client":"#, event.client)?;
    optional_text(line, br#","user":"#, event.user)?;
    optional_text(line, br#","subject":"#, event.subject)?;
    list(line, br#","actors":"#, event.actors)?;
    optional_text(line, br#","provider":"#, event.provider)?;
    optional_text(line, br#","tenant":"#, event.tenant)?;
    optional_text(line, br#","credential":"#, event.credential)?;
    optional_text(line, br#","certificate":"#, event.certificate)?;
    optional_text(line, br#","token_id":"#, event.token_id)?;
    optional_text(line, br#","scopes":"#, event.scopes)?;
    optional_text(line, br#","cluster":"#, event.cluster)?;
    if let Some(address) = event.address {
        // Writing to memory does not fail, and an address has nothing to escape.
        let _ = write!(line, r#","address":"{address}""#);
    }
    optional_text(line, br#","method":"#, event.method)?;
    optional_text(line, br#","path":"#, event.path)?;
    optional_text(line, br#","upstream":"#, event.upstream)?;
    optional_text(line, br#","dashboards_tenant":"#, event.dashboards_tenant)?;
    optional_text(line, br#","grant_type":"#, event.grant_type)?;
    optional_text(line, br#","operation":"#, event.operation)?;
    list(line, br#","targets":"#, event.targets)?;
    text(line, br#","decision":"#, event.decision)?;
    optional_text(line, br#","reason":"#, event.reason)?;
    list(line, br#","determining":"#, event.determining)?;
    optional_text(line, br#","observed":"#, event.observed)?;
    if event.partial {
        line.extend_from_slice(br#","partial":true"#);
    }
    if let Some(status) = event.status {
        number(line, br#","status":"#, status.into())?;
    }
    if let Some(latency) = event.latency_us {
        number(line, br#","latency_us":"#, latency)?;
    }
    if event.bytes_in > 0 {
        number(line, br#","bytes_in":"#, event.bytes_in)?;
    }
    if event.bytes_out > 0 {
        number(line, br#","bytes_out":"#, event.bytes_out)?;
    }
    optional_text(line, br#","error":"#, event.error)?;
    line.extend_from_slice(b"}\n");
    Ok(())
}

fn optional_text(line: &mut Vec<u8>, key: &[u8], value: Option<&str>) -> serde_json::Result<()> {
    value.map_or(Ok(()), |value| text(line, key, value))
}

fn text(line: &mut Vec<u8>, key: &[u8], value: &str) -> serde_json::Result<()> {
    line.extend_from_slice(key);
    quoted(line, value)
}

fn list(line: &mut Vec<u8>, key: &[u8], values: &[String]) -> serde_json::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    line.extend_from_slice(key);
    for (at, value) in values.iter().enumerate() {
        line.push(if at == 0 { b'[' } else { b',' });
        quoted(line, value)?;
    }
    line.push(b']');
    Ok(())
}

fn number(line: &mut Vec<u8>, key: &[u8], value: u64) -> serde_json::Result<()> {
    line.extend_from_slice(key);
    serde_json::to_writer(line, &value)
}

fn quoted(line: &mut Vec<u8>, value: &str) -> serde_json::Result<()> {
    // Without an early end the compiler looks at many bytes at once.
    let is_escaped = value.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if is_escaped {
        return serde_json::to_writer(line, value);
    }
    line.push(b'"');
    line.extend_from_slice(value.as_bytes());
    line.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use oauth4os_tokens::clock::UnixTime;

    use super::*;

    fn assert_as_the_library_writes_it(event: &Event<'_>) {
        let mut line = Vec::new();
        write(event, &mut line).unwrap();
        let expected = serde_json::to_string(event).unwrap() + "\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn a_line_is_what_the_library_would_write() {
        let time = UnixTime::from_millis(1_795_339_800_123);
        let mut event = Event::new(time, "request", "r-1", "deny");
        assert_as_the_library_writes_it(&event);
        let (one, many) = (vec!["logs-*".to_owned()], vec!["a".to_owned(), "b\"c".to_owned(), String::new()]);
        event.opaque_id = Some("job-7");
        event.client = Some("log-agent");
        event.user = Some("keycloak/a \"b\"");
        event.subject = Some("keycloak/a");
        event.actors = &many;
        event.provider = Some("keycloak");
        event.tenant = Some("acme");
        event.credential = Some("certificate");
        event.certificate = Some("00ff");
        event.token_id = Some("tok_1");
        event.scopes = Some("read:logs-* write:app-logs-*");
        event.cluster = Some("eu");
        event.address = Some([127, 0, 0, 1].into());
        event.method = Some("POST");
        event.path = Some("/logs-*/_search");
        event.upstream = Some("dashboards");
        event.dashboards_tenant = Some("global");
        event.grant_type = Some("client_credentials");
        event.operation = Some("search");
        event.targets = &one;
        event.reason = Some("the scope `read:logs-*` does not cover `pii-*`");
        event.determining = &many;
        event.observed = Some("the client has sent too many requests");
        event.partial = true;
        event.status = Some(403);
        event.latency_us = Some(0);
        event.bytes_in = u64::MAX;
        event.bytes_out = 1;
        event.error = Some("");
        assert_as_the_library_writes_it(&event);
        event.address = Some("2001:db8::1".parse().unwrap());
        assert_as_the_library_writes_it(&event);
    }

    #[test]
    fn whatever_character_a_path_holds_is_written_as_the_library_does() {
        for character in ('\0'..='\u{2100}').chain(['\u{feff}', '\u{10ffff}']) {
            let path = format!("/a{character}b");
            let mut event = Event::new(UnixTime::from_secs(0), "request", "r-1", "allow");
            event.path = Some(&path);
            assert_as_the_library_writes_it(&event);
        }
    }
}
