//! Soft membership: a sample of class y is in the groups (y, a) to the share that the posterior
//! gives its attribute a.

use std::ops::Range;

use super::floats::Floats;
use super::quantity::{scale, small_whole};
use crate::{Error, Result, Workers};

/// Memberships count in units of 2⁻³⁰.
pub(super) const MEMBERSHIP_BITS: i32 = 30;
const ONE: u64 = 1 << MEMBERSHIP_BITS;
/// How far a row of posteriors may be from adding up to 1, in units: half precision gets as near as
/// 0.01.
const TOLERANCE: u64 = ONE / 100;
/// Posteriors that are read at a time, if a row has no more.
const PIECE: usize = 1 << 10;
/// Rows that a thread weighs at a time.
const BLOCK: usize = 1 << 16;

/// B rows of posteriors over A attributes with their labels; group g = label·A + attribute. A row
/// that is NaN throughout is in no group. Every other row is divided by its sum, so that it counts as
/// exactly one sample.
#[derive(Debug, Clone, Copy)]
pub struct SoftRows<'a> {
    posterior: Floats<'a>,
    num_attributes: usize,
    labels: &'a [i64],
    num_groups: usize,
}

impl<'a> SoftRows<'a> {
    /// From the posteriors in row order and the labels; rows are checked when they are read.
    ///
    /// # Errors
    /// [`Error::Length`] for a number of labels other than of rows; [`Error::Scalar`] if the
    /// columns do not divide the groups.
    pub fn new(
        posterior: Floats<'a>,
        num_attributes: usize,
        labels: &'a [i64],
        num_groups: usize,
    ) -> Result<Self> {
        if num_attributes == 0 || num_groups % num_attributes != 0 {
            return Err(Error::Scalar {
                argument: "the number of columns of posterior",
                found: num_attributes.to_string(),
                expected: "A where there are C·A groups",
            });
        }
        let expected = posterior.len() / num_attributes;
        if labels.len() != expected {
            let (argument, found, counts) = ("labels", labels.len(), "the rows of posterior");
            return Err(Error::Length { argument, found, expected, counts });
        }
        Ok(Self { posterior, num_attributes, labels, num_groups })
    }

    /// Number of rows B.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub(super) fn num_groups(&self) -> usize {
        self.num_groups
    }

    /// Do `work` with the number of each row, the first group of its class, and its memberships in that
    /// and the following groups: whole units that add up to one sample, or none at all.
    pub(super) fn for_each(
        &self,
        rows: Range<usize>,
        mut work: impl FnMut(usize, usize, &[u64]) -> Result<()>,
    ) -> Result<()> {
        let columns = self.num_attributes;
        let at_a_time = (PIECE / columns).max(1);
        let mut piece = vec![0.0; at_a_time.min(rows.len()) * columns];
        let mut memberships = vec![0; columns];
        for first in rows.clone().step_by(at_a_time) {
            let some = first..rows.end.min(first + at_a_time);
            let piece = &mut piece[..some.len() * columns];
            self.posterior.read(first * columns, piece);
            for (row, posterior) in some.zip(piece.chunks_exact(columns)) {
                let label = self.label(row)?;
                let found = match to_memberships(posterior, &mut memberships) {
                    Row::Known => &memberships[..],
                    Row::Unlabelled => &[],
                    Row::Bad => return Err(bad_posterior(row, posterior)),
                };
                work(row, label * columns, found)?;
            }
        }
        Ok(())
    }

    fn label(&self, row: usize) -> Result<usize> {
        let label = self.labels[row];
        if label >= 0 && (label as usize) < self.num_groups / self.num_attributes {
            return Ok(label as usize);
        }
        let (argument, found) = ("labels", label.to_string());
        let expected = "a class from 0 up to the number of groups / columns of posterior";
        Err(Error::Element { argument, row, found, expected })
    }
}

enum Row {
    Known,
    Unlabelled,
    Bad,
}

/// Divide a row by its sum, in whole units. What stands up to a column is rounded, and a membership is
/// the difference of two of those: so they add up to exactly one. All in integers, so that a GPU finds
/// the same.
fn to_memberships(posterior: &[f64], memberships: &mut [u64]) -> Row {
    let mut total = 0;
    for (up_to, &p) in memberships.iter_mut().zip(posterior) {
        if !(0.0..=1.0).contains(&p) {
            let unlabelled = posterior.iter().all(|p| p.is_nan());
            return if unlabelled { Row::Unlabelled } else { Row::Bad };
        }
        total += small_whole(p * scale(MEMBERSHIP_BITS)) as u64;
        *up_to = total;
    }
    if total.abs_diff(ONE) > TOLERANCE {
        return Row::Bad;
    }
    let mut before = 0;
    for membership in memberships {
        // The first two come out of the division too.
        let up_to = match *membership {
            sum if total == ONE => sum,
            sum if sum == total => ONE,
            sum => (sum * ONE + total / 2) / total,
        };
        *membership = up_to - before;
        before = up_to;
    }
    Row::Known
}

fn bad_posterior(row: usize, posterior: &[f64]) -> Error {
    let expected = "probabilities that add up to 1, or NaN throughout for an unlabelled row";
    let found = format!("{:?}", &posterior[..posterior.len().min(8)]);
    Error::Element { argument: "posterior", row, found, expected }
}

