// The client's rule: order, skips, gaps, snapshots, duplicates, lost tails, and the account of all of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gap, Inbox, message, remove, script, skip, snapshot, TIMEOUT, update } from './script.js';

/** A subscription to `a` whose events are in an inbox; `peer` has answered it. */
async function subscribed(t, answer = {}, options = {}) {
  const { client, peers } = await script(t);
  const events = new Inbox('event');
  const subscription = client.subscribe('a', options, events.push);
  const peer = await peers.next();
  await peer.welcome();
  await peer.subscribed('a', answer);
  await events.next();
  return { client, peers, peer, events, subscription };
}

const seqs = (events) => events.map(({ seq }) => seq);
const counts = (subscription) => {
  const [{ from, published, delivered, skipped, gap: lost, balanced }] = subscription.account();
  assert.equal(balanced, true);
  return { from, published, delivered, skipped, gap: lost };
};

test('entries in order are delivered, several to a message', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t, { seq: 4 });
  peer.say(message('a', 5), message('a', 6));
  peer.say(message('a', 7, { text: 'é\n"' }));
  assert.deepEqual(seqs(await events.take(2)), [5, 6]);
  assert.deepEqual((await events.next()).data, { text: 'é\n"' });
  assert.deepEqual(counts(subscription), { from: 5, published: 3, delivered: 3, skipped: 0, gap: 0 });
});

test('data with line ends of its own is one message', TIMEOUT, async (t) => {
  const { peer, events } = await subscribed(t);
  const [one, two] = [message('a', 1), message('a', 2)].map((object) => JSON.stringify(object, null, 1));
  peer.socket.send(`${one}\n${two}`);
  assert.deepEqual(seqs(await events.take(2)), [1, 2]);
});

test('bytes come as bytes', TIMEOUT, async (t) => {
  const { peer, events } = await subscribed(t);
  peer.say({ ...message('a', 1, '/wAB'), base64: true });
  assert.deepEqual((await events.next()).data, new Uint8Array([255, 0, 1]));
});

test('a skip without others moves the place; one with others lets them through', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t, { kind: 'keyed' }, { snapshot: false });
  peer.say(skip('a', 1, 10, 10), update('a', 11, 'x'), skip('a', 12, 20, 7), update('a', 14, 'x'), update('a', 19, 'y'));
  peer.say(update('a', 21, 'x'));
  assert.deepEqual((await events.take(6)).map(({ type, seq }) => seq ?? type), ['skip', 11, 'skip', 14, 19, 21]);
  assert.deepEqual(counts(subscription), { from: 1, published: 21, delivered: 4, skipped: 17, gap: 0 });
});

test('what a skip has left over may be lost, as another skip says', TIMEOUT, async (t) => {
  const { peer, subscription, events } = await subscribed(t);
  peer.say(skip('a', 1, 10, 7), message('a', 2), skip('a', 3, 10, 8), message('a', 11));
  assert.deepEqual((await events.take(4)).map(({ type, seq }) => seq ?? type), ['skip', 2, 'skip', 11]);
  assert.deepEqual(counts(subscription), { from: 1, published: 11, delivered: 2, skipped: 9, gap: 0 });
});

test('fewer others than the skip said break the rule', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t);
  peer.say(skip('a', 1, 10, 7), message('a', 2), message('a', 9), message('a', 11));
  await events.take(3);
  await peer.asked('unsubscribe');
  const { since } = await peer.subscribed('a', { seq: 9, state: 'resumed' });
  assert.deepEqual(since, { a: { epoch: 'e1', seq: 9 } });
  assert.equal(subscription.account()[0].breaks, 1);
});

for (const [what, push] of [
  ['a skip of more than there are', skip('a', 2, 4, 9)],
  ['a skip that begins elsewhere', skip('a', 3, 4, 2)],
  ['a gap that begins elsewhere', gap('a', 3, 4)],
  ['a snapshot of another epoch', snapshot('a', 1, [], { epoch: 'e2' })],
]) {
  test(`${what} breaks the rule`, TIMEOUT, async (t) => {
    const { peer, subscription } = await subscribed(t);
    peer.say(message('a', 1), push);
    await peer.asked('unsubscribe');
    const { since } = await peer.subscribed('a', { seq: 1, state: 'resumed' });
    assert.deepEqual(since, { a: { epoch: 'e1', seq: 1 } });
    assert.equal(subscription.account()[0].breaks, 1);
  });
}

