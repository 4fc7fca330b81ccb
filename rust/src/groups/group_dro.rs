//! What one sample of each group weighs: the multiplicative weights of Group DRO (Sagawa et al.,
//! 2020, arXiv 1911.08731, algorithm 1).

use super::counts::GroupCounts;
use crate::error::shown;
use crate::{Error, Result};

/// A change of log q beyond this is cut, so that no difference of two is NaN.
const MOST: f64 = 1e300;

/// Group DRO's distribution q over the groups, which leans towards the largest loss:
///
/// ```text
/// q_g ← q_g · exp(step_size · (mean loss_g + size_adjustment / √N_g))     for the groups observed
/// q   ← q / Σ q
/// ```
///
/// Kept as log(q_g / max q), so that no loss is too large, and a q that has become 0 comes back
/// when its loss grows. Starts uniform over the groups with members. q weighs group *means*, so
/// one sample weighs w_g = q_g / N_g · Σ N, with Σ N_g·w_g = Σ N_g.
#[derive(Debug, Clone)]
pub struct GroupDro {
    step_size: f64,
    size_adjustment: f64,
    counts: GroupCounts,
    state: GroupDroState,
}

/// Everything that changes in [`GroupDro`]; each vector has one element for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupDroState {
    /// log(q_g / max q): 0 for the largest, minus infinity for an empty group.
    pub log_q: Vec<f64>,
    /// Mean loss at the last step that observed the group, or NaN.
    pub mean_loss: Vec<f64>,
}

impl GroupDro {
    /// A uniform q over the groups with members (of fractional sizes under soft membership).
    ///
    /// # Errors
    /// [`Error::Element`] for a count that is negative or not finite; [`Error::Scalar`] if all are
    /// 0, or if `step_size` or `size_adjustment` is negative or not finite.
    pub fn new(counts: &[f64], step_size: f64, size_adjustment: f64) -> Result<Self> {
        let counts = GroupCounts::new(counts)?;
        for (argument, found) in [("step_size", step_size), ("size_adjustment", size_adjustment)] {
            if !found.is_finite() || found < 0.0 {
                let (found, expected) = (shown(found), "a finite number, 0 or above");
                return Err(Error::Scalar { argument, found, expected });
            }
        }
        let state = GroupDroState {
            log_q: counts.iter().map(|n| if n > 0.0 { 0.0 } else { f64::NEG_INFINITY }).collect(),
            mean_loss: vec![f64::NAN; counts.len()],
        };
        Ok(Self { step_size, size_adjustment, counts, state })
    }

    /// Move q by the mean loss (G,) of each group, NaN for one that was not observed. O(G).
    pub fn step(&mut self, mean_loss: &[f64]) {
        let log_q = &mut self.state.log_q;
        for (g, &loss) in mean_loss.iter().enumerate().filter(|(_, loss)| !loss.is_nan()) {
            let adjusted = loss + self.size_adjustment / self.counts[g].sqrt();
            log_q[g] += (self.step_size * adjusted).clamp(-MOST, MOST);
            self.state.mean_loss[g] = loss;
        }
        let largest = log_q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for log in log_q {
            *log -= largest;
        }
    }

    /// The distribution over groups; 0 for an empty group.
    #[must_use]
    pub fn q(&self) -> Vec<f64> {
        let relative: Vec<f64> = self.state.log_q.iter().map(|log| log.exp()).collect();
        let total: f64 = relative.iter().sum();
        relative.iter().map(|q| q / total).collect()
    }

    /// What one sample of each group weighs; 0 for an empty group.
    #[must_use]
    pub fn group_weights(&self) -> Vec<f64> {
        let total = self.counts.total();
        let weight = |(q, n): (f64, f64)| if n > 0.0 { q * (total / n) } else { 0.0 };
        self.q().into_iter().zip(self.counts.iter()).map(weight).collect()
    }

    /// The current distribution and means.
    #[must_use]
    pub fn state(&self) -> &GroupDroState {
        &self.state
    }

    /// Continue from a saved state, bit for bit.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Element`] if the state isn't one of these groups; the present
    /// state is kept then.
    pub fn load_state(&mut self, state: GroupDroState) -> Result<()> {
        self.counts.check(
            "log_q",
            &state.log_q,
            "minus infinity for an empty group, else 0 or below",
            |n, log| {
                if n > 0.0 { log <= 0.0 } else { log == f64::NEG_INFINITY }
            },
        )?;
        if !state.log_q.contains(&0.0) {
            let (argument, found) = ("the largest log_q", "below 0".to_owned());
            return Err(Error::Scalar { argument, found, expected: "0" });
        }
        self.counts.check("mean_loss", &state.mean_loss, "NaN or a finite number", |_, loss| {
            !loss.is_infinite()
        })?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupDro, GroupDroState};

