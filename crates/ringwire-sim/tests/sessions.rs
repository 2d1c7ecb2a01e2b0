//! The deadlines of connections, in virtual time: when each passes, and that nothing but its own cause moves it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::Response;
use ringwire_codec::{Decoder, DecoderLimits, Event, MaskKey, Message, Opcode, Role, encode_close, encode_frame};
use ringwire_engine::{
    Accept, ConnectionId, Context, EngineOptions, Handler, ListenerOptions, Mailbox, Mailboxes, MessageKind, Opening,
    Post, Process, Shard, ShardInfo, Status, Timeouts, Upgrade,
};
use ringwire_ring::{Driver, Instant, Waker};
use ringwire_sim::{Faults, KernelOptions, Peer, Read, SimDriver, SimWaker, Wire, World};

const SECOND: Duration = Duration::from_secs(1);
/// How late a deadline may be: two ticks of the wheel, and the network's delay both ways.
const LATE: Duration = Duration::from_millis(200);

/// What a peer sends, and when after its WebSocket is open; without any, it does not even ask for one.
struct Plan {
    starts: Duration,
    asks: bool,
    sends: Vec<(Duration, Vec<u8>)>,
    answers_pings: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { starts: Duration::ZERO, asks: true, sends: Vec::new(), answers_pings: true }
    }
}

/// What a peer saw, and when after its WebSocket was open (after it connected, if it asks for none).
type Sights = Arc<Mutex<Vec<(Duration, Sight)>>>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Ping,
    Text,
    Close(u16),
    End,
}

struct Visitor {
    address: SocketAddr,
    plan: Plan,
    decoder: Decoder,
    opened: Option<Instant>,
    input: Vec<u8>,
    waiting: Vec<u8>,
    sights: Sights,
    done: bool,
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, opcode, payload, Some(MaskKey::new([1, 2, 3, 4])));
    out
}

impl Visitor {
    fn see(&self, now: Instant, sight: Sight) {
        let since = now.since(self.opened.expect("it is open"));
        self.sights.lock().expect("no panic").push((since, sight));
    }

    fn digest(&mut self, now: Instant) {
        if self.decoder.assembly_bytes() == 0
            && self.input.starts_with(b"HTTP")
            && let Some((response, head_bytes)) = Response::parse(&self.input).expect("HTTP")
        {
            assert_eq!(response.status(), 101);
            self.opened = Some(now);
            self.input.drain(..head_bytes);
        }
        if self.opened.is_none() {
            return;
        }
        let (mut input, mut at) = (std::mem::take(&mut self.input), 0);
        while at < input.len() {
            let step = self.decoder.decode(&mut input[at..]).expect("right frames");
            at += step.consumed;
            let sight = match step.event {
                None => continue,
                Some(Event::Ping(_)) => Sight::Ping,
                Some(Event::Message(_)) => Sight::Text,
                Some(Event::Close(frame)) => Sight::Close(frame.map_or(0, |frame| frame.code.value())),
                Some(Event::Pong(_)) => continue,
            };
            match sight {
                Sight::Ping if self.plan.answers_pings => self.waiting.extend(frame(Opcode::Pong, b"")),
                Sight::Close(1011) => {}
                Sight::Close(_) => self.waiting.extend(frame(Opcode::Close, &encode_close(None, ""))),
                Sight::Ping | Sight::Text | Sight::End => {}
            }
            self.see(now, sight);
        }
        self.decoder.release();
    }
}

impl Peer for Visitor {
    fn act(&mut self, wire: &mut Wire<'_>) {
        if !wire.is_connected() {
            wire.connect(self.address);
            if self.plan.asks {
                let url = Url::parse(&format!("ws://{}/", self.address)).expect("a URL");
                self.waiting = ClientHandshake::new(&url, [7; 16]).request();
            } else {
                self.opened = Some(wire.now());
                self.waiting = self.plan.sends.drain(..).flat_map(|(_, bytes)| bytes).collect();
            }
        }
        let end = loop {
            match wire.read(&mut self.input, 4096) {
                Read::Bytes(_) => {}
                end => break end,
            }
        };
        self.digest(wire.now());
        if let Some(opened) = self.opened {
            let since = wire.now().since(opened);
            while self.plan.sends.first().is_some_and(|(at, _)| *at <= since) {
                self.waiting.extend(self.plan.sends.remove(0).1);
            }
            if let Some((at, _)) = self.plan.sends.first() {
                wire.wake_after(*at - since);
            }
        }
        if end != Read::Nothing {
            self.see(wire.now(), Sight::End);
            wire.close();
            self.done = true;
            return;
        }
        let written = wire.write(&self.waiting);
        self.waiting.drain(..written);
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!("a visitor that has seen {:?}", self.sights)
    }
}

/// Sends every message back but this one.
const QUIET: &[u8] = b"quiet";

