//! Who is at the other end of a direct descriptor.
//!
//! A multishot accept writes no address, and system calls know no direct descriptors. What remains is a command to the
//! socket (`IORING_OP_URING_CMD`, kernel 6.7): `getsockopt(SOL_SOCKET, SO_PEERNAME)`. It runs inside the
//! `io_uring_enter` that submits it. The kernel refuses a length that is not the address's own, so the asker must know
//! the socket's family, which is its listener's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, opcode};

use super::socket::{self, Family};
use crate::data::Data;
use crate::op::{Event, Socket};

/// From linux/io_uring.h; the `io-uring` crate has the command that sets an option only.
const SOCKET_URING_OP_GETSOCKOPT: u32 = 2;
/// Where `cmd_op` lies in `struct io_uring_sqe`.
const CMD_OP_AT: usize = 8;

/// Room for an address of this family, which the command fills.
pub(super) fn room(family: Family) -> Data {
    Data::Owned { bytes: vec![0; family.address_bytes()], start: 0 }
}

/// The command that writes the peer's address to `room`, which has `len` bytes.
pub(super) fn command(socket: Socket, room: *mut u8, len: u32) -> Entry {
    let (level, name) = (libc::SOL_SOCKET as u32, libc::SO_PEERNAME as u32);
    into_get(opcode::SetSockOpt::new(Fixed(socket.0), level, name, room.cast_const().cast(), len).build())
}

/// What became of the command.
pub(super) fn event(data: Option<Data>, result: i32) -> Event {
    let address = match data {
        Some(Data::Owned { bytes, .. }) if result >= 0 => socket::parse(&bytes),
        _ => Err(io::Error::from_raw_os_error(-result)),
    };
    Event::PeerAddress(address.map(canonical))
}

/// Asks the kernel for the type of a socket, in the same way. `ring` must have nothing in flight.
pub(super) fn probe(ring: &mut IoUring) -> bool {
    let Ok(socket) = socket::stream(Family::V4) else { return false };
    let mut kind: libc::c_int = 0;
    let (level, name, len) = (libc::SOL_SOCKET as u32, libc::SO_TYPE as u32, size_of_val(&kind) as u32);
    let entry = opcode::SetSockOpt::new(Fd(socket.as_raw_fd()), level, name, (&raw mut kind).cast_const().cast(), len);
    // SAFETY: `kind` and `socket` outlive the command: it runs inside the submission, which this function waits for.
    let pushed = unsafe { ring.submission().push(&into_get(entry.build())) };
    if pushed.is_err() || ring.submit_and_wait(1).is_err() {
        return false;
    }
    let came = ring.completion().next().is_some_and(|entry| entry.result() >= 0);
    came && kind == libc::SOCK_STREAM
}

/// Makes the command that sets an option one that reads it: they differ in one number.
fn into_get(mut entry: Entry) -> Entry {
    const { assert!(size_of::<Entry>() == 64) };
    // SAFETY: an entry is a `struct io_uring_sqe` of 64 bytes (`repr(C)`), whose `cmd_op` is a u32 at this offset.
    let cmd_op = unsafe { (&raw mut entry).cast::<u8>().add(CMD_OP_AT).cast::<u32>() };
    // SAFETY: as above; it is aligned and `entry` is borrowed by nobody else.
    unsafe { cmd_op.write(SOCKET_URING_OP_GETSOCKOPT) };
    entry
}

/// An IPv4 peer of an IPv6 listener is still an IPv4 peer.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_peer_of_an_ipv6_listener_is_an_ipv4_peer() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:80".parse().expect("an address");
        assert_eq!(canonical(mapped), "192.0.2.1:80".parse().expect("an address"));
        let plain: SocketAddr = "[2001:db8::1]:80".parse().expect("an address");
        assert_eq!(canonical(plain), plain);
    }

    #[test]
    fn a_command_that_failed_says_why() {
        let Event::PeerAddress(Err(error)) = event(Some(room(Family::V4)), -libc::ENOTCONN) else { panic!("an error") };
        assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    }
}
