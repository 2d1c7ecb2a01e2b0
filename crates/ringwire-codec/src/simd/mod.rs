//! The crate's only `unsafe`: vector loads, the calls that prove a CPU feature, and [`text`], whose `&str` rests on
//! the validator here.
//!
//! Each kernel is written once, safe, and compiled for an instruction set by a thin shell. Whatever the CPU, the
//! answer is the same; tests compare every shell with a naive oracle.

pub(crate) mod text;
mod unmask;
#[cfg(target_arch = "x86_64")]
mod utf8_avx2;

pub(crate) use unmask::unmask_long;

use crate::MaskKey;

/// Whether `bytes` are UTF-8. For inputs too long for the caller's short cuts.
#[inline]
pub(crate) fn utf8_is_valid(bytes: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= utf8_avx2::INPUT_BYTES_MIN && is_x86_feature_detected!("avx2") {
        // SAFETY: the branch proves that this CPU has AVX2.
        return unsafe { utf8_avx2::is_valid(bytes) };
    }
    utf8_is_valid_scalar(bytes)
}

/// The fallback, and the validator of short and cold inputs.
fn utf8_is_valid_scalar(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// One way to unmask.
#[derive(Clone, Copy, Debug)]
pub struct UnmaskBackend {
    /// Instruction set.
    pub name: &'static str,
    /// Shorter payloads must not be passed to `unmask`.
    pub payload_bytes_min: usize,
    /// The kernel.
    pub unmask: fn(&mut [u8], MaskKey),
}

/// One way to validate.
#[derive(Clone, Copy, Debug)]
pub struct Utf8Backend {
    /// Instruction set.
    pub name: &'static str,
    /// Shorter inputs must not be passed to `is_valid`.
    pub input_bytes_min: usize,
    /// The kernel.
    pub is_valid: fn(&[u8]) -> bool,
}

/// The unmask kernels that this CPU runs.
pub fn unmask_backends() -> Vec<UnmaskBackend> {
    unmask::backends()
}

/// The UTF-8 kernels that this CPU runs.
pub fn utf8_backends() -> Vec<Utf8Backend> {
    let mut backends = vec![Utf8Backend { name: "scalar", input_bytes_min: 0, is_valid: utf8_is_valid_scalar }];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        backends.push(Utf8Backend {
            name: "avx2",
            input_bytes_min: utf8_avx2::INPUT_BYTES_MIN,
            // SAFETY: the branch proves that this CPU has AVX2.
            is_valid: |bytes| unsafe { utf8_avx2::is_valid(bytes) },
        });
    }
    backends
}