/// Sends messages back.
struct Echo;

impl Handler for Echo {
    type Mail = ();

    fn on_upgrade(&mut self, _: &mut Context<'_, ()>, _: ConnectionId, _: &Opening<'_>) -> Upgrade {
        Accept::default().into()
    }

    fn on_message(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId, message: Message<'_>) {
        if message.bytes() != QUIET {
            cx.send(id, MessageKind::Text, message.bytes()).expect("open");
        }
    }
}

/// Ends the run.
struct Drainer(Mailboxes<()>, bool);

impl Peer for Drainer {
    fn act(&mut self, _: &mut Wire<'_>) {
        self.0[0].force(Post::Drain(SECOND));
        self.1 = true;
    }

    fn is_done(&self) -> bool {
        self.1
    }

    fn describe(&self) -> String {
        "the drain".to_owned()
    }
}

/// Runs a server with these options until its drain after ten minutes, and gives what each of its peers saw.
fn run(set: impl Fn(&mut EngineOptions), plans: Vec<Plan>) -> Vec<Vec<(Duration, Sight)>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let mut listener = ListenerOptions::from(address);
    listener.timeouts = Timeouts { ping: None, ..Timeouts::default() };
    let mut options = EngineOptions { listen: vec![listener], ..EngineOptions::default() };
    options.limits.connections_max = 50;
    set(&mut options);
    let world = World::new(5, Faults::default(), false);
    let mut sights = Vec::new();
    for plan in plans {
        let (seen, after) = (Sights::default(), plan.starts);
        sights.push(Arc::clone(&seen));
        let decoder = Decoder::new(Role::Client, DecoderLimits::default());
        let (input, waiting) = (Vec::new(), Vec::new());
        let visitor = Visitor { address, plan, decoder, opened: None, input, waiting, sights: seen, done: false };
        world.add_peer(Box::new(visitor), after);
    }
    let kernel =
        KernelOptions { sockets_max: 200, operations_max: 1000, receive_buffers: 16, receive_buffer_bytes: 4096 };
    let driver = world.driver(&kernel);
    let mailboxes: Mailboxes<()> = [Mailbox::new(4)].into();
    let waker = driver.waker();
    mailboxes[0].set_wake(move || waker.wake());
    world.add_peer(Box::new(Drainer(Arc::clone(&mailboxes), false)), 600 * SECOND);
    let wakers: Arc<[OnceLock<SimWaker>]> = [OnceLock::new()].into();
    let (info, process) = (ShardInfo { shard: 0, shards: 1 }, Arc::new(Process::new(1)));
    let mut shard: Shard<SimDriver, Echo> =
        Shard::new(driver, Echo, info, Arc::new(options), mailboxes, wakers, process);
    shard.listen().expect("listen");
    while shard.turn().expect("the simulated enter does not fail") == Status::Running {}
    drop(shard);
    world.pass(10 * SECOND);
    sights.into_iter().map(|seen| seen.lock().expect("no panic").clone()).collect()
}

#[track_caller]
fn assert_about(at: Duration, wanted: Duration) {
    assert!(at + Duration::from_millis(64) >= wanted && at <= wanted + LATE, "{at:?}, not {wanted:?}");
}

fn pinged(options: &mut EngineOptions) {
    options.listen[0].timeouts.ping = Some(40 * SECOND);
    options.listen[0].timeouts.pong = 15 * SECOND;
}

#[test]
fn a_silent_peer_that_answers_is_pinged_for_ever() {
    let seen = run(pinged, vec![Plan::default()]).remove(0);
    let (pings, end) = seen.split_at(seen.len() - 2);
    assert_eq!(end.iter().map(|(_, sight)| sight).collect::<Vec<_>>(), [&Sight::Close(1001), &Sight::End]);
    assert!(pings.len() >= 14 && pings.iter().all(|(_, sight)| *sight == Sight::Ping), "{seen:?}");
    for pair in pings.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap >= 35 * SECOND - LATE && gap <= 40 * SECOND + 2 * LATE, "{gap:?}");
    }
}

#[test]
fn a_peer_that_answers_no_ping_is_closed_when_the_pong_is_due() {
    let seen = run(pinged, vec![Plan { answers_pings: false, ..Plan::default() }]).remove(0);
    let [(ping, Sight::Ping), (close, Sight::Close(1011)), (_, Sight::End)] = &seen[..] else { panic!("{seen:?}") };
    assert!(*ping >= 35 * SECOND - LATE && *ping <= 40 * SECOND + LATE, "{ping:?}");
    assert_about(*close - *ping, 15 * SECOND);
}

