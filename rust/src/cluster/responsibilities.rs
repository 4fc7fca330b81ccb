//! From log densities to posteriors, in log space: nothing overflows, and the largest posterior is exact.

use super::exp::exp;
use super::panel::{Column, PANEL};

/// Points that go through side by side. Sums of so many exponentials are multiplied before one
/// logarithm is taken of all: [`PANEL`] / `TILE` factors between 1 and k.
const TILE: usize = 8;

/// Turn the log densities (k, panel) of the first `rows` points into posteriors, those of the points
/// beyond into 0, and return the sum of the points' log-sum-exp.
#[inline(always)]
pub(super) fn normalise(logs: &mut [Column<f64>], rows: usize) -> f64 {
    let mut total = 0.0;
    let mut products = [1.0; TILE];
    for start in (0..PANEL).step_by(TILE) {
        let mut largest = [f64::NEG_INFINITY; TILE];
        for log in &*logs {
            for lane in 0..TILE {
                let value = log[start + lane];
                largest[lane] = if value > largest[lane] { value } else { largest[lane] };
            }
        }
        let mut sums = [0.0; TILE];
        for log in &mut *logs {
            for lane in 0..TILE {
                let value = exp(log[start + lane] - largest[lane]);
                log[start + lane] = value;
                sums[lane] += value;
            }
        }
        let mut scale = [0.0; TILE];
        for lane in 0..TILE {
            let counts = start + lane < rows;
            scale[lane] = if counts { 1.0 / sums[lane] } else { 0.0 };
            products[lane] *= if counts { sums[lane] } else { 1.0 };
            total += if counts { largest[lane] } else { 0.0 };
        }
        for log in &mut *logs {
            for lane in 0..TILE {
                log[start + lane] *= scale[lane];
            }
        }
    }
    total + products.iter().map(|product| product.ln()).sum::<f64>()
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::{PANEL, normalise};

    #[test]
    fn posteriors_add_up_and_the_likelihood_is_log_sum_exp() {
        let mut logs = [[-1e300; PANEL]; 3];
        for (i, row) in
            [[0.0, -1.0, -2.0], [-1e4, -1e4, -1e9], [700.0, 0.0, 701.0]].iter().enumerate()
        {
            (0..3).for_each(|c| logs[c][i] = row[c]);
        }
        let total = normalise(&mut logs, 3);
        let first = (1.0_f64 + (-1.0_f64).exp() + (-2.0_f64).exp()).ln();
        let third = 701.0 + (1.0 + (-1.0_f64).exp()).ln();
        assert!((total - (first - 1e4 + 2.0_f64.ln() + third)).abs() < 1e-9);
        assert_eq!([logs[0][1], logs[1][1], logs[2][1]], [0.5, 0.5, 0.0]);
        for i in 0..3 {
            assert!((logs.iter().map(|log| log[i]).sum::<f64>() - 1.0).abs() < 1e-15);
        }
        assert!(logs.iter().all(|log| log[3..].iter().all(|p| *p == 0.0)));
    }
}
