//! Listening sockets.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use super::wake::owned;
use crate::driver::ListenOptions;

/// Opens a listening socket. Accepted sockets inherit `TCP_NODELAY` and `TCP_NOTSENT_LOWAT` (tcp(7)).
pub(super) fn listen(options: &ListenOptions) -> io::Result<(OwnedFd, SocketAddr)> {
    let domain = if options.address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: socket(2) takes no pointers.
    let socket = unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_TCP) };
    let socket = owned(socket)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    set(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    if let Some(bytes) = options.notsent_lowat_bytes {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        set(&socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)?;
    }
    bind(&socket, options.address)?;
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    // SAFETY: listen(2) takes no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    let address = local_address(&socket)?;
    Ok((socket, address))
}

fn set(socket: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) })
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
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

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `storage` is writable for `len` bytes.
    check(unsafe { libc::getsockname(socket.as_raw_fd(), storage.as_mut_ptr().cast(), &raw mut len) })?;
    // SAFETY: it was zeroed, and all-zero is a valid sockaddr_storage.
    let storage = unsafe { storage.assume_init() };
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, which is smaller than the storage and no stricter
            // in alignment.
            let raw = unsafe { *(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddr::new(IpAddr::V4(ip), u16::from_be(raw.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, a sockaddr_in6.
            let raw = unsafe { *(&raw const storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            Ok(SocketAddr::new(IpAddr::V6(ip), u16::from_be(raw.sin6_port)))
        }
        family => Err(io::Error::other(format!("a TCP socket of address family {family}"))),
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
