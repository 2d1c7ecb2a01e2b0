// The state of a keyed topic: a map that snapshots, updates and removes keep as it is on the server.

import { Emitter } from './emitter.js';
import type { Remove, Snapshot, SnapshotEntry, TopicEvent, Update } from './messages.js';

export interface KeyedEntry<T> {
  data: T;
  seq: number;
  /** Unix time in microseconds. */
  ts: number;
}

export type KeyedChange<T> =
  | { type: 'set'; key: string; data: T; previous: T | undefined; seq: number; ts: number }
  | { type: 'remove'; key: string; previous: T; seq: number };

export interface KeyedEvents<T> {
  /** One key has changed. A snapshot makes one for each key that it changes. */
  change: KeyedChange<T>;
  /** A snapshot has been applied, or the state was resumed: it is whole. */
  ready: undefined;
}

export class KeyedState<T = unknown> extends Emitter<KeyedEvents<T>> {
  readonly #entries = new Map<string, KeyedEntry<T>>();
  /** The parts of a snapshot that have come. The map stays as it is until the last one is here. */
  #arriving: Map<string, SnapshotEntry<T>> | null = null;
  #isReady = false;

  /** Whether it is the whole state. `false` before the first snapshot, and from a gap to the next. */
  get isReady(): boolean {
    return this.#isReady;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key)?.data;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** An entry with its place and time. */
  entry(key: string): Readonly<KeyedEntry<T>> | undefined {
    return this.#entries.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#entries.keys();
  }

  *[Symbol.iterator](): IterableIterator<[string, T]> {
    for (const [key, { data }] of this.#entries) yield [key, data];
  }

  /** Takes an event of the topic; the handler of a subscription to one topic. */
  readonly apply = (event: TopicEvent<T>): void => {
    switch (event.type) {
      case 'subscribed':
        return this.#begin(event.state === 'resumed');
      case 'snapshot':
        return this.#snapshot(event);
      case 'update':
        return this.#set(event);
      case 'remove':
        return this.#remove(event);
      case 'gap':
        this.#isReady = false;
        return;
      default:
        return;
    }
  };

  /** What was known stays to be looked at until the snapshot replaces it. */
  #begin(isResumed: boolean): void {
    this.#arriving = null;
    this.#isReady = isResumed;
    if (isResumed) this.emit('ready', undefined);
  }

  #snapshot({ first, last, data }: Snapshot<T>): void {
    if (first || !this.#arriving) this.#arriving = new Map();
    for (const entry of data) this.#arriving.set(entry.key, entry);
    if (!last) return;
    const whole = this.#arriving;
    this.#arriving = null;
    for (const [key, { seq }] of [...this.#entries]) {
      if (!whole.has(key)) this.#remove({ key, seq });
    }
    for (const entry of whole.values()) {
      if (this.#entries.get(entry.key)?.seq !== entry.seq) this.#set(entry);
    }
    this.#isReady = true;
    this.emit('ready', undefined);
  }

  #set({ key, data, seq, ts }: Update<T> | SnapshotEntry<T>): void {
    const previous = this.#entries.get(key)?.data;
    this.#entries.set(key, { data, seq, ts });
    this.emit('change', { type: 'set', key, data, previous, seq, ts });
  }

  #remove({ key, seq }: Pick<Remove, 'key' | 'seq'>): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.emit('change', { type: 'remove', key, previous: entry.data, seq });
  }
}
