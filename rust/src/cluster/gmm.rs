//! Gaussian mixtures by expectation and maximisation (Dempster, Laird and Rubin, 1977), in float64.

use super::Points;
use super::checks::{check_options, check_start};
use super::cholesky::inverse;
use super::gaussians::{Covariance, Densities, Gaussians};
use super::moment_lanes::MomentLanes;
use super::moments::Moments;
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
