//! Inverses of covariances, which are symmetric and positive definite, or refused.

/// The rows of the lower triangle of L⁻¹, for a covariance L·Lᵀ; none if it isn't positive definite.
pub(super) fn inverse_factor(covariance: &[f64], width: usize) -> Option<Vec<f64>> {
    let lower = cholesky(covariance, width)?;
    let mut inverse = vec![0.0; width * (width + 1) / 2];
    let at = |row: usize, column: usize| row * (row + 1) / 2 + column;
    for row in 0..width {
        let pivot = lower[at(row, row)];
        for column in 0..row {
            let sum: f64 = (column..row).map(|i| lower[at(row, i)] * inverse[at(i, column)]).sum();
            inverse[at(row, column)] = -sum / pivot;
        }
        inverse[at(row, row)] = 1.0 / pivot;
    }
    inverse.iter().all(|x| x.is_finite()).then_some(inverse)
}

/// The rows of the lower triangle of L, for a covariance L·Lᵀ; none if it isn't positive definite.
fn cholesky(covariance: &[f64], width: usize) -> Option<Vec<f64>> {
    let mut lower = vec![0.0; width * (width + 1) / 2];
    // As much as rounding leaves of a variance that the columns before explain.
    let least = 4.0 * width as f64 * f64::EPSILON;
    for row in 0..width {
        let start = row * (row + 1) / 2;
        for column in 0..=row {
            let other = column * (column + 1) / 2;
            let dot: f64 = (0..column).map(|i| lower[start + i] * lower[other + i]).sum();
            let rest = covariance[row * width + column] - dot;
            lower[start + column] = if column < row {
                rest / lower[other + column]
            } else if rest > covariance[row * width + row] * least && rest.is_finite() {
                rest.sqrt()
            } else {
                return None;
            };
        }
    }
    Some(lower)
}

/// The symmetric positive definite matrix whose inverse this is; none if there is none.
pub(super) fn inverse(matrix: &[f64], width: usize) -> Option<Vec<f64>> {
    let factor = inverse_factor(matrix, width)?;
    let at = |row: usize, column: usize| factor[row * (row + 1) / 2 + column];
    let entry = |i: usize, j: usize| (i.max(j)..width).map(|row| at(row, i) * at(row, j)).sum();
    Some((0..width * width).map(|position| entry(position / width, position % width)).collect())
}

#[cfg(test)]
mod tests {
    use super::inverse;

    #[test]
    fn the_inverse_is_the_inverse() {
        let found = inverse(&[2.0, 0.6, 0.6, 1.0], 2).unwrap();
        for (found, expected) in found.iter().zip([1.0, -0.6, -0.6, 2.0]) {
            assert!((found - expected / 1.64).abs() < 1e-15);
        }
    }
}
