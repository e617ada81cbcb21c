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


def check_labels(labels: NDArray[Any], shape: tuple[int, ...] | None = None) -> None:
    """Raise ArgumentError unless `labels` is a label map: non-empty, whole numbers from 0 on, of the shape (H, W)."""
    if labels.dtype.kind not in "iu" or labels.ndim != 2 or labels.size == 0:
        raise ArgumentError(
            f"a label map must be a non-empty array (H, W) of whole numbers, not {labels.dtype} {labels.shape}"
        )
    if shape is not None and labels.shape != shape:
        raise ArgumentError(f"the label map has the shape {labels.shape}, what it belongs to has {shape}")
    if labels.min() < 0:
        raise ArgumentError(f"labels must be 0 or more, not {labels.min()}")


def check_map(saliency: NDArray[Any]) -> None:
    """Raise ArgumentError unless `saliency` is a non-empty array (H, W) of finite real numbers."""
    if saliency.dtype.kind not in "iuf" or saliency.ndim != 2 or saliency.size == 0:
        raise ArgumentError(
            f"a saliency map must be a non-empty array (H, W) of real numbers, not {saliency.dtype} {saliency.shape}"
        )
    if not np.isfinite(saliency).all():
        raise ArgumentError("the saliency map holds NaN or infinite values: mend what made it")
