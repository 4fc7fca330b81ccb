//! The group stream: an epoch of draws with exact quotas, each of which can be had by its number.

use std::sync::Arc;

use super::Permutation;
use super::owners::Owners;
use super::rows::{self, Draws};
use crate::groups::GroupIndex;
use crate::random::{Purpose, Stream};
use crate::{Result, Workers};

/// Strides are drawn at the group's position plus this, rotations at the group's position.
const STRIDES: u64 = 1 << 32;

/// The draws of one epoch, `0..len()`.
///
/// The epoch is a keyed permutation of its slots. Group g owns `quotas[g]` consecutive slots; slot s of the group
/// means its member number (stride · s + rotation) mod `N_g`. Both are keyed by seed, epoch and group, and the stride
/// is coprime to `N_g`, so that `N_g` consecutive slots are all members once. So draw i is a pure function of (seed,
/// epoch, i, quotas, groups), every member of g is drawn ⌊q/N⌋ or ⌈q/N⌉ times, and the members that are drawn once
/// more lie all over the group. Where q is a multiple of N there are none, and the stride is 1.
///
/// Building costs O(G), a draw O(1) up to 16 groups and O(log G) above; memory is O(G) beside the
/// shared index.
#[derive(Debug, Clone)]
pub struct GroupStream {
    index: Arc<GroupIndex>,
    permutation: Permutation,
    owners: Owners<Owner>,
}

/// How a group turns its slots into positions among the members of the index.
#[derive(Debug, Clone, Copy)]
struct Owner {
    first: u64,
    count: u64,
    stride: u64,
    /// ⌊2⁶⁴ · stride / count⌋.
    ratio: u64,
    rotation: u64,
    /// Where the group's members start in the index.
    start: u64,
}

impl GroupStream {
    /// The stream of `epoch` with `quotas` draws for each group.
    ///
    /// # Errors
    /// [`Error::Length`] if there isn't one quota a group; [`Error::Element`] for a negative quota;
    /// [`Error::EmptyGroup`] for a quota of a group without members; [`Error::Scalar`] if the quotas
    /// add up to 0 or to more than [`MAX_DRAWS`].
    ///
    /// [`Error::Length`]: crate::Error::Length
    /// [`Error::Element`]: crate::Error::Element
    /// [`Error::EmptyGroup`]: crate::Error::EmptyGroup
    /// [`Error::Scalar`]: crate::Error::Scalar
    /// [`MAX_DRAWS`]: super::MAX_DRAWS
    pub fn new(index: Arc<GroupIndex>, quotas: &[i64], seed: u64, epoch: u64) -> Result<Self> {
        let keys = Stream::new(seed, Purpose::Rotation, epoch);
        let owners = Owners::new(&index, quotas, |group, first, quota| {
            let count = index.count(group) as u64;
            let drawn = keys.below(STRIDES + group as u64, count);
            let stride = if quota % count == 0 { 1 % count } else { coprime(drawn, count) };
            let rotation = keys.below(group as u64, count);
            Owner::new(first, count, stride, rotation, index.start(group) as u64)
        })?;
        let stream = Stream::new(seed, Purpose::Permutation, epoch);
        let permutation = Permutation::new(owners.num_slots(), stream);
        Ok(Self { index, permutation, owners })
    }

    /// The number of draws in the epoch.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a draw")]
    pub fn len(&self) -> u64 {
        self.owners.num_slots()
    }

    /// The rows of `draws`, written to `out`, in O(`out.len()`).
    /// The result doesn't depend on the number of threads.
    ///
    /// # Errors
    /// Those of [`Draws::count`]; [`Error::Length`] if `out` isn't as long as there are draws.
    ///
    /// [`Error::Length`]: crate::Error::Length
    pub fn fill(&self, draws: Draws, out: &mut [i64], workers: &Workers) -> Result<()> {
        let walk = self.permutation.walk(draws.step);
        rows::fill(
            &self.index,
            draws,
            self.len(),
            out,
            workers,
            #[inline(always)]
            |draw, slots| {
                walk.fill(draw, slots);
                self.owners.place(slots, |owner, _, slot| owner.position(slot));
            },
        )
    }

