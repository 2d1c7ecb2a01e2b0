// Topics as Node's ws sees them: raw and combined subscriptions, and the end of the server.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { WebSocket, createWebSocketStream } = require('ws');
const { start, within } = require('./server.js');

const TIMEOUT = { timeout: 20_000 };

let server;
before(async () => (server = await start(['--shards', '2'])));
after(async () => assert.equal(await server.stop(), 0));

async function open(url) {
  const client = new WebSocket(url);
  await once(client, 'open');
  return client;
}

/** The next `count` messages, as text. */
function messages(client, count) {
  const received = [];
  const all = new Promise((resolve, reject) => {
    client.on('message', (data) => {
      received.push(data.toString());
      if (received.length === count) resolve(received);
    });
    client.once('close', (code) => reject(new Error(`closed with ${code} after ${received.length} messages`)));
  });
  return within(15_000, all, `${count} messages did not come`);
}

/** Waits until `/topics` counts this many subscribers of the topic. */
async function subscribed(topic, count) {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const { topics } = await (await fetch(server.http('/topics'))).json();
    if (topics.some(({ name, subscribers }) => name === topic && subscribers === count)) return;
    await sleep(20);
  }
  throw new Error(`${topic} never had ${count} subscribers`);
}

async function post(topic, body) {
  const response = await fetch(server.http(`/publish/${topic}`), { method: 'POST', body });
  assert.equal(response.status, 200);
  return (await response.json()).seq;
}

test('what is published over WebSocket reaches raw and combined subscribers', TIMEOUT, async () => {
  const raw = await open(server.ws('/ws/node.a'));
  const combined = await open(server.ws('/stream?streams=node.a/node.b'));
  await subscribed('node.a', 2);
  await subscribed('node.b', 1);
  const payloads = Array.from({ length: 100 }, (_, n) => JSON.stringify({ n, text: 'é"' }));
  const [gotRaw, gotCombined] = [messages(raw, 100), messages(combined, 100)];
  const publisher = await open(server.ws('/pub/node.a'));
  for (const payload of payloads) publisher.send(payload);
  assert.deepEqual(await gotRaw, payloads);
  assert.deepEqual(
    (await gotCombined).map((message) => JSON.parse(message)),
    payloads.map((payload) => ({ stream: 'node.a', data: JSON.parse(payload) })),
  );
  for (const client of [raw, combined, publisher]) client.terminate();
});

test('POST answers with a seq that counts by one', TIMEOUT, async () => {
  const first = await post('node.counted', '{}');
  assert.equal(await post('node.counted', '{}'), first + 1);
});

test('a subscription as a Node stream carries every byte', TIMEOUT, async () => {
  const client = await open(server.ws('/ws/node.bytes'));
  await subscribed('node.bytes', 1);
  const stream = createWebSocketStream(client);
  const publisher = await open(server.ws('/pub/node.bytes'));
  // Less than a topic keeps, so that no pause of this process can make it a slow subscriber.
  const chunks = Array.from({ length: 8 }, (_, number) => Buffer.alloc(100_000, `ringwire ${number}`));
  for (const chunk of chunks) publisher.send(chunk);
  const wanted = Buffer.concat(chunks);
  const parts = [];
  for await (const part of stream) {
    parts.push(part);
    if (parts.reduce((sum, { length }) => sum + length, 0) >= wanted.length) break;
  }
  assert.ok(Buffer.concat(parts).equals(wanted));
  publisher.terminate();
});

test('a message from a subscriber is refused with a clear close', TIMEOUT, async () => {
  const client = await open(server.ws('/ws/node.refusing'));
  client.send('may I?');
  const [code, reason] = await once(client, 'close');
  assert.ok([1003, 1008].includes(code), `closed with ${code}`);
  assert.notEqual(reason.toString(), '');
});

test('an unknown path refuses the handshake with 404', TIMEOUT, async () => {
  const client = new WebSocket(server.ws('/nowhere'));
  const [, response] = await once(client, 'unexpected-response');
  assert.equal(response.statusCode, 404);
  client.on('error', () => {});
  client.terminate();
});

test('a server that stops closes its clients with 1001', TIMEOUT, async () => {
  const stopping = await start(['--shards', '2']);
  const paths = ['/echo', '/ws/a', '/pub/a', '/stream?streams=a/b'];
  const clients = await Promise.all(paths.map((path) => open(stopping.ws(path))));
  const closed = clients.map((client) => once(client, 'close'));
  assert.equal(await stopping.stop(), 0);
  for (const [code] of await Promise.all(closed)) assert.equal(code, 1001);
});
