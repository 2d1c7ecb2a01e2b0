// ringload's adapters beside the official clients: against Socket.IO's own server, and against a server that speaks
// Centrifugo's protocol as far as its documentation says. What ringload publishes the official clients hear, and its
// commands are theirs, byte for byte.
'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const { text } = require('node:stream/consumers');
const { Centrifuge } = require('centrifuge');
const socketio = require('socket.io');
const { io } = require('socket.io-client');
const { WebSocket, WebSocketServer } = require('ws');

const TIMEOUT = { timeout: 60_000 };
const TOPIC = 'ringload';
const LOAD = ['--subscribers', '3', '--rate', '200', '--seconds', '1', '--warm-up', '0.2', '--progress', 'off'];

/** A server on a free port, and how it ends. */
async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${server.address().port}`;
}

/** What `ringload fanout` prints and says, and its exit code. */
async function fanout(host, adapter, token) {
  const args = ['fanout', `ws://${host}/`, '--adapter', adapter, '--token', token, ...LOAD];
  const child = spawn(process.env.RINGLOAD_BIN, args, { timeout: 30_000, killSignal: 'SIGKILL' });
  const [printed, said, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { printed, said, code };
}

/** All that was published arrived, whatever pace this machine could set. */
function assertDelivered({ printed, said, code }) {
  const accounts = printed.match(/accounts +(\d+) of (\d+) arrived, 0 lost, 0 repeated, 0 out of order, 0 corrupted, 0 misrouted, 0 conn/);
  assert.ok(accounts, `${printed}${said}`);
  assert.equal(accounts[1], accounts[2]);
  assert.ok(Number(accounts[1]) >= 600, accounts[0]);
  assert.ok(code === 0 || code === 4, `exit ${code}: ${printed}`);
}

/** Payloads that one who listens has heard are the publisher's, from the first to the last. */
function assertHeard(heard, printed) {
  const deliveries = Number(printed.match(/accounts +(\d+)/)[1]);
  assert.equal(heard.length, deliveries / 3, 'as many as each of ringload\'s subscribers');
  for (const payload of heard) assert.deepEqual(Object.keys(payload), ['rl', 'z']);
  assert.equal(new Set(heard.map((payload) => payload.rl)).size, heard.length, 'each is another');
}

/** What a promise comes to within a moment, or an error that says what was awaited. */
const within = (what, promise) =>
  Promise.race([promise, new Promise((_, fail) => setTimeout(fail, 10_000, new Error(`no ${what}`)).unref())]);

test("Socket.IO's server delivers, to its own client too", TIMEOUT, async () => {
  const web = http.createServer();
  const server = new socketio.Server(web, { transports: ['websocket'], pingInterval: 300, pingTimeout: 5_000 });
  server.use((socket, next) => next(socket.handshake.auth.token === 'good' ? undefined : new Error('not authorized')));
  server.on('connection', (socket) => {
    socket.on('subscribe', (topic, acknowledge) => {
      socket.join(topic);
      acknowledge();
    });
    socket.on('publish', (topic, data) => server.to(topic).emit('message', topic, data));
  });
  const host = await listen(web);
  const client = io(`http://${host}`, { transports: ['websocket'], auth: { token: 'good' }, reconnection: false });
  try {
    const heard = [];
    client.on('message', (topic, data) => topic === TOPIC && heard.push(data));
    await within('acknowledgement', client.emitWithAck('subscribe', TOPIC));

    const run = await fanout(host, 'socketio', 'good');
    assertDelivered(run);
    await within('last message', client.emitWithAck('subscribe', 'behind all of them'));
    assertHeard(heard, run.printed);

    const refused = await fanout(host, 'socketio', 'bad');
    assert.equal(refused.code, 2);
    assert.match(refused.said, /refuses to connect: not authorized/);
  } finally {
    client.close();
    server.close();
  }
});

/**
 * A server of Centrifugo's client protocol in JSON (centrifugal.dev/docs/transports/client_protocol), which pings often
 * and keeps what each client says, by the client's token.
 */
async function centrifugo() {
  const web = http.createServer();
  const sockets = new WebSocketServer({ server: web, path: '/connection/websocket' });
  const said = { official: [], good: [] };
  const channels = new Map();
  sockets.on('connection', (socket) => {
    let own = [];
    const replies = {
      connect: ({ token }) => {
        if (!said[token]) return { error: { code: 101, message: 'unauthorized' } };
        const earlier = own;
        own = said[token];
        own.push(...earlier);
        setInterval(() => socket.send('{}'), 100).unref();
        return { connect: { client: 'c', version: '6.0.0', ping: 25, pong: true } };
      },
      subscribe: ({ channel }) => {
        if (!channels.has(channel)) channels.set(channel, new Set());
        channels.get(channel).add(socket);
        return { subscribe: {} };
      },
      publish: ({ channel, data }) => {
        const push = JSON.stringify({ push: { channel, pub: { data } } });
        for (const subscriber of channels.get(channel) ?? []) subscriber.send(push);
        return { publish: {} };
      },
    };
    socket.on('message', (message) => {
      // Several commands in a message are answered in one message.
      const answers = [];
      for (const line of message.toString().split('\n')) {
        own.push(line);
        const { id, ...command } = JSON.parse(line);
        const [method] = Object.keys(command);
        if (method) answers.push(JSON.stringify({ id, ...replies[method](command[method]) }));
      }
      if (answers.length > 0) socket.send(answers.join('\n'));
    });
  });
  const close = () => {
    sockets.clients.forEach((client) => client.terminate());
    web.close();
  };
  return { host: await listen(web), said, close };
}

test("commands of Centrifugo's protocol are those of its official client", TIMEOUT, async () => {
  const server = await centrifugo();
  const url = `ws://${server.host}/connection/websocket`;
  const official = new Centrifuge(url, { websocket: WebSocket, token: 'official', name: 'ringload' });
  try {
    const heard = [];
    const subscription = official.newSubscription(TOPIC);
    subscription.on('publication', ({ data }) => heard.push(data));
    subscription.subscribe();
    official.connect();
    await within('subscription', subscription.ready());

    const run = await fanout(server.host, 'centrifugo', 'good');
    assertDelivered(run);
    const own = server.said.good;
    const published = own.find((command) => command.startsWith('{"publish"'));
    await within('reply', official.publish(TOPIC, JSON.parse(published).publish.data));
    assertHeard(heard.slice(0, -1), run.printed);

    // `"flag":1` asks for numbers instead of channels' names; numbers of commands and tokens are each client's own.
    const plain = (command) => command.replace(',"flag":1', '').replace(/"id":\d+/, '"id":0').replace('official', 'good');
    const kinds = (commands) => new Set(commands.map(plain));
    const [theirs, ours] = [kinds(server.said.official), kinds(own)];
    assert.deepEqual([...theirs].filter((command) => !ours.has(command)), []);
    assert.ok(theirs.size === 4 && ours.has('{}'), [...theirs].join(' '));

    const refused = await fanout(server.host, 'centrifugo', 'bad');
    assert.equal(refused.code, 2);
    assert.match(refused.said, /refuses to connect: 101 unauthorized/);
  } finally {
    official.disconnect();
    server.close();
  }
});
