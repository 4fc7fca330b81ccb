//! The group stream: an epoch of draws with exact quotas, each of which can be had by its number.

use std::sync::Arc;

use super::{MAX_DRAWS, Permutation};
use crate::groups::{GroupIndex, Members};
use crate::random::{Purpose, Stream};
use crate::{Error, Result, Workers, simd};

/// Draws made together, so that each stage runs over a buffer that stays in the first cache.
const BLOCK: usize = 1024;
/// Draws in one task of a thread.
const TASK: usize = 1 << 16;
/// Up to this many groups, counting passed boundaries beats a binary search.
const LINEAR_MAX: usize = 16;

/// The draws of one epoch, `0..len()`.
///
/// The epoch is a keyed permutation of its slots. Group g owns `quotas[g]` consecutive slots; slot s
/// of the group means its member number (s + rotation) mod `N_g`, the rotation keyed by seed and
/// epoch. So draw i is a pure function of (seed, epoch, i, quotas, groups), and every member of g is
/// drawn ⌊q/N⌋ or ⌈q/N⌉ times.
///
/// Building costs O(G), a draw O(1) up to 16 groups and O(log G) above; memory is O(G) beside the
/// shared index.
#[derive(Debug, Clone)]
pub struct GroupStream {
    index: Arc<GroupIndex>,
    permutation: Permutation,
    /// Where the slots of each owner end; ascending.
    ends: Vec<u64>,
    owners: Vec<Owner>,
}

/// A group that owns slots.
#[derive(Debug, Clone, Copy)]
struct Owner {
    /// Added to a slot to get an unreduced member number: rotation minus the group's first slot.
    shift: u64,
    count: u64,
    /// ⌊(2⁶⁴ − 1) / count⌋, to divide by multiplying.
    reciprocal: u64,
    /// Where the group's members start in the index.
    start: usize,
}

impl GroupStream {
    /// The stream of `epoch` with `quotas` draws for each group.
    ///
    /// # Errors
    /// [`Error::Length`] if there isn't one quota a group; [`Error::Element`] for a negative quota;
    /// [`Error::EmptyGroup`] for a quota of a group without members; [`Error::Scalar`] if the quotas
    /// add up to 0 or to more than [`MAX_DRAWS`].
    pub fn new(index: Arc<GroupIndex>, quotas: &[i64], seed: u64, epoch: u64) -> Result<Self> {
        check(&index, quotas)?;
        let rotations = Stream::new(seed, Purpose::Rotation, epoch);
        let (mut ends, mut owners, mut end) = (Vec::new(), Vec::new(), 0_u64);
        for (group, &quota) in quotas.iter().enumerate().filter(|(_, quota)| **quota > 0) {
            let count = index.count(group) as u64;
            owners.push(Owner {
                shift: rotations.below(group as u64, count).wrapping_sub(end),
                count,
                reciprocal: u64::MAX / count,
                start: index.start(group),
            });
            end += quota as u64;
            ends.push(end);
        }
        let permutation = Permutation::new(end, Stream::new(seed, Purpose::Permutation, epoch));
        Ok(Self { index, permutation, ends, owners })
    }

    /// The number of draws in the epoch.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether there is nothing to draw; never true, as the quotas add up to at least 1.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of the draws `start..stop`. The result doesn't depend on the number of threads.
    ///
    /// # Errors
    /// [`Error::Range`] unless start ≤ stop ≤ `len()`.
    pub fn indices(&self, start: u64, stop: u64, workers: &Workers) -> Result<Vec<i64>> {
        if start > stop || stop > self.len() {
            return Err(Error::Range { start, stop, length: self.len() });
        }
        let mut rows = vec![0; (stop - start) as usize];
        let tasks = rows.chunks_mut(TASK).enumerate();
        workers.for_each(tasks, |(task, rows): (usize, &mut [i64])| {
            simd::dispatch(
                #[inline(always)]
                || {
                    for (block, rows) in rows.chunks_mut(BLOCK).enumerate() {
                        self.fill(start + (task * TASK + block * BLOCK) as u64, rows);
                    }
                },
            );
        })?;
        Ok(rows)
    }

