//! The members of each group, contiguous in one array.

use std::sync::atomic::{AtomicU64, Ordering};

use super::GroupNumber;
use super::counting::Parts;
use super::huge_pages::Pages;
use crate::memory::with_capacity;
use crate::random::mix;
use crate::{Error, Result, Workers};

/// Positions that a thread processes between checks for interruption.
const STEP: usize = 1 << 21;

/// Row numbers, in 4 bytes each as long as they fit.
#[derive(Debug)]
pub(crate) enum Members {
    Narrow(Pages<u32>),
    Wide(Pages<u64>),
}

/// The members of each of `num_groups` groups, in row order. Rows of group -1 are outside.
///
/// Building takes two passes over the rows and one over the members, O(N + G); memory is 4 bytes a row (8 from 2³²
/// rows on). The result doesn't depend on the number of threads.
#[derive(Debug)]
pub struct GroupIndex {
    /// Group g owns `members[starts[g]..starts[g + 1]]`.
    starts: Vec<usize>,
    members: Members,
    num_rows: usize,
    first_outside: Option<usize>,
}

impl GroupIndex {
    /// Index `groups`, one group number (or -1) for each row; without `num_groups` the largest number
    /// determines the number of groups, at least one.
    ///
    /// # Errors
    /// [`Error::Input`] if `num_groups` is 0 or above 2²⁴, or for the first group number below -1 or too large;
    /// [`Error::Memory`]; [`Error::Interrupted`].
    pub fn new<T: GroupNumber>(
        groups: &[T],
        num_groups: Option<usize>,
        workers: &Workers,
    ) -> Result<Self> {
        let parts = Parts::count(groups, num_groups, workers)?;
        let (num_rows, first_outside) = (groups.len(), parts.first_outside(workers)?);
        let members = if u32::try_from(num_rows).is_ok() {
            Members::Narrow(parts.members(|row| row as u32, workers)?)
        } else {
            Members::Wide(parts.members(|row| row as u64, workers)?)
        };
        Ok(Self { starts: parts.starts()?, members, num_rows, first_outside })
    }

    /// The number of groups, empty ones included.
    #[must_use]
    pub fn num_groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of rows, those outside every group included.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// The number of rows outside every group.
    #[must_use]
    pub fn num_outside(&self) -> usize {
        self.num_rows - self.starts[self.num_groups()]
    }

    /// The first row outside every group.
    #[must_use]
    pub fn first_outside(&self) -> Option<usize> {
        self.first_outside
    }

    /// The number of members of `group`.
    #[must_use]
    pub fn count(&self, group: usize) -> usize {
        self.starts[group + 1] - self.starts[group]
    }

    /// The rows of `group`, ascending.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such group; [`Error::Memory`]; [`Error::Interrupted`].
    pub fn members(&self, group: usize, workers: &Workers) -> Result<Vec<i64>> {
        if group >= self.num_groups() {
            return Err(Error::scalar("group", group, "a group below num_groups"));
        }
        let (start, end) = (self.starts[group], self.starts[group + 1]);
        let mut members = with_capacity(end - start)?;
        for first in (start..end).step_by(STEP) {
            workers.check()?;
            members
                .extend((first..end.min(first + STEP)).map(|position| self.row(position) as i64));
        }
        Ok(members)
    }

    /// Return the group of each row as `number(g)`, or `outside`. Runs on the calling thread.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Interrupted`].
    pub fn groups<T: Copy>(
        &self,
        outside: T,
        number: impl Fn(usize) -> T,
        workers: &Workers,
    ) -> Result<Vec<T>> {
        let mut groups = with_capacity(self.num_rows)?;
        while groups.len() < self.num_rows {
            workers.check()?;
            groups.resize(self.num_rows.min(groups.len() + STEP), outside);
        }
        for group in 0..self.num_groups() {
            let end = self.starts[group + 1];
            for first in (self.starts[group]..end).step_by(STEP) {
                workers.check()?;
                for position in first..end.min(first + STEP) {
                    groups[self.row(position)] = number(group);
                }
            }
        }
        Ok(groups)
    }

