//! A client's socket: bytes in, bytes out, whatever is between them and the network.
//!
//! [`Link::progress`] waits for whatever the socket can do next, receive or send. It may be dropped at any moment
//! without losing a byte, so a client waits for it beside signals, timers and standard input. With TLS, what a client
//! sends is encrypted when the socket is asked to take it, and what came is decrypted before anyone sees it.

use std::io::{self, ErrorKind};

use ringwire_codec::handshake::Url;
use ringwire_engine::tls::Session;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Room for one read.
const INPUT_BYTES: usize = 256 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    tls: Option<Tls>,
    output: Vec<u8>,
    /// Bytes of `output` that have gone out.
    sent: usize,
    /// What the server said right behind its part of the TLS handshake, until somebody asks for it.
    early: Vec<u8>,
}

/// What encrypts a link.
#[derive(Debug)]
struct Tls {
    session: Box<Session>,
    /// What came, before it is decrypted.
    input: Vec<u8>,
    /// What waits to be encrypted. What is, is the link's output.
    plain: Vec<u8>,
}

/// What the socket did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Bytes came.
    Received,
    /// Some of the output went out.
    Sent,
    /// The peer will send nothing more.
    EndOfStream,
}

impl Link {
    /// Connects to the host of `url`, and encrypts what goes there with `session` if there is one. No proxy is asked.
    pub(super) async fn connect(url: &Url, session: Option<Session>) -> io::Result<Self> {
        let stream = TcpStream::connect((url.host(), url.port())).await?;
        stream.set_nodelay(true)?;
        let tls = session.map(|session| Tls { session: Box::new(session), input: Vec::new(), plain: Vec::new() });
        Ok(Self { stream, tls, output: Vec::new(), sent: 0, early: Vec::new() })
    }

