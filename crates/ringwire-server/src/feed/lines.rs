//! Lines out of chunks of a file.
//!
//! Chunks go in as they are read, whole lines come out, numbered, without their line ends; empty ones are counted
//! but not handed out. A line longer than [`LINE_BYTES_MAX`] is a fault: the bound on what a file without line ends
//! can make its reader hold.

/// Most bytes of a line.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Cuts a stream of chunks into lines.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    /// Bytes of `held` that were handed out.
    consumed: usize,
    /// Bytes of `held` that were searched for a line end.
    searched: usize,
    number: u64,
}

/// A line that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
}

/// A line is longer than [`LINE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// Its number in the file, from 1.
    pub number: u64,
}

impl Lines {
    /// Takes the next chunk of the file.
    pub fn push(&mut self, chunk: &[u8]) {
        self.held.drain(..self.consumed);
        self.searched -= self.consumed;
        self.consumed = 0;
        self.held.extend_from_slice(chunk);
    }

    /// The file has ended: what follows the last line end is a line too.
    pub fn end(&mut self) {
        if self.held.len() > self.consumed {
            self.push(b"\n");
        }
    }

    /// The next whole line that is not empty, if the chunks so far hold one.
    ///
    /// # Errors
    /// If it is too long.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LineTooLong> {
        loop {
            let found = self.held[self.searched..].iter().position(|&byte| byte == b'\n');
            let end = found.map_or(self.held.len(), |found| self.searched + found);
            let start = self.consumed;
            if end - start > LINE_BYTES_MAX {
                return Err(LineTooLong { number: self.number + 1 });
            }
            if found.is_none() {
                self.searched = end;
                return Ok(None);
            }
            self.consumed = end + 1;
            self.searched = end + 1;
            self.number += 1;
            let bare_end = if self.held[start..end].ends_with(b"\r") { end - 1 } else { end };
            if bare_end > start {
                return Ok(Some(Line { number: self.number, bytes: &self.held[start..bare_end] }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<(u64, String)> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in chunks.iter().map(Some).chain([None]) {
            match chunk {
                Some(chunk) => lines.push(chunk),
                None => lines.end(),
            }
            while let Some(line) = lines.next_line().unwrap() {
                out.push((line.number, String::from_utf8(line.bytes.to_vec()).unwrap()));
            }
        }
        out
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let text = b"one\r\ntwo\n\n\r\nfive";
        let whole = lines_of(&[text]);
        assert_eq!(whole, [(1, "one".into()), (2, "two".into()), (5, "five".into())]);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let split = lines_of(&[&text[..first], &text[first..second], &text[second..]]);
                assert_eq!(split, whole, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_line_end_at_the_end_begins_no_line() {
        assert_eq!(lines_of(&[b"a\n"]), [(1, "a".into())]);
    }

    #[test]
    fn a_file_without_line_ends_is_not_held() {
        let mut lines = Lines::default();
        let chunk = vec![b'x'; LINE_BYTES_MAX / 2];
        lines.push(&chunk);
        lines.push(&chunk);
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.next_line(), Err(LineTooLong { number: 1 }));
    }
}
