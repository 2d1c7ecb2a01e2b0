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

/// A receive into memory of the asker's: what came in is at its end now.
pub(super) fn filled(data: Option<Data>, result: i32) -> Event {
    let Some(Data::Owned { mut bytes, .. }) = data else {
        unreachable!("a receive has memory of its own to receive in")
    };
    let came = check(result).map(|came| came as usize);
    if let Ok(came) = came {
        let end = bytes.len() + came;
        assert!(end <= bytes.capacity(), "the kernel writes no more than it was told there is room for");
        // SAFETY: the kernel was given the spare capacity of this vector (`Table::spare`), which the table has kept as it was
        // since, and says that it has written this many bytes of it; they are within the capacity, as asserted.
        unsafe { bytes.set_len(end) };
    }
    Event::Filled(bytes, came)
}
