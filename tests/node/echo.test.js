// `/echo` as Node's ws sees it, with the defaults of that library: it offers permessage-deflate.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { createHash } = require('node:crypto');
const { WebSocket } = require('ws');
const { start } = require('./server.js');

const TIMEOUT = { timeout: 20_000 };
const KIB = 1024;

let server;
before(async () => (server = await start(['--shards', '2'])));
after(async () => assert.equal(await server.stop(), 0));

/** An open connection to the path. */
async function open(path = '/echo', options = {}) {
  const client = new WebSocket(server.ws(path), options);
  await once(client, 'open');
  return client;
}

/** Ends the connection with the closing handshake; resolves to the code and reason that came back. */
async function close(client, code, reason) {
  const closed = once(client, 'close');
  client.close(code, reason);
  const [answer, answerReason] = await closed;
  return [answer, answerReason.toString()];
}

/** Bytes that differ from place to place, so that a shifted or swapped piece is seen. */
function bytes(size) {
  const data = Buffer.alloc(size);
  for (let at = 0; at < size; at += 32) createHash('sha256').update(String(at)).digest().copy(data, at);
  return data;
}

for (const size of [0, 1, 125, 126, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, KIB * KIB]) {
  test(`${size} bytes come back as they went`, TIMEOUT, async () => {
    const client = await open();
    client.send(bytes(size));
    const [data, isBinary] = await once(client, 'message');
    assert.ok(isBinary);
    assert.ok(data.equals(bytes(size)));
    await close(client, 1000);
  });
}

test('text comes back as text', TIMEOUT, async () => {
  const text = 'aé€𝄞'.repeat(10_000);
  const client = await open();
  client.send(text);
  const [data, isBinary] = await once(client, 'message');
  assert.ok(!isBinary);
  assert.equal(data.toString(), text);
  await close(client, 1000);
});

for (const size of [1, 1000, 64 * KIB, KIB * KIB]) {
  test(`five fragments of ${size} bytes come back as one message`, TIMEOUT, async () => {
    const client = await open();
    const fragment = bytes(size);
    for (let number = 0; number < 5; number += 1) client.send(fragment, { binary: true, fin: number === 4 });
    const [data] = await once(client, 'message');
    assert.ok(data.equals(Buffer.concat([fragment, fragment, fragment, fragment, fragment])));
    await close(client, 1000);
  });
}

test('an empty fragment at the end ends the message', TIMEOUT, async () => {
  const client = await open();
  client.send('whole', { fin: false });
  client.send('', { fin: true });
  const [data] = await once(client, 'message');
  assert.equal(data.toString(), 'whole');
  await close(client, 1000);
});

for (const payload of ['', 'p', 'x'.repeat(125)]) {
  test(`a pong carries the ${payload.length} bytes of its ping`, TIMEOUT, async () => {
    const client = await open();
    client.ping(payload);
    const [data] = await once(client, 'pong');
    assert.equal(data.toString(), payload);
    await close(client, 1000);
  });
}

test('an unasked pong is not answered', TIMEOUT, async () => {
  const client = await open();
  const others = [];
  for (const event of ['ping', 'pong']) client.on(event, () => others.push(event));
  client.pong('unasked');
  client.send('after');
  await once(client, 'message');
  assert.deepEqual(others, []);
  await close(client, 1000);
});

for (const code of [1000, 1001, 1003, 1011, 3000, 4999]) {
  test(`close ${code} is answered with ${code}`, TIMEOUT, async () => {
    const client = await open();
    assert.equal((await close(client, code, 'because'))[0], code);
  });
}

test('a close without a code is answered without one', TIMEOUT, async () => {
  const client = await open();
  const [code] = await close(client);
  assert.equal(code, 1005);
});

test('a hundred clients each get their own messages, in order', { timeout: 60_000 }, async () => {
  const clients = await Promise.all(Array.from({ length: 100 }, () => open()));
  const received = clients.map(() => []);
  const all = clients.map(
    (client, who) =>
      new Promise((resolve) => {
        client.on('message', (data) => {
          received[who].push(data.toString());
          if (received[who].length === 50) resolve();
        });
      }),
  );
  for (let number = 0; number < 50; number += 1) clients.forEach((client, who) => client.send(`${who}:${number}`));
  await Promise.all(all);
  received.forEach((messages, who) =>
    assert.deepEqual(messages, Array.from({ length: 50 }, (_, number) => `${who}:${number}`)),
  );
  await Promise.all(clients.map((client) => close(client, 1000)));
});
