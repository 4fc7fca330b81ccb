//! Exponential variates and keys, from additions, multiplications and divisions alone: the same bits on every machine,
//! which the logarithms of system libraries don't promise.

use std::f64::consts::{LN_2, SQRT_2};

/// 2⁻⁶⁴.
const WORD: f64 = 1.0 / (1_u128 << 64) as f64;
/// Below it, a quarter, 1 - u is written as 1 + f.
const SMALL: u64 = 1 << 62;
const FRACTION: u64 = (1 << 52) - 1;
const ONE: u64 = 1023 << 52;

/// -ln(1 - u), where u = (word + ½) / 2⁶⁴; relative error about 2⁻⁵¹ for the smallest and largest u too.
#[inline(always)]
pub(super) fn exponential(word: u64) -> f64 {
    if word < SMALL {
        return -log1p(-(word as f64 + 0.5) * WORD);
    }
    // 1 - u = g / 2^halvings, with g from √½ to √2.
    let rest = (!word as f64 + 0.5).to_bits();
    let (mut g, mut halvings) =
        (f64::from_bits(rest & FRACTION | ONE), 64 + 1023 - (rest >> 52) as i32);
    if g > SQRT_2 {
        g *= 0.5;
        halvings -= 1;
    }
    f64::from(halvings) * LN_2 - log1p(g - 1.0)
}

/// ln(1 + f) for f from √½ - 1 to √2 - 1: twice the area tangent of s = f / (2 + f), |s| < 0.172, by its series.
#[inline(always)]
fn log1p(f: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let mut series = 0.0;
    for k in (1..=10).rev() {
        series = (series + 1.0 / f64::from(2 * k + 1)) * z;
    }
    2.0 * s + 2.0 * s * series
}

/// `exponential(word)` / `weight` as an integer that sorts alike. The exponent has its own 12 bits, so that nothing
/// overflows for any weight above 0, the smallest and largest floats included.
#[inline(always)]
pub(super) fn key(word: u64, weight: f64) -> u64 {
    // Floats below the smallest normal one have no leading bit.
    let (scaled, lift) = if weight < f64::MIN_POSITIVE { (weight / WORD, 64) } else { (weight, 0) };
    let bits = scaled.to_bits();
    let exponent = (bits >> 52) as i64 - 1023 - lift;
    let quotient = exponential(word) / f64::from_bits(bits & FRACTION | ONE);
    quotient.to_bits() + (((1024 - exponent) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::{exponential, key};
    use crate::random::mix;

    #[test]
    fn it_is_the_negative_logarithm() {
        for word in
            [0, 1, 2, 1 << 30, 1 << 61, (1 << 62) - 1, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX]
                .into_iter()
                .chain((0..100_000).map(mix))
        {
            let expected = if word < 1 << 63 {
                -(-(word as f64 + 0.5) / 2_f64.powi(64)).ln_1p()
            } else {
                -((!word as f64 + 0.5) / 2_f64.powi(64)).ln()
            };
            let found = exponential(word);
            assert!((found - expected).abs() <= expected * 1e-15, "{word} {found} {expected}");
        }
        assert!(exponential(0) > 0.0);
        assert!(exponential(u64::MAX) < 46.0);
    }

    #[test]
    fn it_never_decreases_by_more_than_rounding() {
        let words = (0..1_000_000_u64).map(|i| i << 44 | i);
        let values: Vec<f64> = words.map(exponential).collect();
        assert!(values.is_sorted());
    }

    #[test]
    fn keys_sort_like_the_quotients() {
        let smallest = f64::from_bits(1);
        let weights =
            [smallest, 1e-310, f64::MIN_POSITIVE, 1e-5, 0.3, 1.0, 1.5, 2.0, 1e5, 1e300, f64::MAX];
        for pair in weights.windows(2) {
            for i in 0..100 {
                assert!(key(mix(i), pair[0]) > key(mix(i), pair[1]), "{pair:?}");
            }
        }
        for i in 0..10_000 {
            let (a, b) = (mix(2 * i), mix(2 * i + 1));
            let quotients = (exponential(a) / 0.7, exponential(b) / 13.0);
            let keys = (key(a, 0.7), key(b, 13.0));
            assert_eq!(quotients.0.total_cmp(&quotients.1), keys.0.cmp(&keys.1));
        }
        // The least and the largest there can be.
        assert!(key(0, f64::MAX) < key(u64::MAX, smallest));
    }

    #[test]
    fn values_are_stable() {
        let found = [0, 1 << 60, 1 << 63, u64::MAX].map(|word| exponential(word).to_bits());
        assert_eq!(found, PINNED);
    }

    const PINNED: [u64; 4] = [
        4_314_448_443_020_935_168,
        4_589_314_911_219_104_262,
        4_604_418_534_313_441_775,
        4_631_537_683_870_917_335,
    ];
}
