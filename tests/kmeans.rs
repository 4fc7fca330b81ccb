//! k-means: what it finds, whatever the input.
#![allow(
    missing_docs,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss
)]

use dbpt_core::cluster::{
    KMeans, KMeansStart, Matrix, Outputs, Points, Values, assign_centers, kmeans,
};
use dbpt_core::{Result, Workers};
use half::f16;
use proptest::prelude::*;

fn points(values: Values) -> Points {
    Points::new(Matrix::new("points", values, 2).unwrap(), None).unwrap()
}

fn cluster(values: Values, k: usize, seed: u64, num_threads: usize) -> Result<KMeans> {
    let start = KMeansStart::PlusPlus { k, seed, n_init: 2 };
    kmeans(points(values), start, 25, &Workers::new(num_threads))
}

/// Numbers between 0 and 1 in no order.
fn noise(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0).collect()
}

fn fit(
    values: &[f32],
    columns: usize,
    start: KMeansStart,
    max_iter: usize,
    num_threads: usize,
) -> Result<KMeans> {
    let points = Points::new(Matrix::new("points", Values::F32(values), columns)?, None)?;
    kmeans(points, start, max_iter, &Workers::new(num_threads))
}

fn plus_plus(k: usize, seed: u64, n_init: usize) -> KMeansStart<'static> {
    KMeansStart::PlusPlus { k, seed, n_init }
}

#[test]
fn separate_clusters_are_found() {
    let mut points = noise(3000);
    points.chunks_exact_mut(2).step_by(3).for_each(|row| row[0] += 50.0);
    let mut found = fit(&points, 2, plus_plus(2, 0, 3), 100, 2).unwrap();
    found.counts.sort_unstable();
    assert_eq!(found.counts, [500, 1000]);
    assert!((found.centers[0] - found.centers[2]).abs() > 49.0);
}

#[test]
fn the_result_doesn_t_depend_on_threads() {
    let points = noise(60_000);
    let one = fit(&points, 3, plus_plus(5, 1, 2), 30, 1).unwrap();
    for num_threads in [2, 3, 16] {
        let found = fit(&points, 3, plus_plus(5, 1, 2), 30, num_threads).unwrap();
        assert_eq!(one, found);
    }
}

#[test]
fn fewer_distinct_points_give_fewer_clusters() {
    let found = fit(&[1.0, 2.0, 1.0, 2.0, 5.0, 5.0], 2, plus_plus(3, 0, 2), 10, 1).unwrap();
    let mut counts = found.counts.clone();
    counts.sort_unstable();
    assert_eq!((counts, found.inertia), (vec![1, 2], 0.0));
}

#[test]
fn empty_clusters_restart_at_the_farthest_points() {
    let points = [0.0, 1.0, 2.0, 30.0, -40.0];
    let start = KMeansStart::Centers(&[1.0, 1e6, -1e6]);
    let found = fit(&points, 1, start, 10, 1).unwrap();
    assert_eq!(found.centers, [1.0, -40.0, 30.0]);
    assert_eq!(found.counts, [3, 1, 1]);
}

#[test]
fn bad_arguments_are_named() {
    let message = |points: &[f32], start, max_iter| {
        fit(points, 2, start, max_iter, 1).unwrap_err().to_string()
    };
    assert!(message(&[0.0; 4], plus_plus(0, 0, 1), 1).starts_with("k is 0"));
    assert!(message(&[0.0; 4], plus_plus(3, 0, 1), 1).starts_with("k is 3; expected at most"));
    assert!(message(&[0.0; 4], plus_plus(1, 0, 1), 0).starts_with("max_iter is 0"));
    assert!(message(&[0.0; 4], plus_plus(1, 0, 0), 1).starts_with("n_init is 0"));
    let bad = [0.0, 0.0, 0.0, f32::NAN];
    assert!(message(&bad, plus_plus(1, 0, 1), 1).starts_with("points[1, 1] is NaN"));
    assert!(message(&[], plus_plus(1, 0, 1), 1).starts_with("k is 1"));
    assert!(message(&[], KMeansStart::Centers(&[]), 1).starts_with("k is 0"));
    let centers = KMeansStart::Centers(&[0.0, f64::NAN]);
    assert!(message(&[0.0; 4], centers, 1).starts_with("centers[0, 1] is NaN"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn labels_centers_counts_and_inertia_belong_together(
        // Few distinct values, so that duplicates, ties and empty clusters occur.
        values in prop::collection::vec(prop::sample::select(vec![-3.0_f32, 0.0, 0.5, 7.0, 6e4]), 2..200),
        k in 1_usize..7,
        seed: u64,
    ) {
        let values = &values[..values.len() / 2 * 2];
        let k = k.min(values.len() / 2);
        let found = cluster(Values::F32(values), k, seed, 1).unwrap();
        let clusters = found.centers.len() / 2;
        let mut distinct: Vec<_> = values.chunks(2).map(|p| [p[0].to_bits(), p[1].to_bits()]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert!((1..=k.min(distinct.len())).contains(&clusters));
        let mut labels = vec![9_u8; values.len() / 2];
        let outputs = Outputs { labels: &mut labels, posterior: None, columns: 0, confidence: None };
        let workers = Workers::new(2);
        assign_centers(points(Values::F32(values)), &found.centers, 1.0, None, outputs, &workers).unwrap();
        let mut inertia = 0.0;
        let mut members = vec![0; clusters];
        for (point, &label) in values.chunks(2).zip(&labels) {
            members[usize::from(label)] += 1;
            let distance = |center: &[f64]| -> f64 {
                point.iter().zip(center).map(|(x, c)| (f64::from(*x) - c).powi(2)).sum()
            };
            let own = distance(&found.centers[usize::from(label) * 2..]);
            let nearest = found.centers.chunks(2).map(distance).fold(f64::INFINITY, f64::min);
            prop_assert!(own <= nearest * (1.0 + 1e-4) + 1e-2, "{own} {nearest}");
            inertia += own;
        }
        prop_assert!(members.iter().all(|&n| n > 0));
        prop_assert_eq!(&members, &found.counts);
        prop_assert!((found.inertia - inertia).abs() <= 1e-9 * inertia);
        prop_assert_eq!(&found, &cluster(Values::F32(values), k, seed, 3).unwrap());
        let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
        if half.iter().zip(values).all(|(h, x)| h.to_f32() == *x) {
            prop_assert_eq!(&found, &cluster(Values::F16(&half), k, seed, 1).unwrap());
        }
    }
}
