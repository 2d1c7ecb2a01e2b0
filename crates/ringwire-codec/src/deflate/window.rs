//! The bytes that a peer may refer to: the last of what it sent, across messages.

/// A ring of at most a window's bytes. Its memory grows with what goes through it.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Where the oldest byte is. Zero until the window is full.
    oldest: usize,
    bytes_max: usize,
}

impl Window {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), oldest: 0, bytes_max }
    }

    /// Adds bytes; the oldest make room.
    pub(super) fn push(&mut self, added: &[u8]) {
        let added = &added[added.len().saturating_sub(self.bytes_max)..];
        let (appended, wrapped) = added.split_at(added.len().min(self.bytes_max - self.bytes.len()));
        let missing = (self.bytes.len() + appended.len()).saturating_sub(self.bytes.capacity());
        if missing > 0 {
            let doubled = (2 * self.bytes.capacity()).clamp(self.bytes.len() + appended.len(), self.bytes_max);
            self.bytes.reserve_exact(doubled - self.bytes.len());
        }
        self.bytes.extend_from_slice(appended);
        let (to_end, from_start) = wrapped.split_at(wrapped.len().min(self.bytes.len() - self.oldest));
        self.bytes[self.oldest..self.oldest + to_end.len()].copy_from_slice(to_end);
        self.bytes[..from_start.len()].copy_from_slice(from_start);
        if !wrapped.is_empty() {
            self.oldest = (self.oldest + wrapped.len()) % self.bytes_max;
        }
    }

    /// All bytes, the oldest first, in two pieces.
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(self.oldest);
        [older, newer]
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_the_last_bytes_in_order_whatever_the_pieces() {
        let stream: Vec<u8> = (0..2000u32).map(|i| (i * 7 % 251) as u8).collect();
        for piece_bytes in [1, 3, 255, 256, 257, 700] {
            let mut window = Window::new(256);
            let mut seen = 0;
            for piece in stream.chunks(piece_bytes) {
                window.push(piece);
                seen += piece.len();
                assert_eq!(window.pieces().concat(), stream[seen.saturating_sub(256)..seen], "{piece_bytes}");
                assert!(window.memory_bytes() <= 256);
            }
        }
    }

    #[test]
    fn memory_grows_with_what_came() {
        let mut window = Window::new(1 << 15);
        assert_eq!(window.memory_bytes(), 0);
        window.push(&[1; 100]);
        assert_eq!(window.memory_bytes(), 100);
        window.push(&[1; 100]);
        assert_eq!(window.memory_bytes(), 200);
    }
}
