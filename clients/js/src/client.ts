// The client: one connection that comes back, and what goes over it. See docs/clients.md for how to use it.

import { Backoff, type BackoffOptions } from './backoff.js';
import { Emitter } from './emitter.js';
import { RingwireError } from './errors.js';
import type { Account } from './feed.js';
import { KeyedState } from './keyed.js';
import { Link, type LinkState, type SocketConstructor, type StateDetail } from './link.js';
import type { ConnectResult, GoAway, HistoryResult, PresenceResult, PublishResult } from './messages.js';
import { Publisher, type PublishOptions, type PublishParams } from './publisher.js';
import { Requests, type Done } from './requests.js';
import { Subscription, type Handler, type SubscribeOptions } from './subscription.js';
import { bytesOfJson, parse, payload, words, type Incoming } from './wire.js';

export interface ClientOptions {
  /** A token that lasts. */
  token?: string;
  /** Gives a token, now and whenever the last one has expired or is about to. */
  getToken?: () => string | Promise<string>;
  /** What the server shows this client as. */
  name?: string;
  /** The class of sockets where there is no global one, such as that of the package `ws`. */
  WebSocket?: unknown;
  /** Waits before coming back; 250 ms to 20 s unless given. */
  backoff?: Partial<BackoffOptions>;
  /** How long a request other than a publish may take: 10 s unless given. */
  requestTimeoutMs?: number;
  /** How many publishes may wait for their acknowledgement: 10,000 unless given. */
  pendingMax?: number;
  /** From 0 to 1; `Math.random` unless given. */
  random?: () => number;
}

export interface ClientEvents {
  state: StateDetail & { state: LinkState };
  /** What no promise tells: a request without an answer failed, no token could be had, the server said what it may not. */
  error: RingwireError;
  goaway: GoAway;
}

