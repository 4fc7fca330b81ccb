//! Independent draws, from the distribution of a sampler with one weight per row and equal weights within a group.

use std::sync::Arc;

use super::owners::Owners;
use super::rows::{self, BLOCK, Draws, Epoch, check_length};
use crate::groups::GroupIndex;
use crate::random::{Purpose, Stream};
use crate::{Result, Workers};

/// An epoch of independent draws, with replacement: group g with probability `quotas[g]` / Σ quotas, then each of its
/// members with equal probability.
///
/// The quotas divide a wheel of 2⁴⁸ slots (fewer are allowed, but give coarser probabilities); a draw picks one.
/// Draw i is a pure function of (seed, epoch, i, quotas, groups). Cost and memory are those of
/// [`GroupStream`](super::GroupStream).
#[derive(Debug, Clone)]
pub struct IndependentStream {
    index: Arc<GroupIndex>,
    owners: Owners<Owner>,
    keys: Stream,
    length: u64,
}

/// The position of a group's members in the index.
#[derive(Debug, Clone, Copy)]
struct Owner {
    start: u64,
    count: u64,
}

impl IndependentStream {
    /// The stream of `epoch`, of `length` draws.
    ///
    /// # Errors
    /// Those of [`GroupStream::new`](super::GroupStream::new); [`Error::Input`](crate::Error::Input) if
    /// `length` is 0 or above [`MAX_DRAWS`](super::MAX_DRAWS).
    pub fn new(
        index: Arc<GroupIndex>,
        quotas: &[i64],
        length: u64,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        check_length(length)?;
        let owners = Owners::new(&index, quotas, |group, _, _| Owner {
            start: index.start(group) as u64,
            count: index.count(group) as u64,
        })?;
        Ok(Self { index, owners, keys: Stream::new(seed, Purpose::Independent, epoch), length })
    }
}

impl Epoch for IndependentStream {
    fn len(&self) -> u64 {
        self.length
    }

    fn fill(&self, draws: Draws, out: &mut [i64], workers: &Workers) -> Result<()> {
        let num_slots = self.owners.num_slots();
        rows::fill(
            &self.index,
            draws,
            self.length,
            out,
            workers,
            #[inline(always)]
            |first, slots| {
                let draw = |i: usize| first + i as u64 * draws.step;
                for (i, slot) in slots.iter_mut().enumerate() {
                    *slot = self.keys.below(2 * draw(i), num_slots);
                }
                let mut owners = [0; BLOCK];
                let owners = &mut owners[..slots.len()];
                self.owners.find(slots, owners);
                for (i, (slot, &owner)) in slots.iter_mut().zip(&*owners).enumerate() {
                    let owner = self.owners[owner];
                    *slot = owner.start + self.keys.below(2 * draw(i) + 1, owner.count);
                }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Draws, Epoch, IndependentStream};
    use crate::Workers;
    use crate::groups::GroupIndex;

    fn draws(quotas: &[i64], length: u64, epoch: u64) -> Vec<i64> {
        let groups: [i8; 9] = [0, 1, 1, 0, 2, -1, 1, 0, 1];
        let index = Arc::new(GroupIndex::new(&groups, Some(4), &Workers::new(1)).unwrap());
        let stream = IndependentStream::new(index, quotas, length, 42, epoch).unwrap();
        let mut out = vec![0; length as usize];
        stream.fill(Draws { start: 0, stop: length, step: 1 }, &mut out, &Workers::new(2)).unwrap();
        let mut odd = vec![0; length as usize / 2];
        stream.fill(Draws { start: 1, stop: length, step: 2 }, &mut odd, &Workers::new(1)).unwrap();
        assert!(odd.iter().eq(out.iter().skip(1).step_by(2)));
        out
    }

    #[test]
    fn values_are_stable() {
        assert_eq!(draws(&[1 << 46, 1 << 47, 1 << 46, 0], 9, 0), [4, 0, 6, 8, 4, 7, 2, 6, 4]);
        assert_eq!(draws(&[1 << 46, 1 << 47, 1 << 46, 0], 9, 1), [3, 8, 1, 0, 0, 4, 2, 2, 6]);
    }

    /// χ² of rows, and of pairs of successive rows, against the exact distribution.
    #[test]
    fn draws_follow_the_law_independently() {
        let length = 400_000;
        let found = draws(&[3 << 45, 1 << 46, 3 << 45, 0], length, 3);
        let exact = [
            1.0 / 8.0,
            1.0 / 16.0,
            1.0 / 16.0,
            1.0 / 8.0,
            3.0 / 8.0,
            0.0,
            1.0 / 16.0,
            1.0 / 8.0,
            1.0 / 16.0,
        ];
        let mut rows = [0.0; 9];
        let mut pairs = [[0.0; 9]; 9];
        for pair in found.chunks_exact(2) {
            rows[pair[0] as usize] += 1.0;
            rows[pair[1] as usize] += 1.0;
            pairs[pair[0] as usize][pair[1] as usize] += 1.0;
        }
        assert!(rows[5] < 0.5);
        let term = |seen: f64, expected: f64| {
            if expected > 0.0 { (seen - expected).powi(2) / expected } else { 0.0 }
        };
        let of_rows: f64 = (0..9).map(|i| term(rows[i], exact[i] * length as f64)).sum();
        let of_pairs: f64 = (0..81)
            .map(|ij| {
                term(pairs[ij / 9][ij % 9], exact[ij / 9] * exact[ij % 9] * length as f64 / 2.0)
            })
            .sum();
        // 7 and 63 degrees of freedom: means 7 and 63, standard deviations 3.7 and 11.2.
        assert!(of_rows < 30.0 && of_pairs < 130.0, "{of_rows} {of_pairs}");
    }

    #[test]
    fn bad_arguments_are_named() {
        let index = Arc::new(GroupIndex::new(&[0_u8], Some(1), &Workers::new(1)).unwrap());
        let message = |quotas: &[i64], length| {
            IndependentStream::new(index.clone(), quotas, length, 0, 0).unwrap_err().to_string()
        };
        assert!(message(&[1], 0).starts_with("length is 0; expected 1 to 2^48"));
        assert!(message(&[0], 1).starts_with("the sum of quotas is 0"));
    }
}
