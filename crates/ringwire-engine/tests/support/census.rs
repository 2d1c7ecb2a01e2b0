//! What this process has open and holds, as the kernel counts it.

use std::time::Duration;

use super::server::pause;

/// Descriptors of this process that only an engine has: rings and what wakes them. Sockets are counted by themselves:
/// an engine's are in its ring, not in this table.
pub(crate) fn descriptors() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let is_engines = |link: &std::path::PathBuf| {
        let link = link.to_string_lossy();
        link.contains("[io_uring]") || link.contains("[eventfd]")
    };
    links.filter(is_engines).count()
}

/// Sockets with this local port that somebody holds: listeners, and connections whose server has not closed them. Those
/// that the kernel alone still has, to see them out, have no inode.
fn held_sockets(port: u16) -> usize {
    let lines = |table: &str| std::fs::read_to_string(table).unwrap_or_default();
    let tables = [lines("/proc/net/tcp"), lines("/proc/net/tcp6")];
    let sockets = tables.iter().flat_map(|table| table.lines().skip(1)).filter(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1).and_then(|address| address.rsplit(':').next());
        let inode = fields.nth(7);
        local.is_some_and(|hex| u16::from_str_radix(hex, 16) == Ok(port)) && inode.is_some_and(|inode| inode != "0")
    });
    sockets.count()
}

/// Waits until so many sockets have this local port; the kernel closes a socket a while after it was told to.
pub(crate) fn wait_for_sockets(port: u16, count: usize) {
    for _ in 0..400 {
        if held_sockets(port) == count {
            return;
        }
        pause(Duration::from_millis(25));
    }
    panic!("{} sockets of port {port} are held, not {count}", held_sockets(port));
}

/// Resident memory of this process.
pub(crate) fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096
}
