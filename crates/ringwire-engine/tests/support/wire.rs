//! A client's socket, plain or TLS, for one thread that reads and perhaps another that writes.
//!
//! TLS here is rustls's own buffered client: a second implementation of what the engine does with the unbuffered one. A
//! stream that ends without a `close_notify` is an error of kind `UnexpectedEof`, as an application would see it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::ClientConnection;

/// A client's socket.
#[derive(Clone)]
pub(crate) struct Wire {
    tcp: Arc<TcpStream>,
    tls: Option<Arc<Tls>>,
}

struct Tls {
    machine: Mutex<Machine>,
    /// Ciphertext that is being sent, or was not taken by the socket. Locked before the machine, and held while the
    /// socket blocks; the machine never is.
    unsent: Mutex<Vec<u8>>,
    /// Whether hands have been shaken.
    shaken: AtomicBool,
}

struct Machine {
    connection: ClientConnection,
    /// Plaintext that nobody has read yet.
    unread: VecDeque<u8>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, connection: Option<ClientConnection>) -> Self {
        let machine = |connection| Mutex::new(Machine { connection, unread: VecDeque::new() });
        let tls = connection.map(|connection| Tls {
            machine: machine(connection),
            unsent: Mutex::default(),
            shaken: AtomicBool::new(false),
        });
        let tls = tls.map(Arc::new);
        Self { tcp: Arc::new(tcp), tls }
    }

    /// The socket itself.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What the client's TLS knows.
    pub(crate) fn with_tls<R>(&self, read: impl FnOnce(&mut ClientConnection) -> R) -> R {
        read(&mut self.tls.as_ref().expect("the client speaks TLS").machine().connection)
    }

    /// Does whatever must come before anything can be written.
    pub(crate) fn shake_hands(&self) -> io::Result<()> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let mut bytes = [0; 4096];
        while !tls.shaken.load(Ordering::Relaxed) {
            tls.flush(&self.tcp)?;
            if !tls.machine().connection.is_handshaking() {
                tls.shaken.store(true, Ordering::Relaxed);
                break;
            }
            let came = self.tcp.as_ref().read(&mut bytes)?;
            if came == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = tls.machine().take_in(&bytes[..came]);
            tls.flush(&self.tcp)?;
            taken?;
        }
        Ok(())
    }

    /// Says in TLS that nothing more will be sent, and leaves the socket as it is.
    pub(crate) fn notify(&self) {
        if let Some(tls) = &self.tls {
            tls.machine().connection.send_close_notify();
            tls.flush(&self.tcp).expect("the server reads");
        }
    }

    /// Says that nothing more will be sent, in every language spoken.
    pub(crate) fn finish(&self) {
        self.notify();
        match self.tcp.shutdown(Shutdown::Write) {
            // Inside TLS the server has heard it, and may have closed since.
            Err(error) if self.tls.is_some() && error.kind() == io::ErrorKind::NotConnected => {}
            shut_down => shut_down.expect("shutdown"),
        }
    }
}

impl Tls {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().expect("no holder panics")
    }

    /// Sends what is to be sent, as far as the socket takes it.
    fn flush(&self, tcp: &TcpStream) -> io::Result<()> {
        self.send(&mut self.unsent.lock().expect("no holder panics"), tcp)
    }

    fn send(&self, unsent: &mut Vec<u8>, mut tcp: &TcpStream) -> io::Result<()> {
        let mut machine = self.machine();
        while machine.connection.wants_write() {
            machine.connection.write_tls(unsent)?;
        }
        drop(machine);
        while !unsent.is_empty() {
            let written = tcp.write(unsent)?;
            unsent.drain(..written);
        }
        Ok(())
    }
}

impl Machine {
    /// Decrypts what came.
    fn take_in(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes)?;
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.connection.reader().read_exact(&mut plain)?;
            self.unread.extend(plain);
        }
        Ok(())
    }

    /// What has been decrypted, or how the stream has ended; nothing if more must come for that.
    fn read(&mut self, into: &mut [u8]) -> Option<io::Result<usize>> {
        if !self.unread.is_empty() {
            return Some(self.unread.read(into));
        }
        match self.connection.reader().read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.tcp.as_ref().read(into) };
        self.shake_hands()?;
        let mut bytes = vec![0; 64 * 1024];
        loop {
            if let Some(result) = tls.machine().read(into) {
                return result;
            }
            let came = self.tcp.as_ref().read(&mut bytes)?;
            if came == 0 {
                tls.machine().connection.read_tls(&mut io::empty())?;
            } else {
                tls.machine().take_in(&bytes[..came])?;
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.tcp.as_ref().write(bytes) };
        self.shake_hands()?;
        let mut unsent = tls.unsent.lock().expect("no holder panics");
        tls.send(&mut unsent, &self.tcp)?;
        let taken = tls.machine().connection.writer().write(&bytes[..bytes.len().min(16 * 1024)])?;
        match tls.send(&mut unsent, &self.tcp) {
            // What could not be sent is kept, and goes out first next time.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
