//! A meeting: who is here, chat, and files sent in chunks to the others. `cargo run --release --example meeting`, then
//! open http://127.0.0.1:8082/ in two tabs.
//!
//! Members are on any shard. News (who came, who went, what was said) passes through shard 0, so that all members see
//! the same order. A file goes from its sender's shard to each shard, and from there to who was here when it began.
//!
//! Nothing is lost silently and nothing grows without limit: a member's socket takes at most [`BACKLOG_BYTES`] ahead
//! of the member; what comes then waits in two lanes, news before pieces of files. A sender may be [`WINDOW_BYTES`]
//! ahead of the slowest receiver, who counts as gone after [`PATIENCE`].
//!
//! To the server: `{"type":"join","name"}`, `{"type":"say","text"}`, `{"type":"file","tag","name","size"}`, and binary
//! messages, a file's number (4 bytes, big-endian) before the bytes of a piece. From it: `welcome`, `here`, `said`,
//! `file` and `lost`, to a file's sender `send` and `took`, and the same binary messages.

#[path = "meeting/files.rs"]
mod files;
#[path = "meeting/lanes.rs"]
mod lanes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use files::{Download, Offer, Upload};
use lanes::{Lanes, Piece};
use ringwire_engine::codec::{CloseCode, DecoderLimits, Message, http::Request};
use ringwire_engine::ring::linux::Termination;
use ringwire_engine::{
    Accept, Answer, CloseReason, ConnectionId, EngineOptions, Handler, Opening, Peer, Response, ShardInfo, Upgrade,
    start,
};
use simd_json::prelude::*;
use simd_json::{BorrowedValue, json};

const PAGE: &str = include_str!("meeting.html");
/// Bytes of one piece of a file.
const PIECE_BYTES: usize = 32 * 1024;
/// Bytes of a file that its sender may be ahead of the slowest receiver.
const WINDOW_BYTES: u64 = 512 * 1024;
/// Bytes that a member's socket may be behind.
const BACKLOG_BYTES: usize = 128 * 1024;
/// How long a member may take nothing of what waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Files that one member may be sending.
const FILES_AT_ONCE_MAX: usize = 4;
const NAME_CHARS_MAX: usize = 40;
const TEXT_CHARS_MAX: usize = 4000;

type Context<'a> = ringwire_engine::Context<'a, Mail>;
type MemberId = u64;

/// What shards tell each other.
#[derive(Clone, Debug)]
enum Mail {
    /// To shard 0: pass this on to all.
    PassOn(News),
    News(News),
    /// A file begins. Its number says which shard it comes from.
    File(Arc<Offer>),
    Piece {
        file: u32,
        message: Arc<[u8]>,
    },
    /// The shard's members have taken so many bytes of a file more.
    Taken {
        file: u32,
        shard: usize,
        bytes: u64,
    },
    /// The sender has gone before the file was whole.
    Lost {
        file: u32,
    },
}

#[derive(Clone, Debug)]
enum News {
    Came { id: MemberId, name: String },
    Went { id: MemberId },
    Said { id: MemberId, text: String },
}

/// A shard's view of the meeting.
struct Meeting {
    shard: usize,
    /// All members, those on other shards too.
    everyone: BTreeMap<MemberId, String>,
    /// This shard's connections, by slot.
    here: BTreeMap<usize, Member>,
    uploads: BTreeMap<u32, Upload>,
    downloads: BTreeMap<u32, Download>,
    /// What found a shard's mailbox full, by shard.
    outbox: Vec<VecDeque<Mail>>,
    /// Numbers given to members and files so far.
    numbers: u32,
}

/// A connection, and once it has joined, a member.
struct Member {
    connection: ConnectionId,
    joined: Option<MemberId>,
    name: String,
    lanes: Lanes,
}

