//! The rows of `cargo xtask bench`: what is measured, with whom, what counts as a message, and what it must show.
//!
//! A row is one `ringload compare`. Its name is that of its record. What a row must show is a list of goals: a bound on a
//! ratio that was taken within the rounds, or on a figure. What must hold between rows is in [`GROWTHS`].

use super::figures::Metric;

/// Rows that stand in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Echo,
    One,
    FanoutAtRest,
    FanoutSaturated,
    Topics,
    Idle,
    Storm,
    Dressed,
    Congestion,
}

/// All groups in the order of the document, with the word of their markers.
pub(crate) const GROUPS: [(Group, &str); 9] = [
    (Group::Echo, "echo"),
    (Group::One, "one"),
    (Group::FanoutAtRest, "fanout-rest"),
    (Group::FanoutSaturated, "fanout-saturated"),
    (Group::Topics, "topics"),
    (Group::Idle, "idle"),
    (Group::Storm, "storm"),
    (Group::Dressed, "dressed"),
    (Group::Congestion, "congestion"),
];

/// What lies between messages and sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dress {
    Plain,
    Tls,
    Deflate,
}

/// Which of the `floor` servers can do the same without WebSocket: the kind on ringwire's driver and that on epoll.
pub(crate) type Floors = Option<(&'static str, &'static str)>;

/// What a ringwire of a row is called and told beyond the usual. The first of a row is the one that goals are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [&'static str],
}

/// With whom something is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// The peer that is best in this very figure.
    Best,
    /// The best of those that wait in epoll.
    BestEpoll,
    /// Raw bytes on ringwire's own driver.
    Floor,
    /// Nobody: the figure itself has a bound.
    Nothing,
    /// The greatest of its own rounds: the least over it.
    OwnMost,
}

/// What a row must show: the figure over that of another is at most, or where more is better at least, the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    pub(crate) against: Against,
    pub(crate) bound: f64,
}

/// What must hold between two rows: the first one's figure over the second one's is at most the bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) group: Group,
    pub(crate) of: &'static str,
    pub(crate) over: &'static str,
    pub(crate) metric: Metric,
    pub(crate) bound: f64,
    pub(crate) about: &'static str,
}

/// What must hold between rows.
pub(crate) const GROWTHS: [Growth; 2] = [
    Growth {
        group: Group::FanoutAtRest,
        of: "fanout-5000-rest",
        over: "fanout-10-rest",
        metric: Metric::Cpu,
        bound: 1.3,
        about: "a delivery's CPU to 5,000 subscribers over that to 10",
    },
    Growth {
        group: Group::Topics,
        of: "topics-1000",
        over: "topics-20",
        metric: Metric::Cpu,
        bound: 1.05,
        about: "a delivery's CPU with 1,000 topics over that with 20",
    },
];

/// One comparison.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Of its record, and for the command line.
    pub(crate) name: String,
    /// For eyes.
    pub(crate) title: String,
    pub(crate) group: Group,
    pub(crate) workload: &'static str,
    /// Of ringload.
    pub(crate) flags: Vec<String>,
    /// What a message is that costs are divided by.
    pub(crate) message: &'static str,
    pub(crate) dress: Dress,
    pub(crate) floors: Floors,
    pub(crate) variants: &'static [Variant],
    /// The peers that are measured if nobody says which: those that were the quickest at it.
    pub(crate) peers: &'static [&'static str],
    /// How many times as long as usual a round is measured.
    pub(crate) stretch: f64,
    /// Seconds of a measurement beside warm-up and measuring: starting, connecting, what the flags let it wait.
    pub(crate) overhead: f64,
    /// Most rounds.
    pub(crate) rounds_max: u32,
    /// The congestion control, if it is not that of the run.
    pub(crate) congestion: Option<&'static str>,
    pub(crate) goals: Vec<Goal>,
}

