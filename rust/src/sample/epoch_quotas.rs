//! The number of draws of each group in an epoch: shares rounded to whole draws, other ones in each epoch.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::quota_rounding::rotated;
use super::rows::MAX_DRAWS;
use crate::error::shown;
use crate::{Error, Result};

/// Fractions of a draw are whole numbers of 2⁻³²; of less in epochs of 2³¹ draws and more, so that all fit 63 bits.
const FRACTION_BITS: u32 = 32;

/// Round `shares` (any scale) to whole draws in `epoch`, which add up to `num_samples`.
///
/// A group's exact number of draws is its share of `num_samples`. If that is below the start of `bounds` or above its
/// end, it is the bound, and the other groups divide the rest in proportion to their shares. A group gets this number
/// rounded down in some epochs and up in others, such that over the epochs from 0 on it gets the number itself to within
/// two draws, and any groups can be rounded up together. A pure function of its arguments; O(G), with 16 steps for a
/// group whose number isn't whole.
///
/// # Errors
/// [`Error::Input`] if `counts` has another length, for a share that is negative or not finite or of a group without
/// members, if the shares add up to 0 or overflow, if `num_samples` is 0 or above [`MAX_DRAWS`], or if the groups with
/// a share can't keep to the bounds.
pub fn quotas(
    shares: &[f64],
    counts: &[i64],
    num_samples: u64,
    bounds: RangeInclusive<u64>,
    seed: u64,
    epoch: u64,
) -> Result<Vec<i64>> {
    check(shares, counts, num_samples)?;
    let (least, most) = (*bounds.start(), *bounds.end().min(&num_samples));
    let num_shares = shares.iter().filter(|share| **share > 0.0).count() as u64;
    if least.saturating_mul(num_shares) > num_samples
        || most.saturating_mul(num_shares) < num_samples
    {
        let expected = format!("from {num_shares} times {least} to {num_shares} times {most}");
        return Err(Error::scalar("num_samples", num_samples, &expected));
    }
    let bits = FRACTION_BITS.min(num_samples.leading_zeros() - 1);
    let exact = bounded(
        shares,
        (num_samples << bits) as i64,
        (least << bits) as i64,
        (most << bits) as i64,
    );
    Ok(rotated(&exact, bits, seed, epoch))
}

/// Return `total` divided by `shares`, with at least `least` and at most `most` for each group that has one.
///
/// Groups beyond a bound get the bound, and the rest is divided anew. If both bounds are passed, those are fixed first
/// that change the sum more, so that no group is fixed that the others would have brought back.
fn bounded(shares: &[f64], total: i64, least: i64, most: i64) -> Vec<i64> {
    let (mut free, mut left) = (shares.to_vec(), total);
    let mut found = vec![0; shares.len()];
    loop {
        let parts = divided(&free, left);
        let mut added = 0;
        for group in (0..free.len()).filter(|&group| free[group] > 0.0) {
            found[group] = parts[group].clamp(least, most);
            added += found[group] - parts[group];
        }
        if added == 0 {
            return found;
        }
        for group in 0..free.len() {
            let change = found[group] - parts[group];
            if free[group] > 0.0 && change.signum() == added.signum() {
                free[group] = 0.0;
                left -= found[group];
            }
        }
    }
}

