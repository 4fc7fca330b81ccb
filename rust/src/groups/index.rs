//! Which rows belong to which group: the members of each group side by side in one array.

use std::slice::IterMut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytemuck::Pod;

use super::GroupNumber;
use super::pages::Pages;
use crate::random::mix;
use crate::{Error, Result, Workers};

/// More groups than this are taken for a mistake: each costs 8 bytes.
const MAX_GROUPS: usize = 1 << 24;
/// The rows are indexed in so many parts side by side, if there are enough of them and not too many groups.
const PARTS: usize = 4;
const PART_MIN: usize = 1 << 18;
const PARTED_MAX_GROUPS: usize = 1 << 16;
/// Rows that a thread goes through at a time.
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
    /// Index `groups`, one group number (or -1) for each row; without `num_groups` there are as many groups as the
    /// largest number says, at least one.
    ///
    /// # Errors
    /// [`Error::Scalar`] if `num_groups` is 0 or above 2²⁴; [`Error::Group`] or [`Error::Element`] for the first
    /// group number below -1 or too large; [`Error::Interrupted`].
    pub fn new<T: GroupNumber>(
        groups: &[T],
        num_groups: Option<usize>,
        workers: &Workers,
    ) -> Result<Self> {
        if num_groups.is_some_and(|n| !(1..=MAX_GROUPS).contains(&n)) {
            let (found, expected) = (num_groups.unwrap_or(0).to_string(), "1 to 2^24");
            return Err(Error::Scalar { argument: "num_groups", found, expected });
        }
        let mut parts = Part::split(groups, num_groups);
        if !count(&mut parts, num_groups.unwrap_or(MAX_GROUPS), workers)? {
            return Err(first_bad(groups, num_groups));
        }
        let num_outside: usize = parts.iter().map(|part| part.counts[0]).sum();
        let first_outside =
            if num_outside > 0 { groups.iter().position(|group| group.slot() == 0) } else { None };
        level(&mut parts, groups);
        let starts = starts(&parts);
        let members = if u32::try_from(groups.len()).is_ok() {
            Members::Narrow(scatter(&parts, |row| row as u32, workers)?)
        } else {
            Members::Wide(scatter(&parts, |row| row as u64, workers)?)
        };
        Ok(Self { starts, members, num_rows: groups.len(), first_outside })
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

    /// The group of each row again: `number(g)`, and `outside` where there is none.
    #[must_use]
    pub fn groups<T: Copy>(&self, outside: T, number: impl Fn(usize) -> T) -> Vec<T> {
        let mut groups = vec![outside; self.num_rows];
        for group in 0..self.num_groups() {
            for position in self.starts[group]..self.starts[group + 1] {
                groups[self.row(position)] = number(group);
            }
        }
        groups
    }

    /// 63 bits that differ, almost surely, for different groups: what a checkpoint remembers of
    /// them. O(N); stable by promise.
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

/// Some consecutive rows, which one thread goes through at a time.
struct Part<'a, T> {
    first_row: usize,
    rows: &'a [T],
    /// How many rows of each slot there are; slot 0 is outside, slot g + 1 is group g.
    counts: Vec<usize>,
}

impl<'a, T: GroupNumber> Part<'a, T> {
    fn split(groups: &'a [T], num_groups: Option<usize>) -> Vec<Self> {
        let is_small = num_groups.is_some_and(|n| n > PARTED_MAX_GROUPS);
        let length = if is_small { groups.len() } else { groups.len().div_ceil(PARTS) };
        let chunks = groups.chunks(length.max(PART_MIN)).enumerate();
        let counts = vec![0; 1 + num_groups.unwrap_or(1)];
        let part = |(i, rows): (usize, &'a [T])| Self {
            first_row: i * length.max(PART_MIN),
            rows,
            counts: counts.clone(),
        };
        let parts: Vec<Self> = chunks.map(part).collect();
        if parts.is_empty() { vec![Self { first_row: 0, rows: groups, counts }] } else { parts }
    }

    /// Count some rows, and say whether all were fine.
    fn count(&mut self, rows: &[T], max_groups: usize) -> bool {
        for &group in rows {
            let slot = group.slot();
            if let Some(count) = self.counts.get_mut(slot) {
                *count += 1;
            } else if slot <= max_groups {
                self.counts.resize(slot + 1, 0);
                self.counts[slot] = 1;
            } else {
                return false;
            }
        }
        true
    }
}

