//! An upstream server: this one connects to it as a client, asks for what it wants, and publishes what it gets.
//!
//! A connection that ends, for whatever reason, is made anew: after half a second at first and half a minute at last, less
//! up to half of that by chance, so that a server that comes back is not met by all its clients at once. A message that
//! says too little to be published is counted; the first is told with what it lacks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringwire_codec::{Message, Opcode};
use ringwire_engine::Handle;
use ringwire_hub::{Topic, TopicName};

use super::inlet::{Inlet, RETRY};
use super::mapping::Unmapped;
use super::source::{Dropped, Source, SourceKind, SourceState};
use crate::broker::{Broker, Mail};
use crate::cli::ConnectFlags;
use crate::client::{Progress, Random, Wire, connect};
use crate::json::JsonCheck;
use crate::lanes::Payload;
use crate::options::UpstreamOptions;

/// How long it waits until it connects again, at first.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The same at last.
const PAUSE_LAST: Duration = Duration::from_secs(30);
/// How long a connection may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of a message is shown of which nothing can be made.
const SHOWN_BYTES: usize = 100;

/// A server to connect to.
pub(super) struct Upstream {
    options: UpstreamOptions,
    pub(super) source: Arc<Source>,
}

/// Publishes messages.
struct Publishing {
    options: UpstreamOptions,
    inlet: Inlet,
    json: JsonCheck,
    topics: BTreeMap<TopicName, Arc<Topic>>,
}

impl Upstream {
    pub(super) fn new(options: &UpstreamOptions) -> Self {
        // A query may hold a token.
        let shown = options.url.split(['?', '#']).next().unwrap_or_default().to_owned();
        Self { options: options.clone(), source: Arc::new(Source::new(SourceKind::Upstream, shown)) }
    }

    /// What is said of it before the server is ready.
    pub(super) fn announcement(&self) -> String {
        format!("upstream {} is connected to", self.source.name())
    }

    /// Connects, and connects again, until the runtime ends.
    pub(super) async fn run(self, broker: Arc<Broker>, handle: Handle<Mail>) {
        let Self { options, source } = self;
        let inlet = Inlet::new(&broker, &handle, &source);
        let mut publishing = Publishing { options, inlet, json: JsonCheck::default(), topics: BTreeMap::new() };
        let (mut pause, mut random, mut said) = (PAUSE_FIRST, Random::new(), String::new());
        loop {
            let before = source.published();
            let error = publishing.connection().await;
            source.set_connections(0);
            source.set_state(SourceState::Retrying { error: error.clone() });
            if source.published() > before {
                (pause, said) = (PAUSE_FIRST, String::new());
            }
            if error != said {
                source.say(format_args!("{error}; it is tried again"));
                said = error;
            }
            let [by_chance] = random.bytes::<1>();
            tokio::time::sleep(pause - pause.mul_f64(f64::from(by_chance) / 512.0)).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }
}

impl Publishing {
    /// Publishes what comes over one connection; how that ended.
    async fn connection(&mut self) -> String {
        let UpstreamOptions { url, headers, subprotocols, authorities, .. } = &self.options;
        let flags = ConnectFlags {
            header: headers.clone(),
            subprotocol: subprotocols.clone(),
            no_deflate: false,
            ca: authorities.clone(),
            cert: None,
        };
        let mut wire = match connect(url, &flags, None).await {
            Ok(wire) => wire,
            Err(failure) => return failure.message.replace(url, self.inlet.source.name()).replace('\n', " "),
        };
        self.inlet.source.set_connections(1);
        self.inlet.source.set_state(SourceState::Running);
        for text in &self.options.subscribe {
            wire.outbox().send(Opcode::Text, text.as_bytes());
        }
        let ended = self.messages(&mut wire).await;
        wire.finish(CLOSE_TIMEOUT).await;
        ended
    }

    async fn messages(&mut self, wire: &mut Wire) -> String {
        loop {
            let wait = if self.inlet.retry() { RETRY } else { self.options.silence };
            let progress = match tokio::time::timeout(wait, wire.progress()).await {
                Err(_) if wait < self.options.silence => continue,
                Err(_) => {
                    return format!("nothing came for {} ms (silence_timeout_ms)", self.options.silence.as_millis());
                }
                Ok(progress) => progress,
            };
            match progress {
                Ok(Progress::Sent) => {}
                Ok(Progress::EndOfStream) => return "it has ended the connection".to_owned(),
                Err(error) => return format!("the connection broke: {error}"),
                Ok(Progress::Received) => match wire.messages(|message, _| self.take(message)) {
                    Ok(None) => tokio::task::yield_now().await,
                    Ok(Some(close)) => return close.to_string(),
                    Err(violation) => return format!("it breaks the protocol: {violation}"),
                },
            }
        }
    }

    /// Publishes a message.
    fn take(&mut self, message: &Message<'_>) {
        let Self { options, inlet, json, topics } = self;
        let payload = match message {
            Message::Text(text) => Payload::Text(text.as_str()),
            Message::Binary(bytes) => Payload::Binary(bytes),
        };
        let mapped = options.mapping.map(json, payload, |name, publication| {
            if !topics.contains_key(name) {
                if topics.len() >= options.topics_max {
                    let words = || format!("{name} is one topic too many: {} are known (topics_max)", topics.len());
                    return inlet.source.drop_one(Dropped::Refused, words);
                }
                match inlet.broker.open(name) {
                    Ok(topic) => _ = topics.insert(name.clone(), topic),
                    Err(error) => return inlet.source.drop_one(Dropped::Refused, || format!("{name}: {error}")),
                }
            }
            if let Some(topic) = topics.get_mut(name) {
                // What is refused is counted there.
                let _ = inlet.publish(topic, publication);
            }
        });
        if let Err(why) = mapped {
            let reason = if why == Unmapped::NotJson { Dropped::Malformed } else { Dropped::Unmapped };
            inlet.source.drop_one(reason, || format!("a message is not published, {why}: {}", shown(payload)));
        }
    }
}

/// The beginning of a message, for people.
fn shown(payload: Payload<'_>) -> String {
    let text = String::from_utf8_lossy(&payload.bytes()[..payload.len().min(SHOWN_BYTES)]);
    format!("{text:?}")
}
