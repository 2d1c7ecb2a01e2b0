//! Unmasking of long payloads: one kernel, compiled for each instruction set.

use super::UnmaskBackend;
use crate::MaskKey;
use crate::mask::xor;

/// Width of the vectors that the kernel is written in. The compiler splits them to what the shell allows.
const BASELINE_BYTES: usize = 16;
#[cfg(target_arch = "x86_64")]
const AVX2_BYTES: usize = 32;

/// XORs a `payload` of at least 64 bytes with `key`.
#[inline]
pub(crate) fn unmask_long(payload: &mut [u8], key: MaskKey) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the branch proves that this CPU has AVX2.
        return unsafe { unmask_avx2(payload, key) };
    }
    kernel::<BASELINE_BYTES>(payload, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn unmask_avx2(payload: &mut [u8], key: MaskKey) {
    kernel::<AVX2_BYTES>(payload, key);
}

/// The first and the last `N` bytes are read before anything is written and written last; between them lie whole
/// vectors at aligned addresses. Bytes in two of these three are computed from the same original, so it does not
/// matter which of them is written last.
#[inline(always)]
fn kernel<const N: usize>(payload: &mut [u8], key: MaskKey) {
    let len = payload.len();
    let (Some(&first), Some(&last)) = (payload.first_chunk::<N>(), payload.last_chunk::<N>()) else {
        unreachable!("long payloads have at least one vector");
    };
    let head = payload.as_ptr().align_offset(N).min(N);
    let pattern = key.rotated(head).repeated::<N>();
    for vector in payload[head..].as_chunks_mut::<N>().0 {
        *vector = xor(*vector, pattern);
    }
    payload[..N].copy_from_slice(&xor(first, key.repeated()));
    payload[len - N..].copy_from_slice(&xor(last, key.rotated(len - N).repeated()));
}

pub(super) fn backends() -> Vec<UnmaskBackend> {
    let baseline = kernel::<BASELINE_BYTES>;
    let mut backends = vec![UnmaskBackend { name: "baseline", payload_bytes_min: BASELINE_BYTES, unmask: baseline }];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        backends.push(UnmaskBackend {
            name: "avx2",
            payload_bytes_min: AVX2_BYTES,
            // SAFETY: the branch proves that this CPU has AVX2.
            unmask: |payload, key| unsafe { unmask_avx2(payload, key) },
        });
    }
    backends
}
