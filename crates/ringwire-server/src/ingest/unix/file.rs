//! The file of a socket: made so that nobody connects who may not, taken over from a server that is dead, and removed at
//! the end.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

/// Connections that may wait until they are accepted.
const BACKLOG: i32 = 128;

/// A socket's file, which goes with this value.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Listens at `path`, for those whom `mode` lets.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub(super) fn listen(path: &Path, mode: u32) -> Result<(UnixListener, Self), String> {
        clear(path)?;
        open(path, mode).map_err(|error| error.to_string())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own there since.
        if fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the file of a server that is dead.
fn clear(path: &Path) -> Result<(), String> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
        Ok(there) => there,
    };
    if !there.file_type().is_socket() {
        return Err("there is a file that is no socket: remove it, or choose another path".to_owned());
    }
    match UnixStream::connect(path) {
        Ok(_) => Err("another program listens there: stop it, or choose another path".to_owned()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("a dead server's socket is there and stays: {error}"))
        }
        Err(error) => Err(format!("there is a socket, and whether it is in use cannot be told: {error}")),
    }
}

/// Before it listens, nobody can connect: that is when it gets its permissions.
fn open(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listen(&socket, BACKLOG)?;
    Ok((UnixListener::from(socket), file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("ringwire-{}-{name}.sock", std::process::id()))
    }

    #[test]
    fn a_dead_servers_file_is_replaced_and_a_live_ones_is_not() {
        let path = place("stale");
        let (listener, file) = SocketFile::listen(&path, 0o600).unwrap();
        let words = SocketFile::listen(&path, 0o600).unwrap_err();
        assert!(words.starts_with("another program listens there"), "{words}");
        assert!(UnixStream::connect(&path).is_ok());
        drop(listener);
        std::mem::forget(file);
        let (_listener, file) = SocketFile::listen(&path, 0o600).expect("nobody listens any more");
        assert!(UnixStream::connect(&path).is_ok());
        drop(file);
        assert!(!path.exists(), "it goes with the server");
    }

    #[test]
    fn the_file_has_the_permissions_that_are_asked_for() {
        let path = place("mode");
        let (_listener, _file) = SocketFile::listen(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let path = place("file");
        fs::write(&path, "precious").unwrap();
        let words = SocketFile::listen(&path, 0o600).unwrap_err();
        assert!(words.starts_with("there is a file that is no socket"), "{words}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_is_anothers_by_now_stays() {
        let path = place("taken");
        let (_listener, file) = SocketFile::listen(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        let (_other, others) = SocketFile::listen(&path, 0o600).unwrap();
        drop(file);
        assert!(path.exists());
        drop(others);
    }
}
