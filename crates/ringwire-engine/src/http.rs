//! HTTP/1.1 responses.

use crate::handler::Response;

/// Writes the head of `response`.
pub(crate) fn write_head(response: &Response, keep_alive: bool, out: &mut Vec<u8>) {
    start(response.status, out);
    for (name, value) in &response.headers {
        header(name, value, out);
    }
    header("Content-Length", &response.body.len().to_string(), out);
    header("Connection", if keep_alive { "keep-alive" } else { "close" }, out);
    out.extend_from_slice(b"\r\n");
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
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_start_a_line_of_its_own() {
        let response = Response::text(200, "x").header("X-Name", "a\r\nSet-Cookie: b");
        let mut out = Vec::new();
        write_head(&response, true, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.contains("X-Name: aSet-Cookie: b\r\n"), "{text}");
        assert_eq!(text.matches("\r\n").count(), 6, "{text}");
    }
}
