//! What the points of each cluster add up to: a pass of k-means.

use std::array::from_fn;

use super::Points;
use super::nearest::{Nearest, single};
use super::panel::{PANEL, for_each_panel};
use crate::{Result, Workers};

/// Sums of narrow points are kept many times over: an addition to one that is still on its way to memory
/// has to wait for it.
const COPIES: usize = 32;
/// Room for them, so that any `u8` is the number of one.
const SLOTS: usize = 256;
/// The most clusters for which it is worth it.
const FEW: usize = SLOTS / 4;

/// Sums and numbers of the points that are nearest to each of k centres.
pub(super) struct Members {
    /// (k, W).
    pub(super) sums: Vec<f64>,
    /// (k,).
    pub(super) counts: Vec<u64>,
}

impl Members {
    fn none(k: usize, width: usize) -> Self {
        Self { sums: vec![0.0; k * width], counts: vec![0; k] }
    }

    pub(super) fn of(points: Points, centers: &[f64], workers: &Workers) -> Result<Self> {
        let (centers, width) = (single(centers), points.width());
        let mut all = Self::none(centers.len() / width, width);
        points.fold(
            workers,
            |_, block| Self::of_block(block, &centers, width),
            |part| all.add(&part),
        )?;
        Ok(all)
    }

    fn of_block(block: &[f32], centers: &[f32], width: usize) -> Self {
        if centers.len() / width > FEW {
            return Self::of_wide(block, centers, width);
        }
        // Loops over so few columns are unrolled where their number is known.
        match width {
            1 => Self::of_narrow::<1>(block, centers),
            2 => Self::of_narrow::<2>(block, centers),
            3 => Self::of_narrow::<3>(block, centers),
            4 => Self::of_narrow::<4>(block, centers),
            5 => Self::of_narrow::<5>(block, centers),
            6 => Self::of_narrow::<6>(block, centers),
            7 => Self::of_narrow::<7>(block, centers),
            8 => Self::of_narrow::<8>(block, centers),
            _ => Self::of_wide(block, centers, width),
        }
    }

    /// For points of `W` coordinates. They are added in turn to each of the copies.
    fn of_narrow<const W: usize>(block: &[f32], centers: &[f32]) -> Self {
        let k = centers.len() / W;
        let copies = COPIES.min(SLOTS / k);
        let (mut nearest, mut slots) = (Nearest::new(), [0; PANEL]);
        let (mut sums, mut counts) = ([[0.0; W]; SLOTS], [0_u32; SLOTS]);
        for_each_panel(
            block,
            W,
            #[inline(always)]
            |panel| {
                nearest.find(&panel.columns[..W], centers);
                for (slots, clusters) in
                    slots.chunks_mut(copies).zip(nearest.clusters.chunks(copies))
                {
                    for (copy, (slot, cluster)) in slots.iter_mut().zip(clusters).enumerate() {
                        *slot = (cluster + (copy * k) as u32) as u8;
                    }
                }
                for (point, slot) in panel.points.chunks_exact(W).zip(slots) {
                    let sum = &mut sums[usize::from(slot)];
                    // All are read before one is written, so that they are added side by side.
                    *sum = from_fn(|c| sum[c] + f64::from(point[c]));
                    counts[usize::from(slot)] += 1;
                }
            },
        );
        let mut part = Self::none(k, W);
        for copy in 0..copies {
            let copied = sums[copy * k..][..k].as_flattened();
            part.sums.iter_mut().zip(copied).for_each(|(a, b)| *a += b);
            let copied = &counts[copy * k..][..k];
            part.counts.iter_mut().zip(copied).for_each(|(a, b)| *a += u64::from(*b));
        }
        part
    }

    /// For any points and centres.
    fn of_wide(block: &[f32], centers: &[f32], width: usize) -> Self {
        let mut part = Self::none(centers.len() / width, width);
        let mut nearest = Nearest::new();
        for_each_panel(
            block,
            width,
            #[inline(always)]
            |panel| {
                nearest.find(panel.columns, centers);
                for (point, &cluster) in panel.points.chunks_exact(width).zip(&nearest.clusters) {
                    part.counts[cluster as usize] += 1;
                    let sums = &mut part.sums[cluster as usize * width..][..width];
                    sums.iter_mut().zip(point).for_each(|(sum, x)| *sum += f64::from(*x));
                }
            },
        );
        part
    }

    fn add(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }
}
