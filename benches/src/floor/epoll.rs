//! Raw TCP echo on epoll, level-triggered: `epoll_wait`, then `recv` and `send` for each socket that has something.
//!
//! What a socket does not take waits in the connection, and nothing more is received from it meanwhile.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::RECEIVE_BYTES;

/// Events that one wait takes at most.
const EVENTS_MAX: usize = 1024;
/// What the listener's events carry; a connection's carry its descriptor.
const LISTENER: u64 = u64::MAX;

/// A connection.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

/// The echo.
#[derive(Debug)]
pub struct EpollEcho {
    epoll: OwnedFd,
    listener: TcpListener,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
}

impl EpollEcho {
    /// Listens on `address`, and says which address that is.
    ///
    /// # Errors
    /// If the address is not free.
    pub fn listen(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok((Self { epoll, listener, connections: Vec::new() }, address))
    }

    /// Echoes for ever.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    fd => self.on_ready(fd as usize, &mut buffer)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let fd = stream.as_raw_fd() as usize;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(fd as u64), epoll::EventFlags::IN)?;
            if self.connections.len() <= fd {
                self.connections.resize_with(fd + 1, || None);
            }
            self.connections[fd] = Some(Connection { stream, unsent: Vec::new() });
        }
    }

    fn on_ready(&mut self, fd: usize, buffer: &mut [u8]) -> io::Result<()> {
        let Some(connection) = &mut self.connections[fd] else { return Ok(()) };
        if let Err(error) = connection.echo(buffer, &self.epoll)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // Closing the socket takes it out of the epoll set.
            self.connections[fd] = None;
        }
        Ok(())
    }
}

impl Connection {
    /// Takes one step: what waits goes out, or what comes in is sent back. An error but "would block" ends it.
    fn echo(&mut self, buffer: &mut [u8], epoll: &OwnedFd) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = send(&self.stream, &self.unsent, SendFlags::NOSIGNAL)?;
            self.unsent.drain(..sent);
            return if self.unsent.is_empty() { self.watch(epoll, epoll::EventFlags::IN) } else { Ok(()) };
        }
        let (received, _) = recv(&self.stream, &mut *buffer, RecvFlags::empty())?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let sent = match send(&self.stream, &buffer[..received], SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        if sent < received {
            self.unsent.extend_from_slice(&buffer[sent..received]);
            return self.watch(epoll, epoll::EventFlags::OUT);
        }
        Ok(())
    }

    fn watch(&self, epoll: &OwnedFd, events: epoll::EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(self.stream.as_raw_fd() as u64);
        Ok(epoll::modify(epoll, &self.stream, data, events)?)
    }
}
