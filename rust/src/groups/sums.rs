//! What was observed of each group, added up as integers: the sums are the same bits for any order
//! of the rows, any number of batches, threads, ranks, and on any device.

use super::soft::SoftRows;
use crate::{Error, Result, Workers};

/// Memberships, and values that are probabilities, count in units of 2⁻³².
pub(super) const MEMBERSHIP_BITS: i32 = 32;
/// Rows between two looks at whether the caller wants to stop.
const BLOCK: usize = 1 << 20;

/// What is observed of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The predicted probability of the true class, in units of 2⁻³².
    PTrue,
    /// The loss, in units of 2⁻²⁴: a sum reaches 5·10¹¹.
    Loss,
}

impl Quantity {
    /// Name of the argument that holds it.
    #[must_use]
    pub fn argument(self) -> &'static str {
        match self {
            Self::PTrue => "p_true",
            Self::Loss => "losses",
        }
    }

    /// A unit is 2 to the minus this.
    #[must_use]
    pub fn bits(self) -> i32 {
        match self {
            Self::PTrue => MEMBERSHIP_BITS,
            Self::Loss => 24,
        }
    }

    /// The valid range.
    #[must_use]
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::PTrue => (0.0, 1.0),
            Self::Loss => (-1e9, 1e9),
        }
    }

    fn check(self, row: usize, value: f64) -> Result<()> {
        let (low, high) = self.range();
        if (low..=high).contains(&value) {
            return Ok(());
        }
        let expected = match self {
            Self::PTrue => "a probability from 0 to 1",
            Self::Loss => "a finite number within ±1e9",
        };
        Err(Error::Element { argument: self.argument(), row, found: value.to_string(), expected })
    }
}

/// Exact sums, for each group, of the values of its samples and of how many those were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSums {
    /// Sum of the values, in units of the [`Quantity`].
    values: Vec<i128>,
    /// Sum of the memberships, in units of 2⁻³².
    members: Vec<i128>,
}

impl GroupSums {
    /// Nothing observed yet.
    #[must_use]
    pub fn new(num_groups: usize) -> Self {
        Self { values: vec![0; num_groups], members: vec![0; num_groups] }
    }

    /// The sums of rows of which each is in one group, or in none: group -1. O(B).
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Group`], or [`Error::Element`] for a value out of range.
    pub fn of_rows(
        num_groups: usize,
        groups: &[i64],
        quantity: Quantity,
        values: &[f64],
        workers: &Workers,
    ) -> Result<Self> {
        check_length(quantity.argument(), values.len(), groups.len(), "the rows of groups")?;
        let (mut sums, per_unit) = (Self::new(num_groups), scale(quantity.bits()));
        for (row, (&group, &value)) in groups.iter().zip(values).enumerate() {
            if row % BLOCK == 0 {
                workers.check()?;
            }
            if group < -1 || group >= num_groups as i64 {
                return Err(Error::Group { row, found: group, num_groups });
            }
            quantity.check(row, value)?;
            if group >= 0 {
                sums.values[group as usize] += units(value, per_unit);
                sums.members[group as usize] += 1 << MEMBERSHIP_BITS;
            }
        }
        Ok(sums)
    }

    /// The sums of rows that are in several groups, each with its posterior. O(B·A).
    ///
    /// # Errors
    /// [`Error::Length`], or [`Error::Element`] for a value, label or posterior out of range.
    pub fn of_soft_rows(
        rows: &SoftRows,
        quantity: Quantity,
        values: &[f64],
        workers: &Workers,
    ) -> Result<Self> {
        check_length(quantity.argument(), values.len(), rows.len(), "the rows of posterior")?;
        let mut sums = Self::new(rows.num_groups());
        let (per_unit, members_per_unit) = (scale(quantity.bits()), scale(MEMBERSHIP_BITS));
        for (row, &value) in values.iter().enumerate() {
            if row % BLOCK == 0 {
                workers.check()?;
            }
            quantity.check(row, value)?;
            let (first, posterior) = rows.row(row)?;
            for (group, &p) in (first..).zip(posterior.unwrap_or_default()) {
                sums.values[group] += units(p * value, per_unit);
                sums.members[group] += units(p, members_per_unit);
            }
        }
        Ok(sums)
    }

    /// Sums that were kept elsewhere in halves, so that none could overflow: for each group four
    /// numbers v₁, v₀, m₁, m₀ that stand for values v₁·2³² + v₀ and memberships m₁·2³² + m₀.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not four numbers for each group.
    pub fn from_halves(num_groups: usize, halves: &[i64]) -> Result<Self> {
        check_length("halves", halves.len(), 4 * num_groups, "four for each group")?;
        let whole = |high: i64, low: i64| (i128::from(high) << 32) + i128::from(low);
        Ok(Self {
            values: halves.chunks_exact(4).map(|h| whole(h[0], h[1])).collect(),
            members: halves.chunks_exact(4).map(|h| whole(h[2], h[3])).collect(),
        })
    }

    /// Add what another observed, except of groups that are not `counted`.
    ///
    /// # Errors
    /// [`Error::Element`] if a sum would leave 64 bits; nothing is added then.
    pub fn add(&mut self, other: &Self, counted: impl Fn(usize) -> bool) -> Result<()> {
        let pairs =
            [("sums", &self.values, &other.values), ("observed", &self.members, &other.members)];
        for (argument, old, new) in pairs {
            for (row, sum) in old.iter().zip(new).map(|(a, b)| a + b).enumerate() {
                if counted(row) && i64::try_from(sum).is_err() {
                    let expected = "a sum that fits 64 bits: call step() more often";
                    return Err(Error::Element { argument, row, found: sum.to_string(), expected });
                }
            }
        }
        for group in (0..self.values.len()).filter(|&group| counted(group)) {
            self.values[group] += other.values[group];
            self.members[group] += other.members[group];
        }
        Ok(())
    }

    /// Mean value of each group, NaN where nothing was observed; then everything is forgotten.
    pub fn take_means(&mut self, quantity: Quantity) -> Vec<f64> {
        let unit = scale(MEMBERSHIP_BITS - quantity.bits());
        let mean = |(&value, &members): (&i128, &i128)| {
            if members > 0 { value as f64 / members as f64 * unit } else { f64::NAN }
        };
        let means = self.values.iter().zip(&self.members).map(mean).collect();
        self.values.fill(0);
        self.members.fill(0);
        means
    }

    /// Sums of the values and of the memberships, in their units.
    #[must_use]
    pub fn state(&self) -> (Vec<i64>, Vec<i64>) {
        // `add` and `from_state` keep them within 64 bits.
        let narrow = |sums: &[i128]| sums.iter().map(|&sum| sum as i64).collect();
        (narrow(&self.values), narrow(&self.members))
    }

    /// What [`state`](Self::state) gave.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Element`] if these cannot be sums of as many groups.
    pub fn from_state(
        num_groups: usize,
        quantity: Quantity,
        sums: &[i64],
        observed: &[i64],
    ) -> Result<Self> {
        check_length("sums", sums.len(), num_groups, "groups")?;
        check_length("observed", observed.len(), num_groups, "groups")?;
        for (row, (&sum, &members)) in sums.iter().zip(observed).enumerate() {
            if members < 0 {
                let (found, expected) = (members.to_string(), "0 or above");
                return Err(Error::Element { argument: "observed", row, found, expected });
            }
            if quantity == Quantity::PTrue && !(0..=members).contains(&sum) {
                let (found, expected) = (sum.to_string(), "0 or above, and no more than observed");
                return Err(Error::Element { argument: "sums", row, found, expected });
            }
        }
        let wide = |sums: &[i64]| sums.iter().map(|&sum| i128::from(sum)).collect();
        Ok(Self { values: wide(sums), members: wide(observed) })
    }
}

