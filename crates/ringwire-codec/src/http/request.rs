//! The head of a request, and how long its body is.

use std::borrow::Cow;
use std::fmt;

use super::{HEADERS_MAX, Headers, Version, decode_percent, query_pairs};

/// The head of a request. Borrows from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    version: Version,
    headers: Headers<'a>,
    body: BodyLength,
}

/// How a request's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// After this many bytes; 0 if the request says nothing.
    Bytes(u64),
    /// With the last chunk; see [`ChunkedDecoder`](super::ChunkedDecoder).
    Chunked,
}

/// Why a request is refused. [`status`](RequestError::status) is the answer's status, `Display` its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestError {
    /// Not the form of a request.
    Malformed,
    /// More than [`HEADERS_MAX`] header fields.
    TooManyHeaders,
    /// Not HTTP/1.0 or HTTP/1.1.
    VersionUnsupported,
    /// A header value that is not UTF-8.
    HeaderNotUtf8,
    /// HTTP/1.1 without a Host field, or more than one (RFC 9112 §3.2).
    HostNotOnce,
    /// A Content-Length that is not a number, or several.
    ContentLengthInvalid,
    /// Content-Length and Transfer-Encoding together, or a Transfer-Encoding in HTTP/1.0.
    LengthAmbiguous,
    /// A Transfer-Encoding other than `chunked`.
    TransferEncodingUnsupported,
}

impl RequestError {
    /// HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            RequestError::Malformed
            | RequestError::HeaderNotUtf8
            | RequestError::HostNotOnce
            | RequestError::ContentLengthInvalid
            | RequestError::LengthAmbiguous => 400,
            RequestError::TooManyHeaders => 431,
            RequestError::TransferEncodingUnsupported => 501,
            RequestError::VersionUnsupported => 505,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestError::Malformed => "this is not an HTTP request",
            RequestError::TooManyHeaders => "too many header fields",
            RequestError::VersionUnsupported => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            RequestError::HeaderNotUtf8 => "a header value is not UTF-8",
            RequestError::HostNotOnce => "an HTTP/1.1 request needs exactly one Host field",
            RequestError::ContentLengthInvalid => "Content-Length must be one number",
            RequestError::LengthAmbiguous => "Transfer-Encoding excludes Content-Length and HTTP/1.0",
            RequestError::TransferEncodingUnsupported => "the only Transfer-Encoding understood is chunked",
        })
    }
}

impl std::error::Error for RequestError {}

impl From<httparse::Error> for RequestError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => RequestError::TooManyHeaders,
            httparse::Error::Version => RequestError::VersionUnsupported,
            _ => RequestError::Malformed,
        }
    }
}