const QUICKEST: &[&str] = &["fastwebsockets", "bun", "sockudo", "tokio-websockets", "tungstenite"];
const QUICKEST_TO_CONNECT: &[&str] = &["fastwebsockets", "bun", "tokio-websockets", "beast", "gorilla"];
/// The one that is there to compress.
pub(crate) const YAWC: &str = "yawc";

const ECHO_FLOORS: Floors = Some(("tcp-echo", "epoll-echo"));
const FANOUT_FLOORS: Floors = Some(("tcp-fanout", "epoll-fanout"));

/// What the server that goals are about is called unless a row says otherwise.
pub(crate) const RINGWIRE: &str = "ringwire";
const PLAIN: &[Variant] = &[Variant { name: RINGWIRE, arguments: &[] }];
const SPINNING: &[Variant] =
    &[Variant { name: "ringwire-spin", arguments: &["--spin"] }, Variant { name: RINGWIRE, arguments: &[] }];
const CHOOSING: &[Variant] = &[
    Variant { name: "ringwire-cubic", arguments: &["--congestion-control", "cubic"] },
    Variant { name: RINGWIRE, arguments: &[] },
];

/// All rows.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for bytes in [16, 128, 1024, 16 * 1024, 256 * 1024] {
        for connections in [1, 100, 1000] {
            rows.extend([1, 16].map(|depth| echo(bytes, connections, depth)));
        }
    }
    rows.push(spinning());
    rows.extend([10, 100, 1000, 5000].map(at_rest));
    for subscribers in [10, 100, 1000, 5000] {
        rows.extend([8, 32, 64, 256].map(|window| saturated(subscribers, window)));
    }
    rows.extend([topics(20, 470), topics(1000, 2000)]);
    rows.push(idle());
    rows.push(storm());
    rows.extend([wss(), deflate()]);
    rows.extend([congestion_of_echo(), congestion_of_fanout()]);
    rows
}

const fn goal(metric: Metric, against: Against, bound: f64) -> Goal {
    Goal { metric, against, bound }
}

impl Row {
    fn new(
        name: String,
        title: String,
        group: Group,
        workload: &'static str,
        flags: &str,
        message: &'static str,
    ) -> Self {
        let flags = flags.split_whitespace().map(str::to_owned).collect();
        Self {
            name,
            title,
            group,
            workload,
            flags,
            message,
            dress: Dress::Plain,
            floors: None,
            variants: PLAIN,
            peers: QUICKEST,
            stretch: 1.0,
            overhead: 0.3,
            rounds_max: u32::MAX,
            congestion: None,
            goals: Vec::new(),
        }
    }

    /// The name of the server that the goals are about.
    pub(crate) fn judged(&self) -> &'static str {
        self.variants[0].name
    }
}

/// `128`, `16k`: for names.
fn short(bytes: usize) -> String {
    if bytes < 1024 { bytes.to_string() } else { format!("{}k", bytes / 1024) }
}

/// `1,000`.
fn thousands(count: usize) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}

/// `128 B`, `16 KiB`: for eyes.
fn told(bytes: usize) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { format!("{} KiB", bytes / 1024) }
}

fn echo(bytes: usize, connections: usize, depth: usize) -> Row {
    let name = format!("echo-{}-c{connections}-d{depth}", short(bytes));
    let title = format!("{}, {} conn., depth {depth}", told(bytes), thousands(connections));
    let mut flags = format!("--bytes {bytes} --connections {connections} --depth {depth}");
    let large = bytes > 16 * 1024;
    // Gigabytes are on their way at once: each connection is to have come round before anything is measured, and then
    // again; and in the end they are waited for.
    let (warm_up, stretch, overhead, rounds_max) = match (large, connections, depth) {
        (true, 100, 16) => (" --warm-up 1.5", 2.0, 2.5, u32::MAX),
        (true, 1000, 1) => ("", 2.0, 1.0, u32::MAX),
        (true, 1000, _) => (" --warm-up 3", 3.0, 10.0, 2),
        _ => ("", 1.0, 0.3, u32::MAX),
    };
    flags += warm_up;
    let mut goals = vec![goal(Metric::Cpu, Against::Best, 1.0), goal(Metric::Cpu, Against::Floor, 1.05)];
    if connections == 100 && depth == 1 && !large {
        goals.push(goal(Metric::Cpu, Against::BestEpoll, 0.9));
        goals.push(goal(Metric::P99, Against::BestEpoll, 0.8));
    }
    if connections == 1 && depth == 1 {
        goals.push(goal(Metric::P50, Against::Best, 1.0));
    }
    Row {
        floors: ECHO_FLOORS,
        stretch,
        overhead,
        rounds_max,
        goals,
        ..Row::new(name, title, Group::Echo, "echo", &flags, "echo")
    }
}

