// The socket and its life: opening, coming back, going away for good.
//
// A link is `connecting` until its owner says that the session stands (`live`), then `open`; when the socket is lost it is
// `waiting`, and connects again after a time that grows, or when the server asked for it; `closed` is the end. A socket
// that says nothing for three heartbeats is given up, since a dead network closes nothing.

import type { Backoff } from './backoff.js';
import { RingwireError } from './errors.js';

export type LinkState = 'connecting' | 'open' | 'waiting' | 'closed';

/** What a WebSocket has, in browsers, in Node and in the package `ws`. */
export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}
export type SocketConstructor = new (url: string, protocols?: string[]) => Socket;

export interface LinkOwner {
  /** The socket is open: say hello. */
  opened(): void;
  message(text: string): void;
  /** The socket is gone. */
  lost(): void;
  /** The close code says that the token will do no longer; whether there may be another. */
  tokenExpired(): boolean;
  changed(state: LinkState, detail: StateDetail): void;
  /** Nothing was heard for longer than a heartbeat. */
  silent(): void;
}

export interface StateDetail {
  /** The close code that led here. */
  code?: number;
  reason?: string;
  /** While waiting: how long. */
  retryInMs?: number;
}

/** From the first packet to a session. */
const OPENING_MS = 15_000;
/** A session that stood this long was a good one: the next wait is short again. */
const STABLE_MS = 10_000;
/** Close codes after which the same would happen again. */
const FINAL = new Map([
  [1000, 'the server closed the connection'],
  [1002, 'the server found a fault in the protocol'],
  [1003, 'the server does not take such messages'],
  [1007, 'the server found text that is not UTF-8'],
  [1008, 'the server refuses what was sent'],
  [1009, 'a message was too long for the server'],
  [1010, 'the server lacks an extension'],
  [4003, 'the server forbids it'],
]);
const TOKEN_EXPIRED = 4001;
const FLOOD = 4029;

export class Link {
  state: LinkState = 'connecting';
  #socket: Socket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #heardAt = 0;
  #liveAt = Infinity;
  #goAway: { afterMs: number; jitterMs: number } | null = null;

  constructor(
    private readonly url: string,
    private readonly protocol: string,
    private readonly WebSocket: SocketConstructor,
    private readonly backoff: Backoff,
    private readonly owner: LinkOwner,
  ) {}

  /** Connects now. */
  open(): void {
    if (this.state === 'closed') return;
    clearTimeout(this.#timer);
    this.#change('connecting', {});
    let socket: Socket;
    try {
      socket = new this.WebSocket(this.url, [this.protocol]);
    } catch (error) {
      return this.end(new RingwireError('protocol', `${this.url}: ${String(error)}`));
    }
    this.#socket = socket;
    socket.onopen = () => this.owner.opened();
    socket.onmessage = ({ data }: { data: unknown }) => {
      this.#heardAt = performance.now();
      if (typeof data === 'string') this.owner.message(data);
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#lost(code, reason);
    socket.onerror = () => undefined; // A close always follows.
    this.#timer = setTimeout(() => this.abandon('no answer in time'), OPENING_MS);
  }

  /** The session stands. With a heartbeat, silence is noticed from now on. */
  live(heartbeatMs: number | undefined): void {
    clearTimeout(this.#timer);
    this.#goAway = null;
    this.#liveAt = this.#heardAt = performance.now();
    if (heartbeatMs) this.#watch = setInterval(() => this.#listen(heartbeatMs), heartbeatMs);
    this.#change('open', {});
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  /** The server will close: the next wait is the one it asks for. */
  goAway(afterMs: number, jitterMs: number): void {
    this.#goAway = { afterMs, jitterMs };
  }

  /** Leaves this socket as if it had broken, without waiting for its end. */
  abandon(reason: string, afterMs?: number): void {
    const socket = this.#socket;
    if (afterMs !== undefined) this.goAway(afterMs, 0);
    this.#lost(1006, reason);
    socket?.close();
  }

  /** Ends for good; because of `error`, if there is one. */
  end(error?: RingwireError): void {
    if (this.state === 'closed') return;
    const socket = this.#socket;
    this.#forget();
    this.#change('closed', error ? { reason: error.message } : {});
    socket?.close(1000);
  }

  /** Connects now if it was waiting to. */
  hurry(): void {
    if (this.state === 'waiting') this.open();
  }

  #lost(code: number, reason: string): void {
    this.#forget();
    this.owner.lost();
    if (this.state === 'closed') return;
    const final = code === TOKEN_EXPIRED && !this.owner.tokenExpired() ? 'the token has expired' : FINAL.get(code);
    if (final !== undefined) return this.#change('closed', { code, reason: reason || final });
    const retryInMs = this.#wait(code);
    this.#change('waiting', { code, reason, retryInMs });
    this.#timer = setTimeout(() => this.open(), retryInMs);
  }

  #wait(code: number): number {
    if (performance.now() - this.#liveAt >= STABLE_MS) this.backoff.reset();
    this.#liveAt = Infinity;
    const asked = this.#goAway;
    this.#goAway = null;
    if (asked) return this.backoff.asked(asked.afterMs, asked.jitterMs);
    return code === FLOOD ? this.backoff.long() : this.backoff.next();
  }

  #listen(heartbeatMs: number): void {
    const silentMs = performance.now() - this.#heardAt;
    if (silentMs > 2.5 * heartbeatMs) this.abandon('the server is silent');
    else if (silentMs > 1.2 * heartbeatMs) this.owner.silent();
  }

  #forget(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
  }

  #change(state: LinkState, detail: StateDetail): void {
    this.state = state;
    this.owner.changed(state, detail);
  }
}