    /// Return 63 bits that differ, almost surely, for different groups, by which a checkpoint
    /// recognises them. O(N); stable by promise.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn digest(&self, workers: &Workers) -> Result<u64> {
        let keyed = |i: usize, value: usize| mix(mix(i as u64) ^ value as u64);
        let starts = self.starts.iter().enumerate().map(|(i, &start)| keyed(i, start));
        let of_starts = starts.fold(mix(self.num_rows as u64), u64::wrapping_add);
        let sum = AtomicU64::new(mix(of_starts));
        let num_members = self.starts[self.num_groups()];
        workers.for_each((0..num_members).step_by(STEP), |first| {
            let positions = first..num_members.min(first + STEP);
            let rows = positions.map(|position| keyed(position, self.row(position)));
            // It wraps around.
            sum.fetch_add(rows.fold(0, u64::wrapping_add), Ordering::Relaxed);
        })?;
        Ok(sum.into_inner() >> 1)
    }

    /// The same with every row `shift` further on, in 8 bytes: what 2³² rows and more look like.
    #[cfg(test)]
    pub(crate) fn widened(mut self, shift: usize) -> Self {
        let mut members = Pages::zeroed(self.starts[self.num_groups()]).unwrap();
        for (position, row) in members.iter_mut().enumerate() {
            *row = (self.row(position) + shift) as u64;
        }
        self.members = Members::Wide(members);
        self
    }

    pub(crate) fn start(&self, group: usize) -> usize {
        self.starts[group]
    }

    pub(crate) fn all_members(&self) -> &Members {
        &self.members
    }

    fn row(&self, position: usize) -> usize {
        match &self.members {
            Members::Narrow(rows) => rows[position] as usize,
            Members::Wide(rows) => rows[position] as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupIndex, Members};
    use crate::groups::GroupNumber;
    use crate::{Error, Workers};

    fn index<T: GroupNumber>(groups: &[T], num_groups: usize) -> crate::Result<GroupIndex> {
        GroupIndex::new(groups, Some(num_groups), &Workers::new(2))
    }

    #[test]
    fn members_are_the_rows_of_the_group_in_order() {
        let index = index(&[2, 0, -1, 2, 2], 4).unwrap();
        assert_eq!((index.num_groups(), index.num_rows()), (4, 5));
        assert_eq!((index.num_outside(), index.first_outside()), (1, Some(2)));
        assert_eq!(index.members(0, &Workers::new(1)).unwrap(), [1]);
        assert_eq!(index.members(1, &Workers::new(1)).unwrap(), [0_i64; 0]);
        assert_eq!(index.members(2, &Workers::new(1)).unwrap(), [0, 3, 4]);
        assert!(index.members(4, &Workers::new(1)).is_err());
        let groups = index.groups(-1, |group| group as i8, &Workers::new(1)).unwrap();
        assert_eq!(groups, [2, 0, -1, 2, 2]);
        assert!(matches!(index.all_members(), Members::Narrow(_)));
    }

    #[test]
    fn the_largest_number_says_how_many_groups_there_are() {
        let num_groups =
            |groups: &[u16]| GroupIndex::new(groups, None, &Workers::new(1)).unwrap().num_groups();
        assert_eq!(num_groups(&[3, 0, 9, 1]), 10);
        assert_eq!(num_groups(&[]), 1);
        assert_eq!(num_groups(&[65_535]), 65_536);
    }

    /// Several parts and steps, few groups and more than are indexed in parts, any type and number of threads.
    #[test]
    fn large_ones_are_the_same_in_any_way() {
        for num_groups in [3, 70_000] {
            let groups: Vec<i32> = (0..2_500_000_u64)
                .map(|i| (i * i % 1_000_003 % (num_groups as u64 + 1)) as i32 - 1)
                .collect();
            let mut expected = vec![Vec::new(); num_groups];
            for (row, &group) in groups.iter().enumerate() {
                if group >= 0 {
                    expected[group as usize].push(row as i64);
                }
            }
            let wide: Vec<i64> = groups.iter().map(|&group| i64::from(group)).collect();
            for (num_threads, num_groups) in [(1, None), (2, Some(num_groups)), (5, None)] {
                let workers = Workers::new(num_threads);
                let narrow = GroupIndex::new(&groups, num_groups, &workers).unwrap();
                let same = GroupIndex::new(&wide, num_groups, &workers).unwrap();
                for (group, expected) in expected.iter().enumerate() {
                    assert_eq!(&narrow.members(group, &Workers::new(1)).unwrap(), expected);
                }
                assert_eq!(narrow.digest(&workers), same.digest(&Workers::new(1)));
                let again = narrow.groups(-1, |group| group as i32, &workers).unwrap();
                assert_eq!(again, groups);
            }
        }
    }

    #[test]
    fn a_bad_group_names_the_row_and_the_value() {
        for bad in [-2, 3, i64::MIN, i64::MAX] {
            let error = index(&[0, bad], 3).unwrap_err();
            assert_eq!(error, Error::group(1, bad, 3));
        }
        let message = index(&[0, 3], 3).unwrap_err().to_string();
        assert_eq!(message, "groups[1] is 3; expected -1 (outside) or 0 to 2 (num_groups is 3)");
        for num_groups in [0, usize::MAX] {
            let message = index::<i8>(&[], num_groups).unwrap_err().to_string();
            assert!(message.starts_with("num_groups is"), "{message}");
        }
        let message = GroupIndex::new(&[0, u64::MAX, 0], None, &Workers::new(1)).unwrap_err();
        let expected = "groups[1] is 18446744073709551615; expected -1 (outside) or 0 to 2^24 - 1";
        assert_eq!(message.to_string(), expected);
        // The first in row order, whichever part meets one first.
        let mut groups = vec![0_i16; 1 << 20];
        groups[(1 << 20) - 1] = -7;
        groups[200_000] = 5;
        let error = index(&groups, 5).unwrap_err();
        assert_eq!(error, Error::group(200_000, 5, 5));
    }

    #[test]
    fn long_calls_can_be_stopped() {
        let workers = || {
            let workers = Workers::interruptible(1, &|| true);
            std::thread::sleep(std::time::Duration::from_millis(60));
            workers
        };
        let building = GroupIndex::new(&[0_u8; 10], None, &workers());
        assert_eq!(building.unwrap_err(), Error::Interrupted);
        let built = index(&[0_u8; 10], 1).unwrap();
        assert_eq!(built.digest(&workers()), Err(Error::Interrupted));
        assert_eq!(built.groups(-1, |_| 0, &workers()), Err(Error::Interrupted));
    }

    #[test]
    fn the_digest_is_stable_and_tells_groups_apart() {
        let digest =
            |groups: &[i64], n| index(groups, n).unwrap().digest(&Workers::new(1)).unwrap();
        assert_eq!(digest(&[0, 1, 1], 2), 7_239_831_807_109_992_651);
        let all = [
            digest(&[0, 1, 1], 2),
            digest(&[1, 0, 1], 2),
            digest(&[0, 1, 1], 3),
            digest(&[0, 1, 1, -1], 2),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(a));
        }
    }
}
