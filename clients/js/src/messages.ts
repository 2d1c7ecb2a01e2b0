// The words of `ringwire.json.1`, as they stand on the wire (docs/protocol.md). Nothing here runs.

/** Why entries of a topic do not come. */
export type SkipReason = 'conflated' | 'rate' | 'age';
export type GapReason = 'slow' | 'lost';
export type TopicKind = 'plain' | 'keyed';
export type TopicState = 'new' | 'resumed' | 'reset';

/** A place in a topic: `seq` counts from 1 within one `epoch`. */
export interface Position {
  epoch: string;
  seq: number;
}

/** What was published, on a plain topic (`message`) or under a key (`update`). `ts` is Unix time in microseconds. */
export interface Message<T = unknown> {
  type: 'message';
  topic: string;
  seq: number;
  ts: number;
  source_seq?: number;
  data: T;
}
export interface Update<T = unknown> {
  type: 'update';
  topic: string;
  seq: number;
  ts: number;
  source_seq?: number;
  key: string;
  data: T;
}
/** A key is gone. */
export interface Remove {
  type: 'remove';
  topic: string;
  seq: number;
  ts: number;
  source_seq?: number;
  key: string;
}
/** `count` entries of `from..=to` do not come, on purpose; the others of that range do. */
export interface Skip {
  type: 'skip';
  topic: string;
  from: number;
  to: number;
  count: number;
  why: SkipReason;
}
/** None of `from..=to` comes: they are lost to this subscriber. */
export interface Gap {
  type: 'gap';
  topic: string;
  from: number;
  to: number;
  why: GapReason;
}
/** One key of a snapshot. */
export interface SnapshotEntry<T = unknown> {
  key: string;
  seq: number;
  ts: number;
  data: T;
}
/** A part of a keyed topic's state after entry `seq`. The parts from `first` to `last` together replace what was known. */
export interface Snapshot<T = unknown> {
  type: 'snapshot';
  topic: string;
  epoch: string;
  seq: number;
  first?: boolean;
  last?: boolean;
  data: SnapshotEntry<T>[];
}
/** Delivery of a topic begins behind `seq`. Told for each topic, again after each reconnection. */
export interface Subscribed {
  type: 'subscribed';
  topic: string;
  /** The pattern that matched, where one was subscribed to. */
  pattern?: string;
  id?: number;
  epoch: string;
  seq: number;
  head: number;
  state?: TopicState;
  kind: TopicKind;
}
/** A topic or pattern could not be subscribed to. */
export interface TopicError {
  type: 'error';
  topic: string;
  error: ErrorBody;
}

/** All that a handler of a subscription is given. */
export type TopicEvent<T = unknown> = Message<T> | Update<T> | Remove | Skip | Gap | Snapshot<T> | Subscribed | TopicError;
/** Those of them that the server pushes with a place in the topic. */
export type Push = Message | Update | Remove | Skip | Gap | Snapshot;

export interface Heartbeat {
  type: 'heartbeat';
  ts: number;
  at?: Record<string, number>;
}
/** The server is about to close: come back after `after_ms` and up to `jitter_ms` more. */
export interface GoAway {
  type: 'goaway';
  why: string;
  after_ms?: number;
  jitter_ms?: number;
}

export interface ErrorBody {
  code: number;
  message: string;
  retry?: boolean;
  after_ms?: number;
}
export interface Reply {
  id: number | string;
  result?: unknown;
  error?: ErrorBody;
}
/** A request without an id failed. */
export interface Failure {
  type: 'error';
  error: ErrorBody;
}

export interface Limits {
  topics?: number;
  message_bytes?: number;
  pending_publishes?: number;
}
export interface ConnectResult {
  client: string;
  server: string;
  time: number;
  heartbeat_ms?: number;
  expires?: number;
  limits?: Limits;
}
/** What `subscribe` answers for each topic or pattern. */
export interface SubscribeResult {
  topic: string;
  id?: number;
  epoch?: string;
  seq?: number;
  head?: number;
  state?: TopicState | 'pattern';
  kind?: TopicKind;
  error?: ErrorBody;
}
export interface PublishResult {
  seq: number;
  epoch: string;
  /** It had been published before under this idempotency key. */
  duplicate?: boolean;
}
export interface HistoryResult<T = unknown> {
  topic: string;
  epoch: string;
  items: (Message<T> | Update<T> | Remove)[];
  /** Where to go on; nothing if this was the end. */
  next?: number | null;
  head: number;
}
export interface Member {
  client: string;
  user?: string;
  info?: unknown;
}
export interface PresenceResult {
  topic: string;
  count: number;
  members?: Member[];
}