    const NAN: f64 = f64::NAN;
    const COUNTS: [f64; 4] = [100.0, 25.0, 0.0, 4.0];

    #[test]
    fn q_follows_the_formula() {
        let mut dro = GroupDro::new(&COUNTS, 0.5, 2.0).unwrap();
        assert_eq!(dro.q(), [1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0]);
        dro.step(&[1.0, NAN, NAN, 3.0]);
        let raw = [(0.5 * (1.0 + 0.2_f64)).exp(), 1.0, 0.0, (0.5 * (3.0 + 1.0_f64)).exp()];
        let total: f64 = raw.iter().sum();
        for (found, raw) in dro.q().iter().zip(raw) {
            assert!((found - raw / total).abs() < 1e-15);
        }
        assert_eq!((dro.state().mean_loss[0], dro.state().mean_loss[3]), (1.0, 3.0));
        assert!(dro.state().mean_loss[1].is_nan());
        let weights = dro.group_weights();
        let mass: f64 = weights.iter().zip(COUNTS).map(|(w, n)| w * n).sum();
        assert!((mass - 129.0).abs() < 1e-12);
        assert!((weights[3] * 4.0 / (weights[0] * 100.0) - raw[3] / raw[0]).abs() < 1e-12);
    }

    #[test]
    fn without_a_step_size_q_never_moves_a_bit() {
        let mut dro = GroupDro::new(&COUNTS, 0.0, 3.0).unwrap();
        let start = dro.state().log_q.clone();
        for losses in [[1.0, 2.0, NAN, 0.1], [NAN, NAN, NAN, 7.0], [NAN; 4]] {
            dro.step(&losses);
            assert_eq!(dro.state().log_q, start);
        }
    }

    #[test]
    fn huge_losses_stay_finite_and_a_lost_group_comes_back() {
        let mut dro = GroupDro::new(&COUNTS, f64::MAX, f64::MAX).unwrap();
        dro.step(&[1e9, -1e9, NAN, 1e9]);
        assert!(dro.group_weights().iter().all(|w| w.is_finite()));
        let mut dro = GroupDro::new(&COUNTS, 1.0, 0.0).unwrap();
        dro.step(&[1e6, 0.0, NAN, 0.0]);
        assert_eq!(dro.q(), [1.0, 0.0, 0.0, 0.0]);
        dro.step(&[0.0, 1e6 + 1.0, NAN, 0.0]);
        assert!(dro.q()[1] > 0.7 && dro.q()[0] > 0.2);
    }

    #[test]
    fn a_state_that_cannot_be_is_refused() {
        let mut dro = GroupDro::new(&COUNTS, 1.0, 0.0).unwrap();
        dro.step(&[1.0, 2.0, NAN, 4.0]);
        let state = dro.state().clone();
        let lost = f64::NEG_INFINITY;
        for (log_q, mean_loss, message) in [
            (vec![0.0; 3], vec![NAN; 4], "log_q has length 3"),
            (vec![0.0, 0.1, lost, 0.0], vec![NAN; 4], "log_q[1] is 0.1"),
            (vec![0.0, NAN, lost, 0.0], vec![NAN; 4], "log_q[1] is NaN"),
            (vec![0.0; 4], vec![NAN; 4], "log_q[2] is 0"),
            (vec![-1.0, -1.0, lost, -1.0], vec![NAN; 4], "the largest log_q is below 0"),
            (vec![0.0, 0.0, lost, 0.0], vec![lost; 4], "mean_loss[0] is -inf"),
        ] {
            let error = dro.load_state(GroupDroState { log_q, mean_loss }).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert_eq!(dro.state().log_q, state.log_q);
        dro.load_state(state).unwrap();
    }

    #[test]
    fn bad_settings_are_named() {
        for (counts, step_size, size_adjustment, name) in [
            (vec![-1.0], 0.1, 0.0, "counts[0]"),
            (vec![0.0], 0.1, 0.0, "the sum of counts"),
            (vec![1.0], -0.1, 0.0, "step_size"),
            (vec![1.0], 0.1, f64::INFINITY, "size_adjustment"),
        ] {
            let error = GroupDro::new(&counts, step_size, size_adjustment).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
