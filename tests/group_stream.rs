//! Properties of the group stream, and of batches of a fixed composition, that hold for all inputs.
#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use std::sync::Arc;

use dbpt_core::groups::GroupIndex;
use dbpt_core::sample::{self, BatchStream, Draws, Epoch, GroupStream, IndependentStream};
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

fn quotas(shares: &[f64], counts: &[i64], num_samples: u64) -> Vec<i64> {
    sample::quotas(shares, counts, num_samples, 0..=num_samples, 7, 3).unwrap()
}

fn some(stream: &BatchStream, batches: Draws, num_threads: usize) -> Vec<i64> {
    let mut out = vec![0; batches.count(stream.len()).unwrap() * stream.batch_size().unwrap()];
    stream.fill(batches, &mut out, &Workers::new(num_threads)).unwrap();
    out
}

fn drawn(stream: &BatchStream, start: u64, stop: u64) -> Vec<i64> {
    some(stream, Draws { start, stop, step: 1 }, 2)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quotas_are_exact(
        (groups, shares) in groups_and_shares(), num_samples in 1_u64..1 << 40,
    ) {
        let index = GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap();
        let found = quotas(&shares, &counts(&index), num_samples);
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
        let quotas = quotas(&shares, &counts(&index), num_samples);
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
        let quotas = quotas(&shares, &counts(&index), num_samples);
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

    #[test]
    fn batches_are_composed_as_asked_and_members_drawn_equally_often_at_any_point(
        (groups, shares) in groups_and_shares(),
        batch_size in 5_usize..60,
        num_batches in 1_u64..120,
        seed: u64,
        epoch: u64,
    ) {
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let found = quotas(&shares, &counts(&index), batch_size as u64 * num_batches);
        let stream = BatchStream::new(index.clone(), &found, batch_size, None, seed, epoch).unwrap();
        let rows = drawn(&stream, 0, num_batches);
        let (mut times, mut totals) = (vec![0_i64; groups.len()], [0; GROUPS]);
        for batch in rows.chunks(batch_size) {
            let mut held = [0; GROUPS];
            for &row in batch {
                times[row as usize] += 1;
                held[groups[row as usize] as usize] += 1;
            }
            for (group, &count) in held.iter().enumerate() {
                let (part, n) = (found[group] / num_batches as i64, num_batches as i64);
                prop_assert!((part..=part + i64::from(found[group] % n > 0)).contains(&count));
                totals[group] += count;
                let size = index.count(group) as i64;
                if size > 0 {
                    let passes = totals[group] / size;
                    let members = index.members(group, &Workers::new(1)).unwrap();
                    let drawn = members.iter().map(|&row| times[row as usize] - passes);
                    prop_assert!(drawn.into_iter().all(|beyond| beyond == 0 || beyond == 1));
                }
            }
        }
        prop_assert_eq!(&totals[..], &found[..]);
    }

    #[test]
    fn any_batch_can_be_sought(
        (groups, shares) in groups_and_shares(),
        num_batches in 1_u64..5_000,
        seed: u64,
        cut in (0.0..1.0, 0.0..1.0),
        step in 1_u64..200,
        num_threads in 1_usize..4,
    ) {
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let found = quotas(&shares, &counts(&index), 7 * num_batches);
        let stream = BatchStream::new(index, &found, 7, None, seed, 0).unwrap();
        let all = drawn(&stream, 0, num_batches);
        let start = (cut.0 * num_batches as f64) as u64;
        let stop = start + (cut.1 * (num_batches - start) as f64) as u64;
        let part = some(&stream, Draws { start, stop, step }, num_threads);
        let expected = (start..stop).step_by(step as usize);
        let expected: Vec<i64> =
            expected.flat_map(|batch| all[batch as usize * 7..][..7].to_vec()).collect();
        prop_assert_eq!(part, expected);
    }

    /// Equally many members of different groups, each group as often as its quota says, sought anywhere.
    #[test]
    fn batches_of_some_groups_are_exact(
        (groups, _) in groups_and_shares(),
        per_batch in 1_usize..4,
        members in 1_usize..9,
        num_batches in 1_u64..90,
        seed: u64,
    ) {
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let counts = counts(&index);
        let shares: Vec<f64> = counts.iter().map(|&count| f64::from(u8::from(count > 0))).collect();
        let per_batch = per_batch.min(counts.iter().filter(|&&count| count > 0).count());
        let found = quotas(&shares, &counts, per_batch as u64 * num_batches);
        let found: Vec<i64> = found.iter().map(|batches| batches * members as i64).collect();
        let size = per_batch * members;
        let stream = BatchStream::new(index, &found, size, Some(per_batch), seed, 1).unwrap();
        let rows = drawn(&stream, 0, num_batches);
        let mut totals = [0; GROUPS];
        for (number, batch) in rows.chunks(size).enumerate() {
            let mut held = [0; GROUPS];
            for row in batch {
                held[groups[*row as usize] as usize] += 1;
            }
            prop_assert!(held.iter().all(|&count| count == 0 || count == members as i64));
            totals.iter_mut().zip(held).for_each(|(total, count)| *total += count);
            let alone = drawn(&stream, number as u64, number as u64 + 1);
            prop_assert_eq!(&alone[..], batch);
        }
        prop_assert_eq!(&totals[..], &found[..]);
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

/// 2²⁴ + 1 rows and draws, where `torch.multinomial` stops.
#[test]
fn more_than_two_to_the_24_rows_in_batches_are_exact() {
    let length = (1 << 24) + 1;
    let groups: Vec<i64> = (0..length).map(|row| i64::from(row % 97 == 0)).collect();
    let index = Arc::new(GroupIndex::new(&groups, Some(2), &Workers::new(1)).unwrap());
    let quotas = [index.count(0) as i64, index.count(1) as i64];
    let stream = BatchStream::new(index, &quotas, length / 97, None, 1, 0).unwrap();
    assert_eq!(stream.len() * (length as u64 / 97), length as u64);
    let mut rows = drawn(&stream, 0, stream.len());
    rows.sort_unstable();
    assert!(rows.into_iter().eq(0..length as i64));
}
