//! Properties of batches of a fixed composition that hold for all inputs.
#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use std::sync::Arc;

use dbpt_core::Workers;
use dbpt_core::groups::GroupIndex;
use dbpt_core::sample::{BatchStream, Draws, Epoch, quotas};
use proptest::prelude::*;

const GROUPS: usize = 5;

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
    fn batches_are_composed_as_asked_and_members_drawn_equally_often_at_any_point(
        (groups, shares) in groups_and_shares(),
        batch_size in 5_usize..60,
        num_batches in 1_u64..120,
        seed: u64,
        epoch: u64,
    ) {
        let index = Arc::new(GroupIndex::new(&groups, Some(GROUPS), &Workers::new(1)).unwrap());
        let found = quotas(&shares, &counts(&index), batch_size as u64 * num_batches).unwrap();
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
        let found = quotas(&shares, &counts(&index), 7 * num_batches).unwrap();
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
        let found = quotas(&shares, &counts, per_batch as u64 * num_batches).unwrap();
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

/// 2²⁴ + 1 rows and draws, where `torch.multinomial` stops.
#[test]
fn more_than_two_to_the_24_rows_are_exact() {
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

/// An epoch far beyond 2³² batches, of which only a few are made.
#[test]
fn batches_beyond_32_bits_can_be_sought() {
    let index = Arc::new(GroupIndex::new(&[0, 1, 1], Some(2), &Workers::new(1)).unwrap());
    let stream = BatchStream::new(index, &[1 << 40, 1 << 41], 3, None, 1, 0).unwrap();
    let start = (1 << 40) - 1000;
    let all = drawn(&stream, start, start + 1000);
    assert_eq!(all[300..330], drawn(&stream, start + 100, start + 110));
    assert!(all.chunks(3).all(|batch| batch.iter().filter(|row| **row == 0).count() == 1));
}
