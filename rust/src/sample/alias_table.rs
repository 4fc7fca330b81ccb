//! Draws by a weight of each row: an alias table, and an epoch of independent draws from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rows::{self, BLOCK, Draws, Epoch, check_length};
use crate::error::shown;
use crate::random::{Purpose, Stream, mix};
use crate::{Error, Result, Workers, memory};

/// Rows in one task of a thread.
const TASK: usize = 1 << 16;
/// Weights that are summed before their sum is added to the total.
const PART: usize = 1 << 12;

/// A number of any type that can be a weight.
pub trait Weight: Copy + Into<f64> + Send + Sync {}

impl<T: Copy + Into<f64> + Send + Sync> Weight for T {}

/// Draws a row with a probability proportional to its weight, in O(1) (Walker 1977; Vose 1991).
///
/// The N buckets are equally likely. Bucket k holds the slots of row k, as many as fit, and above its threshold those
/// of one other row, its alias, which has too many. Building takes O(N); the table has 8 bytes a row.
///
/// A row gets its share of 2⁶³ to 2⁶⁴ slots, computed in float64 and rounded down; the heaviest row gets the rest. The
/// distribution is exact up to N·2⁻⁶³ + (4096 + N/4096)·2⁻⁵² in total variation, below 2⁻³⁹ for 10⁷ rows. A weight
/// that is 0, or below 2⁻⁶⁴ of the sum, has no slot.
#[derive(Debug)]
pub struct AliasTable {
    layout: Layout,
    entries: Vec<u64>,
}

impl AliasTable {
    /// The table of `weights` (N,).
    ///
    /// # Errors
    /// [`Error::Input`] for the first weight that is negative or not finite, or if all are 0 or there are none;
    /// [`Error::Interrupted`].
    pub fn new<T: Weight>(weights: &[T], workers: &Workers) -> Result<Self> {
        let slots = Slots::new(weights, workers)?;
        let mut entries = memory::filled(0, weights.len())?;
        slots.sweep(&mut entries, workers)?;
        Ok(Self { layout: slots.layout, entries })
    }

    /// A table from its [`entries`](Self::entries).
    ///
    /// # Errors
    /// [`Error::Input`] if an alias is no row, or if there are no entries.
    pub fn from_entries(entries: &[u64]) -> Result<Self> {
        let layout = Layout::new(entries.len())?;
        if let Some(row) = entries.iter().position(|&entry| layout.alias(entry) >= layout.num_rows)
        {
            let expected = "an alias below the number of rows";
            return Err(Error::element("entries", row, entries[row], expected));
        }
        let mut copy = memory::filled(0, entries.len())?;
        copy.copy_from_slice(entries);
        Ok(Self { layout, entries: copy })
    }

    /// For each row its threshold and alias in one word.
    #[must_use]
    pub fn entries(&self) -> &[u64] {
        &self.entries
    }

    /// 63 bits by which a checkpoint recognises the distribution. O(N).
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn digest(&self, workers: &Workers) -> Result<u64> {
        let sum = AtomicU64::new(mix(self.entries.len() as u64));
        workers.for_each(self.entries.chunks(TASK).enumerate(), |(task, entries)| {
            let keyed = |(i, entry): (usize, &u64)| mix(mix((task * TASK + i) as u64) ^ entry);
            // It wraps around.
            let part = entries.iter().enumerate().map(keyed).fold(0, u64::wrapping_add);
            sum.fetch_add(part, Ordering::Relaxed);
        })?;
        Ok(sum.into_inner() >> 1)
    }

    /// The row that has a slot.
    #[inline(always)]
    fn row(&self, (bucket, slot): (u64, u64)) -> u64 {
        let entry = self.entries[bucket as usize];
        if slot < self.layout.threshold(entry) { bucket } else { self.layout.alias(entry) }
    }
}

/// The bits of an entry: the alias has as many as the number of rows, b, and the threshold the other 64 - b.
///
/// Each row has a bucket of 2^(64 - b) slots, all of them together from 2⁶³ to 2⁶⁴.
#[derive(Debug, Clone, Copy)]
struct Layout {
    num_rows: u64,
    alias_bits: u32,
}

