//! HTTP/1.1 responses.

use crate::handler::Response;

/// How a peer knows where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Its length is known.
    Length,
    /// It comes in chunks (RFC 9112 §7.1).
    Chunked,
}

/// Writes the head of `response`.
pub(crate) fn write_head(response: &Response, framing: Framing, keep_alive: bool, date: &str, out: &mut Vec<u8>) {
    start(response.status, out);
    header("Date", date, out);
    for (name, value) in &response.headers {
        header(name, value, out);
    }
    if has_body(response.status) {
        match framing {
            Framing::Length => header("Content-Length", &response.body.len().to_string(), out),
            Framing::Chunked => header("Transfer-Encoding", "chunked", out),
        }
    }
    // An Upgrade field is meant for the next hop only, which Connection must say (RFC 9110 §7.8).
    let upgrade = response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    let connection = match (upgrade, keep_alive) {
        (false, false) => "close",
        (false, true) => "keep-alive",
        (true, false) => "upgrade, close",
        (true, true) => "upgrade, keep-alive",
    };
    header("Connection", connection, out);
    out.extend_from_slice(b"\r\n");
}

/// Whether a response of this status has a body; the others have none by definition (RFC 9110 §6.4.1).
pub(crate) fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

fn start(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
}

fn header(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{name}: {}\r\n", one_line(value)).as_bytes());
}

/// `value` without what would end its line: values come from the application, and there perhaps from a peer.
pub(crate) fn one_line(value: &str) -> String {
    value.chars().filter(|char| !char.is_control() || *char == '\t').collect()
}

/// The reason phrase of a status code (RFC 9110 §15).
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(response: &Response, keep_alive: bool) -> String {
        let mut out = Vec::new();
        write_head(response, Framing::Length, keep_alive, "Thu, 01 Jan 1970 00:00:00 GMT", &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_response_without_a_body_has_no_length() {
        assert!(!head(&Response::text(304, ""), true).contains("Content-Length"));
        assert!(head(&Response::text(200, ""), true).contains("Content-Length: 0\r\n"));
    }

    #[test]
    fn a_body_in_chunks_has_no_length() {
        let mut out = Vec::new();
        write_head(&Response::text(200, "a"), Framing::Chunked, false, "", &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.contains("Transfer-Encoding: chunked\r\n") && !text.contains("Content-Length"), "{text}");
    }

    #[test]
    fn an_upgrade_field_is_named_in_connection() {
        let response = Response::text(426, "").header("Upgrade", "websocket");
        assert!(head(&response, false).contains("Connection: upgrade, close\r\n"));
        assert!(head(&Response::text(200, ""), false).contains("Connection: close\r\n"));
    }

    #[test]
    fn a_value_cannot_start_a_line_of_its_own() {
        let response = Response::text(200, "x").header("X-Name", "a\r\nSet-Cookie: b");
        let text = head(&response, true);
        assert!(text.contains("X-Name: aSet-Cookie: b\r\n"), "{text}");
        assert_eq!(text.matches("\r\n").count(), 7, "{text}");
    }
}
