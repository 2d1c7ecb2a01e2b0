// The client against the real server ($RINGWIRE_BIN): what docs/clients.md says, a restart, a slow reader, two clients.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as ringwire from '../dist/ringwire.js';
import { Inbox, TIMEOUT, WebSocket } from './script.js';

const { start } = createRequire(import.meta.url)('../../../tests/node/server.js');
const { Client } = ringwire;

const CONFIG = `
[[topics]]
match = "book.>"
kind = "keyed"

[[topics]]
match = "room.>"
kind = "keyed"
presence = "members"
`;

let folder, server;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'ringwire-client-'));
  writeFileSync(path.join(folder, 'ringwire.toml'), CONFIG);
  server = await serve();
});
after(async () => {
  await server.kill();
  await rm(folder, { recursive: true });
});

function serve(options) {
  return start(['--shards', '2', '--config', path.join(folder, 'ringwire.toml')], options);
}

function connect(t, options = {}) {
  const client = new Client(server.ws('/connect'), { WebSocket, backoff: { leastMs: 10, mostMs: 100 }, ...options });
  t.after(() => client.close());
  return client;
}

async function until(what, limitMs = 10_000) {
  for (let waited = 0; waited < limitMs; waited += 10) {
    if (what()) return;
    await sleep(10);
  }
  throw new Error(`never: ${what}`);
}

test('the examples of docs/clients.md run as they stand', TIMEOUT, async (t) => {
  const text = readFileSync(new URL('../../../docs/clients.md', import.meta.url), 'utf8');
  const examples = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.ok(examples.length >= 6, `${examples.length} examples`);
  const code = examples.join('').replace(/^import .*$/gm, '');
  const AsyncFunction = (async () => undefined).constructor;
  const quiet = { log: () => undefined, error: (...words) => assert.fail(words.join(' ')) };
  const names = { Client, url: server.ws('/connect'), WebSocket, assert, until, console: quiet };
  await new AsyncFunction(...Object.keys(names), code)(...Object.values(names));
});

test('what one client publishes another receives, in order and accounted for', TIMEOUT, async (t) => {
  const [publisher, subscriber] = [connect(t), connect(t)];
  const events = new Inbox('event');
  const subscription = subscriber.subscribe(['both.>'], {}, (event) => event.type === 'message' && events.push(event));
  await subscription.ready;
  const payloads = [{ a: 1 }, 'text "é"', null, 1.5, new Uint8Array([0, 255])];
  const published = await Promise.all(payloads.map((data) => publisher.publish('both.a', data)));
  assert.deepEqual(published.map(({ seq }) => seq), [1, 2, 3, 4, 5]);
  assert.deepEqual((await events.take(5)).map(({ data }) => data), payloads);
  const [account] = subscription.account();
  assert.deepEqual([account.from, account.delivered, account.balanced], [1, 5, true]);
  const [theirs] = await subscriber.serverAccount();
  assert.deepEqual([theirs.topic, theirs.delivered, theirs.skipped, theirs.gap], ['both.a', 5, 0, 0]);
});

test('a repeated idempotency key is published once', TIMEOUT, async (t) => {
  const client = connect(t);
  const first = await client.publish('once', 1, { idempotencyKey: 'k' });
  const second = await client.publish('once', 1, { idempotencyKey: 'k' });
  assert.deepEqual([second.seq, second.duplicate], [first.seq, true]);
});

test('history and resume: a subscription goes on where another stopped', TIMEOUT, async (t) => {
  const client = connect(t);
  await Promise.all([1, 2, 3, 4].map((n) => client.publish('past', n)));
  const events = new Inbox('event');
  const first = client.subscribe('past', { history: 2 }, events.push);
  assert.deepEqual((await events.take(3)).map(({ seq }) => seq), [2, 3, 4]);
  const since = first.positions();
  first.unsubscribe();
  await client.publish('past', 5);
  client.subscribe('past', { since }, events.push);
  const [begun, entry] = await events.take(2);
  assert.deepEqual([begun.state, entry.seq], ['resumed', 5]);
});

test('topics that a pattern matches go on where they stopped', TIMEOUT, async (t) => {
  const client = connect(t);
  await Promise.all([1, 2].map((n) => client.publish('pattern.a', n)));
  const events = new Inbox('event');
  const first = client.subscribe('pattern.>', { history: 1 }, events.push);
  assert.deepEqual((await events.take(2)).map(({ seq }) => seq), [1, 2]);
  const since = first.positions();
  first.unsubscribe();
  await client.publish('pattern.a', 3);
  await client.publish('pattern.new', 1);
  client.subscribe('pattern.>', { since }, (event) => event.topic === 'pattern.a' && events.push(event));
  assert.deepEqual((await events.take(2)).map(({ seq }) => seq), [2, 3]);
});

test('a bound key goes with its client, and presence tells of it', TIMEOUT, async (t) => {
  const [one, other] = [connect(t, { name: 'one' }), connect(t, { name: 'other' })];
  const room = other.keyed('room.1');
  await room.subscription.ready;
  await one.publish('room.1', 'here', { key: 'one', bound: true });
  await until(() => room.get('one') === 'here');
  await one.subscribe('room.1', { info: { hand: 'up' } }, () => undefined).ready;
  const { count, members } = await other.presence('room.1');
  assert.equal(count, 2);
  assert.deepEqual(members.map(({ info }) => info).filter(Boolean), [{ hand: 'up' }]);
  one.close();
  await until(() => !room.has('one'));
});

test('what is refused says so', TIMEOUT, async (t) => {
  const client = connect(t);
  await assert.rejects(client.publish('no such*name', 1), { code: 400 });
  const errors = new Inbox('event');
  client.subscribe(['fine', 'not fine'], {}, errors.push);
  assert.equal((await errors.take(2)).find(({ type }) => type === 'error')?.error.code, 400);
});

test('after a restart of the server clients resume, and publish what was under way', { timeout: 60_000 }, async (t) => {
  const address = server.address;
  const [publisher, subscriber] = [connect(t), connect(t)];
  const events = new Inbox('event');
  const subscription = subscriber.subscribe('restart', {}, events.push);
  await subscription.ready;
  await publisher.publish('restart', 1);
  assert.deepEqual((await events.take(2)).map(({ type }) => type), ['subscribed', 'message']);
  await server.kill();
  const underway = publisher.publish('restart.underway', 2);
  server = await serve({ listen: address });
  assert.equal((await underway).seq, 1);
  assert.equal((await events.next()).state, 'reset');
  await publisher.publish('restart', 3);
  assert.equal((await events.next()).data, 3);
  assert.ok(subscription.account().every(({ balanced }) => balanced));
});
