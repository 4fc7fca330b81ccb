//! Draws with replacement, each by its number.

use std::sync::Arc;

use super::AliasTable;
use crate::random::{Purpose, Stream};
use crate::sample::check_length;
use crate::sample::rows::{self, Draws};
use crate::{Result, Workers};

/// An epoch of independent draws, row k with probability `weights[k]` / Σ weights.
///
/// Draw i is a pure function of (seed, epoch, i, table): one random word and one look into the table, O(1) wherever i
/// lies. There is no memory beside the shared table.
#[derive(Debug, Clone)]
pub struct WeightedStream {
    table: Arc<AliasTable>,
    keys: Stream,
    length: u64,
}

impl WeightedStream {
    /// The stream of `epoch`, of `length` draws.
    ///
    /// # Errors
    /// [`Error::Scalar`](crate::Error::Scalar) if `length` is 0 or above
    /// [`MAX_DRAWS`](crate::sample::MAX_DRAWS).
    pub fn new(table: Arc<AliasTable>, length: u64, seed: u64, epoch: u64) -> Result<Self> {
        check_length(length)?;
        Ok(Self { table, keys: Stream::new(seed, Purpose::Weighted, epoch), length })
    }

    /// The number of draws in the epoch.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a draw")]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// The rows of `draws`, written to `out`. The result doesn't depend on the number of threads.
    ///
    /// # Errors
    /// Those of [`GroupStream::fill`](crate::sample::GroupStream::fill).
    pub fn fill(&self, draws: Draws, out: &mut [i64], workers: &Workers) -> Result<()> {
        rows::fill_blocks(
            draws,
            self.length,
            out,
            workers,
            #[inline(always)]
            |first, rows| {
                for (i, row) in rows.iter_mut().enumerate() {
                    let draw = first + i as u64 * draws.step;
                    *row = self.table.row(self.keys.bits(draw)) as i64;
                }
            },
        )
    }
}
