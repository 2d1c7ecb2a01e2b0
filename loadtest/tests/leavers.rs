//! A run waits for what is on its way to those who are there, however many have left meanwhile.

#![forbid(unsafe_code)]

mod common;

use std::time::Duration;

use common::faulty::{Behavior, Faulty, Hold};
use common::ringload;

/// The server keeps each message for so long that the last ones come well after the last was published. Whoever has left
/// had got some that those who stay are not owed.
#[test]
fn what_those_who_left_had_got_is_not_counted_for_those_who_stay() {
    let server = Faulty::start(Behavior { hold: Hold::Constant(Duration::from_millis(150)), ..Behavior::default() });
    let flags = "--rooms 2 --participants 5 --stay 1 --chat-rate 600 --file-rooms 1 --file-bytes-per-second 500_000";
    let report = ringload("meeting", &server.url(), &format!("{flags} --seconds 2 --warm-up 0.2 --progress off"));
    let joins = report.series.iter().find(|series| series.name == "join").map_or(0, |series| series.corrected.count());
    assert!(joins > 3 && report.accounts.are_clean(), "{joins} have come: {:?}", report.accounts);
}
