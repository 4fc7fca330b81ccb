//! From rows to the sums of their groups: hard membership, soft membership, and memberships alone.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::floats::Floats;
use super::quantity::Quantity;
use super::soft::{MEMBERSHIP_BITS, SoftRows};
use super::sums::{GroupSums, Sum, per_member};
use crate::{Error, Result, Workers};

/// Rows that a thread adds up at a time, and between two looks at whether the caller wants to stop.
const BLOCK: usize = 1 << 18;
/// With more groups than this all rows are added up by one thread: each thread has sums of its own.
const SHARED_MAX_GROUPS: usize = 1 << 16;
/// Values that are turned to units at once; these stay in the processor's nearest cache.
const PIECE: usize = 1 << 10;

impl GroupSums {
    /// The sums of rows of which each is in one group, or in none: group -1. O(B).
    ///
    /// # Errors
    /// [`Error::Length`], or the first [`Error::Element`] for a value out of range or [`Error::Group`],
    /// whichever is met first.
    pub fn of_rows(
        num_groups: usize,
        groups: &[i64],
        quantity: Quantity,
        values: Floats,
        workers: &Workers,
    ) -> Result<Self> {
        quantity.check_length(values.len(), groups.len(), "the rows of groups")?;
        let mut sums = in_blocks(groups.len(), num_groups, workers, |sums, rows| {
            let mut units = Units::new(quantity, values);
            for first in rows.clone().step_by(PIECE) {
                let groups = &groups[first..rows.end.min(first + PIECE)];
                for (i, (&group, &units)) in
                    groups.iter().zip(units.of(first, groups.len())?).enumerate()
                {
                    // A negative group becomes larger than any.
                    if let Some(sum) = sums.get_mut(group as u64 as usize) {
                        sum.values += i128::from(units);
                        sum.members += 1;
                    } else if group != -1 {
                        return Err(Error::Group { row: first + i, found: group, num_groups });
                    }
                }
            }
            Ok(())
        })?;
        for sum in &mut sums {
            sum.values <<= MEMBERSHIP_BITS;
            sum.members <<= MEMBERSHIP_BITS;
        }
        Ok(Self(sums))
    }

    /// The sums of rows that are in several groups, each by its posterior. O(B·A).
    ///
    /// # Errors
    /// [`Error::Length`], or [`Error::Element`] for a value, label or posterior out of range.
    pub fn of_soft_rows(
        rows: &SoftRows,
        quantity: Quantity,
        values: Floats,
        workers: &Workers,
    ) -> Result<Self> {
        quantity.check_length(values.len(), rows.len(), "the rows of posterior")?;
        let sums = in_blocks(rows.len(), rows.num_groups(), workers, |sums, block| {
            let mut units = Units::new(quantity, values);
            rows.for_each(block, |row, first_group, memberships| {
                let units = i128::from(units.of(row, 1)?[0]);
                for (sum, &membership) in sums[first_group..].iter_mut().zip(memberships) {
                    sum.values += units * i128::from(membership);
                    sum.members += i128::from(membership);
                }
                Ok(())
            })
        })?;
        Ok(Self(sums))
    }
}

/// N_g under soft membership: the sum of the posteriors of each group, the same bits for any order
/// of the rows. O(B·A).
///
/// # Errors
/// [`Error::Element`] for a bad label or row of posteriors.
pub fn soft_counts(rows: &SoftRows, workers: &Workers) -> Result<Vec<f64>> {
    let sums = in_blocks(rows.len(), rows.num_groups(), workers, |sums, block| {
        rows.for_each(block, |_, first_group, memberships| {
            for (sum, &membership) in sums[first_group..].iter_mut().zip(memberships) {
                sum.members += i128::from(membership);
            }
            Ok(())
        })
    })?;
    Ok(sums.into_iter().map(|sum| sum.members as f64 / per_member()).collect())
}

/// Add up blocks of rows with `add`, on several threads. Which thread gets which block doesn't matter:
/// integers add up to the same in any order. The error is that of the first block with one.
fn in_blocks(
    num_rows: usize,
    num_groups: usize,
    workers: &Workers,
    add: impl Fn(&mut [Sum], Range<usize>) -> Result<()> + Sync,
) -> Result<Vec<Sum>> {
    let new = || vec![Sum::default(); num_groups];
    let mut blocks = (0..num_rows).step_by(BLOCK).map(|first| first..num_rows.min(first + BLOCK));
    if num_rows <= BLOCK || num_groups > SHARED_MAX_GROUPS {
        let mut sums = new();
        blocks.try_for_each(|block| {
            workers.check()?;
            add(&mut sums, block)
        })?;
        return Ok(sums);
    }
    // Those that no thread is adding to.
    let idle: Mutex<Vec<Vec<Sum>>> = Mutex::new(Vec::new());
    workers.try_for_each(blocks, |block| {
        let mut sums = lock(&idle).pop().unwrap_or_else(new);
        add(&mut sums, block)?;
        lock(&idle).push(sums);
        Ok(())
    })?;
    let mut total = new();
    for sums in lock(&idle).drain(..) {
        for (total, sum) in total.iter_mut().zip(sums) {
            total.values += sum.values;
            total.members += sum.members;
        }
    }
    Ok(total)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turns values to units, a piece at a time.
struct Units<'a> {
    quantity: Quantity,
    values: Floats<'a>,
    wide: [f64; PIECE],
    rounded: [i64; PIECE],
}

