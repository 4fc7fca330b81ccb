//! Labels by the largest logit and by k-means: what they find, whatever the input.
#![allow(missing_docs, clippy::float_cmp, clippy::cast_precision_loss)]

use dbpt_core::cluster::{KMeans, Logits, Outputs, Values, assign_argmax, assign_nearest, kmeans};
use dbpt_core::{Result, Workers};
use half::f16;
use proptest::prelude::*;

type Found = (Vec<i64>, Vec<f32>, Vec<f32>);

/// Hand arrays for all rows and k labels to `work`.
fn written(rows: usize, k: usize, work: impl FnOnce(Outputs<i64>) -> Result<()>) -> Result<Found> {
    let mut found = (vec![9; rows], vec![9.0; rows * k], vec![9.0; rows]);
    let (labels, posterior, confidence) = (&mut found.0, &mut found.1, &mut found.2);
    let (posterior, confidence) = (Some(&mut posterior[..]), Some(&mut confidence[..]));
    work(Outputs { labels, posterior, confidence })?;
    Ok(found)
}

fn argmax(values: Values, offsets: Option<&[f64]>, num_threads: usize) -> Result<Found> {
    let logits = Logits::new(values, 2)?;
    written(logits.len(), 2, |outputs| {
        assign_argmax(logits, offsets, outputs, &Workers::new(num_threads))
    })
}

fn argmax_alone(values: Values, columns: usize, num_threads: usize) -> Result<Vec<u8>> {
    let logits = Logits::new(values, columns)?;
    let mut labels = vec![9; logits.len()];
    let outputs = Outputs { labels: &mut labels, posterior: None, confidence: None };
    assign_argmax(logits, None, outputs, &Workers::new(num_threads))?;
    Ok(labels)
}

fn cluster(values: &[f32], centers: &[f64], num_threads: usize) -> Result<KMeans> {
    let logits = Logits::new(Values::F32(values), 2)?;
    kmeans(logits, centers, 25, &Workers::new(num_threads))
}

/// Numbers between 0 and 1 in no order.
fn noise(n: u32) -> Vec<f32> {
    (0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0).collect()
}

#[test]
fn the_first_of_equal_logits_wins_and_posteriors_add_up() {
    let values = Values::F32(&[1.0, 1.0, 0.0, 3.0, -1e15, 1e15]);
    let (labels, posterior, confidence) = argmax(values, None, 2).unwrap();
    assert_eq!(labels, [0, 1, 1]);
    assert_eq!(confidence, [0.5, posterior[3], 1.0]);
    assert!((posterior[3] - 1.0 / (1.0 + (-3.0_f32).exp())).abs() < 1e-7);
    assert_eq!(argmax_alone(values, 2, 1).unwrap(), [0, 1, 1]);
    assert_eq!(argmax_alone(values, 3, 1).unwrap(), [0, 2]);
}