    /// The rows of the draws `start..stop`.
    ///
    /// # Errors
    /// Those of [`GroupStream::fill`].
    pub fn indices(&self, start: u64, stop: u64, workers: &Workers) -> Result<Vec<i64>> {
        let draws = Draws { start, stop, step: 1 };
        let mut out = vec![0; draws.count(self.len())?];
        self.fill(draws, &mut out, workers)?;
        Ok(out)
    }
}

impl Owner {
    fn new(first: u64, count: u64, stride: u64, rotation: u64, start: u64) -> Self {
        let ratio = ((u128::from(stride) << 64) / u128::from(count)) as u64;
        Self { first, count, stride, ratio, rotation, start }
    }

    #[inline(always)]
    fn position(&self, slot: u64) -> u64 {
        let slot = slot - self.first;
        // stride · slot mod count by a multiplication with the ratio (Shoup's): the quotient is exact or one too
        // small, as the ratio was rounded down, so the rest fits although the product may not.
        let quotient = ((u128::from(slot) * u128::from(self.ratio)) >> 64) as u64;
        let rest = slot.wrapping_mul(self.stride).wrapping_sub(quotient.wrapping_mul(self.count));
        let rotated = rest.min(rest.wrapping_sub(self.count)) + self.rotation;
        self.start + rotated.min(rotated.wrapping_sub(self.count))
    }
}

