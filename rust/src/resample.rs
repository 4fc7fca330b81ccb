//! Resizing and cropping an RGB image in one go: the bytes that Pillow's `resize` and `crop` give, by
//! its formulas (`Resample.c`), but only of what the crop keeps, and with vector instructions.
//!
//! Two passes, along the rows and then across them, each rounded to bytes; weights are computed in
//! float64 and held as integers of 22 fractional bits, so that sums are exact in any order.

use crate::simd::dispatch;
use crate::{Error, Result};

/// Fractional bits of a weight. A sum of 255 times weights whose absolute values add up to less than 2
/// then fits into an `i32`.
const BITS: u32 = 22;
/// What a sum starts from, so that dropping the fraction rounds it.
const HALF: i32 = 1 << (BITS - 1);
const CHANNELS: usize = 3;
/// Bytes of a row that are summed up at once across the rows.
const BLOCK: usize = 32;
/// Rows that are resized together. Of each, a pixel and the byte behind it are summed up, since four go
/// into a vector better than three.
const ROWS: usize = 4;

/// How a pixel between others is made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Straight lines between pixels.
    Bilinear,
    /// Keys' cubic with a = -1/2.
    Bicubic,
}

impl Interpolation {
    /// How far a pixel reaches, in pixels of the smaller of the two images.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            _ => 0.0,
        }
    }
}

/// One side of an image: its length, what it becomes, and what is kept of that.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Pixels of the image.
    pub length: usize,
    /// Pixels after resizing.
    pub resized: usize,
    /// First pixel of these that is kept.
    pub start: usize,
    /// How many are kept.
    pub kept: usize,
}

/// The weights of the pixels that one pixel is made of.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

