//! What one sample of each group weighs: the self-adjusting weights of Debiased Prompt Tuning
//! (Jiang et al., arXiv 2503.08368).

use super::counts::GroupCounts;
use crate::error::shown;
use crate::{Error, Result};

/// Group weights w, adjusted from how well each group is predicted:
///
/// ```text
/// target_g ∝ (1 / N_g) · exp(η · (1 − p̄_g))     over the groups observed since the last step
/// w_g      ← w_g + (1 − m) · (target_g − w_g)
/// ```
///
/// The target carries the same total Σ N_g·w_g as the groups it replaces, so Σ N_g·w_g = Σ N_g
/// always. Weights start at the target for η = 0 and with η = 0 never move by a bit. A group that
/// was not observed keeps its weight; an empty group weighs 0.
#[derive(Debug, Clone)]
pub struct GroupWeights {
    eta: f64,
    momentum: f64,
    counts: GroupCounts,
    /// The weights for η = 0, (Σ N / number of non-empty groups) / N_g.
    balanced: Vec<f64>,
    state: GroupWeightsState,
}

/// Everything that changes in [`GroupWeights`]; each vector has one element for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupWeightsState {
    /// What one sample of the group weighs.
    pub group_weights: Vec<f64>,
    /// Mean probability of the true class at the last step that observed the group, or NaN.
    pub mean_p_true: Vec<f64>,
}

impl GroupWeights {
    /// Weights at their balanced start for groups of these sizes (fractional under soft membership).
    ///
    /// # Errors
    /// [`Error::Element`] for a count that is negative or not finite; [`Error::Scalar`] if all are
    /// 0, if `eta` is negative or not finite, or if `momentum` is outside [0, 1].
    pub fn new(counts: &[f64], eta: f64, momentum: f64) -> Result<Self> {
        let counts = GroupCounts::new(counts)?;
        if !eta.is_finite() || eta < 0.0 {
            return Err(scalar("eta", eta, "a finite number, 0 or above"));
        }
        if !(0.0..=1.0).contains(&momentum) {
            return Err(scalar("momentum", momentum, "a number from 0 to 1"));
        }
        let mass = counts.total() / counts.iter().filter(|n| *n > 0.0).count() as f64;
        let balanced: Vec<f64> =
            counts.iter().map(|n| if n > 0.0 { mass / n } else { 0.0 }).collect();
        let state = GroupWeightsState {
            group_weights: balanced.clone(),
            mean_p_true: vec![f64::NAN; counts.len()],
        };
        Ok(Self { eta, momentum, counts, balanced, state })
    }

    /// Move the weights towards the target of p̄ (G,), NaN for a group that was not observed. O(G).
    pub fn step(&mut self, mean_p_true: &[f64]) {
        let state = &mut self.state;
        let seen: Vec<usize> =
            (0..self.balanced.len()).filter(|&g| !mean_p_true[g].is_nan()).collect();
        for &g in &seen {
            state.mean_p_true[g] = mean_p_true[g];
        }
        // Measured from the worst group, so that a large η cannot overflow.
        let worst = seen.iter().map(|&g| mean_p_true[g]).fold(f64::INFINITY, f64::min);
        let factors: Vec<f64> =
            seen.iter().map(|&g| (self.eta * (worst - mean_p_true[g])).exp()).collect();
        // In units of the balanced weight every group has the same mass, and equal groups stay
        // exactly equal: 1 is a fixed point in floating point too.
        let relative: Vec<f64> =
            seen.iter().map(|&g| state.group_weights[g] / self.balanced[g]).collect();
        let (mass, norm) = (mean(&relative), mean(&factors));
        for (&g, factor) in seen.iter().zip(&factors) {
            let target = self.balanced[g] * (mass * (factor / norm));
            state.group_weights[g] += (1.0 - self.momentum) * (target - state.group_weights[g]);
        }
    }

    /// The current weights and means.
    #[must_use]
    pub fn state(&self) -> &GroupWeightsState {
        &self.state
    }

    /// Continue from a saved state, bit for bit.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Element`] if the state isn't one of these groups; the present
    /// state is kept then.
    pub fn load_state(&mut self, state: GroupWeightsState) -> Result<()> {
        let finite = "a finite number, 0 or above";
        self.counts.check("group_weights", &state.group_weights, finite, |_, w| {
            w.is_finite() && w >= 0.0
        })?;
        let probability = "NaN or a number from 0 to 1";
        self.counts.check("mean_p_true", &state.mean_p_true, probability, |_, p| {
            p.is_nan() || (0.0..=1.0).contains(&p)
        })?;
        self.state = state;
        Ok(())
    }
}

