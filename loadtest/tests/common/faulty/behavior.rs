//! What the server is told to do to messages, and to those who connect.

use std::time::Duration;

/// How a server behaves. The default is a good server that answers at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behavior {
    /// How long it keeps each message.
    pub(crate) hold: Hold,
    /// When nothing leaves it.
    pub(crate) stall: Option<Stall>,
    /// What it does wrong.
    pub(crate) fault: Option<Fault>,
    /// What it does after so many messages.
    pub(crate) ending: Option<Ending>,
    /// Who connects behind so many others hears nothing of what is published.
    pub(crate) forgets_behind: Option<usize>,
    /// How it answers those who connect.
    pub(crate) greeting: Greeting,
    /// Pins its thread to this core, and lets it spin instead of sleep: it then sees what comes in, and lets go what is
    /// due, within some microseconds, as long as the core is its own.
    pub(crate) core: Option<usize>,
}

/// How long each message is kept, from the moment when the server sees it. None overtakes another of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Not at all.
    #[default]
    None,
    /// Each as long.
    Constant(Duration),
    /// `rare_percent` of them, by chance, take longer.
    Bimodal { usual: Duration, rare: Duration, rare_percent: u32 },
}

impl Hold {
    /// The time for the next message.
    pub(crate) fn draw(self, random: &mut fastrand::Rng) -> Duration {
        match self {
            Hold::None => Duration::ZERO,
            Hold::Constant(time) => time,
            Hold::Bimodal { rare, rare_percent, .. } if random.u32(..100) < rare_percent => rare,
            Hold::Bimodal { usual, .. } => usual,
        }
    }
}

/// A time in which nothing leaves the server; what was due in it leaves at its end. Counted from the first message that
/// the server sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    /// When the first begins.
    pub(crate) first: Duration,
    /// How long each lasts.
    pub(crate) lasts: Duration,
    /// From the beginning of one to that of the next; without it there is one.
    pub(crate) every: Option<Duration>,
}

impl Stall {
    /// When what is due `at` leaves.
    pub(crate) fn end(self, at: Duration) -> Duration {
        let Some(since) = at.checked_sub(self.first) else { return at };
        let earlier = self.every.map_or(0, |every| since.as_nanos() / every.as_nanos());
        let begin = self.first + self.every.unwrap_or_default() * earlier as u32;
        if at < begin + self.lasts { begin + self.lasts } else { at }
    }
}

/// What is done to every `nth` message that goes to a connection; each connection counts its own. At least 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) nth: u64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// It does not go out.
    Drop,
    /// It goes out twice.
    Repeat,
    /// It goes out behind the next.
    Swap,
    /// It goes out with one bit changed: in another byte each time.
    Corrupt,
}

/// What happens once the server has got so many messages, from all connections together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection that sent the last of them is closed.
    HangsUp(u64),
    /// The server is gone, with all connections and its port.
    Dies(u64),
    /// No connection is read any more. What was read goes out as always.
    StopsReading(u64),
}

/// How the server answers the opening handshake at the paths that it knows. At others it says 404.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// As it should.
    #[default]
    Right,
    /// HTTP 403.
    Refuses,
    /// 101, with the answer to another key.
    WrongKey,
    /// Closes the connection.
    HangsUp,
    /// Says nothing, and leaves the connection open.
    Silent,
    /// With something that is not HTTP.
    Foreign,
}