/// Count the rows of each slot in all parts, and say whether all were fine.
fn count<T: GroupNumber>(
    parts: &mut [Part<T>],
    max_groups: usize,
    workers: &Workers,
) -> Result<bool> {
    let all_fine = AtomicBool::new(true);
    for step in 0..num_steps(parts) {
        workers.for_each(parts.iter_mut(), |part| {
            let rows = part.rows;
            if !part.count(of_step(rows, step), max_groups) {
                all_fine.store(false, Ordering::Relaxed);
            }
        })?;
        if !all_fine.load(Ordering::Relaxed) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Give all parts counts of all groups; if that is too many, make them one part.
fn level<'a, T>(parts: &mut Vec<Part<'a, T>>, groups: &'a [T]) {
    let num_slots = parts.iter().map(|part| part.counts.len()).max().unwrap_or(0);
    for part in parts.iter_mut() {
        part.counts.resize(num_slots, 0);
    }
    if num_slots > PARTED_MAX_GROUPS {
        let counts = (0..num_slots).map(|slot| parts.iter().map(|part| part.counts[slot]).sum());
        *parts = vec![Part { first_row: 0, rows: groups, counts: counts.collect() }];
    }
}

/// Where each group starts among the members, and where the last one ends.
fn starts<T>(parts: &[Part<T>]) -> Vec<usize> {
    let mut starts = vec![0];
    for slot in 1..parts[0].counts.len() {
        let of_group: usize = parts.iter().map(|part| part.counts[slot]).sum();
        starts.push(starts[slot - 1] + of_group);
    }
    starts
}

/// The members of all groups. Each part writes its rows to slices of its own, in row order.
fn scatter<T: GroupNumber, Row: Pod + Send>(
    parts: &[Part<T>],
    row: impl Fn(usize) -> Row + Sync,
    workers: &Workers,
) -> Result<Pages<Row>> {
    let num_members = parts.iter().flat_map(|part| &part.counts[1..]).sum();
    let mut members = Pages::zeroed(num_members);
    let mut rest: &mut [Row] = &mut members;
    let mut cursors: Vec<Vec<IterMut<Row>>> = parts.iter().map(|_| Vec::new()).collect();
    for slot in 1..parts[0].counts.len() {
        for (part, cursors) in parts.iter().zip(&mut cursors) {
            let (of_part, behind) = rest.split_at_mut(part.counts[slot]);
            cursors.push(of_part.iter_mut());
            rest = behind;
        }
    }
    for step in 0..num_steps(parts) {
        workers.for_each(parts.iter().zip(&mut cursors), |(part, cursors)| {
            for (i, group) in of_step(part.rows, step).iter().enumerate() {
                let cursor = cursors.get_mut(group.slot().wrapping_sub(1));
                if let Some(member) = cursor.and_then(Iterator::next) {
                    *member = row(part.first_row + step * STEP + i);
                }
            }
        })?;
    }
    Ok(members)
}

fn num_steps<T>(parts: &[Part<T>]) -> usize {
    parts.iter().map(|part| part.rows.len().div_ceil(STEP)).max().unwrap_or(0)
}

fn of_step<T>(rows: &[T], step: usize) -> &[T] {
    let end = rows.len().min((step + 1) * STEP);
    rows.get(step * STEP..end).unwrap_or(&[])
}

fn first_bad<T: GroupNumber>(groups: &[T], num_groups: Option<usize>) -> Error {
    let most = num_groups.unwrap_or(MAX_GROUPS);
    let row = groups.iter().position(|group| group.slot() > most).unwrap_or(0);
    let found = groups[row].to_string();
    if let (Some(num_groups), Ok(found)) = (num_groups, found.parse()) {
        return Error::Group { row, found, num_groups };
    }
    Error::Element { argument: "groups", row, found, expected: "-1 (outside) or 0 to 2^24 - 1" }
}

#[cfg(test)]
mod tests {
    use super::{GroupIndex, Members, PARTED_MAX_GROUPS, Part, scatter};
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
        assert_eq!(index.members(0).unwrap(), [1]);
        assert_eq!(index.members(1).unwrap(), [0_i64; 0]);
        assert_eq!(index.members(2).unwrap(), [0, 3, 4]);
        assert!(index.members(4).is_err());
        assert_eq!(index.groups(-1, |group| group as i8), [2, 0, -1, 2, 2]);
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
        for num_groups in [3, PARTED_MAX_GROUPS + 9] {
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
                    assert_eq!(&narrow.members(group).unwrap(), expected);
                }
                assert_eq!(narrow.digest(&workers), same.digest(&Workers::new(1)));
                assert_eq!(narrow.groups(-1, |group| group as i32), groups);
            }
        }
    }

    #[test]
    fn wide_rows_are_scattered_like_narrow_ones() {
        let shift = u64::from(u32::MAX);
        let parts = [Part { first_row: 0, rows: &[1, 0, 1], counts: vec![0, 1, 2] }];
        let members = scatter(&parts, |row| row as u64 + shift, &Workers::new(1)).unwrap();
        assert_eq!(members[..], [shift + 1, shift, shift + 2]);
    }

    #[test]
    fn a_bad_group_names_the_row_and_the_value() {
        for bad in [-2, 3, i64::MIN, i64::MAX] {
            let error = index(&[0, bad], 3).unwrap_err();
            assert_eq!(error, Error::Group { row: 1, found: bad, num_groups: 3 });
        }
        let message = index(&[0, 3], 3).unwrap_err().to_string();
        assert_eq!(message, "groups[1] is 3; expected -1 (outside) or 0 to 2 (num_groups is 3)");
        for num_groups in [0, usize::MAX] {
            let message = index::<i8>(&[], num_groups).unwrap_err().to_string();
            assert!(message.starts_with("num_groups is"), "{message}");
        }
        for num_groups in [Some(3), None] {
            let error =
                GroupIndex::new(&[0, u64::MAX, 0], num_groups, &Workers::new(1)).unwrap_err();
            let message =
                "groups[1] is 18446744073709551615; expected -1 (outside) or 0 to 2^24 - 1";
            assert_eq!(error.to_string(), message);
        }
        // The first in row order, whichever part meets one first.
        let mut groups = vec![0_i16; 1 << 20];
        groups[(1 << 20) - 1] = -7;
        groups[200_000] = 5;
        let error = index(&groups, 5).unwrap_err();
        assert_eq!(error, Error::Group { row: 200_000, found: 5, num_groups: 5 });
    }

    #[test]
    fn building_and_the_digest_can_be_stopped() {
        let stop = || true;
        let workers = Workers::interruptible(1, &stop);
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(GroupIndex::new(&[0_u8; 10], None, &workers).unwrap_err(), Error::Interrupted);
        let built = index(&[0_u8; 10], 1).unwrap();
        let workers = Workers::interruptible(1, &stop);
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(built.digest(&workers), Err(Error::Interrupted));
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
