//! Draws without replacement: each among the rows that are left, by their weights.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::exponential::key;
use super::{Weight, checked, digest};
use crate::groups::Pages;
use crate::random::{Purpose, Stream};
use crate::sample::check_length;
use crate::sample::rows::{self, Draws};
use crate::{Error, Result, Workers};

/// Bits of a key that say which bin it is in: the exponent and six more, so that no bin has much above a hundredth of
/// the rows, whatever the weights.
const BIN_BITS: u32 = 18;
/// Rows whose keys one thread sorts, at least and at most.
const PART_MIN: usize = 1 << 14;
const PART_MAX: usize = 1 << 20;
/// Draws that one thread puts in order, unless a bin has more.
const RANGE: u64 = 1 << 17;
/// Rows from one look at the clock to the next.
const TASK: usize = 1 << 16;

/// A weight for each row, all checked, in 8 bytes each.
#[derive(Debug)]
pub struct SampleWeights {
    values: Pages<f64>,
    num_positive: usize,
}

impl SampleWeights {
    /// A copy of `weights` (N,).
    ///
    /// # Errors
    /// [`Error::Element`] for the first weight that is negative or not finite; [`Error::Interrupted`].
    pub fn new<T: Weight>(weights: &[T], workers: &Workers) -> Result<Self> {
        let mut values = Pages::zeroed(weights.len())?;
        let num_positive = Mutex::new(0);
        let tasks = values.chunks_mut(TASK).zip(weights.chunks(TASK)).enumerate();
        workers.try_for_each(tasks, |(task, (values, weights))| {
            for (i, (value, &weight)) in values.iter_mut().zip(weights).enumerate() {
                // Adding 0 makes 0 of -0.
                *value = checked(task * TASK + i, weight.into())? + 0.0;
            }
            let positive = values.iter().filter(|&&value| value > 0.0).count();
            *num_positive.lock().unwrap_or_else(PoisonError::into_inner) += positive;
            Ok(())
        })?;
        let num_positive = num_positive.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { values, num_positive })
    }

    /// The weights again.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// 63 bits by which a checkpoint recognises the weights. O(N).
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn digest(&self, workers: &Workers) -> Result<u64> {
        digest::digest(bytemuck::cast_slice(&self.values), workers)
    }
}

/// An epoch of draws without replacement: the first row with probability `weights[k]` / Σ weights, each further one in
/// the same way among the rows that are left, which is the law of `torch.multinomial`.
///
/// The rows of the smallest keys, ascending, where the key of a row is an exponential variate divided by its weight
/// (Efraimidis and Spirakis, 2006); equal keys go by row. The variate is a pure function of (seed, epoch, row), and
/// so is the order of it and the weights.
///
/// The order is made at the first draw, in O(N + n log n) for n draws, with 16 bytes a candidate; afterwards it takes 8
/// bytes a draw. Candidates are few more than n. Then any draw is O(1).
#[derive(Debug)]
pub struct SuccessiveStream {
    weights: Arc<SampleWeights>,
    keys: Stream,
    length: u64,
    order: OnceLock<Vec<i64>>,
}

impl SuccessiveStream {
    /// The stream of `epoch`, of `length` draws.
    ///
    /// # Errors
    /// [`Error::Scalar`] if `length` is 0; [`Error::TooManyDraws`] if it is above the number of positive weights.
    pub fn new(weights: Arc<SampleWeights>, length: u64, seed: u64, epoch: u64) -> Result<Self> {
        check_length(length)?;
        let num_positive = weights.num_positive;
        if length > num_positive as u64 {
            return Err(Error::TooManyDraws { found: length, num_positive });
        }
        let keys = Stream::new(seed, Purpose::Successive, epoch);
        Ok(Self { weights, keys, length, order: OnceLock::new() })
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
        draws.count(self.length)?;
        let order = if let Some(order) = self.order.get() {
            order
        } else {
            let made = self.make_order(workers)?;
            self.order.get_or_init(|| made)
        };
        rows::fill_blocks(draws, self.length, out, workers, |first, rows| {
            for (i, row) in rows.iter_mut().enumerate() {
                *row = order[(first + i as u64 * draws.step) as usize];
            }
        })
    }

