// The server under test as a child process. $RINGWIRE_BIN names the binary.
//
// A server is ready when `start` resolves, and gone when `stop` or `kill` resolves. Each wait has a limit.
'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');

const START_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 20_000;

/** `ringwire serve` with these arguments, on a port that the kernel picks unless `listen` names one. */
async function start(args = [], { listen = '127.0.0.1:0' } = {}) {
  const binary = process.env.RINGWIRE_BIN;
  if (!binary) throw new Error('RINGWIRE_BIN must name the ringwire binary: run `cargo xtask test --only node`');
  const feed = args.includes('--feed') ? [] : ['--feed', 'none'];
  const child = spawn(binary, ['serve', '--listen', listen, ...feed, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  try {
    const said = await ready(child, exited);
    const [, s, address] = /http(s?):\/\/([0-9.:[\]]+)/.exec(said);
    return new Server(child, exited, s, address);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

class Server {
  constructor(child, exited, s, address) {
    this.child = child;
    /** What makes the schemes of an encrypted server: wss, https. */
    this.s = s;
    this.exited = exited;
    /** HOST:PORT. */
    this.address = address;
  }

  ws(path) {
    return `ws${this.s}://${this.address}${path}`;
  }

  http(path) {
    return `http${this.s}://${this.address}${path}`;
  }

  /** Asks the server to drain; resolves to its exit code. */
  async stop() {
    this.child.kill('SIGTERM');
    const [code] = await within(STOP_LIMIT_MS, this.exited, 'the server did not end on SIGTERM');
    return code;
  }

  /** Ends the server at once. */
  async kill() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await within(STOP_LIMIT_MS, this.exited, 'the server did not end on SIGKILL');
  }
}

/** Resolves to what the server said, once it has said `ready`. */
function ready(child, exited) {
  let said = '';
  const ended = exited.then(([code, signal]) => {
    throw new Error(`the server ended (${code ?? signal}) before it was ready:\n${said}`);
  });
  const spoke = new Promise((resolve, reject) => {
    child.once('error', reject);
    // Reading goes on for as long as the server runs, so that its pipes never fill.
    child.stderr.on('data', (chunk) => (said += chunk));
    child.stdout.on('data', (chunk) => {
      said += chunk;
      if (/^ready$/m.test(said)) resolve(said);
    });
  });
  return within(START_LIMIT_MS, Promise.race([spoke, ended]), 'the server was not ready in time');
}

/** The promise, or a rejection with these words after so many milliseconds. */
function within(limitMs, promise, words) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${words} (${limitMs} ms)`)), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

module.exports = { start, within };
