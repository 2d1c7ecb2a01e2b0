// The life of a connection: coming back, tokens, close codes, publishing across all of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../dist/ringwire.js';
import { Inbox, reached, script, TIMEOUT } from './script.js';

test('the first request says token and name', TIMEOUT, async (t) => {
  const { client, peers, states } = await script(t, { token: 'secret', name: 'test' });
  const peer = await peers.next();
  assert.equal(peer.socket.protocol, 'ringwire.json.1');
  assert.deepEqual((await peer.welcome()).params, { token: 'secret', name: 'test' });
  await reached(states, 'open');
  assert.equal(client.session.client, 'c1');
});

for (const code of [1001, 1011, 1012, 4008, 4029, undefined]) {
  test(`after ${code ?? 'a broken wire'} the client comes back`, TIMEOUT, async (t) => {
    const { peers, states } = await script(t);
    const peer = await peers.next();
    await peer.welcome();
    await reached(states, 'open');
    peer.close(code);
    assert.equal((await reached(states, 'waiting')).code, code ?? 1006);
    await (await peers.next()).welcome();
    await reached(states, 'open');
  });
}

for (const code of [1000, 1002, 1008, 1009, 4001, 4003]) {
  test(`after ${code} the client stays away`, TIMEOUT, async (t) => {
    const { client, peers, states } = await script(t, { token: 'one' });
    const { ready } = client.subscribe('a', {}, () => undefined);
    const published = client.publish('a', 1);
    published.catch(() => undefined);
    const peer = await peers.next();
    await peer.welcome();
    await reached(states, 'open');
    peer.close(code);
    assert.equal((await reached(states, 'closed')).code, code);
    await assert.rejects(ready, { code: 'closed' });
    await assert.rejects(published, { code: 'closed' });
    await assert.rejects(client.publish('a', 1), { code: 'closed' });
    await assert.rejects(client.ping(), { code: 'closed' });
  });
}

test('an expired token is replaced', TIMEOUT, async (t) => {
  let count = 0;
  const { peers, states } = await script(t, { getToken: async () => `token ${(count += 1)}` });
  const first = await peers.next();
  assert.equal((await first.welcome()).params.token, 'token 1');
  await reached(states, 'open');
  first.close();
  const second = await peers.next();
  assert.equal((await second.welcome()).params.token, 'token 1', 'it has not expired');
  await reached(states, 'open');
  second.close(4001);
  const third = await peers.next();
  const request = await third.asked('connect');
  assert.equal(request.params.token, 'token 2');
  third.refuse(request, { code: 401, message: 'expired' });
  assert.equal((await (await peers.next()).welcome()).params.token, 'token 3');
});

test('a token is refreshed before it expires', TIMEOUT, async (t) => {
  let count = 0;
  const { peers } = await script(t, { getToken: () => `token ${(count += 1)}` });
  const peer = await peers.next();
  const time = Date.now() * 1000;
  await peer.welcome({ time, expires: time + 100_000 });
  const request = await peer.asked('refresh');
  assert.deepEqual(request.params, { token: 'token 2' });
  peer.answer(request, { expires: time + 200_000 });
  assert.deepEqual((await peer.asked('refresh')).params, { token: 'token 3' });
});

test('a token that cannot be had is asked for again', TIMEOUT, async (t) => {
  let count = 0;
  const getToken = () => {
    count += 1;
    if (count === 1) throw new Error('no network');
    return 'token';
  };
  const { peers, errors } = await script(t, { getToken });
  await peers.next();
  await (await peers.next()).welcome();
  assert.deepEqual(errors.map(({ code }) => code), ['token']);
});

test('a client that is refused for good ends; one that is refused for now comes back', TIMEOUT, async (t) => {
  const { peers, states, errors } = await script(t, { token: 'one' });
  const first = await peers.next();
  first.refuse(await first.asked('connect'), { code: 503, message: 'later', retry: true, after_ms: 3 });
  assert.equal((await reached(states, 'waiting')).retryInMs, 3);
  const second = await peers.next();
  second.refuse(await second.asked('connect'), { code: 401, message: 'no such token' });
  await reached(states, 'closed');
  assert.equal(errors[0].message, 'no such token');
});

test('goaway says when to come back', TIMEOUT, async (t) => {
  const { peers, states } = await script(t, { random: () => 0.5 });
  const peer = await peers.next();
  await peer.welcome();
  await reached(states, 'open');
  peer.say({ type: 'goaway', why: 'restart', after_ms: 20, jitter_ms: 60 });
  peer.close(1012);
  assert.equal((await reached(states, 'waiting')).retryInMs, 50);
  await peers.next();
});