fn spinning() -> Row {
    let flags = "--bytes 128 --connections 1 --depth 1 --spin on";
    let title = "128 B, 1 conn., depth 1, spinning".to_owned();
    Row {
        floors: ECHO_FLOORS,
        variants: SPINNING,
        goals: vec![goal(Metric::P50, Against::Best, 0.5)],
        ..Row::new("one-spin".to_owned(), title, Group::One, "echo", flags, "echo")
    }
}

/// A hundred publishes a second, and to 5,000 a fifth of that: five hundred thousand deliveries a second are more than a
/// core can send, and so no rest.
fn at_rest(subscribers: usize) -> Row {
    let rate = if subscribers > 1000 { 20 } else { 100 };
    let goals = vec![
        goal(Metric::Cpu, Against::BestEpoll, 0.85),
        goal(Metric::P99, Against::BestEpoll, 0.8),
        goal(Metric::Cpu, Against::Floor, 1.1),
    ];
    let title = format!("{} subscribers, {rate} a second", thousands(subscribers));
    let flags = format!("--subscribers {subscribers} --rate {rate}");
    Row {
        floors: FANOUT_FLOORS,
        stretch: if subscribers < 100 { 2.0 } else { 1.0 },
        goals,
        ..Row::new(format!("fanout-{subscribers}-rest"), title, Group::FanoutAtRest, "fanout", &flags, "delivery")
    }
}

fn saturated(subscribers: usize, window: usize) -> Row {
    let goals = vec![
        goal(Metric::Rate, Against::Best, 1.3),
        goal(Metric::Rate, Against::OwnMost, 0.8),
        goal(Metric::Cpu, Against::Floor, 1.1),
    ];
    let title = format!("{} subscribers, window {window}", thousands(subscribers));
    let flags = format!("--subscribers {subscribers} --window {window}");
    let name = format!("fanout-{subscribers}-w{window}");
    let row = Row::new(name, title, Group::FanoutSaturated, "fanout", &flags, "delivery");
    Row { floors: FANOUT_FLOORS, goals, ..row }
}

/// Messages and subscribers are shared among topics by Zipf's law. The rate is such that there are as many deliveries a
/// second with either number of topics, some 58,000.
fn topics(topics: usize, rate: usize) -> Row {
    let title = format!("{} topics by Zipf's law, 1,000 subscribers, {} a second", thousands(topics), thousands(rate));
    let flags = format!("--topics {topics} --subscribers 1000 --rate {rate} --opening 1 --news-every 0");
    let row = Row::new(format!("topics-{topics}"), title, Group::Topics, "trading", &flags, "delivery");
    Row { goals: vec![goal(Metric::Cpu, Against::Best, 1.0)], ..row }
}

/// Longer than the server's handshake timeout, whose timers are gone then; and before that as many visits as it takes to
/// use all receive buffers, which are the server's and not a connection's.
fn idle() -> Row {
    let flags = "--connections 10000 --visits-before 0.5 --settle 11 --warm-up 0";
    Row {
        peers: &["bun", "fastwebsockets", "tokio-websockets", "beast"],
        goals: vec![goal(Metric::Memory, Against::Nothing, 256.0)],
        overhead: 14.0,
        rounds_max: 3,
        ..Row::new("idle".to_owned(), "10,000 silent conn.".to_owned(), Group::Idle, "idle", flags, "connection")
    }
}

