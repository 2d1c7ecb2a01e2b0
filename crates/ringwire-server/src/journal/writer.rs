//! The journal's writer: a task of the control plane that takes what publishers appended, and puts it on disk.
//!
//! One write is under way at a time, through tokio-uring, and with `fsync = "always"` one sync behind it; what is appended
//! meanwhile goes with the next. What is rare and small (a new segment, removing old ones, the folder's own sync) is done
//! with plain calls on a thread for blocking work.
//!
//! A failure, whatever it is, is handled one way: say it, try to begin a new segment every second, and once that works
//! write what all topics hold anew. What was written of the failed segment stays as long as it is needed: the new one's
//! header says how much of it counts.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringwire_hub::{Hub, ShardId};
use ringwire_ring::{Clock, Instant};
use tokio_uring::fs::File;

use super::checkpoint::Checkpoint;
use super::folder::Folder;
use super::record::Record;
use super::segment::{HEADER_BYTES, Header};
use super::shared::{Batch, Journal, Phase};
use crate::options::{Fsync, JournalOptions};

/// How soon a journal that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How soon a shard is told again whose mailbox was full.
const TELL_AGAIN: Duration = Duration::from_millis(1);
/// Memory of a buffer that is kept for the next batch.
const SPARE_BYTES_KEPT: usize = 4 << 20;

/// Writes a journal.
#[derive(Debug)]
pub struct Writer {
    journal: Arc<Journal>,
    folder: Arc<Folder>,
    fsync: Fsync,
    segment_bytes: u64,
    /// The segment that is being written. Nothing is while there is no file.
    file: Option<std::fs::File>,
    number: u64,
    position: u64,
    /// Earlier segments with their lengths, the oldest first.
    sealed: Vec<(u64, u64)>,
}

/// A segment that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) file: std::fs::File,
    pub(super) number: u64,
    /// Where it goes on.
    pub(super) position: u64,
}

/// What the writer is in the middle of.
struct Run {
    file: Option<File>,
    checkpoint: Option<Checkpoint>,
    spare: Vec<u8>,
    clock: Clock,
    /// When something was first written that has not been synced.
    unsynced_since: Option<Instant>,
    /// Shards whose mailboxes were full.
    untold: Vec<ShardId>,
    /// The last good segment, if what is behind it is to be written anew.
    base: Option<(u64, u64)>,
}

impl Writer {
    /// A writer that goes on behind `sealed`, in the segment that has begun.
    pub(super) fn new(
        journal: Arc<Journal>,
        folder: Folder,
        options: &JournalOptions,
        begun: Begun,
        sealed: Vec<(u64, u64)>,
    ) -> Self {
        Self {
            journal,
            folder: Arc::new(folder),
            fsync: options.fsync,
            segment_bytes: options.segment_bytes,
            file: Some(begun.file),
            number: begun.number,
            position: begun.position,
            sealed,
        }
    }

