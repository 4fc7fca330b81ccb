//! Weights as whole numbers of slots, computed on the fly: memory beside the weights is a few words a block.

use std::sync::{Mutex, PoisonError};

use super::exact_sum::{ExactSum, Parts};
use super::{Weight, checked, no_weight};
use crate::{Error, Result, Workers};

/// Rows between two known points of the running sums.
pub(super) const BLOCK: usize = 1 << 12;
/// Rows in one task of a thread, a multiple of [`BLOCK`].
pub(super) const TASK: usize = 1 << 17;
/// Beyond it the exact sum could overflow; 128 TiB of weights.
const MAX_ROWS: usize = 1 << 44;

/// The bits of an entry: the alias has as many as the number of rows, b, and the threshold the other 64 - b.
///
/// Each row has a bucket of 2^(64 - b) slots, all of them together from 2⁶³ to 2⁶⁴.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) num_rows: u64,
    pub(super) alias_bits: u32,
}

impl Layout {
    pub(super) fn new(num_rows: usize) -> Self {
        let num_rows = num_rows as u64;
        Self { num_rows, alias_bits: u64::BITS - num_rows.leading_zeros() }
    }

    /// Slots in a bucket.
    pub(super) fn bucket(self) -> u64 {
        1 << (u64::BITS - self.alias_bits)
    }

    /// Slots in all buckets.
    fn num_slots(self) -> u64 {
        self.bucket() * self.num_rows
    }
}

/// Running sums up to a block.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    /// Slots in units of 2⁻⁶⁴ of one.
    fixed: u128,
    /// What rows with less than a bucket leave of theirs.
    deficit: u64,
    /// What rows with more have beyond theirs.
    excess: u64,
}

/// How many slots each row gets: whole numbers that add up to those of all buckets.
///
/// The running sum of the exact shares is rounded down to whole slots, and a row gets the difference of two such sums:
/// its exact share up or down to a whole number, and 0 for a weight of 0. A few slots are lost because the sum of the
/// weights is known to 63 bits; the heaviest row gets them.
#[derive(Debug)]
pub(super) struct Shares<'a, T> {
    weights: &'a [T],
    pub(super) layout: Layout,
    /// A share in units of 2⁻⁶⁴ slots is mantissa · factor · 2^(exponent - shift).
    factor: u64,
    shift: i32,
    heaviest: usize,
    spare: u64,
    blocks: Vec<Block>,
}

impl<'a, T: Weight> Shares<'a, T> {
    /// # Errors
    /// [`Error::Element`] for the first weight that is negative or not finite; [`Error::Scalar`] if all are 0, or
    /// there are none; [`Error::Interrupted`].
    pub(super) fn new(weights: &'a [T], workers: &Workers) -> Result<Self> {
        if !(1..MAX_ROWS).contains(&weights.len()) {
            return Err(Error::Length {
                argument: "weights",
                found: weights.len(),
                expected: weights.len().clamp(1, MAX_ROWS - 1),
                counts: "rows",
            });
        }
        let (sum, heaviest) = sum(weights, workers)?;
        let Some((mantissa, exponent)) = sum.rounded_up() else {
            return Err(no_weight("the sum of weights", "above 0"));
        };
        let layout = Layout::new(weights.len());
        let factor = (u128::from(layout.num_slots()) << 63) / mantissa;
        let num_blocks = weights.len().div_ceil(BLOCK);
        let mut shares = Self {
            weights,
            layout,
            factor: factor as u64,
            shift: exponent - 1,
            heaviest,
            spare: 0,
            blocks: vec![Block::default(); num_blocks + 1],
        };
        shares.find_spare(workers)?;
        shares.find_deficits(workers)?;
        Ok(shares)
    }

    /// Running sums of the shares at each block, and what the heaviest row gets beyond its share.
    fn find_spare(&mut self, workers: &Workers) -> Result<()> {
        let mut blocks = std::mem::take(&mut self.blocks);
        self.of_each_block(&mut blocks, workers, |rows, block| {
            block.fixed = rows.map(|row| self.fixed(row)).sum();
        })?;
        let total: u128 = blocks.iter().map(|block| block.fixed).sum();
        self.spare = self.layout.num_slots() - (total >> 64) as u64;
        blocks[self.heaviest / BLOCK].fixed += u128::from(self.spare) << 64;
        let mut sum = 0;
        for block in &mut blocks {
            sum += std::mem::replace(&mut block.fixed, sum);
        }
        self.blocks = blocks;
        Ok(())
    }

    /// Running sums of deficits and excesses at each block.
    fn find_deficits(&mut self, workers: &Workers) -> Result<()> {
        let mut blocks = self.blocks.clone();
        let bucket = self.layout.bucket();
        self.of_each_block(&mut blocks, workers, |rows, block| {
            for (_, slots) in self.slots(rows.start / BLOCK, rows.end) {
                block.deficit += bucket.saturating_sub(slots);
                block.excess += slots.saturating_sub(bucket);
            }
        })?;
        let (mut deficit, mut excess) = (0, 0);
        for block in &mut blocks {
            deficit += std::mem::replace(&mut block.deficit, deficit);
            excess += std::mem::replace(&mut block.excess, excess);
        }
        self.blocks = blocks;
        Ok(())
    }