test('a skip that is cut off by the end of the connection is counted as far as it came', TIMEOUT, async (t) => {
  const { peer, peers, events, subscription } = await subscribed(t);
  peer.say(skip('a', 1, 10, 8), message('a', 3));
  await events.take(2);
  peer.close();
  const next = await peers.next();
  await next.welcome();
  const { since } = await next.subscribed('a', { seq: 3, state: 'resumed' });
  assert.deepEqual(since, { a: { epoch: 'e1', seq: 3 } });
  next.say(skip('a', 4, 10, 6), message('a', 10), message('a', 11));
  await events.take(4);
  assert.deepEqual(counts(subscription), { from: 1, published: 11, delivered: 3, skipped: 8, gap: 0 });
});

test('a gap moves the place and is counted', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t);
  peer.say(message('a', 1), gap('a', 2, 9), message('a', 10));
  await events.take(3);
  assert.deepEqual(counts(subscription), { from: 1, published: 10, delivered: 2, skipped: 0, gap: 8 });
});

test('what is smaller than expected is ignored', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t, { seq: 5 });
  peer.say(message('a', 4), message('a', 6), message('a', 6), gap('a', 2, 3), skip('a', 1, 6, 6), message('a', 7));
  assert.deepEqual(seqs(await events.take(2)), [6, 7]);
  assert.equal(subscription.account()[0].duplicates, 4);
  assert.deepEqual(counts(subscription), { from: 6, published: 2, delivered: 2, skipped: 0, gap: 0 });
});

test('a hole that nobody spoke of begins the subscription again behind the last entry in order', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t);
  peer.say(message('a', 1), message('a', 3), message('a', 4));
  assert.equal((await events.next()).seq, 1);
  await peer.asked('unsubscribe');
  const { since } = await peer.subscribed('a', { seq: 1, head: 4, state: 'resumed' });
  assert.deepEqual(since, { a: { epoch: 'e1', seq: 1 } });
  peer.say(message('a', 2), message('a', 3), message('a', 4));
  assert.deepEqual((await events.take(4)).map(({ type, seq }) => [type, seq]), [
    ['subscribed', 1],
    ['message', 2],
    ['message', 3],
    ['message', 4],
  ]);
  assert.deepEqual(counts(subscription), { from: 1, published: 4, delivered: 4, skipped: 0, gap: 0 });
  assert.equal(subscription.account()[0].breaks, 1, 'what comes until then is not looked at');
});

test('a subscription whose answer is lost with the connection is asked for again, without a word', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const events = new Inbox('event');
  client.subscribe('a', {}, events.push);
  const first = await peers.next();
  await first.welcome();
  await first.asked('subscribe');
  first.close();
  const second = await peers.next();
  await second.welcome();
  await second.subscribed('a');
  assert.equal((await events.next()).type, 'subscribed');
});

test('a heartbeat finds a lost tail', TIMEOUT, async (t) => {
  const { peer, events } = await subscribed(t);
  peer.say(message('a', 1), { type: 'heartbeat', ts: 1, at: { a: 1, other: 7 } }, message('a', 2));
  await events.take(2);
  assert.equal(peer.unread, 0);
  peer.say({ type: 'heartbeat', ts: 1, at: { a: 3 } });
  await peer.asked('unsubscribe');
  const { since } = await peer.subscribed('a', { seq: 2, state: 'resumed' });
  assert.deepEqual(since, { a: { epoch: 'e1', seq: 2 } });
});

test('after a reconnection delivery goes on behind the last entry', TIMEOUT, async (t) => {
  const { peer, peers, events, subscription } = await subscribed(t, {}, { mode: 'latest', rate: 5, maxAgeMs: 100, history: 3 });
  peer.say(message('a', 1), message('a', 2));
  await events.take(2);
  peer.close();
  const next = await peers.next();
  await next.welcome();
  const params = await next.subscribed('a', { seq: 2, head: 3, state: 'resumed' });
  assert.deepEqual(params, {
    topics: ['a'],
    mode: 'latest',
    rate: 5,
    max_age_ms: 100,
    since: { a: { epoch: 'e1', seq: 2 } },
  });
  next.say(message('a', 3));
  assert.deepEqual((await events.take(2)).map(({ type }) => type), ['subscribed', 'message']);
  assert.deepEqual(counts(subscription), { from: 1, published: 3, delivered: 3, skipped: 0, gap: 0 });
});

