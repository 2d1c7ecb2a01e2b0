// Publishing with acknowledgements: pipelined, in order, and once.
//
// Each publish has an idempotency key. What was sent and not acknowledged when the connection broke is sent again on the
// next one, before anything newer; the server knows the key if it had it already. So many wait for an answer at most that
// the server still remembers the first of them. Keys that are bound to this connection are published anew on the next one.

import { RingwireError } from './errors.js';
import type { PublishResult } from './messages.js';
import type { Done } from './requests.js';

export interface PublishOptions {
  /** The key, on a keyed topic. */
  key?: string;
  /** Made up if it is not given: 1 to 64 bytes. */
  idempotencyKey?: string;
  /** A number of the publisher's own, handed on to subscribers. */
  sourceSeq?: number;
  /** The key goes when this client goes; it comes back with the connection. */
  bound?: boolean;
}

/** A publish as the protocol has it. */
export interface PublishParams {
  topic: string;
  key?: string;
  data?: unknown;
  base64?: true;
  remove?: true;
  idempotency_key?: string;
  source_seq?: number;
  bound?: true;
}

interface Pending {
  params: PublishParams;
  resolve: (result: PublishResult) => void;
  reject: (error: RingwireError) => void;
}

/** The server remembers the last 1,024 idempotency keys of a topic. */
const UNDERWAY_MAX = 1000;

export class Publisher {
  #next = 0;
  /** What waits to be sent, oldest first. */
  #waiting: Pending[] = [];
  /** What was sent on this connection and not answered, in that order. */
  readonly #underway = new Set<Pending>();
  #underwayMax = UNDERWAY_MAX;
  readonly #bound = new Map<string, PublishParams>();
  #pausedUntil: ReturnType<typeof setTimeout> | null = null;
  #isOpen = false;

  constructor(
    /** Nobody else's keys begin with this. */
    private readonly prefix: string,
    private readonly pendingMax: number,
    private readonly request: (params: PublishParams, done: Done) => void,
  ) {}

  publish(params: PublishParams): Promise<PublishResult> {
    if (this.#waiting.length + this.#underway.size >= this.pendingMax) {
      return Promise.reject(new RingwireError('full', `${this.pendingMax} publishes wait already: await them`, true));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ params: { ...params, idempotency_key: params.idempotency_key ?? this.#key() }, resolve, reject });
      this.#flush();
    });
  }

  /** The session stands. The server takes so many at once. */
  opened(pendingMax: number | undefined): void {
    this.#isOpen = true;
    this.#underwayMax = Math.min(UNDERWAY_MAX, pendingMax ?? UNDERWAY_MAX);
    // Those that wait for an answer are sent again anyway.
    const again = [...this.#bound.values()].map((params): Pending => ({
      params: { ...params, idempotency_key: this.#key() },
      resolve: () => undefined,
      reject: () => undefined,
    }));
    this.#waiting.unshift(...again);
    this.#flush();
  }

  lost(): void {
    this.#isOpen = false;
    this.#resume();
    const again = [...this.#underway];
    this.#underway.clear();
    // A bound key went with the connection, whether it had come about or not: it must not count as known.
    for (const { params } of again) if (params.bound) params.idempotency_key = this.#key();
    this.#waiting.unshift(...again);
  }

  close(error: RingwireError): void {
    this.lost();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #flush(): void {
    while (this.#isOpen && this.#pausedUntil === null && this.#underway.size < this.#underwayMax) {
      const pending = this.#waiting.shift();
      if (!pending) return;
      this.#underway.add(pending);
      this.request(pending.params, (error, result) => this.#answered(pending, error, result as PublishResult));
    }
  }

  #answered(pending: Pending, error: RingwireError | null, result: PublishResult): void {
    // What was lost with its connection is no longer under way, but waits again.
    if (!this.#underway.delete(pending)) return;
    if (error?.retry) {
      this.#waiting.unshift(pending);
      this.#pause(error.afterMs ?? 100);
    } else if (error) {
      pending.reject(error);
    } else {
      this.#remember(pending.params);
      pending.resolve(result);
    }
    this.#flush();
  }

  /** Keeps what is bound, and forgets what no longer is. */
  #remember(params: PublishParams): void {
    const name = `${params.topic}\n${params.key}`;
    this.#bound.delete(name);
    if (params.bound && !params.remove) this.#bound.set(name, params);
  }

  /** Nothing is sent for a while. */
  #pause(ms: number): void {
    this.#pausedUntil ??= setTimeout(() => {
      this.#resume();
      this.#flush();
    }, ms);
  }

  #resume(): void {
    if (this.#pausedUntil !== null) clearTimeout(this.#pausedUntil);
    this.#pausedUntil = null;
  }

  #key(): string {
    return `${this.prefix}-${(this.#next++).toString(36)}`;
  }
}
