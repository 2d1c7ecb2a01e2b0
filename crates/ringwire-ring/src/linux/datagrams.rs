//! A socket for datagrams that receives many in one call.
//!
//! It is for a thread of its own that does nothing else: [`Datagrams::receive`] takes what the kernel has, up to
//! [`BATCH`], and does not wait; [`Datagrams::wait`] waits until there is something. What comes faster than it is received
//! is kept in the socket's receive buffer, and lost when that is full, which [`Datagrams::lost`] tells.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::socket::{self, Family};

/// Most datagrams that are received in one call.
const BATCH: usize = 64;
/// Longest payload of a datagram: that of UDP over IPv6.
pub const DATAGRAM_BYTES_MAX: usize = 65_527;
/// Where SO_MEMINFO has the number of datagrams dropped (SK_MEMINFO_DROPS in linux/sock_diag.h), and how many numbers there are.
const MEMINFO_DROPS: usize = 8;
const MEMINFO_NUMBERS: usize = 9;

/// How a socket for datagrams is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramOptions {
    /// Where they are sent to. For a group it is the group's address, or that of all interfaces.
    pub address: SocketAddr,
    /// Longest payload that is received whole; at most [`DATAGRAM_BYTES_MAX`]. Costs 64 times as much memory.
    pub datagram_bytes_max: usize,
    /// Bytes that the kernel keeps until they are received, its own for each datagram included. It may give less.
    pub receive_buffer_bytes: usize,
    /// A group to join.
    pub multicast: Option<Multicast>,
}

/// A multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multicast {
    /// Of IPv4, on the interface with this address; 0.0.0.0: the system picks one.
    V4(Ipv4Addr, Ipv4Addr),
    /// Of IPv6, on the interface with this number; 0: the system picks one.
    V6(std::net::Ipv6Addr, u32),
}

/// A socket for datagrams.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    address: SocketAddr,
    /// Room for [`BATCH`] datagrams, each in its part.
    room: Vec<u8>,
    bytes_max: usize,
    lost: u64,
    /// What the kernel said of it last; it counts in 32 bits.
    lost_low: u32,
}

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// Its payload.
    Whole(&'a [u8]),
    /// It was longer than may be: so many bytes.
    TooLong(usize),
}

impl Datagrams {
    /// Opens it.
    pub fn open(options: &DatagramOptions) -> io::Result<Self> {
        let socket = socket::datagram(Family::of(&options.address))?;
        let bytes = i32::try_from(options.receive_buffer_bytes).unwrap_or(i32::MAX);
        // Beyond the system's limit if we may, up to it if not (socket(7)).
        socket::set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
            .or_else(|_| socket::set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))?;
        if options.multicast.is_some() {
            // Every program of the machine that joins gets a copy.
            socket::set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        }
        socket::bind(&socket, options.address)?;
        let (address, socket) = (socket::local_address(&socket)?, UdpSocket::from(socket));
        match &options.multicast {
            None => {}
            Some(Multicast::V4(group, interface)) => socket.join_multicast_v4(group, interface)?,
            Some(Multicast::V6(group, interface)) => socket.join_multicast_v6(group, *interface)?,
        }
        let bytes_max = options.datagram_bytes_max.clamp(1, DATAGRAM_BYTES_MAX);
        Ok(Self { socket, address, room: vec![0; BATCH * bytes_max], bytes_max, lost: 0, lost_low: 0 })
    }

    /// Its address, with the port that the system picked if none was said.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the kernel gives of [`DatagramOptions::receive_buffer_bytes`].
    pub fn receive_buffer_bytes(&self) -> io::Result<usize> {
        let mut bytes = [0i32; 1];
        self.option(libc::SO_RCVBUF, &mut bytes)?;
        // The kernel says twice what it was asked for (socket(7)).
        Ok(usize::try_from(bytes[0]).unwrap_or(0) / 2)
    }

    /// Waits until there is something to receive, and no longer than `timeout`, which is rounded up to milliseconds.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let millis = timeout.map_or(-1, |timeout| {
            let whole = timeout.as_micros().div_ceil(1000);
            i32::try_from(whole).unwrap_or(i32::MAX)
        });
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `poll` is one writable entry.
        match unsafe { libc::poll(&raw mut poll, 1, millis) } {
            0.. => Ok(()),
            _ => uninterrupted(io::Error::last_os_error()),
        }
    }

    /// Calls `each` with the datagrams that have come, at most 64, in the order in which they did. Returns how many; does
    /// not wait.
    pub fn receive(&mut self, mut each: impl FnMut(Datagram<'_>)) -> io::Result<usize> {
        let parts = self.room.chunks_exact_mut(self.bytes_max);
        let mut vectors: Vec<libc::iovec> = Vec::with_capacity(BATCH);
        vectors.extend(parts.map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() }));
        let mut headers: Vec<libc::mmsghdr> = Vec::with_capacity(BATCH);
        headers.extend(vectors.iter_mut().map(|vector| {
            // SAFETY: all zeros are a message header that names nothing.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        }));
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let (fd, count) = (self.socket.as_raw_fd(), headers.len() as u32);
        // SAFETY: each header names one vector and each vector one part of `room`, all of which live until the call returns.
        let received = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, flags, std::ptr::null_mut()) };
        let Ok(received) = usize::try_from(received) else {
            return uninterrupted(io::Error::last_os_error()).map(|()| 0);
        };
        for (header, part) in headers[..received].iter().zip(self.room.chunks_exact(self.bytes_max)) {
            let bytes = header.msg_len as usize;
            each(part.get(..bytes).map_or(Datagram::TooLong(bytes), Datagram::Whole));
        }
        Ok(received)
    }

    /// How many datagrams the kernel has dropped so far, as the receive buffer was full.
    pub fn lost(&mut self) -> io::Result<u64> {
        let mut numbers = [0u32; MEMINFO_NUMBERS];
        self.option(libc::SO_MEMINFO, &mut numbers)?;
        let low = numbers[MEMINFO_DROPS];
        self.lost += u64::from(low.wrapping_sub(self.lost_low));
        self.lost_low = low;
        Ok(self.lost)
    }

    fn option<T: Copy, const N: usize>(&self, name: i32, value: &mut [T; N]) -> io::Result<()> {
        let mut len = size_of_val(value) as libc::socklen_t;
        let (fd, value) = (self.socket.as_raw_fd(), value.as_mut_ptr().cast());
        // SAFETY: `value` is writable for `len` bytes, and numbers take any.
        socket::check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, value, &raw mut len) })
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// No error, if there is only nothing to be had.
fn uninterrupted(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(()),
        _ => Err(error),
    }
}

impl Multicast {
    /// The group.
    pub fn group(&self) -> IpAddr {
        match self {
            Multicast::V4(group, _) => IpAddr::V4(*group),
            Multicast::V6(group, _) => IpAddr::V6(*group),
        }
    }
}
