//! What is observed of a sample, and its rounding to whole units, in which sums are exact.

use crate::error::shown;
use crate::{Error, Result};

/// A number below 2⁵¹ plus this has its nearest whole number, ties to even, in its low bits.
const SHIFT: f64 = 6_755_399_441_055_744.0;
const SHIFT_BITS: i64 = SHIFT.to_bits() as i64;
const BELOW_SHIFT: f64 = 2_251_799_813_685_248.0;

/// What is observed of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The predicted probability of the true class, in units of 2⁻³².
    PTrue,
    /// The loss, in units of 2⁻²⁴.
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
            Self::PTrue => 32,
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

    /// The valid range in units.
    pub(super) fn unit_range(self) -> (i128, i128) {
        let (least, most) = self.range();
        let units = |value| i128::from(whole(value * scale(self.bits())));
        (units(least), units(most))
    }

    /// Whether all values are valid, and then their units.
    pub(super) fn to_units(self, values: &[f64], units: &mut [i64]) -> bool {
        let ((least, most), per_unit) = (self.range(), scale(self.bits()));
        let mut fine = true;
        for (units, &value) in units.iter_mut().zip(values) {
            // Not a range's `contains`, which is lazy: without a branch the loop runs on vectors.
            fine &= value >= least;
            fine &= value <= most;
            *units = match self {
                Self::PTrue => small_whole(value * per_unit),
                Self::Loss => whole(value * per_unit),
            };
        }
        fine
    }

    /// What is wrong with the first of the values that isn't valid.
    pub(super) fn error(self, first_row: usize, values: &[f64]) -> Error {
        let (least, most) = self.range();
        let bad = values.iter().position(|value| !(least..=most).contains(value)).unwrap_or(0);
        let expected = match self {
            Self::PTrue => "a probability from 0 to 1",
            Self::Loss => "a finite number within ±1e9",
        };
        let (row, found) = (first_row + bad, shown(values[bad]));
        Error::Element { argument: self.argument(), row, found, expected }
    }

    /// Refuse values that don't belong to rows.
    pub(super) fn check_length(
        self,
        found: usize,
        expected: usize,
        counts: &'static str,
    ) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(Error::Length { argument: self.argument(), found, expected, counts })
    }
}

/// How many units of 2 to the minus `bits` are 1.
pub(super) fn scale(bits: i32) -> f64 {
    2_f64.powi(bits)
}

/// The nearest whole number, ties to even as in `torch.round`.
pub(super) fn whole(value: f64) -> i64 {
    if value.abs() < BELOW_SHIFT { small_whole(value) } else { value.round_ties_even() as i64 }
}

/// The same below 2⁵¹, without a call to the C library.
pub(super) fn small_whole(value: f64) -> i64 {
    ((value + SHIFT).to_bits() as i64).wrapping_sub(SHIFT_BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BELOW_SHIFT, Quantity, small_whole, whole};

    proptest! {
        #[test]
        fn whole_rounds_to_even(value in -2e16_f64..2e16, half in -(1_i64 << 50)..1 << 50) {
            for value in [value, value * 2_f64.powi(-30), half as f64 + 0.5] {
                prop_assert_eq!(whole(value), value.round_ties_even() as i64);
            }
        }
    }

    #[test]
    fn whole_numbers_at_the_limits() {
        for (value, expected) in [(0.5, 0), (1.5, 2), (-0.5, 0), (-1.5, -2), (0.0, 0)] {
            assert_eq!((small_whole(value), whole(value)), (expected, expected));
        }
        assert_eq!(whole(BELOW_SHIFT + 0.5), 1 << 51);
        assert_eq!(whole(-BELOW_SHIFT - 1.5), -(1 << 51) - 2);
        assert_eq!(whole(BELOW_SHIFT - 0.5), 1 << 51);
        assert_eq!(Quantity::PTrue.unit_range(), (0, 1 << 32));
        assert_eq!(Quantity::Loss.unit_range(), (-1_000_000_000 << 24, 1_000_000_000 << 24));
    }
}
