// The client's rule for one topic: which entry comes next, and the account of all of them.
//
// Entries come in ascending `seq` without a hole, unless the server has said `skip` or `gap` before. What is smaller than
// expected is a duplicate and is ignored; what is larger breaks the rule, and the subscription begins again behind the last
// entry that was in order. Each entry is counted once: delivered, skipped or lost in a gap. A snapshot may take the topic
// back to an earlier entry; what then comes again is delivered, but not counted again.

import type { Gap, Position, Push, Skip, Snapshot, TopicKind, TopicState } from './messages.js';

export type Verdict = 'deliver' | 'ignore' | 'broken';

/** What became of the entries of one epoch of a topic, since its subscription began. */
export interface Account {
  topic: string;
  epoch: string;
  /** The first entry that is counted. */
  from: number;
  /** Entries since then that are accounted for. */
  published: number;
  delivered: number;
  skipped: number;
  gap: number;
  /** Whether `delivered + skipped + gap = published`. */
  balanced: boolean;
  /** Entries that came again and were ignored. */
  duplicates: number;
  /** Times that the server broke the order and the subscription began again. */
  breaks: number;
  /** Times that the topic began anew, because its entries behind the last one known were gone or of another epoch. */
  resets: number;
}

/** How the server says that a topic's delivery begins. */
export interface Beginning {
  epoch: string;
  seq: number;
  head: number;
  kind: TopicKind;
  state: TopicState;
}

export class Feed {
  kind: TopicKind = 'plain';
  #epoch = '';
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
  #range: { to: number; others: number } | null = null;
  /** A snapshot is to come, or has come in part, or later entries are. What is known is not whole until then. */
  #incomplete = false;

  constructor(
    readonly topic: string,
    private readonly wantsSnapshot: boolean,
  ) {}

  /** The last entry in order. */
  get last(): number {
    return this.#last;
  }

  /** Whether a snapshot, or what took the place of skipped entries, is still to come. */
  get incomplete(): boolean {
    return this.#incomplete;
  }

  /** Where to resume; nothing if only a new beginning leads to a whole state. */
  position(): Position | undefined {
    return this.#epoch === '' || this.#incomplete ? undefined : { epoch: this.#epoch, seq: this.#last };
  }

  /** Delivery begins, for the first time or again. Returns the entries that were lost in between, if any were. */
  begin(at: Beginning): Gap | null {
    this.kind = at.kind;
    this.#range = null;
    this.#incomplete = at.kind === 'keyed' && this.wantsSnapshot && at.state !== 'resumed';
    const wentBack = at.state !== 'resumed' && at.head < this.#last;
    if (at.epoch !== this.#epoch || wentBack) {
      if (this.#epoch !== '') this.#resets += 1;
      this.#epoch = at.epoch;
      this.#delivered = this.#skipped = this.#gap = 0;
      this.#startAt(at.seq);
      return null;
    }
    if (at.seq <= this.#last) return null;
    const gap: Gap = { type: 'gap', topic: this.topic, from: this.#last + 1, to: at.seq, why: 'lost' };
    this.#lose(at.seq);
    return gap;
  }

  /** Takes what the server pushed; says whether it is to be handed on. */
  accept(push: Push): Verdict {
    const verdict = this.#judge(push);
    if (verdict === 'ignore') this.#duplicates += 1;
    if (verdict === 'broken') this.#breaks += 1;
    return verdict;
  }

  #judge(push: Push): Verdict {
    switch (push.type) {
      case 'skip':
        return this.#skip(push);
      case 'gap':
        return this.#lost(push);
      case 'snapshot':
        return this.#snapshot(push);
      default:
        return this.#entry(push.seq);
    }
  }

  account(): Account {
    const published = this.#counted + 1 - this.#from;
    const [delivered, skipped, gap] = [this.#delivered, this.#skipped, this.#gap];
    const balanced = delivered + skipped + gap === published;
    const rare = { duplicates: this.#duplicates, breaks: this.#breaks, resets: this.#resets };
    return { topic: this.topic, epoch: this.#epoch, from: this.#from, published, delivered, skipped, gap, balanced, ...rare };
  }

  #entry(seq: number): Verdict {
    if (seq <= this.#last) return 'ignore';
    const range = this.#range;
    if (range === null) {
      if (seq !== this.#last + 1) return 'broken';
      this.#deliver(seq);
      return 'deliver';
    }
    if (seq > range.to) return 'broken';
    this.#passOver(seq - 1);
    this.#deliver(seq);
    range.others -= 1;
    if (range.others === 0) {
      this.#passOver(range.to);
      this.#range = null;
    }
    return 'deliver';
  }

  #skip({ from, to, count }: Skip): Verdict {
    if (to <= this.#last) return 'ignore';
    const others = to + 1 - from - count;
    // What a skip has left over may be lost before it was sent: then none of it comes, which another skip says.
    const isNext = this.#range === null || (to === this.#range.to && others === 0);
    if (from !== this.#last + 1 || !isNext || others < 0) return 'broken';
    this.#range = null;
    if (others > 0) {
      this.#range = { to, others };
    } else {
      this.#passOver(to);
      // What took the place of these entries is still to come: in later ones, or in a snapshot.
      this.#incomplete ||= this.kind === 'keyed' && this.wantsSnapshot;
    }
    return 'deliver';
  }

  #lost({ from, to }: Gap): Verdict {
    if (to <= this.#last) return 'ignore';
    if (from !== this.#last + 1 || this.#range !== null) return 'broken';
    this.#lose(to);
    this.#incomplete ||= this.kind === 'keyed' && this.wantsSnapshot;
    return 'deliver';
  }

  #snapshot({ epoch, seq, first, last }: Snapshot): Verdict {
    if (epoch !== this.#epoch) return 'broken';
    if (first) this.#incomplete = true;
    if (!last) return 'deliver';
    this.#incomplete = false;
    this.#range = null;
    if (this.#counted < this.#from) this.#startAt(seq);
    else if (seq > this.#last) this.#passOver(seq);
    this.#last = seq;
    return 'deliver';
  }

  #startAt(seq: number): void {
    this.#last = this.#counted = seq;
    this.#from = seq + 1;
  }

  #deliver(seq: number): void {
    this.#incomplete = false;
    this.#last = seq;
    this.#delivered += this.#count(seq);
  }

  /** Everything behind the last entry, up to this one, does not come, and that was said. */
  #passOver(to: number): void {
    if (to <= this.#last) return;
    this.#last = to;
    this.#skipped += this.#count(to);
  }

  #lose(to: number): void {
    this.#last = to;
    this.#gap += this.#count(to);
  }

  /** How many entries up to this one were not counted before. */
  #count(to: number): number {
    const more = Math.max(0, to - this.#counted);
    this.#counted += more;
    return more;
  }
}