test('waits grow, with full jitter', TIMEOUT, async (t) => {
  const { peers, states } = await script(t, { random: () => 0.5, backoff: { leastMs: 2, mostMs: 10 } });
  const waits = [];
  while (waits.length < 5) {
    (await peers.next()).close();
    waits.push((await reached(states, 'waiting')).retryInMs);
  }
  assert.deepEqual(waits, [1, 2, 4, 5, 5]);
});

test('who was too fast waits long', TIMEOUT, async (t) => {
  const { peers, states } = await script(t, { random: () => 0.5, backoff: { leastMs: 2, mostMs: 20 } });
  (await peers.next()).close(4029);
  assert.equal((await reached(states, 'waiting')).retryInMs, 15);
});

test('after a session that stood for long the wait is short again', TIMEOUT, async (t) => {
  const { peers, states } = await script(t, { random: () => 0.5, backoff: { leastMs: 2, mostMs: 20 } });
  const { now } = performance;
  for (const [stoodMs, waitMs] of [[0, 1], [0, 2], [11_000, 1]]) {
    const peer = await peers.next();
    await peer.welcome();
    await reached(states, 'open');
    t.mock.method(performance, 'now', () => now.call(performance) + stoodMs);
    peer.close();
    assert.equal((await reached(states, 'waiting')).retryInMs, waitMs);
    t.mock.restoreAll();
  }
});

test('a silent server is asked, and then given up', TIMEOUT, async (t) => {
  const { peers, states } = await script(t);
  const peer = await peers.next();
  await peer.welcome({ heartbeat_ms: 30 });
  await reached(states, 'open');
  await peer.asked('ping');
  assert.equal((await reached(states, 'waiting')).reason, 'the server is silent');
  await peers.next();
});

test('a question is asked again on the next connection', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const history = client.history('a', { from: 3, limit: 2 });
  const first = await peers.next();
  await first.welcome();
  assert.deepEqual((await first.asked('history')).params, { topic: 'a', from: 3, limit: 2 });
  first.close();
  const second = await peers.next();
  await second.welcome();
  second.answer(await second.asked('history'), { topic: 'a', epoch: 'e1', items: [], head: 2 });
  assert.equal((await history).head, 2);
});

test('a question that nobody answers ends in time', TIMEOUT, async (t) => {
  const { client } = await script(t, { requestTimeoutMs: 20 });
  await assert.rejects(client.presence('room'), { code: 'timeout' });
});

test('unknown pushes are ignored, nonsense is told', TIMEOUT, async (t) => {
  const { client, peers, errors } = await script(t);
  const peer = await peers.next();
  await peer.welcome();
  peer.say({ type: 'news', topic: 'a' }, { id: 77, result: 1 }, { type: 'error', error: { code: 404, message: 'no such method' } });
  peer.socket.send('{"type":');
  const ping = client.ping();
  peer.answer(await peer.asked('ping'), { time: 1 });
  await ping;
  assert.deepEqual(errors.map(({ code }) => code), [404, 'protocol']);
});

test('publishes are pipelined and acknowledged', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const one = client.publish('a', { n: 1 }, { key: 'k', sourceSeq: 7 });
  const two = client.publish('a', new Uint8Array([255]), { idempotencyKey: 'mine' });
  const three = client.remove('a', 'k');
  const peer = await peers.next();
  await peer.welcome();
  const requests = [await peer.asked('publish'), await peer.asked('publish'), await peer.asked('publish')];
  const [first, second, third] = requests.map(({ params }) => params);
  assert.deepEqual({ ...first, idempotency_key: '' }, { topic: 'a', data: { n: 1 }, key: 'k', source_seq: 7, idempotency_key: '' });
  assert.deepEqual(second, { topic: 'a', data: '/w==', base64: true, idempotency_key: 'mine' });
  assert.deepEqual([third.remove, third.key, 'data' in third], [true, 'k', false]);
  peer.answer(requests[1], { seq: 2, epoch: 'e1' });
  peer.answer(requests[0], { seq: 1, epoch: 'e1' });
  peer.refuse(requests[2], { code: 403, message: 'not you' });
  assert.deepEqual([(await one).seq, (await two).seq], [1, 2]);
  await assert.rejects(three, { code: 403, message: 'not you' });
});

test('what was not acknowledged is sent again, with its key, before what is newer', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const first = await peers.next();
  await first.welcome();
  const results = [1, 2, 3].map((n) => client.publish('a', n));
  const sent = [await first.asked('publish'), await first.asked('publish'), await first.asked('publish')];
  first.answer(sent[0], { seq: 1, epoch: 'e1' });
  await results[0];
  first.close();
  await first.closed;
  results.push(client.publish('a', 4));
  const second = await peers.next();
  await second.welcome();
  const again = [await second.asked('publish'), await second.asked('publish'), await second.asked('publish')];
  assert.deepEqual(again.map(({ params }) => params.data), [2, 3, 4]);
  assert.deepEqual(again.slice(0, 2).map(({ params }) => params), sent.slice(1).map(({ params }) => params));
  const keys = new Set([...sent, again[2]].map(({ params }) => params.idempotency_key));
  assert.equal(keys.size, 4, 'each publish has a key of its own');
  again.forEach((request, index) => second.answer(request, { seq: index + 2, epoch: 'e1', ...(index === 0 && { duplicate: true }) }));
  assert.deepEqual((await Promise.all(results)).map(({ seq }) => seq), [1, 2, 3, 4]);
});