impl<'a> Request<'a> {
    /// The head at the front of `input` and its length, or `None` while it is incomplete. The caller bounds how
    /// long it may get.
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, RequestError> {
        let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut storage);
        let httparse::Status::Complete(head_bytes) = parsed.parse(input)? else { return Ok(None) };
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(RequestError::Malformed);
        };
        let version = if version == 0 { Version::Http10 } else { Version::Http11 };
        let headers = Headers::collect(parsed.headers).ok_or(RequestError::HeaderNotUtf8)?;
        let hosts = headers.all("host").count();
        if hosts > 1 || (hosts == 0 && version == Version::Http11) {
            return Err(RequestError::HostNotOnce);
        }
        let body = body_length(&headers, version)?;
        Ok(Some((Self { method, target, version, headers, body }, head_bytes)))
    }

    /// The method, as sent: methods are case-sensitive.
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// The target as sent: usually path and query.
    pub const fn target(&self) -> &'a str {
        self.target
    }

    /// The target's path as sent, still percent-encoded. Of an absolute target (`http://host/path`) the path alone.
    pub fn path(&self) -> &'a str {
        self.path_and_query().0
    }

    /// The path with its percent-encoding undone; `None` if that is malformed or gives no UTF-8.
    pub fn decoded_path(&self) -> Option<Cow<'a, str>> {
        decode_percent(self.path())
    }

    /// What stands behind the `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.path_and_query().1
    }

    /// The query's parameters, decoded, in order.
    pub fn query_params(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        query_pairs(self.query().unwrap_or_default())
    }

    /// The first query parameter of this name, decoded.
    pub fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query_params().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    fn path_and_query(&self) -> (&'a str, Option<&'a str>) {
        let relative = match self.target.split_once("://") {
            Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                rest.find(['/', '?']).map_or("/", |start| &rest[start..])
            }
            _ => self.target,
        };
        match relative.split_once('?') {
            Some(("", query)) => ("/", Some(query)),
            Some((path, query)) => (path, Some(query)),
            None => (relative, None),
        }
    }

    /// The version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The value of the first header field of this name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.first(name)
    }

    /// All header fields.
    pub const fn headers(&self) -> &Headers<'a> {
        &self.headers
    }

    /// The Host field.
    pub fn host(&self) -> Option<&'a str> {
        self.header("host")
    }

    /// How the body ends.
    pub const fn body(&self) -> BodyLength {
        self.body
    }

    /// The body's length if it has one, 0 if there is no body; `None` if it comes in chunks.
    pub const fn content_length(&self) -> Option<u64> {
        match self.body {
            BodyLength::Bytes(bytes) => Some(bytes),
            BodyLength::Chunked => None,
        }
    }

    /// Whether the body comes in chunks.
    pub const fn is_chunked(&self) -> bool {
        matches!(self.body, BodyLength::Chunked)
    }

    /// Whether the client expects to go on with this connection (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        !self.headers.has_token("connection", "close")
            && (self.version == Version::Http11 || self.headers.has_token("connection", "keep-alive"))
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.headers.has_token("expect", "100-continue")
    }
}