impl<'a> Units<'a> {
    fn new(quantity: Quantity, values: Floats<'a>) -> Self {
        Self { quantity, values, wide: [0.0; PIECE], rounded: [0; PIECE] }
    }

    /// The units of `length` values, no more than a piece.
    fn of(&mut self, first: usize, length: usize) -> Result<&[i64]> {
        let (wide, rounded) = (&mut self.wide[..length], &mut self.rounded[..length]);
        self.values.read(first, wide);
        if !self.quantity.to_units(wide, rounded) {
            return Err(self.quantity.error(first, wide));
        }
        Ok(rounded)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use half::f16;
    use proptest::prelude::*;

    use super::{BLOCK, PIECE, SHARED_MAX_GROUPS, soft_counts};
    use crate::groups::{Floats, GroupSums, Quantity, SoftRows, soft_sample_weights};
    use crate::{Error, Workers};

    fn sums(quantity: Quantity, groups: &[i64], values: &[f64]) -> GroupSums {
        GroupSums::of_rows(3, groups, quantity, Floats::F64(values), &Workers::new(1)).unwrap()
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_order_or_batches(
            rows in proptest::collection::vec((-1_i64..3, 0.0_f64..=1.0), 0..40),
            cut in 0_usize..40,
        ) {
            for quantity in [Quantity::PTrue, Quantity::Loss] {
                let (groups, values): (Vec<i64>, Vec<f64>) = rows.iter().copied().unzip();
                let whole = sums(quantity, &groups, &values);
                let cut = cut.min(rows.len());
                let mut parts = sums(quantity, &groups[cut..], &values[cut..]);
                parts.add(&sums(quantity, &groups[..cut], &values[..cut]), |_| true).unwrap();
                prop_assert_eq!(whole, parts);
            }
        }
    }

    /// Rows that reach over several blocks and end in the middle of a piece.
    fn many(num_groups: i64) -> (Vec<i64>, Vec<f32>, Vec<f64>) {
        let rows = 2 * BLOCK + PIECE / 2 + 3;
        let groups = (0..rows as i64).map(|row| row * 7919 % (num_groups + 1) - 1).collect();
        let values: Vec<f32> = (0..rows).map(|row| (row * 7919 % 1000) as f32 / 1000.0).collect();
        let wide = values.iter().copied().map(f64::from).collect();
        (groups, values, wide)
    }

    #[test]
    fn threads_and_types_give_the_same_sums() {
        for num_groups in [5, SHARED_MAX_GROUPS as i64 + 1] {
            let (groups, values, wide) = many(num_groups);
            let of = |values, num_threads| {
                let workers = Workers::new(num_threads);
                GroupSums::of_rows(num_groups as usize, &groups, Quantity::PTrue, values, &workers)
                    .unwrap()
            };
            let found = of(Floats::F32(&values), 3);
            assert_eq!(found, of(Floats::F64(&wide), 1));
            let counted: i128 = found.0.iter().map(|sum| sum.members >> 30).sum();
            assert_eq!(counted, groups.iter().filter(|&&group| group >= 0).count() as i128);
            let units = |value: f64| (value * 2_f64.powi(32)).round_ties_even() as i128;
            let of_group = |wanted: i64| {
                let rows = groups.iter().zip(&wide).filter(|&(&group, _)| group == wanted);
                rows.map(|(_, &value)| units(value) << 30).sum::<i128>()
            };
            assert_eq!((found.0[0].values, found.0[4].values), (of_group(0), of_group(4)));
        }
    }

    #[test]
    fn threads_and_types_give_the_same_soft_sums() {
        let (_, values, wide) = many(4);
        let posterior: Vec<f32> = values.iter().flat_map(|&p| [p, 1.0 - p]).collect();
        let wide_posterior: Vec<f64> = posterior.iter().copied().map(f64::from).collect();
        let labels: Vec<i64> = (0..values.len() as i64).map(|row| row % 2).collect();
        let (mut found, mut counts, mut weights) = (vec![], vec![], vec![]);
        for (posterior, values, num_threads) in [
            (Floats::F32(&posterior), Floats::F32(&values), 3),
            (Floats::F64(&wide_posterior), Floats::F64(&wide), 1),
        ] {
            let rows = SoftRows::new(posterior, 2, &labels, 4).unwrap();
            let workers = Workers::new(num_threads);
            found.push(GroupSums::of_soft_rows(&rows, Quantity::Loss, values, &workers).unwrap());
            counts.push(soft_counts(&rows, &workers).unwrap());
            weights.push(
                soft_sample_weights(&rows, &[0.5, 1.5, 2.0, 0.1], &[1.0; 2], &workers).unwrap(),
            );
        }
        assert_eq!(found[0], found[1]);
        assert_eq!(counts[0], counts[1]);
        assert_eq!(weights[0], weights[1]);
        assert_eq!(counts[0].iter().sum::<f64>() as usize, values.len());
    }

    #[test]
    fn half_precision_is_read_as_it_is() {
        let (half, wide) = ([0.25, 0.75].map(f16::from_f64), [0.25, 0.75]);
        let of = |values| {
            GroupSums::of_rows(3, &[0, 2], Quantity::PTrue, values, &Workers::new(1)).unwrap()
        };
        assert_eq!(of(Floats::F16(&half)), of(Floats::F64(&wide)));
    }

    #[test]
    fn one_hot_rows_are_rows_of_one_group() {
        let posterior = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, f64::NAN, f64::NAN, f64::NAN];
        let rows = SoftRows::new(Floats::F64(&posterior), 3, &[0, 0, 0], 3).unwrap();
        let values = [0.3, 0.7, 0.9];
        let workers = Workers::new(1);
        let soft = GroupSums::of_soft_rows(&rows, Quantity::PTrue, Floats::F64(&values), &workers);
        assert_eq!(soft.unwrap(), sums(Quantity::PTrue, &[0, 1, -1], &values));
    }