    #[inline(always)]
    fn fill(&self, start: u64, rows: &mut [i64]) {
        let mut buffer = [0; BLOCK];
        let slots = &mut buffer[..rows.len()];
        self.permutation.fill(start, slots);
        if self.owners.len() <= LINEAR_MAX {
            let inner = &self.ends[..self.ends.len() - 1];
            self.place(slots, |slot| inner.iter().map(|end| usize::from(slot >= *end)).sum());
        } else {
            self.place(slots, |slot| self.ends.partition_point(|end| *end <= slot));
        }
        match self.index.all_members() {
            Members::Narrow(members) => gather(members, slots, rows, i64::from),
            Members::Wide(members) => gather(members, slots, rows, |row| row as i64),
        }
    }

    /// Turn slots into positions among the members of the index.
    #[inline(always)]
    fn place(&self, slots: &mut [u64], owner_of: impl Fn(u64) -> usize) {
        for slot in slots {
            let owner = &self.owners[owner_of(*slot)];
            let number = slot.wrapping_add(owner.shift);
            // The quotient is exact or one too small, as the reciprocal was rounded down.
            let quotient = ((u128::from(number) * u128::from(owner.reciprocal)) >> 64) as u64;
            let rest = number - quotient * owner.count;
            *slot = owner.start as u64 + rest.min(rest.wrapping_sub(owner.count));
        }
    }
}

#[inline(always)]
fn gather<T: Copy>(members: &[T], positions: &[u64], rows: &mut [i64], widen: impl Fn(T) -> i64) {
    for (row, position) in rows.iter_mut().zip(positions) {
        *row = widen(members[*position as usize]);
    }
}

fn check(index: &GroupIndex, quotas: &[i64]) -> Result<()> {
    if quotas.len() != index.num_groups() {
        let (found, expected) = (quotas.len(), index.num_groups());
        return Err(Error::Length { argument: "quotas", found, expected, counts: "groups" });
    }
    let mut total = 0_u64;
    for (group, &quota) in quotas.iter().enumerate() {
        let found = quota.to_string();
        if quota < 0 {
            let expected = "0 or above";
            return Err(Error::Element { argument: "quotas", row: group, found, expected });
        }
        if quota > 0 && index.count(group) == 0 {
            return Err(Error::EmptyGroup { argument: "quotas", group, found });
        }
        total = total.saturating_add(quota as u64);
    }
    if !(1..=MAX_DRAWS).contains(&total) {
        let (found, expected) = (total.to_string(), "1 to 2^48");
        return Err(Error::Scalar { argument: "the sum of quotas", found, expected });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::GroupStream;
    use crate::Workers;
    use crate::groups::GroupIndex;

    fn index() -> Arc<GroupIndex> {
        Arc::new(GroupIndex::new(&[0, 1, 1, 0, 2, -1, 1, 0, 1], 4).unwrap())
    }

    #[test]
    fn values_are_stable() {
        let draws = |epoch| {
            let stream = GroupStream::new(index(), &[3, 3, 3, 0], 42, epoch).unwrap();
            stream.indices(0, 9, &Workers::new(1)).unwrap()
        };
        assert_eq!(draws(0), [4, 1, 4, 0, 3, 2, 8, 7, 4]);
        assert_eq!(draws(1), [2, 8, 4, 6, 4, 0, 7, 3, 4]);
    }

    #[test]
    fn threads_and_pieces_don_t_change_the_result() {
        let groups: Vec<i64> = (0..3000).map(|i| (i * i) % 37).collect();
        let index = Arc::new(GroupIndex::new(&groups, 37).unwrap());
        let quotas: Vec<i64> = (0..37).map(|g| if index.count(g) > 0 { 9000 } else { 0 }).collect();
        let stream = GroupStream::new(index, &quotas, 1, 2).unwrap();
        let all = stream.indices(0, stream.len(), &Workers::new(1)).unwrap();
        assert_eq!(all, stream.indices(0, stream.len(), &Workers::new(5)).unwrap());
        let part = stream.indices(70_001, 90_123, &Workers::new(3)).unwrap();
        assert_eq!(part, all[70_001..90_123]);
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
        assert!(!stream.is_empty());
    }
}
