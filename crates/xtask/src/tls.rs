//! What two scanners of TLS say of the release server: testssl.sh and sslyze.
//!
//! The server has a certificate of an authority made for the scan, so that nothing but the server is judged. testssl.sh
//! must have finished and found nothing of medium severity or worse; sslyze judges by Mozilla's intermediate
//! configuration, which it carries.

use std::fs;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;
use crate::server::{self, Server};

/// What the authority's certificate says of itself.
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
                         subjectKeyIdentifier=hash\n";
/// What the server's says. A scanner wants to know how it would be revoked, and does not ask there.
const SERVER: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                      extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n\
                      subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
                      crlDistributionPoints=URI:http://authority.invalid/revoked.crl\n";
/// Severities of testssl.sh that nothing may have.
const TOO_SEVERE: [&str; 4] = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"];

/// Scans; an error says what was found.
pub(crate) fn run(context: &Context, testssl: &Path, python: &Path, deadline: Deadline) -> Result<(), String> {
    let binary = server::build(context, deadline)?;
    let files = Files::make(context, deadline)?;
    let tls = format!("{},{}", files.path("server.pem"), files.path("server.key"));
    let log = provision::log(context, "tls-server")?;
    let server = Server::start(&binary, &["--feed", "none", "--tls", &tls], &log, deadline)?;
    let target = format!("localhost:{}", server.port());
    scan_with_testssl(context, testssl, &files, &target, deadline)?;
    scan_with_sslyze(context, python, &files, &target, deadline)?;
    server.stop()
}

/// An authority's certificate, and a certificate of it for this machine's own address with its key.
pub(crate) fn certificates(context: &Context, deadline: Deadline) -> Result<[PathBuf; 3], String> {
    let files = Files::make(context, deadline)?;
    Ok(["ca.pem", "server.pem", "server.key"].map(|name| files.0.join(name)))
}

fn scan_with_testssl(
    context: &Context,
    testssl: &Path,
    files: &Files,
    target: &str,
    deadline: Deadline,
) -> Result<(), String> {
    let findings = files.0.join("testssl.csv");
    // It adds to a file that is there.
    let _ = fs::remove_file(&findings);
    let mut scan = context.command(testssl);
    scan.args(["--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--add-ca", &files.path("ca.pem")]);
    scan.arg("--csvfile").arg(&findings).arg(target);
    let log = provision::log(context, "testssl")?;
    // Its exit status counts what it found, of whatever severity.
    let ended = process::run_quietly(&mut scan, &log, deadline);
    let said = fs::read_to_string(&log).unwrap_or_default();
    if !said.lines().any(|line| line.trim_start().starts_with("Done ")) {
        return Err(format!("testssl.sh did not finish: {ended:?}\n{}", process::tail(&log)));
    }
    let text = fs::read_to_string(&findings).map_err(|error| format!("testssl.sh left no findings: {error}"))?;
    let all: Vec<Finding<'_>> = text.lines().skip(1).filter_map(Finding::read).collect();
    let severe: Vec<_> = all.iter().filter(|finding| TOO_SEVERE.contains(&finding.severity)).collect();
    println!("testssl.sh: {} findings, {} of medium severity or worse", all.len(), severe.len());
    if all.len() < 50 {
        return Err(format!("testssl.sh has looked at too little:\n{}", process::tail(&log)));
    }
    let lines: Vec<String> =
        severe.iter().map(|Finding { severity, id, words }| format!("{severity} {id}: {words}")).collect();
    if lines.is_empty() { Ok(()) } else { Err(format!("testssl.sh: {}", lines.join("; "))) }
}

fn scan_with_sslyze(
    context: &Context,
    python: &Path,
    files: &Files,
    target: &str,
    deadline: Deadline,
) -> Result<(), String> {
    let mut scan = context.command(python);
    scan.args([
        "-m",
        "sslyze",
        "--mozilla_config",
        "intermediate",
        "--certinfo_ca_file",
        &files.path("ca.pem"),
        target,
    ]);
    let log = provision::log(context, "sslyze")?;
    process::run_quietly(&mut scan, &log, deadline)?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    let verdict = said.lines().find(|line| line.contains(target) && line.contains("Compliant"));
    println!("sslyze: {}", verdict.ok_or("sslyze gave no verdict")?.trim());
    Ok(())
}

/// A finding of testssl.sh.
#[derive(Debug, PartialEq, Eq)]
struct Finding<'a> {
    id: &'a str,
    severity: &'a str,
    words: &'a str,
}

impl<'a> Finding<'a> {
    /// Reads a line of its table: id, host, port, severity and words, each in quotes.
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().strip_prefix('"')?.split("\",\"");
        let (id, _host, _port) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { id, severity: fields.next()?, words: fields.next()? })
    }
}

/// An authority and a server's certificate, in a folder under the target directory.
struct Files(PathBuf);

impl Files {
    fn make(context: &Context, deadline: Deadline) -> Result<Self, String> {
        let files = Self(context.folder("tls-scan")?);
        files.write("ca.ext", AUTHORITY)?;
        files.write("server.ext", SERVER)?;
        files.identity(context, "ca", "ringwire's scan", &["-signkey", &files.path("ca.key")], deadline)?;
        let (ca, key) = (files.path("ca.pem"), files.path("ca.key"));
        files.identity(context, "server", "localhost", &["-CA", &ca, "-CAkey", &key, "-CAcreateserial"], deadline)?;
        Ok(files)
    }

    /// A key, and a certificate for it that is signed as `signed` says.
    fn identity(
        &self,
        context: &Context,
        name: &str,
        subject: &str,
        signed: &[&str],
        deadline: Deadline,
    ) -> Result<(), String> {
        let file = |kind: &str| self.path(&format!("{name}.{kind}"));
        let (key, request) = (file("key"), file("csr"));
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let subject = format!("/CN={subject}");
        let ask = [&["req"], &curve[..], &["-subj", &subject, "-keyout", &key, "-out", &request]].concat();
        let (extensions, certificate) = (file("ext"), file("pem"));
        let sign = ["x509", "-req", "-days", "90", "-in", &request, "-extfile", &extensions, "-out", &certificate];
        let log = provision::log(context, "openssl")?;
        for arguments in [ask, [&sign[..], signed].concat()] {
            process::run_quietly(context.command("openssl").args(arguments), &log, deadline)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let file = self.0.join(name);
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_findings_is_read() {
        let line = "\"cipher_order\",\"localhost/127.0.0.1\",\"18443\",\"HIGH\",\"NOT a cipher order\",\"\",\"\"";
        let finding = Finding { id: "cipher_order", severity: "HIGH", words: "NOT a cipher order" };
        assert_eq!(Finding::read(line), Some(finding));
        assert_eq!(Finding::read("nothing of the kind"), None);
    }
}