    /// What it writes.
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// Writes until the journal is closed. `tell` sends a shard a [`Mail::Durable`](crate::broker::Mail), and says whether
    /// its mailbox took it.
    pub async fn run(mut self, hub: &Hub, tell: impl Fn(ShardId) -> bool) {
        let mut run = Run {
            file: self.file.take().map(File::from_std),
            checkpoint: None,
            spare: Vec::new(),
            clock: Clock::start(),
            unsynced_since: None,
            untold: Vec::new(),
            base: None,
        };
        loop {
            self.count_bytes();
            run.untold = self.journal.take_waiting().filter(|shard| !tell(*shard)).collect();
            run.untold.iter().for_each(|shard| self.journal.wait_for(*shard));
            if self.journal.phase() == Phase::Failing {
                if self.rest(&mut run).await {
                    return;
                }
                continue;
            }
            let has_more = run.checkpoint.as_mut().is_some_and(|checkpoint| checkpoint.step(&self.journal, hub));
            let is_checkpointed = run.checkpoint.is_some() && !has_more;
            if let (true, Some(checkpoint)) = (is_checkpointed, &run.checkpoint) {
                self.journal.append_mark(&Record::Checkpoint { segment: checkpoint.segment });
            }
            if run.checkpoint.is_none() {
                self.wait(&mut run).await;
            }
            let begins = run.checkpoint.is_none() && self.is_half_dead();
            let full = self.segment_bytes.saturating_sub(self.position);
            let spare = std::mem::take(&mut run.spare);
            let (batch, rotates) = self.journal.take(spare, |bytes| begins || bytes as u64 >= full);
            let result = self.write(&mut run, batch, rotates, is_checkpointed).await;
            let is_closed = match result {
                Ok(is_closed) => is_closed,
                Err(error) => {
                    self.fail(&mut run, &error).await;
                    continue;
                }
            };
            if is_checkpointed {
                self.finish_checkpoint(&mut run).await;
            } else if begins && rotates {
                run.checkpoint = Some(Checkpoint::new(&self.journal, self.number));
            }
            if is_closed {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&self, run: &mut Run) {
        let due = match (self.fsync, run.unsynced_since) {
            (Fsync::Interval(interval), Some(since)) => Some((since + interval).since(run.clock.now())),
            _ => None,
        };
        let due = if run.untold.is_empty() { due } else { Some(TELL_AGAIN) };
        let notified = self.journal.wake.notified();
        match due {
            None => notified.await,
            Some(due) => {
                let _ = tokio::time::timeout(due, notified).await;
            }
        }
    }

    /// Writes a batch and settles its tickets. Says whether the journal is closed with it.
    async fn write(&mut self, run: &mut Run, mut batch: Batch, rotates: bool, must_sync: bool) -> io::Result<bool> {
        let is_end = batch.is_closing;
        if is_end {
            Record::End.write(&mut batch.bytes);
        }
        let file = run.file.as_ref().ok_or_else(|| io::Error::other("there is no segment"))?;
        let bytes = batch.bytes.len() as u64;
        if bytes > 0 {
            let (result, buffer) = file.write_all_at(std::mem::take(&mut batch.bytes), self.position).await;
            result?;
            self.position += bytes;
            self.journal.writes.fetch_add(1, Ordering::Relaxed);
            self.journal.written_bytes.fetch_add(bytes, Ordering::Relaxed);
            run.unsynced_since.get_or_insert(run.clock.now());
            run.spare = buffer;
            run.spare.clear();
            run.spare.shrink_to(SPARE_BYTES_KEPT);
        }
        let is_due = match (self.fsync, run.unsynced_since) {
            (_, None) => false,
            (Fsync::Always, _) => true,
            (Fsync::Interval(interval), Some(since)) => run.clock.now() >= since + interval,
            (Fsync::Never, _) => false,
        };
        if is_due || (run.unsynced_since.is_some() && (rotates || must_sync || is_end)) {
            file.sync_data().await?;
            self.journal.syncs.fetch_add(1, Ordering::Relaxed);
            run.unsynced_since = None;
        }
        self.journal.settle(&batch);
        if rotates {
            self.sealed.push((self.number, self.position));
            let previous_bytes = self.position;
            self.begin(run, self.number + 1, previous_bytes).await?;
        }
        Ok(is_end)
    }

    /// Begins segment `number`.
    async fn begin(&mut self, run: &mut Run, number: u64, previous_bytes: u64) -> io::Result<()> {
        let folder = Arc::clone(&self.folder);
        let file = blocking(move || folder.begin(Header { number, previous_bytes }, &[])).await?;
        if let Some(old) = run.file.replace(File::from_std(file)) {
            let _ = old.close().await;
        }
        self.number = number;
        self.position = HEADER_BYTES as u64;
        Ok(())
    }

    /// Whether more than half of what the segments have is not held any more, with two segments of grace.
    fn is_half_dead(&self) -> bool {
        let sealed: u64 = self.sealed.iter().map(|(_, bytes)| bytes).sum();
        sealed > 2 * self.journal.held_bytes.load(Ordering::Relaxed) + 2 * self.segment_bytes
    }

    /// All that is held stands from the checkpoint on, durably: what is before can go.
    async fn finish_checkpoint(&mut self, run: &mut Run) {
        let Some(checkpoint) = run.checkpoint.take() else { return };
        if !self.journal.healed() {
            return;
        }
        self.journal.held_bytes.store(checkpoint.bytes, Ordering::Relaxed);
        let old: Vec<u64> = self.sealed.iter().map(|(number, _)| *number).filter(|n| *n < checkpoint.segment).collect();
        self.sealed.retain(|(number, _)| *number >= checkpoint.segment);
        // What cannot be removed takes space and does no harm.
        let _ = self.remove(old).await;
        if run.base.take().is_some() {
            let (_, lost) = self.journal.trouble();
            eprintln!(
                "ringwire: the journal is well again, and has all that topics hold; {lost} messages since the start \
                 were published while it could not write"
            );
        }
    }

    /// Removes segments, the oldest first, so that those that are left are without a gap.
    async fn remove(&self, numbers: Vec<u64>) -> io::Result<()> {
        let files: Vec<PathBuf> = numbers.into_iter().map(|number| self.folder.segment(number)).collect();
        let folder = Arc::clone(&self.folder);
        blocking(move || files.iter().try_for_each(std::fs::remove_file).and_then(|()| folder.sync())).await
    }

    /// Takes note of a failure, and says it once.
    async fn fail(&mut self, run: &mut Run, error: &io::Error) {
        self.journal.fail_with(format!("{}: {error}", self.folder.segment(self.number).display()));
        self.note_failure(run).await;
    }

    /// What is behind the last good write is given up, and so is a checkpoint under way.
    async fn note_failure(&mut self, run: &mut Run) {
        run.checkpoint = None;
        if let Some(file) = run.file.take() {
            let _ = file.close().await;
        }
        run.unsynced_since = None;
        if run.base.is_none() {
            run.base = Some((self.number, self.position));
            let (error, _) = self.journal.trouble();
            eprintln!(
                "ringwire: THE JOURNAL IS DEGRADED: {error}. Messages are delivered, but not kept on disk, and \
                 acknowledgements say so. Make room, or mend the disk: it goes on by itself"
            );
        }
    }

    /// Waits, and tries to begin anew. Says whether the journal is closed.
    async fn rest(&mut self, run: &mut Run) -> bool {
        // A buffer that was full is a failure too, and nobody has noted it yet.
        self.note_failure(run).await;
        let (batch, _) = self.journal.take(Vec::new(), |_| false);
        if batch.is_closing {
            eprintln!(
                "ringwire: the journal was closed while it was degraded: what was published since is not on disk"
            );
            return true;
        }
        tokio::time::sleep(RETRY).await;
        if self.begin_anew(run).await.is_ok() {
            self.journal.heal(self.number);
            run.checkpoint = Some(Checkpoint::new(&self.journal, self.number));
        }
        false
    }

    /// Begins the segment behind the last good one. What an attempt before left there is removed.
    async fn begin_anew(&mut self, run: &mut Run) -> io::Result<()> {
        let Some((number, bytes)) = run.base else { return Err(io::Error::other("nothing has failed")) };
        let attempts: Vec<u64> = (number + 1..=self.number).rev().collect();
        self.sealed.retain(|(sealed, _)| *sealed < number);
        for attempt in attempts {
            let _ = self.remove(vec![attempt]).await;
        }
        // In vain on a broken disk: then the new segment's header alone says how much counts.
        let path = self.folder.segment(number);
        let _ = blocking(move || std::fs::OpenOptions::new().write(true).open(path)?.set_len(bytes)).await;
        self.begin(run, number + 1, bytes).await?;
        self.sealed.push((number, bytes));
        Ok(())
    }

    fn count_bytes(&self) {
        let bytes = self.sealed.iter().map(|(_, bytes)| bytes).sum::<u64>() + self.position;
        self.journal.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Runs what blocks on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
