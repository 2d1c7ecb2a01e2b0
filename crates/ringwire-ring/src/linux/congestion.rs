//! Which congestion control the connections of a listening socket get (`TCP_CONGESTION`, tcp(7)).
//!
//! Accepted sockets inherit what was set on the socket that they came through; a route with a `congctl` of its own goes
//! before it (ip-route(8)). The name must be one of a kernel that is in use: one that it does not have is not replaced by
//! another, because who names one wants that one.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::socket::check;

/// Sets the congestion control of `socket` to the one of this name.
///
/// # Errors
/// In words, with the names that would be right: that the kernel has none of this name, or does not permit it.
pub(super) fn set(socket: &OwnedFd, name: &str) -> io::Result<()> {
    let len = name.len() as libc::socklen_t;
    // SAFETY: `name` is readable for `len` bytes.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_ptr().cast(), len)
    };
    check(result).map_err(|error| explain(error, name))
}

fn explain(error: io::Error, name: &str) -> io::Error {
    let words = match error.raw_os_error() {
        Some(libc::ENOENT) => format!(
            "this kernel has no congestion control `{name}`; it has {} (net.ipv4.tcp_available_congestion_control), and \
             perhaps others as modules (modprobe tcp_{name})",
            names("tcp_available_congestion_control")
        ),
        Some(libc::EPERM) => format!(
            "the congestion control `{name}` is not permitted to this user, only {} \
             (net.ipv4.tcp_allowed_congestion_control): add it there, or run with CAP_NET_ADMIN",
            names("tcp_allowed_congestion_control")
        ),
        _ => format!("the congestion control `{name}` cannot be had: {error}"),
    };
    // Without the kind: a permission that is missing here is not one for the address.
    io::Error::other(words)
}

/// The names in a setting of the kernel, with commas.
fn names(setting: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{setting}")).unwrap_or_default();
    let names: Vec<&str> = text.split_ascii_whitespace().collect();
    if names.is_empty() { "some that it does not tell of".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::driver::ListenOptions;
    use crate::linux::socket;

    /// The congestion control of a socket.
    fn of(socket: &impl AsRawFd) -> String {
        let mut bytes = [0u8; 16];
        let mut len = bytes.len() as libc::socklen_t;
        let name = bytes.as_mut_ptr().cast();
        // SAFETY: `bytes` is writable for `len` bytes.
        let result = unsafe {
            libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, name, &raw mut len)
        };
        check(result).expect("a TCP socket has one");
        let name = bytes.split(|byte| *byte == 0).next().expect("a first piece");
        String::from_utf8(name.to_vec()).expect("a name")
    }

    fn listen(congestion_control: Option<&str>) -> io::Result<(TcpListener, SocketAddr)> {
        let options = ListenOptions {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            backlog: 4,
            notsent_lowat_bytes: None,
            user_timeout: None,
            congestion_control: congestion_control.map(str::to_owned),
        };
        socket::listen(&options).map(|(socket, address)| (socket.into(), address))
    }

    fn accepted(congestion_control: Option<&str>) -> String {
        let (listener, address) = listen(congestion_control).expect("listen");
        let _client = TcpStream::connect(address).expect("connect");
        of(&listener.accept().expect("accept").0)
    }

    #[test]
    fn accepted_sockets_have_the_congestion_control_of_their_listener_or_else_the_systems() {
        let system = names("tcp_congestion_control");
        assert_eq!(accepted(None), system);
        let all = names("tcp_allowed_congestion_control");
        assert!(all.contains("reno"), "reno is built into every kernel: {all}");
        for name in all.split(", ") {
            assert_eq!(accepted(Some(name)), name);
        }
    }

    #[test]
    fn one_that_the_kernel_does_not_have_is_refused_with_those_that_it_has() {
        let error = listen(Some("nosuch")).expect_err("there is none").to_string();
        let available = names("tcp_available_congestion_control");
        assert!(error.contains("`nosuch`") && error.contains(&format!("it has {available} (")), "{error}");
    }

    #[test]
    fn one_that_is_not_permitted_is_refused_with_those_that_are() {
        let error = explain(io::Error::from_raw_os_error(libc::EPERM), "cubic").to_string();
        let allowed = names("tcp_allowed_congestion_control");
        assert!(error.contains("`cubic`") && error.contains(&format!("only {allowed} (")), "{error}");
        assert!(error.contains("CAP_NET_ADMIN"), "{error}");
        let kind = explain(io::Error::from_raw_os_error(libc::EPERM), "cubic").kind();
        assert_ne!(kind, io::ErrorKind::PermissionDenied, "which the server takes for a privileged port");
    }
}
