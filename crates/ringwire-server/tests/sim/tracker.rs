//! What a subscriber knows of a topic, by the client's rule of the protocol and nothing else.

use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::oracle::{Entry, Known, State};

#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) topic: String,
    pub(crate) epoch: String,
    /// Number of the entry that comes next.
    next: u64,
    /// What a skip has told: up to where, and how many until there still do not come.
    skipping: Option<(u64, u64)>,
    /// The first entry that counts.
    first: u64,
    delivered: u64,
    skipped: u64,
    gap: u64,
    /// A gap on a keyed topic was told: a snapshot is to follow.
    wants_snapshot: bool,
    /// A skip has left nothing, so what took the place of the entries is still to come, in entries or a snapshot.
    is_owed: bool,
    is_keyed: bool,
    state: State,
    /// The chunks of the snapshot that is coming.
    chunks: Option<State>,
    received: Vec<(u64, Entry)>,
    snapshots: Vec<(u64, State)>,
}

fn number(value: &OwnedValue, name: &str) -> u64 {
    value.get_u64(name).unwrap_or_else(|| panic!("a number `{name}` in {value}"))
}

fn text(value: &OwnedValue, name: &str) -> String {
    value.get_str(name).unwrap_or_else(|| panic!("a text `{name}` in {value}")).to_owned()
}

fn data(value: &OwnedValue) -> u64 {
    number(value.get("data").unwrap_or_else(|| panic!("data in {value}")), "v")
}

impl Tracker {
    /// A subscription that began as `result` says.
    pub(crate) fn begin(result: &OwnedValue) -> Self {
        let seq = number(result, "seq");
        let is_keyed = text(result, "kind") == "keyed";
        Self {
            topic: text(result, "topic"),
            epoch: text(result, "epoch"),
            next: seq + 1,
            skipping: None,
            first: seq + 1,
            delivered: 0,
            skipped: 0,
            gap: 0,
            wants_snapshot: is_keyed && result.get_str("state") != Some("resumed") && seq > 0,
            is_owed: false,
            is_keyed,
            state: State::new(),
            chunks: None,
            received: Vec::new(),
            snapshots: Vec::new(),
        }
    }

    /// The subscription began again as `result` says, after a connection was lost: from [`position`](Self::position) if
    /// the client [could](Self::may_resume).
    pub(crate) fn resume(&mut self, result: &OwnedValue) {
        if !self.may_resume() {
            // It begins anew, perhaps with a state that is older than the one it has not got whole.
            *self = Self::begin(result);
            return;
        }
        let seq = number(result, "seq");
        self.chunks = None;
        // What a skip announced and did not bring is not known to be skipped.
        if let Some((_, left)) = self.skipping.take() {
            self.skipped -= left;
        }
        // What a pattern matches is announced without a state.
        let resumed = seq + 1 == self.next;
        if let Some(state) = result.get_str("state") {
            let want = if resumed { "resumed" } else { "reset" };
            assert_eq!(state, want, "{}: {result}", self.topic);
        }
        assert!(seq + 1 >= self.next, "{}: nobody goes back: {result}", self.topic);
        self.gap += seq + 1 - self.next;
        self.next = seq + 1;
        self.wants_snapshot = self.is_keyed && !resumed;
    }

    /// Where to go on.
    pub(crate) fn position(&self) -> u64 {
        self.next - 1
    }

    /// Whether a position is of use: a snapshot that was told and did not come is lost with the connection.
    pub(crate) fn may_resume(&self) -> bool {
        !self.wants_snapshot && !self.is_owed && self.chunks.is_none()
    }

    /// Whether everything up to entry `head` is accounted for.
    pub(crate) fn has_all(&self, head: u64) -> bool {
        let is_whole = self.skipping.is_none() && self.chunks.is_none() && !self.wants_snapshot && !self.is_owed;
        self.next > head && is_whole
    }

    /// A push of this topic came.
    pub(crate) fn on(&mut self, push: &OwnedValue) {
        let kind = text(push, "type");
        match kind.as_str() {
            "message" => self.entry(number(push, "seq"), Entry::Message(data(push))),
            "update" => self.entry(number(push, "seq"), Entry::Update(text(push, "key"), data(push))),
            "remove" => self.entry(number(push, "seq"), Entry::Remove(text(push, "key"))),
            "skip" => self.skip(number(push, "from"), number(push, "to"), number(push, "count")),
            "gap" => self.gap(number(push, "from"), number(push, "to")),
            "snapshot" => self.snapshot(push),
            other => panic!("a push of type {other}: {push}"),
        }
    }

