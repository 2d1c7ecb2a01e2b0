//! The page: one file, embedded in the binary.

use ringwire_engine::Response;

/// The file.
const PAGE: &[u8] = include_bytes!("../page/index.html");

/// What the page may do: run what is in it and talk to WebSockets. Nothing is loaded from anywhere.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Changes whenever the file does.
const TAG: u64 = fnv1a(PAGE);

/// The page, or that the one which the browser has is still it.
pub(crate) fn respond(if_none_match: Option<&str>) -> Response {
    let tag = format!("\"{TAG:016x}\"");
    let is_known = if_none_match.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let response = if is_known {
        Response { status: 304, headers: Vec::new(), body: (&[][..]).into() }
    } else {
        Response::new(200, "text/html; charset=utf-8", PAGE)
    };
    response
        .header("ETag", tag)
        .header("Cache-Control", "no-cache")
        .header("Content-Security-Policy", POLICY)
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
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
    fn a_browser_that_has_the_page_is_told_so() {
        let first = respond(None);
        assert_eq!((first.status, &first.body[..]), (200, PAGE));
        let tag = first.headers.iter().find(|(name, _)| *name == "ETag").unwrap().1.clone();
        assert_eq!(respond(Some(&format!("\"x\", {tag}"))).status, 304);
        assert_eq!(respond(Some("\"x\"")).status, 200);
    }

    #[test]
    fn tags_of_different_files_differ() {
        // The test vectors of FNV-1a.
        assert_eq!(fnv1a(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_F739_67E8);
    }
}
