// Requests and their answers, by id. An answer is handed on within the call that brought it, so that the pushes behind it
// find what it changed.

import { RingwireError } from './errors.js';
import type { Reply } from './messages.js';

export type Done = (error: RingwireError | null, result: unknown) => void;

interface Pending {
  done: Done;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export class Requests {
  #next = 1;
  readonly #pending = new Map<number, Pending>();

  constructor(private readonly send: (text: string) => void) {}

  /** Sends a request. `done` is called once: with the answer, with the time's end, or when the connection is lost. */
  request(method: string, params: unknown, done: Done, timeoutMs?: number): void {
    const id = this.#next++;
    const late = () => this.#finish(id, new RingwireError('timeout', `${method}: no answer in ${timeoutMs} ms`, true), null);
    this.#pending.set(id, { done, timer: timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs) });
    this.send(JSON.stringify({ id, method, params }));
  }

  /** Takes an answer. One that is late or that nobody asked for is dropped. */
  settle({ id, result, error }: Reply): void {
    this.#finish(Number(id), error ? RingwireError.of(error) : null, result);
  }

  /** Ends all: no answer will come. */
  lost(error: RingwireError): void {
    for (const id of [...this.#pending.keys()]) this.#finish(id, error, null);
  }

  #finish(id: number, error: RingwireError | null, result: unknown): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    pending.done(error, result);
  }
}
