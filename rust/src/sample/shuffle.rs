//! A keyed permutation of 0..n for a few positions at a time, which costs next to nothing to set up:
//! each group has one for each pass over its members. [`super::Permutation`] is for long runs.

use super::permutation::{add, ceil_sqrt, scatter};
use crate::random::Stream;

/// Up to this length a table is as quick, and its n! orders are equally likely.
const TABLE_MAX: usize = 64;
/// Positions that are shuffled side by side: fewer than 2·⌈√65⌉, so that a run of them wraps around
/// the lower half at most twice.
const LANES: usize = 16;
/// Five for each half. With four, how far apart neighbours land among 65 still shows no bias over two
/// million keys; with three it does.
const ROUNDS: usize = 10;

/// How long the permutations are; each key gives one of them.
///
/// Up to 64 it is a Fisher–Yates shuffle, above a Feistel network over the mixed radix a·b ≥ n,
/// a = ⌈√n⌉, with walking back into range. Time O(1) a position, memory O(1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Shuffle {
    n: u64,
    /// Values are high·a + low with low below a and high below b.
    a: u32,
    b: u32,
}

impl Shuffle {
    pub(super) fn new(n: u64) -> Self {
        let a = ceil_sqrt(n).max(1);
        Self { n, a: a as u32, b: n.div_ceil(a) as u32 }
    }

    /// Where the positions `start..start + values.len()`, all below n, go under the key.
    pub(super) fn fill(self, key: Stream, start: u64, values: &mut [u64]) {
        if self.n <= TABLE_MAX as u64 {
            let table = self.table(key);
            for (value, moved) in values.iter_mut().zip(&table[start as usize..]) {
                *value = u64::from(*moved);
            }
            return;
        }
        let keys: [[u32; 2]; ROUNDS] = std::array::from_fn(|round| {
            let bits = key.bits(round as u64);
            [bits as u32, (bits >> 32) as u32]
        });
        for (run, values) in values.chunks_mut(LANES).enumerate() {
            self.network(&keys, start + (run * LANES) as u64, values);
        }
    }

    fn table(self, key: Stream) -> [u8; TABLE_MAX] {
        let mut table = std::array::from_fn(|i| i as u8);
        for last in (1..self.n as usize).rev() {
            table.swap(last, key.below(last as u64, last as u64 + 1) as usize);
        }
        table
    }

    fn network(self, keys: &[[u32; 2]; ROUNDS], start: u64, values: &mut [u64]) {
        let (mut highs, mut lows) = ([0; LANES], [0; LANES]);
        let (highs, lows) = (&mut highs[..values.len()], &mut lows[..values.len()]);
        let (a, first) = (u64::from(self.a), (start % u64::from(self.a)) as u32);
        for (lane, (high, low)) in highs.iter_mut().zip(&mut *lows).enumerate() {
            let unwrapped = first + lane as u32;
            let wraps = u32::from(unwrapped >= self.a) + u32::from(unwrapped >= 2 * self.a);
            (*high, *low) = ((start / a) as u32 + wraps, unwrapped - wraps * self.a);
        }
        self.rounds(keys, highs, lows);
        for (value, (high, low)) in values.iter_mut().zip(highs.iter().zip(&*lows)) {
            *value = u64::from(*high) * a + u64::from(*low);
            while *value >= self.n {
                let (mut high, mut low) = ([(*value / a) as u32], [(*value % a) as u32]);
                self.rounds(keys, &mut high, &mut low);
                *value = u64::from(high[0]) * a + u64::from(low[0]);
            }
        }
    }

