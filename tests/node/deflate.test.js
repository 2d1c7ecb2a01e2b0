// permessage-deflate (RFC 7692) as Node's ws sees it, whose messages of any length are compressed here.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { WebSocket } = require('ws');
const { start } = require('./server.js');

const TIMEOUT = { timeout: 30_000 };
/** What is offered, and what the answer has beyond no takeover. */
const OFFERS = {
  plain: [{}, ''],
  'no takeover': [{ serverNoContextTakeover: true, clientNoContextTakeover: true }, ''],
  'small windows': [
    { serverMaxWindowBits: 9, clientMaxWindowBits: 10 },
    '; server_max_window_bits=9; client_max_window_bits=10',
  ],
  'smallest windows': [
    { serverMaxWindowBits: 8, clientMaxWindowBits: 8 },
    '; server_max_window_bits=8; client_max_window_bits=8',
  ],
};

let server;
before(async () => (server = await start(['--shards', '2'])));
after(async () => assert.equal(await server.stop(), 0));

/** An open connection, with the answer to its offer in `agreed`. */
async function open(path, perMessageDeflate) {
  const client = new WebSocket(server.ws(path), { perMessageDeflate });
  const upgraded = once(client, 'upgrade');
  await once(client, 'open');
  client.agreed = (await upgraded)[0].headers['sec-websocket-extensions'];
  return client;
}

/** JSON of some 3 KiB, different for each `n`. */
function book(n) {
  return JSON.stringify({ n, bids: Array.from({ length: 100 }, (_, at) => [`${39000 + at}.${n}`, at * 7 + n]) });
}

for (const [name, [offer, answer]] of Object.entries(OFFERS)) {
  test(`messages come back: ${name}`, TIMEOUT, async () => {
    const client = await open('/echo', { threshold: 0, ...offer });
    const none = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
    assert.equal(client.agreed, none + answer);
    for (const text of ['', 'x', 'é€𝄞'.repeat(3000), ...Array.from({ length: 30 }, (_, n) => book(n))]) {
      client.send(text);
      const [data] = await once(client, 'message');
      assert.equal(data.toString(), text);
    }
    client.terminate();
  });
}

test('a subscriber gets less when it compresses, and the same', TIMEOUT, async () => {
  const clients = await Promise.all([true, false, { serverMaxWindowBits: 9 }].map((offer) => open('/ws/node.deflate', offer)));
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const { topics } = await (await fetch(server.http('/topics'))).json();
    if (topics.some((topic) => topic.name === 'node.deflate' && topic.subscribers === clients.length)) break;
    await sleep(20);
  }
  const texts = Array.from({ length: 50 }, (_, n) => book(n));
  const received = clients.map((client) => {
    const own = [];
    const before = client._socket.bytesRead;
    return new Promise((resolve) => {
      client.on('message', (data) => {
        own.push(data.toString());
        if (own.length === texts.length) resolve({ own, bytes: client._socket.bytesRead - before });
      });
    });
  });
  for (const text of texts) await fetch(server.http('/publish/node.deflate'), { method: 'POST', body: text });
  const [packed, plain, small] = await Promise.all(received);
  for (const { own } of [packed, plain, small]) assert.deepEqual(own, texts);
  assert.ok(packed.bytes < plain.bytes / 2, `${packed.bytes} of ${plain.bytes}`);
  assert.equal(small.bytes, plain.bytes);
  for (const client of clients) client.terminate();
});