test('what was let go while away is a gap of the same epoch, and a new account in another', TIMEOUT, async (t) => {
  const { peer, peers, events, subscription } = await subscribed(t);
  peer.say(message('a', 1));
  await events.next();
  peer.close();
  const second = await peers.next();
  await second.welcome();
  await second.subscribed('a', { seq: 5, state: 'reset' });
  assert.deepEqual((await events.take(2))[1], gap('a', 2, 5, 'lost'));
  assert.deepEqual(counts(subscription), { from: 1, published: 5, delivered: 1, skipped: 0, gap: 4 });
  second.close();
  const third = await peers.next();
  await third.welcome();
  await third.subscribed('a', { epoch: 'e2', seq: 2, state: 'reset' });
  third.say(message('a', 3));
  await events.take(2);
  assert.deepEqual(counts(subscription), { from: 3, published: 1, delivered: 1, skipped: 0, gap: 0 });
  assert.equal(subscription.account()[0].resets, 1);
});

test('a server that lost what this client has seen is followed back', TIMEOUT, async (t) => {
  const { peer, peers, events, subscription } = await subscribed(t, { seq: 10 });
  peer.say(message('a', 11), message('a', 12));
  await events.take(2);
  peer.close();
  const next = await peers.next();
  await next.welcome();
  await next.subscribed('a', { seq: 11, head: 11, state: 'reset' });
  next.say(message('a', 12, 'another'));
  assert.equal((await events.take(2))[1].data, 'another');
  assert.deepEqual(counts(subscription), { from: 12, published: 1, delivered: 1, skipped: 0, gap: 0 });
});

test('a snapshot gives the place; what it holds is not counted', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t, { seq: 8, kind: 'keyed' });
  peer.say(snapshot('a', 6, [['x', 2, 'x']]), update('a', 7, 'x'), update('a', 8, 'y'));
  assert.equal((await events.take(3))[2].seq, 8);
  assert.deepEqual(counts(subscription), { from: 7, published: 2, delivered: 2, skipped: 0, gap: 0 });
});

test('a snapshot after a gap may begin before its end: entries come again and count once', TIMEOUT, async (t) => {
  const { peer, events, subscription } = await subscribed(t, { kind: 'keyed' });
  peer.say(snapshot('a', 0, []), update('a', 1, 'x'), gap('a', 2, 9), snapshot('a', 7, []), update('a', 8, 'x'));
  await events.take(5);
  assert.deepEqual(counts(subscription), { from: 1, published: 9, delivered: 1, skipped: 0, gap: 8 });
  peer.say(update('a', 9, 'x'), update('a', 10, 'x'));
  await events.take(2);
  assert.deepEqual(counts(subscription), { from: 1, published: 10, delivered: 2, skipped: 0, gap: 8 });
});

for (const [where, pushes] of [
  ['within a first snapshot', [snapshot('a', 5, [['x', 1, 1]], { last: false })]],
  ['within a later snapshot', [snapshot('a', 5, []), skip('a', 6, 9, 4), snapshot('a', 9, [], { last: false })]],
  ['between a gap and its snapshot', [snapshot('a', 5, []), gap('a', 6, 9)]],
]) {
  test(`who was cut off ${where} asks for all of the state again`, TIMEOUT, async (t) => {
    const { peer, peers, events } = await subscribed(t, { seq: 5, kind: 'keyed' });
    peer.say(...pushes);
    await events.take(pushes.length);
    peer.close();
    const next = await peers.next();
    await next.welcome();
    assert.equal((await next.subscribed('a', { seq: 9, kind: 'keyed' })).since, undefined);
  });
}

test('topics that a pattern matches are announced, delivered and resumed one by one', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const events = new Inbox('event');
  client.subscribe('trades.>', {}, events.push);
  const peer = await peers.next();
  await peer.welcome();
  peer.answer(await peer.asked('subscribe'), [{ topic: 'trades.>', state: 'pattern' }]);
  const announce = (topic, seq) => ({ type: 'subscribed', topic, pattern: 'trades.>', id: 9, epoch: 'e1', seq, head: seq, kind: 'plain' });
  peer.say(announce('trades.x', 4), message('trades.x', 5), announce('trades.y', 0), message('trades.y', 1));
  await events.take(4);
  peer.close();
  const next = await peers.next();
  await next.welcome();
  const { params } = await next.asked('subscribe');
  assert.deepEqual(params.topics, ['trades.>']);
  assert.deepEqual(params.since, { 'trades.x': { epoch: 'e1', seq: 5 }, 'trades.y': { epoch: 'e1', seq: 1 } });
});