    /// The product of membership and value is exact: no rounding of it takes the mean away.
    #[test]
    fn a_tiny_membership_has_the_mean_of_its_samples() {
        let posterior = [1.0 - 2_f64.powi(-28), 2_f64.powi(-28)];
        let rows = SoftRows::new(Floats::F64(&posterior), 2, &[0], 2).unwrap();
        for (quantity, value) in [(Quantity::PTrue, 2_f64.powi(-20)), (Quantity::Loss, -1.25)] {
            let values = [value];
            let workers = Workers::new(1);
            let found = GroupSums::of_soft_rows(&rows, quantity, Floats::F64(&values), &workers);
            assert_eq!(found.unwrap().means(quantity), [value, value]);
        }
    }

    #[test]
    fn a_bad_row_is_named() {
        for (groups, value, message) in [
            (vec![0, 1], f64::NAN, "p_true[1] is NaN"),
            (vec![0, 1], 1.1, "p_true[1] is 1.1"),
            (vec![0, -1], -0.1, "p_true[1] is -0.1"),
            (vec![0, 3], 0.5, "groups[1] is 3"),
            (vec![0, -2], 0.5, "groups[1] is -2"),
            (vec![0], 0.5, "p_true has length 2"),
        ] {
            let values = [0.5, value];
            let values = Floats::F64(&values);
            let found = GroupSums::of_rows(3, &groups, Quantity::PTrue, values, &Workers::new(1));
            let error = found.unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for (loss, is_fine) in [(1e9, true), (-1e9, true), (1.1e9, false), (f64::INFINITY, false)] {
            let values = [loss];
            let values = Floats::F64(&values);
            let found = GroupSums::of_rows(3, &[0], Quantity::Loss, values, &Workers::new(1));
            assert_eq!(found.is_ok(), is_fine);
        }
    }

    #[test]
    fn the_first_bad_row_is_named_for_any_number_of_threads() {
        let (mut groups, mut values, _) = many(5);
        for row in [BLOCK + 5, BLOCK + PIECE + 9, 2 * BLOCK + 1] {
            (groups[row], values[row]) = (99, 7.0);
        }
        for num_threads in [1, 4] {
            let (workers, values) = (Workers::new(num_threads), Floats::F32(&values));
            let error =
                GroupSums::of_rows(5, &groups, Quantity::PTrue, values, &workers).unwrap_err();
            assert!(error.to_string().starts_with(&format!("p_true[{}] is 7", BLOCK + 5)));
            let error =
                GroupSums::of_rows(5, &groups, Quantity::Loss, values, &workers).unwrap_err();
            assert_eq!(error, Error::Group { row: BLOCK + 5, found: 99, num_groups: 5 });
        }
    }

    #[test]
    fn the_caller_can_stop_it() {
        let (groups, values, _) = many(5);
        let stop = || true;
        for num_groups in [5, SHARED_MAX_GROUPS + 1] {
            let workers = Workers::interruptible(1, &stop);
            thread::sleep(Duration::from_millis(60));
            let values = Floats::F32(&values);
            let found = GroupSums::of_rows(num_groups, &groups, Quantity::PTrue, values, &workers);
            assert_eq!(found, Err(Error::Interrupted));
        }
    }
}
