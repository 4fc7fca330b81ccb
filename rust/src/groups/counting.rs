//! Build a [`GroupIndex`](super::GroupIndex) by counting sort, in parts that threads process in parallel.

use std::slice::IterMut;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::Pod;

use super::GroupNumber;
use super::huge_pages::Pages;
use crate::memory::{filled, with_capacity};
use crate::{Error, Result, Workers};

/// More groups are refused as a mistake: each costs 8 bytes.
const MAX_GROUPS: usize = 1 << 24;
/// Number of parts, if there are enough rows and not too many groups.
const PARTS: usize = 4;
const PART_MIN: usize = 1 << 18;
const PARTED_MAX_GROUPS: usize = 1 << 16;
/// Rows that a thread processes between checks for interruption.
const STEP: usize = 1 << 21;

/// The rows in parts, each with its counts of all groups; at least one part.
pub(super) struct Parts<'a, T> {
    groups: &'a [T],
    parts: Vec<Part<'a, T>>,
}

/// Some consecutive rows.
struct Part<'a, T> {
    first_row: usize,
    rows: &'a [T],
    /// Number of rows in each slot; slot 0 is outside, slot g + 1 is group g.
    counts: Vec<usize>,
}

impl<'a, T: GroupNumber> Parts<'a, T> {
    /// The first pass over the rows: check and count them.
    pub(super) fn count(
        groups: &'a [T],
        num_groups: Option<usize>,
        workers: &Workers,
    ) -> Result<Self> {
        let max_groups = num_groups.unwrap_or(MAX_GROUPS);
        if !(1..=MAX_GROUPS).contains(&max_groups) {
            return Err(Error::scalar("num_groups", max_groups, "1 to 2^24"));
        }
        let mut found = Self { groups, parts: split(groups, num_groups)? };
        let all_fine = AtomicBool::new(true);
        for step in 0..found.num_steps() {
            workers.try_for_each(found.parts.iter_mut(), |part| {
                if !part.count(step, max_groups)? {
                    all_fine.store(false, Ordering::Relaxed);
                }
                Ok(())
            })?;
            if !all_fine.load(Ordering::Relaxed) {
                return Err(first_bad(groups, num_groups, workers)?);
            }
        }
        found.level(workers)?;
        Ok(found)
    }

    /// The first row outside every group.
    pub(super) fn first_outside(&self, workers: &Workers) -> Result<Option<usize>> {
        let any = self.parts.iter().any(|part| part.counts[0] > 0);
        if any { first(self.groups, |group| group.slot() == 0, workers) } else { Ok(None) }
    }

    /// Return the start of each group among the members, and the end of the last.
    pub(super) fn starts(&self) -> Result<Vec<usize>> {
        let mut starts = with_capacity(self.num_slots())?;
        starts.push(0);
        for slot in 1..self.num_slots() {
            let of_group: usize = self.parts.iter().map(|part| part.counts[slot]).sum();
            starts.push(starts[slot - 1] + of_group);
        }
        Ok(starts)
    }

    /// The second pass: the members of all groups. Each part writes its rows to its own slices, in row order.
    pub(super) fn members<Row: Pod + Send>(
        &self,
        row: impl Fn(usize) -> Row + Sync,
        workers: &Workers,
    ) -> Result<Pages<Row>> {
        let num_members = self.parts.iter().flat_map(|part| &part.counts[1..]).sum();
        let mut members = Pages::zeroed(num_members)?;
        let mut rest: &mut [Row] = &mut members;
        let mut cursors: Vec<Vec<IterMut<Row>>> =
            self.parts.iter().map(|_| with_capacity(self.num_slots())).collect::<Result<_>>()?;
        for slot in 1..self.num_slots() {
            if slot % STEP == 0 {
                workers.check()?;
            }
            for (part, cursors) in self.parts.iter().zip(&mut cursors) {
                let (of_part, behind) = rest.split_at_mut(part.counts[slot]);
                cursors.push(of_part.iter_mut());
                rest = behind;
            }
        }
        for step in 0..self.num_steps() {
            workers.for_each(self.parts.iter().zip(&mut cursors), |(part, cursors)| {
                for (i, group) in part.step(step).iter().enumerate() {
                    let cursor = cursors.get_mut(group.slot().wrapping_sub(1));
                    if let Some(member) = cursor.and_then(Iterator::next) {
                        *member = row(part.first_row + step * STEP + i);
                    }
                }
            })?;
        }
        Ok(members)
    }

