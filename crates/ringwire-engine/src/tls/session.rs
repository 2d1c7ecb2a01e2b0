//! One connection's TLS, in either role: a value that turns bytes into bytes.
//!
//! [`Session::receive`] decrypts what came in and appends plaintext; what the machine wants to say itself (its part of
//! the handshake, tickets, answers to key updates, alerts) gathers inside until [`Session::transmit`] takes it out, in
//! front of what is encrypted next, in the order in which the machine's sequence numbers were given. Whoever transmits
//! therefore asks every session that [`has_output`](Session::has_output), whether or not there is plaintext.
//!
//! Records are decrypted where they were received; only one that has not come whole is copied and kept, and with it the
//! parts of a handshake message that rustls has decrypted already: it must see these very bytes again.

use std::fmt;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};

use super::TlsError;

/// One connection's TLS.
pub struct Session {
    machine: Machine,
    /// A record that has not come whole, or a handshake message in several records.
    pending: Vec<u8>,
    /// What the machine wants sent, encrypted where it must be.
    output: Vec<u8>,
    /// Bytes at the front of a connection's backlog that are ciphertext already; for the engine's own use.
    pub(crate) sealed_bytes: usize,
    server_name: Option<Box<str>>,
    peer_has_ended: bool,
    end: End,
}

/// How far the end has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Not at all.
    Open,
    /// We have said that we send nothing more (`close_notify`).
    Said,
    /// Broken.
    Failed(TlsError),
}

enum Machine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Whether the peer may send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// It may.
    Open,
    /// It has said that it will not (`close_notify`, RFC 8446 §6.1).
    Ended,
}

/// What is known of a connection's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// Name of the cipher suite, as `TLS13_AES_128_GCM_SHA256`.
    pub cipher_suite: String,
    /// The protocol agreed on (ALPN, RFC 7301), if the client asked for one.
    pub alpn: Option<String>,
    /// The name that the client asked for (SNI, RFC 6066 §3).
    pub server_name: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The client's certificate, verified, in DER.
    pub client_certificate: Option<Vec<u8>>,
}

/// What a look at the machine came to.
enum Progress {
    /// There may be more to do.
    More,
    /// It waits for bytes.
    Idle,
    /// The peer has ended its stream.
    Ended,
}

