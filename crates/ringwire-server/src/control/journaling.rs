//! The journal's writer among the control plane's tasks, and its end.

use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::Handle;
use tokio::task::JoinHandle;

use super::post;
use crate::broker::{Broker, Mail};
use crate::journal::{Journal, Writer};

/// How long the last write may take at the end of the server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A writer at work.
pub(super) struct Journaling {
    journal: Arc<Journal>,
    task: JoinHandle<()>,
}

/// Has `writer` write from now on.
pub(super) fn start(writer: Writer, broker: Arc<Broker>, handle: Handle<Mail>) -> Journaling {
    let journal = writer.journal();
    let task = tokio_uring::spawn(async move {
        writer.run(&broker.hub, |shard| post(&handle, shard, Mail::Durable).is_ok()).await;
    });
    Journaling { journal, task }
}

impl Journaling {
    /// Writes what is left. Nobody may publish any more.
    pub(super) async fn close(self) {
        self.journal.close();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.task).await.is_err() {
            eprintln!("ringwire: the journal's last write takes longer than {} s: it is left", CLOSE_TIMEOUT.as_secs());
        }
    }
}
