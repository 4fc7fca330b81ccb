//! A mixture of Gaussians, and its log densities.

use super::cholesky::inverse_factor;
use super::panel::{Column, PANEL, tile, tile_mut};
use crate::{Error, Result};

/// Points whose densities are added up in registers.
const TILE: usize = 8;

/// What form the covariances have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covariance {
    /// (W, W) for each component.
    Full,
    /// (W,) variances for each component.
    Diagonal,
}

impl Covariance {
    /// Numbers that a covariance has.
    #[must_use]
    pub fn len(self, width: usize) -> usize {
        match self {
            Self::Full => width * width,
            Self::Diagonal => width,
        }
    }

    /// Numbers that the factor of an inverse covariance has.
    fn factor_len(self, width: usize) -> usize {
        match self {
            Self::Full => width * (width + 1) / 2,
            Self::Diagonal => width,
        }
    }
}

/// k weighted Gaussians in W dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussians {
    /// Whether covariances are full or diagonal.
    pub form: Covariance,
    /// (k,) shares of the components, which add up to 1.
    pub weights: Vec<f64>,
    /// (k, W) means.
    pub means: Vec<f64>,
    /// (k, W, W) or (k, W) covariances.
    pub covariances: Vec<f64>,
}

impl Gaussians {
    /// What log densities are computed from.
    pub(super) fn densities(&self, reg_covar: f64) -> Result<Densities> {
        let width = self.means.len() / self.weights.len();
        let mut densities = Densities {
            form: self.form,
            width,
            constants: Vec::new(),
            means: self.means.clone(),
            factors: Vec::new(),
        };
        for (component, covariance) in
            self.covariances.chunks_exact(self.form.len(width)).enumerate()
        {
            let factor = match self.form {
                Covariance::Full => inverse_factor(covariance, width),
                Covariance::Diagonal => inverse_deviations(covariance),
            };
            let singular = || Error::Singular { component, reg_covar: reg_covar.to_string() };
            let factor = factor.ok_or_else(singular)?;
            let diagonal = (0..width).map(|j| match self.form {
                Covariance::Full => factor[j * (j + 1) / 2 + j],
                Covariance::Diagonal => factor[j],
            });
            let log_determinant: f64 = diagonal.map(f64::ln).sum();
            let two_pi = 2.0 * std::f64::consts::PI;
            densities.constants.push(
                self.weights[component].ln() + log_determinant - 0.5 * width as f64 * two_pi.ln(),
            );
            densities.factors.extend(factor);
        }
        Ok(densities)
    }
}

/// Gaussians ready to be evaluated.
pub(super) struct Densities {
    form: Covariance,
    width: usize,
    /// (k,) the logarithm of the weighted density at the mean.
    constants: Vec<f64>,
    /// (k, W).
    pub(super) means: Vec<f64>,
    /// For each component the rows of the lower triangle of the inverse Cholesky factor, or inverse deviations.
    factors: Vec<f64>,
}

impl Densities {
    pub(super) fn components(&self) -> usize {
        self.constants.len()
    }

    /// The logarithm of weight times density of each component (k, panel) at the points of a panel.
    #[inline(always)]
    pub(super) fn logs(&self, columns: &[Column<f64>], logs: &mut [Column<f64>]) {
        // Loops over so few columns are unrolled where their number is known.
        match self.width {
            1 => self.logs_of([[0.0; TILE]; 1], columns, logs),
            2 => self.logs_of([[0.0; TILE]; 2], columns, logs),
            3 => self.logs_of([[0.0; TILE]; 3], columns, logs),
            4 => self.logs_of([[0.0; TILE]; 4], columns, logs),
            8 => self.logs_of([[0.0; TILE]; 8], columns, logs),
            width => self.logs_of(vec![[0.0; TILE]; width], columns, logs),
        }
    }

