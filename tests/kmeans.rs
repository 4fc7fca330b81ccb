//! Properties of k-means that hold for all inputs.
#![allow(missing_docs, clippy::float_cmp)]

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