impl Layout {
    fn new(num_rows: usize) -> Result<Self> {
        if num_rows == 0 {
            return Err(Error::length("weights", 0, 1, "rows"));
        }
        let num_rows = num_rows as u64;
        Ok(Self { num_rows, alias_bits: u64::BITS - num_rows.leading_zeros() })
    }

    /// Slots in a bucket.
    fn bucket(self) -> u64 {
        1 << (u64::BITS - self.alias_bits)
    }

    /// Return the bucket and the slot in it for a random word.
    #[inline(always)]
    fn point(self, word: u64) -> (u64, u64) {
        let product = u128::from(word) * u128::from(self.num_rows);
        ((product >> 64) as u64, product as u64 >> self.alias_bits)
    }

    /// The first `threshold` slots of a bucket, fewer than it has, are its own row's and the others those of `alias`.
    fn entry(self, threshold: u64, alias: usize) -> u64 {
        threshold << self.alias_bits | alias as u64
    }

    /// A bucket of `row` alone: there is no threshold for all of its slots, but it can be its own alias.
    fn full(self, row: usize) -> u64 {
        self.entry(self.bucket() - 1, row)
    }

    #[inline(always)]
    fn threshold(self, entry: u64) -> u64 {
        entry >> self.alias_bits
    }

    #[inline(always)]
    fn alias(self, entry: u64) -> u64 {
        entry & ((1 << self.alias_bits) - 1)
    }
}

/// The number of slots of each row: its share rounded down; the heaviest row gets the rest.
struct Slots<'a, T> {
    weights: &'a [T],
    layout: Layout,
    largest: f64,
    /// Slots of a weight as large as the largest.
    factor: f64,
    heaviest: usize,
    of_heaviest: u64,
}

impl<'a, T: Weight> Slots<'a, T> {
    fn new(weights: &'a [T], workers: &Workers) -> Result<Self> {
        let layout = Layout::new(weights.len())?;
        let (mut largest, mut heaviest) = (0.0, 0);
        each(weights, workers, |row, weight| {
            if !(weight >= 0.0 && weight.is_finite()) {
                let expected = "a finite number, 0 or above";
                return Err(Error::element("weights", row, shown(weight), expected));
            }
            if weight > largest {
                (largest, heaviest) = (weight, row);
            }
            Ok(())
        })?;
        if largest <= 0.0 {
            return Err(Error::scalar("the sum of weights", 0, "above 0"));
        }
        // Relative to the largest, so that no sum overflows, and in parts, so that little is lost.
        let (mut sum, mut of_part) = (0.0, 0.0);
        each(weights, workers, |row, weight| {
            of_part += weight / largest;
            if row % PART == PART - 1 {
                sum += std::mem::take(&mut of_part);
            }
            Ok(())
        })?;
        let num_slots = u128::from(layout.bucket()) * weights.len() as u128;
        let factor = num_slots as f64 / (sum + of_part);
        let mut slots = Self { weights, layout, largest, factor, heaviest, of_heaviest: 0 };
        let mut others = 0_u128;
        each(weights, workers, |row, _| {
            others += u128::from(slots.of(row));
            Ok(())
        })?;
        slots.of_heaviest = num_slots.saturating_sub(others) as u64;
        Ok(slots)
    }

    #[inline(always)]
    fn of(&self, row: usize) -> u64 {
        if row == self.heaviest {
            return self.of_heaviest;
        }
        (self.weights[row].into() / self.largest * self.factor) as u64
    }

    /// Go through the rows with fewer slots than a bucket (light) and those with more (heavy) at once, each in order: a
    /// heavy row fills light ones until it has no more than a bucket left, and then the next heavy row fills it.
    fn sweep(&self, entries: &mut [u64], workers: &Workers) -> Result<()> {
        let (layout, bucket, num_rows) = (self.layout, self.layout.bucket(), entries.len());
        let heavy_from = |from: usize| {
            (from..num_rows).map(|row| (row, self.of(row))).find(|&(_, slots)| slots > bucket)
        };
        // A heavy row, and the slots that it has left.
        let mut heavy = heavy_from(0);
        for row in 0..num_rows {
            if row % TASK == 0 {
                workers.check()?;
            }
            let slots = self.of(row);
            if let (true, Some((mut filling, mut left))) = (slots < bucket, heavy) {
                entries[row] = layout.entry(slots, filling);
                left -= bucket - slots;
                heavy = Some((filling, left));
                while left <= bucket {
                    heavy = heavy_from(filling + 1);
                    let Some((next, of_next)) = heavy.filter(|_| left < bucket) else { break };
                    entries[filling] = layout.entry(left, next);
                    (filling, left) = (next, of_next - (bucket - left));
                    heavy = Some((filling, left));
                }
            } else if entries[row] == 0 {
                // Unless it is a heavy row that another one fills by now, whose alias isn't 0.
                entries[row] = layout.full(row);
            }
        }
        Ok(())
    }
}

