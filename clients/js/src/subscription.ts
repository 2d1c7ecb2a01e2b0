// One call of `subscribe`: some topics and patterns, their options, one handler. It begins again on each connection, where
// it stopped; topics that a pattern matched are resumed one by one.

import type { Backoff } from './backoff.js';
import { guarded } from './emitter.js';
import { RingwireError } from './errors.js';
import { Feed, type Account } from './feed.js';
import type { Gap, Position, Push, Subscribed, SubscribeResult, TopicEvent } from './messages.js';
import { decoded } from './wire.js';

export interface SubscribeOptions {
  /** `latest`: entries that a later one of their key replaces may be skipped. */
  mode?: 'all' | 'latest';
  /** At most so many pushes a second for each key. */
  rate?: number;
  /** What is further behind than this is conflated (keyed) or skipped (plain). */
  maxAgeMs?: number;
  /** Where to begin, by topic. */
  since?: Record<string, Position>;
  /** Begin so many entries before the head, as far as they are kept. */
  history?: number;
  /** `false`: a keyed topic begins without its state. */
  snapshot?: boolean;
  /** What presence shows of this subscriber, at most 1 KiB as JSON. */
  info?: unknown;
}

export type Handler<T = unknown> = (event: TopicEvent<T>) => void;

/** What a subscription needs of its client. */
export interface Host {
  readonly isOpen: boolean;
  request(method: string, params: unknown, done: (error: RingwireError | null, result: unknown) => void): void;
  /** A topic that a pattern matched belongs to this subscription. */
  own(topic: string, subscription: Subscription): void;
  release(subscription: Subscription): void;
}

export class Subscription {
  /** What the server said to the first request, by topic or pattern. Rejects if it never came about. */
  readonly ready: Promise<SubscribeResult[]>;
  readonly #feeds = new Map<string, Feed>();
  /** Topics whose delivery stands on this connection. What comes of others is of a subscription that has ended. */
  readonly #live = new Set<string>();
  /** Counts beginnings: answers to an earlier one are ignored. */
  #round = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ended = false;
  #settle!: { resolve: (results: SubscribeResult[]) => void; reject: (error: RingwireError) => void };

  constructor(
    readonly names: readonly string[],
    private readonly options: SubscribeOptions,
    private readonly handler: Handler,
    private readonly host: Host,
    private readonly backoff: Backoff,
  ) {
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.ready.catch(() => undefined); // Whoever wants to know asks.
  }

  /** What became of each topic's entries. */
  account(): Account[] {
    return [...this.#feeds.values()].map((feed) => feed.account());
  }

  /** Where each topic stands: the `since` of another subscription. Topics without a whole state are left out. */
  positions(): Record<string, Position> {
    const positions: Record<string, Position> = {};
    for (const feed of this.#feeds.values()) {
      const position = feed.position();
      if (position) positions[feed.topic] = position;
    }
    return positions;
  }

  /** Ends it. Nothing is handed on any more; the accounts stay as they are. */
  unsubscribe(): void {
    if (this.#ended) return;
    this.close(new RingwireError('closed', 'unsubscribed'));
    this.host.release(this);
    if (this.host.isOpen) this.host.request('unsubscribe', this.names, () => undefined);
  }

  /** Begins on a connection. */
  start(names: readonly string[] = this.names): void {
    const round = ++this.#round;
    const { maxAgeMs, since, history, ...plain } = this.options;
    const positions = { ...since, ...this.positions() };
    const params = {
      topics: names,
      ...plain,
      ...(maxAgeMs === undefined ? {} : { max_age_ms: maxAgeMs }),
      ...(history === undefined || this.#feeds.size > 0 ? {} : { history }),
      ...(Object.keys(positions).length > 0 ? { since: positions } : {}),
    };
    this.host.request('subscribe', params, (error, result) => {
      if (this.#ended || round !== this.#round) return;
      if (error) this.#refused(names, error);
      else this.#answered(result as SubscribeResult[]);
    });
  }

  /** The connection is gone. */
  lost(): void {
    this.backoff.reset();
    this.#stop();
  }

  /** What still comes is of an earlier beginning. */
  #stop(): void {
    this.#round += 1;
    this.#live.clear();
    clearTimeout(this.#retry);
  }

  /** Nothing will come any more. */
  close(error: RingwireError): void {
    this.#ended = true;
    this.lost();
    this.#settle.reject(error);
  }

  /** A pattern matched a topic. */
  matched(push: Subscribed): void {
    this.host.own(push.topic, this);
    this.#begin(push);
  }

  /** Takes a push of one of its topics. */
  push(push: Push): void {
    const feed = this.#feeds.get(push.topic);
    if (!feed || !this.#live.has(push.topic)) return;
    const verdict = feed.accept(push);
    if (verdict === 'deliver') this.#hand(decoded(push));
    if (verdict === 'broken') this.#restart();
  }

  /** The server has sent everything of a topic up to `seq`. */
  reached(topic: string, seq: number): void {
    const feed = this.#feeds.get(topic);
    if (!feed || feed.incomplete || !this.#live.has(topic)) return;
    if (seq > feed.last) this.#restart();
    else this.backoff.reset();
  }

  #answered(results: SubscribeResult[]): void {
    const again: string[] = [];
    let afterMs = 0;
    for (const { topic, state, epoch = '', seq = 0, head = seq, kind = 'plain', error } of results) {
      if (error) {
        this.#hand({ type: 'error', topic, error });
        if (error.retry) again.push(topic);
        afterMs = Math.max(afterMs, error.after_ms ?? 0);
      } else if (state !== 'pattern') {
        this.#begin({ type: 'subscribed', topic, epoch, seq, head, kind, state: state ?? 'new' });
      }
    }
    if (again.length > 0) this.#later(() => this.start(again), afterMs + this.backoff.next());
    this.#settle.resolve(results);
  }

  #begin(push: Subscribed): void {
    const { topic, epoch, seq, head, kind } = push;
    const feed = this.#feeds.get(topic) ?? new Feed(topic, this.options.snapshot !== false);
    const known = feed.position();
    const state = push.state ?? (known?.epoch === epoch && known.seq === seq ? 'resumed' : 'new');
    this.#feeds.set(topic, feed);
    this.#live.add(topic);
    const gap: Gap | null = feed.begin({ epoch, seq, head, kind, state });
    this.#hand({ ...push, state });
    if (gap) this.#hand(gap);
  }

  /** Something of a topic is missing, and nobody said so: all begins again, behind what is known. */
  #restart(): void {
    this.#stop();
    const again = () => {
      this.host.request('unsubscribe', this.names, () => undefined);
      this.start();
    };
    this.#later(again, this.backoff.next());
  }

  #refused(names: readonly string[], error: RingwireError): void {
    for (const topic of names) this.#hand({ type: 'error', topic, error: bodyOf(error) });
    if (error.retry) this.#later(() => this.start(names), (error.afterMs ?? 0) + this.backoff.next());
    else this.#settle.reject(error);
  }

  #later(run: () => void, afterMs: number): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.host.isOpen && run(), afterMs);
  }

  #hand(event: TopicEvent): void {
    guarded(() => this.handler(event));
  }
}

function bodyOf({ code, message, retry }: RingwireError): { code: number; message: string; retry?: boolean } {
  return { code: typeof code === 'number' ? code : 0, message, ...(retry ? { retry } : {}) };
}
