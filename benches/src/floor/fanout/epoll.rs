//! Raw fanout on epoll, level-triggered: `recv` from the publisher, then a `send` to each subscriber from where it lies.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use ringwire_ring::linux::raise_descriptor_limit;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{Line, Log, READY, Role};

/// Events that one wait takes at most.
const EVENTS_MAX: usize = 1024;
/// What the listener's events carry; a connection's carry its descriptor.
const LISTENER: u64 = u64::MAX;
/// Bytes that go out in one turn at most.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// A connection.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    line: Line,
    role: Role,
    /// Of a subscriber: the position of the next byte that it is to get, if it is behind.
    behind: Option<u64>,
}

/// The fanout.
#[derive(Debug)]
pub struct EpollFanout {
    epoll: OwnedFd,
    listener: TcpListener,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    subscribers: Vec<usize>,
    publisher: Option<usize>,
    /// Position behind the last byte that was published.
    position: u64,
    /// What those who are behind have not had, and how many these are.
    log: Log,
    behind: usize,
}

impl EpollFanout {
    /// Listens on `address`, and says which address that is.
    ///
    /// # Errors
    /// If the address is not free.
    pub fn listen(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        raise_descriptor_limit()?;
        let listener = TcpListener::bind(address)?;
        // The backlog of the ring's floor: the library's own is 128.
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let this = Self {
            epoll,
            listener,
            connections: Vec::new(),
            subscribers: Vec::new(),
            publisher: None,
            position: 0,
            log: Log::default(),
            behind: 0,
        };
        Ok((this, address))
    }

    /// Relays for ever.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; TURN_BYTES_MAX];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let (data, flags) = (event.data.u64(), event.flags);
                if data == LISTENER {
                    self.accept()?;
                    continue;
                }
                let fd = data as usize;
                if flags.contains(epoll::EventFlags::OUT) && self.catch_up(fd).is_err() {
                    self.end(fd);
                }
                if flags != epoll::EventFlags::OUT && self.receive(fd, &mut buffer).is_err() {
                    self.end(fd);
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
            let connection = Connection { stream, line: Line::default(), role: Role::Unknown, behind: None };
            self.connections[fd] = Some(connection);
        }
    }

    /// Takes what came in on a connection. An error ends it.
    fn receive(&mut self, fd: usize, buffer: &mut [u8]) -> io::Result<()> {
        let Some(connection) = &mut self.connections[fd] else { return Ok(()) };
        let received = match recv(&connection.stream, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((received, _)) => &buffer[..received],
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match connection.role {
            Role::Publisher => self.publish(received),
            Role::Subscriber => {}
            Role::Unknown => match connection.line.take(received) {
                Ok(None) => {}
                Ok(Some((Role::Publisher, _))) if self.publisher.is_some() => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(Some((role, behind))) => {
                    connection.role = role;
                    send(&connection.stream, &READY, SendFlags::NOSIGNAL)?;
                    if role == Role::Subscriber {
                        self.subscribers.push(fd);
                    } else {
                        self.publisher = Some(fd);
                        self.publish(behind);
                    }
                }
                Err(()) => return Err(io::ErrorKind::InvalidData.into()),
            },
        }
        Ok(())
    }

    /// Sends bytes to every subscriber: those who are behind find them in the log.
    fn publish(&mut self, bytes: &[u8]) {
        let Self { connections, subscribers, position, log, behind, epoll, .. } = self;
        if bytes.is_empty() {
            return;
        }
        if *behind > 0 {
            log.append(*position, bytes);
        }
        let mut broken = Vec::new();
        for &fd in &*subscribers {
            let Some(connection) = &mut connections[fd] else { continue };
            if connection.behind.is_some() {
                continue;
            }
            let sent = match send(&connection.stream, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == bytes.len() => continue,
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(_) => {
                    broken.push(fd);
                    continue;
                }
            };
            connection.behind = Some(*position + sent as u64);
            *behind += 1;
            if log.is_empty() {
                log.append(*position, bytes);
            }
            if connection.watch(epoll, epoll::EventFlags::IN | epoll::EventFlags::OUT).is_err() {
                broken.push(fd);
            }
        }
        *position += bytes.len() as u64;
        broken.into_iter().for_each(|fd| self.end(fd));
    }

    /// Sends more to one who is behind and has room. An error ends it.
    fn catch_up(&mut self, fd: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[fd] else { return Ok(()) };
        let Some(at) = &mut connection.behind else { return Ok(()) };
        let Some(pieces) = self.log.from(*at) else { return Err(io::ErrorKind::TimedOut.into()) };
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            let sent = match send(&connection.stream, piece, SendFlags::NOSIGNAL) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(error) => return Err(error.into()),
            };
            *at += sent as u64;
            if sent < piece.len() {
                return Ok(());
            }
        }
        if *at == self.position {
            connection.behind = None;
            self.no_more_behind();
            let Some(connection) = &self.connections[fd] else { return Ok(()) };
            connection.watch(&self.epoll, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// One fewer is behind.
    fn no_more_behind(&mut self) {
        self.behind -= 1;
        if self.behind == 0 {
            self.log.clear();
        }
    }

    /// A connection ends, whoever ended it. Closing the socket takes it out of the epoll set.
    fn end(&mut self, fd: usize) {
        let Some(connection) = self.connections[fd].take() else { return };
        if connection.behind.is_some() {
            self.no_more_behind();
        }
        if self.publisher == Some(fd) {
            self.publisher = None;
        }
        self.subscribers.retain(|&other| other != fd);
    }
}

impl Connection {
    fn watch(&self, epoll: &OwnedFd, events: epoll::EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(self.stream.as_raw_fd() as u64);
        Ok(epoll::modify(epoll, &self.stream, data, events)?)
    }
}