    /// Give all parts counts of all groups; if that is too many, make them one part.
    fn level(&mut self, workers: &Workers) -> Result<()> {
        let num_slots = self.parts.iter().map(|part| part.counts.len()).max().unwrap_or(0);
        if num_slots <= PARTED_MAX_GROUPS {
            return self.parts.iter_mut().try_for_each(|part| part.make_room(num_slots));
        }
        let mut counts = filled(0, num_slots)?;
        for part in &self.parts {
            workers.check()?;
            counts.iter_mut().zip(&part.counts).for_each(|(sum, count)| *sum += count);
        }
        self.parts = vec![Part { first_row: 0, rows: self.groups, counts }];
        Ok(())
    }

    fn num_slots(&self) -> usize {
        self.parts[0].counts.len()
    }

    fn num_steps(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len().div_ceil(STEP)).max().unwrap_or(0)
    }
}

impl<'a, T: GroupNumber> Part<'a, T> {
    fn step(&self, step: usize) -> &'a [T] {
        let end = self.rows.len().min((step + 1) * STEP);
        self.rows.get(step * STEP..end).unwrap_or(&[])
    }

    /// Count the rows of a step, and return whether all are valid.
    fn count(&mut self, step: usize, max_groups: usize) -> Result<bool> {
        for &group in self.step(step) {
            let slot = group.slot();
            if let Some(count) = self.counts.get_mut(slot) {
                *count += 1;
            } else if slot <= max_groups {
                self.make_room(slot + 1)?;
                self.counts[slot] = 1;
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn make_room(&mut self, num_slots: usize) -> Result<()> {
        let more = num_slots - self.counts.len();
        self.counts.try_reserve(more).map_err(|_| Error::Memory { bytes: num_slots * 8 })?;
        self.counts.resize(num_slots, 0);
        Ok(())
    }
}

fn split<T>(groups: &[T], num_groups: Option<usize>) -> Result<Vec<Part<'_, T>>> {
    let is_parted = num_groups.is_none_or(|n| n <= PARTED_MAX_GROUPS);
    let length = if is_parted { groups.len().div_ceil(PARTS) } else { groups.len() }.max(PART_MIN);
    let part = |first_row: usize| {
        let rows = &groups[first_row..groups.len().min(first_row + length)];
        Ok(Part { first_row, rows, counts: filled(0, 1 + num_groups.unwrap_or(1))? })
    };
    (0..groups.len().max(1)).step_by(length).map(part).collect()
}

fn first_bad<T: GroupNumber>(
    groups: &[T],
    num_groups: Option<usize>,
    workers: &Workers,
) -> Result<Error> {
    let most = num_groups.unwrap_or(MAX_GROUPS);
    let row = first(groups, |group| group.slot() > most, workers)?.unwrap_or(0);
    Ok(match num_groups {
        Some(num_groups) => Error::group(row, groups[row], num_groups),
        None => Error::element("groups", row, groups[row], "-1 (outside) or 0 to 2^24 - 1"),
    })
}

/// Return the first row whose group is wanted. Runs on the calling thread.
fn first<T: GroupNumber>(
    groups: &[T],
    is_wanted: impl Fn(T) -> bool,
    workers: &Workers,
) -> Result<Option<usize>> {
    for (step, rows) in groups.chunks(STEP).enumerate() {
        workers.check()?;
        if let Some(i) = rows.iter().position(|&group| is_wanted(group)) {
            return Ok(Some(step * STEP + i));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::Parts;
    use crate::Workers;

    /// Shifts the rows beyond 2³², from where wide ones are needed, instead of making so many.
    #[test]
    fn wide_rows_are_scattered_like_narrow_ones() {
        let shift = u64::from(u32::MAX);
        let workers = Workers::new(1);
        let parts = Parts::count(&[1, 0, 1], None, &workers).unwrap();
        let members = parts.members(|row| row as u64 + shift, &workers).unwrap();
        assert_eq!(members[..], [shift + 1, shift, shift + 2]);
    }
}