test('a topic that is refused is told, the others are delivered', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const events = new Inbox('event');
  const { ready } = client.subscribe(['a', 'b'], {}, events.push);
  const peer = await peers.next();
  await peer.welcome();
  const answer = { topic: 'a', epoch: 'e1', seq: 0, head: 0, state: 'new', kind: 'plain' };
  const error = { code: 403, message: 'not b' };
  peer.answer(await peer.asked('subscribe'), [answer, { topic: 'b', error }]);
  peer.say(message('a', 1));
  assert.equal((await ready).length, 2);
  const [, refused, delivered] = await events.take(3);
  assert.deepEqual(refused, { type: 'error', topic: 'b', error });
  assert.equal(delivered.seq, 1);
});

test('a topic that is refused for now is asked for again', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  client.subscribe(['a', 'b'], {}, () => undefined);
  const peer = await peers.next();
  await peer.welcome();
  const answer = { topic: 'a', epoch: 'e1', seq: 0, head: 0, state: 'new', kind: 'plain' };
  const error = { code: 429, message: 'wait', retry: true, after_ms: 5 };
  peer.answer(await peer.asked('subscribe'), [answer, { topic: 'b', error }]);
  assert.deepEqual((await peer.subscribed('b')).topics, ['b']);
});

test('nothing is handed on after unsubscribe', TIMEOUT, async (t) => {
  const { peer, events, subscription, client } = await subscribed(t);
  peer.say(message('a', 1));
  await events.next();
  subscription.unsubscribe();
  assert.deepEqual((await peer.asked('unsubscribe')).params, ['a']);
  peer.say(message('a', 2));
  const ping = client.ping();
  peer.answer(await peer.asked('ping'), { time: 5 });
  assert.equal((await ping).time, 5);
  assert.equal(events.size, 0);
  client.subscribe('a', {}, () => undefined);
  await peer.asked('subscribe');
});

test('one name has one handler', TIMEOUT, async (t) => {
  const { client } = await script(t);
  client.subscribe('a', {}, () => undefined);
  assert.throws(() => client.subscribe(['b', 'a'], {}, () => undefined), { code: 409 });
});

test('a keyed state follows snapshots, updates and removes', TIMEOUT, async (t) => {
  const { client, peers } = await script(t);
  const state = client.keyed('a');
  const changes = new Inbox('change');
  const ready = new Inbox('ready');
  state.on('change', changes.push);
  state.on('ready', ready.push);
  const peer = await peers.next();
  await peer.welcome();
  await peer.subscribed('a', { seq: 3, kind: 'keyed' });
  peer.say(snapshot('a', 3, [['x', 1, 'one']], { last: false }), snapshot('a', 3, [['y', 3, 'two']], { first: false }));
  await ready.next();
  assert.deepEqual([...state], [['x', 'one'], ['y', 'two']]);
  peer.say(update('a', 4, 'x', 'three'), remove('a', 5, 'y'), remove('a', 6, 'nobody'));
  const [, , set, gone] = await changes.take(4);
  assert.deepEqual([set.key, set.data, set.previous], ['x', 'three', 'one']);
  assert.deepEqual([gone.type, gone.key, gone.previous], ['remove', 'y', 'two']);
  assert.deepEqual([state.get('x'), state.has('y'), state.size, state.isReady], ['three', false, 1, true]);
  // A gap is over with the snapshot behind it, which replaces everything; what stays the same is no change.
  peer.say(update('a', 7, 'w', 'old'));
  await changes.next();
  peer.say(gap('a', 8, 20), snapshot('a', 20, [['x', 4, 'three'], ['z', 9, 'new']]));
  await ready.next();
  assert.deepEqual([...state], [['x', 'three'], ['z', 'new']]);
  assert.deepEqual((await changes.take(2)).map(({ type, key }) => [type, key]), [['remove', 'w'], ['set', 'z']]);
  assert.equal(changes.size, 0);
});
