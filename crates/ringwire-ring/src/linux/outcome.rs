//! What completions of sends mean.

use std::io;

use crate::data::Data;
use crate::op::Event;

/// A result as the kernel gives it: a number, or an error as a negative one.
pub(super) fn check(result: i32) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// A transmission completes only when it was short.
pub(super) fn short(data: Data, result: i32) -> Event {
    match check(result) {
        Ok(sent) => Event::Short { data, sent: sent as usize, error: None },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Event::Short { data, sent: 0, error: None },
        Err(error) => Event::Short { data, sent: 0, error: Some(error) },
    }
}

/// A send that waits for room completes when all is out, or none of the rest will be.
pub(super) fn sent(data: Data, result: i32) -> Event {
    let outcome = check(result).and_then(|sent| {
        let all = sent as usize == data.len();
        if all { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
    });
    Event::Sent(data, outcome)
}
