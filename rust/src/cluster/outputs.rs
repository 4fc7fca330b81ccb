//! The outputs of a labelling pass: arrays of the caller with an element for each row.

use super::BLOCK;
use crate::memory::with_capacity;
use crate::{Error, Result};

/// Arrays over all N rows, or over those of a block.
#[derive(Debug)]
pub struct Outputs<'a, L> {
    /// (N,) the label, of any integer type.
    pub labels: &'a mut [L],
    /// (N, k) the posterior of each label.
    pub posterior: Option<&'a mut [f32]>,
    /// (N,) the posterior of the row's label.
    pub confidence: Option<&'a mut [f32]>,
}

impl<'a, L: Copy + TryFrom<i64>> Outputs<'a, L> {
    /// Check that the arrays fit this number of rows, and of labels from 0 to k - 1.
    pub(super) fn names(&self, k: usize, num_rows: usize) -> Result<Vec<L>> {
        let length = |array: &Option<&mut [f32]>, width| {
            array.as_ref().map_or(num_rows.saturating_mul(width), |a| a.len())
        };
        for (argument, found, expected) in [
            ("labels_out", self.labels.len(), num_rows),
            ("posterior_out", length(&self.posterior, k), num_rows.saturating_mul(k)),
            ("confidence_out", length(&self.confidence, 1), num_rows),
        ] {
            if found != expected {
                let counts = "numbers, for the rows and labels";
                return Err(Error::length(argument, found, expected, counts));
            }
        }
        let mut names = with_capacity(k)?;
        names.extend((0..k as i64).map_while(|name| L::try_from(name).ok()));
        if names.len() < k {
            let expected = "labels that the type of labels_out holds";
            return Err(Error::scalar("the number of labels", k, expected));
        }
        Ok(names)
    }

    pub(super) fn wants_posterior(&self) -> bool {
        self.posterior.is_some() || self.confidence.is_some()
    }

    /// Return the number and the part of each block.
    pub(super) fn blocks(mut self, k: usize) -> impl Iterator<Item = (usize, Outputs<'a, L>)> {
        (0..self.labels.len().div_ceil(BLOCK)).map(move |block| {
            let rows = self.labels.len().min(BLOCK);
            let (labels, rest) = std::mem::take(&mut self.labels).split_at_mut(rows);
            self.labels = rest;
            let posterior = split_off(&mut self.posterior, rows * k);
            let confidence = split_off(&mut self.confidence, rows);
            (block, Outputs { labels, posterior, confidence })
        })
    }

    /// Write the softmax of a row's `scores`, which are changed, as posterior and confidence.
    pub(super) fn write_posterior(&mut self, row: usize, label: usize, scores: &mut [f64]) {
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for score in scores.iter_mut() {
            *score = (*score - largest).exp();
        }
        let total: f64 = scores.iter().sum();
        if let Some(confidence) = &mut self.confidence {
            confidence[row] = (scores[label] / total) as f32;
        }
        if let Some(posterior) = &mut self.posterior {
            let posterior = &mut posterior[row * scores.len()..][..scores.len()];
            posterior.iter_mut().zip(scores).for_each(|(p, score)| *p = (*score / total) as f32);
        }
    }
}

fn split_off<'a>(values: &mut Option<&'a mut [f32]>, n: usize) -> Option<&'a mut [f32]> {
    let (taken, rest) = values.take()?.split_at_mut(n);
    *values = Some(rest);
    Some(taken)
}
