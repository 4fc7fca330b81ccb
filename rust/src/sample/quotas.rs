//! The number of draws of each group in an epoch: shares rounded by largest remainder.

use std::cmp::Reverse;

use super::rows::MAX_DRAWS;
use crate::error::shown;
use crate::{Error, Result};

/// Round `shares` (any scale) to whole draws that add up to `num_samples`.
///
/// Every group gets the whole part of its exact quota; the rest go to the largest fractions, ties to
/// the lower group (Hamilton's method). O(G).
///
/// # Errors
/// [`Error::Input`] if `counts` has another length, for a share that is negative or not finite or of a group without
/// members, if the shares add up to 0 or overflow, or if `num_samples` is 0 or above [`MAX_DRAWS`].
pub fn quotas(shares: &[f64], counts: &[i64], num_samples: u64) -> Result<Vec<i64>> {
    let total = check(shares, counts, num_samples)?;
    let n = num_samples as f64;
    // Multiplied first: whole-number shares that add up to num_samples come back as they are.
    let exact: Vec<f64> = shares.iter().map(|share| share * n / total).collect();
    let mut quotas: Vec<i64> = exact.iter().map(|x| x.floor() as i64).collect();
    // Fractions with their groups, side by side for the search; as bits they compare like the numbers.
    let mut fractions: Vec<(Reverse<u64>, usize)> = (0..shares.len())
        .filter(|&g| shares[g] > 0.0)
        .map(|g| (Reverse((exact[g] - exact[g].floor()).to_bits()), g))
        .collect();
    let left = num_samples as i64 - quotas.iter().sum::<i64>();
    if left >= 0 {
        let (all, more) = (left / fractions.len() as i64, left as usize % fractions.len());
        fractions.select_nth_unstable(more);
        for (i, (_, g)) in fractions.into_iter().enumerate() {
            quotas[g] += all + i64::from(i < more);
        }
    } else {
        take_back(&mut quotas, fractions, left);
    }
    Ok(quotas)
}

/// Rounding in enormous epochs can give too many draws: take one from each group in turn, beginning with the smallest
/// fraction.
fn take_back(quotas: &mut [i64], mut fractions: Vec<(Reverse<u64>, usize)>, mut left: i64) {
    fractions.sort_unstable();
    for (_, g) in fractions.iter().rev().cycle() {
        if left >= 0 {
            break;
        }
        let taken = quotas[*g].min(1);
        quotas[*g] -= taken;
        left += taken;
    }
}

/// Check the arguments and return the sum of the shares.
fn check(shares: &[f64], counts: &[i64], num_samples: u64) -> Result<f64> {
    if counts.len() != shares.len() {
        return Err(Error::length("shares", shares.len(), counts.len(), "groups"));
    }
    for (group, (share, &count)) in shares.iter().zip(counts).enumerate() {
        if !share.is_finite() || *share < 0.0 {
            let expected = "a finite number, 0 or above";
            return Err(Error::element("shares", group, shown(*share), expected));
        }
        if *share > 0.0 && count <= 0 {
            return Err(Error::empty_group("shares", group, shown(*share)));
        }
    }
    if !(1..=MAX_DRAWS).contains(&num_samples) {
        return Err(Error::scalar("num_samples", num_samples, "1 to 2^48"));
    }
    let total: f64 = shares.iter().sum();
    if total <= 0.0 || !(total * num_samples as f64).is_finite() {
        return Err(Error::scalar("the sum of shares", shown(total), "a finite number above 0"));
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::quotas;

    #[test]
    fn largest_remainders_get_the_rest_and_ties_go_to_the_lower_group() {
        assert_eq!(quotas(&[1.0, 1.0, 1.0], &[9, 9, 9], 10).unwrap(), [4, 3, 3]);
        assert_eq!(quotas(&[0.1, 0.26, 0.64], &[9, 9, 9], 10).unwrap(), [1, 3, 6]);
        assert_eq!(quotas(&[0.0, 2.0], &[0, 3], 5).unwrap(), [0, 5]);
        assert_eq!(quotas(&[1.0, 1.0], &[1, 1], 1).unwrap(), [1, 0]);
    }

    #[test]
    fn natural_shares_come_back_exactly() {
        let counts = [3498, 184, 56, 1057, 1, 0];
        let shares = counts.map(|n| n as f64);
        assert_eq!(quotas(&shares, &counts, 4796).unwrap(), counts);
    }

    #[test]
    fn enormous_epochs_are_exact_too() {
        let shares: Vec<f64> = (1..=1000).map(|g| 1.0 / f64::from(g)).collect();
        for n in [(1_u64 << 48) - 1, 1 << 48] {
            let found = quotas(&shares, &vec![1; 1000], n).unwrap();
            assert_eq!(found.iter().sum::<i64>(), n as i64);
        }
    }

    /// A thousand times 0.1 adds up to less than 100 in floats: all quotas come out a little too large.
    #[test]
    fn what_rounding_gave_too_many_is_taken_from_groups_that_have_some() {
        let mut shares = vec![0.1; 1000];
        shares.push(1e-20);
        let each = (1 << 48) / 1000;
        let found = quotas(&shares, &[1; 1001], each * 1000 - 1).unwrap();
        assert_eq!(found.iter().sum::<i64>(), each as i64 * 1000 - 1);
        assert_eq!((found[1000], found[..1000].iter().min()), (0, Some(&(each as i64 - 1))));
    }

    #[test]
    fn bad_arguments_are_named() {
        let message = |shares: &[f64], n| quotas(shares, &[3, 0], n).unwrap_err().to_string();
        assert!(message(&[1.0, f64::NAN], 4).starts_with("shares[1] is NaN"));
        assert!(message(&[-1.0, 0.0], 4).starts_with("shares[0] is -1"));
        assert!(message(&[1.0, 0.5], 4).contains("group 1 has no members"));
        assert!(message(&[1.0], 4).starts_with("shares has length 1; expected 2"));
        assert!(message(&[0.0, 0.0], 4).starts_with("the sum of shares is 0"));
        assert!(message(&[1e308, 0.0], 4).starts_with("the sum of shares"));
        assert!(message(&[1.0, 0.0], 0).starts_with("num_samples is 0"));
    }
}
