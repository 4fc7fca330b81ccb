//! Checks of what the methods of clustering are given, apart from the points.

use super::Points;
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
