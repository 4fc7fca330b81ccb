//! Checks of what the methods of clustering are given, apart from the points.

use super::Points;
use super::gaussians::Gaussians;
use super::gmm::{EmOptions, GmmStart};
use crate::{Error, Result};

pub(super) fn at_least_one(argument: &'static str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(Error::Scalar { argument, found: "0".into(), expected: "at least 1" });
    }
    Ok(())
}

/// Between one cluster and as many as points.
pub(super) fn check_clusters(k: usize, points: Points) -> Result<()> {
    at_least_one("k", k)?;
    if k > points.len() {
        let expected = "at most the number of points";
        return Err(Error::Scalar { argument: "k", found: k.to_string(), expected });
    }
    if points.width() == 0 {
        let expected = "at least 2 with contrasts";
        return Err(Error::Scalar {
            argument: "the number of columns",
            found: "1".into(),
            expected,
        });
    }
    Ok(())
}

/// (k, W) finite coordinates.
pub(super) fn check_centers(argument: &'static str, centers: &[f64], points: Points) -> Result<()> {
    let width = points.width();
    if centers.len() % width != 0 {
        let expected = centers.len() / width * width;
        return Err(Error::Length { argument, found: centers.len(), expected, counts: "k·W" });
    }
    match centers.iter().position(|c| c.is_nan() || c.abs() > 1e15) {
        Some(bad) => Err(Error::Value {
            argument,
            row: bad / width,
            column: bad % width,
            found: centers[bad] as f32,
        }),
        None => Ok(()),
    }
}

/// Gaussians that fit the points.
pub(super) fn check_gaussians(given: &Gaussians, points: Points) -> Result<()> {
    let (k, width) = (given.weights.len(), points.width());
    at_least_one("k", k)?;
    let lengths = [
        ("means", given.means.len(), k * width),
        ("covariances", given.covariances.len(), k * given.form.len(width)),
    ];
    for (argument, found, expected) in lengths {
        if found != expected {
            let counts = "numbers, for the weights and columns";
            return Err(Error::Length { argument, found, expected, counts });
        }
    }
    check_centers("means", &given.means, points)?;
    match given.weights.iter().position(|w| !(*w > 0.0 && *w <= 1.0 + 1e-6)) {
        Some(row) => Err(Error::Element {
            argument: "weights",
            row,
            found: given.weights[row].to_string(),
            expected: "a share above 0, up to 1",
        }),
        None => Ok(()),
    }
}

pub(super) fn check_options(options: EmOptions) -> Result<()> {
    at_least_one("max_iter", options.max_iter)?;
    for (argument, value) in [("reg_covar", options.reg_covar), ("tol", options.tol)] {
        if !(value >= 0.0 && value.is_finite()) {
            let expected = "a finite number, 0 or above";
            return Err(Error::Scalar { argument, found: value.to_string(), expected });
        }
    }
    Ok(())
}

pub(super) fn check_start(points: Points, start: GmmStart) -> Result<()> {
    match start {
        GmmStart::Centers(centers) => {
            check_clusters(centers.len() / points.width().max(1), points)?;
            check_centers("centers", centers, points)
        }
        GmmStart::Precisions(given) => {
            check_clusters(given.weights.len(), points)?;
            check_gaussians(given, points)
        }
    }
}