fn body_length(headers: &Headers<'_>, version: Version) -> Result<BodyLength, RequestError> {
    let has_encoding = headers.first("transfer-encoding").is_some();
    let has_length = headers.first("content-length").is_some();
    if has_encoding {
        if has_length || version == Version::Http10 {
            return Err(RequestError::LengthAmbiguous);
        }
        let is_chunked = headers.only("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        return if is_chunked { Ok(BodyLength::Chunked) } else { Err(RequestError::TransferEncodingUnsupported) };
    }
    if !has_length {
        return Ok(BodyLength::Bytes(0));
    }
    // `parse` would take a sign; the grammar has digits only.
    let digits = headers.only("content-length").filter(|value| value.bytes().all(|b| b.is_ascii_digit()));
    let bytes = digits.and_then(|digits| digits.parse().ok()).ok_or(RequestError::ContentLengthInvalid)?;
    Ok(BodyLength::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(input: &str) -> Request<'_> {
        Request::parse(input.as_bytes()).unwrap().expect("a whole head").0
    }

    fn refused(input: &str) -> RequestError {
        Request::parse(input.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_head_is_read_and_its_end_found() {
        let input = b"GET /ws/a%20b?streams=x/y&n=1+2 HTTP/1.1\r\nHost: h:1\r\nX-Two:  v \r\n\r\nrest";
        let (request, head_bytes) = Request::parse(input).unwrap().unwrap();
        assert_eq!(&input[head_bytes..], b"rest");
        assert_eq!((request.method(), request.version()), ("GET", Version::Http11));
        assert_eq!(request.target(), "/ws/a%20b?streams=x/y&n=1+2");
        assert_eq!((request.path(), request.query()), ("/ws/a%20b", Some("streams=x/y&n=1+2")));
        assert_eq!(request.decoded_path().as_deref(), Some("/ws/a b"));
        assert_eq!(request.query_param("n").as_deref(), Some("1 2"));
        assert_eq!(request.query_param("m"), None);
        assert_eq!((request.host(), request.header("x-tWO")), (Some("h:1"), Some("v")));
        assert_eq!(request.content_length(), Some(0));
        for short in 0..head_bytes {
            assert_eq!(Request::parse(&input[..short]), Ok(None), "{short} bytes");
        }
    }

    #[test]
    fn targets_of_other_forms_have_paths_too() {
        for (target, path, query) in [
            ("http://h/a?b", "/a", Some("b")),
            ("http://h", "/", None),
            ("http://h?b", "/", Some("b")),
            ("*", "*", None),
            ("/a://b", "/a://b", None),
            ("?q", "/", Some("q")),
        ] {
            let input = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let request = parsed(&input);
            assert_eq!((request.path(), request.query()), (path, query), "{target}");
        }
    }

    #[test]
    fn keep_alive_depends_on_version_and_connection() {
        for (version, connection, want) in [
            ("1.1", "", true),
            ("1.1", "Connection: Close\r\n", false),
            ("1.1", "Connection: upgrade, close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
        ] {
            let input = format!("GET / HTTP/{version}\r\nHost: h\r\n{connection}\r\n");
            assert_eq!(parsed(&input).keep_alive(), want, "{version} {connection}");
        }
    }

    #[test]
    fn body_lengths_are_read() {
        assert_eq!(parsed("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n").content_length(), Some(12));
        let chunked = parsed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n");
        assert!(chunked.is_chunked());
        assert_eq!(chunked.content_length(), None);
        assert!(parsed("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n\r\n").expects_continue());
    }

    #[test]
    fn a_request_with_two_possible_ends_is_refused() {
        let with = |fields: &str| refused(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        let both = with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n");
        assert_eq!(both, RequestError::LengthAmbiguous);
        for lengths in ["3\r\nContent-Length: 4", "3\r\nContent-Length: 3", "3, 3", "+3", "-1", "0x3", "", "3 4"] {
            let error = with(&format!("Content-Length: {lengths}\r\n"));
            assert_eq!(error, RequestError::ContentLengthInvalid, "{lengths}");
        }
        assert_eq!(with("Content-Length: 18446744073709551616\r\n"), RequestError::ContentLengthInvalid);
        for codings in
            ["gzip, chunked", "gzip", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked", "xchunked"]
        {
            let error = with(&format!("Transfer-Encoding: {codings}\r\n"));
            assert_eq!(error, RequestError::TransferEncodingUnsupported, "{codings}");
        }
        let old = refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old, RequestError::LengthAmbiguous);
    }

    #[test]
    fn host_stands_once_in_http_1_1() {
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), RequestError::HostNotOnce);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), RequestError::HostNotOnce);
        assert_eq!(parsed("GET / HTTP/1.0\r\n\r\n").host(), None);
    }

    #[test]
    fn what_is_not_http_is_refused_before_it_ends() {
        assert_eq!(refused("\x16\x03\x01"), RequestError::Malformed);
        assert_eq!(refused("GET / HTTP/2.0\r\n"), RequestError::VersionUnsupported);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost : h\r\n"), RequestError::Malformed);
        assert_eq!(refused("GET / HTTP/1.1\r\nA: b\r\n folded\r\n"), RequestError::Malformed);
    }

    #[test]
    fn more_headers_than_the_limit_are_refused() {
        let head = |fields| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(fields));
        assert_eq!(refused(&head(HEADERS_MAX)), RequestError::TooManyHeaders);
        assert_eq!(parsed(&head(HEADERS_MAX - 1)).headers().iter().count(), HEADERS_MAX);
    }

    #[test]
    fn header_values_are_utf8() {
        assert_eq!(Request::parse(b"GET / HTTP/1.0\r\nA: \xFF\r\n\r\n"), Err(RequestError::HeaderNotUtf8));
    }

    #[test]
    fn every_error_has_a_status_and_words() {
        assert_eq!(RequestError::TooManyHeaders.status(), 431);
        assert_eq!(RequestError::VersionUnsupported.status(), 505);
        assert_eq!(RequestError::HostNotOnce.to_string(), "an HTTP/1.1 request needs exactly one Host field");
    }
}