impl Side {
    fn check(self, names: [&'static str; 2]) -> Result<()> {
        let bad = |argument, found: usize, expected| {
            Err(Error::Scalar { argument, found: found.to_string(), expected })
        };
        if self.length == 0 || self.resized == 0 {
            return bad(names[0], self.length.min(self.resized), "1 or above, as the pixels' too");
        }
        if self.start.checked_add(self.kept).is_none_or(|end| end > self.resized) {
            return bad(names[1], self.start, "a crop within the resized image");
        }
        Ok(())
    }

    /// The taps of each pixel that is kept; `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow.
    fn taps(self, interpolation: Interpolation) -> Vec<Taps> {
        let scale = self.length as f64 / self.resized as f64;
        let stretch = scale.max(1.0);
        let support = interpolation.support() * stretch;
        let of_pixel = |pixel: usize| {
            let center = (pixel as f64 + 0.5) * scale;
            let first = ((center - support + 0.5) as i64).max(0) as usize;
            let end = ((center + support + 0.5) as usize).min(self.length);
            let distance = |x: usize| (x as f64 - center + 0.5) * (1.0 / stretch);
            let weights: Vec<f64> =
                (first..end).map(|x| interpolation.weight(distance(x))).collect();
            let total: f64 = weights.iter().sum();
            let fixed = |weight: &f64| {
                let scaled = weight / total * f64::from(1 << BITS);
                (scaled + 0.5_f64.copysign(scaled)) as i32
            };
            Taps { first, weights: weights.iter().map(fixed).collect() }
        };
        (self.start..self.start + self.kept).map(of_pixel).collect()
    }
}

/// Write the crop of the resized image: `pixels` (height, width, 3) to `out` (rows kept, columns kept, 3).
///
/// # Errors
/// [`Error::Scalar`] for a side without pixels and a crop that leaves the resized image;
/// [`Error::Length`] for arrays of other sizes than the sides say.
pub fn resize_crop(
    pixels: &[u8],
    (rows, columns): (Side, Side),
    interpolation: Interpolation,
    out: &mut [u8],
) -> Result<()> {
    rows.check(["height", "top"])?;
    columns.check(["width", "left"])?;
    let sizes = [(columns.length, rows.length), (columns.kept, rows.kept)];
    for (argument, found, size) in
        [("pixels", pixels.len(), sizes[0]), ("out", out.len(), sizes[1])]
    {
        let expected = size.0 * size.1 * CHANNELS;
        if found != expected {
            return Err(Error::Length { argument, found, expected, counts: "numbers" });
        }
    }
    if out.is_empty() {
        return Ok(());
    }
    let (down, along) = (rows.taps(interpolation), columns.taps(interpolation));
    dispatch(
        #[inline(always)]
        || {
            let first = down[0].first; // taps only move on, so these are the rows that any of them reads
            let end = down.last().map_or(first, Taps::end);
            let stride = columns.length * CHANNELS;
            let narrow = resize_rows(&pixels[first * stride..end * stride], columns.length, &along);
            let stride = narrow.len() / (end - first);
            for (row, taps) in out.chunks_exact_mut(columns.kept * CHANNELS).zip(&down) {
                let read = &narrow[(taps.first - first) * stride..(taps.end() - first) * stride];
                mix_rows(read, stride, &taps.weights, row);
            }
        },
    );
    Ok(())
}

/// Rows of the pixels of `taps`, each padded to whole blocks.
#[inline(always)]
fn resize_rows(pixels: &[u8], width: usize, taps: &[Taps]) -> Vec<u8> {
    let stride = (taps.len() * CHANNELS + 1).next_multiple_of(BLOCK);
    let mut narrow = vec![0; pixels.len() / (width * CHANNELS) * stride];
    let mut abreast = vec![[0; 4 * ROWS]; width];
    let rows = pixels.chunks(ROWS * width * CHANNELS);
    for (rows, narrow) in rows.zip(narrow.chunks_mut(ROWS * stride)) {
        for (number, row) in rows.chunks_exact(width * CHANNELS).enumerate() {
            put_abreast(row, number, &mut abreast);
        }
        for (x, taps) in taps.iter().enumerate() {
            let mixed = mix_abreast(&abreast[taps.first..taps.end()], &taps.weights);
            for (four, row) in mixed.chunks_exact(4).zip(narrow.chunks_exact_mut(stride)) {
                row[x * CHANNELS..x * CHANNELS + 4].copy_from_slice(four); // the next pixel mends the fourth
            }
        }
    }
    narrow
}

/// Write a row's pixels, and the byte behind each, to its place among the [`ROWS`].
#[inline(always)]
fn put_abreast(row: &[u8], number: usize, abreast: &mut [[u8; 4 * ROWS]]) {
    let place = 4 * number..4 * number + 4;
    let fours = row.windows(4).step_by(CHANNELS); // all pixels but the last, behind which there is no byte
    for (pixels, four) in abreast.iter_mut().zip(fours) {
        pixels[place.clone()].copy_from_slice(four);
    }
    if let (Some(pixels), Some(three)) = (abreast.last_mut(), row.last_chunk::<CHANNELS>()) {
        pixels[place][..CHANNELS].copy_from_slice(three);
    }
}

#[inline(always)]
fn mix_abreast(pixels: &[[u8; 4 * ROWS]], weights: &[i32]) -> [u8; 4 * ROWS] {
    let mut sum = [HALF; 4 * ROWS];
    for (pixels, weight) in pixels.iter().zip(weights) {
        for (sum, value) in sum.iter_mut().zip(pixels) {
            *sum += i32::from(*value) * weight;
        }
    }
    bytes(&sum)
}

/// One row out of as many as there are weights.
#[inline(always)]
fn mix_rows(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    for (number, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut sum = [HALF; BLOCK];
        for (row, weight) in rows.chunks_exact(stride).zip(weights) {
            let block = &row[number * BLOCK..(number + 1) * BLOCK];
            for (sum, value) in sum.iter_mut().zip(block) {
                *sum += i32::from(*value) * weight;
            }
        }
        out.copy_from_slice(&bytes(&sum)[..out.len()]);
    }
}

/// Loops, not `map`, which is not inlined into [`dispatch`].
#[inline(always)]
fn bytes<const N: usize>(sums: &[i32; N]) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, sum) in bytes.iter_mut().zip(sums) {
        *byte = (sum >> BITS).clamp(0, 255) as u8;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Interpolation, Side, resize_crop};
    use crate::Error;

    fn side(length: usize, resized: usize, start: usize, kept: usize) -> Side {
        Side { length, resized, start, kept }
    }

    fn crop(pixels: &[u8], rows: Side, columns: Side, interpolation: Interpolation) -> Vec<u8> {
        let mut out = vec![0; rows.kept * columns.kept * 3];
        resize_crop(pixels, (rows, columns), interpolation, &mut out).unwrap();
        out
    }

    #[test]
    fn the_same_size_gives_the_same_bytes() {
        let pixels: Vec<u8> = (0..5 * 7 * 3).map(|i| (i * 37 % 256) as u8).collect();
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            let whole = crop(&pixels, side(5, 5, 0, 5), side(7, 7, 0, 7), interpolation);
            assert_eq!(whole, pixels);
            let part = crop(&pixels, side(5, 5, 2, 1), side(7, 7, 3, 2), interpolation);
            assert_eq!(part, pixels[(2 * 7 + 3) * 3..(2 * 7 + 5) * 3]);
        }
    }

    #[test]
    fn halves_are_means_and_round_up() {
        // Bilinear at half the size: weights 1/8, 3/8, 3/8, 1/8 inside, 3/7, 3/7, 1/7 at the ends.
        let grey = [0, 70, 140, 210].map(|v: u8| [v; 3]).concat();
        let half = crop(&grey, side(1, 1, 0, 1), side(4, 2, 0, 2), Interpolation::Bilinear);
        assert_eq!(half, [50, 50, 50, 160, 160, 160]);
        let round =
            crop(&[0, 0, 0, 1, 1, 1], side(1, 1, 0, 1), side(2, 1, 0, 1), Interpolation::Bilinear);
        assert_eq!(round, [1, 1, 1]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fits = side(2, 2, 0, 2);
        let check = |rows, columns, pixels: &[u8], out: &mut [u8]| {
            resize_crop(pixels, (rows, columns), Interpolation::Bicubic, out)
        };
        let scalar = |argument, found: &str, expected| {
            Err(Error::Scalar { argument, found: found.into(), expected })
        };
        let within = "a crop within the resized image";
        assert_eq!(
            check(side(2, 2, 1, 2), fits, &[0; 12], &mut [0; 12]),
            scalar("top", "1", within)
        );
        let huge = side(2, 2, usize::MAX, 2);
        assert_eq!(
            check(fits, huge, &[0; 12], &mut [0; 12]),
            scalar("left", &usize::MAX.to_string(), within)
        );
        let some = "1 or above, as the pixels' too";
        assert_eq!(check(side(0, 2, 0, 2), fits, &[], &mut [0; 12]), scalar("height", "0", some));
        assert_eq!(check(fits, side(2, 0, 0, 0), &[0; 12], &mut []), scalar("width", "0", some));
        for (pixels, out, argument, found) in [(11, 12, "pixels", 11), (12, 13, "out", 13)] {
            let refused = check(fits, fits, &vec![0; pixels], &mut vec![0; out]);
            let expected = Error::Length { argument, found, expected: 12, counts: "numbers" };
            assert_eq!(refused, Err(expected));
        }
        assert_eq!(check(side(2, 2, 1, 0), fits, &[0; 12], &mut []), Ok(()));
    }
}
