//! The number of members of each group in every batch, from the draws of each group in the epoch.

/// 2⁶⁴ divided by the golden ratio: the most even equal steps round a circle.
const GOLDEN: u128 = 0x9E37_79B9_7F4A_7C15;

/// The number of members of each group in each batch, given the groups' draws in the epoch.
///
/// The epoch's draws are ordered by group, and batch b of n takes every n-th of them: systematic
/// sampling (Madow, 1949). With C_g the draws of the groups up to g, it has ⌊(C_g + p_b)/n⌋ − ⌊(C_{g−1} + p_b)/n⌋ of group g. That is ⌊q_g/n⌋ or ⌈q_g/n⌉
/// for any phase p_b, and adds up to the batch size over the groups. The phases of an epoch are
/// 0..n, each once, so that it adds up to q_g over the batches. Their order, equal steps of about n
/// divided by the golden ratio, spreads a group's extra members evenly over the epoch, and lets the
/// draws before any batch be added up in O(log n).
#[derive(Debug, Clone)]
pub(super) struct Composition {
    num_batches: u64,
    /// The phase of batch 0.
    first: u64,
    /// The step between phases; coprime to the number of batches.
    step: u64,
    /// C_g, as (C_g div n, C_g mod n).
    ends: Vec<(u64, u64)>,
}

impl Composition {
    /// Any run of `round` batches has about its share of every group, where `round` is above 1: in equal steps of about
    /// n / round, and a little more, so that the rounds differ.
    pub(super) fn new(
        quotas: impl Iterator<Item = u64>,
        num_batches: u64,
        first: u64,
        round: u64,
    ) -> Self {
        let running = quotas.scan(0, |end, quota| {
            *end += quota;
            Some((*end / num_batches, *end % num_batches))
        });
        Self { num_batches, first, step: step(num_batches, round), ends: running.collect() }
    }

    pub(super) fn num_batches(&self) -> u64 {
        self.num_batches
    }

    /// Return the number of members of each group in `batch`.
    pub(super) fn counts(&self, batch: u64, counts: &mut [u64]) {
        let product = u128::from(batch) * u128::from(self.step) + u128::from(self.first);
        let phase = (product % u128::from(self.num_batches)) as u64;
        let mut last = 0;
        for (count, (whole, rest)) in counts.iter_mut().zip(&self.ends) {
            let end = whole + u64::from(rest + phase >= self.num_batches);
            *count = end - last;
            last = end;
        }
    }

    /// Return the number of members of each group in the batches before `batch`. O(G log n).
    pub(super) fn before(&self, batch: u64, before: &mut [u64]) {
        let up_to = |end: u64| floor_sum(batch, self.num_batches, self.step, self.first + end);
        let mut last = up_to(0);
        for (count, (whole, rest)) in before.iter_mut().zip(&self.ends) {
            let sum = up_to(whole * self.num_batches + rest);
            *count = (sum - last) as u64;
            last = sum;
        }
    }
}

/// The steps tried; among so many neighbours below 2⁴⁸ one is coprime to n (Jacobsthal's function).
const STEPS: u64 = 128;

fn step(n: u64, round: u64) -> u64 {
    if round == 1 {
        return golden_step(n);
    }
    let golden = ((u128::from(n) * GOLDEN) >> 64) as u64;
    let from = n / round + golden / round / round / 4;
    (from..from + STEPS).find(|&step| quotients(n, step).is_some()).unwrap_or(1)
}

/// Returns the step near the golden ratio, coprime to n, whose continued fraction has the smallest
/// quotients: the smaller they are, the more even any run of phases.
fn golden_step(n: u64) -> u64 {
    let golden = ((u128::from(n) * GOLDEN) >> 64) as u64;
    let coprime = (golden..golden + STEPS).filter_map(|step| Some((quotients(n, step)?, step)));
    coprime.min().map_or(1, |(_, step)| step)
}

/// The sum of the partial quotients of a/b, unless the two have a common divisor.
fn quotients(mut a: u64, mut b: u64) -> Option<u64> {
    let mut sum = 0;
    while b > 0 {
        sum += a / b;
        (a, b) = (b, a % b);
    }
    (a == 1).then_some(sum)
}

/// The sum of ⌊(a·i + c)/n⌋ over i in `0..terms`, by Euclid's algorithm: the points under a line are
/// counted by columns and by rows in turn.
fn floor_sum(terms: u64, n: u64, a: u64, c: u64) -> u128 {
    let (mut terms, mut n) = (u128::from(terms), u128::from(n));
    let (mut a, mut c) = (u128::from(a), u128::from(c));
    let mut sum = 0;
    loop {
        sum += terms * terms.saturating_sub(1) / 2 * (a / n) + terms * (c / n);
        (a, c) = (a % n, c % n);
        let top = a * terms + c;
        if top < n {
            return sum;
        }
        (terms, n, a, c) = (top / n, a, n, top % n);
    }
}

#[cfg(test)]
mod tests {
    use super::{Composition, floor_sum};

    #[test]
    fn floor_sums_equal_the_plain_sum() {
        for (n, a, c) in [(1, 0, 0), (7, 3, 100), (10, 7, 3), (97, 60, 12_345), (1000, 617, 999)] {
            let mut plain = 0;
            for terms in 0..200 {
                assert_eq!(floor_sum(terms, n, a, c), plain, "{terms} {n} {a} {c}");
                plain += u128::from((a * terms + c) / n);
            }
        }
    }

    #[test]
    fn the_largest_epochs_add_up() {
        let n = (1 << 47) + 1;
        let quotas = [n / 3, n - n / 3];
        let composition = Composition::new(quotas.into_iter(), n, n - 1, 1);
        let mut before = [0; 2];
        composition.before(n, &mut before);
        assert_eq!(before, quotas);
    }

    /// In every prefix a group has its share to within a few members, not only at the end.
    #[test]
    fn extra_members_are_spread_evenly() {
        let quotas = [1501, 1499, 2100, 900, 1, 1399];
        let n = 1000;
        let composition = Composition::new(quotas.into_iter(), n, 77, 1);
        let mut before = [0; 6];
        for batch in 0..=n {
            composition.before(batch, &mut before);
            for (found, quota) in before.iter().zip(quotas) {
                let exact = (quota * batch) as f64 / n as f64;
                assert!((*found as f64 - exact).abs() < 2.5, "batch {batch}: {found}, not {exact}");
            }
        }
    }
}
