"""Pixels of more than 8 bits a sample: their scaling to 8 bits."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["scale_to_uint8"]


def scale_to_uint8(samples: NDArray[np.integer] | NDArray[np.floating], white: int = 65535) -> NDArray[np.uint8]:
    """Scale numbers to 0..255, rounded.

    Parameters
    ----------
    samples : array of any real dtype and shape
        Unsigned 16-bit integers are multiplied by ``255 / white``. Other types have no agreed white: values
        within 0..1 (floating point), 0..127 (int8), 0..32767 (int16) or 0..65535 (wider integers) are scaled
        from that range; values that leave it are stretched from their own minimum..maximum, and are black if
        they are all the same.
    white : int
        Largest value of unsigned 16-bit samples: 65535, or 4095 for 12 bits stored in 16.

    Returns
    -------
    uint8 array of the shape of `samples`

    Raises
    ------
    ValueError
        If the values are complex, NaN or infinite, or too far apart for their difference to be finite.

    Examples
    --------
    >>> scale_to_uint8(np.array([0, 257, 65535], np.uint16)).tolist()
    [0, 1, 255]
    >>> scale_to_uint8(np.array([-1.0, 0.0, 3.0])).tolist()
    [0, 64, 255]
    """
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:
        table = np.minimum((np.arange(65536) * 255 + white // 2) // white, 255).astype(np.uint8)
        return table[samples]
    if samples.dtype.kind not in "iuf":
        raise ValueError(f"{samples.dtype} values are not supported.")
    low, high = float(samples.min()), float(samples.max())  # NaN if any value is
    if not np.isfinite(high - low):
        raise ValueError(f"its values are not finite or too far apart: {low} to {high}.")
    end = float(min(np.iinfo(samples.dtype.str).max, 65535)) if samples.dtype.kind in "iu" else 1.0
    if low >= 0 and high <= end:
        low, high = 0.0, end
    scaled = np.zeros(samples.shape, np.uint8)
    if high > low:
        for row, values in enumerate(samples):  # row by row, to keep the float64 copies small
            scaled[row] = np.rint((values.astype(np.float64) - low) / (high - low) * 255)
    return scaled