    fn of_each_block(
        &self,
        blocks: &mut [Block],
        workers: &Workers,
        work: impl Fn(std::ops::Range<usize>, &mut Block) + Sync,
    ) -> Result<()> {
        let num_rows = self.weights.len();
        let per_task = TASK / BLOCK;
        workers.for_each(blocks.chunks_mut(per_task).enumerate(), |(task, blocks)| {
            for (i, block) in blocks.iter_mut().enumerate() {
                let first = (task * per_task + i) * BLOCK;
                // The last block may begin behind the last row, and has none then.
                work(first..num_rows.min(first + BLOCK), block);
            }
        })
    }

    /// The share of a row in units of 2⁻⁶⁴ slots, rounded down.
    #[inline(always)]
    fn fixed(&self, row: usize) -> u128 {
        let parts = Parts::of(self.weights[row].into());
        let product = u128::from(parts.mantissa) * u128::from(self.factor);
        let left = parts.exponent as i32 - self.shift;
        let share = if left >= 0 {
            product << (left as u32 & 127)
        } else if left > -128 {
            product >> (-left)
        } else {
            0
        };
        if row == self.heaviest { share + (u128::from(self.spare) << 64) } else { share }
    }

    /// (row, slots) of each row from the first of `block` up to `stop`.
    pub(super) fn slots(&self, block: usize, stop: usize) -> Slots<'_, 'a, T> {
        Slots { shares: self, row: block * BLOCK, stop, fixed: self.blocks[block].fixed }
    }

    /// Deficits and excesses of all rows before `block`.
    pub(super) fn before(&self, block: usize) -> (u64, u64) {
        (self.blocks[block].deficit, self.blocks[block].excess)
    }
}

/// The exact sum, and the first of the heaviest rows.
fn sum<T: Weight>(weights: &[T], workers: &Workers) -> Result<(ExactSum, usize)> {
    let found = Mutex::new((ExactSum::zero(), -1.0, 0));
    workers.try_for_each(weights.chunks(TASK).enumerate(), |(task, part)| {
        let (mut sum, mut heaviest) = (ExactSum::zero(), (-1.0, 0));
        for (row, &weight) in (task * TASK..).zip(part) {
            let weight = checked(row, weight.into())?;
            sum.add(Parts::of(weight));
            if weight > heaviest.0 {
                heaviest = (weight, row);
            }
        }
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.0.merge(&sum);
        if heaviest.0 > found.1 || (heaviest.0 >= found.1 && heaviest.1 < found.2) {
            (found.1, found.2) = heaviest;
        }
        Ok(())
    })?;
    let (sum, _, heaviest) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((sum, heaviest))
}

/// An iterator over rows and their slots.
#[derive(Debug)]
pub(super) struct Slots<'s, 'a, T> {
    shares: &'s Shares<'a, T>,
    row: usize,
    stop: usize,
    fixed: u128,
}

impl<T: Weight> Iterator for Slots<'_, '_, T> {
    type Item = (usize, u64);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, u64)> {
        if self.row >= self.stop {
            return None;
        }
        let (row, before) = (self.row, self.fixed);
        self.fixed += self.shares.fixed(row);
        self.row += 1;
        Some((row, (self.fixed >> 64) as u64 - (before >> 64) as u64))
    }
}

/// Goes through the rows in order to where the running sum of deficits, or of excesses, comes to a target.
#[derive(Debug)]
pub(super) struct Cursor<'s, 'a, T, const EXCESS: bool> {
    slots: Slots<'s, 'a, T>,
    row: usize,
    sum: u64,
    /// The sum at the end of the block.
    end: u64,
}

impl<'s, 'a, T: Weight, const EXCESS: bool> Cursor<'s, 'a, T, EXCESS> {
    pub(super) fn new(shares: &'s Shares<'a, T>) -> Self {
        Self { slots: shares.slots(0, 0), row: 0, sum: 0, end: 0 }
    }

    /// The first row at which the sum, with this row's part, is `target` or more, and that sum. Targets are from 1 to
    /// the sum over all rows, and don't decrease.
    #[inline(always)]
    pub(super) fn reach(&mut self, target: u64) -> (usize, u64) {
        if self.end < target {
            self.seek(target);
        }
        let bucket = self.slots.shares.layout.bucket();
        while self.sum < target {
            let Some((row, slots)) = self.slots.next() else { break };
            self.row = row;
            self.sum +=
                if EXCESS { slots.saturating_sub(bucket) } else { bucket.saturating_sub(slots) };
        }
        (self.row, self.sum)
    }

    /// Go to the beginning of the block in which the sum comes to `target`.
    #[cold]
    fn seek(&mut self, target: u64) {
        let shares = self.slots.shares;
        let sum_at = |block: &Block| if EXCESS { block.excess } else { block.deficit };
        let behind = shares.blocks.partition_point(|block| sum_at(block) < target);
        let block = behind.clamp(1, shares.blocks.len() - 1) - 1;
        self.slots = shares.slots(block, shares.weights.len().min((block + 1) * BLOCK));
        self.sum = sum_at(&shares.blocks[block]);
        self.end = sum_at(&shares.blocks[block + 1]);
    }
}
