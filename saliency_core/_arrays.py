"""What several rooms need to say about arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_core.errors import ArgumentError


def min_max(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale values linearly to [0, 1]; constant values become 0."""
    low, high = values.min(), values.max()
    # Equal but for rounding is constant too: rounding must not be stretched to [0, 1].
    constant = high - low <= 1e-9 * max(abs(low), abs(high))
    return np.zeros_like(values) if constant else (values - low) / (high - low)


def check_rgb(image: NDArray[Any]) -> None:
    """Raise ArgumentError unless `image` is a non-empty uint8 array (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ArgumentError(
            f"an image must be a non-empty uint8 array (H, W, 3), not {image.dtype} {image.shape}; "
            "convert it to 8-bit RGB"
        )
