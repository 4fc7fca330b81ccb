//! Gaussian mixtures: what they find, and what they refuse.
#![allow(missing_docs, clippy::cast_precision_loss)]

use dbpt_core::cluster::{
    Covariance, EmOptions, Gaussians, Gmm, GmmStart, Matrix, Points, Values, gmm,
};
use dbpt_core::{Result, Workers};

const OPTIONS: EmOptions = EmOptions { reg_covar: 1e-6, tol: 1e-6, max_iter: 200 };

/// Two clouds: around (0, 0), and a third of the points around (9, 4).
fn clouds(n: usize) -> Vec<f32> {
    let noise = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_mul(i | 1) >> 40) as f32;
    let mut values: Vec<f32> = (0..2 * n as u64).map(|i| noise(i) / 16_777_216.0).collect();
    for point in values.chunks_exact_mut(2).step_by(3) {
        (point[0], point[1]) = (point[0] + 9.0, point[1] + point[0] + 4.0);
    }
    values
}

fn fit(
    values: &[f32],
    start: GmmStart,
    form: Covariance,
    options: EmOptions,
    num_threads: usize,
) -> Result<Gmm> {
    let points = Points::new(Matrix::new("points", Values::F32(values), 2)?, None)?;
    gmm(points, start, form, options, &Workers::new(num_threads))
}

#[test]
fn two_clouds_are_found() {
    let points = clouds(3000);
    let start = GmmStart::Centers(&[0.0, 0.0, 9.0, 5.0]);
    let found = fit(&points, start, Covariance::Full, OPTIONS, 2).unwrap();
    let Gaussians { weights, means, covariances, .. } = &found.gaussians;
    assert!(found.converged);
    assert!((weights[0] - 2.0 / 3.0).abs() < 1e-6 && (weights[1] - 1.0 / 3.0).abs() < 1e-6);
    for (mean, expected) in means.iter().zip([0.5, 0.5, 9.5, 5.0]) {
        assert!((mean - expected).abs() < 0.05, "{means:?}");
    }
    for (found, expected) in covariances.iter().zip([1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0]) {
        assert!((found - expected / 12.0).abs() < 0.01, "{covariances:?}");
    }
}

#[test]
fn the_result_doesn_t_depend_on_threads() {
    let points = clouds(30_000);
    let start = GmmStart::Centers(&[0.0, 0.0, 0.0, 1.0, 9.0, 5.0]);
    for form in [Covariance::Full, Covariance::Diagonal] {
        let options = EmOptions { max_iter: 5, ..OPTIONS };
        let one = fit(&points, start, form, options, 1).unwrap();
        for num_threads in [2, 5] {
            assert_eq!(one, fit(&points, start, form, options, num_threads).unwrap());
        }
    }
}

#[test]
fn components_without_mass_are_dropped() {
    let points = clouds(300);
    let start = GmmStart::Centers(&[0.0, 0.0, 1e6, 1e6, 9.0, 5.0]);
    let found = fit(&points, start, Covariance::Full, OPTIONS, 1).unwrap();
    assert_eq!(found.gaussians.weights.len(), 2);
    assert!((found.gaussians.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn what_is_singular_says_so() {
    let line: Vec<f32> = (0..20).flat_map(|i| [i as f32, 2.0 * i as f32]).collect();
    let options = EmOptions { reg_covar: 0.0, ..OPTIONS };
    let start = GmmStart::Centers(&[9.0, 18.0]);
    let found = fit(&line, start, Covariance::Full, options, 1);
    let message = found.unwrap_err().to_string();
    assert!(message.starts_with("the covariance of component 0 is singular"), "{message}");
    assert!(fit(&line, start, Covariance::Full, OPTIONS, 1).is_ok());
    assert!(fit(&line, start, Covariance::Diagonal, options, 1).is_ok());
    let constant = [1.0; 20];
    assert!(fit(&constant, start, Covariance::Diagonal, options, 1).is_err());
    assert!(fit(&constant, start, Covariance::Diagonal, OPTIONS, 1).is_ok());
}

#[test]
fn options_are_checked() {
    let message = |options| {
        let start = GmmStart::Centers(&[0.0, 0.0]);
        fit(&clouds(9), start, Covariance::Full, options, 1).unwrap_err().to_string()
    };
    assert!(message(EmOptions { max_iter: 0, ..OPTIONS }).starts_with("max_iter is 0"));
    assert!(message(EmOptions { tol: f64::NAN, ..OPTIONS }).starts_with("tol is NaN"));
    assert!(message(EmOptions { reg_covar: -1.0, ..OPTIONS }).starts_with("reg_covar is -1"));
}