/// Most that is kept of what has not come whole. A record has at most 18,437 bytes (RFC 5246 §6.2.3); a chain of
/// certificates in a client's handshake message may take several.
const PENDING_BYTES_MAX: usize = 64 * 1024;
/// What rustls keeps on the heap for a connection that is idle: keys, secrets, states. Measured: see docs/operations.md.
const MACHINE_BYTES: usize = 2304;
/// Header of a record: type, version, length (RFC 8446 §5.1).
const RECORD_HEADER_BYTES: usize = 5;
/// Most plaintext of a record.
const RECORD_PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
/// More than any cipher suite adds to a record: header, explicit nonce, content type, tag.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// Room for what rustls puts in front of application data by itself: a key update, an alert.
const CONTROL_BYTES: usize = 256;

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("is_handshaking", &self.is_handshaking())
            .field("pending", &self.pending.len())
            .field("output", &self.output.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn server(machine: UnbufferedServerConnection) -> Self {
        Self::new(Machine::Server(machine))
    }

    pub(super) fn client(machine: UnbufferedClientConnection) -> Self {
        let mut session = Self::new(Machine::Client(machine));
        // A client speaks first; that needs nothing from outside, so it cannot fail on what came from there.
        let mut nothing = Vec::new();
        let started = session.receive(&mut [], &mut nothing);
        debug_assert!(started.is_ok() && nothing.is_empty() && session.has_output());
        session
    }

    fn new(machine: Machine) -> Self {
        Self {
            machine,
            pending: Vec::new(),
            output: Vec::new(),
            sealed_bytes: 0,
            server_name: None,
            peer_has_ended: false,
            end: End::Open,
        }
    }

    /// Takes in `bytes` as they came, decrypting them in place, and appends what they say to `plain`: at most as many
    /// bytes as there are.
    ///
    /// # Errors
    /// Why TLS has ended. What came before the fault is in `plain`, and an alert for the peer in the output.
    pub fn receive(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<Stream, TlsError> {
        match &self.end {
            End::Open | End::Said => {}
            End::Failed(error) => return Err(error.clone()),
        }
        if self.peer_has_ended {
            return Ok(Stream::Ended);
        }
        let result = match self.take_in(bytes, plain) {
            // Whoever has said that it is done may still listen, but cannot say what is wrong any more.
            Err(_) if self.end == End::Said => Ok(Stream::Ended),
            result => result,
        };
        match &result {
            Ok(stream) => self.peer_has_ended = *stream == Stream::Ended,
            Err(error) => self.end = End::Failed(error.clone()),
        }
        if self.pending.is_empty() && self.pending.capacity() > 0 {
            self.pending = Vec::new();
        }
        result
    }

    fn take_in(&mut self, mut bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<Stream, TlsError> {
        let mut pending = std::mem::take(&mut self.pending);
        // A record that had begun is completed first, and what follows it stays where it is.
        while !pending.is_empty() && !bytes.is_empty() {
            let (begun, rest) = bytes.split_at_mut(missing_bytes(&pending).min(bytes.len()));
            pending.extend_from_slice(begun);
            bytes = rest;
            let (used, stream) = self.run(&mut pending, plain)?;
            if stream == Stream::Ended {
                return Ok(Stream::Ended);
            }
            pending.drain(..used);
            if pending.len() > PENDING_BYTES_MAX {
                return Err(TlsError::TooLong);
            }
        }
        if pending.is_empty() {
            let (used, stream) = self.run(bytes, plain)?;
            if stream == Stream::Ended {
                return Ok(Stream::Ended);
            }
            pending.extend_from_slice(&bytes[used..]);
        }
        self.pending = pending;
        Ok(Stream::Open)
    }

    /// Runs the machine over `bytes` until it wants more. Returns how many it is done with.
    fn run(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<(usize, Stream), TlsError> {
        let mut at = 0;
        loop {
            let (used, progress) = self.step(&mut bytes[at..], plain);
            at += used;
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::Idle) => return Ok((at, Stream::Open)),
                Ok(Progress::Ended) => return Ok((at, Stream::Ended)),
                Err(error) => {
                    self.take_alert(&mut bytes[at..]);
                    return Err(error.into());
                }
            }
        }
    }

    fn step(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> (usize, Result<Progress, Error>) {
        match &mut self.machine {
            Machine::Server(machine) => {
                let step = absorb(machine.process_tls_records(bytes), plain, &mut self.output);
                if let Some(name) = super::acceptor::take_server_name() {
                    self.server_name = Some(name);
                }
                step
            }
            Machine::Client(machine) => absorb(machine.process_tls_records(bytes), plain, &mut self.output),
        }
    }

    /// After an error: the alert that tells the peer of it, and nothing else.
    fn take_alert(&mut self, bytes: &mut [u8]) {
        while self.common().wants_write() {
            let before = self.output.len();
            let _ = self.step(bytes, &mut Vec::new());
            if self.output.len() == before {
                return;
            }
        }
    }

    /// Appends ciphertext to `out`: what the machine wants said, and then `plain`.
    ///
    /// # Errors
    /// If `plain` cannot be sent: TLS has ended, or its handshake has not. What the machine wants said is in `out` even so.
    pub fn transmit(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.take_output(out);
        if plain.is_empty() {
            return Ok(());
        }
        match &self.end {
            End::Open => {}
            End::Said => return Err(TlsError::Protocol("nothing follows a close_notify".to_owned())),
            End::Failed(error) => return Err(error.clone()),
        }
        let records = plain.len().div_ceil(RECORD_PLAINTEXT_BYTES_MAX);
        let room = plain.len() + records * RECORD_OVERHEAD_BYTES + CONTROL_BYTES;
        let result = self.write(out, room, |traffic, room| traffic.encrypt(plain, room));
        if let Err(error) = &result {
            self.end = End::Failed(error.clone());
        }
        result
    }

    /// Appends to `out` what tells the peer that nothing more will be sent (`close_notify`). Says nothing a second time,
    /// or before the handshake is done, or after a fault.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.take_output(out);
        if self.end == End::Open && !self.is_handshaking() {
            // What cannot be said any more is not said.
            let _ = self.write(out, CONTROL_BYTES, |traffic, room| traffic.queue_close_notify(room));
            self.end = End::Said;
        }
    }

    /// Appends to `out` what `encrypt` writes into `room` bytes.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        encrypt: impl FnOnce(&mut dyn Encrypt, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        // The machine must see again what it has not been able to use; see the module's words.
        let mut pending = std::mem::take(&mut self.pending);
        let result = match &mut self.machine {
            Machine::Server(machine) => write(machine.process_tls_records(&mut pending), out, room, encrypt),
            Machine::Client(machine) => write(machine.process_tls_records(&mut pending), out, room, encrypt),
        };
        self.pending = pending;
        result
    }

    fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut std::mem::take(&mut self.output));
    }

    /// Whether there is something to be sent though there be no plaintext.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Why it is broken, if it is.
    pub fn fault(&self) -> Option<&TlsError> {
        match &self.end {
            End::Failed(error) => Some(error),
            End::Open | End::Said => None,
        }
    }

    /// Whether the peer has said that it will send nothing more.
    pub fn peer_has_ended(&self) -> bool {
        self.peer_has_ended
    }

    /// Whether [`close`](Self::close) has something to say.
    pub(crate) fn owes_close(&self) -> bool {
        self.end == End::Open && !self.is_handshaking()
    }

    /// Whether plaintext cannot be sent yet.
    pub fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Memory that it takes: itself, what rustls keeps of a connection, and what is under way.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + MACHINE_BYTES + self.pending.capacity() + self.output.capacity()
    }

    /// What is known of it; none before the handshake is done.
    pub fn facts(&self) -> Option<TlsFacts> {
        let common = self.common();
        if common.is_handshaking() {
            return None;
        }
        let certificates = match &self.machine {
            Machine::Server(_) => common.peer_certificates(),
            Machine::Client(_) => None,
        };
        let suite = common.negotiated_cipher_suite()?.suite();
        Some(TlsFacts {
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher_suite: suite.as_str().map_or_else(|| format!("{suite:?}"), str::to_owned),
            alpn: common.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            server_name: self.server_name.as_deref().map(str::to_owned),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate: certificates.and_then(<[_]>::first).map(|certificate| certificate.to_vec()),
        })
    }

    fn common(&self) -> &CommonState {
        match &self.machine {
            Machine::Server(machine) => machine,
            Machine::Client(machine) => machine,
        }
    }
}

