//! Keyed permutations of 0..n with random access: position i costs O(1), and nothing of length n is stored.

use crate::random::Stream;

/// Up to this length a pass over a group is shuffled in a table: few Feistel rounds on tiny halves are a poor shuffle.
pub(super) const PASS_TABLE_MAX: u64 = 64;
/// Feistel rounds for a pass over 65 members and more, half of them for either half of a value. Six show a bias in the
/// χ² tests below, eight none.
const PASS_ROUNDS: usize = 8;
/// Positions that go through the rounds together, so that they vectorise.
pub(super) const LANES: usize = 64;

/// Permutations of one length; keys choose one of them.
///
/// It is a Feistel network over the mixed radix a·b ≥ n, a = ⌈√n⌉; values from n on, fewer than a, are walked back into
/// range along their cycle (Black and Rogaway, 2002).
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    pub(super) n: u64,
    /// Values are high·a + low with low below a and high below b.
    pub(super) a: u32,
    b: u32,
    /// ⌊(2⁶⁴ - 1) / a⌋, for division by multiplication.
    reciprocal: u64,
}

impl Length {
    pub(super) fn new(n: u64) -> Self {
        let root = n.isqrt();
        let a = (root + u64::from(root * root < n)).max(1);
        Self { n, a: a as u32, b: n.div_ceil(a) as u32, reciprocal: u64::MAX / a }
    }

    #[inline(always)]
    pub(super) fn halves(self, value: u64) -> (u32, u32) {
        let (high, low) = divide(value, u64::from(self.a), self.reciprocal);
        (high as u32, low as u32)
    }

    #[inline(always)]
    fn join(self, high: u32, low: u32) -> u64 {
        u64::from(high) * u64::from(self.a) + u64::from(low)
    }
}

/// A permutation of `0..n`, together with the [`Rounds`] that many share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    pub(super) length: Length,
    key: [u32; 2],
}

impl Network {
    pub(super) fn new(length: Length, key: u64) -> Self {
        Self { length, key: [key as u32, (key >> 32) as u32] }
    }
}

/// The keys of the rounds of a Feistel network; each permutation combines them with its own.
#[derive(Debug, Clone)]
pub(super) struct Rounds {
    keys: [[u32; 2]; PASS_ROUNDS],
    used: usize,
}

impl Rounds {
    pub(super) fn new(stream: Stream, used: usize) -> Self {
        let keys = std::array::from_fn(|round| {
            let bits = stream.bits(round as u64);
            [bits as u32, (bits >> 32) as u32]
        });
        Self { keys, used }
    }

    /// The rounds of passes over groups.
    pub(super) fn of_passes(stream: Stream) -> Self {
        Self::new(stream, PASS_ROUNDS)
    }

    /// Compute the values at positions `start..start + values.len()` of a pass over a group, under `key`.
    pub(super) fn pass(&self, length: Length, key: Stream, start: u64, values: &mut [u64]) {
        if length.n <= PASS_TABLE_MAX {
            let mut table = [0_u8; PASS_TABLE_MAX as usize];
            let table = &mut table[..length.n as usize];
            shuffle(table, key);
            for (value, moved) in values.iter_mut().zip(&table[start as usize..]) {
                *value = u64::from(*moved);
            }
            return;
        }
        let network = Network::new(length, key.bits(0));
        let (mut high, mut low) = ([0; LANES], [0; LANES]);
        for (chunk, values) in values.chunks_mut(LANES).enumerate() {
            let (high, low) = (&mut high[..values.len()], &mut low[..values.len()]);
            for (lane, (high, low)) in high.iter_mut().zip(&mut *low).enumerate() {
                (*high, *low) = length.halves(start + (chunk * LANES + lane) as u64);
            }
            self.fill(&network, high, low, values);
        }
    }