/// The first of `from`, `from + 1`, and so on, modulo `count`, that shares no factor with it.
fn coprime(from: u64, count: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut strides = (0..count).map(|i| (from + i) % count);
    strides.find(|&stride| gcd(count, stride) == 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Draws, GroupStream, Owner, coprime};
    use crate::Workers;
    use crate::groups::GroupIndex;
    use crate::random::{Purpose, Stream};

    fn index() -> Arc<GroupIndex> {
        Arc::new(GroupIndex::new(&[0, 1, 1, 0, 2, -1, 1, 0, 1], Some(4), &Workers::new(1)).unwrap())
    }

    #[test]
    fn values_are_stable() {
        let draws = |epoch| {
            let stream = GroupStream::new(index(), &[3, 3, 3, 0], 42, epoch).unwrap();
            stream.indices(0, 9, &Workers::new(1)).unwrap()
        };
        assert_eq!(draws(0), [4, 6, 4, 0, 3, 2, 8, 7, 4]);
        assert_eq!(draws(1), [2, 8, 4, 6, 4, 0, 7, 3, 4]);
    }

    #[test]
    fn threads_and_pieces_don_t_change_the_result() {
        let groups: Vec<i64> = (0..3000).map(|i| (i * i) % 37).collect();
        let index = Arc::new(GroupIndex::new(&groups, Some(37), &Workers::new(1)).unwrap());
        let quotas: Vec<i64> = (0..37).map(|g| if index.count(g) > 0 { 9000 } else { 0 }).collect();
        let stream = GroupStream::new(index, &quotas, 1, 2).unwrap();
        let all = stream.indices(0, stream.len(), &Workers::new(1)).unwrap();
        assert_eq!(all, stream.indices(0, stream.len(), &Workers::new(5)).unwrap());
        let part = stream.indices(70_001, 90_123, &Workers::new(3)).unwrap();
        assert_eq!(part, all[70_001..90_123]);
    }

    #[test]
    fn strides_share_no_factor_and_slots_meet_every_member_once() {
        for count in [1, 2, 6, 30, 97, 5040] {
            for from in [0, 1, count / 2, count - 1] {
                let owner = Owner::new(3, count, coprime(from, count), from, 10);
                let mut met: Vec<u64> = (3..3 + count).map(|slot| owner.position(slot)).collect();
                met.sort_unstable();
                assert!(met.into_iter().eq(10..10 + count), "count = {count}, from = {from}");
            }
        }
    }

    /// 2³² and 2⁴⁸ members, without a row in memory.
    #[test]
    fn positions_are_exact_for_groups_of_any_size() {
        let stream = Stream::new(1, Purpose::Rotation, 0);
        for count in [(1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 48) - 59, 1 << 48] {
            let stride = coprime(stream.below(0, count), count);
            let rotation = count - 1;
            let any = (0..10_000).map(|i| (stride, stream.below(i, 1 << 48)));
            // A quotient that comes out one too small, and leaves more than the rotation makes up for.
            let just_beyond = [(1, count + 1), (1, count + 2)].into_iter();
            for (stride, slot) in any.chain(just_beyond) {
                let owner = Owner::new(0, count, stride, rotation, 7);
                let product = u128::from(stride) * u128::from(slot) + u128::from(rotation);
                assert_eq!(u128::from(owner.position(slot)), 7 + product % u128::from(count));
            }
        }
    }

    #[test]
    fn rows_beyond_32_bits_are_drawn_like_others() {
        let groups = || GroupIndex::new(&[0, 1, 1, 0, 1, 1], None, &Workers::new(1)).unwrap();
        let draws = |index| {
            let stream = GroupStream::new(Arc::new(index), &[5, 6], 1, 0).unwrap();
            stream.indices(0, 11, &Workers::new(1)).unwrap()
        };
        let shifted = draws(groups()).iter().map(|row| row + (1 << 32) - 3).collect::<Vec<_>>();
        assert_eq!(draws(groups().widened((1 << 32) - 3)), shifted);
    }

    /// A fifth of a group is drawn: neither a window of its rows, nor twice the same fifth.
    #[test]
    fn what_is_drawn_of_a_group_lies_all_over_it() {
        let index = Arc::new(GroupIndex::new(&vec![0_u8; 10_000], None, &Workers::new(1)).unwrap());
        let mut previous = Vec::new();
        for epoch in 0..20 {
            let stream = GroupStream::new(index.clone(), &[2000], 3, epoch).unwrap();
            let mut rows = stream.indices(0, 2000, &Workers::new(1)).unwrap();
            rows.sort_unstable();
            let gaps = rows.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.max() < Some(1000));
            assert_ne!(rows, previous);
            previous = rows;
        }
    }

    #[test]
    fn where_every_member_is_drawn_equally_often_the_stride_is_1() {
        let index = Arc::new(GroupIndex::new(&[0_u8; 50], None, &Workers::new(1)).unwrap());
        let strides = |quota| {
            let stream = GroupStream::new(index.clone(), &[quota], 3, 0).unwrap();
            stream.owners.owners().iter().map(|owner| owner.stride).collect::<Vec<_>>()
        };
        assert_eq!((strides(50), strides(100)), (vec![1], vec![1]));
        assert_ne!(strides(51), [1]);
    }

    #[test]
    fn bad_arguments_are_named() {
        let message =
            |quotas: &[i64]| GroupStream::new(index(), quotas, 0, 0).unwrap_err().to_string();
        assert!(message(&[1, 1]).starts_with("quotas has length 2; expected 4"));
        assert!(message(&[1, -1, 1, 0]).starts_with("quotas[1] is -1"));
        assert!(message(&[1, 1, 1, 2]).contains("group 3 has no members"));
        assert!(message(&[0, 0, 0, 0]).starts_with("the sum of quotas is 0"));
        assert!(message(&[i64::MAX, i64::MAX, i64::MAX, 0]).starts_with("the sum of quotas"));
        let stream = GroupStream::new(index(), &[1, 1, 1, 0], 0, 0).unwrap();
        assert!(
            stream
                .indices(2, 4, &Workers::new(1))
                .unwrap_err()
                .to_string()
                .starts_with("start and stop")
        );
        assert!(stream.indices(2, 1, &Workers::new(1)).is_err());
        let message = stream
            .fill(Draws { start: 0, stop: 3, step: 2 }, &mut [0; 3], &Workers::new(1))
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("out has length 3; expected 2 (draws)"));
        let message = stream
            .fill(Draws { start: 0, stop: 3, step: 0 }, &mut [0; 3], &Workers::new(1))
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("step is 0"));
    }
}
