//! `meeting`: what goes on beside the picture and the sound of meetings.
//!
//! Rooms have participants who come and go. Whoever comes or goes says so on the room's presence topic, so that all
//! have the head count; everyone chats now and then, and all hear it. In some rooms the host sends one file after the
//! other in chunks, on the same connection and the same topic as its chat: does chat stay quick? Chat beside a file is a
//! series of its own, to be held against the chat of rooms without one.
//!
//! A room is a birth and death process: people come at random (Poisson) and each stays for an exponential time, so that
//! there are `participants` on average; at the start as many are there. The host is always there. Messages of
//! someone who is still coming are due meanwhile and sent once it is there: presence counts from when someone set
//! out to come until each of the others knows.
//!
//! Where the defaults come from: ten people are a team's meeting. Each says something every ten seconds, together a
//! message a second: more than people do who also listen, and about as much as one can read (238 words a minute,
//! Brysbaert 2019, at four words a message). A message is a line or two of text with name, time and id around it. A chunk
//! of 16 KiB is what transfers through browsers' data channels use, since larger ones are not safe between all
//! browsers; 2 MB/s is an uplink of 16 Mbit/s. Stays are far shorter than those of people, so that runs of seconds
//! see somebody come: 60 s, at 100 participants some 3 joins in 2 seconds.

mod room;

use std::sync::Arc;

use super::script::{beats, merge};
use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::json::Json;
use crate::pubsub::{Flow, PubSub, Scenario, Script, Session, Source};
use crate::report::Report;
use crate::run::{self, Finding, Load, Share};
use room::{Room, RoomOptions};

/// `meeting`, on the command line.
pub const KIND: Kind = Kind {
    name: "meeting",
    about: "rooms with joins and leaves, head count and chat, and files through the same connections",
    help: "\
    --rooms N             rooms [10]
    --participants N      who is in each, on average, the host included [10]
    --stay S              seconds that each stays, on average; the host stays [60]
    --chat-rate R         messages a minute of each participant [6]
    --chat-bytes N        payload of a message, at least 44 [200]
    --presence-bytes N    payload of what is said of coming and going, at least 44 [120]
    --file-rooms N        rooms whose host sends files, at most all [2]
    --chunk-bytes N       payload of a chunk, at least 44 [16384]
    --file-bytes-per-second B   of each file [2_000_000]
",
    has_adapter: true,
    read: |flags| Ok(Box::new(MeetingOptions::read(flags)?)),
};

const SERIES: &[&str] = &["chat", "chat beside file", "presence", "file", "join"];
const CHAT: usize = 0;
const CHAT_BESIDE_FILE: usize = 1;
const PRESENCE: usize = 2;
const FILE: usize = 3;
const JOIN: usize = 4;

/// Some rooms.
#[derive(Clone, Debug, PartialEq)]
pub struct MeetingOptions {
    rooms: usize,
    room: RoomOptions,
    file_rooms: usize,
    chunk_bytes: usize,
    file_bytes_per_second: f64,
}

impl MeetingOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let rooms = flags.at_least_one("rooms", 10)?;
        let room = RoomOptions {
            participants: flags.at_least_one("participants", 10)?,
            stay_seconds: flags.above_zero("stay", 60.0)?,
            chats_per_second: flags.above_zero("chat-rate", 6.0)? / 60.0,
            chat_bytes: flags.payload_bytes("chat-bytes", 200)?,
            presence_bytes: flags.payload_bytes("presence-bytes", 120)?,
        };
        Ok(Self {
            rooms,
            room,
            file_rooms: flags.number("file-rooms")?.unwrap_or(2).min(rooms),
            chunk_bytes: flags.payload_bytes("chunk-bytes", 16 * 1024)?,
            file_bytes_per_second: flags.above_zero("file-bytes-per-second", 2e6)?,
        })
    }

    /// Sessions that a room has: who is there and who may come.
    fn seats(&self) -> usize {
        self.room.seats()
    }

    /// Room by room; the first of each is its host. Session n chats in flow 2n and says in 2n + 1 that it comes or
    /// goes; flows of files are the last, room by room. A room has topic 2n for chat and files, 2n + 1 for presence.
    fn scenario(&self) -> Scenario {
        let sessions = self.rooms * self.seats();
        let room_of = |session: usize| session / self.seats();
        let said = (0..sessions).flat_map(|session| {
            let room = room_of(session);
            let chat = if room < self.file_rooms { CHAT_BESIDE_FILE } else { CHAT };
            [Flow { topic: 2 * room, session, series: chat }, Flow { topic: 2 * room + 1, session, series: PRESENCE }]
        });
        let files =
            (0..self.file_rooms).map(|room| Flow { topic: 2 * room, session: room * self.seats(), series: FILE });
        Scenario {
            topics: (0..self.rooms)
                .flat_map(|room| [format!("meeting.{room}"), format!("meeting.{room}.presence")])
                .collect(),
            flows: said.chain(files).collect(),
            sessions: (0..sessions)
                .map(|session| Session {
                    subscribes: vec![2 * room_of(session), 2 * room_of(session) + 1],
                    comes_later: session % self.seats() >= self.room.participants,
                    ..Session::default()
                })
                .collect(),
            bytes_max: self.chunk_bytes.max(self.room.chat_bytes).max(self.room.presence_bytes),
        }
    }

    /// What happens is the same in all threads; each carries out what its sessions do.
    fn script(&self, share: Share, seed: u64) -> Script {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xF11E);
        let places: Vec<f64> = (0..self.file_rooms).map(|_| random.f64()).collect();
        let first_file = 2 * self.rooms * self.seats();
        let files = places.into_iter().enumerate().filter(|(room, _)| share.owns(room * self.seats()));
        let files = files.map(|(room, place)| (place, first_file + room)).collect();
        let chunks = self.file_bytes_per_second / self.chunk_bytes as f64;
        let rooms = (0..self.rooms).map(|room| -> Script {
            let random = fastrand::Rng::with_seed(seed.wrapping_add(1 + room as u64));
            let first_session = room * self.seats();
            Box::new(
                Room::new(self.room, first_session, random)
                    .filter(move |step| share.owns(step.session))
                    .map(|step| step.action),
            )
        });
        merge(rooms.chain([beats(files, chunks, self.chunk_bytes)]).collect())
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("rooms", self.rooms.into()),
            ("participants", self.room.participants.into()),
            ("stay_seconds", self.room.stay_seconds.into()),
            ("chat_per_minute", (self.room.chats_per_second * 60.0).into()),
            ("chat_bytes", self.room.chat_bytes.into()),
            ("presence_bytes", self.room.presence_bytes.into()),
            ("file_rooms", self.file_rooms.into()),
            ("chunk_bytes", self.chunk_bytes.into()),
            ("file_bytes_per_second", self.file_bytes_per_second.into()),
        ])
    }
}

