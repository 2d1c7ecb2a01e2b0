//! The Linux driver: a [`Driver`](crate::Driver) on io_uring.

mod buffers;
mod client;
mod congestion;
mod datagrams;
mod enter;
mod features;
mod outcome;
mod peer;
mod ring;
mod socket;
mod table;
mod thread;
mod wake;

pub use client::{is_cancelled, is_in_progress, is_out_of_descriptors};
pub use datagrams::{DATAGRAM_BYTES_MAX, Datagram, DatagramOptions, Datagrams, Multicast};
pub use features::{Features, Unavailable};
pub use ring::{Ring, RingOptions};
pub use thread::{
    Termination, allowed_cores, avoid_huge_pages, descriptor_limit, pin_to_core, precise_waits, raise_descriptor_limit,
};
pub use wake::RingWaker;
