//! Properties of the group stream that hold for all inputs.
#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use std::sync::Arc;

use dbpt_core::groups::GroupIndex;
use dbpt_core::sample::{Draws, Epoch, GroupStream, IndependentStream, quotas};
use dbpt_core::{Result, Workers};
use proptest::prelude::*;

const GROUPS: usize = 5;

type Fill<'a> = dyn Fn(Draws, &mut [i64]) -> Result<()> + 'a;

/// Groups with at least one row in group 0, and shares for the groups that have members.
fn groups_and_shares() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    let groups = prop::collection::vec(-1..GROUPS as i64, 1..400);
    (groups, prop::collection::vec(0.0..10.0, GROUPS)).prop_map(|(mut groups, mut shares)| {
        groups[0] = 0;
        shares[0] += 0.1;
        for (group, share) in shares.iter_mut().enumerate() {
            if !groups.contains(&(group as i64)) {
                *share = 0.0;
            }
        }
        (groups, shares)
    })
}

fn counts(index: &GroupIndex) -> Vec<i64> {
    (0..GROUPS).map(|group| index.count(group) as i64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quotas_are_exact(
        (groups, shares) in groups_and_shares(), num_samples in 1_u64..1 << 40,
    ) {
        let index = GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap();
        let found = quotas(&shares, &counts(&index), num_samples).unwrap();
        prop_assert_eq!(found.iter().sum::<i64>(), num_samples as i64);
        let total: f64 = shares.iter().sum();
        for (quota, share) in found.iter().zip(&shares) {
            prop_assert!((*quota as f64 - share / total * num_samples as f64).abs() < 1.01);
        }
    }

    #[test]
    fn every_member_is_drawn_equally_often(
        (groups, shares) in groups_and_shares(),
        num_samples in 1_u64..9000,
        seed: u64,
        epoch: u64,
    ) {
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let quotas = quotas(&shares, &counts(&index), num_samples).unwrap();
        let stream = GroupStream::new(index.clone(), &quotas, seed, epoch).unwrap();
        let mut times = vec![0; groups.len()];
        for row in stream.indices(0, num_samples, &Workers::new(2)).unwrap() {
            times[row as usize] += 1;
        }
        for (row, &group) in groups.iter().enumerate() {
            if group < 0 {
                prop_assert_eq!(times[row], 0);
                continue;
            }
            let (quota, count) = (quotas[group as usize], index.count(group as usize) as i64);
            prop_assert!((quota / count..=(quota + count - 1) / count).contains(&times[row]));
        }
    }

    #[test]
    fn any_position_can_be_sought(
        (groups, shares) in groups_and_shares(),
        num_samples in 1_u64..20_000,
        seed: u64,
        cut in (0.0..1.0, 0.0..1.0),
        num_threads in 1_usize..4,
    ) {
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let quotas = quotas(&shares, &counts(&index), num_samples).unwrap();
        let stream = GroupStream::new(index, &quotas, seed, 0).unwrap();
        let all = stream.indices(0, num_samples, &Workers::new(1)).unwrap();
        let start = (cut.0 * num_samples as f64) as u64;
        let stop = start + (cut.1 * (num_samples - start) as f64) as u64;
        let part = stream.indices(start, stop, &Workers::new(num_threads)).unwrap();
        prop_assert_eq!(&part[..], &all[start as usize..stop as usize]);
    }

    /// Whatever the number of ranks and the draw they resume from, each computes its own draws alone.
    #[test]
    fn ranks_together_are_the_global_order(
        (groups, shares) in groups_and_shares(),
        num_samples in 1_u64..20_000,
        seed: u64,
        epoch: u64,
        cut in 0.0..1.0,
        world in 1_u64..300,
    ) {
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let quotas = quotas(&shares, &counts(&index), num_samples).unwrap();
        let exact = GroupStream::new(index.clone(), &quotas, seed, epoch).unwrap();
        let random = IndependentStream::new(index, &quotas, num_samples, seed, epoch).unwrap();
        let resumed = (cut * num_samples as f64) as u64;
        let fills: [&Fill; 2] = [
            &|draws, out| exact.fill(draws, out, &Workers::new(2)),
            &|draws, out| random.fill(draws, out, &Workers::new(2)),
        ];
        for fill in fills {
            let draw = |start: u64, step: u64| {
                let draws = Draws { start: start.min(num_samples), stop: num_samples, step };
                let mut out = vec![0; draws.count(num_samples).unwrap()];
                fill(draws, &mut out).unwrap();
                out
            };
            let (order, ranks): (_, Vec<_>) =
                (draw(resumed, 1), (0..world).map(|rank| draw(resumed + rank, world)).collect());
            for (i, row) in order.iter().enumerate() {
                prop_assert_eq!(ranks[i % world as usize][i / world as usize], *row);
            }
            prop_assert_eq!(ranks.iter().map(Vec::len).sum::<usize>(), order.len());
        }
    }

    /// A plain epoch of n rows is a permutation, for every n.
    #[test]
    fn natural_shares_of_any_length_are_a_bijection(n in 1_i64..30_000, seed: u64, epoch: u64) {
        let groups: Vec<i16> = (0..n).map(|row| (row * row % 5) as i16).collect();
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let stream = GroupStream::new(index.clone(), &counts(&index), seed, epoch).unwrap();
        let mut rows = stream.indices(0, n as u64, &Workers::new(1)).unwrap();
        rows.sort_unstable();
        prop_assert!(rows.into_iter().eq(0..n));
    }
}

/// 2²⁴ + 1 draws, where `torch.multinomial` stops.
#[test]
fn more_than_two_to_the_24_draws_are_exact() {
    let groups: Vec<i64> = (0..1000).map(|row| row % 2).collect();
    let index = Arc::new(GroupIndex::new(&groups, Some(2), &Workers::new(1)).unwrap());
    let length = (1 << 24) + 1;
    let stream = GroupStream::new(index, &[length - 500, 500], 1, 0).unwrap();
    let mut times = vec![0_i64; 1000];
    for row in stream.indices(0, length as u64, &Workers::new(2)).unwrap() {
        times[row as usize] += 1;
    }
    assert!(times.iter().skip(1).step_by(2).all(|&n| n == 1));
    let (low, high) = ((length - 500) / 500, (length - 500) / 500 + 1);
    assert!(times.iter().step_by(2).all(|&n| n == low || n == high));
}

/// An epoch far beyond 2³² draws, of which only a few are made.
#[test]
fn positions_beyond_32_bits_can_be_sought() {
    let index = Arc::new(GroupIndex::new(&[0, 1, 1], Some(2), &Workers::new(1)).unwrap());
    let stream = GroupStream::new(index, &[1 << 40, 1 << 41], 1, 0).unwrap();
    let start = (1 << 41) + 12_345;
    let all = stream.indices(start, start + 30_000, &Workers::new(1)).unwrap();
    assert_eq!(all[100..200], stream.indices(start + 100, start + 200, &Workers::new(1)).unwrap());
    let mut strided = [0; 3];
    let draws = Draws { start, stop: start + 25_000, step: 10_000 };
    stream.fill(draws, &mut strided, &Workers::new(1)).unwrap();
    assert_eq!(strided, [all[0], all[10_000], all[20_000]]);
    let of_first = all.iter().filter(|&&row| row == 0).count() as f64;
    assert!((of_first / 30_000.0 - 1.0 / 3.0).abs() < 0.02);
}
