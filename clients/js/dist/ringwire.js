// ringwire: the client, made from clients/js/src by `node build.js`. MIT OR Apache-2.0

// src/backoff.ts
var Backoff = class {
  constructor(options, random) {
    this.options = options;
    this.random = random;
  }
  options;
  random;
  #attempts = 0;
  /** The next wait in milliseconds. */
  next() {
    const most = Math.min(this.options.mostMs, this.options.leastMs * 2 ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 30);
    return this.random() * most;
  }
  /** A wait for who was too fast: at least half of the longest. */
  long() {
    this.#attempts = 30;
    return this.options.mostMs * (1 + this.random()) / 2;
  }
  /** A wait that the server asks for. */
  asked(afterMs, jitterMs = 0) {
    return afterMs + this.random() * jitterMs;
  }
  reset() {
    this.#attempts = 0;
  }
};

// src/emitter.ts
var Emitter = class {
  #listeners = /* @__PURE__ */ new Map();
  /** Calls `listener` with each event of this name; the function that is returned ends that. */
  on(name, listener) {
    const set = this.#listeners.get(name) ?? /* @__PURE__ */ new Set();
    this.#listeners.set(name, set.add(listener));
    return () => void set.delete(listener);
  }
  emit(name, event) {
    for (const listener of this.#listeners.get(name) ?? []) guarded(() => listener(event));
  }
};
function guarded(run) {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

// src/errors.ts
var RingwireError = class _RingwireError extends Error {
  constructor(code, message, retry = false, afterMs) {
    super(message);
    this.code = code;
    this.retry = retry;
    this.afterMs = afterMs;
  }
  code;
  retry;
  afterMs;
  name = "RingwireError";
  static of(body) {
    return new _RingwireError(body.code, body.message, body.retry === true, body.after_ms);
  }
};

// src/keyed.ts
var KeyedState = class extends Emitter {
  #entries = /* @__PURE__ */ new Map();
  /** The parts of a snapshot that have come. The map stays as it is until the last one is here. */
  #arriving = null;
  #isReady = false;
  /** Whether it is the whole state. `false` before the first snapshot, and from a gap to the next. */
  get isReady() {
    return this.#isReady;
  }
  get size() {
    return this.#entries.size;
  }
  get(key) {
    return this.#entries.get(key)?.data;
  }
  has(key) {
    return this.#entries.has(key);
  }
  /** An entry with its place and time. */
  entry(key) {
    return this.#entries.get(key);
  }
  keys() {
    return this.#entries.keys();
  }
  *[Symbol.iterator]() {
    for (const [key, { data }] of this.#entries) yield [key, data];
  }
  /** Takes an event of the topic; the handler of a subscription to one topic. */
  apply = (event) => {
    switch (event.type) {
      case "subscribed":
        return this.#begin(event.state === "resumed");
      case "snapshot":
        return this.#snapshot(event);
      case "update":
        return this.#set(event);
      case "remove":
        return this.#remove(event);
      case "gap":
        this.#isReady = false;
        return;
      default:
        return;
    }
  };
  /** What was known stays to be looked at until the snapshot replaces it. */
  #begin(isResumed) {
    this.#arriving = null;
    this.#isReady = isResumed;
    if (isResumed) this.emit("ready", void 0);
  }
  #snapshot({ first, last, data }) {
    if (first || !this.#arriving) this.#arriving = /* @__PURE__ */ new Map();
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
    this.emit("ready", void 0);
  }
  #set({ key, data, seq, ts }) {
    const previous = this.#entries.get(key)?.data;
    this.#entries.set(key, { data, seq, ts });
    this.emit("change", { type: "set", key, data, previous, seq, ts });
  }
  #remove({ key, seq }) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.emit("change", { type: "remove", key, previous: entry.data, seq });
  }
};