    /// Compute the values of the halves under one permutation. Those beyond `values` may be up to 64 steps beyond n;
    /// they don't overflow and aren't used.
    #[inline(always)]
    pub(super) fn fill(
        &self,
        network: &Network,
        high: &mut [u32],
        low: &mut [u32],
        values: &mut [u64],
    ) {
        let Network { length, key } = *network;
        self.run(high, low, |_| (length.a, length.b), |_| key);
        let mut all_within = true;
        for (value, (high, low)) in values.iter_mut().zip(high.iter().zip(&*low)) {
            *value = length.join(*high, *low);
            all_within &= *value < length.n;
        }
        if !all_within {
            for value in values {
                *value = self.walk_back(network, *value);
            }
        }
    }

    /// Compute the values at positions, each under its own permutation.
    #[inline(always)]
    pub(super) fn fill_lanes(&self, lanes: &mut Lanes) {
        let Lanes { high, low, a, b, key, .. } = lanes;
        self.run(high, low, |lane| (a[lane], b[lane]), |lane| [key.0[lane], key.1[lane]]);
    }

    /// Follow the cycle of a value beyond n until it is back in range; on average less than one value in √n needs it.
    #[inline(never)]
    fn walk_back(&self, network: &Network, mut value: u64) -> u64 {
        let Network { length, key } = *network;
        while value >= length.n {
            let (high, low) = length.halves(value);
            let (mut high, mut low) = ([high], [low]);
            self.run(&mut high, &mut low, |_| (length.a, length.b), |_| key);
            value = length.join(high[0], low[0]);
        }
        value
    }

    #[inline(always)]
    fn run(
        &self,
        high: &mut [u32],
        low: &mut [u32],
        radix: impl Fn(usize) -> (u32, u32),
        key: impl Fn(usize) -> [u32; 2],
    ) {
        for pair in self.keys[..self.used].chunks_exact(2) {
            for (lane, (low, high)) in low.iter_mut().zip(&*high).enumerate() {
                let (a, _) = radix(lane);
                *low = add(*low, scatter(*high, pair[0], key(lane), a), a);
            }
            for (lane, (high, low)) in high.iter_mut().zip(&*low).enumerate() {
                let (_, b) = radix(lane);
                *high = add(*high, scatter(*low, pair[1], key(lane), b), b);
            }
        }
    }
}

/// Positions on their way through the rounds, each under its own permutation.
pub(super) struct Lanes {
    high: [u32; LANES],
    low: [u32; LANES],
    a: [u32; LANES],
    b: [u32; LANES],
    key: ([u32; LANES], [u32; LANES]),
}

impl Lanes {
    pub(super) fn new() -> Self {
        let zero = [0; LANES];
        Self { high: zero, low: zero, a: zero, b: zero, key: (zero, zero) }
    }

    #[inline(always)]
    pub(super) fn set(&mut self, lane: usize, network: &Network, position: u64) {
        (self.high[lane], self.low[lane]) = network.length.halves(position);
        (self.a[lane], self.b[lane]) = (network.length.a, network.length.b);
        (self.key.0[lane], self.key.1[lane]) = (network.key[0], network.key[1]);
    }

    /// Return the value at the position, after [`Rounds::fill_lanes`].
    #[inline(always)]
    pub(super) fn get(&self, lane: usize, network: &Network, rounds: &Rounds) -> u64 {
        let value = network.length.join(self.high[lane], self.low[lane]);
        if value < network.length.n { value } else { rounds.walk_back(network, value) }
    }
}

/// Quotient and rest of a value below 2⁴⁸, given ⌊(2⁶⁴ - 1) / divisor⌋: the product's upper half is the quotient or one
/// less.
#[inline(always)]
pub(super) fn divide(value: u64, divisor: u64, reciprocal: u64) -> (u64, u64) {
    let quotient = ((u128::from(value) * u128::from(reciprocal)) >> 64) as u64;
    let rest = value - quotient * divisor;
    let is_less = rest >= divisor;
    (quotient + u64::from(is_less), rest - if is_less { divisor } else { 0 })
}

