//! Any bytes as binary records: what is read is written the same, what is incomplete says how much it needs, and an entry is
//! read back from the frame in which the history holds it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_server::lanes::Publication;
use ringwire_server::native::record::{Record, RecordFault, records};

fuzz_target!(|data: &[u8]| {
    let mut written = Vec::new();
    for record in records(data) {
        let Ok(record) = record else { break };
        record.append_to(&mut written);
        check(&record);
    }
    assert!(data.starts_with(&written), "a record has one form");
    match Record::parse(&data[written.len()..]) {
        Err(RecordFault::Incomplete { needed }) => assert!(needed > data.len() - written.len()),
        Err(_) => {}
        Ok(_) => unreachable!("the iteration stops at what is no record"),
    }
    Record::of_frame(data);
});

fn check(record: &Record<'_>) {
    let mut frame = Vec::new();
    record.append_frame_to(&mut frame);
    assert_eq!(Record::of_frame(&frame), Some(*record));
    if let Some(publication) = Publication::of_record(record) {
        let again = publication.record(record.topic, record.seq, 7);
        assert_eq!(Publication::of_record(&again), Some(publication));
    }
}