// src/link.ts
var OPENING_MS = 15e3;
var STABLE_MS = 1e4;
var FINAL = /* @__PURE__ */ new Map([
  [1e3, "the server closed the connection"],
  [1002, "the server found a fault in the protocol"],
  [1003, "the server does not take such messages"],
  [1007, "the server found text that is not UTF-8"],
  [1008, "the server refuses what was sent"],
  [1009, "a message was too long for the server"],
  [1010, "the server lacks an extension"],
  [4003, "the server forbids it"]
]);
var TOKEN_EXPIRED = 4001;
var FLOOD = 4029;
var Link = class {
  constructor(url, protocol, WebSocket, backoff, owner) {
    this.url = url;
    this.protocol = protocol;
    this.WebSocket = WebSocket;
    this.backoff = backoff;
    this.owner = owner;
  }
  url;
  protocol;
  WebSocket;
  backoff;
  owner;
  state = "connecting";
  #socket = null;
  #timer;
  #watch;
  #heardAt = 0;
  #liveAt = Infinity;
  #goAway = null;
  /** Connects now. */
  open() {
    if (this.state === "closed") return;
    clearTimeout(this.#timer);
    this.#change("connecting", {});
    let socket;
    try {
      socket = new this.WebSocket(this.url, [this.protocol]);
    } catch (error) {
      return this.end(new RingwireError("protocol", `${this.url}: ${String(error)}`));
    }
    this.#socket = socket;
    socket.onopen = () => this.owner.opened();
    socket.onmessage = ({ data }) => {
      this.#heardAt = performance.now();
      if (typeof data === "string") this.owner.message(data);
    };
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => void 0;
    this.#timer = setTimeout(() => this.abandon("no answer in time"), OPENING_MS);
  }
  /** The session stands. With a heartbeat, silence is noticed from now on. */
  live(heartbeatMs) {
    clearTimeout(this.#timer);
    this.#goAway = null;
    this.#liveAt = this.#heardAt = performance.now();
    if (heartbeatMs) this.#watch = setInterval(() => this.#listen(heartbeatMs), heartbeatMs);
    this.#change("open", {});
  }
  send(text) {
    this.#socket?.send(text);
  }
  /** The server will close: the next wait is the one it asks for. */
  goAway(afterMs, jitterMs) {
    this.#goAway = { afterMs, jitterMs };
  }
  /** Leaves this socket as if it had broken, without waiting for its end. */
  abandon(reason, afterMs) {
    const socket = this.#socket;
    if (afterMs !== void 0) this.goAway(afterMs, 0);
    this.#lost(1006, reason);
    socket?.close();
  }
  /** Ends for good; because of `error`, if there is one. */
  end(error) {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.#forget();
    this.#change("closed", error ? { reason: error.message } : {});
    socket?.close(1e3);
  }
  /** Connects now if it was waiting to. */
  hurry() {
    if (this.state === "waiting") this.open();
  }
  #lost(code, reason) {
    this.#forget();
    this.owner.lost();
    if (this.state === "closed") return;
    const final = code === TOKEN_EXPIRED && !this.owner.tokenExpired() ? "the token has expired" : FINAL.get(code);
    if (final !== void 0) return this.#change("closed", { code, reason: reason || final });
    const retryInMs = this.#wait(code);
    this.#change("waiting", { code, reason, retryInMs });
    this.#timer = setTimeout(() => this.open(), retryInMs);
  }
  #wait(code) {
    if (performance.now() - this.#liveAt >= STABLE_MS) this.backoff.reset();
    this.#liveAt = Infinity;
    const asked = this.#goAway;
    this.#goAway = null;
    if (asked) return this.backoff.asked(asked.afterMs, asked.jitterMs);
    return code === FLOOD ? this.backoff.long() : this.backoff.next();
  }
  #listen(heartbeatMs) {
    const silentMs = performance.now() - this.#heardAt;
    if (silentMs > 2.5 * heartbeatMs) this.abandon("the server is silent");
    else if (silentMs > 1.2 * heartbeatMs) this.owner.silent();
  }
  #forget() {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
  }
  #change(state, detail) {
    this.state = state;
    this.owner.changed(state, detail);
  }
};

