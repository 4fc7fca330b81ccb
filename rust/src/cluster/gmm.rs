//! Gaussian mixtures by expectation and maximisation (Dempster, Laird and Rubin, 1977), in float64.

use super::Points;
use super::checks::{at_least_one, check_centers, check_clusters};
use super::gaussians::{Covariance, Densities, Gaussians, inverse};
use super::moments::{MomentLanes, Moments};
use super::nearest::{Nearest, single};
use super::panel::{PANEL, for_each_panel, widen};
use super::responsibilities::normalise;
use crate::{Error, Result, Workers};

/// Where [`gmm`] starts.
#[derive(Debug, Clone, Copy)]
pub enum GmmStart<'a> {
    /// From the Gaussians of the points that are nearest to each of (k, W) centres.
    Centers(&'a [f64]),
    /// From these Gaussians, whose `covariances` hold precisions: inverse covariances, or inverse variances.
    Precisions(&'a Gaussians),
}

/// When [`gmm`] stops, and what keeps covariances from being singular.
#[derive(Debug, Clone, Copy)]
pub struct EmOptions {
    /// Added to every variance.
    pub reg_covar: f64,
    /// Less than this gained in mean log likelihood is the end.
    pub tol: f64,
    /// The most iterations.
    pub max_iter: usize,
}

/// What [`gmm`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Gmm {
    /// The mixture; fewer components than asked if some lost all their points.
    pub gaussians: Gaussians,
    /// Mean log likelihood of a point before the last M step.
    pub log_likelihood: f64,
    /// The number of M steps.
    pub iterations: usize,
    /// Whether less than `tol` was gained in the last.
    pub converged: bool,
}

/// Fit a mixture of Gaussians to `points`.
///
/// Everything is float64 and in log space. A component without mass is dropped. O(M·k·W²) an
/// iteration (O(M·k·W) for diagonal covariances); no memory for each point.
///
/// # Errors
/// [`Error::Value`] as for k-means; [`Error::Scalar`], [`Error::Length`] or [`Error::Element`] for options
/// or a start that don't fit; [`Error::Singular`] if a covariance isn't positive definite in spite of `reg_covar`.
pub fn gmm(
    points: Points,
    start: GmmStart,
    form: Covariance,
    options: EmOptions,
    workers: &Workers,
) -> Result<Gmm> {
    check_options(options)?;
    check_start(points, start)?;
    let points = points.checked(workers)?;
    let mut gaussians = first_gaussians(points, start, form, options, workers)?;
    let mut log_likelihood = f64::NEG_INFINITY;
    for iterations in 1..=options.max_iter {
        let densities = gaussians.densities(options.reg_covar)?;
        let moments = expectation(points, &densities, form, workers)?;
        let before = log_likelihood;
        log_likelihood = moments.log_likelihood / points.len() as f64;
        gaussians = maximisation(&moments, &densities.means, form, options.reg_covar);
        let converged = (log_likelihood - before).abs() < options.tol;
        if converged || iterations == options.max_iter {
            // What is returned can be evaluated.
            gaussians.densities(options.reg_covar)?;
            return Ok(Gmm { gaussians, log_likelihood, iterations, converged });
        }
    }
    unreachable!("max_iter is at least 1")
}

fn check_options(options: EmOptions) -> Result<()> {
    at_least_one("max_iter", options.max_iter)?;
    for (argument, value) in [("reg_covar", options.reg_covar), ("tol", options.tol)] {
        if !(value >= 0.0 && value.is_finite()) {
            let expected = "a finite number, 0 or above";
            return Err(Error::Scalar { argument, found: value.to_string(), expected });
        }
    }
    Ok(())
}

fn check_start(points: Points, start: GmmStart) -> Result<()> {
    match start {
        GmmStart::Centers(centers) => {
            check_clusters(centers.len() / points.width().max(1), points)?;
            check_centers("centers", centers, points)
        }
        GmmStart::Precisions(given) => {
            check_clusters(given.weights.len(), points)?;
            given.check(points)
        }
    }
}

fn first_gaussians(
    points: Points,
    start: GmmStart,
    form: Covariance,
    options: EmOptions,
    workers: &Workers,
) -> Result<Gaussians> {
    match start {
        GmmStart::Centers(centers) => {
            let moments = nearest_moments(points, centers, form, workers)?;
            Ok(maximisation(&moments, centers, form, options.reg_covar))
        }
        GmmStart::Precisions(given) => {
            let width = points.width();
            let mut gaussians = Gaussians { covariances: Vec::new(), ..given.clone() };
            for (component, precision) in
                given.covariances.chunks_exact(form.len(width)).enumerate()
            {
                let (covariance, found) = match form {
                    Covariance::Full => (inverse(precision, width), "no positive definite matrix"),
                    Covariance::Diagonal => (inverses(precision), "no positive finite numbers"),
                };
                gaussians.covariances.extend(covariance.ok_or_else(|| Error::Element {
                    argument: "precisions",
                    row: component,
                    found: found.into(),
                    expected: "an inverse covariance",
                })?);
            }
            Ok(gaussians)
        }
    }
}

