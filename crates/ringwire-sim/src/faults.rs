//! What goes wrong, and how often.

use fastrand::Rng;

/// Chances of each fault, in parts per thousand of the occasions for it.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A transmission takes less than the socket has room for.
    pub short_transmit: u32,
    /// A transmission takes nothing although there is room (`EAGAIN`).
    pub again: u32,
    /// A multishot operation ends without error (no `IORING_CQE_F_MORE`).
    pub multishot_end: u32,
    /// A receive takes less than there is and than fits.
    pub short_receive: u32,
    /// A completion comes later than what it tells of.
    pub late_completion: u32,
    /// An accept fails; the connection may be lost with it.
    pub accept_error: u32,
    /// The network resets a connection; rolled for each segment delivered.
    pub network_reset: u32,
    /// The driver is woken although nobody woke it; rolled for each `enter`.
    pub spurious_wake: u32,
    /// An `enter` returns early (`EINTR`).
    pub interrupted: u32,
    /// The driver cannot say who is at the other end of a socket, as on an old kernel. Not a chance, a fact of the run.
    pub knows_no_peers: bool,
}

impl Faults {
    /// Chances for one run. Each fault is absent from about a third of all runs, so that combinations of a few
    /// frequent faults come up as well as all of them together.
    pub fn seeded(rng: &mut Rng) -> Self {
        let knows_no_peers = rng.u32(0..8) == 0;
        let mut up_to = |most: u32| if rng.u32(0..3) == 0 { 0 } else { rng.u32(1..=most) };
        Self {
            short_transmit: up_to(400),
            again: up_to(200),
            multishot_end: up_to(200),
            short_receive: up_to(400),
            late_completion: up_to(500),
            accept_error: up_to(100),
            network_reset: up_to(4),
            spurious_wake: up_to(50),
            interrupted: up_to(50),
            knows_no_peers,
        }
    }
}

/// Whether a fault of this chance happens now.
pub(crate) fn strikes(rng: &mut Rng, per_thousand: u32) -> bool {
    per_thousand > 0 && rng.u32(0..1000) < per_thousand
}
