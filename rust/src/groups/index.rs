//! Which rows belong to which group: the members of each group side by side in one array.

use crate::random::mix;
use crate::{Error, Result};

/// More groups than this are taken for a mistake: each costs 8 bytes.
const MAX_GROUPS: usize = 1 << 24;

/// Row numbers, in 4 bytes each as long as they fit.
#[derive(Debug, Clone)]
pub(crate) enum Members {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

/// The members of each of `num_groups` groups, in row order. Rows of group -1 are outside.
///
/// Building takes two passes over the rows, O(N + G); memory is 4 bytes a row (8 from 2³² rows on).
#[derive(Debug, Clone)]
pub struct GroupIndex {
    /// Group g owns `members[starts[g]..starts[g + 1]]`.
    starts: Vec<usize>,
    members: Members,
    num_rows: usize,
}

impl GroupIndex {
    /// Index `groups`, one group number (or -1) for each row.
    ///
    /// # Errors
    /// [`Error::Scalar`] if `num_groups` is 0 or above 2²⁴; [`Error::Group`] for the first group number below -1
    /// or not below `num_groups`.
    pub fn new(groups: &[i64], num_groups: usize) -> Result<Self> {
        if !(1..=MAX_GROUPS).contains(&num_groups) {
            let (found, expected) = (num_groups.to_string(), "1 to 2^24");
            return Err(Error::Scalar { argument: "num_groups", found, expected });
        }
        let starts = count(groups, num_groups)?;
        let members = if u32::try_from(groups.len()).is_ok() {
            Members::Narrow(scatter(groups, &starts, |row| row as u32))
        } else {
            Members::Wide(scatter(groups, &starts, |row| row as u64))
        };
        Ok(Self { starts, members, num_rows: groups.len() })
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

    /// The number of members of `group`.
    #[must_use]
    pub fn count(&self, group: usize) -> usize {
        self.starts[group + 1] - self.starts[group]
    }

    /// The rows of `group`, ascending.
    ///
    /// # Errors
    /// [`Error::Scalar`] if there is no such group.
    pub fn members(&self, group: usize) -> Result<Vec<i64>> {
        if group >= self.num_groups() {
            return Err(Error::Scalar {
                argument: "group",
                found: group.to_string(),
                expected: "a group below num_groups",
            });
        }
        let range = self.starts[group]..self.starts[group + 1];
        Ok(match &self.members {
            Members::Narrow(rows) => rows[range].iter().map(|&row| i64::from(row)).collect(),
            Members::Wide(rows) => rows[range].iter().map(|&row| row as i64).collect(),
        })
    }

    /// The group number of each row again, as given to [`GroupIndex::new`].
    #[must_use]
    pub fn groups(&self) -> Vec<i64> {
        let mut groups = vec![-1; self.num_rows];
        for group in 0..self.num_groups() {
            for position in self.starts[group]..self.starts[group + 1] {
                groups[self.row(position)] = group as i64;
            }
        }
        groups
    }

    /// 63 bits that differ, almost surely, for different groups: what a checkpoint remembers of
    /// them. O(N); stable by promise.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let keyed = |i: usize, value: usize| mix(mix(i as u64) ^ value as u64);
        let starts = self.starts.iter().enumerate().map(|(i, &start)| keyed(i, start));
        let of_starts = starts.fold(mix(self.num_rows as u64), u64::wrapping_add);
        let positions = 0..self.starts[self.num_groups()];
        let rows = positions.map(|position| keyed(position, self.row(position)));
        rows.fold(mix(of_starts), u64::wrapping_add) >> 1
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

/// Check every group number and return where each group starts.
fn count(groups: &[i64], num_groups: usize) -> Result<Vec<usize>> {
    // Slot 0 counts the rows outside, so that the loop has no branch but the check.
    let mut starts = vec![0_usize; num_groups + 1];
    for (row, &group) in groups.iter().enumerate() {
        // -1 wraps to 0; anything below it becomes too large.
        let slot = group.wrapping_add(1) as u64;
        match starts.get_mut(usize::try_from(slot).unwrap_or(usize::MAX)) {
            Some(count) => *count += 1,
            None => return Err(Error::Group { row, found: group, num_groups }),
        }
    }
    starts[0] = 0;
    for g in 0..num_groups {
        starts[g + 1] += starts[g];
    }
    Ok(starts)
}

fn scatter<T: Copy + Default>(
    groups: &[i64],
    starts: &[usize],
    row: impl Fn(usize) -> T,
) -> Vec<T> {
    let mut members = vec![T::default(); starts[starts.len() - 1]];
    let mut next = starts.to_vec();
    for (i, &group) in groups.iter().enumerate() {
        if group >= 0 {
            let slot = &mut next[group as usize];
            members[*slot] = row(i);
            *slot += 1;
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::{GroupIndex, Members, scatter};
    use crate::Error;

    #[test]
    fn members_are_the_rows_of_the_group_in_order() {
        let index = GroupIndex::new(&[2, 0, -1, 2, 2], 4).unwrap();
        assert_eq!((index.num_groups(), index.num_rows()), (4, 5));
        assert_eq!(index.members(0).unwrap(), [1]);
        assert_eq!(index.members(1).unwrap(), [0_i64; 0]);
        assert_eq!(index.members(2).unwrap(), [0, 3, 4]);
        assert!(index.members(4).is_err());
        assert_eq!(index.groups(), [2, 0, -1, 2, 2]);
        assert!(matches!(index.all_members(), Members::Narrow(_)));
    }

    #[test]
    fn wide_rows_are_scattered_like_narrow_ones() {
        let shift = u64::from(u32::MAX);
        assert_eq!(
            scatter(&[1, 0, 1], &[0, 1, 3], |row| row as u64 + shift),
            [shift + 1, shift, shift + 2]
        );
    }

    #[test]
    fn a_bad_group_names_the_row_and_the_value() {
        for bad in [-2, 3, i64::MIN, i64::MAX] {
            let error = GroupIndex::new(&[0, bad], 3).unwrap_err();
            assert_eq!(error, Error::Group { row: 1, found: bad, num_groups: 3 });
        }
        let message = GroupIndex::new(&[0, 3], 3).unwrap_err().to_string();
        assert_eq!(message, "groups[1] is 3; expected -1 (outside) or 0 to 2 (num_groups is 3)");
        for num_groups in [0, usize::MAX] {
            let message = GroupIndex::new(&[], num_groups).unwrap_err().to_string();
            assert!(message.starts_with("num_groups is"), "{message}");
        }
    }

    #[test]
    fn the_digest_is_stable_and_tells_groups_apart() {
        let digest = |groups: &[i64], n| GroupIndex::new(groups, n).unwrap().digest();
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
