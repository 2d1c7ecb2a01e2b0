//! The buffer ring against a model of the kernel, which reads and writes the same entries, and the same memory.

use fastrand::Rng;

use super::*;

const CHUNK_BYTES: usize = 512 * 1024;

/// A ring of sixteen chunks, of which two are offered at least, and what stands in for the kernel.
struct Model {
    ring: BufferRing,
    /// Which entry is next.
    head: u16,
}

/// What a receive has come to: the chunk, bytes, and whether the kernel goes on in it.
type Filled = (u16, usize, bool);

impl Model {
    fn new(is_incremental: bool) -> Self {
        let mut ring = BufferRing::new(16, CHUNK_BYTES).expect("memory");
        ring.is_incremental = is_incremental;
        Self { ring, head: 0 }
    }

    /// The entry that is next, if one is offered.
    fn entry(&mut self) -> Option<&mut BufRingEntry> {
        // SAFETY: this is the base of the ring, whose first entry holds the tail.
        let tail = unsafe { BufRingEntry::tail(self.ring.entries.as_ptr()) };
        // SAFETY: it was written, and nothing refers to it.
        let tail = unsafe { tail.read() };
        if self.head == tail {
            return None;
        }
        // SAFETY: nothing else refers to an entry while this borrow lives.
        Some(unsafe { self.ring.entry(self.head).as_mut() })
    }

    /// Receives up to `len` bytes of `byte`, as the kernel does. `None`: no buffers.
    fn receive(&mut self, len: usize, byte: u8) -> Option<Filled> {
        let (memory, is_incremental) = (Arc::clone(&self.ring.memory), self.ring.is_incremental);
        let entry = self.entry()?;
        let (id, address, room) = (entry.bid(), entry.addr(), entry.len());
        let len = len.min(room as usize);
        let start = address as usize - memory.start().as_ptr().addr();
        assert!(start + len <= 16 * CHUNK_BYTES && start / CHUNK_BYTES == usize::from(id), "a chunk of the memory");
        // SAFETY: these bytes are inside the mapping.
        let place = unsafe { memory.start().add(start) };
        // SAFETY: as above. That nobody else has them is what these tests are for.
        unsafe { place.write_bytes(byte, len) };
        let goes_on = is_incremental && len < room as usize;
        if goes_on {
            entry.set_addr(address + len as u64);
            entry.set_len(room - len as u32);
        } else {
            self.head = self.head.wrapping_add(1);
        }
        Some((id, len, goes_on))
    }

    /// Receives, and reads the completion.
    fn fill(&mut self, len: usize) -> Lease {
        let (id, len, goes_on) = self.receive(len, 1).expect("one is offered");
        self.ring.take(id, len, goes_on)
    }
}

fn place(lease: &Lease) -> usize {
    lease.buffer.as_ptr().addr()
}

#[test]
fn receives_lie_one_behind_the_other_and_begin_anew_once_all_are_back() {
    let mut model = Model::new(true);
    let (first, second) = (model.fill(100), model.fill(50));
    let begin = place(&first);
    assert_eq!((place(&second), model.ring.leased()), (begin + 100, 2));
    model.ring.give_back(first);
    model.ring.end_turn();
    let third = model.fill(10);
    assert_eq!(place(&third), begin + 150, "the second one is still out");
    model.ring.give_back(third);
    model.ring.give_back(second);
    let last = model.fill(1);
    assert_eq!(place(&last), begin + 160, "completions of this turn may still say what is behind");
    model.ring.give_back(last);
    model.ring.end_turn();
    assert_eq!((place(&model.fill(1)), model.ring.leased()), (begin, 1));
}

#[test]
fn a_full_chunk_is_offered_again_only_when_all_of_it_is_back() {
    let mut model = Model::new(true);
    let whole = model.fill(CHUNK_BYTES);
    let other = model.fill(CHUNK_BYTES - 1);
    assert_eq!((model.ring.offered, model.ring.kept.len()), (1, 14));
    let last = model.fill(1);
    let ring = &mut model.ring;
    assert_eq!((ring.offered, ring.kept.len()), (0, 14));
    ring.give_back(other);
    assert_eq!(ring.offered, 0, "its last byte is out");
    ring.give_back(last);
    ring.give_back(whole);
    assert_eq!((ring.offered, ring.kept.len(), ring.leased()), (2, 14, 0));
}

#[test]
fn a_receive_without_bytes_uses_up_no_chunk_but_a_buffer_of_its_own() {
    let mut model = Model::new(true);
    let lease = model.fill(100);
    let before = format!("{:?}", model.ring);
    model.ring.skip(lease.id);
    model.ring.skip(lease.id + 1);
    assert_eq!(format!("{:?}", model.ring), before);
    let mut model = Model::new(false);
    let (id, ..) = model.receive(0, 1).expect("one is offered");
    model.ring.skip(id);
    assert_eq!(model.fill(1).id, id + 1, "the kernel is in the next one");
    assert_eq!((model.ring.offered, model.ring.tail), (1, 3), "and that one is offered again");
}

