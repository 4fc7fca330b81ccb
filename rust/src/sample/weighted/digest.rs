//! What a checkpoint remembers of the weights.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::random::mix;
use crate::{Result, Workers};

/// Words that a thread goes through at a time.
const TASK: usize = 1 << 20;

/// 63 bits that differ, almost surely, for different words; the same for any number of threads, and stable by promise.
pub(super) fn digest(words: &[u64], workers: &Workers) -> Result<u64> {
    let sum = AtomicU64::new(mix(words.len() as u64));
    workers.for_each(words.chunks(TASK).enumerate(), |(task, words)| {
        let keyed = |(i, word): (usize, &u64)| mix(mix((task * TASK + i) as u64) ^ word);
        // It wraps around.
        let part = words.iter().enumerate().map(keyed).fold(0, u64::wrapping_add);
        sum.fetch_add(part, Ordering::Relaxed);
    })?;
    Ok(sum.into_inner() >> 1)
}

#[cfg(test)]
mod tests {
    use super::{TASK, digest};
    use crate::Workers;

    #[test]
    fn it_is_stable_and_tells_words_apart() {
        let of = |words: &[u64]| digest(words, &Workers::new(1)).unwrap();
        assert_eq!(of(&[1, 2, 3]), PINNED);
        let all = [of(&[1, 2, 3]), of(&[2, 1, 3]), of(&[1, 2]), of(&[1, 2, 3, 0]), of(&[])];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(a));
        }
        let long: Vec<u64> = (0..3 * TASK as u64 + 5).collect();
        assert_eq!(of(&long), digest(&long, &Workers::new(3)).unwrap());
    }

    const PINNED: u64 = 1_281_693_682_136_667_944;
}