fn inverses(precisions: &[f64]) -> Option<Vec<f64>> {
    let fits = |precision: &f64| *precision > 0.0 && precision.is_finite();
    precisions.iter().all(fits).then(|| precisions.iter().map(|p| 1.0 / p).collect())
}

/// Moments and log likelihood under the present densities.
fn expectation(
    points: Points,
    densities: &Densities,
    form: Covariance,
    workers: &Workers,
) -> Result<Moments> {
    let (components, width) = (densities.components(), points.width());
    let of_block = |_, block: &[f32]| {
        let mut lanes = MomentLanes::new(form, components, width);
        let mut wide = vec![[0.0; PANEL]; width];
        let mut logs = vec![[0.0; PANEL]; components];
        let mut log_likelihood = 0.0;
        for_each_panel(
            block,
            width,
            #[inline(always)]
            |panel| {
                widen(panel.columns, &mut wide);
                densities.logs(&wide, &mut logs);
                log_likelihood += normalise(&mut logs, panel.len());
                lanes.add(&wide, &logs, &densities.means);
            },
        );
        lanes.finish(width, log_likelihood)
    };
    let mut all = Moments::none(form, components, width);
    points.fold(workers, of_block, |part| all.add(&part))?;
    Ok(all)
}

/// Moments of the points nearest to each centre.
fn nearest_moments(
    points: Points,
    centers: &[f64],
    form: Covariance,
    workers: &Workers,
) -> Result<Moments> {
    let width = points.width();
    let (components, rounded) = (centers.len() / width, single(centers));
    let of_block = |_, block: &[f32]| {
        let mut lanes = MomentLanes::new(form, components, width);
        let mut wide = vec![[0.0; PANEL]; width];
        let mut posteriors = vec![[0.0; PANEL]; components];
        let mut nearest = Nearest::new();
        for_each_panel(
            block,
            width,
            #[inline(always)]
            |panel| {
                nearest.find(panel.columns, &rounded);
                posteriors.fill([0.0; PANEL]);
                for (i, &cluster) in nearest.clusters[..panel.len()].iter().enumerate() {
                    posteriors[cluster as usize][i] = 1.0;
                }
                widen(panel.columns, &mut wide);
                lanes.add(&wide, &posteriors, centers);
            },
        );
        lanes.finish(width, 0.0)
    };
    let mut all = Moments::none(form, components, width);
    points.fold(workers, of_block, |part| all.add(&part))?;
    Ok(all)
}

/// The Gaussians with these moments. Components that have next to no mass are left out.
fn maximisation(moments: &Moments, means: &[f64], form: Covariance, reg_covar: f64) -> Gaussians {
    let total: f64 = moments.masses().sum();
    // As much as rounding leaves of nothing.
    let least = total * f64::EPSILON;
    let width = means.len() / moments.masses().count();
    let mut found =
        Gaussians { form, weights: Vec::new(), means: Vec::new(), covariances: Vec::new() };
    let kept: f64 = moments.masses().filter(|mass| *mass > least).sum();
    for (component, (mass, mean)) in moments.masses().zip(means.chunks_exact(width)).enumerate() {
        if mass > least {
            let (mean, mut covariance) = moments.mean_and_covariance(component, mean);
            let step = if form == Covariance::Full { width + 1 } else { 1 };
            covariance.iter_mut().step_by(step).for_each(|variance| *variance += reg_covar);
            found.weights.push(mass / kept);
            found.means.extend(mean);
            found.covariances.extend(covariance);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Covariance, EmOptions, Gaussians, Gmm, GmmStart, gmm};
    use crate::cluster::{Matrix, Points, Values};
    use crate::random::{Purpose, Stream};
    use crate::{Result, Workers};

    const OPTIONS: EmOptions = EmOptions { reg_covar: 1e-6, tol: 1e-6, max_iter: 200 };

    /// Two clouds: around (0, 0), and a third of the points around (9, 4).
    fn clouds(n: usize) -> Vec<f32> {
        let stream = Stream::new(3, Purpose::KMeans, 7);
        let mut values: Vec<f32> = (0..2 * n as u64).map(|i| stream.unit(i) as f32).collect();
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
}
