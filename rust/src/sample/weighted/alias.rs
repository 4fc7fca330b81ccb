//! The alias table: which row a random word means, in one look.

use super::shares::{BLOCK, Cursor, Layout, Shares, TASK};
use super::{Weight, digest};
use crate::groups::Pages;
use crate::{Error, Result, Workers};

/// Draws a row with a probability proportional to its weight, in O(1) (Walker 1977; Vose 1991).
///
/// The N buckets are equally likely. Bucket k holds the slots of row k, as many as fit, and above its threshold those
/// of one other row, its alias, which has too many. Rows with less than a bucket (light) and with more (heavy) are
/// matched in row order; as both sides are running sums, any stretch of the table can be made by itself, which is how
/// threads share the work (the sweep of Hübschle-Schneider and Sanders, "Parallel Weighted Random Sampling", 2019,
/// made stateless). The table doesn't depend on their number.
///
/// Building costs O(N) and no memory beside the table: 8 bytes a row, whatever the number of rows.
///
/// Shares are whole numbers of slots, each exact to within one (and 2⁻⁶¹ of the heaviest), and a 64-bit word points at
/// one of 2⁶³ to 2⁶⁴ slots: the law is the exact one up to N·2⁻⁶² in total variation, 2⁻³⁸ for 10⁷ rows. A weight of 0
/// has no slot.
#[derive(Debug)]
pub struct AliasTable {
    layout: Layout,
    entries: Pages<u64>,
}

impl AliasTable {
    /// The table of `weights` (N,).
    ///
    /// # Errors
    /// [`Error::Element`] for the first weight that is negative or not finite; [`Error::Scalar`] if all are 0;
    /// [`Error::Length`] if there are none; [`Error::Interrupted`].
    pub fn new<T: Weight>(weights: &[T], workers: &Workers) -> Result<Self> {
        let shares = Shares::new(weights, workers)?;
        let mut entries = Pages::zeroed(weights.len())?;
        workers.for_each(entries.chunks_mut(TASK).enumerate(), |(task, entries)| {
            fill(&shares, task * TASK, entries);
        })?;
        Ok(Self { layout: shares.layout, entries })
    }

    /// A table from its [`entries`](Self::entries).
    ///
    /// # Errors
    /// [`Error::Element`] if an alias is no row; [`Error::Length`] if there are no entries; [`Error::Interrupted`].
    pub fn from_entries(entries: &[u64], workers: &Workers) -> Result<Self> {
        if entries.is_empty() {
            let (found, expected) = (0, 1);
            return Err(Error::Length { argument: "entries", found, expected, counts: "rows" });
        }
        let layout = Layout::new(entries.len());
        let mut copy = Pages::zeroed(entries.len())?;
        let tasks = copy.chunks_mut(TASK).zip(entries.chunks(TASK)).enumerate();
        workers.try_for_each(tasks, |(task, (copy, entries))| {
            if let Some(i) =
                entries.iter().position(|&entry| layout.alias(entry) >= layout.num_rows)
            {
                return Err(Error::Element {
                    argument: "entries",
                    row: task * TASK + i,
                    found: entries[i].to_string(),
                    expected: "an alias below the number of rows",
                });
            }
            copy.copy_from_slice(entries);
            Ok(())
        })?;
        Ok(Self { layout, entries: copy })
    }

    /// For each row its threshold and alias in one word.
    #[must_use]
    pub fn entries(&self) -> &[u64] {
        &self.entries
    }

    /// The number of rows.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a row")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// 63 bits by which a checkpoint recognises the law. O(N).
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn digest(&self, workers: &Workers) -> Result<u64> {
        digest::digest(&self.entries, workers)
    }

    /// The bucket and the slot in it that a random word means.
    #[inline(always)]
    pub(super) fn point(&self, word: u64) -> (u64, u64) {
        self.layout.point(word)
    }

    /// The row that has a slot.
    #[inline(always)]
    pub(super) fn row(&self, (bucket, slot): (u64, u64)) -> u64 {
        let entry = self.entries[bucket as usize];
        if slot < self.layout.threshold(entry) { bucket } else { self.layout.alias(entry) }
    }
}

impl Layout {
    /// The bucket and the slot in it that a random word points at.
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

/// Write the entries of the rows from `first` on, a multiple of [`BLOCK`].
///
/// A light row's deficit starts at the sum of the deficits before it; the heavy row whose excess is there fills it. A
/// heavy row fills light ones until the sum of the excesses up to it is used up; what the last of them takes beyond
/// that, the row gives from its own bucket, and the next heavy row fills it up.
fn fill<T: Weight>(shares: &Shares<T>, first: usize, entries: &mut [u64]) {
    let layout = shares.layout;
    let bucket = layout.bucket();
    let (mut deficit, mut excess) = shares.before(first / BLOCK);
    let mut heavy = Cursor::<T, true>::new(shares);
    let mut light = Cursor::<T, false>::new(shares);
    // A heavy row and its threshold, until the next heavy row comes.
    let mut open: Option<(usize, u64)> = None;
    for (row, slots) in shares.slots(first / BLOCK, first + entries.len()) {
        if slots < bucket {
            let (alias, _) = heavy.reach(deficit + 1);
            deficit += bucket - slots;
            entries[row - first] = layout.entry(slots, alias);
            continue;
        }
        entries[row - first] = layout.full(row);
        if slots > bucket {
            if let Some((earlier, threshold)) = open.take() {
                entries[earlier - first] = layout.entry(threshold, row);
            }
            excess += slots - bucket;
            let (_, taken) = light.reach(excess);
            if taken > excess {
                open = Some((row, bucket - (taken - excess)));
            }
        }
    }
    if let Some((earlier, threshold)) = open {
        let (alias, _) = Cursor::<T, true>::new(shares).reach(excess + 1);
        entries[earlier - first] = layout.entry(threshold, alias);
    }
}

#[cfg(test)]
mod tests {
    use super::{AliasTable, Layout, Shares};
    use crate::sample::weighted::shares::{BLOCK, TASK};
    use crate::{Error, Workers};