/// What each sample weighs: the posterior mean of its groups' weights, and the weight of its class
/// if it is in no group. O(B·A).
///
/// # Errors
/// [`Error::Element`] for a bad label or row of posteriors.
///
/// # Panics
/// If there are fewer weights than groups or classes.
pub fn soft_sample_weights(
    rows: &SoftRows,
    group_weights: &[f64],
    class_weights: &[f64],
    workers: &Workers,
) -> Result<Vec<f64>> {
    let mut weights = vec![0.0; rows.len()];
    workers.try_for_each(weights.chunks_mut(BLOCK).enumerate(), |(block, weights)| {
        let first = block * BLOCK;
        rows.for_each(first..first + weights.len(), |row, first_group, memberships| {
            let of_groups = memberships.iter().zip(&group_weights[first_group..]);
            weights[row - first] = if memberships.is_empty() {
                class_weights[first_group / rows.num_attributes]
            } else {
                of_groups.map(|(&m, w)| m as f64 * w).sum::<f64>() * scale(-MEMBERSHIP_BITS)
            };
            Ok(())
        })
    })?;
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ONE, SoftRows, soft_sample_weights};
    use crate::groups::{Floats, soft_counts};
    use crate::{Error, Workers};

    const NAN: f64 = f64::NAN;

    fn rows<'a>(
        posterior: &'a [f64],
        columns: usize,
        labels: &'a [i64],
        groups: usize,
    ) -> SoftRows<'a> {
        SoftRows::new(Floats::F64(posterior), columns, labels, groups).unwrap()
    }

    fn memberships(posterior: &[f64]) -> Result<Vec<u64>, Error> {
        let mut found = vec![];
        rows(posterior, posterior.len(), &[0], posterior.len()).for_each(
            0..1,
            |_, _, memberships| {
                found.extend_from_slice(memberships);
                Ok(())
            },
        )?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn a_row_counts_as_one_sample(
            parts in proptest::collection::vec(0.0_f64..1.0, 1..9),
            stretch in 0.991_f64..1.009,
        ) {
            let total = parts.iter().sum::<f64>();
            prop_assume!(total > 1e-3);
            let row: Vec<f64> = parts.iter().map(|p| p / total * stretch).map(|p| p.min(1.0)).collect();
            prop_assume!((row.iter().sum::<f64>() - 1.0).abs() < 0.0099);
            let found = memberships(&row).unwrap();
            prop_assert_eq!(found.iter().sum::<u64>(), ONE);
            let total = row.iter().sum::<f64>();
            for (found, p) in found.iter().zip(row) {
                prop_assert!((*found as f64 - p / total * ONE as f64).abs() < 3.0 + parts.len() as f64);
                prop_assert!(p > 0.0 || *found == 0);
            }
        }
    }

    #[test]
    fn one_hot_rows_stay_so() {
        assert_eq!(memberships(&[0.0, 1.0, 0.0]).unwrap(), [0, ONE, 0]);
        assert_eq!(memberships(&[0.0, 0.995, 0.0]).unwrap(), [0, ONE, 0]);
        assert_eq!(memberships(&[0.25, 0.75]).unwrap(), [ONE / 4, ONE / 4 * 3]);
        assert!(memberships(&[NAN, NAN]).unwrap().is_empty());
    }

    #[test]
    fn counts_and_weights_follow_the_posteriors() {
        let posterior = [0.75, 0.25, 0.5, 0.5, NAN, NAN, 0.0, 1.0];
        let (rows, workers) = (rows(&posterior, 2, &[0, 0, 1, 1], 4), Workers::new(1));
        assert_eq!(soft_counts(&rows, &workers).unwrap(), [1.25, 0.75, 0.0, 1.0]);
        let weights = soft_sample_weights(&rows, &[1.0, 3.0, 5.0, 7.0], &[-1.0, 6.0], &workers);
        assert_eq!(weights.unwrap(), [1.5, 2.0, 6.0, 7.0]);
    }

    #[test]
    fn bad_rows_are_named() {
        for (posterior, label, message) in [
            ([0.5, 0.6], 0, "posterior[1] is [0.5, 0.6]; expected probabilities"),
            ([0.5, 0.51001], 0, "posterior[1] is [0.5, 0.51001]"),
            ([0.5, 0.48999], 0, "posterior[1] is [0.5, 0.48999]"),
            ([0.5, NAN], 0, "posterior[1] is [0.5, NaN]"),
            ([1.5, -0.5], 0, "posterior[1] is [1.5, -0.5]"),
            ([0.5, 0.5], 2, "labels[1] is 2"),
            ([0.5, 0.5], -1, "labels[1] is -1"),
        ] {
            let (posterior, labels) = ([&[0.5, 0.5], &posterior[..]].concat(), [0, label]);
            let rows = rows(&posterior, 2, &labels, 4);
            let error = soft_counts(&rows, &Workers::new(1)).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let none = Floats::F64(&[]);
        assert!(SoftRows::new(Floats::F64(&[0.5, 0.5]), 2, &[0], 3).is_err());
        assert!(SoftRows::new(Floats::F64(&[0.5, 0.5]), 2, &[0, 0], 4).is_err());
        assert!(SoftRows::new(none, 0, &[], 4).is_err());
    }
}
