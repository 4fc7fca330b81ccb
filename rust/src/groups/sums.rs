//! Sums of what was observed of each group, as integers: the same bits for any order of the rows, any
//! number of batches, threads, ranks, and on any device. How rows are added up stands in `observe`.

use super::quantity::{Quantity, scale};
use super::soft::MEMBERSHIP_BITS;
use crate::{Error, Result};

/// Numbers of [`GroupSums::digits`] for each group.
const DIGITS: usize = 5;
const LOW: i128 = (1 << 32) - 1;

/// Exact sums, for each group, of the values of its samples and of how many those were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSums(pub(super) Vec<Sum>);

/// What was observed of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    /// Sum of membership times value, in units of the memberships times those of the [`Quantity`].
    pub(super) values: i128,
    /// Sum of the memberships, in units of 2 to the minus [`MEMBERSHIP_BITS`].
    pub(super) members: i128,
}

impl GroupSums {
    /// Nothing observed yet.
    #[must_use]
    pub fn new(num_groups: usize) -> Self {
        Self(vec![Sum::default(); num_groups])
    }

    /// Add what another observed, except of groups that are not `counted`.
    ///
    /// # Errors
    /// [`Error::Element`] if a sum would leave 128 bits, which 2⁴³ rows of the largest loss do; nothing
    /// is added then.
    pub fn add(&mut self, other: &Self, counted: impl Fn(usize) -> bool) -> Result<()> {
        let add = |(group, (sum, more)): (usize, (&Sum, &Sum))| {
            if !counted(group) {
                return Ok(*sum);
            }
            let values = sum.values.checked_add(more.values).ok_or_else(|| too_large(group))?;
            let members = sum.members.checked_add(more.members).ok_or_else(|| too_large(group))?;
            Ok(Sum { values, members })
        };
        self.0 = self.0.iter().zip(&other.0).enumerate().map(add).collect::<Result<_>>()?;
        Ok(())
    }

    /// Take away what was observed until some moment: what these sums were then.
    pub fn subtract(&mut self, earlier: &Self) {
        for (sum, earlier) in self.0.iter_mut().zip(&earlier.0) {
            sum.values = sum.values.wrapping_sub(earlier.values);
            sum.members = sum.members.wrapping_sub(earlier.members);
        }
    }

    /// Mean value of each group, NaN where nothing was observed.
    #[must_use]
    pub fn means(&self, quantity: Quantity) -> Vec<f64> {
        let unit = scale(-quantity.bits());
        let mean = |sum: &Sum| {
            if sum.members > 0 { sum.values as f64 / sum.members as f64 * unit } else { f64::NAN }
        };
        self.0.iter().map(mean).collect()
    }

    /// The sums in 64-bit numbers that can be added up elsewhere without an overflow: for each group
    /// v₂, v₁, v₀, m₁, m₀, which stand for values v₂·2⁶⁴ + v₁·2³² + v₀ and members m₁·2³² + m₀; v₁, v₀
    /// and m₀ are digits from 0 to 2³² − 1.
    #[must_use]
    pub fn digits(&self) -> Vec<i64> {
        let of_sum = |Sum { values, members }: &Sum| {
            let numbers =
                [values >> 64, values >> 32 & LOW, values & LOW, members >> 32, members & LOW];
            // Of the members' upper part no more than 11 bits are in use: 2⁴³ rows.
            numbers.map(|number| number as i64)
        };
        self.0.iter().flat_map(of_sum).collect()
    }

    /// What [`digits`](Self::digits) gave, or sums of those of several.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not five numbers for each group; [`Error::Element`] if they stand
    /// for a sum that doesn't fit 128 bits.
    pub fn from_digits(num_groups: usize, digits: &[i64]) -> Result<Self> {
        let expected = DIGITS * num_groups;
        if digits.len() != expected {
            let (argument, found, counts) = ("digits", digits.len(), "five for each group");
            return Err(Error::Length { argument, found, expected, counts });
        }
        let of_group = |(group, numbers): (usize, &[i64])| {
            let wide = |position: usize| i128::from(numbers[position]);
            // Neither can overflow but the first part of values plus the rest.
            let values = (wide(0) << 64).checked_add((wide(1) << 32) + wide(2));
            let values = values.ok_or_else(|| too_large(group))?;
            Ok(Sum { values, members: (wide(3) << 32) + wide(4) })
        };
        digits.chunks_exact(DIGITS).enumerate().map(of_group).collect::<Result<_>>().map(Self)
    }

    /// Refuse what nobody can have observed.
    ///
    /// # Errors
    /// [`Error::Element`] for negative members, or a mean out of the range of the quantity.
    pub fn check(&self, quantity: Quantity) -> Result<()> {
        let (least, most) = quantity.unit_range();
        let possible = |sum: &Sum| {
            // A bound that doesn't fit is none.
            let least = least.checked_mul(sum.members).unwrap_or(i128::MIN);
            let most = most.checked_mul(sum.members).unwrap_or(i128::MAX);
            sum.members >= 0 && (least..=most).contains(&sum.values)
        };
        let Some(row) = self.0.iter().position(|sum| !possible(sum)) else { return Ok(()) };
        let Sum { values, members } = self.0[row];
        let found = format!("{values} over {members} members");
        let expected = match quantity {
            Quantity::PTrue => "0 members or more, and a mean probability from 0 to 1",
            Quantity::Loss => "0 members or more, and a mean loss within ±1e9",
        };
        Err(Error::Element { argument: "observed", row, found, expected })
    }
}

