//! Sockets with their options and addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use super::congestion;
use super::wake::owned;
use crate::driver::ListenOptions;

/// Which kind of address a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: &SocketAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Length of a socket address.
    pub(super) fn address_bytes(self) -> usize {
        match self {
            Family::V4 => size_of::<libc::sockaddr_in>(),
            Family::V6 => size_of::<libc::sockaddr_in6>(),
        }
    }
}

/// Opens a listening socket. Accepted sockets inherit `TCP_NODELAY`, `TCP_NOTSENT_LOWAT`, `TCP_USER_TIMEOUT` and
/// `TCP_CONGESTION` (tcp(7)).
pub(super) fn listen(options: &ListenOptions) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = stream(Family::of(&options.address))?;
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    set(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    if let Some(bytes) = options.notsent_lowat_bytes {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        set(&socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)?;
    }
    if let Some(timeout) = options.user_timeout {
        // Zero would mean the system's own.
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
        set(&socket, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, millis)?;
    }
    if let Some(name) = &options.congestion_control {
        congestion::set(&socket, name)?;
    }
    bind(&socket, options.address)?;
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    // SAFETY: listen(2) takes no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    let address = local_address(&socket)?;
    Ok((socket, address))
}

/// Sets an option that is a number (setsockopt(2)).
pub(super) fn set(socket: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) })
}

/// Gives the socket its address.
pub(super) fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(address) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            let len = size_of_val(&raw) as libc::socklen_t;
            // SAFETY: `raw` is a socket address of `len` bytes.
            check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), len) })
        }
        SocketAddr::V6(address) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            let len = size_of_val(&raw) as libc::socklen_t;
            // SAFETY: `raw` is a socket address of `len` bytes.
            check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), len) })
        }
    }
}

/// The socket's own address.
pub(super) fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let mut bytes = [0; size_of::<libc::sockaddr_in6>()];
    let mut len = bytes.len() as libc::socklen_t;
    // SAFETY: `bytes` is writable for `len` bytes.
    check(unsafe { libc::getsockname(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), &raw mut len) })?;
    parse(&bytes[..(len as usize).min(bytes.len())])
}

/// A new TCP socket.
pub(super) fn stream(family: Family) -> io::Result<OwnedFd> {
    socket(family, libc::SOCK_STREAM, libc::IPPROTO_TCP)
}

/// A new UDP socket.
pub(super) fn datagram(family: Family) -> io::Result<OwnedFd> {
    socket(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP)
}

fn socket(family: Family, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    // SAFETY: socket(2) takes no pointers.
    owned(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })
}

/// Reads a `struct sockaddr_in` or `sockaddr_in6`: family, port, then address, as both have them (ip(7), ipv6(7)).
pub(super) fn parse(bytes: &[u8]) -> io::Result<SocketAddr> {
    let family = bytes.first_chunk().map(|family| i32::from(u16::from_ne_bytes(*family)));
    let port = bytes.get(2..).and_then(<[u8]>::first_chunk).map(|port| u16::from_be_bytes(*port));
    let ip = match family {
        Some(libc::AF_INET) => bytes.get(4..).and_then(<[u8]>::first_chunk::<4>).map(|&ip| IpAddr::from(ip)),
        Some(libc::AF_INET6) => bytes.get(8..).and_then(<[u8]>::first_chunk::<16>).map(|&ip| IpAddr::from(ip)),
        _ => None,
    };
    match (ip, port) {
        (Some(ip), Some(port)) => Ok(SocketAddr::new(ip, port)),
        _ => Err(io::Error::other(format!("a socket of address family {family:?}, {} bytes", bytes.len()))),
    }
}

/// The error of a system call that returned other than 0.
pub(super) fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
