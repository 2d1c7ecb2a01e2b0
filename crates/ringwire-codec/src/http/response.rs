//! The head of a response, for the client's side of a handshake.

use std::fmt;

use super::{HEADERS_MAX, Headers, Version};

/// The head of a response. Borrows from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    status: u16,
    reason: &'a str,
    version: Version,
    headers: Headers<'a>,
}

/// A response that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseError {
    /// Not the form of an HTTP/1 response.
    Malformed,
    /// More than [`HEADERS_MAX`] header fields.
    TooManyHeaders,
    /// A header value that is not UTF-8.
    HeaderNotUtf8,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResponseError::Malformed => "the answer is not an HTTP response",
            ResponseError::TooManyHeaders => "the response has too many header fields",
            ResponseError::HeaderNotUtf8 => "a header value of the response is not UTF-8",
        })
    }
}

impl std::error::Error for ResponseError {}

impl<'a> Response<'a> {
    /// The head at the front of `input` and its length, or `None` while it is incomplete.
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, ResponseError> {
        let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut storage);
        let head_bytes = match parsed.parse(input) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooManyHeaders),
            Err(_) => return Err(ResponseError::Malformed),
        };
        let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
            return Err(ResponseError::Malformed);
        };
        let version = if version == 0 { Version::Http10 } else { Version::Http11 };
        let headers = Headers::collect(parsed.headers).ok_or(ResponseError::HeaderNotUtf8)?;
        let reason = parsed.reason.unwrap_or_default();
        Ok(Some((Self { status, reason, version, headers }, head_bytes)))
    }

    /// The status code.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The words after the status, often empty.
    pub const fn reason(&self) -> &'a str {
        self.reason
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

    /// The Content-Length, if there is one that is a number.
    pub fn content_length(&self) -> Option<u64> {
        self.headers.only("content-length").and_then(|value| value.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_and_its_end_found() {
        let input = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope";
        let (response, head_bytes) = Response::parse(input).unwrap().unwrap();
        assert_eq!((response.status(), response.reason()), (404, "Not Found"));
        assert_eq!((response.content_length(), response.version()), (Some(4), Version::Http11));
        assert_eq!(&input[head_bytes..], b"nope");
        for short in 0..head_bytes {
            assert_eq!(Response::parse(&input[..short]), Ok(None), "{short} bytes");
        }
    }

    #[test]
    fn what_is_not_a_response_is_refused() {
        assert_eq!(Response::parse(b"SSH-2.0-x\r\n"), Err(ResponseError::Malformed));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(Response::parse(many.as_bytes()), Err(ResponseError::TooManyHeaders));
        assert_eq!(Response::parse(b"HTTP/1.1 200 OK\r\nA: \xFF\r\n\r\n"), Err(ResponseError::HeaderNotUtf8));
    }
}