/// How many units of 2 to the minus `bits` are 1.
pub(super) fn scale(bits: i32) -> f64 {
    2_f64.powi(bits)
}

/// The nearest whole number of units, ties to even as in `torch.round`.
pub(super) fn units(value: f64, scale: f64) -> i128 {
    i128::from((value * scale).round_ties_even() as i64)
}

fn check_length(
    argument: &'static str,
    found: usize,
    expected: usize,
    counts: &'static str,
) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Length { argument, found, expected, counts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{GroupSums, Quantity};
    use crate::Workers;
    use crate::groups::SoftRows;

    fn sums(quantity: Quantity, groups: &[i64], values: &[f64]) -> GroupSums {
        let mut total = GroupSums::new(3);
        let found = GroupSums::of_rows(3, groups, quantity, values, &Workers::new(1)).unwrap();
        total.add(&found, |_| true).unwrap();
        total
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

        #[test]
        fn halves_stand_for_the_whole(value in any::<i64>(), members in any::<i64>()) {
            let halves = [value >> 32, value & 0xFFFF_FFFF, members >> 32, members & 0xFFFF_FFFF];
            let found = GroupSums::from_halves(1, &halves).unwrap().state();
            prop_assert_eq!(found, (vec![value], vec![members]));
        }
    }

    #[test]
    fn means_are_of_those_observed() {
        let mut found = sums(Quantity::PTrue, &[0, 2, 2, -1], &[0.75, 0.25, 0.5, 1.0]);
        assert_eq!(found.state().1, [1 << 32, 0, 2 << 32]);
        let means = found.take_means(Quantity::PTrue);
        assert_eq!((means[0], means[2]), (0.75, 0.375));
        assert!(means[1].is_nan());
        assert_eq!(found, GroupSums::new(3));
        let mut found = sums(Quantity::Loss, &[0, 1, 1], &[-1e9, 2.5, 3.5]);
        assert_eq!(found.take_means(Quantity::Loss)[..2], [-1e9, 3.0]);
    }

    #[test]
    fn one_hot_rows_are_rows_of_one_group() {
        let posterior = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, f64::NAN, f64::NAN, f64::NAN];
        let rows = SoftRows::new(&posterior, 3, &[0, 0, 0], 3).unwrap();
        let values = [0.3, 0.7, 0.9];
        let soft = GroupSums::of_soft_rows(&rows, Quantity::PTrue, &values, &Workers::new(1));
        assert_eq!(soft.unwrap(), sums(Quantity::PTrue, &[0, 1, -1], &values));
    }

    #[test]
    fn a_sum_that_does_not_fit_changes_nothing() {
        let most = GroupSums::from_state(1, Quantity::Loss, &[i64::MAX], &[1]).unwrap();
        let mut total = most.clone();
        let error = total.add(&most, |_| true).unwrap_err().to_string();
        assert!(error.starts_with("sums[0] is 18446744073709551614; expected"), "{error}");
        assert_eq!(total, most);
        total.add(&most, |_| false).unwrap();
        assert_eq!(total, most);
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
            let found = GroupSums::of_rows(3, &groups, Quantity::PTrue, &values, &Workers::new(1));
            let error = found.unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for (sums, observed, message) in [
            (vec![0], vec![-1], "observed[0] is -1"),
            (vec![2], vec![1], "sums[0] is 2"),
            (vec![-1], vec![1], "sums[0] is -1"),
            (vec![0, 0], vec![0], "sums has length 2"),
            (vec![0], vec![], "observed has length 0"),
        ] {
            let found = GroupSums::from_state(1, Quantity::PTrue, &sums, &observed);
            assert!(found.unwrap_err().to_string().starts_with(message));
        }
    }
}
