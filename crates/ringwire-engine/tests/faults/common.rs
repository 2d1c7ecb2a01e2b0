//! The tests that are the same in the clear and inside TLS: modules of both `faults.rs` and `faults_tls.rs`.

mod admission;
mod answers;
mod back;
mod closing;
mod deflate;
mod http;
mod limits;
mod load;
mod pace;
mod parts;
mod peers;
mod sessions;
mod streams;
