//! Properties of weighted draws that hold for all weights.
#![allow(
    missing_docs,
    clippy::similar_names,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

use std::sync::Arc;

use dbpt_core::sample::{AliasTable, Draws, SampleWeights, SuccessiveStream, WeightedStream};
use dbpt_core::{Result, Workers};
use proptest::prelude::*;

type Fill<'a> = dyn Fn(Draws, &mut [i64], &Workers) -> Result<()> + 'a;

/// Weights of any size, some of them 0 and the first above 0.
fn weights() -> impl Strategy<Value = Vec<f64>> {
    let weight = prop_oneof![
        2 => Just(0.0),
        5 => 0.0..10.0,
        1 => (-1074_i32..1023).prop_map(|exponent| 2_f64.powi(exponent)),
    ];
    prop::collection::vec(weight, 1..3000).prop_map(|mut weights| {
        weights[0] += 1e-3;
        weights
    })
}

fn draw(fill: &Fill, start: u64, stop: u64, step: u64, num_threads: usize) -> Vec<i64> {
    let draws = Draws { start, stop, step };
    let mut out = vec![0; draws.count(stop).unwrap()];
    fill(draws, &mut out, &Workers::new(num_threads)).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranks_together_are_the_global_order(
        weights in weights(),
        share in 0.0..1.0,
        seed: u64,
        epoch: u64,
        cut in 0.0..1.0,
        world in 1_u64..300,
        num_threads in 1_usize..4,
    ) {
        let workers = Workers::new(num_threads);
        let num_positive = weights.iter().filter(|&&weight| weight > 0.0).count();
        let length = 1 + (share * (num_positive - 1) as f64) as u64;
        let table = Arc::new(AliasTable::new(&weights, &workers).unwrap());
        let with = WeightedStream::new(table, length, seed, epoch).unwrap();
        let checked = Arc::new(SampleWeights::new(&weights, &workers).unwrap());
        let without = SuccessiveStream::new(checked, length, seed, epoch).unwrap();
        let fills: [&Fill; 2] = [
            &|draws, out, workers| with.fill(draws, out, workers),
            &|draws, out, workers| without.fill(draws, out, workers),
        ];
        let resumed = (cut * length as f64) as u64;
        for fill in fills {
            let all = draw(fill, 0, length, 1, 1);
            prop_assert!(all.iter().all(|&row| weights[row as usize] > 0.0));
            let parts: Vec<Vec<i64>> = (0..world)
                .map(|rank| draw(fill, (resumed + rank).min(length), length, world, num_threads))
                .collect();
            for (i, row) in all[resumed as usize..].iter().enumerate() {
                prop_assert_eq!(parts[i % world as usize][i / world as usize], *row);
            }
        }
        let mut once = draw(fills[1], 0, length, 1, 1);
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len() as u64, length);
    }

    /// Scaling by a power of two changes nothing, and neither does the type.
    #[test]
    fn only_the_proportions_count(
        whole in prop::collection::vec(0_u16..1000, 1..500), exponent in -1000_i32..900, length in 1_u64..200,
    ) {
        prop_assume!(whole.iter().any(|&weight| weight > 0));
        let narrow: Vec<f32> = whole.iter().map(|&weight| f32::from(weight)).collect();
        let scaled: Vec<f64> =
            whole.iter().map(|&weight| f64::from(weight) * 2_f64.powi(exponent)).collect();
        let workers = Workers::new(1);
        let (a, b) = (AliasTable::new(&narrow, &workers).unwrap(), AliasTable::new(&scaled, &workers).unwrap());
        prop_assert_eq!(a.entries(), b.entries());
        prop_assert_eq!(a.digest(&workers), b.digest(&workers));
        let length = length.min(whole.iter().filter(|&&weight| weight > 0).count() as u64);
        let order = |weights: SampleWeights| {
            let stream = SuccessiveStream::new(Arc::new(weights), length, 3, 1).unwrap();
            draw(&|draws, out, workers| stream.fill(draws, out, workers), 0, length, 1, 1)
        };
        prop_assert_eq!(
            order(SampleWeights::new(&narrow, &workers).unwrap()),
            order(SampleWeights::new(&scaled, &workers).unwrap())
        );
    }
}
