//! Any bytes as a journal: as they are behind a segment's header, and cut into records whose lengths and checksums fit,
//! so that what is in them is read too. What is read can be written and read again; what comes back of a topic has no
//! hole, and comes back the same however often.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ringwire_server::journal::record::{HEAD_BYTES, read};
use ringwire_server::journal::replay::{Replay, ReplayedTopic};
use ringwire_server::journal::segment::{HEADER_BYTES, Header, Records};

fuzz_target!(|data: &[u8]| {
    let header = Header { number: 1, previous_bytes: 0 }.encode();
    _ = Header::decode(data);
    for body in [data.to_vec(), sealed(data)] {
        let file = Bytes::from([&header[..], &body].concat());
        let (topics, again) = (replayed(&file), replayed(&file));
        assert_eq!(topics.len(), again.len());
        topics.iter().for_each(check);
    }
});

fn replayed(file: &Bytes) -> Vec<ReplayedTopic> {
    let (mut replay, mut records, mut end) = (Replay::default(), Records::new(file), HEADER_BYTES);
    while let Ok(Some(placed)) = records.next_record() {
        assert_eq!(placed.at, end, "a record begins where the one before it ends");
        end = placed.end;
        let mut bytes = Vec::new();
        placed.record.write(&mut bytes);
        assert_eq!(read(&bytes), Ok((placed.record, bytes.len())));
        replay.apply(file, &placed);
    }
    replay.finish()
}

fn check(topic: &ReplayedTopic) {
    let seqs: Vec<u64> = topic.log.iter().map(|stored| stored.entry().seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a hole: {seqs:?}");
    assert!(seqs.last().is_none_or(|last| *last <= topic.last_seq));
    assert!(topic.states.iter().all(|state| seqs.first().is_none_or(|first| state.entry().seq < *first)));
}

/// Records of these bytes: each begins with a byte that says how many follow, all but length and checksum.
fn sealed(mut data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [count, rest @ ..] = data {
        let (body, behind) = rest.split_at(rest.len().min(usize::from(*count)));
        data = behind;
        let bytes = HEAD_BYTES.max(8 + body.len());
        let mut record = u32::try_from(bytes).expect("it is short").to_le_bytes().to_vec();
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(body);
        record.resize(bytes, 0);
        let sum = crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..]);
        record[4..8].copy_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&record);
    }
    out
}