impl Meeting {
    fn new(info: ShardInfo) -> Self {
        let outbox = vec![VecDeque::new(); info.shards];
        let (everyone, here) = (BTreeMap::new(), BTreeMap::new());
        let (uploads, downloads) = (BTreeMap::new(), BTreeMap::new());
        Self { shard: info.shard, everyone, here, uploads, downloads, outbox, numbers: 0 }
    }

    fn next_number(&mut self) -> u32 {
        self.numbers += 1;
        (self.shard as u32) << 24 | self.numbers & 0xFF_FFFF
    }

    /// Posts to a shard, behind what waits for room in its mailbox.
    fn post(&mut self, cx: &mut Context<'_>, shard: usize, mail: Mail) {
        self.outbox[shard].push_back(mail);
        self.flush(cx, shard);
    }

    fn post_all(&mut self, cx: &mut Context<'_>, mail: &Mail) {
        for shard in 0..cx.shards() {
            self.post(cx, shard, mail.clone());
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, shard: usize) {
        while let Some(mail) = self.outbox[shard].pop_front() {
            if let Err(mail) = cx.post(shard, mail) {
                self.outbox[shard].push_front(mail);
                return cx.tick_at(cx.now() + Duration::from_millis(1));
            }
        }
    }

    fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        request: &BorrowedValue<'_>,
    ) -> Result<(), &'static str> {
        let joined = self.here[&slot].joined;
        match (request.get_str("type"), joined) {
            (Some("join"), None) => {
                let name = checked(request.get_str("name"), NAME_CHARS_MAX).ok_or("a name has 1 to 40 characters")?;
                let id = MemberId::from(self.next_number());
                self.here.entry(slot).and_modify(|member| {
                    member.joined = Some(id);
                    member.name.clone_from(&name);
                });
                self.tell(cx, slot, &json!({ "type": "welcome", "you": id }).encode());
                self.post(cx, 0, Mail::PassOn(News::Came { id, name }));
                Ok(())
            }
            (Some("say"), Some(id)) => {
                let text = checked(request.get_str("text"), TEXT_CHARS_MAX).ok_or("say 1 to 4000 characters")?;
                self.post(cx, 0, Mail::PassOn(News::Said { id, text }));
                Ok(())
            }
            (Some("file"), Some(from)) => self.on_file(cx, slot, from, request),
            (_, None) => Err("join first"),
            (_, Some(_)) => Err("there is join, say and file"),
        }
    }

    fn on_news(&mut self, cx: &mut Context<'_>, news: News) {
        match news {
            News::Came { id, name } => drop(self.everyone.insert(id, name)),
            News::Went { id } => drop(self.everyone.remove(&id)),
            News::Said { id, text } => {
                let name = self.everyone.get(&id).map_or("", |name| name);
                return self.tell_all(cx, &json!({ "type": "said", "from": id, "name": name, "text": text }).encode());
            }
        }
        let members: Vec<_> =
            self.everyone.iter().map(|(id, name)| json!({ "id": *id, "name": name.as_str() })).collect();
        let count = members.len();
        self.tell_all(cx, &json!({ "type": "here", "count": count, "members": members }).encode());
    }

    /// Tells all members on this shard.
    fn tell_all(&mut self, cx: &mut Context<'_>, news: &str) {
        let slots: Vec<_> =
            self.here.iter().filter(|(_, member)| member.joined.is_some()).map(|(slot, _)| *slot).collect();
        slots.into_iter().for_each(|slot| self.tell(cx, slot, news));
    }

    fn tell(&mut self, cx: &mut Context<'_>, slot: usize, news: &str) {
        if let Some(member) = self.here.get_mut(&slot) {
            member.lanes.tell(cx, member.connection, news);
        }
    }
}

/// What a person may have typed, if there is something and not too much.
fn checked(text: Option<&str>, chars_max: usize) -> Option<String> {
    let text = text?.trim();
    (!text.is_empty() && text.chars().count() <= chars_max).then(|| text.to_owned())
}

impl Handler for Meeting {
    type Mail = Mail;