test('so many publishes are under way as the server takes, the others wait; too many are refused', TIMEOUT, async (t) => {
  const { client, peers } = await script(t, { pendingMax: 3 });
  const results = [1, 2, 3].map((n) => client.publish('a', n));
  await assert.rejects(client.publish('a', 4), { code: 'full' });
  const peer = await peers.next();
  await peer.welcome({ limits: { pending_publishes: 2 } });
  const [one, two] = [await peer.asked('publish'), await peer.asked('publish')];
  const ping = client.ping();
  peer.answer(await peer.asked('ping'), { time: 1 });
  await ping;
  peer.answer(two, { seq: 2, epoch: 'e1' });
  peer.answer(await peer.asked('publish'), { seq: 3, epoch: 'e1' });
  peer.answer(one, { seq: 1, epoch: 'e1' });
  assert.deepEqual((await Promise.all(results)).map(({ seq }) => seq), [1, 2, 3]);
});

test('a publish over the server\'s limit is not sent', TIMEOUT, async (t) => {
  const { client, peers, states } = await script(t);
  await (await peers.next()).welcome({ limits: { message_bytes: 100 } });
  await reached(states, 'open');
  await assert.rejects(client.publish('a', 'x'.repeat(100)), { code: 413 });
});

test('a publish that is refused for now is sent again', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const result = client.publish('a', 1);
  const peer = await peers.next();
  await peer.welcome();
  const request = await peer.asked('publish');
  peer.refuse(request, { code: 429, message: 'too fast', retry: true, after_ms: 5 });
  const again = await peer.asked('publish');
  assert.deepEqual(again.params, request.params);
  peer.answer(again, { seq: 1, epoch: 'e1' });
  assert.equal((await result).seq, 1);
});

test('bound keys are published anew on each connection, until they are removed', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const first = await peers.next();
  await first.welcome();
  const acknowledged = async (peer) => {
    const request = await peer.asked('publish');
    peer.answer(request, { seq: 1, epoch: 'e1' });
    return request.params;
  };
  const bound = { bound: true };
  const results = [client.publish('room', 'me', { key: 'me', ...bound }), client.publish('room', 'up', { key: 'hand', ...bound })];
  const sent = [await acknowledged(first), await acknowledged(first)];
  assert.equal(sent[0].bound, true);
  results.push(client.remove('room', 'hand'));
  await acknowledged(first);
  await Promise.all(results);
  const underway = client.publish('room', 'here', { key: 'seat', ...bound });
  const lost = await first.asked('publish');
  first.close();
  const second = await peers.next();
  await second.welcome();
  const again = [await acknowledged(second), await acknowledged(second)];
  assert.deepEqual(again.map(({ key, data }) => [key, data]), [['me', 'me'], ['seat', 'here']]);
  assert.notEqual(again[0].idempotency_key, sent[0].idempotency_key);
  assert.notEqual(again[1].idempotency_key, lost.params.idempotency_key, 'the server must not take it for known');
  await underway;
});

test('send needs a connection and no answer', TIMEOUT, async (t) => {
  const { client, peers, states } = await script(t);
  assert.equal(client.send('a', 1), false);
  const peer = await peers.next();
  await peer.welcome();
  await reached(states, 'open');
  assert.equal(client.send('a', 1, { key: 'k' }), true);
  assert.deepEqual(await peer.asked('publish'), { method: 'publish', params: { topic: 'a', data: 1, key: 'k' } });
});

test('a handler that throws disturbs nobody', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const thrown = new Inbox('uncaught error');
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException').once('uncaughtException', thrown.push);
  t.after(() => listeners.forEach((listener) => process.on('uncaughtException', listener)));
  client.subscribe('a', {}, ({ type }) => {
    if (type === 'subscribed') throw new Error('mine');
  });
  const peer = await peers.next();
  await peer.welcome();
  await peer.subscribed('a');
  assert.equal((await thrown.next()).message, 'mine');
  const ping = client.ping();
  peer.answer(await peer.asked('ping'), { time: 1 });
  await ping;
});

test('a client without a WebSocket says what it needs', () => {
  const { WebSocket } = globalThis;
  try {
    delete globalThis.WebSocket;
    assert.throws(() => new Client('ws://127.0.0.1:1'), /pass one/);
  } finally {
    if (WebSocket) globalThis.WebSocket = WebSocket;
  }
});
