//! The exponential function as plain code that the compiler vectorises: the same bits on every
//! processor, unlike a library's.

/// log₂ e, and ln 2 in two parts: the first has so few bits that its product with an exponent is exact.
const LOG2_E: f64 = std::f64::consts::LOG2_E;
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Adding this rounds to an integer, which then stands in the lowest bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Below this the result is 0: it would be smaller than any normal number.
const LEAST: f64 = -708.0;

/// e to the power of x ≤ 0, within 2⁻⁵¹ relative; 0 below -708 and at -∞; never above 1.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    let clamped = if x > LEAST { x } else { LEAST };
    let shifted = clamped * LOG2_E + ROUND;
    let exponent = shifted - ROUND;
    let r = (clamped - exponent * LN_2_HIGH) - exponent * LN_2_LOW;
    // Taylor's series of e^r for |r| ≤ ln 2 / 2, in Estrin's order: the next term is below 5e-18.
    let (r2, r4) = (r * r, (r * r) * (r * r));
    let low = (1.0 + r) + r2 * (1.0 / 2.0 + r * (1.0 / 6.0));
    let middle = (1.0 / 24.0 + r * (1.0 / 120.0)) + r2 * (1.0 / 720.0 + r * (1.0 / 5_040.0));
    let high = (1.0 / 40_320.0 + r * (1.0 / 362_880.0))
        + r2 * (1.0 / 3_628_800.0 + r * (1.0 / 39_916_800.0));
    let highest = 1.0 / 479_001_600.0 + r * (1.0 / 6_227_020_800.0);
    let mantissa = low + r4 * (middle + r4 * (high + r4 * highest));
    let power = f64::from_bits((shifted.to_bits().wrapping_add(1023)) << 52);
    let found = mantissa * power;
    let found = if found < 1.0 { found } else { 1.0 };
    if x > LEAST { found } else { 0.0 }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::exp;
    use crate::random::{Purpose, Stream};

    #[test]
    fn it_is_the_exponential_function_within_its_bound() {
        let stream = Stream::new(1, Purpose::KMeans, 0);
        let scales = [1e-12, 1e-3, 0.4, 30.0, 708.0];
        for i in 0..100_000 {
            let x = -stream.unit(i) * scales[(i % 5) as usize];
            let (found, expected) = (exp(x), x.exp());
            assert!(
                (found - expected).abs() <= expected * 2_f64.powi(-51),
                "{x} {found} {expected}"
            );
            assert!(found <= 1.0);
        }
    }

    #[test]
    fn its_ends_are_exact() {
        assert_eq!([exp(0.0), exp(-0.0), exp(-5e-324)], [1.0; 3]);
        assert_eq!([exp(-708.1), exp(f64::MIN), exp(f64::NEG_INFINITY)], [0.0; 3]);
    }
}