#[test]
fn offsets_move_the_threshold_and_close_columns() {
    let values = Values::F32(&[0.0, 1.0, 0.0, 3.0]);
    assert_eq!(argmax(values, Some(&[1.0, -1.0]), 1).unwrap().0, [0, 1]);
    let (labels, posterior, _) = argmax(values, Some(&[0.0, f64::NEG_INFINITY]), 1).unwrap();
    assert_eq!((labels, posterior), (vec![0, 0], vec![1.0, 0.0, 1.0, 0.0]));
    for (bad, start) in [
        (&[0.0][..], "offsets has length 1; expected 2"),
        (&[0.0, f64::NAN], "offsets[1] is NaN; expected a finite number"),
        (&[f64::INFINITY, 0.0], "offsets[0] is inf"),
        (&[f64::NEG_INFINITY; 2], "offsets[0] is -inf"),
    ] {
        let message = argmax(values, Some(bad), 1).unwrap_err().to_string();
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn labels_alone_are_the_same_for_any_precision_and_number_of_threads() {
    let half: Vec<f16> = noise(300_006).into_iter().map(f16::from_f32).collect();
    let single: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    let expected = argmax(Values::F32(&single), None, 1).unwrap().0;
    assert!(expected.contains(&0) && expected.contains(&1));
    for num_threads in [1, 3] {
        for values in [Values::F16(&half), Values::F32(&single)] {
            let labels = argmax_alone(values, 2, num_threads).unwrap();
            assert!(labels.iter().zip(&expected).all(|(a, b)| i64::from(*a) == *b));
        }
    }
}

#[test]
fn clusters_are_found_whatever_all_logits_of_a_row_have_in_common() {
    let mut logits = noise(30_000);
    logits.chunks_exact_mut(2).step_by(3).for_each(|row| row[0] += 50.0);
    logits.chunks_exact_mut(2).enumerate().for_each(|(i, row)| {
        let common = (i % 7) as f32;
        for value in row {
            *value += common;
        }
    });
    let one = cluster(&logits, &[1.0, -1.0, -1.0, 1.0], 1).unwrap();
    assert_eq!(one.counts, [5000, 10_000]);
    assert!((one.centers[0] - 25.0).abs() < 0.1 && one.centers[2].abs() < 0.1);
    for num_threads in [2, 3, 16] {
        assert_eq!(one, cluster(&logits, &[1.0, -1.0, -1.0, 1.0], num_threads).unwrap());
    }
}

#[test]
fn a_centre_without_rows_stays_and_bad_arguments_are_named() {
    let found = cluster(&[0.0, 1.0, 0.0, 2.0], &[0.0, 0.0, 100.0, -100.0], 1).unwrap();
    assert_eq!((found.counts, &found.centers[2..]), (vec![2, 0], &[100.0, -100.0][..]));
    let message = |centers: &[f64]| cluster(&[0.0; 4], centers, 1).unwrap_err().to_string();
    assert!(message(&[]).starts_with("centers has length 0; expected 2"));
    assert!(message(&[0.0; 3]).starts_with("centers has length 3; expected 4"));
    assert!(message(&[0.0, f64::NAN]).starts_with("centers[0, 1] is NaN"));
    assert!(message(&[0.0, f64::INFINITY]).starts_with("centers[0, 1] is inf"));
    let none = Logits::new(Values::F32(&[]), 2).unwrap();
    let found = kmeans(none, &[0.0, 0.0], 1, &Workers::new(1)).unwrap();
    assert_eq!((found.counts, found.inertia), (vec![0], 0.0));
    let zero = kmeans(none, &[0.0, 0.0], 0, &Workers::new(1)).unwrap_err();
    assert!(zero.to_string().starts_with("max_iter is 0"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn labels_centers_counts_and_inertia_belong_together(
        // Few distinct values, so that duplicates, ties and empty clusters occur.
        values in prop::collection::vec(prop::sample::select(vec![-3.0_f32, 0.0, 0.5, 7.0, 6e4]), 2..200),
        start in prop::collection::vec(-5.0_f64..5.0, 1..7),
    ) {
        let values = &values[..values.len() / 2 * 2];
        let start: Vec<f64> = start.iter().flat_map(|x| [*x, -x]).collect();
        let found = cluster(values, &start, 1).unwrap();
        let (rows, k) = (values.len() / 2, start.len() / 2);
        let logits = Logits::new(Values::F32(values), 2).unwrap();
        let (labels, posterior, confidence) = written(rows, k, |outputs| {
            assign_nearest(logits, &found.centers, 1.0, outputs, &Workers::new(2))
        }).unwrap();
        let (mut inertia, mut members) = (0.0, vec![0; k]);
        for (i, point) in values.chunks(2).enumerate() {
            let label = usize::try_from(labels[i]).unwrap();
            members[label] += 1;
            let mean = f64::from(point[0] + point[1]) / 2.0;
            let distance = |center: &[f64]| -> f64 {
                point.iter().zip(center).map(|(x, c)| (f64::from(*x) - mean - c).powi(2)).sum()
            };
            let own = distance(&found.centers[label * 2..]);
            let nearest = found.centers.chunks(2).map(distance).fold(f64::INFINITY, f64::min);
            prop_assert!(own <= nearest * (1.0 + 1e-4) + 1e-2, "{own} {nearest}");
            inertia += own;
            let row = &posterior[i * k..][..k];
            prop_assert!(row.iter().all(|p| *p <= row[label]) && confidence[i] == row[label]);
        }
        prop_assert_eq!(&members, &found.counts);
        prop_assert!((found.inertia - inertia).abs() <= 1e-4 * inertia + 1e-2);
        prop_assert_eq!(&found, &cluster(values, &start, 3).unwrap());
    }
}