/// Return whole numbers in proportion to `shares`, which add up to `total`: by largest remainder, ties to the lower
/// group (Hamilton's method). O(G).
fn divided(shares: &[f64], total: i64) -> Vec<i64> {
    // Multiplied first: whole-number shares that add up to the total come back as they are.
    let (sum, n): (f64, _) = (shares.iter().sum(), total as f64);
    let exact: Vec<f64> = shares.iter().map(|share| share * n / sum).collect();
    let mut quotas: Vec<i64> = exact.iter().map(|x| x.floor() as i64).collect();
    // Fractions with their groups, side by side for the search; as bits they compare like the numbers.
    let mut fractions: Vec<(Reverse<u64>, usize)> = (0..shares.len())
        .filter(|&g| shares[g] > 0.0)
        .map(|g| (Reverse((exact[g] - exact[g].floor()).to_bits()), g))
        .collect();
    let left = total - quotas.iter().sum::<i64>();
    if left >= 0 {
        let (all, more) = (left / fractions.len() as i64, left as usize % fractions.len());
        fractions.select_nth_unstable(more);
        for (i, (_, g)) in fractions.into_iter().enumerate() {
            quotas[g] += all + i64::from(i < more);
        }
    } else {
        take_back(&mut quotas, fractions, left);
    }
    quotas
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

/// Check the shares and the length of the epoch.
fn check(shares: &[f64], counts: &[i64], num_samples: u64) -> Result<()> {
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
    if total <= 0.0 || !(total * 2_f64.powi(63)).is_finite() {
        return Err(Error::scalar("the sum of shares", shown(total), "a finite number above 0"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{divided, quotas};

    const EPOCHS: usize = 300;

    /// The quotas of each of the first epochs.
    fn over_epochs(shares: &[f64], num_samples: u64, seed: u64) -> Vec<Vec<i64>> {
        let counts = vec![1; shares.len()];
        let of_epoch = |epoch| quotas(shares, &counts, num_samples, 0..=num_samples, seed, epoch);
        (0..EPOCHS as u64).map(|epoch| of_epoch(epoch).unwrap()).collect()
    }

    #[test]
    fn values_are_stable() {
        let found = over_epochs(&[1.0, 1.0, 1.0], 10, 42);
        assert_eq!(found[..5], [[4, 3, 3], [3, 4, 3], [3, 3, 4], [4, 3, 3], [3, 4, 3]]);
        let found = quotas(&[3.0, 5.0, 6.0, 7.0], &[9; 4], 10, 0..=10, 42, 1 << 40).unwrap();
        assert_eq!(found, [1, 2, 3, 4]);
    }

    #[test]
    fn over_the_epochs_each_group_gets_its_share() {
        let lots = vec![1.0; 20];
        let unequal: Vec<f64> = (1..=15).map(|g| f64::from(g * g)).collect();
        for (shares, n) in [(&lots, 12), (&lots, 10), (&lots, 1), (&unequal, 4), (&unequal, 333)] {
            let total: f64 = shares.iter().sum();
            for seed in 0..20 {
                let mut sums = vec![0; shares.len()];
                for (epoch, found) in over_epochs(shares, n, seed).into_iter().enumerate() {
                    assert_eq!(found.iter().sum::<i64>(), n as i64);
                    for (group, quota) in found.into_iter().enumerate() {
                        let exact = shares[group] * n as f64 / total;
                        assert!(quota == exact.floor() as i64 || quota == exact.ceil() as i64);
                        sums[group] += quota;
                        let off = sums[group] as f64 - exact * (epoch + 1) as f64;
                        assert!(off.abs() < 2.0, "group {group} is {off} off in epoch {epoch}");
                    }
                }
            }
        }
    }

    /// Beyond the first turn too, wherever the epochs start.
    #[test]
    fn any_epochs_can_be_sought() {
        let shares: Vec<f64> = (1..=9).map(f64::from).collect();
        for first in [(1 << 16) - 500, 12_345_678_901, u64::MAX - 1000] {
            let mut sums = [0_i64; 9];
            for epoch in first..first + 1000 {
                let found = quotas(&shares, &[1; 9], 7, 0..=7, 3, epoch).unwrap();
                sums.iter_mut().zip(found).for_each(|(sum, quota)| *sum += quota);
            }
            for (sum, share) in sums.into_iter().zip(&shares) {
                let exact = share * 7000.0 / 45.0;
                assert!((sum as f64 - exact).abs() < 4.0, "{sum}, not {exact}");
            }
        }
    }

    /// 5 groups, 2 places: all 10 pairs equally often, over epochs and over seeds.
    #[test]
    fn any_groups_come_together() {
        let pair = |quotas: &[i64]| {
            let mut groups = (0..5).filter(|&group| quotas[group] == 1);
            (groups.next().unwrap(), groups.next().unwrap())
        };
        let mut met = [[0_u32; 5]; 5];
        for seed in 0..20 {
            for found in over_epochs(&[1.0; 5], 2, seed) {
                let (a, b) = pair(&found);
                met[a][b] += 1;
            }
        }
        for (a, row) in met.iter().enumerate() {
            assert!(row[a + 1..].iter().all(|times| times.abs_diff(600) < 60), "{met:?}");
        }
        let mut first = [0_u32; 5];
        for seed in 0..5000 {
            let found = quotas(&[1.0; 5], &[1; 5], 2, 0..=2, seed, 5).unwrap();
            first[pair(&found).0] += 1;
            first[pair(&found).1] += 1;
        }
        assert!(first.iter().all(|times| times.abs_diff(2000) < 180), "{first:?}");
    }

    #[test]
    fn bounds_are_kept_and_the_rest_divided_by_share() {
        let shares = [90.0, 6.0, 3.0, 1.0, 0.0];
        let found = |least, most, n| quotas(&shares, &[1; 5], n, least..=most, 0, 0).unwrap();
        assert_eq!(found(10, 100, 100), [70, 10, 10, 10, 0]);
        assert_eq!(found(0, 40, 100), [40, 36, 18, 6, 0]);
        assert_eq!(found(20, 40, 100), [40, 20, 20, 20, 0]);
        assert_eq!(found(25, 25, 100), [25, 25, 25, 25, 0]);
        assert_eq!(found(0, 4, 16), [4, 4, 4, 4, 0]);
        let message = |least, most| {
            quotas(&shares, &[1; 5], 100, least..=most, 0, 0).unwrap_err().to_string()
        };
        assert!(message(26, 100).starts_with("num_samples is 100; expected from 4 times 26 to"));
        assert!(message(0, 24).starts_with("num_samples is 100; expected from 4 times 0 to 4 ti"));
    }

    #[test]
    fn whole_numbers_are_the_same_in_all_epochs() {
        let counts = [3498, 184, 56, 1057, 1, 0];
        let shares = counts.map(|n| n as f64);
        for (epoch, seed) in [(0, 0), (1, 0), (9, 3)] {
            assert_eq!(quotas(&shares, &counts, 4796, 0..=4796, seed, epoch).unwrap(), counts);
            let found = quotas(&[0.1, 0.2, 0.7], &[1; 3], 10, 0..=10, seed, epoch).unwrap();
            assert_eq!(found, [1, 2, 7]);
        }
    }

    #[test]
    fn enormous_epochs_are_exact_too() {
        let shares: Vec<f64> = (1..=1000).map(|g| 1.0 / f64::from(g)).collect();
        for n in [(1_u64 << 48) - 1, 1 << 48] {
            let found = quotas(&shares, &vec![1; 1000], n, 0..=n, 1, 2).unwrap();
            assert_eq!(found.iter().sum::<i64>(), n as i64);
        }
    }

    /// A thousand times 0.1 adds up to less than 100 in floats: all quotas come out a little too large.
    #[test]
    fn what_rounding_gave_too_many_is_taken_from_groups_that_have_some() {
        let mut shares = vec![0.1; 1000];
        shares.push(1e-20);
        let each = (1 << 48) / 1000;
        let found = divided(&shares, each * 1000 - 1);
        assert_eq!(found.iter().sum::<i64>(), each * 1000 - 1);
        assert_eq!((found[1000], found[..1000].iter().min()), (0, Some(&(each - 1))));
    }

    #[test]
    fn bad_arguments_are_named() {
        let message =
            |shares: &[f64], n| quotas(shares, &[3, 0], n, 0..=n, 0, 0).unwrap_err().to_string();
        assert!(message(&[1.0, f64::NAN], 4).starts_with("shares[1] is NaN"));
        assert!(message(&[-1.0, 0.0], 4).starts_with("shares[0] is -1"));
        assert!(message(&[1.0, 0.5], 4).contains("group 1 has no members"));
        assert!(message(&[1.0], 4).starts_with("shares has length 1; expected 2"));
        assert!(message(&[0.0, 0.0], 4).starts_with("the sum of shares is 0"));
        assert!(message(&[1e308, 0.0], 4).starts_with("the sum of shares"));
        assert!(message(&[1.0, 0.0], 0).starts_with("num_samples is 0"));
    }
}