#[test]
fn a_peer_that_speaks_is_not_pinged_and_a_message_answers_a_ping() {
    let text = |at: u64| (Duration::from_secs(at), frame(Opcode::Text, b"x"));
    let busy = Plan { sends: (0..20).map(|n| text(n * 30)).collect(), ..Plan::default() };
    // Its second message comes 10 s behind the first ping, and it never answers with a pong.
    let late = Plan { sends: vec![text(0), text(48)], answers_pings: false, ..Plan::default() };
    let mut seen = run(pinged, vec![busy, late]);
    let late = seen.pop().expect("two");
    assert!(seen[0].iter().all(|(_, sight)| *sight != Sight::Ping), "{seen:?}");
    let sights: Vec<_> = late.iter().map(|(_, sight)| sight.clone()).collect();
    assert_eq!(sights, [Sight::Text, Sight::Ping, Sight::Text, Sight::Ping, Sight::Close(1011), Sight::End]);
    assert!(late[3].0 >= 83 * SECOND - LATE && late[3].0 <= 88 * SECOND + LATE, "{late:?}");
}

#[test]
fn idle_time_runs_from_the_last_message_and_pings_do_not_move_it() {
    let set = |options: &mut EngineOptions| {
        pinged(options);
        options.listen[0].timeouts.idle = Some(100 * SECOND);
    };
    let text = (30 * SECOND, frame(Opcode::Text, b"x"));
    let pings = (1..12).map(|n| (n * 10 * SECOND + 30 * SECOND, frame(Opcode::Ping, b"")));
    let quiet = Plan { sends: vec![(30 * SECOND, frame(Opcode::Text, QUIET))], ..Plan::default() };
    let mut seen = run(set, vec![Plan { sends: [text].into_iter().chain(pings).collect(), ..Plan::default() }, quiet]);
    let quiet = seen.pop().expect("two");
    let close = quiet.iter().find(|(_, sight)| *sight == Sight::Close(1000)).expect("it ends");
    assert_about(close.0, 130 * SECOND);
    let seen = seen.remove(0);
    let [(text, Sight::Text), (close, Sight::Close(1000)), (_, Sight::End)] = &seen[..] else { panic!("{seen:?}") };
    assert_about(*close - *text, 100 * SECOND);
}

#[test]
fn a_lifetime_ends_between_three_quarters_and_the_whole_of_it_and_not_for_all_at_once() {
    let set = |options: &mut EngineOptions| options.listen[0].timeouts.lifetime = Some(400 * SECOND);
    let busy =
        || Plan { sends: (0..60).map(|n| (n * 10 * SECOND, frame(Opcode::Text, b"x"))).collect(), ..Plan::default() };
    let seen = run(set, (0..10).map(|_| busy()).collect());
    let mut ends = Vec::new();
    for seen in seen {
        let close = seen.iter().find(|(_, sight)| *sight == Sight::Close(1001)).expect("it ends");
        assert!(close.0 >= 300 * SECOND - LATE && close.0 <= 400 * SECOND + LATE, "{close:?}");
        ends.push(close.0.as_secs() / 5);
    }
    ends.sort_unstable();
    ends.dedup();
    assert!(ends.len() >= 6, "{ends:?}");
}

#[test]
fn without_deadlines_nothing_ever_comes() {
    let seen = run(|_| {}, vec![Plan::default()]).remove(0);
    let sights: Vec<_> = seen.iter().map(|(_, sight)| sight.clone()).collect();
    assert_eq!(sights, [Sight::Close(1001), Sight::End], "the drain's");
}

#[test]
fn a_peer_that_says_nothing_is_ended_by_the_handshake_deadline() {
    let set = |options: &mut EngineOptions| options.listen[0].timeouts.handshake = 20 * SECOND;
    let seen = run(set, vec![Plan { asks: false, ..Plan::default() }]).remove(0);
    let [(end, Sight::End)] = &seen[..] else { panic!("{seen:?}") };
    assert_about(*end, 20 * SECOND);
}

#[test]
fn of_too_many_handshakes_the_oldest_is_let_go() {
    let set = |options: &mut EngineOptions| {
        options.limits.handshakes_max = 3;
        options.listen[0].timeouts.handshake = 100 * SECOND;
    };
    // One each second that says nothing; the third finishes its own before it would be let go.
    let silent = |n: u32| Plan { starts: n * SECOND, asks: n == 2, ..Plan::default() };
    let seen = run(set, (0..7).map(silent).collect());
    let ends: Vec<_> = seen.iter().map(|seen| seen.last().expect("an end").0).collect();
    // Those of 0 and 1 go when 4 and 5 come: 2 is no handshake any more. The last three stay until they are too slow.
    for (n, wanted) in [(0, 4 * SECOND), (1, 4 * SECOND), (3, 3 * SECOND), (4, 100 * SECOND), (6, 100 * SECOND)] {
        assert_about(ends[n], wanted);
    }
    assert!(seen[2].iter().any(|(_, sight)| *sight == Sight::Close(1001)), "it lives until the drain: {:?}", seen[2]);
}
