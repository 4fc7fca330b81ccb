//! Properties of weighted draws that hold for all weights.
#![allow(
    missing_docs,
    clippy::similar_names,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

use std::sync::Arc;

use dbpt_core::Workers;
use dbpt_core::sample::{AliasTable, Draws, Epoch, WeightedStream};
use proptest::prelude::*;

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

fn draw(stream: &WeightedStream, start: u64, stop: u64, step: u64, num_threads: usize) -> Vec<i64> {
    let draws = Draws { start, stop, step };
    let mut out = vec![0; draws.count(stop).unwrap()];
    stream.fill(draws, &mut out, &Workers::new(num_threads)).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranks_together_are_the_global_order(
        weights in weights(),
        length in 1_u64..3000,
        seed: u64,
        epoch: u64,
        cut in 0.0..1.0,
        world in 1_u64..300,
        num_threads in 1_usize..4,
    ) {
        let workers = Workers::new(num_threads);
        let table = Arc::new(AliasTable::new(&weights, &workers).unwrap());
        let stream = WeightedStream::new(table, length, seed, epoch).unwrap();
        let resumed = (cut * length as f64) as u64;
        let all = draw(&stream, 0, length, 1, 1);
        prop_assert!(all.iter().all(|&row| weights[row as usize] > 0.0));
        let parts: Vec<Vec<i64>> = (0..world)
            .map(|rank| draw(&stream, (resumed + rank).min(length), length, world, num_threads))
            .collect();
        for (i, row) in all[resumed as usize..].iter().enumerate() {
            prop_assert_eq!(parts[i % world as usize][i / world as usize], *row);
        }
    }

    /// Scaling by a power of two changes nothing, and neither does the type.
    #[test]
    fn only_the_proportions_count(
        whole in prop::collection::vec(0_u16..1000, 1..500), exponent in -1000_i32..900,
    ) {
        prop_assume!(whole.iter().any(|&weight| weight > 0));
        let narrow: Vec<f32> = whole.iter().map(|&weight| f32::from(weight)).collect();
        let scaled: Vec<f64> =
            whole.iter().map(|&weight| f64::from(weight) * 2_f64.powi(exponent)).collect();
        let workers = Workers::new(1);
        let (a, b) = (AliasTable::new(&narrow, &workers).unwrap(), AliasTable::new(&scaled, &workers).unwrap());
        prop_assert_eq!(a.entries(), b.entries());
        prop_assert_eq!(a.digest(&workers), b.digest(&workers));
    }
}
