// The client of ringwire, for browsers and for Node 20 or later. Depends on nothing.

export { Client, type ClientEvents, type ClientOptions } from './client.js';
export { RingwireError, type ErrorCode } from './errors.js';
export type { Account } from './feed.js';
export { KeyedState, type KeyedChange, type KeyedEntry, type KeyedEvents } from './keyed.js';
export type { LinkState, StateDetail } from './link.js';
export type * from './messages.js';
export type { PublishOptions } from './publisher.js';
export type { Handler, SubscribeOptions, Subscription } from './subscription.js';