const PROTOCOL = 'ringwire.json.1';
/** No timer runs longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export class Client extends Emitter<ClientEvents> {
  /** What the server said when the session began; nothing before that. */
  session: ConnectResult | null = null;
  /** What came so far, on all connections: texts, and their characters. */
  readonly received = { texts: 0, characters: 0 };
  readonly #options: ClientOptions;
  readonly #link: Link;
  readonly #requests: Requests;
  readonly #publisher: Publisher;
  readonly #backoff: () => Backoff;
  readonly #subscriptions = new Set<Subscription>();
  /** The subscription of each topic, pattern, and topic that a pattern matched. */
  readonly #owners = new Map<string, Subscription>();
  /** Requests that came while there was no connection, or that lost theirs. */
  readonly #deferred = new Set<() => void>();
  #token: string | undefined;
  #refresh: ReturnType<typeof setTimeout> | undefined;
  /** The server's clock less this machine's, in milliseconds. */
  #serverClockMs = 0;
  /** Counts sockets: what began on an earlier one is dropped. */
  #generation = 0;

  /** Connects to `url`, as `wss://example.com/connect`, and comes back until `close`. */
  constructor(url: string, options: ClientOptions = {}) {
    super();
    this.#options = options;
    this.#token = options.token;
    const random = options.random ?? Math.random;
    this.#backoff = () => new Backoff({ leastMs: 250, mostMs: 20_000, ...options.backoff }, random);
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) throw new TypeError('there is no global WebSocket here: pass one, as { WebSocket } of the package ws');
    this.#link = new Link(url, PROTOCOL, WebSocket as SocketConstructor, this.#backoff(), {
      opened: () => void this.#hello(),
      message: (text) => this.#receive(text),
      lost: () => this.#lost(),
      tokenExpired: () => this.#forgetToken(),
      changed: (state, detail) => this.#changed(state, detail),
      silent: () => this.#requests.request('ping', {}, () => undefined),
    });
    this.#requests = new Requests((text) => this.#link.send(text));
    this.#publisher = new Publisher(unique(random), options.pendingMax ?? 10_000, (params, done) => this.#sendPublish(params, done));
    // Listeners that are set in this turn hear of the first attempt.
    queueMicrotask(() => this.#link.open());
  }

  get state(): LinkState {
    return this.#link.state;
  }

  /** Subscribes to topics and patterns. `handler` is called with everything that comes, in order, on each connection. */
  subscribe<T = unknown>(topics: string | readonly string[], options: SubscribeOptions, handler: Handler<T>): Subscription {
    const names = typeof topics === 'string' ? [topics] : [...topics];
    const twice = names.find((name, index) => this.#owners.has(name) || names.indexOf(name) !== index);
    if (twice !== undefined) throw new RingwireError(409, `${twice} is subscribed to already: one handler for each`);
    const host = {
      link: this.#link,
      get isOpen() {
        return this.link.state === 'open';
      },
      request: (method: string, params: unknown, done: Done) => this.#requests.request(method, params, done),
      own: (topic: string, subscription: Subscription) => void this.#owners.set(topic, subscription),
      release: (subscription: Subscription) => this.#release(subscription),
    };
    const subscription = new Subscription(names, options, handler as Handler, host, this.#backoff());
    this.#subscriptions.add(subscription);
    for (const name of names) this.#owners.set(name, subscription);
    if (this.state === 'closed') subscription.close(new RingwireError('closed', 'the client is closed'));
    else if (this.state === 'open') subscription.start();
    return subscription;
  }

  /** Subscribes to one keyed topic and keeps its state. */
  keyed<T = unknown>(topic: string, options: SubscribeOptions = {}): KeyedState<T> & { subscription: Subscription } {
    const state = new KeyedState<T>();
    return Object.assign(state, { subscription: this.subscribe<T>(topic, options, state.apply) });
  }

  /** Publishes: JSON, or bytes. Resolves when the server has it (on a persistent topic: on disk, as that is configured). */
  publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<PublishResult> {
    return this.#publish({ topic, ...payload(data), ...words(options) });
  }

  /** Removes a key of a keyed topic. */
  remove(topic: string, key: string, options: Omit<PublishOptions, 'key' | 'bound'> = {}): Promise<PublishResult> {
    return this.#publish({ topic, remove: true, ...words({ ...options, key }) });
  }

  /** Publishes if there is a connection now, without an answer; whether it was sent. */
  send(topic: string, data: unknown, options: PublishOptions = {}): boolean {
    if (this.state !== 'open') return false;
    this.#link.send(JSON.stringify({ method: 'publish', params: { topic, ...payload(data), ...words(options) } }));
    return true;
  }

  /** Entries that the topic still has, from `from` on. */
  history<T = unknown>(topic: string, range: { from?: number; limit?: number } = {}): Promise<HistoryResult<T>> {
    return this.#ask('history', { topic, ...range });
  }

  presence(topic: string): Promise<PresenceResult> {
    return this.#ask('presence', { topic });
  }

  /** The way to the server and back, in milliseconds, and the server's time in microseconds. */
  async ping(): Promise<{ time: number; roundTripMs: number }> {
    const begun = performance.now();
    const { time } = await this.#ask<{ time: number }>('ping', {});
    return { time, roundTripMs: performance.now() - begun };
  }

  /** What became of the entries of all topics, as this side counts. */
  account(): Account[] {
    return [...this.#subscriptions].flatMap((subscription) => subscription.account());
  }

  /** The same as the server counts, since this connection began. */
  serverAccount(): Promise<(Omit<Account, 'balanced'> & { pending: number })[]> {
    return this.#ask('account', {});
  }

  /** Does not wait any longer before it comes back: call it when the network is there again. */
  reconnect(): void {
    this.#link.hurry();
  }

  /** Ends for good. What waits for an answer is rejected. */
  close(): void {
    this.#link.end();
  }

  #publish(params: PublishParams): Promise<PublishResult> {
    if (this.state === 'closed') return Promise.reject(new RingwireError('closed', 'the client is closed'));
    const most = this.session?.limits?.message_bytes;
    if (most !== undefined && bytesOfJson(params) > most) {
      return Promise.reject(new RingwireError(413, `a publish to ${params.topic} is over the server's ${most} bytes`));
    }
    return this.#publisher.publish(params);
  }

  #sendPublish(params: PublishParams, done: Done): void {
    this.#requests.request('publish', params, done);
  }

  /** A question that may be asked again: on the next connection, if this one is lost. */
  #ask<Result>(method: string, params: unknown): Promise<Result> {
    const timeoutMs = this.#options.requestTimeoutMs ?? 10_000;
    return new Promise((resolve, reject) => {
      const finish = (error: RingwireError | null, result: unknown) => {
        if (error?.code === 'closed' && this.state !== 'closed') return void this.#deferred.add(ask);
        clearTimeout(timer);
        this.#deferred.delete(ask);
        if (error) reject(error);
        else resolve(result as Result);
      };
      const ask = () => this.#requests.request(method, params, finish);
      const late = () => finish(new RingwireError('timeout', `${method}: no answer in ${timeoutMs} ms`, true), null);
      const timer = setTimeout(late, timeoutMs);
      if (this.state === 'closed') finish(new RingwireError('closed', 'the client is closed'), null);
      else if (this.state === 'open') ask();
      else this.#deferred.add(ask);
    });
  }

  /** The first words on a socket. The session stands with the answer. */
  async #hello(): Promise<void> {
    const generation = this.#generation;
    let token: string | undefined;
    try {
      token = this.#token ??= await this.#options.getToken?.();
    } catch (error) {
      if (generation !== this.#generation) return;
      this.emit('error', new RingwireError('token', `no token: ${String(error)}`, true));
      return this.#link.abandon('no token');
    }
    if (generation !== this.#generation) return;
    const { name } = this.#options;
    const params = { ...(token === undefined ? {} : { token }), ...(name === undefined ? {} : { name }) };
    this.#requests.request('connect', params, (error, result) => {
      if (generation !== this.#generation) return;
      if (error) this.#refused(error);
      else this.#begin(result as ConnectResult);
    });
  }

  #begin(session: ConnectResult): void {
    this.session = session;
    this.#serverClockMs = session.time / 1000 - performance.now();
    this.#planRefresh(session.expires);
    this.#link.live(session.heartbeat_ms);
    for (const subscription of this.#subscriptions) subscription.start();
    this.#publisher.opened(session.limits?.pending_publishes);
    const deferred = [...this.#deferred];
    this.#deferred.clear();
    for (const ask of deferred) ask();
  }

  /** The server does not let this client in: for now, with this token, or at all. */
  #refused(error: RingwireError): void {
    const again = error.retry || (error.code === 401 && this.#forgetToken());
    if (again) return this.#link.abandon(error.message, error.afterMs);
    this.emit('error', error);
    this.#link.end(error);
  }

  #forgetToken(): boolean {
    if (!this.#options.getToken) return false;
    this.#token = undefined;
    return true;
  }

  /** Sends a new token when four fifths of the time are over. */
  #planRefresh(expires: number | undefined): void {
    clearTimeout(this.#refresh);
    if (expires === undefined || !this.#options.getToken) return;
    const leftMs = expires / 1000 - this.#serverClockMs - performance.now();
    const waitMs = Math.min(TIMER_MS_MAX, Math.max(0, leftMs * 0.8));
    this.#refresh = setTimeout(() => void this.#sendRefresh(), waitMs);
  }

  async #sendRefresh(): Promise<void> {
    const generation = this.#generation;
    try {
      const token = await this.#options.getToken!();
      if (generation !== this.#generation) return;
      this.#token = token;
      const { expires } = await this.#ask<{ expires?: number }>('refresh', { token });
      if (generation === this.#generation) this.#planRefresh(expires);
    } catch (error) {
      // The server closes with 4001 when the time is over, and then a token is asked for again.
      this.emit('error', new RingwireError('token', `the token was not refreshed: ${String(error)}`, true));
    }
  }

  #lost(): void {
    this.#generation += 1;
    clearTimeout(this.#refresh);
    this.#publisher.lost();
    for (const subscription of this.#subscriptions) subscription.lost();
    this.#requests.lost(new RingwireError('closed', 'the connection was lost', true));
  }

  #changed(state: LinkState, detail: StateDetail): void {
    if (state === 'closed') this.#end(new RingwireError('closed', detail.reason ?? 'the client is closed'));
    this.emit('state', { state, ...detail });
  }

  #end(error: RingwireError): void {
    this.#generation += 1;
    clearTimeout(this.#refresh);
    this.#publisher.close(error);
    for (const subscription of this.#subscriptions) subscription.close(error);
    this.#requests.lost(error);
    const deferred = [...this.#deferred];
    this.#deferred.clear();
    for (const ask of deferred) ask(); // Each is refused at once, since nothing is sent any more.
    this.#requests.lost(error);
  }

  #release(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
    for (const [name, owner] of this.#owners) if (owner === subscription) this.#owners.delete(name);
  }

  #receive(text: string): void {
    this.received.texts += 1;
    this.received.characters += text.length;
    for (const message of parse(text)) {
      if (message === null) this.emit('error', new RingwireError('protocol', 'the server sent what is no JSON'));
      else this.#dispatch(message);
    }
  }

  #dispatch(message: Incoming): void {
    if ('id' in message && !('type' in message)) return this.#requests.settle(message);
    switch (message.type) {
      case 'message':
      case 'update':
      case 'remove':
      case 'skip':
      case 'gap':
      case 'snapshot':
        return this.#owners.get(message.topic)?.push(message);
      case 'subscribed':
        return this.#owners.get(message.pattern ?? message.topic)?.matched(message);
      case 'heartbeat':
        for (const [topic, seq] of Object.entries(message.at ?? {})) this.#owners.get(topic)?.reached(topic, seq);
        return;
      case 'goaway':
        this.#link.goAway(message.after_ms ?? 0, message.jitter_ms ?? 0);
        return this.emit('goaway', message);
      case 'error':
        return this.emit('error', RingwireError.of(message.error));
      default: // What later servers say is not for us.
    }
  }
}

/** A name that no other client has. */
function unique(random: () => number): string {
  const values = globalThis.crypto?.getRandomValues(new Uint32Array(3)) ?? Array.from({ length: 3 }, () => random() * 2 ** 32);
  return Array.from(values, (value) => Math.floor(value).toString(36)).join('');
}
