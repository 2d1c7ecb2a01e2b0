// How long to wait before the next attempt: exponential, with full jitter, so that clients which lost a server together
// do not come back together.

export interface BackoffOptions {
  /** The first wait is up to this long, each further one up to twice as long as the one before. */
  leastMs: number;
  /** No wait is longer. */
  mostMs: number;
}

export class Backoff {
  #attempts = 0;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number,
  ) {}

  /** The next wait in milliseconds. */
  next(): number {
    const most = Math.min(this.options.mostMs, this.options.leastMs * 2 ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 30);
    return this.random() * most;
  }

  /** A wait for who was too fast: at least half of the longest. */
  long(): number {
    this.#attempts = 30;
    return (this.options.mostMs * (1 + this.random())) / 2;
  }

  /** A wait that the server asks for. */
  asked(afterMs: number, jitterMs = 0): number {
    return afterMs + this.random() * jitterMs;
  }

  reset(): void {
    this.#attempts = 0;
  }
}