    /// The same; `differences` is room for a tile of each column.
    #[inline(always)]
    fn logs_of(
        &self,
        mut differences: impl AsMut<[[f64; TILE]]>,
        columns: &[Column<f64>],
        logs: &mut [Column<f64>],
    ) {
        let differences = differences.as_mut();
        let (width, size) = (differences.len(), self.form.factor_len(differences.len()));
        let components = self.factors.chunks_exact(size).zip(self.means.chunks_exact(width));
        for ((log, constant), (factor, mean)) in
            logs.iter_mut().zip(&self.constants).zip(components)
        {
            for start in (0..PANEL).step_by(TILE) {
                for ((difference, column), m) in differences.iter_mut().zip(columns).zip(mean) {
                    *difference = tile(column, start).map(|x| x - m);
                }
                let squared = match self.form {
                    Covariance::Full => full_distance(factor, differences),
                    Covariance::Diagonal => diagonal_distance(factor, differences),
                };
                *tile_mut(log, start) = squared.map(|squared| constant - 0.5 * squared);
            }
        }
    }
}

#[inline(always)]
fn full_distance(factor: &[f64], differences: &[[f64; TILE]]) -> [f64; TILE] {
    let mut squared = [0.0; TILE];
    let mut row = 0;
    for j in 0..differences.len() {
        let mut y = [0.0; TILE];
        for (f, difference) in factor[row..=row + j].iter().zip(differences) {
            for lane in 0..TILE {
                y[lane] += f * difference[lane];
            }
        }
        for lane in 0..TILE {
            squared[lane] += y[lane] * y[lane];
        }
        row += j + 1;
    }
    squared
}

#[inline(always)]
fn diagonal_distance(factor: &[f64], differences: &[[f64; TILE]]) -> [f64; TILE] {
    let mut squared = [0.0; TILE];
    for (f, difference) in factor.iter().zip(differences) {
        for lane in 0..TILE {
            let y = f * difference[lane];
            squared[lane] += y * y;
        }
    }
    squared
}

fn inverse_deviations(variances: &[f64]) -> Option<Vec<f64>> {
    let fits = |variance: &f64| *variance > 0.0 && (1.0 / variance).is_finite();
    variances.iter().all(fits).then(|| variances.iter().map(|v| 1.0 / v.sqrt()).collect())
}

#[cfg(test)]
mod tests {
    use super::{Covariance, Gaussians, PANEL};

    #[test]
    fn log_densities_are_those_of_the_formula() {
        let full = Gaussians {
            form: Covariance::Full,
            weights: vec![1.0],
            means: vec![1.0, -1.0],
            covariances: vec![2.0, 0.6, 0.6, 1.0],
        };
        let (x, y) = (0.5, 2.0);
        let determinant: f64 = 2.0 - 0.36;
        let squared = (1.0 * x * x - 2.0 * 0.6 * x * y + 2.0 * y * y) / determinant;
        let expected = -(2.0 * std::f64::consts::PI).ln() - 0.5 * determinant.ln() - 0.5 * squared;
        let mut logs = [[0.0; PANEL]];
        full.densities(0.0).unwrap().logs(&[[1.0 + x; PANEL], [-1.0 + y; PANEL]], &mut logs);
        assert!((logs[0][77] - expected).abs() < 1e-12);
        let diagonal =
            Gaussians { form: Covariance::Diagonal, covariances: vec![4.0, 0.25], ..full };
        let expected = -(2.0 * std::f64::consts::PI).ln() - 0.5 * (x * x / 4.0 + y * y / 0.25);
        diagonal.densities(0.0).unwrap().logs(&[[1.0 + x; PANEL], [-1.0 + y; PANEL]], &mut logs);
        assert!((logs[0][0] - expected).abs() < 1e-12);
    }

    #[test]
    fn singular_covariances_are_refused() {
        for covariance in [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 2.0, 1.0], [0.0; 4], [f64::NAN; 4]] {
            let form = Covariance::Full;
            let (weights, means) = (vec![1.0], vec![0.0; 2]);
            let one = Gaussians { form, weights, means, covariances: covariance.to_vec() };
            let message = one.densities(0.0).err().unwrap().to_string();
            assert!(message.starts_with("the covariance of component 0 is singular"), "{message}");
        }
    }
}