    /// How many slots each row has in the table.
    fn slots(table: &AliasTable) -> Vec<u64> {
        let layout = table.layout;
        let mut slots = vec![0; table.len()];
        for (row, &entry) in table.entries().iter().enumerate() {
            let (threshold, alias) = (layout.threshold(entry), layout.alias(entry));
            slots[row] += threshold;
            slots[alias as usize] += layout.bucket() - threshold;
        }
        slots
    }

    /// The table holds the shares slot by slot, and they are within one slot of the exact ones.
    fn check(weights: &[f64]) {
        let table = AliasTable::new(weights, &Workers::new(1)).unwrap();
        let found = slots(&table);
        let shares = Shares::new(weights, &Workers::new(1)).unwrap();
        let expected: Vec<u64> = shares.slots(0, weights.len()).map(|(_, slots)| slots).collect();
        assert!(found == expected);
        let all = u128::from(table.layout.bucket()) * weights.len() as u128;
        assert_eq!(found.iter().map(|&slots| u128::from(slots)).sum::<u128>(), all);
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let of_chunk = |chunk: &[f64]| chunk.iter().map(|weight| weight / largest).sum::<f64>();
        let sum: f64 = weights.chunks(500).map(of_chunk).sum();
        for (row, weight) in weights.iter().enumerate() {
            let exact = weight / largest / sum * all as f64;
            // The comparison is in floats of 53 bits.
            assert!((found[row] as f64 - exact).abs() <= 1.0 + exact * 1e-13, "{row} {weight}");
            assert!(*weight > 0.0 || found[row] == 0);
        }
        for num_threads in [2, 7] {
            let same = AliasTable::new(weights, &Workers::new(num_threads)).unwrap();
            assert!(same.entries() == table.entries());
        }
    }

    fn random(length: usize, seed: u64, weight: impl Fn(f64) -> f64) -> Vec<f64> {
        use crate::random::{Purpose, Stream};
        let stream = Stream::new(seed, Purpose::Weighted, 1 << 40);
        (0..length as u64).map(|i| weight(stream.unit(i))).collect()
    }

    #[test]
    fn tables_hold_exactly_the_shares() {
        check(&[1.0]);
        check(&[f64::from_bits(1)]);
        check(&[0.0, f64::MAX, f64::MAX, 0.0, f64::MAX]);
        check(&[1e-300, 1e300, 1.0, 0.0, 5e-324]);
        check(&[3.0, 1.0, 1.0, 0.0, 5.0, 5.0, 0.5]);
        check(&vec![0.1; 3 * BLOCK + 7]);
        for length in [2, 3, 5, 64, 1000, BLOCK, BLOCK + 1, 5 * BLOCK - 1] {
            check(&random(length, 1, |u| u));
            check(&random(length, 2, |u| u.powi(-3)));
            check(&random(length, 3, |u| (u * 1300.0 - 650.0).exp()));
            let mut some_zero = random(length, 4, |u| if u < 0.9 { 0.0 } else { u });
            some_zero[length / 2] = 1.0;
            check(&some_zero);
        }
    }

    /// Heavy rows far from the light ones they fill, in other blocks and other tasks.
    #[test]
    fn rows_fill_others_across_blocks_and_tasks() {
        let length = 3 * TASK + 100;
        check(&random(length, 5, |u| u.powi(-2)));
        let mut weights = vec![1.0; length];
        weights[length - 1] = 1e6;
        check(&weights);
        weights.reverse();
        check(&weights);
        weights[1..length - 1].fill(0.0);
        check(&weights);
        weights[..2 * TASK].fill(2.0);
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
        assert_eq!(table.digest(&Workers::new(2)).unwrap(), PINNED_DIGEST);
    }

    const PINNED_DIGEST: u64 = 5_579_029_416_475_596_609;

    #[test]
    fn a_table_comes_back_from_its_entries() {
        let table = AliasTable::new(&random(10_000, 6, |u| u), &Workers::new(1)).unwrap();
        let same = AliasTable::from_entries(table.entries(), &Workers::new(2)).unwrap();
        assert_eq!(same.entries(), table.entries());
        let error = AliasTable::from_entries(&[0, 2], &Workers::new(1)).unwrap_err().to_string();
        assert_eq!(error, "entries[1] is 2; expected an alias below the number of rows");
        assert!(AliasTable::from_entries(&[], &Workers::new(1)).is_err());
    }

    /// Where tables of as many rows can't be made: what an entry and a word can hold.
    #[test]
    fn there_is_no_limit_at_24_or_32_bits() {
        for num_rows in [1, (1 << 24) + 1, 1 << 32, (1 << 32) + 5, (1 << 40) - 1_usize] {
            let layout = Layout::new(num_rows);
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
        let mut many = vec![1.0; 3 * TASK];
        many[2 * TASK + 1] = -3.0;
        many[TASK + 5] = -2.0;
        assert!(message(&many).starts_with(&format!("weights[{}] is -2", TASK + 5)));
    }

    #[test]
    fn building_can_be_stopped() {
        let stop = || true;
        let workers = Workers::interruptible(2, &stop);
        std::thread::sleep(std::time::Duration::from_millis(60));
        assert_eq!(AliasTable::new(&[1.0], &workers).unwrap_err(), Error::Interrupted);
    }
}
