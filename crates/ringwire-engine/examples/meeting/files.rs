//! Files: from a member in pieces to its shard, from there to all shards, and from each to its members.
//!
//! A shard reports how much of a file all its members have taken. The least of these reports is how far the slowest
//! receiver is; the sender hears of it and stays within its window.

use std::rc::Rc;
use std::sync::Arc;

use ringwire_engine::ConnectionId;
use simd_json::prelude::*;
use simd_json::{BorrowedValue, json};

use super::{
    Context, FILE_BYTES_MAX, FILES_AT_ONCE_MAX, Mail, Meeting, MemberId, NAME_CHARS_MAX, PIECE_BYTES, Piece,
    WINDOW_BYTES, checked,
};

/// A file as it is announced.
#[derive(Debug)]
pub(super) struct Offer {
    file: u32,
    from: MemberId,
    /// The sender's name.
    by: String,
    name: String,
    bytes: u64,
}

/// A file that a member of this shard sends.
#[derive(Debug)]
pub(super) struct Upload {
    sender: ConnectionId,
    bytes: u64,
    received: u64,
    /// Bytes that the members of each shard have taken.
    taken: Vec<u64>,
}

/// A file that members of this shard get.
#[derive(Debug)]
pub(super) struct Download {
    receivers: Vec<ConnectionId>,
    bytes_left: u64,
}

/// The shard that a file comes from.
fn home(file: u32) -> usize {
    (file >> 24) as usize
}

impl Meeting {
    /// A member wants to send a file.
    pub(super) fn on_file(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        from: MemberId,
        request: &BorrowedValue<'_>,
    ) -> Result<(), &'static str> {
        let name = request.get_str("name").map(|name| name.chars().take(4 * NAME_CHARS_MAX).collect::<String>());
        let name = checked(name.as_deref(), 4 * NAME_CHARS_MAX).ok_or("a file has a name")?;
        let bytes = request.get_u64("size").filter(|bytes| (1..=FILE_BYTES_MAX).contains(bytes));
        let bytes = bytes.ok_or("a file has 1 byte to 256 MiB")?;
        let tag = request.get_u64("tag").ok_or("a file needs a tag")?;
        let (sender, by) = (self.here[&slot].connection, self.here[&slot].name.clone());
        if self.uploads.values().filter(|upload| upload.sender == sender).count() == FILES_AT_ONCE_MAX {
            return Err("one file after the other, please");
        }
        let file = self.next_number();
        self.uploads.insert(file, Upload { sender, bytes, received: 0, taken: vec![0; cx.shards()] });
        self.post_all(cx, &Mail::File(Arc::new(Offer { file, from, by, name, bytes })));
        let send = json!({ "type": "send", "tag": tag, "file": file, "window": WINDOW_BYTES, "piece": PIECE_BYTES });
        self.tell(cx, slot, &send.encode());
        Ok(())
    }

    /// A piece has come from its sender.
    pub(super) fn on_piece(
        &mut self,
        cx: &mut Context<'_>,
        connection: ConnectionId,
        message: &[u8],
    ) -> Result<(), &'static str> {
        let (number, piece) = message.split_first_chunk::<4>().ok_or("a piece begins with its file's number")?;
        let file = u32::from_be_bytes(*number);
        let upload = self.uploads.get_mut(&file).filter(|upload| upload.sender == connection);
        let upload = upload.ok_or("this is no file of yours")?;
        upload.received += piece.len() as u64;
        if upload.received > upload.bytes {
            return Err("the file is longer than was said");
        }
        if upload.received - upload.taken_by_all() > WINDOW_BYTES {
            return Err("the others have not taken what you sent before");
        }
        self.post_all(cx, &Mail::Piece { file, message: message.into() });
        Ok(())
    }

    /// A file begins, here or on another shard: who is here now gets it, but for its sender.
    pub(super) fn on_offer(&mut self, cx: &mut Context<'_>, offer: &Offer) {
        let Offer { file, from, by, name, bytes } = offer;
        let news = json!({
            "type": "file", "file": *file, "from": *from, "by": by.as_str(), "name": name.as_str(), "size": *bytes
        });
        self.tell_all(cx, &news.encode());
        let others = self.here.values().filter(|member| member.joined.is_some_and(|id| id != *from));
        let receivers = others.map(|member| member.connection).collect();
        self.downloads.insert(*file, Download { receivers, bytes_left: *bytes });
    }

    /// A piece has come from its shard.
    pub(super) fn hand_out(&mut self, cx: &mut Context<'_>, file: u32, message: Arc<[u8]>) {
        let Some(download) = self.downloads.get_mut(&file) else { return };
        download.bytes_left -= message.len() as u64 - 4;
        let receivers = download.receivers.clone();
        if download.bytes_left == 0 {
            self.downloads.remove(&file);
        }
        let piece = Rc::new(Piece { file, message });
        let mut taken = vec![Rc::clone(&piece)];
        for connection in receivers {
            let member = self.here.get_mut(&connection.slot()).filter(|member| member.connection == connection);
            if let Some(member) = member {
                taken.extend(member.lanes.hand(cx, connection, Rc::clone(&piece)));
            }
        }
        drop(piece);
        self.on_taken(cx, taken);
    }

    /// Members have taken pieces: says so where they come from, once all of this shard have.
    pub(super) fn on_taken(&mut self, cx: &mut Context<'_>, pieces: Vec<Rc<Piece>>) {
        for Piece { file, message } in pieces.into_iter().filter_map(Rc::into_inner) {
            let taken = Mail::Taken { file, shard: self.shard, bytes: message.len() as u64 - 4 };
            self.post(cx, home(file), taken);
        }
    }

    /// A shard's members have taken more of a file.
    pub(super) fn on_progress(&mut self, cx: &mut Context<'_>, file: u32, shard: usize, bytes: u64) {
        let Some(upload) = self.uploads.get_mut(&file) else { return };
        let before = upload.taken_by_all();
        upload.taken[shard] += bytes;
        let (now, slot) = (upload.taken_by_all(), upload.sender.slot());
        if now == upload.bytes {
            self.uploads.remove(&file);
        }
        if now > before {
            self.tell(cx, slot, &json!({ "type": "took", "file": file, "bytes": now }).encode());
        }
    }

    /// A sender has gone: its files will not be whole.
    pub(super) fn abandon_uploads(&mut self, cx: &mut Context<'_>, sender: ConnectionId) {
        let abandoned = self.uploads.iter().filter(|(_, upload)| upload.sender == sender);
        let files: Vec<_> = abandoned.map(|(&file, upload)| (file, upload.received < upload.bytes)).collect();
        for (file, is_lost) in files {
            self.uploads.remove(&file);
            if is_lost {
                self.post_all(cx, &Mail::Lost { file });
            }
        }
    }

    /// A file will not be whole.
    pub(super) fn on_lost(&mut self, cx: &mut Context<'_>, file: u32) {
        self.downloads.remove(&file);
        self.tell_all(cx, &json!({ "type": "lost", "file": file }).encode());
    }
}

impl Upload {
    /// Bytes that the slowest receiver has taken.
    fn taken_by_all(&self) -> u64 {
        self.taken.iter().copied().min().unwrap_or(self.bytes)
    }
}