    fn on_upgrade(&mut self, _cx: &mut Context<'_>, _connection: ConnectionId, opening: &Opening<'_>) -> Upgrade {
        if opening.request.path() == "/ws" { Accept::default().into() } else { not_found().into() }
    }

    fn on_open(&mut self, _cx: &mut Context<'_>, connection: ConnectionId) {
        self.here.insert(
            connection.slot(),
            Member { connection, joined: None, name: String::new(), lanes: Lanes::default() },
        );
    }

    fn on_message(&mut self, cx: &mut Context<'_>, connection: ConnectionId, message: Message<'_>) {
        let done = match message {
            Message::Binary(bytes) => self.on_piece(cx, connection, bytes),
            Message::Text(text) => match simd_json::to_borrowed_value(text.into_bytes()) {
                Ok(request) => self.on_request(cx, connection.slot(), &request),
                Err(_) => Err("this is not JSON"),
            },
        };
        if let Err(words) = done {
            cx.close(connection, CloseCode::POLICY_VIOLATION, words);
        }
    }

    fn on_drained(&mut self, cx: &mut Context<'_>, connection: ConnectionId) {
        let Some(member) = self.here.get_mut(&connection.slot()) else { return };
        let taken = member.lanes.resume(cx, connection);
        self.on_taken(cx, taken);
    }

    fn on_close(&mut self, cx: &mut Context<'_>, connection: ConnectionId, _reason: &CloseReason) {
        let Some(member) = self.here.remove(&connection.slot()) else { return };
        // Whoever waited for this one to take a piece waits no longer.
        self.on_taken(cx, member.lanes.into_pieces());
        self.abandon_uploads(cx, connection);
        if let Some(id) = member.joined {
            self.post(cx, 0, Mail::PassOn(News::Went { id }));
        }
    }

    fn on_mail(&mut self, cx: &mut Context<'_>, mail: Mail) {
        match mail {
            Mail::PassOn(news) => self.post_all(cx, &Mail::News(news)),
            Mail::News(news) => self.on_news(cx, news),
            Mail::File(offer) => self.on_offer(cx, &offer),
            Mail::Piece { file, message } => self.hand_out(cx, file, message),
            Mail::Taken { file, shard, bytes } => self.on_progress(cx, file, shard, bytes),
            Mail::Lost { file } => self.on_lost(cx, file),
        }
    }

    fn on_tick(&mut self, cx: &mut Context<'_>) {
        for shard in 0..cx.shards() {
            self.flush(cx, shard);
        }
        for member in self.here.values() {
            member.lanes.expire(cx, member.connection);
        }
    }

    fn on_http(
        &mut self,
        _cx: &mut Context<'_>,
        _connection: ConnectionId,
        _peer: &Peer,
        request: &Request<'_>,
        _body: &mut [u8],
    ) -> Answer {
        let response = match request.path() {
            "/" => Response::new(200, "text/html; charset=utf-8", PAGE.as_bytes()),
            "/ws" => Response::text(426, "/ws speaks WebSocket\n").header("Upgrade", "websocket"),
            _ => not_found(),
        };
        response.into()
    }
}

fn not_found() -> Response {
    Response::text(404, "the meeting is at /\n")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let termination = Termination::block()?;
    let address: std::net::SocketAddr = std::env::args().nth(1).unwrap_or("127.0.0.1:8082".to_owned()).parse()?;
    let mut options = EngineOptions {
        listen: vec![address.into()],
        notsent_lowat_bytes: Some(32 * 1024),
        ..EngineOptions::default()
    };
    let message_bytes_max = PIECE_BYTES + 4;
    options.limits.message =
        DecoderLimits { frame_bytes_max: message_bytes_max as u64, message_bytes_max, ..DecoderLimits::default() };
    options.limits.backlog_bytes_max = BACKLOG_BYTES;
    let engine = start(options, Meeting::new)?;
    println!("meeting on http://{}/ with {} shards", engine.addresses()[0], engine.shards());
    Ok(engine.run_until(&termination, Duration::from_secs(5))?)
}