    fn rounds(self, keys: &[[u32; 2]; ROUNDS], highs: &mut [u32], lows: &mut [u32]) {
        for pair in keys.chunks_exact(2) {
            for (low, high) in lows.iter_mut().zip(&*highs) {
                *low = add(*low, scatter(*high, pair[0], self.a), self.a);
            }
            for (high, low) in highs.iter_mut().zip(&*lows) {
                *high = add(*high, scatter(*low, pair[1], self.b), self.b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::Shuffle;
    use crate::random::{Purpose, Stream};

    fn values(n: u64, seed: u64) -> Vec<u64> {
        let mut values = vec![0; n as usize];
        Shuffle::new(n).fill(Stream::new(seed, Purpose::BatchMembers, 0), 0, &mut values);
        values
    }

    #[test]
    fn every_length_is_a_bijection() {
        for n in (1..300).chain([4095, 4096, 65_537]) {
            let mut sorted = values(n, n);
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..n), "n = {n}");
        }
    }

    #[test]
    fn it_can_be_entered_anywhere() {
        for n in [1, 2, 64, 65, 82, 1057, 5000] {
            let (all, key) = (values(n, 5), Stream::new(5, Purpose::BatchMembers, 0));
            for start in (0..n).step_by(1 + n as usize / 50) {
                let mut part = vec![0; (n - start).min(1 + start % 61) as usize];
                Shuffle::new(n).fill(key, start, &mut part);
                assert_eq!(part, all[start as usize..][..part.len()], "n = {n}");
            }
        }
    }

    #[test]
    fn the_largest_length_stays_in_range() {
        let n = super::super::MAX_DRAWS;
        let mut last = [0; 100];
        Shuffle::new(n).fill(Stream::new(5, Purpose::BatchMembers, 0), n - 100, &mut last);
        assert!(last.iter().all(|&value| value < n));
    }

    #[test]
    fn values_are_stable() {
        assert_eq!(values(8, 42), [3, 1, 7, 0, 2, 5, 6, 4]);
        assert_eq!(values(1057, 42)[..5], [286, 696, 13, 131, 592]);
    }

    #[test]
    fn all_orders_of_up_to_five_occur_evenly() {
        for n in 2..=5_u64 {
            let orders: u64 = (1..=n).product();
            let mut seen = HashMap::new();
            for seed in 0..2000 * orders {
                *seen.entry(values(n, seed)).or_insert(0_u64) += 1;
            }
            assert_eq!(seen.len() as u64, orders);
            // Six standard deviations of a count of mean 2000.
            assert!(seen.values().all(|&count| count.abs_diff(2000) < 270), "n = {n}");
        }
    }

    /// χ² of where a position goes, and of how far apart neighbours land, over many keys.
    #[test]
    fn positions_and_neighbours_are_uniform() {
        for n in [6_u64, 56, 64, 65, 1057, 4099] {
            let (keys, shuffle) = (20_000, Shuffle::new(n));
            let bins = n.min(64);
            let (mut places, mut gaps) = (vec![0.0; bins as usize], vec![0.0; bins as usize]);
            for seed in 0..keys {
                let mut pair = [0; 2];
                shuffle.fill(Stream::new(seed, Purpose::BatchMembers, 3), n / 3, &mut pair);
                places[(pair[0] * bins / n) as usize] += 1.0;
                gaps[((pair[1] + n - pair[0]) % n * bins / n) as usize] += 1.0;
            }
            // The bins' own sizes; the gap 0 doesn't occur.
            let size = |bin: u64| ((bin + 1) * n).div_ceil(bins) - (bin * n).div_ceil(bins);
            for (found, missing) in [(places, 0), (gaps, 1)] {
                let chi2: f64 = (0..bins)
                    .zip(found)
                    .filter(|(bin, _)| size(*bin) > if *bin == 0 { missing } else { 0 })
                    .map(|(bin, count)| {
                        let cells = size(bin) - if bin == 0 { missing } else { 0 };
                        let expected = (keys * cells) as f64 / (n - missing) as f64;
                        (count - expected).powi(2) / expected
                    })
                    .sum();
                let freedom = (bins - 1) as f64;
                assert!(chi2 < freedom + 6.0 * (2.0 * freedom).sqrt(), "n = {n}: {chi2}");
            }
        }
    }

    /// χ² of which value stands where, for every position of every length up to 64.
    #[test]
    fn every_position_is_uniform_up_to_64() {
        for n in 2..=64_u64 {
            let keys = 200 * n;
            let mut seen = vec![0.0; (n * n) as usize];
            for seed in 0..keys {
                for (position, value) in values(n, seed).into_iter().enumerate() {
                    seen[position * n as usize + value as usize] += 1.0;
                }
            }
            for (position, seen) in seen.chunks_exact(n as usize).enumerate() {
                let chi2: f64 =
                    seen.iter().map(|count: &f64| (count - 200.0).powi(2) / 200.0).sum();
                let freedom = (n - 1) as f64;
                // Over 2,079 positions this is left once in a thousand runs, if the seeds were others.
                assert!(
                    chi2 < freedom + 6.0 * (2.0 * freedom).sqrt() + 8.0,
                    "n = {n}, {position}: {chi2}"
                );
            }
        }
    }
}
