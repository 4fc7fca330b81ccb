//! Properties of k-means that hold for all inputs.
#![allow(missing_docs, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use dbpt_core::Workers;
use dbpt_core::cluster::kmeans;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn labels_centers_and_inertia_belong_together(
        // Few distinct values, so that duplicates, ties and empty clusters occur.
        values in prop::collection::vec(prop::sample::select(vec![-3.0_f32, 0.0, 0.5, 7.0, 1e6]), 2..200),
        k in 1_usize..7,
        seed: u64,
    ) {
        let points = &values[..values.len() / 2 * 2];
        let k = k.min(points.len() / 2);
        let found = kmeans(points, 2, k, seed, 25, 2, &Workers::new(1)).unwrap();
        let clusters = found.centers.len() / 2;
        let mut distinct: Vec<_> = points.chunks(2).map(|p| [p[0].to_bits(), p[1].to_bits()]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert!((1..=k.min(distinct.len())).contains(&clusters));
        let mut inertia = 0.0;
        let mut members = vec![0; clusters];
        for (point, &label) in points.chunks(2).zip(&found.labels) {
            members[label as usize] += 1;
            let distance = |center: &[f64]| -> f64 {
                point.iter().zip(center).map(|(x, c)| (f64::from(*x) - c).powi(2)).sum()
            };
            let own = distance(&found.centers[label as usize * 2..]);
            let nearest = found.centers.chunks(2).map(distance).fold(f64::INFINITY, f64::min);
            prop_assert!(own <= nearest * (1.0 + 1e-4) + 1e-2, "{own} {nearest}");
            inertia += own;
        }
        prop_assert!(members.iter().all(|&n| n > 0));
        prop_assert!((found.inertia - inertia).abs() <= 1e-9 * inertia);
        prop_assert_eq!(&found, &kmeans(points, 2, k, seed, 25, 2, &Workers::new(3)).unwrap());
    }
}