fn storm() -> Row {
    let title = "64 at a time: connect, one echo of 64 B, close".to_owned();
    Row {
        peers: QUICKEST_TO_CONNECT,
        floors: ECHO_FLOORS,
        goals: vec![goal(Metric::Cpu, Against::Best, 0.8)],
        ..Row::new("storm".to_owned(), title, Group::Storm, "storm", "--concurrency 64", "connection")
    }
}

fn wss() -> Row {
    let flags = "--payload json --bytes 1024 --connections 100 --depth 1";
    Row {
        dress: Dress::Tls,
        peers: QUICKEST,
        goals: vec![goal(Metric::Cpu, Against::Best, 1.0)],
        ..Row::new(
            "wss".to_owned(),
            "TLS 1.3, echo of 1 KiB JSON, 100 conn.".to_owned(),
            Group::Dressed,
            "echo",
            flags,
            "echo",
        )
    }
}

fn deflate() -> Row {
    let flags = "--payload json --bytes 1024 --connections 100 --depth 1 --deflate on";
    let title = "permessage-deflate, echo of 1 KiB JSON, 100 conn.".to_owned();
    Row {
        dress: Dress::Deflate,
        peers: &[YAWC, "bun"],
        goals: vec![goal(Metric::Cpu, Against::Best, 1.0)],
        ..Row::new("deflate".to_owned(), title, Group::Dressed, "echo", flags, "echo")
    }
}

fn congestion_of_echo() -> Row {
    Row {
        name: "bbr-echo".to_owned(),
        title: "echo, 128 B, 100 conn., depth 1; all others on BBR".to_owned(),
        group: Group::Congestion,
        variants: CHOOSING,
        congestion: Some("bbr"),
        ..echo(128, 100, 1)
    }
}

fn congestion_of_fanout() -> Row {
    Row {
        name: "bbr-fanout".to_owned(),
        title: "fanout to 1,000, 100 a second; all others on BBR".to_owned(),
        group: Group::Congestion,
        variants: CHOOSING,
        congestion: Some("bbr"),
        ..at_rest(1000)
    }
}

/// Whether a name fits a pattern, in which `*` stands for any characters.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name
            .strip_prefix(head)
            .is_some_and(|name| (0..=name.len()).any(|at| name.is_char_boundary(at) && fits(rest, &name[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_one_name_and_a_name_is_that_of_a_file() {
        let mut names: Vec<String> = all().into_iter().map(|row| row.name).collect();
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')), "{names:?}");
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_size_number_of_connections_depth_and_window_has_its_row() {
        let rows = all();
        let count = |group| rows.iter().filter(|row| row.group == group).count();
        assert_eq!(count(Group::Echo), 5 * 3 * 2);
        assert_eq!((count(Group::FanoutAtRest), count(Group::FanoutSaturated)), (4, 4 * 4));
        assert!(GROUPS.iter().all(|(group, _)| count(*group) > 0));
        for name in ["echo-16-c1-d1", "echo-256k-c1000-d16", "fanout-5000-w256", "topics-1000", "idle", "storm"] {
            assert!(rows.iter().any(|row| row.name == name), "{name}");
        }
    }

    #[test]
    fn what_is_compared_between_rows_are_rows_of_its_group() {
        for growth in &GROWTHS {
            for name in [growth.of, growth.over] {
                assert!(all().iter().any(|row| row.name == name && row.group == growth.group), "{name}");
            }
        }
    }

    #[test]
    fn a_pattern_fits_a_whole_name() {
        assert!(
            fits("echo-*-d1", "echo-16-c1-d1")
                && fits("*", "storm")
                && fits("idle", "idle")
                && fits("e*16*", "echo-16")
        );
        assert!(!fits("echo-*-d1", "echo-16-c1-d16") && !fits("echo", "echo-16") && !fits("", "idle"));
    }
}