/// Deals with one state of the machine. Returns how many of its input bytes are used up.
fn absorb<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> (usize, Result<Progress, Error>) {
    let mut used = status.discard;
    let state = match status.state {
        Ok(state) => state,
        Err(error) => return (used, Err(error)),
    };
    let progress = match state {
        ConnectionState::ReadTraffic(mut traffic) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    used += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Progress::More),
            }
        },
        ConnectionState::EncodeTlsData(mut data) => {
            let start = output.len();
            let required = match data.encode(&mut []) {
                Err(EncodeError::InsufficientSize(error)) => error.required_size,
                Ok(_) | Err(EncodeError::AlreadyEncoded) => 0,
            };
            output.resize(start + required, 0);
            let written = data.encode(&mut output[start..]).unwrap_or(0);
            output.truncate(start + written);
            Ok(Progress::More)
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Progress::More)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Progress::Ended),
        // No configuration of ours takes early data.
        _ => Ok(Progress::Idle),
    };
    (used, progress)
}

/// A machine that can encrypt, whatever its role.
trait Encrypt {
    fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Encrypt for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plain, room)
    }

    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, room)
    }
}

/// Appends to `out` what `encrypt` writes into `room` bytes.
fn write<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Vec<u8>,
    room: usize,
    encrypt: impl FnOnce(&mut dyn Encrypt, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsError> {
    debug_assert_eq!(status.discard, 0, "the machine has run dry before anything is encrypted");
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
        return Err(TlsError::Protocol("the handshake is not done".to_owned()));
    };
    let start = out.len();
    out.resize(start + room, 0);
    let written = encrypt(&mut traffic, &mut out[start..]);
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    match written {
        Ok(_) => Ok(()),
        Err(EncryptError::EncryptExhausted) => Err(TlsError::KeysExhausted),
        Err(EncryptError::InsufficientSize(error)) => Err(TlsError::Protocol(error_words(error.required_size))),
    }
}

fn error_words(required: usize) -> String {
    format!("a record needs {required} bytes, more than any should")
}

/// Bytes that the record which `pending` begins with still lacks: at least one, or all there may be if it is whole and
/// waits for the records that its message goes on in.
fn missing_bytes(pending: &[u8]) -> usize {
    let whole = match pending {
        [_, _, _, high, low, ..] => RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        _ => RECORD_HEADER_BYTES,
    };
    if whole > pending.len() { whole - pending.len() } else { PENDING_BYTES_MAX }
}