#[test]
#[should_panic(expected = "where its completions have led to")]
fn a_turn_does_not_end_where_the_kernel_is_elsewhere() {
    let mut model = Model::new(true);
    let lease = model.fill(100);
    model.receive(1, 2).expect("one is offered");
    model.ring.give_back(lease);
    model.ring.end_turn();
}

#[test]
fn as_much_again_is_offered_when_it_runs_out_once_a_turn_and_up_to_all() {
    let mut ring = Model::new(true).ring;
    assert_eq!(ring.offered, 2, "a mebibyte");
    ring.ran_out();
    ring.ran_out();
    assert_eq!(ring.offered, 4);
    for offered in [8, 16, 16] {
        ring.end_turn();
        ring.ran_out();
        assert_eq!(ring.offered, offered);
    }
}

#[test]
fn what_turns_have_not_used_for_long_is_kept_back() {
    let mut model = Model::new(true);
    for _ in 0..3 {
        model.ring.ran_out();
        model.ring.end_turn();
    }
    (0..3 * TURNS_OBSERVED).for_each(|_| model.ring.end_turn());
    assert_eq!(model.ring.wanted, 16, "turns that receive nothing say nothing");
    let mut receive = |turns, chunks| {
        for _ in 0..turns {
            let mut leases = vec![model.fill(1)];
            for _ in 0..chunks {
                leases.push(model.fill(CHUNK_BYTES));
            }
            leases.into_iter().for_each(|lease| model.ring.give_back(lease));
            model.ring.end_turn();
        }
        model.ring.wanted
    };
    receive(TURNS_OBSERVED / 2, 0);
    receive(1, 3);
    assert_eq!(receive(TURNS_OBSERVED / 2, 0), 4, "three and the one that is begun");
    assert_eq!(receive(2 * TURNS_OBSERVED, 0), 2);
}

#[test]
#[should_panic(expected = "the ring that it is from")]
fn a_lease_of_another_ring_is_refused() {
    let lease = Model::new(true).fill(10);
    Model::new(true).ring.give_back(lease);
}

#[test]
fn whatever_comes_and_goes_nobody_writes_what_is_out_and_nothing_is_lost() {
    for seed in 0..48 {
        let mut random = Rng::with_seed(seed);
        let mut model = Model::new(seed % 3 > 0);
        let mut held: Vec<(Lease, u8)> = Vec::new();
        for turn in 0..200 {
            live(&mut model, &mut held, &mut random);
            let ring = &model.ring;
            assert_eq!(ring.leased(), held.len(), "seed {seed}, turn {turn}");
            assert_eq!(ring.offered, usize::from(ring.tail.wrapping_sub(model.head)), "seed {seed}, turn {turn}");
        }
        held.drain(..).for_each(|(lease, byte)| give_back(&mut model, lease, byte));
        model.ring.end_turn();
        model.ring.want(16);
        let rest: usize = std::iter::from_fn(|| model.receive(CHUNK_BYTES, 0)).map(|(_, len, _)| len).sum();
        assert_eq!(rest, 16 * CHUNK_BYTES, "seed {seed}: all memory is offered");
    }
}

/// A turn: the kernel receives, then completions are read while leases come back.
fn live(model: &mut Model, held: &mut Vec<(Lease, u8)>, random: &mut Rng) {
    let mut completions = Vec::new();
    for _ in 0..random.usize(..6) {
        let len = random.choice([1, 100, 5000, 70_000, CHUNK_BYTES / 2, CHUNK_BYTES]).expect("six");
        let (len, byte) = (random.usize(1..=len), random.u8(..));
        completions.push((model.receive(len, byte), byte));
        if random.u8(..8) == 0
            && let Some((id, 0, goes_on)) = model.receive(0, 0)
        {
            // The end of a stream, and what kernels say of a chunk with it.
            completions.push((Some((id, 0, goes_on && random.bool())), 0));
        }
    }
    for (filled, byte) in completions {
        match filled {
            None => model.ring.ran_out(),
            Some((id, 0, _)) => model.ring.skip(id),
            Some((id, len, goes_on)) => held.push((model.ring.take(id, len, goes_on), byte)),
        }
        while held.len() > 12 || (!held.is_empty() && random.u8(..3) > 0) {
            let (lease, byte) = held.swap_remove(random.usize(..held.len()));
            give_back(model, lease, byte);
        }
    }
    model.ring.end_turn();
}

/// Gives back what must still be as it came.
fn give_back(model: &mut Model, mut lease: Lease, byte: u8) {
    let bytes = lease.bytes();
    assert!(bytes[0] == byte && bytes[1..] == bytes[..bytes.len() - 1], "what is out is written");
    model.ring.give_back(lease);
}
