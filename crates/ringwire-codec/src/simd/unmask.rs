//! Unmasking of long payloads: one kernel, compiled for each instruction set.

use super::UnmaskBackend;
use crate::MaskKey;
use crate::mask::{first_words, xor};

/// Words in a vector of the kernel.
const BASELINE_WORDS: usize = 4;
#[cfg(target_arch = "x86_64")]
const AVX2_WORDS: usize = 8;

/// XORs a `payload` of at least 64 bytes with `key`.
#[inline]
pub(crate) fn unmask_long(payload: &mut [u8], key: MaskKey) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the branch proves that this CPU has AVX2.
        return unsafe { unmask_avx2(payload, key) };
    }
    kernel::<BASELINE_WORDS>(payload, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn unmask_avx2(payload: &mut [u8], key: MaskKey) {
    kernel::<AVX2_WORDS>(payload, key);
}

/// The first and the last vector of `N` words are read before anything is written and written last; between them
/// lie whole vectors at aligned addresses. Bytes in two of these three are computed from the same original, so it
/// does not matter which of them is written last.
#[inline(always)]
fn kernel<const N: usize>(payload: &mut [u8], key: MaskKey) {
    let vector_bytes = 4 * N;
    let last_at = payload.len() - vector_bytes;
    let first = xor(first_words::<N>(payload), key);
    let last = xor(first_words::<N>(&payload[last_at..]), key.rotated(last_at));
    let aligned_at = payload.as_ptr().align_offset(vector_bytes).min(vector_bytes);
    let (words, _) = payload[aligned_at..].as_chunks_mut::<4>();
    for vector in words.as_chunks_mut::<N>().0 {
        *vector = xor(*vector, key.rotated(aligned_at));
    }
    payload[..vector_bytes].copy_from_slice(first.as_flattened());
    payload[last_at..].copy_from_slice(last.as_flattened());
}

pub(super) fn backends() -> Vec<UnmaskBackend> {
    let baseline = kernel::<BASELINE_WORDS>;
    let mut backends =
        vec![UnmaskBackend { name: "baseline", payload_bytes_min: 4 * BASELINE_WORDS, unmask: baseline }];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        backends.push(UnmaskBackend {
            name: "avx2",
            payload_bytes_min: 4 * AVX2_WORDS,
            // SAFETY: the branch proves that this CPU has AVX2.
            unmask: |payload, key| unsafe { unmask_avx2(payload, key) },
        });
    }
    backends
}
