//! From draws to row numbers, block by block, on threads; shared by all streams.

use crate::groups::{GroupIndex, Members};
use crate::{Error, Result, Workers, simd};

/// Draws made together, so that each stage runs over a buffer that stays in the first cache.
pub(super) const BLOCK: usize = 1024;
/// Draws in one task of a thread.
const TASK: usize = 1 << 16;

/// Some of the draws of an epoch: `start`, `start + step`, and so on below `stop`.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// The first draw.
    pub start: u64,
    /// The end of the draws, exclusive.
    pub stop: u64,
    /// The step between draws: the number of ranks, for a rank's own draws.
    pub step: u64,
}

impl Draws {
    /// Return the number of these draws in an epoch of `length`.
    ///
    /// # Errors
    /// [`Error::Input`] unless start ≤ stop ≤ `length` and `step` is above 0.
    pub fn count(self, length: u64) -> Result<usize> {
        let Self { start, stop, step } = self;
        if start > stop || stop > length {
            return Err(Error::Input(format!(
                "start and stop are {start} and {stop}; expected 0 <= start <= stop <= {length}, the draws of the epoch"
            )));
        }
        if step == 0 {
            return Err(Error::scalar("step", 0, "1 or above"));
        }
        Ok((stop - start).div_ceil(step) as usize)
    }
}

/// An epoch: a number of draws, each of which is a pure function of its number.
#[expect(clippy::len_without_is_empty, reason = "there is always a draw")]
pub trait Epoch: Send + Sync {
    /// The number of draws.
    fn len(&self) -> u64;

    /// The number of rows in each draw if the draws are batches.
    fn batch_size(&self) -> Option<usize> {
        None
    }

    /// Write the rows of `draws` to `out`, in O(`out.len()`). The result doesn't depend on the number of threads.
    ///
    /// # Errors
    /// Those of [`Draws::count`]; [`Error::Input`] if `out` doesn't hold as many rows; [`Error::Interrupted`].
    fn fill(&self, draws: Draws, out: &mut [i64], workers: &Workers) -> Result<()>;

    /// The rows of the draws `start..stop`.
    ///
    /// # Errors
    /// Those of [`Epoch::fill`].
    fn indices(&self, start: u64, stop: u64, workers: &Workers) -> Result<Vec<i64>> {
        let draws = Draws { start, stop, step: 1 };
        let mut out = vec![0; draws.count(self.len())? * self.batch_size().unwrap_or(1)];
        self.fill(draws, &mut out, workers)?;
        Ok(out)
    }
}

/// The most draws an epoch can have, 2⁴⁸: half an index of the permutation fits in 24 bits.
pub const MAX_DRAWS: u64 = 1 << 48;

/// Refuse an epoch without draws, or with too many.
pub(super) fn check_length(length: u64) -> Result<()> {
    if (1..=MAX_DRAWS).contains(&length) {
        return Ok(());
    }
    Err(Error::scalar("length", length, "1 to 2^48"))
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

/// Do the same if `rows_of(draw, rows)` writes the rows themselves, [`BLOCK`] or fewer.
pub(super) fn fill_blocks(
    draws: Draws,
    length: u64,
    out: &mut [i64],
    workers: &Workers,
    rows_of: impl Fn(u64, &mut [i64]) + Sync,
) -> Result<()> {
    let expected = draws.count(length)?;
    if out.len() != expected {
        return Err(Error::length("out", out.len(), expected, "draws"));
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
