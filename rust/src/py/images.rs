//! Images: `resize_crop`.

use numpy::{PyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::error::{InputError, contiguous, elements, readonly, readwrite};
use crate::resample::{self, Interpolation, Side};

type Pixels<'py> = Bound<'py, PyArray3<u8>>;

/// Write the crop at (top, left) of the image resized to (height, width) into `out`.
#[pyfunction]
#[pyo3(signature = (pixels, height, width, *, top, left, interpolation, out))]
#[allow(clippy::too_many_arguments)]
pub(super) fn resize_crop<'py>(
    py: Python<'py>,
    pixels: Pixels<'py>,
    height: usize,
    width: usize,
    top: usize,
    left: usize,
    interpolation: &str,
    out: Pixels<'py>,
) -> PyResult<()> {
    let interpolation = match interpolation {
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        _ => {
            let expected = "expected 'bilinear' or 'bicubic'";
            let message = format!("interpolation is {interpolation:?}; {expected}");
            return Err(InputError::new_err(message));
        }
    };
    let mut out = readwrite("out", &out)?;
    let pixels = readonly("pixels", &pixels)?;
    let (shape, kept) = ([pixels.shape()[0], pixels.shape()[1]], [out.shape()[0], out.shape()[1]]);
    if let Some((argument, found)) = [("pixels", pixels.shape()[2]), ("out", out.shape()[2])]
        .into_iter()
        .find(|(_, channels)| *channels != 3)
    {
        let message = format!("{argument} has {found} channels; expected 3: red, green, blue");
        return Err(InputError::new_err(message));
    }
    let sides = (
        Side { length: shape[0], resized: height, start: top, kept: kept[0] },
        Side { length: shape[1], resized: width, start: left, kept: kept[1] },
    );
    let (pixels, out) = (contiguous("pixels", &pixels)?, elements("out", &mut out)?);
    py.detach(|| resample::resize_crop(pixels, sides, interpolation, out))?;
    Ok(())
}
