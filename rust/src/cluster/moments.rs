//! What the M step needs of the points: mass, first and second moments of each component. They are
//! taken about the component's present mean, where nothing cancels.

use std::array::from_fn;

use super::gaussians::Covariance;
use super::panel::{Column, PANEL, tile};

/// Points that are added up side by side.
const TILE: usize = 8;
type Lanes = [f64; TILE];
/// Columns that are multiplied by one at the same time.
const GROUP: usize = 4;

/// Sums over the points of a block, or of all blocks, for k components in W dimensions.
pub(super) struct Moments {
    form: Covariance,
    width: usize,
    /// For each component: Σr, Σr·d for each column, and Σr·d·dᵀ (lower triangle by rows, or diagonal).
    sums: Vec<f64>,
    /// The sum of the points' log likelihoods.
    pub(super) log_likelihood: f64,
}

/// Moments of a block while it is added up, in lanes.
pub(super) struct MomentLanes {
    form: Covariance,
    sums: Vec<Lanes>,
    differences: Vec<Column<f64>>,
    weighted: Column<f64>,
}

/// How many sums a component has.
fn sums_of_component(form: Covariance, width: usize) -> usize {
    match form {
        Covariance::Full => 1 + width + width * (width + 1) / 2,
        Covariance::Diagonal => 1 + 2 * width,
    }
}

impl MomentLanes {
    pub(super) fn new(form: Covariance, components: usize, width: usize) -> Self {
        Self {
            form,
            sums: vec![[0.0; TILE]; components * sums_of_component(form, width)],
            differences: vec![[0.0; PANEL]; width],
            weighted: [0.0; PANEL],
        }
    }

    /// Add the points of a panel, with posteriors (k, panel), which are 0 beyond the last point.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        columns: &[Column<f64>],
        posteriors: &[Column<f64>],
        means: &[f64],
    ) {
        let width = columns.len();
        let components = self.sums.chunks_exact_mut(sums_of_component(self.form, width));
        for ((sums, posterior), mean) in components.zip(posteriors).zip(means.chunks_exact(width)) {
            for ((difference, column), m) in self.differences.iter_mut().zip(columns).zip(mean) {
                *difference = column.map(|x| x - m);
            }
            let (mass, rest) = sums.split_at_mut(1);
            let (first, mut second) = rest.split_at_mut(width);
            add_sum(posterior, &mut mass[0]);
            for (i, first) in first.iter_mut().enumerate() {
                let weighted = self.weighted.iter_mut().zip(posterior);
                for ((weighted, r), difference) in weighted.zip(&self.differences[i]) {
                    *weighted = r * difference;
                }
                add_sum(&self.weighted, first);
                let others = match self.form {
                    Covariance::Full => 0..i + 1,
                    Covariance::Diagonal => i..i + 1,
                };
                let (row, below) = second.split_at_mut(others.len());
                let others = &self.differences[others];
                for (sums, others) in row.chunks_mut(GROUP).zip(others.chunks(GROUP)) {
                    match (sums, others) {
                        ([a, b, c, d], [e, f, g, h]) => {
                            add_products(&self.weighted, [e, f, g, h], [a, b, c, d]);
                        }
                        ([a, b, c], [e, f, g]) => {
                            add_products(&self.weighted, [e, f, g], [a, b, c]);
                        }
                        ([a, b], [e, f]) => add_products(&self.weighted, [e, f], [a, b]),
                        ([a], [e]) => add_products(&self.weighted, [e], [a]),
                        _ => unreachable!("groups are of 1 to 4"),
                    }
                }
                second = below;
            }
        }
    }

    pub(super) fn finish(self, width: usize, log_likelihood: f64) -> Moments {
        let sums = self.sums.iter().map(|lanes| lanes.iter().sum()).collect();
        Moments { form: self.form, width, sums, log_likelihood }
    }
}

#[inline(always)]
fn add_sum(values: &Column<f64>, sum: &mut Lanes) {
    let mut lanes = *sum;
    for values in values.chunks_exact(TILE) {
        for lane in 0..TILE {
            lanes[lane] += values[lane];
        }
    }
    *sum = lanes;
}

/// Add x·y for several y at once: x is read once, and the additions of one needn't wait for another's.
#[inline(always)]
fn add_products<const N: usize>(x: &Column<f64>, ys: [&Column<f64>; N], sums: [&mut Lanes; N]) {
    let mut lanes: [Lanes; N] = from_fn(|n| *sums[n]);
    for start in (0..PANEL).step_by(TILE) {
        let x: &Lanes = tile(x, start);
        for n in 0..N {
            let y: &Lanes = tile(ys[n], start);
            for lane in 0..TILE {
                lanes[n][lane] += x[lane] * y[lane];
            }
        }
    }
    sums.into_iter().zip(lanes).for_each(|(sum, lanes)| *sum = lanes);
}

impl Moments {
    pub(super) fn none(form: Covariance, components: usize, width: usize) -> Self {
        MomentLanes::new(form, components, width).finish(width, 0.0)
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
        let shift: Vec<f64> = sums[1..=width].iter().map(|sum| sum / mass).collect();
        let mut second = sums[width + 1..].iter();
        let mut covariance = vec![0.0; self.form.len(width)];
        for i in 0..width {
            match self.form {
                Covariance::Diagonal => {
                    let sum = second.next().unwrap_or(&0.0);
                    covariance[i] = (sum / mass - shift[i] * shift[i]).max(0.0);
                }
                Covariance::Full => {
                    for (j, sum) in (0..=i).zip(&mut second) {
                        let value = sum / mass - shift[i] * shift[j];
                        covariance[i * width + j] = value;
                        covariance[j * width + i] = value;
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
    use super::{Covariance, MomentLanes, PANEL};

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