/// The round function: a keyed hash of `half`, scaled to `0..modulus`.
#[inline(always)]
fn scatter(half: u32, round: [u32; 2], key: [u32; 2], modulus: u32) -> u32 {
    let h = (half ^ round[0] ^ key[0]).wrapping_mul(0x9E37_79B1);
    let h = (h ^ (h >> 15)).wrapping_add(round[1] ^ key[1]).wrapping_mul(0x85EB_CA77);
    // The high bits count, and they depend on every bit of both inputs.
    ((u64::from(h) * u64::from(modulus)) >> 32) as u32
}

/// x + y modulo `modulus`, without a branch: if the sum is in range, the difference wraps upwards.
#[inline(always)]
fn add(x: u32, y: u32, modulus: u32) -> u32 {
    let sum = x + y;
    sum.min(sum.wrapping_sub(modulus))
}

/// Fill `table` with 0, 1, 2, ... in a keyed order (Fisher and Yates).
pub(super) fn shuffle<T: TryFrom<usize>>(table: &mut [T], key: Stream) {
    for (i, entry) in table.iter_mut().enumerate() {
        if let Ok(i) = T::try_from(i) {
            *entry = i;
        }
    }
    reorder(table, key);
}

/// Put `values` in a keyed order.
pub(super) fn reorder<T>(values: &mut [T], key: Stream) {
    for last in (1..values.len()).rev() {
        values.swap(last, key.below(last as u64, last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Length, Rounds, divide};
    use crate::random::{Purpose, Stream};

    fn key(seed: u64) -> Stream {
        Stream::new(seed, Purpose::Permutation, 0)
    }

    /// The positions from `start` on, of one of many permutations that share their rounds.
    fn pass(n: u64, seed: u64, start: u64, values: &mut [u64]) {
        Rounds::of_passes(key(seed / 64)).pass(Length::new(n), key(seed), start, values);
    }

    fn of_pass(n: u64, seed: u64) -> Vec<u64> {
        let mut values = vec![0; n as usize];
        pass(n, seed, 0, &mut values);
        values
    }

    #[test]
    fn every_length_is_a_bijection() {
        for n in (1..300).chain(4090..4300).chain([65_535, 65_536, 65_537, 99_991]) {
            let mut values = of_pass(n, n);
            values.sort_unstable();
            assert!(values.into_iter().eq(0..n), "n = {n}");
        }
    }

    #[test]
    fn they_can_be_entered_anywhere() {
        for n in [1, 2, 10, 64, 65, 82, 1057, 4096, 4097, 50_000] {
            let all = of_pass(n, 5);
            for start in (0..n).step_by(1 + n as usize / 9) {
                let mut part = vec![0; (n - start).min(1 + start % 131) as usize];
                pass(n, 5, start, &mut part);
                assert_eq!(part, all[start as usize..][..part.len()], "n = {n}");
            }
        }
    }

    #[test]
    fn the_largest_length_stays_in_range() {
        let n = crate::sample::MAX_DRAWS;
        let mut last = [0; 100];
        pass(n, 5, n - 100, &mut last);
        assert!(last.iter().all(|&value| value < n));
    }

    #[test]
    fn division_is_exact() {
        for divisor in [1, 2, 3, 65, (1 << 24) - 1, 1 << 24, (1 << 32) + 1, (1 << 48) - 59, 1 << 48]
        {
            let some = (0..1000).map(|i| key(1).below(i, 1 << 48));
            for value in
                some.chain((0..64).flat_map(|i| [i, i * divisor, i * divisor + divisor - 1]))
            {
                let value = value.min((1 << 48) - 1);
                let found = divide(value, divisor, u64::MAX / divisor);
                assert_eq!(found, (value / divisor, value % divisor));
            }
        }
    }

    #[test]
    fn values_are_stable() {
        assert_eq!(of_pass(8, 42), [7, 4, 6, 2, 0, 5, 3, 1]);
        assert_eq!(of_pass(1057, 42)[..5], [657, 1039, 56, 836, 916]);
    }

    fn chi2(found: &[u64], expected: f64) -> f64 {
        found.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
    }

    /// Left about once in a million runs, if the seeds were others.
    fn at_most(freedom: usize) -> f64 {
        freedom as f64 + 6.0 * (2.0 * freedom as f64).sqrt() + 8.0
    }

    #[test]
    fn all_orders_of_up_to_five_occur_evenly() {
        for n in 2..=5_u64 {
            let orders: u64 = (1..=n).product();
            let mut seen = HashMap::new();
            for seed in 0..2000 * orders {
                *seen.entry(of_pass(n, seed)).or_insert(0) += 1;
            }
            assert_eq!(seen.len() as u64, orders);
            let counts: Vec<u64> = seen.into_values().collect();
            assert!(chi2(&counts, 2000.0) < at_most(counts.len() - 1), "n = {n}");
        }
    }

    /// χ² of which value stands where, for every position of many lengths: of tables and, from 65 on, networks.
    #[test]
    fn every_position_is_uniform() {
        for n in (2..=72).chain([80, 81, 82, 99, 100]) {
            let mut seen = vec![0; n * n];
            for seed in 0..200 * n as u64 {
                for (position, value) in of_pass(n as u64, seed).into_iter().enumerate() {
                    seen[position * n + value as usize] += 1;
                }
            }
            for (position, seen) in seen.chunks_exact(n).enumerate() {
                assert!(chi2(seen, 200.0) < at_most(n - 1), "n = {n}, position {position}");
            }
        }
    }

    /// χ² of where a position goes, and of how far apart neighbours land, in up to 64 bins of nearly the same size.
    #[test]
    fn positions_and_neighbours_are_uniform() {
        for n in [6_u64, 56, 64, 65, 82, 1057, 4096, 4099, 5003] {
            let (keys, bins) = (100_000, n.min(64));
            for position in [0, n / 3, n - 2] {
                let (mut places, mut gaps) = (vec![0; bins as usize], vec![0; bins as usize]);
                for seed in 0..keys {
                    let mut pair = [0; 2];
                    pass(n, seed, position, &mut pair);
                    places[(pair[0] * bins / n) as usize] += 1;
                    // From 0 to n - 2, as the gap 0 doesn't occur.
                    let gap = (pair[1] + n - pair[0]) % n - 1;
                    gaps[(gap * bins / n) as usize] += 1;
                }
                for (found, values) in [(places, n), (gaps, n - 1)] {
                    let size = |bin: u64| {
                        ((bin + 1) * n).div_ceil(bins).min(values) - (bin * n).div_ceil(bins)
                    };
                    let terms = (0..bins).zip(found).filter(|(bin, _)| size(*bin) > 0);
                    let chi2: f64 = terms
                        .map(|(bin, count)| {
                            let expected = (keys * size(bin)) as f64 / values as f64;
                            (f64::from(count) - expected).powi(2) / expected
                        })
                        .sum();
                    assert!(chi2 < at_most(bins as usize - 1), "n = {n}, {position}: {chi2}");
                }
            }
        }
    }

    /// χ² of the sets of three that the first places of a pass hold: random subsets, not only random members.
    #[test]
    fn pairs_and_triples_are_uniform() {
        for n in [6_u64, 64, 65, 70] {
            let (mut pairs, mut triples) = (HashMap::new(), HashMap::new());
            let sets = n * (n - 1) * (n - 2) / 6;
            for seed in 0..20 * sets {
                let mut first = [0; 3];
                pass(n, seed, 0, &mut first);
                first.sort_unstable();
                *triples.entry(first).or_insert(0) += 1;
                for pair in [[first[0], first[1]], [first[0], first[2]], [first[1], first[2]]] {
                    *pairs.entry(pair).or_insert(0) += 1;
                }
            }
            let (pairs, triples): (Vec<u64>, Vec<u64>) =
                (pairs.into_values().collect(), triples.into_values().collect());
            let num_pairs = n * (n - 1) / 2;
            assert_eq!((pairs.len() as u64, triples.len() as u64), (num_pairs, sets));
            assert!(chi2(&triples, 20.0) < at_most(triples.len() - 1), "n = {n}");
            let expected = (60 * sets) as f64 / num_pairs as f64;
            assert!(chi2(&pairs, expected) < at_most(pairs.len() - 1), "n = {n}");
        }
    }
}