    fn entry(&mut self, seq: u64, entry: Entry) {
        assert!(!self.wants_snapshot && self.chunks.is_none(), "{}: {seq} came before its snapshot", self.topic);
        if let Some((to, left)) = &mut self.skipping {
            let passed = seq.checked_sub(self.next).unwrap_or_else(|| panic!("{} went back to {seq}", self.topic));
            assert!(seq <= *to && passed <= *left, "{}: {seq} is not of those that a skip left over", self.topic);
            *left -= passed;
            if seq == *to {
                assert_eq!(*left, 0, "{}: a skip said more than were skipped", self.topic);
                self.skipping = None;
            }
        } else {
            assert_eq!(seq, self.next, "{}: nothing is missing that was not told", self.topic);
        }
        self.next = seq + 1;
        self.delivered += 1;
        self.is_owed = false;
        match &entry {
            Entry::Message(_) => {}
            Entry::Update(key, value) => drop(self.state.insert(key.clone(), *value)),
            Entry::Remove(key) => drop(self.state.remove(key)),
        }
        self.received.push((seq, entry));
        self.end_skip();
    }

    fn skip(&mut self, from: u64, to: u64, count: u64) {
        assert_eq!(from, self.next, "{}: a skip begins where things stand", self.topic);
        if let Some((until, left)) = self.skipping.take() {
            assert_eq!((to, count), (until, to + 1 - from), "{}: all that a skip has left over is lost", self.topic);
            self.skipped -= left;
        }
        assert!(count > 0 && from + count <= to + 1, "{}: {count} of {from} to {to}", self.topic);
        self.skipped += count;
        self.skipping = Some((to, count));
        self.end_skip();
        self.is_owed |= self.is_keyed && self.skipping.is_none();
    }

    /// Ends a skip none of whose entries is still to come.
    fn end_skip(&mut self) {
        if let Some((to, left)) = self.skipping
            && self.next + left == to + 1
        {
            self.next = to + 1;
            self.skipping = None;
        }
    }

    fn gap(&mut self, from: u64, to: u64) {
        assert_eq!((from, self.skipping), (self.next, None), "{}: a gap begins where things stand", self.topic);
        assert!(to >= from);
        self.gap += to - from + 1;
        self.next = to + 1;
        self.wants_snapshot = self.is_keyed;
    }

    fn snapshot(&mut self, push: &OwnedValue) {
        let flag = |name| push.get_bool(name).unwrap_or_else(|| panic!("a flag `{name}` in {push}"));
        assert_eq!(text(push, "epoch"), self.epoch);
        let seq = number(push, "seq");
        if flag("first") {
            assert!(self.chunks.replace(State::new()).is_none(), "{}: a snapshot in a snapshot", self.topic);
        }
        let chunks = self.chunks.as_mut().expect("the first chunk comes first");
        for item in push.get_array("data").expect("a list") {
            let key = text(item, "key");
            assert!(chunks.last_key_value().is_none_or(|(last, _)| *last < key), "{}: keys in order", self.topic);
            chunks.insert(key, data(item));
        }
        if flag("last") {
            let state = self.chunks.take().expect("it was there");
            assert_eq!(seq + 1, self.next, "{}: a snapshot without a seam", self.topic);
            (self.wants_snapshot, self.is_owed) = (false, false);
            self.state = state.clone();
            self.snapshots.push((seq, state));
        }
    }

    /// How many entries were skipped and lost.
    pub(crate) fn missed(&self) -> (u64, u64) {
        (self.skipped, self.gap)
    }

    /// Everything that came was right, for who subscribed in this way.
    pub(crate) fn assert_right(&self, known: &Known, how: &str) {
        let head = known.head(&self.topic);
        assert!(self.has_all(head), "{}: {self:?} of {head}", self.topic);
        assert_eq!(self.delivered + self.skipped + self.gap, head + 1 - self.first, "{}: the account", self.topic);
        for (seq, entry) in &self.received {
            assert_eq!(entry, known.entry(&self.topic, *seq), "{}: entry {seq}", self.topic);
        }
        for (seq, state) in &self.snapshots {
            assert_eq!(*state, known.state(&self.topic, *seq), "{}: the snapshot at {seq}", self.topic);
        }
        if self.is_keyed {
            assert_eq!(self.state, known.state(&self.topic, head), "the state at the end, {how}: {self:?}");
        }
    }
}
