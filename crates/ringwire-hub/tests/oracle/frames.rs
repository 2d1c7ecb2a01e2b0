//! An encoding in which everything says what it is, so that a stream can be taken apart.
//!
//! A frame is its length, a letter, its lane, and numbers; an entry has filler behind them that depends on all of it.
//! Lane [`SILENT`] has no frames for notices, as raw streams have none.

use ringwire_hub::{Framer, Key, LaneId, Notice, Part, Topic};

pub(crate) const LANES: [LaneId; 3] = [LaneId::HISTORY, LaneId::new(3), SILENT];
/// A lane in which nothing is told.
pub(crate) const SILENT: LaneId = LaneId::new(5);

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Entry { topic: u8, seq: u64, kind: Kind, bytes: usize },
    Skip { from: u64, to: u64, count: u64 },
    Gap { from: u64, to: u64 },
    Snapshot { seq: u64, first: bool, last: bool, keys: Vec<(u8, u64)> },
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Message,
    Update(u8),
    Remove(u8),
}

impl Kind {
    fn code(self) -> u64 {
        match self {
            Self::Message => 0,
            Self::Update(key) => 256 + u64::from(key),
            Self::Remove(key) => 512 + u64::from(key),
        }
    }

    fn of(code: u64) -> Self {
        match code >> 8 {
            0 => Self::Message,
            1 => Self::Update(code as u8),
            _ => Self::Remove(code as u8),
        }
    }
}

fn frame(letter: u8, lane: LaneId, numbers: &[u64], filler: usize, out: &mut Vec<u8>) {
    let bytes = 6 + numbers.len() * 8 + filler;
    out.extend((bytes as u32).to_le_bytes());
    out.extend([letter, lane.index() as u8]);
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
    let seed = numbers.iter().sum::<u64>() + lane.index() as u64;
    out.extend((0..filler).map(|at| (at as u64 * 31 + seed * 7) as u8));
}

/// An entry. Each lane has a length of its own.
pub(crate) fn entry(lane: LaneId, topic: u8, seq: u64, kind: Kind, bytes: usize, out: &mut Vec<u8>) {
    frame(b'e', lane, &[u64::from(topic), seq, kind.code(), bytes as u64], bytes + lane.index() * 2, out);
}

/// The frame at the beginning of `stream`, which must be as it was written, and its length; nothing, if it is not whole.
pub(crate) fn decode(stream: &[u8], lane: LaneId) -> Option<(Frame, usize)> {
    let bytes = u32::from_le_bytes(stream.get(..4)?.try_into().unwrap()) as usize;
    let whole = stream.get(..bytes)?;
    assert_eq!(whole[5] as usize, lane.index(), "a frame of its lane");
    let numbers: Vec<u64> =
        whole[6..].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    let frame = match (whole[4], &numbers[..]) {
        (b'e', &[topic, seq, code, bytes, ..]) => {
            let (topic, kind, bytes) = (topic as u8, Kind::of(code), bytes as usize);
            let mut again = Vec::new();
            entry(lane, topic, seq, kind, bytes, &mut again);
            assert_eq!(whole, again, "an entry arrives as it was encoded");
            Frame::Entry { topic, seq, kind, bytes }
        }
        (b's', &[from, to, count]) => Frame::Skip { from, to, count },
        (b'g', &[from, to]) => Frame::Gap { from, to },
        (b'n', [seq, first, last, keys @ ..]) => {
            let keys = keys.chunks_exact(2).map(|pair| (pair[0] as u8, pair[1])).collect();
            Frame::Snapshot { seq: *seq, first: *first == 1, last: *last == 1, keys }
        }
        _ => panic!("{whole:?} is no frame"),
    };
    Some((frame, bytes))
}

/// Makes the frames that no log holds.
pub(crate) struct Frames;

impl Framer for Frames {
    fn replay(&mut self, lane: LaneId, _: &Topic, history: &[u8], out: &mut Vec<u8>) {
        assert_ne!(lane, LaneId::HISTORY, "the history is its own lane");
        let Some((Frame::Entry { topic, seq, kind, bytes }, len)) = decode(history, LaneId::HISTORY) else {
            panic!("one entry of the history");
        };
        assert_eq!(len, history.len(), "one entry");
        entry(lane, topic, seq, kind, bytes, out);
    }

    fn notice(&mut self, lane: LaneId, _: &Topic, notice: Notice, out: &mut Vec<u8>) {
        match notice {
            _ if lane == SILENT => {}
            Notice::Skip { from, to, count, .. } => frame(b's', lane, &[from, to, count], 0, out),
            Notice::Gap { from, to, .. } => frame(b'g', lane, &[from, to], 0, out),
        }
    }

    fn snapshot(&mut self, lane: LaneId, topic: &Topic, seq: u64, keys: &[Key], part: Part, out: &mut Vec<u8>) {
        let mut numbers = vec![seq, u64::from(part.first), u64::from(part.last)];
        for key in keys {
            let (entry, _) = decode(&key.history, LaneId::HISTORY).unwrap();
            let name: u8 = key.name.parse().unwrap();
            let Frame::Entry { seq, kind: Kind::Update(of), .. } = entry else { panic!("{entry:?} sets no key") };
            assert_eq!((seq, of), (key.seq, name), "a key with its last entry");
            numbers.extend([u64::from(name), seq]);
        }
        assert!(topic.options().is_keyed(), "only keyed topics have a state");
        frame(b'n', lane, &numbers, 0, out);
    }
}
