//! Keys that programs present as they are. The server keeps their SHA-256 only, and compares those.

use std::fmt;

use ring::digest;

use ringwire_hub::Pattern;

/// Shortest key that is taken, in bytes: what can be guessed protects nothing.
pub const API_KEY_BYTES_MIN: usize = 16;

/// A key and what it allows.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name, which is the user of who presents it.
    pub name: String,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What may be subscribed to with it.
    pub subscribe: Vec<Pattern>,
    /// What may be published to with it.
    pub publish: Vec<Pattern>,
}

/// The SHA-256 of a key.
pub fn sha256(key: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The key that was presented, if it is among `keys`. Looks at all of them, and at all of each.
pub(super) fn find<'k>(keys: &'k [ApiKey], presented: &str) -> Option<&'k ApiKey> {
    let presented = sha256(presented);
    keys.iter().fold(None, |found, key| if same(&presented, &key.sha256) { Some(key) } else { found })
}

/// Compares without ending early, so that time says nothing of how much was right.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differing = a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b));
    std::hint::black_box(differing) == 0
}

impl fmt::Debug for ApiKey {
    /// Without the digest, from which a weak key could be guessed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_same_if_each_byte_is() {
        assert!(same(&[7; 32], &[7; 32]));
        for at in 0..32 {
            let mut other = [7; 32];
            other[at] ^= 1;
            assert!(!same(&[7; 32], &other), "byte {at}");
        }
    }
}