fn too_large(row: usize) -> Error {
    let (argument, found) = ("observed", "more than 128 bits hold".to_owned());
    let expected = "fewer rows between two steps: call step() more often";
    Error::Element { argument, row, found, expected }
}

/// How many units of a sum of memberships make one sample.
pub(super) fn per_member() -> f64 {
    scale(MEMBERSHIP_BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{GroupSums, Sum};
    use crate::groups::Quantity;

    fn sums(pairs: &[(i128, i128)]) -> GroupSums {
        GroupSums(pairs.iter().map(|&(values, members)| Sum { values, members }).collect())
    }

    proptest! {
        #[test]
        fn digits_stand_for_the_sums(values in any::<i128>(), members in any::<i64>()) {
            let whole = sums(&[(values, i128::from(members))]);
            let digits = whole.digits();
            for position in [1, 2, 4] {
                prop_assert!((0..1 << 32).contains(&digits[position]));
            }
            prop_assert_eq!(GroupSums::from_digits(1, &digits).unwrap(), whole);
        }

        #[test]
        fn digits_add_up_like_the_sums(
            parts in proptest::collection::vec((any::<i64>(), 0..1_i64 << 40), 1..9),
        ) {
            let wide = |&(values, members): &(i64, i64)| (i128::from(values) << 30, members.into());
            let (mut whole, mut digits) = (sums(&[(0, 0)]), vec![0; 5]);
            for part in &parts {
                let part = sums(&[wide(part)]);
                whole.add(&part, |_| true).unwrap();
                digits.iter_mut().zip(part.digits()).for_each(|(digit, more)| *digit += more);
            }
            prop_assert_eq!(GroupSums::from_digits(1, &digits).unwrap(), whole);
        }
    }

    #[test]
    fn means_are_those_of_the_members() {
        let observed = sums(&[(3 << 60, 1 << 30), (0, 0), (-5 << 54, 3 << 30)]);
        let (p_true, losses) = (observed.means(Quantity::PTrue), observed.means(Quantity::Loss));
        assert_eq!((p_true[0], p_true[2]), (0.75, -5.0 / 3.0 / 256.0));
        assert!(p_true[1].is_nan());
        assert_eq!((losses[0], losses[2]), (192.0, -5.0 / 3.0));
    }

    #[test]
    fn what_was_observed_since_then_is_left() {
        let (earlier, later) = (sums(&[(7, 2), (-3, 1)]), sums(&[(100, 40), (0, 0)]));
        let mut total = earlier.clone();
        total.add(&later, |_| true).unwrap();
        total.subtract(&earlier);
        assert_eq!(total, later);
        total.add(&later, |group| group == 1).unwrap();
        assert_eq!(total, later);
    }

    #[test]
    fn a_sum_that_does_not_fit_changes_nothing() {
        for most in [(i128::MAX, 1), (i128::MIN, 1), (1, i128::MAX)] {
            let most = sums(&[(0, 0), most]);
            let mut total = most.clone();
            let error = total.add(&most, |_| true).unwrap_err().to_string();
            assert!(
                error.starts_with("observed[1] is more than 128 bits hold; expected"),
                "{error}"
            );
            assert_eq!(total, most);
        }
        let error = GroupSums::from_digits(1, &[i64::MAX, i64::MAX, 0, 0, 0]).unwrap_err();
        assert!(error.to_string().starts_with("observed[0] is more"), "{error}");
        let error = GroupSums::from_digits(2, &[0; 5]).unwrap_err().to_string();
        assert_eq!(error, "digits has length 5; expected 10 (five for each group)");
    }

    /// 2⁴² rows of the largest loss fit; four times as many don't.
    #[test]
    fn trillions_of_the_largest_loss_fit() {
        let row = sums(&[((1_000_000_000 << 24) << 30, 1 << 30)]);
        let mut total = row.clone();
        for _ in 0..43 {
            let before = total.clone();
            total.add(&before, |_| true).unwrap();
        }
        assert_eq!(total.means(Quantity::Loss), [1e9]);
        total.check(Quantity::Loss).unwrap();
        let before = total.clone();
        assert!(total.add(&before, |_| true).is_err());
    }

    #[test]
    fn impossible_sums_are_refused() {
        for (quantity, pair) in [
            (Quantity::PTrue, (0, -1)),
            (Quantity::PTrue, (-1, 1)),
            (Quantity::PTrue, ((1 << 32) + 1, 1)),
            (Quantity::Loss, (1, 0)),
            (Quantity::Loss, ((-1_000_000_000 << 24) - 1, 1)),
        ] {
            let error = sums(&[(0, 0), pair]).check(quantity).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("observed[1] is {} over {} members; ", pair.0, pair.1))
            );
        }
        sums(&[(0, 0), (1 << 32, 1)]).check(Quantity::PTrue).unwrap();
        sums(&[(i128::MAX, i128::MAX)]).check(Quantity::Loss).unwrap();
    }
}