// src/publisher.ts
var UNDERWAY_MAX = 1e3;
var Publisher = class {
  constructor(prefix, pendingMax, request) {
    this.prefix = prefix;
    this.pendingMax = pendingMax;
    this.request = request;
  }
  prefix;
  pendingMax;
  request;
  #next = 0;
  /** What waits to be sent, oldest first. */
  #waiting = [];
  /** What was sent on this connection and not answered, in that order. */
  #underway = /* @__PURE__ */ new Set();
  #underwayMax = UNDERWAY_MAX;
  #bound = /* @__PURE__ */ new Map();
  #pausedUntil = null;
  #isOpen = false;
  publish(params) {
    if (this.#waiting.length + this.#underway.size >= this.pendingMax) {
      return Promise.reject(new RingwireError("full", `${this.pendingMax} publishes wait already: await them`, true));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ params: { ...params, idempotency_key: params.idempotency_key ?? this.#key() }, resolve, reject });
      this.#flush();
    });
  }
  /** The session stands. The server takes so many at once. */
  opened(pendingMax) {
    this.#isOpen = true;
    this.#underwayMax = Math.min(UNDERWAY_MAX, pendingMax ?? UNDERWAY_MAX);
    const again = [...this.#bound.values()].map((params) => ({
      params: { ...params, idempotency_key: this.#key() },
      resolve: () => void 0,
      reject: () => void 0
    }));
    this.#waiting.unshift(...again);
    this.#flush();
  }
  lost() {
    this.#isOpen = false;
    this.#resume();
    const again = [...this.#underway];
    this.#underway.clear();
    for (const { params } of again) if (params.bound) params.idempotency_key = this.#key();
    this.#waiting.unshift(...again);
  }
  close(error) {
    this.lost();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
  #flush() {
    while (this.#isOpen && this.#pausedUntil === null && this.#underway.size < this.#underwayMax) {
      const pending = this.#waiting.shift();
      if (!pending) return;
      this.#underway.add(pending);
      this.request(pending.params, (error, result) => this.#answered(pending, error, result));
    }
  }
  #answered(pending, error, result) {
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
  #remember(params) {
    const name = `${params.topic}
${params.key}`;
    this.#bound.delete(name);
    if (params.bound && !params.remove) this.#bound.set(name, params);
  }
  /** Nothing is sent for a while. */
  #pause(ms) {
    this.#pausedUntil ??= setTimeout(() => {
      this.#resume();
      this.#flush();
    }, ms);
  }
  #resume() {
    if (this.#pausedUntil !== null) clearTimeout(this.#pausedUntil);
    this.#pausedUntil = null;
  }
  #key() {
    return `${this.prefix}-${(this.#next++).toString(36)}`;
  }
};

