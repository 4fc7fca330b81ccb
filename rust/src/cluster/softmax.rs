//! Posteriors from scores.

/// Write the softmax of `scores`. A score of minus infinity gets 0; one at least must be finite.
pub(super) fn softmax(scores: &[f64], posterior: &mut [f32]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
    for (p, score) in posterior.iter_mut().zip(scores) {
        *p = ((score - largest).exp() / total) as f32;
    }
}