/// How much slower chat is beside a file.
fn findings(found: &Finding) -> Vec<(&'static str, Json)> {
    let p99 = |series: usize| {
        let chat = &found.recorded.series.get(series)?.corrected;
        (chat.count() > 0).then(|| chat.percentile(99.0) as f64 / 1e3)
    };
    let (without, beside) = (p99(CHAT), p99(CHAT_BESIDE_FILE));
    let ratio = without.zip(beside).map(|(without, beside)| beside / without);
    vec![("chat_p99_us", without.into()), ("chat_beside_file_p99_us", beside.into()), ("chat_p99_ratio", ratio.into())]
}

impl Options for MeetingOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let (this, seed) = (self.clone(), load.seed);
        let source = Source::Script(Arc::new(move |share| this.script(share, seed)));
        let mut model = PubSub::new("meeting", place, self.scenario(), source, SERIES, self.to_json());
        model.watch.joins = Some(JOIN);
        model.findings = findings;
        run::run(&model, load)
    }

    /// Chat of all, in messages a second.
    fn rate(&self) -> Option<f64> {
        Some((self.rooms * self.room.participants) as f64 * self.room.chats_per_second)
    }

    /// Everyone chats more.
    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        let chats_per_second = rate / (self.rooms * self.room.participants) as f64;
        Some(Box::new(Self { room: RoomOptions { chats_per_second, ..self.room }, ..self.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pubsub::{Action, What};

    fn options() -> MeetingOptions {
        let arguments = "--rooms 3 --participants 4 --file-rooms 1 --stay 5".split(' ').map(str::to_owned);
        MeetingOptions::read(&mut Flags::split(&arguments.collect::<Vec<_>>()).unwrap()).unwrap()
    }

    fn minute(share: Share) -> Vec<Action> {
        options().script(share, 7).take_while(|action| action.at < Duration::from_secs(60)).collect()
    }

    #[test]
    fn all_in_a_room_hear_its_chat_presence_and_file_and_nobody_else_does() {
        let (options, scenario) = (options(), options().scenario());
        assert_eq!((scenario.flows.len(), scenario.topics.len()), (2 * scenario.sessions.len() + 1, 6));
        for flow in &scenario.flows {
            let room = flow.session / options.seats();
            for (session, subscribes) in scenario.sessions.iter().map(|session| &session.subscribes).enumerate() {
                let hears = subscribes.contains(&flow.topic);
                assert_eq!(hears, session / options.seats() == room, "{flow:?} and session {session}");
            }
        }
        let from_the_start = scenario.sessions.iter().filter(|session| !session.comes_later).count();
        assert_eq!(from_the_start, 12);
    }

    #[test]
    fn a_file_goes_through_the_topic_and_the_session_of_its_hosts_chat() {
        let scenario = options().scenario();
        let file = scenario.flows.last().unwrap();
        assert_eq!((file.topic, file.session, file.series), (scenario.flows[0].topic, 0, FILE));
        let series = |room: usize| scenario.flows[2 * room * options().seats()].series;
        assert_eq!([series(0), series(1), series(2)], [CHAT_BESIDE_FILE, CHAT, CHAT]);
        let chunks = minute(Share { index: 0, count: 1 });
        let is_chunk = |action: &&Action| matches!(action.what, What::Publish { bytes: 16_384, .. });
        let bytes = chunks.iter().filter(is_chunk).count() * 16_384;
        assert!(bytes.abs_diff(120_000_000) < 16_384 * 2, "{bytes} bytes in a minute");
    }

    #[test]
    fn threads_together_do_what_one_does() {
        let key = |action: &Action| (action.at, format!("{:?}", action.what));
        let mut parts: Vec<_> = (0..3).flat_map(|index| minute(Share { index, count: 3 })).collect();
        parts.sort_by_key(key);
        let mut all = minute(Share { index: 0, count: 1 });
        all.sort_by_key(key);
        assert!(all.len() > 100 && parts == all);
    }

    #[test]
    fn a_rate_is_so_much_chat() {
        let rate = options().at_rate(24.0).unwrap().rate().unwrap();
        assert!((rate - 24.0).abs() < 1e-9, "{rate}");
    }
}
