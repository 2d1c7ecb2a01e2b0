// How things fail: one class, whose `code` says what happened.

import type { ErrorBody } from './messages.js';

/** A code of the server (400 to 599), or what this side found: the client is `closed`, the time is over (`timeout`), too
 * much waits to be published (`full`), a handler or `getToken` failed (`token`), or the server broke the protocol. */
export type ErrorCode = number | 'closed' | 'timeout' | 'full' | 'token' | 'protocol';

export class RingwireError extends Error {
  override readonly name = 'RingwireError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** Whether trying again later may succeed, */
    readonly retry = false,
    /** and how much later. */
    readonly afterMs?: number,
  ) {
    super(message);
  }

  static of(body: ErrorBody): RingwireError {
    return new RingwireError(body.code, body.message, body.retry === true, body.after_ms);
  }
}
