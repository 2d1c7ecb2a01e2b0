//! Requests whose bodies come in chunks (RFC 9112 §7.1).
//!
//! Chunks are undone as they come, so that what is held is the body and not its framing, and no byte is looked at
//! twice. The head is kept as it came, to be read again once the body is whole.

use ringwire_codec::http::{BodyError, ChunkedDecoder, Request};
use ringwire_ring::Driver;

use crate::handler::Handler;
use crate::inbound::Step;
use crate::shard::Shard;

/// A request whose head has come, and its body as far as it has.
#[derive(Debug)]
pub(crate) struct ChunkedRequest {
    /// The head, with the empty line that ends it.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    decoder: ChunkedDecoder,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// It has more bytes than it may.
    TooLong,
    /// It is not in chunks.
    Malformed(BodyError),
}

impl ChunkedRequest {
    /// A request with this head.
    pub(crate) fn new(head: &[u8]) -> Self {
        Self { head: head.to_vec(), body: Vec::new(), decoder: ChunkedDecoder::default() }
    }

    /// Takes bytes from the front of `bytes`; says how many, and whether the body is whole.
    pub(crate) fn take(&mut self, bytes: &[u8], body_bytes_max: usize) -> Result<(usize, bool), BodyFault> {
        let mut taken = 0;
        while taken < bytes.len() {
            let step = self.decoder.decode(&bytes[taken..]).map_err(BodyFault::Malformed)?;
            if step.data.len() > body_bytes_max - self.body.len() {
                return Err(BodyFault::TooLong);
            }
            self.body.extend_from_slice(step.data);
            taken += step.consumed;
            if step.done {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    /// Heap memory it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.head.capacity() + self.body.capacity()
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Takes more of a request whose body comes in chunks.
    pub(crate) fn on_chunks(&mut self, slot: u32, mut request: Box<ChunkedRequest>, bytes: &[u8]) -> Step {
        let body_bytes_max = self.core.options.limits.body_bytes_max;
        match request.take(bytes, body_bytes_max) {
            Ok((_, false)) => {
                self.http_state(slot).chunked = Some(request);
                Step::Taken
            }
            Ok((taken, true)) => {
                let ChunkedRequest { head, body, .. } = &mut *request;
                let parsed = Request::parse(head).ok().flatten();
                let (request, _) = parsed.expect("a head that was read can be read again");
                self.on_whole_request(slot, &request, body);
                Step::Done(taken)
            }
            Err(BodyFault::TooLong) => self.refuse_body(slot, body_bytes_max),
            Err(BodyFault::Malformed(error)) => self.refuse(slot, 400, &format!("{error}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_with_its_last_chunk_and_no_later() {
        let mut request = ChunkedRequest::new(b"");
        assert_eq!(request.take(b"3\r\nab", 5), Ok((5, false)));
        assert_eq!(request.take(b"c\r\n2\r\nde\r\n0\r\n\r\nGET", 5), Ok((15, true)));
        assert_eq!(request.body, b"abcde");
    }

    #[test]
    fn the_limit_is_on_what_the_chunks_hold() {
        let mut request = ChunkedRequest::new(b"");
        assert_eq!(request.take(b"1\r\na\r\n1\r\nb\r\n", 2), Ok((12, false)));
        assert_eq!(request.take(b"1\r\nc", 2), Err(BodyFault::TooLong));
        let malformed = ChunkedRequest::new(b"").take(b"x", 2);
        assert_eq!(malformed, Err(BodyFault::Malformed(BodyError::SizeInvalid)));
    }
}
