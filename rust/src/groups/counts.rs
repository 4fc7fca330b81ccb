//! How many samples each group has, whole or fractional, as the rules for group weights need it.

use std::ops::Index;

use crate::error::shown;
use crate::{Error, Result};

/// N_g (G,), finite, 0 or above, not all 0.
#[derive(Debug, Clone)]
pub(super) struct GroupCounts(Vec<f64>);

impl GroupCounts {
    pub(super) fn new(counts: &[f64]) -> Result<Self> {
        if let Some(row) = counts.iter().position(|n| !n.is_finite() || *n < 0.0) {
            let (found, expected) = (shown(counts[row]), "a finite number, 0 or above");
            return Err(Error::Element { argument: "counts", row, found, expected });
        }
        let found = Self(counts.to_vec());
        let total = found.total();
        if total <= 0.0 {
            return Err(Error::Scalar {
                argument: "the sum of counts",
                found: shown(total),
                expected: "at least one group with members",
            });
        }
        let bears_weight = |n: &f64| *n <= 0.0 || (total / n).is_finite();
        if let Some(row) = counts.iter().position(|n| !bears_weight(n)) {
            let (found, expected) =
                (shown(counts[row]), "a size whose weight, the sum of counts over it, is finite");
            return Err(Error::Element { argument: "counts", row, found, expected });
        }
        Ok(found)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    pub(super) fn total(&self) -> f64 {
        // Not `sum`, which is -0 of nothing.
        self.0.iter().fold(0.0, |sum, n| sum + n)
    }

    /// Check one value for each group, knowing the size of the group.
    pub(super) fn check(
        &self,
        argument: &'static str,
        values: &[f64],
        expected: &'static str,
        is_valid: impl Fn(f64, f64) -> bool,
    ) -> Result<()> {
        if values.len() != self.len() {
            let (found, expected) = (values.len(), self.len());
            return Err(Error::Length { argument, found, expected, counts: "groups" });
        }
        match self.iter().zip(values).position(|(n, &value)| !is_valid(n, value)) {
            None => Ok(()),
            Some(row) => Err(Error::Element { argument, row, found: shown(values[row]), expected }),
        }
    }
}

impl Index<usize> for GroupCounts {
    type Output = f64;

    fn index(&self, group: usize) -> &f64 {
        &self.0[group]
    }
}
