//! Zero-shot labels: the attribute with the largest logit, and how sure CLIP is of it.

use super::{BLOCK, Matrix};
use crate::{Result, Workers};

/// What [`softmax_argmax`] returns, for N rows of A logits.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftmaxArgmax {
    /// (N,) column of the largest logit, the first of equals.
    pub labels: Vec<i64>,
    /// (N, A) softmax of each row.
    pub posterior: Vec<f32>,
    /// (N,) posterior of the label.
    pub confidence: Vec<f32>,
}

/// Softmax and arg-max of each row of `columns` logits. Exponentials and sums are float64. O(N·A).
///
/// # Errors
/// [`crate::Error::Value`] for the first logit that is NaN, infinite or beyond ±1e15;
/// [`crate::Error::Scalar`] if `columns` is 0 or doesn't divide the number of logits.
pub fn softmax_argmax(logits: &[f32], columns: usize, workers: &Workers) -> Result<SoftmaxArgmax> {
    let logits = Matrix::new("logits", logits, columns)?;
    let mut labels = vec![0; logits.rows()];
    let mut confidence = vec![0.0; logits.rows()];
    let mut posterior = vec![0.0; logits.values.len()];
    let outputs = labels.chunks_mut(BLOCK).zip(confidence.chunks_mut(BLOCK));
    let tasks = outputs.zip(posterior.chunks_mut(BLOCK * columns)).enumerate();
    workers.for_each(tasks, |(block, ((labels, confidence), posterior))| {
        let rows = logits.block(block).values.chunks_exact(columns);
        let outputs = labels.iter_mut().zip(confidence).zip(posterior.chunks_exact_mut(columns));
        for (row, ((label, confidence), posterior)) in rows.zip(outputs) {
            *label = softmax(row, posterior);
            *confidence = posterior[*label as usize];
        }
    })?;
    Ok(SoftmaxArgmax { labels, posterior, confidence })
}

/// Write the softmax of `row` and return its arg-max.
fn softmax(row: &[f32], posterior: &mut [f32]) -> i64 {
    let mut label = 0;
    for (column, value) in row.iter().enumerate() {
        if *value > row[label] {
            label = column;
        }
    }
    let exponential = |value: f32| (f64::from(value) - f64::from(row[label])).exp();
    let total: f64 = row.iter().map(|value| exponential(*value)).sum();
    for (p, value) in posterior.iter_mut().zip(row) {
        *p = (exponential(*value) / total) as f32;
    }
    label as i64
}

#[cfg(test)]
mod tests {
    use super::softmax_argmax;
    use crate::Workers;

    #[test]
    fn the_first_of_equal_logits_wins_and_posteriors_add_up() {
        let found =
            softmax_argmax(&[1.0, 1.0, 0.0, 3.0, -1e15, 1e15], 2, &Workers::new(2)).unwrap();
        assert_eq!(found.labels, [0, 1, 1]);
        assert_eq!(found.confidence, [0.5, found.posterior[3], 1.0]);
        assert!((found.posterior[3] - 1.0 / (1.0 + (-3.0_f32).exp())).abs() < 1e-7);
    }

    #[test]
    fn nan_and_infinity_name_row_and_column() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e15] {
            let error =
                softmax_argmax(&[0.0, 1.0, 0.0, bad], 2, &Workers::new(1)).unwrap_err().to_string();
            assert!(error.starts_with("logits[1, 1] is "), "{error}");
        }
        assert!(softmax_argmax(&[0.0, 1.0, 0.0], 2, &Workers::new(1)).is_err());
    }
}
