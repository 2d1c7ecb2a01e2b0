// `ringwire subscribe` and `publish` against the server of Node's ws: `ws` and `wss`, compressed and not.
'use strict';

const { before, test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { text } = require('node:stream/consumers');
const { WebSocketServer } = require('ws');
const { makeCertificate } = require('./certificate.js');

const TIMEOUT = { timeout: 30_000 };
/** Compressed whatever their length, with what one message tells of the next. */
const DEFLATE = { threshold: 0, serverNoContextTakeover: false, clientNoContextTakeover: false };
const MESSAGES = ['x', 'é€𝄞', ...Array.from({ length: 50 }, (_, n) => JSON.stringify({ n, bids: Array(60).fill([39000, n]) }))];

let certificate;
before(() => (certificate = makeCertificate()));

/** A server of ws for one connection, which `handle` is given. */
async function listen({ secure, perMessageDeflate = false }, handle) {
  const files = () => ({ cert: fs.readFileSync(certificate.cert), key: fs.readFileSync(certificate.key) });
  const web = secure ? https.createServer(files()) : http.createServer();
  const sockets = new WebSocketServer({ server: web, perMessageDeflate });
  sockets.on('connection', handle);
  web.listen(0, '127.0.0.1');
  await once(web, 'listening');
  const close = () => {
    sockets.close();
    web.close();
  };
  return { url: `${secure ? 'wss' : 'ws'}://127.0.0.1:${web.address().port}/`, close };
}

/** What a command prints, what it says, and its exit code. */
async function ringwire(args, input = '') {
  const child = spawn(process.env.RINGWIRE_BIN, args, { timeout: 20_000, killSignal: 'SIGKILL' });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [printed, said, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { printed, said, code };
}

for (const secure of [false, true]) {
  const trust = () => (secure ? ['--ca', certificate.cert] : []);
  for (const perMessageDeflate of [DEFLATE, false]) {
    const how = `${secure ? 'wss' : 'ws'}${perMessageDeflate ? ', compressed' : ''}`;

    test(`subscribe prints what the server sends: ${how}`, TIMEOUT, async () => {
      let agreed;
      const server = await listen({ secure, perMessageDeflate }, (client) => {
        agreed = client.extensions;
        for (const message of MESSAGES) client.send(message);
        client.send('in ', { fin: false });
        client.ping('between');
        client.send('fragments', { fin: true });
        client.once('pong', () => client.close(1000, 'that is all'));
      });
      const { printed, said, code } = await ringwire(['subscribe', server.url, ...trust()]);
      server.close();
      assert.equal(code, 0, said);
      assert.equal(printed, [...MESSAGES, 'in fragments', ''].join('\n'));
      assert.equal(agreed, perMessageDeflate ? 'permessage-deflate' : '');
    });

    test(`publish sends each line as a message: ${how}`, TIMEOUT, async () => {
      const received = [];
      const server = await listen({ secure, perMessageDeflate }, (client) => {
        client.on('message', (message) => received.push(message.toString()));
      });
      const { said, code } = await ringwire(['publish', server.url, ...trust()], MESSAGES.join('\n'));
      server.close();
      assert.equal(code, 0, said);
      assert.deepEqual(received, MESSAGES);
    });
  }
}

test('a server that closes with an error is an error', TIMEOUT, async () => {
  const server = await listen({}, (client) => client.close(4001, 'token expired'));
  const { said, code } = await ringwire(['subscribe', server.url]);
  server.close();
  assert.equal(code, 1);
  assert.match(said, /4001.*token expired/);
});