    fn make_order(&self, workers: &Workers) -> Result<Vec<i64>> {
        let ranges = self.ranges(workers)?;
        let parts = self.sorted_parts(ranges.last().map_or(0, |range| range.stop), workers)?;
        let mut order = vec![0; self.length as usize];
        let mut rest = &mut order[..];
        let mut tasks = Vec::with_capacity(ranges.len());
        for range in ranges {
            let (rows, behind) = rest.split_at_mut(rest.len().min(range.count as usize));
            rest = behind;
            tasks.push((range, rows));
        }
        workers.for_each(tasks.into_iter(), |(range, rows)| range.merge(&parts, rows))?;
        Ok(order)
    }

    /// Ranges of keys that hold the draws, in order, each with enough work for a thread.
    fn ranges(&self, workers: &Workers) -> Result<Vec<KeyRange>> {
        let num_rows = self.weights.values.len();
        if num_rows <= PART_MIN {
            return Ok(vec![KeyRange { start: 0, stop: u64::MAX, count: self.length }]);
        }
        let counts = self.count_bins(workers)?;
        let (mut ranges, mut range, mut covered) = (Vec::new(), KeyRange::default(), 0);
        for (bin, &count) in (1..).zip(&counts) {
            range.stop = bin << (u64::BITS - BIN_BITS);
            range.count += count;
            covered += count;
            if range.count >= RANGE || covered >= self.length {
                let start = range.stop;
                ranges
                    .push(std::mem::replace(&mut range, KeyRange { start, ..Default::default() }));
            }
            if covered >= self.length {
                break;
            }
        }
        Ok(ranges)
    }

    fn count_bins(&self, workers: &Workers) -> Result<Vec<u64>> {
        let all = Mutex::new(vec![0; 1 << BIN_BITS]);
        workers.for_each(self.parts(), |rows| {
            let mut counts = vec![0_u32; 1 << BIN_BITS];
            self.for_each_key(rows, |key, _| counts[(key >> (u64::BITS - BIN_BITS)) as usize] += 1);
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            for (sum, count) in all.iter_mut().zip(counts) {
                *sum += u64::from(count);
            }
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// (key, row) of the rows of each part with a key below `stop`, sorted.
    fn sorted_parts(&self, stop: u64, workers: &Workers) -> Result<Vec<Vec<(u64, u64)>>> {
        let mut sorted: Vec<Vec<(u64, u64)>> = self.parts().map(|_| Vec::new()).collect();
        workers.for_each(self.parts().zip(&mut sorted), |(rows, sorted)| {
            self.for_each_key(rows, |key, row| {
                if key < stop {
                    sorted.push((key, row));
                }
            });
            sorted.sort_unstable();
        })?;
        Ok(sorted)
    }

    fn parts(&self) -> impl Iterator<Item = std::ops::Range<usize>> + Send + use<> {
        let num_rows = self.weights.values.len();
        let size = (num_rows / 16).clamp(PART_MIN, PART_MAX);
        (0..num_rows).step_by(size).map(move |first| first..num_rows.min(first + size))
    }

    #[inline(always)]
    fn for_each_key(&self, rows: std::ops::Range<usize>, mut work: impl FnMut(u64, u64)) {
        for (row, &weight) in (rows.start as u64..).zip(&self.weights.values[rows]) {
            if weight > 0.0 {
                work(key(self.keys.bits(row), weight), row);
            }
        }
    }
}

/// Keys from `start` up to `stop`, and how many there are.
#[derive(Debug, Clone, Copy, Default)]
struct KeyRange {
    start: u64,
    stop: u64,
    count: u64,
}

impl KeyRange {
    /// Write the rows of this range in the order of their keys; only the first ones, if `rows` is shorter.
    fn merge(self, parts: &[Vec<(u64, u64)>], rows: &mut [i64]) {
        let mut pairs = Vec::with_capacity(rows.len());
        for part in parts {
            let first = part.partition_point(|&(key, _)| key < self.start);
            let last = part.partition_point(|&(key, _)| key < self.stop);
            pairs.extend_from_slice(&part[first..last]);
        }
        #[expect(
            clippy::stable_sort_primitive,
            reason = "it merges the sorted runs that these are"
        )]
        pairs.sort();
        for (row, (_, found)) in rows.iter_mut().zip(pairs) {
            *row = found as i64;
        }
    }
}