    /// Waits until what is sent is encrypted, if it is to be.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::InvalidData`] with a [`TlsError`](ringwire_engine::tls::TlsError) in it, if there is no TLS with that peer.
    pub(super) async fn secure(&mut self) -> io::Result<()> {
        let mut early = Vec::new();
        while self.tls.as_ref().is_some_and(|tls| tls.session.is_handshaking()) {
            if self.progress(&mut early).await? == Progress::EndOfStream {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "it ended in the TLS handshake"));
            }
        }
        self.early = early;
        Ok(())
    }

    /// Puts bytes behind the output.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            Some(tls) => tls.plain.extend_from_slice(bytes),
            None => self.output.extend_from_slice(bytes),
        }
    }

    /// Bytes that wait to be sent.
    pub(super) fn output_bytes(&self) -> usize {
        let plain = self.tls.as_ref().map_or(0, |tls| tls.plain.len());
        plain + self.output.len() - self.sent
    }

    /// Waits for the socket to receive, behind what `input` holds, or to take some of the output. Cancel safe.
    pub(super) async fn progress(&mut self, input: &mut Vec<u8>) -> io::Result<Progress> {
        if !self.early.is_empty() {
            input.append(&mut self.early);
            return Ok(Progress::Received);
        }
        loop {
            if let Some(progress) = self.tls_end()? {
                // A peer that sends no more may still read, our answer to its close frame for one. If not, it has ended
                // all the same.
                let _ = self.flush();
                return Ok(progress);
            }
            self.encrypt()?;
            let has_output = self.sent < self.output.len();
            let waits = if has_output { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let ready = self.stream.ready(waits).await?;
            let (can_read, can_write) = (ready.is_readable() || ready.is_read_closed(), ready.is_writable());
            if can_read && let Some(progress) = self.receive(input)? {
                return Ok(progress);
            }
            if can_write && self.transmit()? {
                return Ok(Progress::Sent);
            }
        }
    }

    /// Moves what is to be encrypted into the output, once what is there has gone out.
    fn encrypt(&mut self) -> io::Result<()> {
        let Some(Tls { session, plain, .. }) = &mut self.tls else { return Ok(()) };
        let waits_for_handshake = session.is_handshaking();
        if self.output.is_empty() {
            let now: &[u8] = if waits_for_handshake { &[] } else { plain };
            let sealed = session.transmit(now, &mut self.output);
            sealed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            if !waits_for_handshake {
                plain.clear();
            }
        }
        Ok(())
    }

    /// Sends what there is to send, as far as the socket takes it at once.
    fn flush(&mut self) -> io::Result<()> {
        loop {
            self.encrypt()?;
            if self.output.is_empty() || !self.transmit()? {
                return Ok(());
            }
        }
    }

    fn receive(&mut self, input: &mut Vec<u8>) -> io::Result<Option<Progress>> {
        let received = match &mut self.tls {
            None => &mut *input,
            Some(tls) => &mut tls.input,
        };
        received.reserve(INPUT_BYTES);
        match self.stream.try_read_buf(received) {
            Ok(0) => return Ok(Some(Progress::EndOfStream)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        self.decrypt(input)
    }

    /// Moves what has come to where it is wanted. Nothing, if TLS kept it all for itself.
    fn decrypt(&mut self, plain: &mut Vec<u8>) -> io::Result<Option<Progress>> {
        let Some(tls) = &mut self.tls else { return Ok(Some(Progress::Received)) };
        let (before, was_handshaking) = (plain.len(), tls.session.is_handshaking());
        let outcome = tls.session.receive(&mut tls.input, plain);
        tls.input.clear();
        if outcome.is_err() {
            // The peer is told why, if it can be told at once.
            let _ = tls.session.transmit(&[], &mut self.output);
            let _ = self.transmit();
        }
        // What came before an end counts; the end is found again.
        let moved = plain.len() > before || (was_handshaking && outcome.is_ok());
        if moved { Ok(Some(Progress::Received)) } else { self.tls_end() }
    }

    /// Whether TLS has ended, well or not.
    fn tls_end(&self) -> io::Result<Option<Progress>> {
        let Some(Tls { session, .. }) = &self.tls else { return Ok(None) };
        match session.fault() {
            Some(error) => Err(io::Error::new(ErrorKind::InvalidData, error.clone())),
            None => Ok(session.peer_has_ended().then_some(Progress::EndOfStream)),
        }
    }

    fn transmit(&mut self) -> io::Result<bool> {
        match self.stream.try_write(&self.output[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use std::time::Duration;

    use ringwire_engine::tls::{Acceptor, ClientCertificates, Connector, Roots, ServerTls};

    use super::*;

    /// No wait is longer.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server for one connection that says `words` and `close_notify` at once, and gives the bytes that come then, as
    /// they come: a session that has said its last decrypts no more.
    fn server(words: &'static [u8]) -> (Url, Session, JoinHandle<Vec<u8>>) {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let (certificate_pem, key_pem) = (own.cert.pem().into_bytes(), own.signing_key.serialize_pem().into_bytes());
        let roots = Roots::Pem(certificate_pem.clone());
        let client_certificates = ClientCertificates::None;
        let acceptor = Acceptor::new(&ServerTls { certificate_pem, key_pem, client_certificates }).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = Url::parse(&format!("wss://{}/", listener.local_addr().expect("bound"))).expect("a URL");
        let thread = std::thread::Builder::new().name("server".to_owned());
        let heard = thread.spawn(move || {
            let (mut stream, _) = listener.accept().expect("it connects");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            let (mut session, mut plain, mut cipher) = (acceptor.session(), Vec::new(), Vec::new());
            let mut bytes = [0; 4096];
            while session.is_handshaking() {
                let count = stream.read(&mut bytes).expect("a handshake comes");
                session.receive(&mut bytes[..count], &mut plain).expect("it is one");
                let words = if session.is_handshaking() { &[] } else { words };
                session.transmit(words, &mut cipher).expect("it can be answered");
                if !session.is_handshaking() {
                    session.close(&mut cipher);
                }
                stream.write_all(&std::mem::take(&mut cipher)).expect("the client reads");
            }
            let mut came = Vec::new();
            stream.read_to_end(&mut came).expect("the client ends its stream");
            came
        });
        let heard = heard.expect("a thread");
        (url, Connector::new(&roots).expect("roots").session("127.0.0.1").expect("a name"), heard)
    }

    fn run<R>(test: impl Future<Output = R>) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it ends in time") })
    }

    #[test]
    fn an_answer_goes_out_to_a_peer_that_has_said_its_last() {
        let (url, session, heard) = server(b"my last");
        run(async {
            let mut link = Link::connect(&url, Some(session)).await.expect("a connection");
            link.secure().await.expect("TLS");
            let mut input = Vec::new();
            while input.is_empty() {
                assert_ne!(link.progress(&mut input).await.expect("words"), Progress::EndOfStream);
            }
            assert_eq!(input, b"my last");
            link.send(b"good bye");
            while link.progress(&mut input).await.expect("an end") != Progress::EndOfStream {}
        });
        // One record of TLS 1.3: a header, the words, their kind, a tag.
        let heard = heard.join().expect("the server ends");
        assert_eq!((heard.len(), &heard[..3]), (5 + 8 + 1 + 16, &[0x17, 3, 3][..]));
    }

    #[test]
    fn what_came_with_the_tls_handshake_comes_first() {
        let (url, session, heard) = server(b"late");
        run(async {
            let mut link = Link::connect(&url, Some(session)).await.expect("a connection");
            link.secure().await.expect("TLS");
            // A server with TLS 1.2 can be that early.
            link.early = b"early ".to_vec();
            let mut input = Vec::new();
            while link.progress(&mut input).await.expect("words") != Progress::EndOfStream {}
            assert_eq!(input, b"early late");
        });
        heard.join().expect("the server ends");
    }
}
