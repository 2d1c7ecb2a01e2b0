// The server's side of the protocol, as a test's script says it: a test takes each connection, reads what the client asks
// and says what it likes. Each wait has a limit.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { Client } from '../dist/ringwire.js';

export const { WebSocket, WebSocketServer } = createRequire(import.meta.url)('ws');

export const TIMEOUT = { timeout: 20_000 };
const WAIT_MS = 10_000;

/** The promise, or a rejection that says what did not come. */
export function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`in ${WAIT_MS} ms: ${what}`)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A queue that is awaited. */
export class Inbox {
  #items = [];
  #waiting = [];

  constructor(what) {
    this.what = what;
  }

  push = (item) => {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  };

  get size() {
    return this.#items.length;
  }

  next() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return soon(new Promise((resolve) => this.#waiting.push(resolve)), `no ${this.what} came`);
  }

  /** The next so many. */
  async take(count) {
    const items = [];
    while (items.length < count) items.push(await this.next());
    return items;
  }
}

/** One connection of a client. */
class Peer {
  #requests = new Inbox('request');

  constructor(socket) {
    this.socket = socket;
    socket.on('message', (data) => {
      for (const line of data.toString().split('\n')) this.#requests.push(JSON.parse(line));
    });
    this.closed = once(socket, 'close');
  }

  /** The next request, which must be of this method. */
  async asked(method) {
    const request = await this.#requests.next();
    if (request.method !== method) throw new Error(`not ${method}: ${JSON.stringify(request)}`);
    return request;
  }

  get unread() {
    return this.#requests.size;
  }

  /** Says each of these, in one message. */
  say(...objects) {
    this.socket.send(objects.map((object) => JSON.stringify(object)).join('\n'));
  }

  answer({ id }, result) {
    this.say({ id, result });
  }

  refuse({ id }, error) {
    this.say({ id, error });
  }

  /** Lets the client in. */
  async welcome(more = {}) {
    const request = await this.asked('connect');
    const time = Date.now() * 1000;
    this.answer(request, { client: 'c1', server: 'script', time, heartbeat_ms: 10_000, ...more });
    return request;
  }

  /** Answers a subscription to one topic. */
  async subscribed(topic, { epoch = 'e1', seq = 0, head = seq, state = 'new', kind = 'plain' } = {}) {
    const request = await this.asked('subscribe');
    this.answer(request, [{ topic, id: 1, epoch, seq, head, state, kind }]);
    return request.params;
  }

  /** Ends the connection with a close code, or as a broken wire does. */
  close(code) {
    if (code === undefined) this.socket.terminate();
    else this.socket.close(code);
  }
}

/** A server and a client of it, both gone when the test `t` ends. */
export async function script(t, options = {}) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: (offered) => [...offered][0] });
  await once(server, 'listening');
  const peers = new Inbox('connection');
  server.on('connection', (socket) => peers.push(new Peer(socket)));
  const client = new Client(`ws://127.0.0.1:${server.address().port}/connect`, {
    WebSocket,
    backoff: { leastMs: 1, mostMs: 20 },
    ...options,
  });
  const states = new Inbox('state');
  client.on('state', states.push);
  const errors = [];
  client.on('error', (error) => errors.push(error));
  t.after(() => {
    client.close();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { client, peers, states, errors };
}

/** The state of this name, past others. */
export async function reached(states, name) {
  for (;;) {
    const state = await states.next();
    if (state.state === name) return state;
  }
}

export const message = (topic, seq, data = seq) => ({ topic, type: 'message', seq, ts: 1, data });
export const update = (topic, seq, key, data = seq) => ({ topic, type: 'update', seq, ts: 1, key, data });
export const remove = (topic, seq, key) => ({ topic, type: 'remove', seq, ts: 1, key });
export const skip = (topic, from, to, count, why = 'conflated') => ({ topic, type: 'skip', from, to, count, why });
export const gap = (topic, from, to, why = 'slow') => ({ topic, type: 'gap', from, to, why });
export const snapshot = (topic, seq, entries, { epoch = 'e1', first = true, last = true } = {}) => ({
  topic,
  type: 'snapshot',
  epoch,
  seq,
  first,
  last,
  data: entries.map(([key, at, data]) => ({ key, seq: at, ts: 1, data })),
});