/// Call `work(row, weight)` for each row in order.
fn each<T: Weight>(
    weights: &[T],
    workers: &Workers,
    mut work: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
    for (task, part) in weights.chunks(TASK).enumerate() {
        workers.check()?;
        for (i, &weight) in part.iter().enumerate() {
            work(task * TASK + i, weight.into())?;
        }
    }
    Ok(())
}

/// An epoch of independent draws, row k with probability `weights[k]` / Σ weights.
///
/// Draw i is a pure function of (seed, epoch, i, table): one random word and one look-up in the table, O(1)
/// for any i. It needs no memory besides the shared table.
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
    /// [`Error::Input`] if `length` is 0 or above [`MAX_DRAWS`](crate::sample::MAX_DRAWS).
    pub fn new(table: Arc<AliasTable>, length: u64, seed: u64, epoch: u64) -> Result<Self> {
        check_length(length)?;
        Ok(Self { table, keys: Stream::new(seed, Purpose::Weighted, epoch), length })
    }
}

impl Epoch for WeightedStream {
    fn len(&self) -> u64 {
        self.length
    }

    fn fill(&self, draws: Draws, out: &mut [i64], workers: &Workers) -> Result<()> {
        rows::fill_blocks(
            draws,
            self.length,
            out,
            workers,
            #[inline(always)]
            |first, rows| {
                // Two loops: the second is so short that many reads from the table are on their way at once.
                let mut points = [(0, 0); BLOCK];
                let points = &mut points[..rows.len()];
                for (i, point) in points.iter_mut().enumerate() {
                    *point = self.table.layout.point(self.keys.bits(first + i as u64 * draws.step));
                }
                for (row, &mut point) in rows.iter_mut().zip(points) {
                    *row = self.table.row(point) as i64;
                }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{AliasTable, Layout, TASK};
    use crate::random::{Purpose, Stream};
    use crate::{Error, Workers};

    /// The distribution of the table is that of the weights, within the stated error and float rounding.
    fn check(weights: &[f64]) {
        let table = AliasTable::new(weights, &Workers::new(1)).unwrap();
        let (layout, bucket) = (table.layout, table.layout.bucket());
        let mut slots = vec![0_u64; weights.len()];
        for (row, &entry) in table.entries().iter().enumerate() {
            let (threshold, alias) = (layout.threshold(entry), layout.alias(entry));
            slots[row] += threshold;
            slots[alias as usize] += bucket - threshold;
        }
        let all = u128::from(bucket) * weights.len() as u128;
        assert_eq!(slots.iter().map(|&slots| u128::from(slots)).sum::<u128>(), all);
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let sum: f64 =
            weights.chunks(500).map(|part| part.iter().map(|w| w / largest).sum::<f64>()).sum();
        let mut distance = 0.0;
        for (&slots, &weight) in slots.iter().zip(weights) {
            distance += (slots as f64 / all as f64 - weight / largest / sum).abs() / 2.0;
            assert!(weight > 0.0 || slots == 0);
        }
        assert!(distance < 1e-12, "{distance}");
    }

    fn random(length: usize, seed: u64, weight: impl Fn(f64) -> f64) -> Vec<f64> {
        let stream = Stream::new(seed, Purpose::Weighted, 1 << 40);
        (0..length as u64).map(|i| weight(stream.unit(i))).collect()
    }

    #[test]
    fn tables_hold_the_law_of_the_weights() {
        check(&[1.0]);
        check(&[f64::from_bits(1)]);
        check(&[0.0, f64::MAX, f64::MAX, 0.0, f64::MAX]);
        check(&[1e-300, 1e300, 1.0, 0.0, 5e-324]);
        check(&[3.0, 1.0, 1.0, 0.0, 5.0, 5.0, 0.5]);
        check(&[0.0, 0.0, 7.0]);
        check(&[7.0, 0.0, 0.0]);
        check(&vec![0.1; 4103]);
        for length in [2, 3, 5, 64, 1000, TASK + 1] {
            check(&random(length, 1, |u| u));
            check(&random(length, 2, |u| u.powi(-3)));
            check(&random(length, 3, |u| (u * 1300.0 - 650.0).exp()));
            let mut some_zero = random(length, 4, |u| if u < 0.9 { 0.0 } else { u });
            some_zero[length / 2] = 1.0;
            check(&some_zero);
        }
        let mut weights = vec![1.0; 2 * TASK];
        weights[2 * TASK - 1] = 1e6;
        check(&weights);
        weights.reverse();
        check(&weights);
    }

    #[test]
    fn entries_are_stable() {
        let table = AliasTable::new(&[1.0_f32, 2.0, 0.0, 5.0], &Workers::new(1)).unwrap();
        let layout = table.layout;
        assert_eq!((layout.alias_bits, layout.bucket()), (3, 1 << 61));
        let found: Vec<(u64, u64)> = table
            .entries()
            .iter()
            .map(|&entry| (layout.threshold(entry), layout.alias(entry)))
            .collect();
        assert_eq!(found, [(1 << 60, 3), ((1 << 61) - 1, 1), (0, 3), ((1 << 61) - 1, 3)]);
        assert_eq!(table.digest(&Workers::new(2)).unwrap(), 5_579_029_416_475_596_609);
    }

    #[test]
    fn a_table_comes_back_from_its_entries() {
        let table = AliasTable::new(&random(10_000, 6, |u| u), &Workers::new(1)).unwrap();
        assert_eq!(AliasTable::from_entries(table.entries()).unwrap().entries(), table.entries());
        let error = AliasTable::from_entries(&[0, 2]).unwrap_err().to_string();
        assert_eq!(error, "entries[1] is 2; expected an alias below the number of rows");
        assert!(AliasTable::from_entries(&[]).is_err());
    }

    /// Packs single entries, because the whole tables would be too large to build.
    #[test]
    fn there_is_no_limit_at_24_or_32_bits() {
        for num_rows in [1, (1 << 24) + 1, 1 << 32, (1 << 32) + 5, (1 << 40) - 1_usize] {
            let layout = Layout::new(num_rows).unwrap();
            let (last, bucket) = (num_rows as u64 - 1, layout.bucket());
            for (threshold, alias) in [(bucket - 1, last), (0, 0), (bucket / 2, last / 2)] {
                let entry = layout.entry(threshold, alias as usize);
                assert_eq!((layout.threshold(entry), layout.alias(entry)), (threshold, alias));
            }
            assert!(u128::from(bucket) * num_rows as u128 >= 1 << 63);
            assert_eq!(layout.point(0), (0, 0));
            assert_eq!(layout.point(u64::MAX).0, last);
            assert!(bucket - 1 - layout.point(u64::MAX).1 <= 1);
            let (middle, slot) = layout.point(1 << 63);
            assert_eq!((middle, slot), (num_rows as u64 / 2, num_rows as u64 % 2 * bucket / 2));
        }
    }

    #[test]
    fn bad_weights_are_named() {
        let message =
            |weights: &[f64]| AliasTable::new(weights, &Workers::new(2)).unwrap_err().to_string();
        assert_eq!(message(&[1.0, -1.0]), "weights[1] is -1; expected a finite number, 0 or above");
        assert!(message(&[f64::NAN]).starts_with("weights[0] is NaN; expected"));
        assert!(message(&[0.0, f64::INFINITY]).starts_with("weights[1] is inf; expected"));
        assert_eq!(message(&[0.0, -0.0]), "the sum of weights is 0; expected above 0");
        assert!(message(&[]).starts_with("weights has length 0; expected 1"));
    }

    #[test]
    fn building_can_be_stopped() {
        let stop = || true;
        let workers = Workers::interruptible(2, &stop);
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(AliasTable::new(&[1.0], &workers).unwrap_err(), Error::Interrupted);
    }
}
