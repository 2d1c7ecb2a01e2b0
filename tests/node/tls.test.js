// `wss://` as Node's ws sees it, with compression and without.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const { WebSocket } = require('ws');
const { makeCertificate } = require('./certificate.js');
const { start } = require('./server.js');

const TIMEOUT = { timeout: 30_000 };

let certificate;
let server;
before(async () => {
  certificate = makeCertificate();
  server = await start(['--shards', '2', '--tls', `${certificate.cert},${certificate.key}`]);
});
after(async () => assert.equal(await server.stop(), 0));

for (const perMessageDeflate of [{ threshold: 0 }, false]) {
  test(`messages come back over TLS${perMessageDeflate ? ', compressed' : ''}`, TIMEOUT, async () => {
    const ca = fs.readFileSync(certificate.cert);
    const client = new WebSocket(server.ws('/echo'), { ca, perMessageDeflate });
    await once(client, 'open');
    assert.equal(client.extensions, perMessageDeflate ? 'permessage-deflate' : '');
    for (const message of ['x', 'é€𝄞'.repeat(1000), JSON.stringify(Array(5000).fill({ bid: 1, ask: 2 }))]) {
      client.send(message);
      const [data, isBinary] = await once(client, 'message');
      assert.ok(!isBinary);
      assert.equal(data.toString(), message);
    }
    const bytes = Buffer.alloc(1 << 20, 'bytes');
    client.send(bytes.subarray(0, 1000), { fin: false });
    client.send(bytes.subarray(1000), { fin: true });
    const [data] = await once(client, 'message');
    assert.ok(data.equals(bytes));
    client.close(1000);
    assert.equal((await once(client, 'close'))[0], 1000);
  });
}

test('a client that does not trust the certificate does not connect', TIMEOUT, async () => {
  const client = new WebSocket(server.ws('/echo'));
  const [error] = await once(client, 'error');
  assert.match(error.code, /SELF_SIGNED|UNABLE_TO_VERIFY|CERT/);
});
