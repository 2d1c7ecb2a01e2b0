//! Which version of its library a peer has: of what is pinned in the checkout the pin, of what the system's packages bring
//! what is installed.

use std::fs;
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;

/// Where a version is written.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// benches/peers/Cargo.lock.
    Crate,
    /// The lock file of a folder of benches/peers.
    Npm(&'static str),
    /// benches/peers/python/requirements.txt.
    Python,
    /// Debian's packages.
    Debian,
}

/// Each peer with its library and where that one's version is written.
const LIBRARIES: &[(&str, &str, Source)] = &[
    ("fastwebsockets", "fastwebsockets", Source::Crate),
    ("tungstenite", "tokio-tungstenite", Source::Crate),
    ("tokio-websockets", "tokio-websockets", Source::Crate),
    ("sockudo", "sockudo-ws", Source::Crate),
    ("sockudo-ring", "sockudo-ws", Source::Crate),
    ("yawc", "yawc", Source::Crate),
    ("bun", "bun", Source::Npm("bun")),
    ("ws", "ws", Source::Npm("node")),
    ("socketio", "socket.io", Source::Npm("node")),
    ("websockets", "websockets", Source::Python),
    ("picows", "picows", Source::Python),
    ("gorilla", "golang-github-gorilla-websocket-dev", Source::Debian),
    ("beast", "libboost-dev", Source::Debian),
];

/// The library of a peer and its version, as in `sockudo-ws 3.1.0`; none if there is no such peer or it is not known.
pub(crate) fn version(context: &Context, peer: &str) -> Option<String> {
    let (_, library, source) = LIBRARIES.iter().find(|(name, ..)| *name == peer)?;
    let pinned = |file: &str| fs::read_to_string(context.root.join("benches/peers").join(file)).ok();
    let version = match source {
        Source::Crate => of_crate(&pinned("Cargo.lock")?, library),
        Source::Npm(folder) => of_npm(&pinned(&format!("{folder}/package-lock.json"))?, library),
        Source::Python => of_python(&pinned("python/requirements.txt")?, library),
        Source::Debian => of_debian(context, library),
    };
    Some(format!("{library} {}", version?))
}

fn of_crate(lock: &str, name: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\n"))?;
    Some(rest.lines().next()?.strip_prefix("version = ")?.trim_matches('"').to_owned())
}

fn of_npm(lock: &str, name: &str) -> Option<String> {
    let lock: serde_json::Value = serde_json::from_str(lock).ok()?;
    Some(lock.get("packages")?.get(format!("node_modules/{name}"))?.get("version")?.as_str()?.to_owned())
}

fn of_python(pins: &str, name: &str) -> Option<String> {
    pins.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("==")).map(|version| version.trim().to_owned())
}

fn of_debian(context: &Context, name: &str) -> Option<String> {
    let mut query = context.command("dpkg-query");
    query.args(["-W", "-f", "${Version}", name]);
    let scratch = provision::log(context, "peers-version").ok()?;
    let said = process::output(&mut query, &scratch, Deadline::after(Duration::from_secs(10))).ok()?;
    Some(said.trim().to_owned()).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_its_library_and_what_is_pinned_its_version() {
        let context = Context::of_this_checkout();
        for peer in super::super::names().chain(["yawc"]) {
            let (_, library, source) = LIBRARIES.iter().find(|(name, ..)| *name == peer).expect(peer);
            // Debian's packages need not be there.
            if !matches!(source, Source::Debian) {
                let version = version(&context, peer).expect(peer);
                let number = version.strip_prefix(library).unwrap().trim();
                assert!(number.split('.').count() == 3 || peer == "websockets", "{version}");
                assert!(number.starts_with(|c: char| c.is_ascii_digit()), "{version}");
            }
        }
        assert_eq!(version(&context, "nobody"), None);
    }

    #[test]
    fn a_version_is_that_of_the_very_library() {
        assert_eq!(
            of_crate("name = \"ws-a\"\nversion = \"1\"\n\nname = \"ws\"\nversion = \"2.0\"\n", "ws").as_deref(),
            Some("2.0")
        );
        assert_eq!(of_python("ws-a==1\nws==2 \n", "ws").as_deref(), Some("2"));
        let lock = "{\"packages\": {\"node_modules/a/node_modules/ws\": {\"version\": \"1\"}, \"node_modules/ws\": {\"version\": \"2\"}}}";
        assert_eq!(of_npm(lock, "ws").as_deref(), Some("2"));
        assert_eq!((of_crate("", "ws"), of_npm("{}", "ws"), of_python("", "ws")), (None, None, None));
    }
}
