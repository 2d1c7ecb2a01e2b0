//! A journal's folder under every cut and every damage.

use super::*;
use crate::journal::record::{Entry, EntryKind, Opened, Record};
use crate::journal::tests::Scratch;

impl Scratch {
    fn folder(&self) -> Folder {
        Folder::open(&self.0).expect("a folder of one's own")
    }
}

fn entry(seq: u64) -> Record<'static> {
    Record::Entry(Entry {
        topic: 0,
        seq,
        time_us: seq,
        kind: EntryKind::Message,
        bound: false,
        state: false,
        key: b"",
        idempotency_key: b"",
        bytes: b"0123456789",
    })
}

/// A segment with entries of these numbers; and where each record ends.
fn segment(number: u64, previous_bytes: u64, seqs: std::ops::RangeInclusive<u64>) -> (Vec<u8>, Vec<usize>) {
    let mut file = Header { number, previous_bytes }.encode().to_vec();
    let mut ends = Vec::new();
    Record::Opened(Opened { topic: 0, epoch: 5, keyed: false, name: "a" }).write(&mut file);
    for seq in seqs {
        ends.push(file.len());
        entry(seq).write(&mut file);
    }
    ends.push(file.len());
    (file, ends)
}

/// Writes segments 1 and 2, of entries 1 to 3 and 4 to 6.
fn two(scratch: &Scratch) -> [(Vec<u8>, Vec<usize>); 2] {
    let first = segment(1, 0, 1..=3);
    let second = segment(2, first.0.len() as u64, 4..=6);
    fs::create_dir_all(&scratch.0).unwrap();
    fs::write(scratch.0.join(file_name(1)), &first.0).unwrap();
    fs::write(scratch.0.join(file_name(2)), &second.0).unwrap();
    [first, second]
}

fn last_seq(found: &Found) -> u64 {
    found.topics.first().map_or(0, |topic| topic.last_seq)
}

#[test]
fn a_new_folder_is_made_and_is_empty() {
    let scratch = Scratch::new("new");
    let folder = scratch.folder();
    let found = folder.read(false).unwrap();
    assert!(found.topics.is_empty() && found.segments.is_empty() && found.notes.is_empty());
    folder.begin(Header { number: 1, previous_bytes: 0 }, &[]).unwrap();
    assert_eq!(folder.read(false).unwrap().segments, [(1, HEADER_BYTES as u64)]);
}

#[test]
fn a_folder_has_one_user_at_a_time() {
    let scratch = Scratch::new("lock");
    let folder = scratch.folder();
    let error = Folder::open(&scratch.0).unwrap_err();
    assert!(matches!(error, FolderError::Locked(_)) && error.to_string().contains("journal.directory"), "{error}");
    drop(folder);
    scratch.folder();
}

#[test]
fn a_last_segment_cut_anywhere_keeps_its_whole_records_and_says_so() {
    let scratch = Scratch::new("cut");
    let [_, (second, ends)] = two(&scratch);
    let folder = scratch.folder();
    for length in 0..second.len() {
        fs::write(folder.segment(2), &second[..length]).unwrap();
        let found = folder.read(false).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count().saturating_sub(1) as u64;
        assert_eq!(last_seq(&found), 3 + whole, "cut at {length}");
        let is_clean = length == HEADER_BYTES || ends.contains(&length);
        assert_eq!(found.notes.is_empty(), is_clean, "cut at {length}: {:?}", found.notes);
        let again = folder.read(false).unwrap();
        assert_eq!((last_seq(&again), again.notes.len()), (3 + whole, 0), "what was repaired is whole");
    }
}

#[test]
fn a_flipped_byte_in_the_last_segment_ends_it_there() {
    let scratch = Scratch::new("flip");
    let [_, (second, ends)] = two(&scratch);
    let folder = scratch.folder();
    for at in HEADER_BYTES..second.len() {
        let mut damaged = second.clone();
        damaged[at] ^= 0x41;
        fs::write(folder.segment(2), &damaged).unwrap();
        let found = folder.read(false).unwrap();
        let whole = ends.iter().filter(|end| **end <= at).count().saturating_sub(1) as u64;
        assert_eq!((last_seq(&found), found.notes.len()), (3 + whole, 1), "byte {at}");
    }
}

#[test]
fn damage_that_is_no_torn_tail_is_refused_and_changes_nothing() {
    let scratch = Scratch::new("refuse");
    let [(first, _), (second, _)] = two(&scratch);
    let folder = scratch.folder();
    let refused = |what: &str| {
        let error = folder.read(false).unwrap_err().to_string();
        assert!(error.contains("DAMAGED") && error.contains("journal.repair = true"), "{what}: {error}");
    };
    for at in 0..first.len() {
        let mut damaged = first.clone();
        damaged[at] ^= 0x41;
        fs::write(folder.segment(1), &damaged).unwrap();
        refused(&format!("byte {at} of the first"));
        assert_eq!(fs::read(folder.segment(1)).unwrap(), damaged);
    }
    fs::write(folder.segment(1), &first[..first.len() - 1]).unwrap();
    refused("the first is cut");
    fs::write(folder.segment(1), &first).unwrap();
    for at in 0..HEADER_BYTES {
        let mut damaged = second.clone();
        damaged[at] ^= 0x41;
        fs::write(folder.segment(2), &damaged).unwrap();
        refused(&format!("byte {at} of the last's header, with records behind it"));
    }
    fs::write(folder.segment(2), &second).unwrap();
    fs::write(folder.segment(4), &second).unwrap();
    refused("the third is missing");
}

#[test]
fn repair_keeps_what_is_before_the_fault_and_puts_the_rest_aside() {
    let scratch = Scratch::new("repair");
    let [(mut first, ends), _] = two(&scratch);
    let folder = scratch.folder();
    first[ends[1]] ^= 1;
    fs::write(folder.segment(1), &first).unwrap();
    let found = folder.read(true).unwrap();
    assert_eq!((last_seq(&found), found.segments.clone()), (1, vec![(1, ends[1] as u64)]));
    assert!(found.notes.len() == 2 && found.notes[1].contains("00000002.rwj"), "{:?}", found.notes);
    assert!(scratch.0.join("00000002.rwj.dropped").exists());
    assert_eq!(last_seq(&folder.read(false).unwrap()), 1, "what was repaired is whole");
}

#[test]
fn what_a_failed_write_left_behind_a_segment_does_not_count() {
    let scratch = Scratch::new("left");
    let [(mut first, _), _] = two(&scratch);
    let folder = scratch.folder();
    first.extend_from_slice(b"a part of a record");
    fs::write(folder.segment(1), &first).unwrap();
    let found = folder.read(false).unwrap();
    assert_eq!((last_seq(&found), found.notes.len()), (6, 0));
}

#[test]
fn records_of_a_later_version_are_refused_and_never_cut() {
    let scratch = Scratch::new("newer");
    let [_, (mut second, ends)] = two(&scratch);
    let folder = scratch.folder();
    let at = ends[2];
    second[at + 8] = 99;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&second[at..at + 4]), &second[at + 8..ends[3]]);
    second[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
    fs::write(folder.segment(2), &second).unwrap();
    for repair in [false, true] {
        let error = folder.read(repair).unwrap_err();
        assert!(matches!(error, FolderError::Newer(..)), "{error}");
    }
    assert_eq!(fs::read(folder.segment(2)).unwrap(), second);
}
