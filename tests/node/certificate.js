// A certificate for this machine, made by openssl in a folder that is gone with the process.
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** The files of a new certificate and its key. */
function makeCertificate() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ringwire-certificate-'));
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => path.join(folder, name));
  const command = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ringwire.tests';
  const extensions = ['basicConstraints=critical,CA:FALSE', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const options = extensions.flatMap((extension) => ['-addext', extension]);
  execFileSync('openssl', [...command.split(' '), ...options, '-out', cert, '-keyout', key], {
    stdio: 'ignore',
    timeout: 60_000,
  });
  return { cert, key };
}

module.exports = { makeCertificate };
