//! What the M step needs of the points: mass, first and second moments of each component. They are
//! taken about the component's present mean, where nothing cancels.

use super::gaussians::Covariance;

/// Sums over the points of a block, or of all blocks, for k components in W dimensions.
pub(super) struct Moments {
    form: Covariance,
    width: usize,
    /// For each component, with e = (1, d), the lower triangle of Σr·e·eᵀ by rows; or, for a diagonal
    /// covariance, Σr·e and Σr·e² in turns.
    sums: Vec<f64>,
    /// The sum of the points' log likelihoods.
    pub(super) log_likelihood: f64,
}

/// How many sums a component has.
pub(super) fn sums_of_component(form: Covariance, width: usize) -> usize {
    match form {
        Covariance::Full => (width + 1) * (width + 2) / 2,
        Covariance::Diagonal => 2 * (width + 1),
    }
}

impl Moments {
    /// `sums` as the field has them.
    pub(super) fn new(form: Covariance, width: usize, sums: Vec<f64>, log_likelihood: f64) -> Self {
        Self { form, width, sums, log_likelihood }
    }

    pub(super) fn none(form: Covariance, components: usize, width: usize) -> Self {
        Self::new(form, width, vec![0.0; components * sums_of_component(form, width)], 0.0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.log_likelihood += other.log_likelihood;
    }

    /// Σr of each component.
    pub(super) fn masses(&self) -> impl Iterator<Item = f64> + '_ {
        self.sums.chunks_exact(sums_of_component(self.form, self.width)).map(|sums| sums[0])
    }

    /// The mean of a component that has mass, and its covariance in the form of [`Covariance::len`]
    /// numbers; `mean` is where the moments were taken.
    pub(super) fn mean_and_covariance(
        &self,
        component: usize,
        mean: &[f64],
    ) -> (Vec<f64>, Vec<f64>) {
        let width = self.width;
        let size = sums_of_component(self.form, width);
        let sums = &self.sums[component * size..][..size];
        let mass = sums[0];
        let place = |row: usize, column: usize| match self.form {
            Covariance::Full => row * (row + 1) / 2 + column,
            Covariance::Diagonal => 2 * row + usize::from(column > 0),
        };
        let shift: Vec<f64> = (1..=width).map(|i| sums[place(i, 0)] / mass).collect();
        let moment = |i: usize, j: usize| sums[place(i + 1, j + 1)] / mass - shift[i] * shift[j];
        let mut covariance = vec![0.0; self.form.len(width)];
        for i in 0..width {
            match self.form {
                Covariance::Diagonal => covariance[i] = moment(i, i).max(0.0),
                Covariance::Full => {
                    for j in 0..=i {
                        covariance[i * width + j] = moment(i, j);
                        covariance[j * width + i] = moment(i, j);
                    }
                }
            }
        }
        (mean.iter().zip(&shift).map(|(m, s)| m + s).collect(), covariance)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use crate::cluster::gaussians::Covariance;
    use crate::cluster::moment_lanes::MomentLanes;
    use crate::cluster::panel::PANEL;

    #[test]
    fn weighted_mean_and_covariance_come_back() {
        let mut columns = [[0.0; PANEL]; 2];
        let mut posteriors = [[0.0; PANEL]];
        let points = [[100.0, 1.0], [102.0, 0.0], [104.0, 2.0]];
        for (i, point) in points.iter().enumerate() {
            (columns[0][i], columns[1][i]) = (point[0], point[1]);
            posteriors[0][i] = [1.0, 2.0, 1.0][i];
        }
        for (form, expected) in [
            (Covariance::Full, vec![2.0, 0.5, 0.5, 0.6875]),
            (Covariance::Diagonal, vec![2.0, 0.6875]),
        ] {
            let mut lanes = MomentLanes::new(form, 1, 2);
            lanes.add(&columns, &posteriors, &[99.0, 5.0]);
            let moments = lanes.finish(2, 0.0);
            assert_eq!(moments.masses().collect::<Vec<_>>(), [4.0]);
            let (mean, covariance) = moments.mean_and_covariance(0, &[99.0, 5.0]);
            assert_eq!((mean, covariance), (vec![102.0, 0.75], expected));
        }
    }
}
