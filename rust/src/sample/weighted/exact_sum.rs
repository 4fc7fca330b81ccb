//! The sum of any number of weights of any size, exact, and so independent of the order.

/// A weight is `mantissa`·2^`exponent` times the smallest positive float, 2⁻¹⁰⁷⁴.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) mantissa: u64,
    pub(super) exponent: u32,
}

impl Parts {
    /// The parts of a finite float that isn't negative.
    #[inline(always)]
    pub(super) fn of(weight: f64) -> Self {
        let bits = weight.to_bits() & (u64::MAX >> 1);
        let (field, fraction) = ((bits >> 52) as u32, bits & ((1 << 52) - 1));
        let leading = u64::from(field > 0) << 52;
        Self { mantissa: fraction | leading, exponent: field.max(1) - 1 }
    }
}

/// Exponents that share a digit; 53 bits of a mantissa, 31 of the shift and 44 of the number of rows make 128.
const WIDTH: u32 = 32;
const NUM_DIGITS: usize = 64;

/// A number in units of 2⁻¹⁰⁷⁴, `digits[j]`·2^(32·j) summed, the digits being larger than 2³² in general.
#[derive(Debug, Clone)]
pub(super) struct ExactSum {
    digits: [u128; NUM_DIGITS],
}

impl ExactSum {
    pub(super) fn zero() -> Self {
        Self { digits: [0; NUM_DIGITS] }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, parts: Parts) {
        let (digit, shift) = (parts.exponent / WIDTH, parts.exponent % WIDTH);
        self.digits[digit as usize] += u128::from(parts.mantissa) << shift;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (digit, more) in self.digits.iter_mut().zip(&other.digits) {
            *digit += more;
        }
    }

    /// (m, e) such that the sum is m·2^e or less by a part in 2⁶³ at most, with m from 2⁶³ to 2⁶⁴; nothing for 0.
    pub(super) fn rounded_up(&self) -> Option<(u128, i32)> {
        // Digits below 2³², three more for what is carried out of the last.
        let mut carry = 0;
        let mut narrow = [0; NUM_DIGITS + 3];
        for (j, digit) in narrow.iter_mut().enumerate() {
            let sum: u128 = self.digits.get(j).unwrap_or(&0) + carry;
            *digit = sum as u32;
            carry = sum >> WIDTH;
        }
        let top = narrow.iter().rposition(|&digit| digit > 0)?;
        let digit_below = |k: usize| top.checked_sub(k).map_or(0, |j| u128::from(narrow[j]));
        let head = digit_below(0) << 64 | digit_below(1) << 32 | digit_below(2);
        let dropped = (u128::BITS - head.leading_zeros()) - 64;
        let mantissa = head >> dropped;
        let below = &narrow[..top.saturating_sub(2)];
        let is_exact = mantissa << dropped == head && below.iter().all(|&digit| digit == 0);
        let exponent = WIDTH as i32 * (top as i32 - 2) + dropped as i32;
        Some((mantissa + u128::from(!is_exact), exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::{ExactSum, Parts};

    fn sum(weights: &[f64]) -> Option<(u128, i32)> {
        let mut sum = ExactSum::zero();
        weights.iter().for_each(|&weight| sum.add(Parts::of(weight)));
        sum.rounded_up()
    }

    #[test]
    fn it_is_rounded_up_from_the_exact_sum() {
        assert_eq!(sum(&[]), None);
        assert_eq!(sum(&[0.0, -0.0]), None);
        assert_eq!(sum(&[1.0]), Some((1 << 63, 1074 - 63)));
        assert_eq!(sum(&[0.5; 6]), Some((3 << 62, 1075 - 63)));
        // What is far below the last bit still counts.
        assert_eq!(sum(&[1.0, f64::from_bits(1)]), Some(((1 << 63) + 1, 1074 - 63)));
        assert_eq!(sum(&[f64::from_bits(1)]), Some((1 << 63, -63)));
        assert_eq!(sum(&[f64::from_bits(1); 3]), Some((3 << 62, -62)));
        // 2⁶⁴ - 1 and the least bit more.
        let all_ones: Vec<f64> = (0..64).map(|i| (1_u64 << i) as f64).collect();
        assert_eq!(sum(&all_ones), Some(((1 << 64) - 1, 1074)));
        assert_eq!(sum(&[&all_ones[..], &[0.25]].concat()), Some((1 << 64, 1074)));
    }

    #[test]
    fn sums_beyond_the_largest_float_are_finite() {
        let (mantissa, exponent) = sum(&[f64::MAX; 1024]).unwrap();
        assert_eq!(mantissa, u128::from(u64::MAX - (1 << 11) + 1));
        assert_eq!(exponent, 1074 + 1024 + 10 - 64);
    }

    #[test]
    fn merging_is_adding() {
        let weights: Vec<f64> =
            (0..500).map(|i| f64::from(i) * 10_f64.powi(i % 600 - 300)).collect();
        let (mut left, mut right) = (ExactSum::zero(), ExactSum::zero());
        for (i, &weight) in weights.iter().enumerate() {
            if i % 3 == 0 { left.add(Parts::of(weight)) } else { right.add(Parts::of(weight)) }
        }
        right.merge(&left);
        assert_eq!(right.rounded_up(), sum(&weights));
    }
}
