//! Exact sums of values by group, as integers, with the same bits for any order of the rows and number of threads.

use std::ops::{Range, RangeInclusive};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::shown;
use crate::memory::filled;
use crate::{Error, Result, Workers};

/// The unit of values is 2 to the minus this.
pub const UNIT_BITS: i32 = 30;
/// Rows that a thread adds between checks for interruption.
const BLOCK: usize = 1 << 18;
/// With more groups, one thread adds all rows, since each thread needs its own sums.
const SHARED_MAX_GROUPS: usize = 1 << 16;

/// The sum of a group's values in units, and its number of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupSum {
    /// Sum of the upper parts: the units of a value, divided by 2³² and rounded down.
    pub high: i64,
    /// Sum of the lower parts, each from 0 to 2³² − 1; doesn't overflow for 2³¹ rows.
    pub low: i64,
    /// Number of rows.
    pub rows: i64,
}

impl GroupSum {
    fn add(&mut self, other: Self) {
        self.high += other.high;
        self.low += other.low;
        self.rows += other.rows;
    }
}

/// Add up the `values` (B,) of each of `num_groups` groups, each rounded to a whole number of units, ties to even.
/// Rows of group -1 don't count. O(B + G).
///
/// # Errors
/// [`Error::Input`] for different lengths, a value outside `range`, whose name is `argument`, or a bad group, whichever
/// comes first; [`Error::Memory`]; [`Error::Interrupted`].
pub fn group_sums<T: Copy + Into<f64> + Sync>(
    groups: &[i64],
    argument: &str,
    values: &[T],
    range: &RangeInclusive<f64>,
    num_groups: usize,
    workers: &Workers,
) -> Result<Vec<GroupSum>> {
    if groups.len() != values.len() {
        return Err(Error::length("groups", groups.len(), values.len(), "the values"));
    }
    let unit = 2_f64.powi(UNIT_BITS);
    let add = |sums: &mut [GroupSum], rows: Range<usize>| {
        for row in rows {
            let (group, value) = (groups[row], values[row].into());
            if !range.contains(&value) {
                let (low, high) = (shown(*range.start()), shown(*range.end()));
                let expected = format!("a number from {low} to {high}");
                return Err(Error::element(argument, row, shown(value), &expected));
            }
            // A negative group becomes larger than any.
            if let Some(sum) = sums.get_mut(group as u64 as usize) {
                let units = (value * unit).round_ties_even() as i64;
                sum.add(GroupSum { high: units >> 32, low: units & 0xFFFF_FFFF, rows: 1 });
            } else if group != -1 {
                return Err(Error::group(row, group, num_groups));
            }
        }
        Ok(())
    };
    let new = || filled(GroupSum::default(), num_groups);
    let mut blocks =
        (0..groups.len()).step_by(BLOCK).map(|first| first..groups.len().min(first + BLOCK));
    let mut total = new()?;
    if groups.len() <= BLOCK || num_groups > SHARED_MAX_GROUPS {
        blocks.try_for_each(|block| {
            workers.check()?;
            add(&mut total, block)
        })?;
        return Ok(total);
    }
    // Those that no thread is adding to. Which thread gets which block doesn't matter: these are integers.
    let idle: Mutex<Vec<Vec<GroupSum>>> = Mutex::new(Vec::new());
    workers.try_for_each(blocks, |block| {
        let idle_sums = lock(&idle).pop();
        let mut sums = idle_sums.map_or_else(new, Ok)?;
        add(&mut sums, block)?;
        lock(&idle).push(sums);
        Ok(())
    })?;
    for sums in lock(&idle).drain(..) {
        total.iter_mut().zip(sums).for_each(|(total, sum)| total.add(sum));
    }
    Ok(total)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, GroupSum, SHARED_MAX_GROUPS, group_sums};
    use crate::{Error, Result, Workers};

    fn sums(groups: &[i64], values: &[f64], num_groups: usize) -> Result<Vec<GroupSum>> {
        group_sums(groups, "p_true", values, &(-1e9..=1e9), num_groups, &Workers::new(2))
    }

    #[test]
    fn sums_are_whole_numbers_of_units() {
        let found = sums(&[0, 0, 2, -1, 2], &[0.25, 4.0, -1.0, 7.0, 1.5 * 0.5_f64.powi(30)], 3);
        let expected = [
            GroupSum { high: 1, low: 1 << 28, rows: 2 },
            GroupSum::default(),
            GroupSum { high: -1, low: (1 << 32) - (1 << 30) + 2, rows: 2 },
        ];
        assert_eq!(found.unwrap(), expected);
    }

    /// Rows that reach over several blocks, in another order, for few groups and for too many to share.
    #[test]
    fn neither_threads_nor_order_change_a_bit() {
        for num_groups in [5, SHARED_MAX_GROUPS + 1] {
            let rows = 2 * BLOCK + 3;
            let groups: Vec<i64> =
                (0..rows).map(|row| (row * 7919 % (num_groups + 1)) as i64 - 1).collect();
            let values: Vec<f32> =
                (0..rows).map(|row| (row * 7919 % 1000) as f32 / 1000.0 - 0.5).collect();
            let of = |groups: &[i64], values: &[f32], num_threads| {
                let workers = Workers::new(num_threads);
                group_sums(groups, "losses", values, &(-1.0..=1.0), num_groups, &workers).unwrap()
            };
            let found = of(&groups, &values, 3);
            let backwards: (Vec<i64>, Vec<f32>) =
                groups.iter().copied().zip(values.iter().copied()).rev().unzip();
            assert_eq!(found, of(&backwards.0, &backwards.1, 1));
            let counted = groups.iter().filter(|&&group| group >= 0).count();
            assert_eq!(found.iter().map(|sum| sum.rows).sum::<i64>(), counted as i64);
        }
    }

    #[test]
    fn the_first_bad_row_is_named() {
        let mut groups = vec![0; 3 * BLOCK];
        let mut values = vec![0.5; 3 * BLOCK];
        (groups[BLOCK + 5], groups[2 * BLOCK]) = (9, -7);
        let found = sums(&groups, &values, 2);
        assert_eq!(found, Err(Error::group(BLOCK + 5, 9, 2)));
        values[BLOCK + 4] = f64::NAN;
        let message = sums(&groups, &values, 2).unwrap_err().to_string();
        let row = BLOCK + 4;
        assert_eq!(
            message,
            format!("p_true[{row}] is NaN; expected a number from -1000000000 to 1000000000")
        );
        assert!(sums(&[0], &[0.5, 0.5], 1).is_err());
    }

    #[test]
    fn the_caller_can_stop_it() {
        let workers = Workers::interruptible(1, &|| true);
        std::thread::sleep(std::time::Duration::from_millis(60));
        let found = group_sums(&[0; 9], "p_true", &[0.5; 9], &(0.0..=1.0), 1, &workers);
        assert_eq!(found, Err(Error::Interrupted));
    }
}
