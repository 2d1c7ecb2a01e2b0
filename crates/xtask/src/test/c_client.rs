//! The step `c`: a client on libwebsockets (tests/c), in the clear and encrypted, compressed and not.

use std::path::Path;
use std::process::Command;

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;
use crate::server::{self, Server};

/// Makes sure of a compiler, openssl and Debian's libwebsockets.
pub(super) fn needs(context: &Context, deadline: Deadline) -> Result<(), String> {
    provision::programs(context, &["gcc", "openssl"], deadline)?;
    provision::library(context, "libwebsockets.h", "libwebsockets-dev", deadline)
}

/// Compiles the client and runs it against servers of its own.
pub(super) fn run(context: &Context, deadline: Deadline) -> Result<(), String> {
    let folder = context.folder("c")?;
    let client = folder.join("client");
    let mut compiler = context.command("gcc");
    compiler.args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(&client).args(["tests/c/client.c", "-lwebsockets"]);
    process::run(&mut compiler, deadline)?;
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let log = provision::log(context, "openssl")?;
    process::run_quietly(&mut certify(context, &certificate, &key), &log, deadline)?;
    let tls = format!("{},{}", certificate.display(), key.display());
    for flags in [&["--feed", "none"][..], &["--feed", "none", "--tls", &tls]] {
        let binary = server::build(context, deadline)?;
        let server = Server::start(&binary, flags, &provision::log(context, "c-server")?, deadline)?;
        let verdicts = ["none", "permessage-deflate"].map(|extension| {
            let mut echo = context.command(&client);
            echo.args(["localhost", &server.port().to_string(), "/echo", extension]);
            if flags.contains(&"--tls") {
                echo.arg(&certificate);
            }
            let verdict = process::run(&mut echo, deadline);
            println!(
                "libwebsockets, {}, {extension}: {}",
                flags.join(" "),
                if verdict.is_ok() { "well" } else { "FAILED" }
            );
            verdict
        });
        server.stop()?;
        verdicts.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(())
}

/// A certificate for this machine and its key, into these files.
fn certify(context: &Context, certificate: &Path, key: &Path) -> Command {
    let mut openssl = context.command("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=ringwire.tests", "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key);
    openssl
}
