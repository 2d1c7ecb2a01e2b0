//! A socket in the file system: programs of this machine publish binary records through it.
//!
//! Who may connect is the file's permissions; who connects may publish to every topic. Each connection is a task of the
//! control plane. What it does stands in [`stream`].

mod file;
mod stream;

use std::cell::Cell;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::Handle;

use self::file::SocketFile;
use super::inlet::Inlet;
use super::source::{Source, SourceKind, SourceState};
use crate::broker::{Broker, Mail};
use crate::failure::Failure;
use crate::options::UnixOptions;

/// How soon it is tried again to accept, where the system had no room for a connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A socket that has been opened.
pub(super) struct Socket {
    listener: UnixListener,
    file: SocketFile,
    options: UnixOptions,
    pub(super) source: Arc<Source>,
}

/// One of the connections that there may be.
struct Place {
    taken: Rc<Cell<usize>>,
    source: Arc<Source>,
}

impl Socket {
    pub(super) fn open(options: &UnixOptions) -> Result<Self, Failure> {
        let path = options.path.display();
        let (listener, file) = SocketFile::listen(&options.path, options.mode)
            .map_err(|words| Failure::new(format!("unix {path}: cannot listen there: {words}")))?;
        let source = Arc::new(Source::new(SourceKind::Unix, path.to_string()));
        Ok(Self { listener, file, options: options.clone(), source })
    }

    /// What is said of it before the server is ready.
    pub(super) fn announcement(&self) -> String {
        format!("unix {} takes records (mode {:04o})", self.source.name(), self.options.mode)
    }

    /// Serves connections until the runtime ends.
    pub(super) async fn run(self, broker: Arc<Broker>, handle: Handle<Mail>) {
        let Self { listener, file: _file, options, source } = self;
        let listener = match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                source.say(format_args!("it cannot be listened on: {error}"));
                return source.set_state(SourceState::Failed { error: error.to_string() });
            }
        };
        source.set_state(SourceState::Running);
        let taken = Rc::new(Cell::new(0));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    source.say(format_args!("cannot accept a connection: {error}"));
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            match Place::take(&taken, options.connections_max, &source) {
                Some(place) => {
                    let inlet = Inlet::new(&broker, &handle, &source);
                    tokio_uring::spawn(async move {
                        stream::serve(stream, inlet).await;
                        drop(place);
                    });
                }
                None => stream::refuse(&stream, options.connections_max),
            }
        }
    }
}

impl Place {
    fn take(taken: &Rc<Cell<usize>>, max: usize, source: &Arc<Source>) -> Option<Self> {
        let count = taken.get() + 1;
        (count <= max).then(|| {
            taken.set(count);
            source.set_connections(count as u64);
            Self { taken: Rc::clone(taken), source: Arc::clone(source) }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.set(self.taken.get() - 1);
        self.source.set_connections(self.taken.get() as u64);
    }
}
