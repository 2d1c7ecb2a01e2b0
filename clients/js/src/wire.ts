// From text to messages and back: what stands on the wire, and nothing of what it means.

import type { Failure, GoAway, Heartbeat, Push, Reply, Subscribed } from './messages.js';
import type { PublishOptions, PublishParams } from './publisher.js';

/** What a server may say, as far as this client knows. */
export type Incoming = (Reply & { type?: never }) | Push | Subscribed | Heartbeat | GoAway | Failure;

/** The objects of a message: one, or several joined by line ends. `null` stands for what is no JSON. */
export function* parse(text: string): Generator<Incoming | null> {
  if (!text.includes('\n')) return yield object(text);
  let lines = '';
  for (const line of text.split('\n')) {
    // Published JSON may have line ends of its own: an object is whole when it parses.
    lines = lines === '' ? line : `${lines}\n${line}`;
    const whole = object(lines);
    if (whole === null) continue;
    lines = '';
    yield whole;
  }
  if (lines.trim() !== '') yield null;
}

function object(text: string): Incoming | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Incoming) : null;
  } catch {
    return null;
  }
}

/** What is published, as `publish` takes it. */
export function payload(data: unknown): { data: unknown; base64?: true } {
  if (!(data instanceof Uint8Array)) return { data: data === undefined ? null : data };
  let text = '';
  for (const byte of data) text += String.fromCharCode(byte);
  return { data: btoa(text), base64: true };
}

export function words({ key, idempotencyKey, sourceSeq, bound }: PublishOptions): Omit<PublishParams, 'topic'> {
  return {
    ...(key === undefined ? {} : { key }),
    ...(idempotencyKey === undefined ? {} : { idempotency_key: idempotencyKey }),
    ...(sourceSeq === undefined ? {} : { source_seq: sourceSeq }),
    ...(bound ? { bound } : {}),
  };
}

export function bytesOfJson(params: PublishParams): number {
  const text = JSON.stringify(params);
  return text.length * 3 < 65_536 ? text.length : new TextEncoder().encode(text).length;
}

/** Bytes travel as base64. */
export function decoded(push: Push): Push {
  if (push.type === 'message' || push.type === 'update') {
    if ((push as { base64?: boolean }).base64) push.data = bytesOf(String(push.data));
  } else if (push.type === 'snapshot') {
    for (const entry of push.data) if ((entry as { base64?: boolean }).base64) entry.data = bytesOf(String(entry.data));
  }
  return push;
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