/// The mean, measured from the first value: exact when all values are equal.
fn mean(values: &[f64]) -> f64 {
    let Some(&first) = values.first() else { return f64::NAN };
    first + values.iter().map(|v| v - first).sum::<f64>() / values.len() as f64
}

fn scalar(argument: &'static str, found: f64, expected: &'static str) -> Error {
    Error::Scalar { argument, found: shown(found), expected }
}

#[cfg(test)]
mod tests {
    use super::{GroupWeights, GroupWeightsState};

    const NAN: f64 = f64::NAN;
    const COUNTS: [f64; 5] = [3498.0, 184.0, 0.0, 56.0, 1057.0];

    fn total(weights: &GroupWeights) -> f64 {
        COUNTS.iter().zip(&weights.state().group_weights).map(|(n, w)| n * w).sum()
    }

    #[test]
    fn eta_zero_never_moves_a_bit() {
        let mut weights = GroupWeights::new(&COUNTS, 0.0, 0.3).unwrap();
        let start = weights.state().group_weights.clone();
        for p in [[0.37, 0.1, NAN, 0.9, 0.2], [NAN, NAN, NAN, 0.4, NAN], [NAN; 5]] {
            weights.step(&p);
            assert_eq!(weights.state().group_weights, start);
        }
    }

    #[test]
    fn the_total_is_kept_and_worse_groups_weigh_more() {
        let mut weights = GroupWeights::new(&COUNTS, 2.0, 0.5).unwrap();
        let start = weights.state().group_weights.clone();
        for _ in 0..50 {
            weights.step(&[0.9, 0.4, NAN, 0.1, 0.8]);
            assert!((total(&weights) / COUNTS.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        let found = &weights.state().group_weights;
        assert!(found[3] > start[3] && found[0] < start[0]);
        assert_eq!(found[2].to_bits(), 0.0_f64.to_bits());
        let ratio = (found[3] * 56.0) / (found[0] * 3498.0);
        assert!((ratio - (2.0_f64 * 0.8).exp()).abs() < 1e-9);
        assert!(weights.state().mean_p_true[2].is_nan());
    }

    #[test]
    fn a_group_that_was_not_observed_keeps_its_weight() {
        let mut weights = GroupWeights::new(&COUNTS, 3.0, 0.0).unwrap();
        let start = weights.state().group_weights.clone();
        weights.step(&[1.0, 0.0, NAN, NAN, NAN]);
        let found = &weights.state().group_weights;
        assert_eq!(found[3..], start[3..]);
        assert!(found[1] > start[1]);
        assert!((total(&weights) - COUNTS.iter().sum::<f64>()).abs() < 1e-8);
    }

    #[test]
    fn a_huge_eta_stays_finite() {
        for worst in [0.0, 0.5] {
            let mut weights = GroupWeights::new(&COUNTS, 1e6, 0.0).unwrap();
            weights.step(&[1.0, worst, NAN, NAN, NAN]);
            assert!(weights.state().group_weights.iter().all(|w| w.is_finite()));
            assert!((total(&weights) / COUNTS.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn goes_on_from_a_state_and_refuses_another_one() {
        let mut weights = GroupWeights::new(&COUNTS, 1.5, 0.9).unwrap();
        weights.step(&[0.7, 0.2, NAN, 0.1, NAN]);
        let mut other = GroupWeights::new(&COUNTS, 1.5, 0.9).unwrap();
        other.load_state(weights.state().clone()).unwrap();
        for w in [&mut weights, &mut other] {
            w.step(&[0.2, NAN, NAN, 0.5, 0.3]);
        }
        assert_eq!(format!("{:?}", weights.state()), format!("{:?}", other.state()));
        for (group_weights, mean_p_true, message) in [
            (vec![1.0; 4], vec![NAN; 5], "group_weights has length 4"),
            (vec![-1.0; 5], vec![NAN; 5], "group_weights[0] is -1"),
            (vec![1.0; 5], vec![1.5; 5], "mean_p_true[0] is 1.5"),
        ] {
            let state = GroupWeightsState { group_weights, mean_p_true };
            let error = other.load_state(state).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert_eq!(format!("{:?}", weights.state()), format!("{:?}", other.state()));
    }

    #[test]
    fn bad_settings_are_named() {
        for (counts, eta, momentum, name) in [
            (vec![1.0, -1.0], 1.0, 0.5, "counts[1]"),
            (vec![0.0, 0.0], 1.0, 0.5, "the sum of counts"),
            (vec![1.0], -1.0, 0.5, "eta"),
            (vec![1.0], f64::INFINITY, 0.5, "eta"),
            (vec![1.0], 1.0, 1.5, "momentum"),
            (vec![1.0], 1.0, f64::NAN, "momentum"),
        ] {
            let error = GroupWeights::new(&counts, eta, momentum).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
