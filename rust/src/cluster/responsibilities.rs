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
    let (mut totals, mut products) = ([0.0; TILE], [1.0_f64; TILE]);
    for start in (0..PANEL).step_by(TILE) {
        let mut largest = [f64::NEG_INFINITY; TILE];
        for log in &*logs {
            for (largest, &value) in largest.iter_mut().zip(&log[start..start + TILE]) {
                *largest = if value > *largest { value } else { *largest };
            }
        }
        let mut sums = [0.0; TILE];
        for log in &mut *logs {
            let log = &mut log[start..start + TILE];
            for lane in 0..TILE {
                log[lane] = exp(log[lane] - largest[lane]);
                sums[lane] += log[lane];
            }
        }
        let mut scales = [0.0; TILE];
        for lane in 0..TILE {
            let counts = start + lane < rows;
            scales[lane] = if counts { 1.0 / sums[lane] } else { 0.0 };
            products[lane] *= if counts { sums[lane] } else { 1.0 };
            totals[lane] += if counts { largest[lane] } else { 0.0 };
        }
        for log in &mut *logs {
            for (value, scale) in log[start..start + TILE].iter_mut().zip(&scales) {
                *value *= scale;
            }
        }
    }
    totals.iter().zip(&products).map(|(total, product)| total + product.ln()).sum()
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
