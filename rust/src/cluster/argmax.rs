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
/// [`crate::Error::Value`] for the first logit that is NaN, infinite or beyond ±1e15.
pub fn softmax_argmax(logits: Matrix, workers: &Workers) -> Result<SoftmaxArgmax> {
    let (rows, columns) = (logits.rows(), logits.width());
    let mut labels = vec![0; rows];
    let mut confidence = vec![0.0; rows];
    let mut posterior = vec![0.0; rows * columns];
    let outputs = labels.chunks_mut(BLOCK).zip(confidence.chunks_mut(BLOCK));
    let tasks = outputs.zip(posterior.chunks_mut(BLOCK * columns)).enumerate();
    workers.try_for_each(tasks, |(block, ((labels, confidence), posterior))| {
        let mut values = Vec::new();
        let first = block * BLOCK;
        logits.read(first..first + labels.len(), &mut Vec::new(), &mut values)?;
        let outputs = labels.iter_mut().zip(confidence).zip(posterior.chunks_exact_mut(columns));
        for (row, ((label, confidence), posterior)) in values.chunks_exact(columns).zip(outputs) {
            *label = softmax(row, posterior);
            *confidence = posterior[*label as usize];
        }
        Ok(())
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
    use super::{SoftmaxArgmax, softmax_argmax};
    use crate::cluster::{Matrix, Values};
    use crate::{Result, Workers};

    fn label(logits: &[f32], num_threads: usize) -> Result<SoftmaxArgmax> {
        let logits = Matrix::new("logits", Values::F32(logits), 2)?;
        softmax_argmax(logits, &Workers::new(num_threads))
    }

    #[test]
    fn the_first_of_equal_logits_wins_and_posteriors_add_up() {
        let found = label(&[1.0, 1.0, 0.0, 3.0, -1e15, 1e15], 2).unwrap();
        assert_eq!(found.labels, [0, 1, 1]);
        assert_eq!(found.confidence, [0.5, found.posterior[3], 1.0]);
        assert!((found.posterior[3] - 1.0 / (1.0 + (-3.0_f32).exp())).abs() < 1e-7);
    }

    #[test]
    fn nan_and_infinity_name_row_and_column() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e15] {
            let error = label(&[0.0, 1.0, 0.0, bad], 1).unwrap_err().to_string();
            assert!(error.starts_with("logits[1, 1] is "), "{error}");
        }
        assert!(label(&[0.0, 1.0, 0.0], 1).is_err());
    }
}
