//! From draws to row numbers, block by block, on threads: what the streams have in common.

use crate::groups::{GroupIndex, Members};
use crate::{Error, Result, Workers, simd};

/// Draws made together, so that each stage runs over a buffer that stays in the first cache.
const BLOCK: usize = 1024;
/// Draws in one task of a thread.
const TASK: usize = 1 << 16;

/// Some of the draws of an epoch: `start`, `start + step`, and so on below `stop`.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// The first draw.
    pub start: u64,
    /// One past the last draw there may be.
    pub stop: u64,
    /// From one draw to the next: the number of ranks, for a rank's own draws.
    pub step: u64,
}

impl Draws {
    /// How many these are, of an epoch of `length`.
    ///
    /// # Errors
    /// [`Error::Range`] unless start ≤ stop ≤ `length`; [`Error::Scalar`] if `step` is 0.
    pub fn count(self, length: u64) -> Result<usize> {
        let Self { start, stop, step } = self;
        if start > stop || stop > length {
            return Err(Error::Range { start, stop, length });
        }
        if step == 0 {
            let (found, expected) = ("0".to_string(), "1 or above");
            return Err(Error::Scalar { argument: "step", found, expected });
        }
        Ok((stop - start).div_ceil(step) as usize)
    }
}

/// Write the rows of `draws`, of an epoch of `length`, to `out`. `positions_of(draw, buffer)` fills a buffer with
/// the positions among the members of `draw`, `draw + step`, and so on.
pub(super) fn fill(
    index: &GroupIndex,
    draws: Draws,
    length: u64,
    out: &mut [i64],
    workers: &Workers,
    positions_of: impl Fn(u64, &mut [u64]) + Sync,
) -> Result<()> {
    fill_blocks(
        draws,
        length,
        out,
        workers,
        #[inline(always)]
        |first, rows| {
            let mut buffer = [0; BLOCK];
            let positions = &mut buffer[..rows.len()];
            positions_of(first, positions);
            match index.all_members() {
                Members::Narrow(members) => gather(members, positions, rows, i64::from),
                Members::Wide(members) => gather(members, positions, rows, |row| row as i64),
            }
        },
    )
}

/// The same where `rows_of(draw, rows)` writes the rows themselves, [`BLOCK`] or fewer.
pub(super) fn fill_blocks(
    draws: Draws,
    length: u64,
    out: &mut [i64],
    workers: &Workers,
    rows_of: impl Fn(u64, &mut [i64]) + Sync,
) -> Result<()> {
    let expected = draws.count(length)?;
    if out.len() != expected {
        return Err(Error::Length { argument: "out", found: out.len(), expected, counts: "draws" });
    }
    workers.for_each(out.chunks_mut(TASK).enumerate(), |(task, rows): (usize, &mut [i64])| {
        simd::dispatch(
            #[inline(always)]
            || {
                for (block, rows) in rows.chunks_mut(BLOCK).enumerate() {
                    let before = (task * TASK + block * BLOCK) as u64;
                    rows_of(draws.start + before * draws.step, rows);
                }
            },
        );
    })
}

#[inline(always)]
fn gather<T: Copy>(members: &[T], positions: &[u64], rows: &mut [i64], widen: impl Fn(T) -> i64) {
    for (row, position) in rows.iter_mut().zip(positions) {
        *row = widen(members[*position as usize]);
    }
}
