// Server-Sent Events as fetch reads them, with a place to go on from.
'use strict';

const { after, before, test } = require('node:test');
const assert = require('node:assert/strict');
const { start } = require('./server.js');

const TIMEOUT = { timeout: 20_000 };

let server;
before(async () => (server = await start(['--shards', '2'])));
after(async () => assert.equal(await server.stop(), 0));

/** The events of a stream, as objects of their fields. */
async function* events(response) {
  let text = '';
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const parts = (text + piece).split('\n\n');
    text = parts.pop();
    for (const part of parts) yield Object.fromEntries(part.split('\n').map((line) => line.split(/: (.*)/s, 2)));
  }
}

async function open(target, headers = {}) {
  const abort = new AbortController();
  const response = await fetch(server.http(target), { headers, signal: abort.signal });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const stream = events(response);
  const next = async () => (await stream.next()).value;
  return { next, close: () => abort.abort() };
}

async function post(topic, body) {
  const response = await fetch(server.http(`/publish/${topic}`), { method: 'POST', body });
  assert.equal(response.status, 200);
}

test('events come with ids from which another stream goes on', TIMEOUT, async () => {
  const first = await open('/sse/node.e');
  assert.equal((await first.next()).event, 'subscribed');
  for (const body of ['1', '"two"', 'no JSON']) await post('node.e', body);
  const got = [await first.next(), await first.next(), await first.next()];
  assert.deepEqual(
    got.map(({ event, data }) => [event, JSON.parse(data).seq, JSON.parse(data).data]),
    [['message', 1, 1], ['message', 2, 'two'], ['message', 3, 'no JSON']],
  );
  const again = await open('/sse/node.e', { 'Last-Event-ID': got[0].id });
  assert.equal(JSON.parse((await again.next()).data).state, 'resumed');
  assert.deepEqual([await again.next(), await again.next()], got.slice(1));
  first.close();
  again.close();
});
