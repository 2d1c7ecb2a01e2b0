//! What a browser is given: the page and the client that it uses, each one file, embedded in the binary.

use ringwire_engine::Response;

/// The page.
const PAGE: File = File::new("text/html; charset=utf-8", include_bytes!("../page/index.html"));
/// The client of `clients/js`, an ES module. It is built and committed there, so that the server builds without Node.
const SCRIPT: File =
    File::new("text/javascript; charset=utf-8", include_bytes!("../../../clients/js/dist/ringwire.js"));

/// What the page may do: run what is in it and the client, and talk to WebSockets. Nothing is loaded from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, or that the one which the browser has is still it.
pub(crate) fn page(if_none_match: Option<&str>) -> Response {
    PAGE.respond(if_none_match).header("Content-Security-Policy", POLICY).header("Referrer-Policy", "no-referrer")
}

/// The client, or that the one which the browser has is still it.
pub(crate) fn script(if_none_match: Option<&str>) -> Response {
    SCRIPT.respond(if_none_match)
}

/// A file as it is served.
struct File {
    content_type: &'static str,
    bytes: &'static [u8],
    /// Changes whenever the file does.
    tag: u64,
}

impl File {
    const fn new(content_type: &'static str, bytes: &'static [u8]) -> Self {
        Self { content_type, bytes, tag: fnv1a(bytes) }
    }

    fn respond(&self, if_none_match: Option<&str>) -> Response {
        let tag = format!("\"{:016x}\"", self.tag);
        let is_known = if_none_match.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
        let response = if is_known {
            Response { status: 304, headers: Vec::new(), body: (&[][..]).into() }
        } else {
            Response::new(200, self.content_type, self.bytes)
        };
        let response = response.header("ETag", tag).header("Cache-Control", "no-cache");
        response.header("X-Content-Type-Options", "nosniff")
    }
}

/// FNV-1a, 64 bits: tells versions of one file apart, and no more.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01B3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_has_a_file_is_told_so() {
        for (respond, file) in [(page as fn(Option<&str>) -> Response, &PAGE), (script, &SCRIPT)] {
            let first = respond(None);
            assert_eq!((first.status, &first.body[..]), (200, file.bytes));
            let tag = &first.headers.iter().find(|(name, _)| *name == "ETag").unwrap().1;
            let known = format!("\"x\", {tag}");
            assert_eq!(respond(Some(&known)).status, 304);
            assert_eq!(respond(Some("\"x\"")).status, 200);
        }
    }

    #[test]
    fn tags_of_different_files_differ() {
        // The test vectors of FNV-1a.
        assert_eq!(fnv1a(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_F739_67E8);
    }
}
