//! Soft membership: a sample of class y is in the groups (y, a) to the share that the posterior
//! gives its attribute a.

use super::sums::{MEMBERSHIP_BITS, scale, units};
use crate::{Error, Result};

/// How far a row of posteriors may be from adding up to 1: half precision gets as near as this.
const TOLERANCE: f64 = 0.01;

/// B rows of posteriors over A attributes with their labels; group g = label·A + attribute. A row
/// that is NaN throughout is in no group.
#[derive(Debug, Clone, Copy)]
pub struct SoftRows<'a> {
    posterior: &'a [f64],
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
        posterior: &'a [f64],
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

    /// The first group of the row's class, and the posteriors of that and the following ones.
    pub(super) fn row(&self, row: usize) -> Result<(usize, Option<&'a [f64]>)> {
        let (label, columns) = (self.labels[row], self.num_attributes);
        if label < 0 || label as usize >= self.num_groups / columns {
            let (argument, found) = ("labels", label.to_string());
            let expected = "a class from 0 up to the number of groups / columns of posterior";
            return Err(Error::Element { argument, row, found, expected });
        }
        let posterior = &self.posterior[row * columns..(row + 1) * columns];
        let first = label as usize * columns;
        if posterior.iter().all(|p| p.is_nan()) {
            return Ok((first, None));
        }
        let total: f64 = posterior.iter().sum();
        // A NaN among them makes the total NaN.
        if (total - 1.0).abs() <= TOLERANCE && posterior.iter().all(|p| (0.0..=1.0).contains(p)) {
            return Ok((first, Some(posterior)));
        }
        let expected = "probabilities that add up to 1, or NaN throughout for an unlabelled row";
        let found = format!("{:?}", &posterior[..columns.min(8)]);
        Err(Error::Element { argument: "posterior", row, found, expected })
    }
}

/// N_g under soft membership: the sum of the posteriors of each group, the same bits for any order
/// of the rows. O(B·A).
///
/// # Errors
/// [`Error::Element`] for a bad label or row of posteriors.
pub fn soft_counts(rows: &SoftRows) -> Result<Vec<f64>> {
    let (mut members, per_unit) = (vec![0_i128; rows.num_groups], scale(MEMBERSHIP_BITS));
    for row in 0..rows.len() {
        let (first, posterior) = rows.row(row)?;
        for (group, &p) in (first..).zip(posterior.unwrap_or_default()) {
            members[group] += units(p, per_unit);
        }
    }
    let unit = scale(-MEMBERSHIP_BITS);
    Ok(members.into_iter().map(|sum| sum as f64 * unit).collect())
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
) -> Result<Vec<f64>> {
    let weight = |row: usize| {
        let (first, posterior) = rows.row(row)?;
        let Some(posterior) = posterior else {
            return Ok(class_weights[first / rows.num_attributes]);
        };
        Ok(posterior.iter().zip(&group_weights[first..]).map(|(p, w)| p * w).sum())
    };
    (0..rows.len()).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::{SoftRows, soft_counts, soft_sample_weights};

    const NAN: f64 = f64::NAN;

    #[test]
    fn counts_and_weights_follow_the_posteriors() {
        let posterior = [0.75, 0.25, 0.5, 0.5, NAN, NAN, 0.0, 1.0];
        let rows = SoftRows::new(&posterior, 2, &[0, 0, 1, 1], 4).unwrap();
        assert_eq!(soft_counts(&rows).unwrap(), [1.25, 0.75, 0.0, 1.0]);
        let weights = soft_sample_weights(&rows, &[1.0, 3.0, 5.0, 7.0], &[-1.0, 6.0]).unwrap();
        assert_eq!(weights, [1.5, 2.0, 6.0, 7.0]);
    }

    #[test]
    fn bad_rows_are_named() {
        for (posterior, label, message) in [
            ([0.5, 0.6], 0, "posterior[0] is [0.5, 0.6]; expected probabilities"),
            ([0.5, NAN], 0, "posterior[0] is [0.5, NaN]"),
            ([1.5, -0.5], 0, "posterior[0] is [1.5, -0.5]"),
            ([0.5, 0.5], 2, "labels[0] is 2"),
            ([0.5, 0.5], -1, "labels[0] is -1"),
        ] {
            let labels = [label];
            let rows = SoftRows::new(&posterior, 2, &labels, 4).unwrap();
            let error = soft_counts(&rows).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert!(SoftRows::new(&[0.5, 0.5], 2, &[0], 3).is_err());
        assert!(SoftRows::new(&[0.5, 0.5], 2, &[0, 0], 4).is_err());
        assert!(SoftRows::new(&[], 0, &[], 4).is_err());
    }
}
