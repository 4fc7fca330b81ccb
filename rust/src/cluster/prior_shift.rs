//! How common each attribute is, by what CLIP says of all rows together.

use super::points::Buffers;
use super::softmax::softmax;
use super::{BLOCK, Points};
use crate::{Error, Result, Workers};

/// Rows from which proportions are estimated at most: their standard error is then below 0.0003.
const MOST_ROWS: usize = 1 << 22;

/// What [`estimate_proportions`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Proportions {
    /// (A,) they add up to 1.
    pub proportions: Vec<f64>,
    /// How often they were improved.
    pub iterations: usize,
    /// Whether the last step was within the tolerance.
    pub converged: bool,
}

/// The proportions of A attributes under which the logits are most likely, if their softmax is the
/// posterior under equal proportions: expectation maximisation for a shift of priors (Saerens,
/// Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities",
/// Neural Computation 14, 2002). Ends when no proportion moves by more than `tolerance`.
///
/// From at most 2²² evenly spread rows, 4 bytes a logit of which are kept. O(N·A) an iteration.
///
/// # Errors
/// [`Error::Value`] for the first logit seen that is NaN, infinite or beyond ±1e15;
/// [`Error::Scalar`] if there is no row or `max_iter` is 0.
pub fn estimate_proportions(
    points: Points,
    tolerance: f64,
    max_iter: usize,
    workers: &Workers,
) -> Result<Proportions> {
    for (argument, value) in [("the number of points", points.len()), ("max_iter", max_iter)] {
        if value == 0 {
            return Err(Error::Scalar { argument, found: "0".into(), expected: "at least 1" });
        }
    }
    let columns = points.width();
    let posterior = equal_prior_posterior(points.sample(MOST_ROWS), workers)?;
    let mut found = Proportions {
        proportions: vec![1.0 / columns as f64; columns],
        iterations: 0,
        converged: false,
    };
    while found.iterations < max_iter && !found.converged {
        let next = mean_posterior(&posterior, &found.proportions, workers)?;
        let moves = next.iter().zip(&found.proportions).map(|(new, old)| (new - old).abs());
        found.converged = moves.fold(0.0, f64::max) <= tolerance;
        found.iterations += 1;
        found.proportions = next;
    }
    Ok(found)
}

fn equal_prior_posterior(points: Points, workers: &Workers) -> Result<Vec<f32>> {
    let columns = points.width();
    let mut posterior = vec![0.0; points.len() * columns];
    workers.try_for_each(posterior.chunks_mut(BLOCK * columns).enumerate(), |(block, out)| {
        let mut scores = vec![0.0; columns];
        for (row, out) in points
            .read(block, &mut Buffers::default())?
            .chunks_exact(columns)
            .zip(out.chunks_exact_mut(columns))
        {
            scores.iter_mut().zip(row).for_each(|(score, value)| *score = f64::from(*value));
            softmax(&scores, out);
        }
        Ok(())
    })?;
    Ok(posterior)
}

/// (A,) mean over the rows of the posterior under `proportions`.
fn mean_posterior(posterior: &[f32], proportions: &[f64], workers: &Workers) -> Result<Vec<f64>> {
    let columns = proportions.len();
    let blocks = posterior.chunks(BLOCK * columns);
    let mut parts = vec![vec![0.0; columns]; blocks.len()];
    workers.for_each(blocks.zip(&mut parts), |(block, sums): (&[f32], &mut Vec<f64>)| {
        let mut joint = vec![0.0; columns];
        for row in block.chunks_exact(columns) {
            joint
                .iter_mut()
                .zip(row)
                .zip(proportions)
                .for_each(|((j, p), w)| *j = f64::from(*p) * w);
            let total: f64 = joint.iter().sum();
            // None of the attributes that are left explains the row: it says nothing.
            if total > 0.0 {
                sums.iter_mut().zip(&joint).for_each(|(sum, j)| *sum += j / total);
            }
        }
    })?;
    let mut sums = vec![0.0; columns];
    for part in &parts {
        sums.iter_mut().zip(part).for_each(|(sum, n)| *sum += n);
    }
    let total: f64 = sums.iter().sum();
    Ok(sums.into_iter().map(|sum| sum / total).collect())
}

#[cfg(test)]
mod tests {
    use super::estimate_proportions;
    use crate::Workers;
    use crate::cluster::{Matrix, Points, Values};

    #[test]
    fn sure_rows_are_counted() {
        let values = [9.0, -90.0, 7.0, -80.0, -50.0, 50.0, 60.0, 0.0];
        let points =
            Points::new(Matrix::new("logits", Values::F32(&values), 2).unwrap(), None).unwrap();
        let found = estimate_proportions(points, 1e-9, 50, &Workers::new(1)).unwrap();
        assert!(found.converged);
        assert!((found.proportions[0] - 0.75).abs() < 1e-9, "{found:?}");
        assert!(estimate_proportions(points, 1e-9, 0, &Workers::new(1)).is_err());
    }

    #[test]
    fn an_attribute_that_nothing_speaks_for_dies_out() {
        let values = [1.0, 0.0].repeat(5000);
        let points =
            Points::new(Matrix::new("logits", Values::F32(&values), 2).unwrap(), None).unwrap();
        let found = estimate_proportions(points, 1e-12, 500, &Workers::new(1)).unwrap();
        assert!(found.proportions[1] < 1e-9, "{found:?}");
        assert_eq!(found, estimate_proportions(points, 1e-12, 500, &Workers::new(3)).unwrap());
    }
}