// src/requests.ts
var Requests = class {
  constructor(send) {
    this.send = send;
  }
  send;
  #next = 1;
  #pending = /* @__PURE__ */ new Map();
  /** Sends a request. `done` is called once: with the answer, with the time's end, or when the connection is lost. */
  request(method, params, done, timeoutMs) {
    const id = this.#next++;
    const late = () => this.#finish(id, new RingwireError("timeout", `${method}: no answer in ${timeoutMs} ms`, true), null);
    this.#pending.set(id, { done, timer: timeoutMs === void 0 ? void 0 : setTimeout(late, timeoutMs) });
    this.send(JSON.stringify({ id, method, params }));
  }
  /** Takes an answer. One that is late or that nobody asked for is dropped. */
  settle({ id, result, error }) {
    this.#finish(Number(id), error ? RingwireError.of(error) : null, result);
  }
  /** Ends all: no answer will come. */
  lost(error) {
    for (const id of [...this.#pending.keys()]) this.#finish(id, error, null);
  }
  #finish(id, error, result) {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    pending.done(error, result);
  }
};

// src/feed.ts
var Feed = class {
  constructor(topic, wantsSnapshot) {
    this.topic = topic;
    this.wantsSnapshot = wantsSnapshot;
  }
  topic;
  wantsSnapshot;
  kind = "plain";
  #epoch = "";
  #from = 1;
  /** The last entry in order. */
  #last = 0;
  /** The last entry that was counted: `#last`, or more while entries come again behind a snapshot. */
  #counted = 0;
  #delivered = 0;
  #skipped = 0;
  #gap = 0;
  #duplicates = 0;
  #breaks = 0;
  #resets = 0;
  /** A skip under way: so many more entries come, up to `to`. */
  #range = null;
  /** A snapshot is to come, or has come in part, or later entries are. What is known is not whole until then. */
  #incomplete = false;
  /** The last entry in order. */
  get last() {
    return this.#last;
  }
  /** Whether a snapshot, or what took the place of skipped entries, is still to come. */
  get incomplete() {
    return this.#incomplete;
  }
  /** Where to resume; nothing if only a new beginning leads to a whole state. */
  position() {
    return this.#epoch === "" || this.#incomplete ? void 0 : { epoch: this.#epoch, seq: this.#last };
  }
  /** Delivery begins, for the first time or again. Returns the entries that were lost in between, if any were. */
  begin(at) {
    this.kind = at.kind;
    this.#range = null;
    this.#incomplete = at.kind === "keyed" && this.wantsSnapshot && at.state !== "resumed";
    const wentBack = at.state !== "resumed" && at.head < this.#last;
    if (at.epoch !== this.#epoch || wentBack) {
      if (this.#epoch !== "") this.#resets += 1;
      this.#epoch = at.epoch;
      this.#delivered = this.#skipped = this.#gap = 0;
      this.#startAt(at.seq);
      return null;
    }
    if (at.seq <= this.#last) return null;
    const gap = { type: "gap", topic: this.topic, from: this.#last + 1, to: at.seq, why: "lost" };
    this.#lose(at.seq);
    return gap;
  }
  /** Takes what the server pushed; says whether it is to be handed on. */
  accept(push) {
    const verdict = this.#judge(push);
    if (verdict === "ignore") this.#duplicates += 1;
    if (verdict === "broken") this.#breaks += 1;
    return verdict;
  }
  #judge(push) {
    switch (push.type) {
      case "skip":
        return this.#skip(push);
      case "gap":
        return this.#lost(push);
      case "snapshot":
        return this.#snapshot(push);
      default:
        return this.#entry(push.seq);
    }
  }
  account() {
    const published = this.#counted + 1 - this.#from;
    const [delivered, skipped, gap] = [this.#delivered, this.#skipped, this.#gap];
    const balanced = delivered + skipped + gap === published;
    const rare = { duplicates: this.#duplicates, breaks: this.#breaks, resets: this.#resets };
    return { topic: this.topic, epoch: this.#epoch, from: this.#from, published, delivered, skipped, gap, balanced, ...rare };
  }
  #entry(seq) {
    if (seq <= this.#last) return "ignore";
    const range = this.#range;
    if (range === null) {
      if (seq !== this.#last + 1) return "broken";
      this.#deliver(seq);
      return "deliver";
    }
    if (seq > range.to) return "broken";
    this.#passOver(seq - 1);
    this.#deliver(seq);
    range.others -= 1;
    if (range.others === 0) {
      this.#passOver(range.to);
      this.#range = null;
    }
    return "deliver";
  }
  #skip({ from, to, count }) {
    if (to <= this.#last) return "ignore";
    const others = to + 1 - from - count;
    const isNext = this.#range === null || to === this.#range.to && others === 0;
    if (from !== this.#last + 1 || !isNext || others < 0) return "broken";
    this.#range = null;
    if (others > 0) {
      this.#range = { to, others };
    } else {
      this.#passOver(to);
      this.#incomplete ||= this.kind === "keyed" && this.wantsSnapshot;
    }
    return "deliver";
  }
  #lost({ from, to }) {
    if (to <= this.#last) return "ignore";
    if (from !== this.#last + 1 || this.#range !== null) return "broken";
    this.#lose(to);
    this.#incomplete ||= this.kind === "keyed" && this.wantsSnapshot;
    return "deliver";
  }
  #snapshot({ epoch, seq, first, last }) {
    if (epoch !== this.#epoch) return "broken";
    if (first) this.#incomplete = true;
    if (!last) return "deliver";
    this.#incomplete = false;
    this.#range = null;
    if (this.#counted < this.#from) this.#startAt(seq);
    else if (seq > this.#last) this.#passOver(seq);
    this.#last = seq;
    return "deliver";
  }
  #startAt(seq) {
    this.#last = this.#counted = seq;
    this.#from = seq + 1;
  }
  #deliver(seq) {
    this.#incomplete = false;
    this.#last = seq;
    this.#delivered += this.#count(seq);
  }
  /** Everything behind the last entry, up to this one, does not come, and that was said. */
  #passOver(to) {
    if (to <= this.#last) return;
    this.#last = to;
    this.#skipped += this.#count(to);
  }
  #lose(to) {
    this.#last = to;
    this.#gap += this.#count(to);
  }
  /** How many entries up to this one were not counted before. */
  #count(to) {
    const more = Math.max(0, to - this.#counted);
    this.#counted += more;
    return more;
  }
};

// src/wire.ts
function* parse(text) {
  if (!text.includes("\n")) return yield object(text);
  let lines = "";
  for (const line of text.split("\n")) {
    lines = lines === "" ? line : `${lines}
${line}`;
    const whole = object(lines);
    if (whole === null) continue;
    lines = "";
    yield whole;
  }
  if (lines.trim() !== "") yield null;
}
function object(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}
function payload(data) {
  if (!(data instanceof Uint8Array)) return { data: data === void 0 ? null : data };
  let text = "";
  for (const byte of data) text += String.fromCharCode(byte);
  return { data: btoa(text), base64: true };
}
function words({ key, idempotencyKey, sourceSeq, bound }) {
  return {
    ...key === void 0 ? {} : { key },
    ...idempotencyKey === void 0 ? {} : { idempotency_key: idempotencyKey },
    ...sourceSeq === void 0 ? {} : { source_seq: sourceSeq },
    ...bound ? { bound } : {}
  };
}
function bytesOfJson(params) {
  const text = JSON.stringify(params);
  return text.length * 3 < 65536 ? text.length : new TextEncoder().encode(text).length;
}
function decoded(push) {
  if (push.type === "message" || push.type === "update") {
    if (push.base64) push.data = bytesOf(String(push.data));
  } else if (push.type === "snapshot") {
    for (const entry of push.data) if (entry.base64) entry.data = bytesOf(String(entry.data));
  }
  return push;
}
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// src/subscription.ts
var Subscription = class {
  constructor(names, options, handler, host, backoff) {
    this.names = names;
    this.options = options;
    this.handler = handler;
    this.host = host;
    this.backoff = backoff;
    this.ready = new Promise((resolve, reject) => this.#settle = { resolve, reject });
    this.ready.catch(() => void 0);
  }
  names;
  options;
  handler;
  host;
  backoff;
  /** What the server said to the first request, by topic or pattern. Rejects if it never came about. */
  ready;
  #feeds = /* @__PURE__ */ new Map();
  /** Topics whose delivery stands on this connection. What comes of others is of a subscription that has ended. */
  #live = /* @__PURE__ */ new Set();
  /** Counts beginnings: answers to an earlier one are ignored. */
  #round = 0;
  #retry;
  #ended = false;
  #settle;
  /** What became of each topic's entries. */
  account() {
    return [...this.#feeds.values()].map((feed) => feed.account());
  }
  /** Where each topic stands: the `since` of another subscription. Topics without a whole state are left out. */
  positions() {
    const positions = {};
    for (const feed of this.#feeds.values()) {
      const position = feed.position();
      if (position) positions[feed.topic] = position;
    }
    return positions;
  }
  /** Ends it. Nothing is handed on any more; the accounts stay as they are. */
  unsubscribe() {
    if (this.#ended) return;
    this.close(new RingwireError("closed", "unsubscribed"));
    this.host.release(this);
    if (this.host.isOpen) this.host.request("unsubscribe", this.names, () => void 0);
  }
  /** Begins on a connection. */
  start(names = this.names) {
    const round = ++this.#round;
    const { maxAgeMs, since, history, ...plain } = this.options;
    const positions = { ...since, ...this.positions() };
    const params = {
      topics: names,
      ...plain,
      ...maxAgeMs === void 0 ? {} : { max_age_ms: maxAgeMs },
      ...history === void 0 || this.#feeds.size > 0 ? {} : { history },
      ...Object.keys(positions).length > 0 ? { since: positions } : {}
    };
    this.host.request("subscribe", params, (error, result) => {
      if (this.#ended || round !== this.#round) return;
      if (error) this.#refused(names, error);
      else this.#answered(result);
    });
  }
  /** The connection is gone. */
  lost() {
    this.backoff.reset();
    this.#stop();
  }
  /** What still comes is of an earlier beginning. */
  #stop() {
    this.#round += 1;
    this.#live.clear();
    clearTimeout(this.#retry);
  }
  /** Nothing will come any more. */
  close(error) {
    this.#ended = true;
    this.lost();
    this.#settle.reject(error);
  }
  /** A pattern matched a topic. */
  matched(push) {
    this.host.own(push.topic, this);
    this.#begin(push);
  }
  /** Takes a push of one of its topics. */
  push(push) {
    const feed = this.#feeds.get(push.topic);
    if (!feed || !this.#live.has(push.topic)) return;
    const verdict = feed.accept(push);
    if (verdict === "deliver") this.#hand(decoded(push));
    if (verdict === "broken") this.#restart();
  }
  /** The server has sent everything of a topic up to `seq`. */
  reached(topic, seq) {
    const feed = this.#feeds.get(topic);
    if (!feed || feed.incomplete || !this.#live.has(topic)) return;
    if (seq > feed.last) this.#restart();
    else this.backoff.reset();
  }
  #answered(results) {
    const again = [];
    let afterMs = 0;
    for (const { topic, state, epoch = "", seq = 0, head = seq, kind = "plain", error } of results) {
      if (error) {
        this.#hand({ type: "error", topic, error });
        if (error.retry) again.push(topic);
        afterMs = Math.max(afterMs, error.after_ms ?? 0);
      } else if (state !== "pattern") {
        this.#begin({ type: "subscribed", topic, epoch, seq, head, kind, state: state ?? "new" });
      }
    }
    if (again.length > 0) this.#later(() => this.start(again), afterMs + this.backoff.next());
    this.#settle.resolve(results);
  }
  #begin(push) {
    const { topic, epoch, seq, head, kind } = push;
    const feed = this.#feeds.get(topic) ?? new Feed(topic, this.options.snapshot !== false);
    const known = feed.position();
    const state = push.state ?? (known?.epoch === epoch && known.seq === seq ? "resumed" : "new");
    this.#feeds.set(topic, feed);
    this.#live.add(topic);
    const gap = feed.begin({ epoch, seq, head, kind, state });
    this.#hand({ ...push, state });
    if (gap) this.#hand(gap);
  }
  /** Something of a topic is missing, and nobody said so: all begins again, behind what is known. */
  #restart() {
    this.#stop();
    const again = () => {
      this.host.request("unsubscribe", this.names, () => void 0);
      this.start();
    };
    this.#later(again, this.backoff.next());
  }
  #refused(names, error) {
    for (const topic of names) this.#hand({ type: "error", topic, error: bodyOf(error) });
    if (error.retry) this.#later(() => this.start(names), (error.afterMs ?? 0) + this.backoff.next());
    else this.#settle.reject(error);
  }
  #later(run, afterMs) {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.host.isOpen && run(), afterMs);
  }
  #hand(event) {
    guarded(() => this.handler(event));
  }
};
function bodyOf({ code, message, retry }) {
  return { code: typeof code === "number" ? code : 0, message, ...retry ? { retry } : {} };
}

// src/client.ts
var PROTOCOL = "ringwire.json.1";
var TIMER_MS_MAX = 2 ** 31 - 1;
var Client = class extends Emitter {
  /** What the server said when the session began; nothing before that. */
  session = null;
  /** What came so far, on all connections: texts, and their characters. */
  received = { texts: 0, characters: 0 };
  #options;
  #link;
  #requests;
  #publisher;
  #backoff;
  #subscriptions = /* @__PURE__ */ new Set();
  /** The subscription of each topic, pattern, and topic that a pattern matched. */
  #owners = /* @__PURE__ */ new Map();
  /** Requests that came while there was no connection, or that lost theirs. */
  #deferred = /* @__PURE__ */ new Set();
  #token;
  #refresh;
  /** The server's clock less this machine's, in milliseconds. */
  #serverClockMs = 0;
  /** Counts sockets: what began on an earlier one is dropped. */
  #generation = 0;
  /** Connects to `url`, as `wss://example.com/connect`, and comes back until `close`. */
  constructor(url, options = {}) {
    super();
    this.#options = options;
    this.#token = options.token;
    const random = options.random ?? Math.random;
    this.#backoff = () => new Backoff({ leastMs: 250, mostMs: 2e4, ...options.backoff }, random);
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) throw new TypeError("there is no global WebSocket here: pass one, as { WebSocket } of the package ws");
    this.#link = new Link(url, PROTOCOL, WebSocket, this.#backoff(), {
      opened: () => void this.#hello(),
      message: (text) => this.#receive(text),
      lost: () => this.#lost(),
      tokenExpired: () => this.#forgetToken(),
      changed: (state, detail) => this.#changed(state, detail),
      silent: () => this.#requests.request("ping", {}, () => void 0)
    });
    this.#requests = new Requests((text) => this.#link.send(text));
    this.#publisher = new Publisher(unique(random), options.pendingMax ?? 1e4, (params, done) => this.#sendPublish(params, done));
    queueMicrotask(() => this.#link.open());
  }
  get state() {
    return this.#link.state;
  }
  /** Subscribes to topics and patterns. `handler` is called with everything that comes, in order, on each connection. */
  subscribe(topics, options, handler) {
    const names = typeof topics === "string" ? [topics] : [...topics];
    const twice = names.find((name, index) => this.#owners.has(name) || names.indexOf(name) !== index);
    if (twice !== void 0) throw new RingwireError(409, `${twice} is subscribed to already: one handler for each`);
    const host = {
      link: this.#link,
      get isOpen() {
        return this.link.state === "open";
      },
      request: (method, params, done) => this.#requests.request(method, params, done),
      own: (topic, subscription2) => void this.#owners.set(topic, subscription2),
      release: (subscription2) => this.#release(subscription2)
    };
    const subscription = new Subscription(names, options, handler, host, this.#backoff());
    this.#subscriptions.add(subscription);
    for (const name of names) this.#owners.set(name, subscription);
    if (this.state === "closed") subscription.close(new RingwireError("closed", "the client is closed"));
    else if (this.state === "open") subscription.start();
    return subscription;
  }
  /** Subscribes to one keyed topic and keeps its state. */
  keyed(topic, options = {}) {
    const state = new KeyedState();
    return Object.assign(state, { subscription: this.subscribe(topic, options, state.apply) });
  }
  /** Publishes: JSON, or bytes. Resolves when the server has it (on a persistent topic: on disk, as that is configured). */
  publish(topic, data, options = {}) {
    return this.#publish({ topic, ...payload(data), ...words(options) });
  }
  /** Removes a key of a keyed topic. */
  remove(topic, key, options = {}) {
    return this.#publish({ topic, remove: true, ...words({ ...options, key }) });
  }
  /** Publishes if there is a connection now, without an answer; whether it was sent. */
  send(topic, data, options = {}) {
    if (this.state !== "open") return false;
    this.#link.send(JSON.stringify({ method: "publish", params: { topic, ...payload(data), ...words(options) } }));
    return true;
  }
  /** Entries that the topic still has, from `from` on. */
  history(topic, range = {}) {
    return this.#ask("history", { topic, ...range });
  }
  presence(topic) {
    return this.#ask("presence", { topic });
  }
  /** The way to the server and back, in milliseconds, and the server's time in microseconds. */
  async ping() {
    const begun = performance.now();
    const { time } = await this.#ask("ping", {});
    return { time, roundTripMs: performance.now() - begun };
  }
  /** What became of the entries of all topics, as this side counts. */
  account() {
    return [...this.#subscriptions].flatMap((subscription) => subscription.account());
  }
  /** The same as the server counts, since this connection began. */
  serverAccount() {
    return this.#ask("account", {});
  }
  /** Does not wait any longer before it comes back: call it when the network is there again. */
  reconnect() {
    this.#link.hurry();
  }
  /** Ends for good. What waits for an answer is rejected. */
  close() {
    this.#link.end();
  }
  #publish(params) {
    if (this.state === "closed") return Promise.reject(new RingwireError("closed", "the client is closed"));
    const most = this.session?.limits?.message_bytes;
    if (most !== void 0 && bytesOfJson(params) > most) {
      return Promise.reject(new RingwireError(413, `a publish to ${params.topic} is over the server's ${most} bytes`));
    }
    return this.#publisher.publish(params);
  }
  #sendPublish(params, done) {
    this.#requests.request("publish", params, done);
  }
  /** A question that may be asked again: on the next connection, if this one is lost. */
  #ask(method, params) {
    const timeoutMs = this.#options.requestTimeoutMs ?? 1e4;
    return new Promise((resolve, reject) => {
      const finish = (error, result) => {
        if (error?.code === "closed" && this.state !== "closed") return void this.#deferred.add(ask);
        clearTimeout(timer);
        this.#deferred.delete(ask);
        if (error) reject(error);
        else resolve(result);
      };
      const ask = () => this.#requests.request(method, params, finish);
      const late = () => finish(new RingwireError("timeout", `${method}: no answer in ${timeoutMs} ms`, true), null);
      const timer = setTimeout(late, timeoutMs);
      if (this.state === "closed") finish(new RingwireError("closed", "the client is closed"), null);
      else if (this.state === "open") ask();
      else this.#deferred.add(ask);
    });
  }
  /** The first words on a socket. The session stands with the answer. */
  async #hello() {
    const generation = this.#generation;
    let token;
    try {
      token = this.#token ??= await this.#options.getToken?.();
    } catch (error) {
      if (generation !== this.#generation) return;
      this.emit("error", new RingwireError("token", `no token: ${String(error)}`, true));
      return this.#link.abandon("no token");
    }
    if (generation !== this.#generation) return;
    const { name } = this.#options;
    const params = { ...token === void 0 ? {} : { token }, ...name === void 0 ? {} : { name } };
    this.#requests.request("connect", params, (error, result) => {
      if (generation !== this.#generation) return;
      if (error) this.#refused(error);
      else this.#begin(result);
    });
  }
  #begin(session) {
    this.session = session;
    this.#serverClockMs = session.time / 1e3 - performance.now();
    this.#planRefresh(session.expires);
    this.#link.live(session.heartbeat_ms);
    for (const subscription of this.#subscriptions) subscription.start();
    this.#publisher.opened(session.limits?.pending_publishes);
    const deferred = [...this.#deferred];
    this.#deferred.clear();
    for (const ask of deferred) ask();
  }
  /** The server does not let this client in: for now, with this token, or at all. */
  #refused(error) {
    const again = error.retry || error.code === 401 && this.#forgetToken();
    if (again) return this.#link.abandon(error.message, error.afterMs);
    this.emit("error", error);
    this.#link.end(error);
  }
  #forgetToken() {
    if (!this.#options.getToken) return false;
    this.#token = void 0;
    return true;
  }
  /** Sends a new token when four fifths of the time are over. */
  #planRefresh(expires) {
    clearTimeout(this.#refresh);
    if (expires === void 0 || !this.#options.getToken) return;
    const leftMs = expires / 1e3 - this.#serverClockMs - performance.now();
    const waitMs = Math.min(TIMER_MS_MAX, Math.max(0, leftMs * 0.8));
    this.#refresh = setTimeout(() => void this.#sendRefresh(), waitMs);
  }
  async #sendRefresh() {
    const generation = this.#generation;
    try {
      const token = await this.#options.getToken();
      if (generation !== this.#generation) return;
      this.#token = token;
      const { expires } = await this.#ask("refresh", { token });
      if (generation === this.#generation) this.#planRefresh(expires);
    } catch (error) {
      this.emit("error", new RingwireError("token", `the token was not refreshed: ${String(error)}`, true));
    }
  }
  #lost() {
    this.#generation += 1;
    clearTimeout(this.#refresh);
    this.#publisher.lost();
    for (const subscription of this.#subscriptions) subscription.lost();
    this.#requests.lost(new RingwireError("closed", "the connection was lost", true));
  }
  #changed(state, detail) {
    if (state === "closed") this.#end(new RingwireError("closed", detail.reason ?? "the client is closed"));
    this.emit("state", { state, ...detail });
  }
  #end(error) {
    this.#generation += 1;
    clearTimeout(this.#refresh);
    this.#publisher.close(error);
    for (const subscription of this.#subscriptions) subscription.close(error);
    this.#requests.lost(error);
    const deferred = [...this.#deferred];
    this.#deferred.clear();
    for (const ask of deferred) ask();
    this.#requests.lost(error);
  }
  #release(subscription) {
    this.#subscriptions.delete(subscription);
    for (const [name, owner] of this.#owners) if (owner === subscription) this.#owners.delete(name);
  }
  #receive(text) {
    this.received.texts += 1;
    this.received.characters += text.length;
    for (const message of parse(text)) {
      if (message === null) this.emit("error", new RingwireError("protocol", "the server sent what is no JSON"));
      else this.#dispatch(message);
    }
  }
  #dispatch(message) {
    if ("id" in message && !("type" in message)) return this.#requests.settle(message);
    switch (message.type) {
      case "message":
      case "update":
      case "remove":
      case "skip":
      case "gap":
      case "snapshot":
        return this.#owners.get(message.topic)?.push(message);
      case "subscribed":
        return this.#owners.get(message.pattern ?? message.topic)?.matched(message);
      case "heartbeat":
        for (const [topic, seq] of Object.entries(message.at ?? {})) this.#owners.get(topic)?.reached(topic, seq);
        return;
      case "goaway":
        this.#link.goAway(message.after_ms ?? 0, message.jitter_ms ?? 0);
        return this.emit("goaway", message);
      case "error":
        return this.emit("error", RingwireError.of(message.error));
      default:
    }
  }
};
function unique(random) {
  const values = globalThis.crypto?.getRandomValues(new Uint32Array(3)) ?? Array.from({ length: 3 }, () => random() * 2 ** 32);
  return Array.from(values, (value) => Math.floor(value).toString(36)).join("");
}
export {
  Client,
  KeyedState,
  RingwireError
};
