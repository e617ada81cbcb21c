"""Scores that look at where errors lie: S-measure and weighted F-beta, with the E-measure beside them.

Definitions and constants are those of PySODMetrics (https://github.com/lartpang/PySODMetrics), with two
additions. Void pixels are left out of every mean, variance and sum. And parts without any pixel have weight 0
in the S-measure, where PySODMetrics returns NaN (an object whose centroid lies in the last row or column).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from saliency_core.errors import ArgumentError
from saliency_core.scoring.histograms import adaptive_e_measure, e_measure, map_histograms

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_TINY = float(np.spacing(1))


@dataclass(frozen=True)
class StructureScores:
    """S-measure, E-measure (adaptive, mean and maximum over thresholds), weighted F-beta of one image."""

    s_measure: float
    e_measure_adaptive: float
    e_measure_mean: float
    e_measure_max: float
    weighted_f_beta: float


def structure_scores(
    map_8bit: NDArray[np.uint8], foreground: BoolArray, valid: BoolArray | None = None
) -> StructureScores | None:
    """All structure scores of one image.

    Parameters
    ----------
    map_8bit
        uint8 array (H, W), see `saliency_core.scoring.histograms.to_8bit`.
    foreground
        bool array (H, W), True on the object.
    valid
        bool array (H, W), False on void pixels. None: every pixel is valid.

    Returns
    -------
    The scores, or None if the mask has no valid foreground: such an image has no share in averages. The
    maximal E-measure is this image's own; that of a data set is the maximum of the images' mean curve, see
    `saliency_core.scoring.data_set.DataSetScores`.

    Examples
    --------
    >>> foreground = np.zeros((20, 30), bool)
    >>> foreground[5:15, 5:20] = True
    >>> scores = structure_scores(foreground * np.uint8(255), foreground)
    >>> round(scores.s_measure, 6), round(scores.weighted_f_beta, 6)
    (1.0, 1.0)
    """
    inside, outside = map_histograms(map_8bit, foreground, valid)
    if not inside.any():
        return None
    curve = e_measure(inside, outside)
    return StructureScores(
        s_measure=s_measure(map_8bit, foreground, valid),
        e_measure_adaptive=float(adaptive_e_measure(inside, outside)),
        e_measure_mean=float(curve.mean()),
        e_measure_max=float(curve.max()),
        weighted_f_beta=weighted_f_beta(map_8bit, foreground, valid),
    )


def s_measure(saliency: NDArray[Any], foreground: BoolArray, valid: BoolArray | None = None) -> float:
    """S-measure: half object-aware, half region-aware similarity of map and mask (alpha = 0.5).

    Parameters
    ----------
    saliency
        Array (H, W): uint8 in 0..255, or float in [0, 1].
    foreground
        bool array (H, W).
    valid
        bool array (H, W), False on void pixels. They count in no mean, variance or weight; the centroid that
        divides the image into four regions is that of the foreground. None: every pixel is valid.

    Returns
    -------
    Score in [0, 1]. Of an empty mask: 1 - mean of the map; of a full one: mean of the map.

    Raises
    ------
    ArgumentError
        If shapes differ, a float map leaves [0, 1], or no pixel is valid.

    References
    ----------
    Fan et al., Structure-measure: A New Way to Evaluate Foreground Maps, ICCV 2017, Eq. 1-10.
    """
    values, foreground, valid = _checked(saliency, foreground, valid)
    labelled_share = float(foreground[valid].mean())
    if labelled_share == 0:
        return float(1 - values[valid].mean())
    if labelled_share == 1:
        return float(values[valid].mean())
    object_score = labelled_share * _object_similarity(values[foreground]) + (1 - labelled_share) * _object_similarity(
        1 - values[valid & ~foreground]
    )
    return float(max(0.0, 0.5 * object_score + 0.5 * _region_similarity(values, foreground, valid)))


def weighted_f_beta(saliency: NDArray[Any], foreground: BoolArray, valid: BoolArray | None = None) -> float:
    """Weighted F-beta (beta^2 = 1): errors weighted by their place.

    An error on the object is forgiven as far as its surroundings on the object are right; an error on the
    background weighs the more, the farther from the object it lies.

    Parameters
    ----------
    saliency
        Array (H, W): uint8 in 0..255, or float in [0, 1].
    foreground
        bool array (H, W).
    valid
        bool array (H, W), False on void pixels, which are left out of the sum over the background. (The
        surroundings of an object's pixel take no value from outside the object, void or not.) None: every
        pixel is valid.

    Returns
    -------
    Score in [0, 1]; 0 for an empty mask.

    Raises
    ------
    ArgumentError
        If shapes differ, a float map leaves [0, 1], or no pixel is valid.

    References
    ----------
    Margolin, Zelnik-Manor, Tal, How to Evaluate Foreground Maps?, CVPR 2014, Eq. 5-11.
    """
    values, foreground, valid = _checked(saliency, foreground, valid)
    if not foreground.any():
        return 0.0
    error = np.abs(values - foreground)
    distance, (rows, columns) = ndimage.distance_transform_edt(~foreground, return_indices=True)
    # Off the object the error is that of the nearest object pixel: object borders blur with their own kind.
    spread_error = error[rows, columns]
    offsets = np.arange(-3, 4)
    kernel = np.exp(-(offsets**2) / (2 * 5.0**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        spread_error = ndimage.convolve1d(spread_error, kernel, axis=axis, mode="constant")

    object_error = np.minimum(error, spread_error)[foreground]
    background = valid & ~foreground
    background_error = error[background] * (2 - 0.5 ** (distance[background] / 5))
    true_positives = object_error.size - object_error.sum()
    precision = true_positives / (true_positives + background_error.sum() + _TINY)
    recall = 1 - object_error.mean()
    return float(2 * precision * recall / (precision + recall + _TINY))


def _checked(
    saliency: NDArray[Any], foreground: BoolArray, valid: BoolArray | None
) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Map as float64 in [0, 1], foreground within valid, valid."""
    if valid is None:
        valid = np.ones(foreground.shape, dtype=np.bool_)
    if foreground.dtype != np.bool_ or valid.dtype != np.bool_:
        raise ArgumentError(f"foreground and valid must be bool arrays, not {foreground.dtype} and {valid.dtype}")
    if not saliency.shape == foreground.shape == valid.shape or saliency.ndim != 2:
        raise ArgumentError(
            f"map, foreground and valid must have one shape (H, W), but they have {saliency.shape}, "
            f"{foreground.shape} and {valid.shape}"
        )
    if not valid.any():
        raise ArgumentError("no pixel of the mask is valid, so there is nothing to score")
    values = saliency / 255 if saliency.dtype == np.uint8 else saliency.astype(np.float64)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ArgumentError("a float map must lie in [0, 1]; call to_8bit to stretch it")
    return values, foreground & valid, valid


def _object_similarity(values: FloatArray) -> float:
    mean = values.mean()
    deviation = values.std(ddof=1) if values.size > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + deviation + _TINY))


def _region_similarity(values: FloatArray, foreground: BoolArray, valid: BoolArray) -> float:
    # The pixel of the centroid belongs to the upper left region, as in the authors' Matlab code.
    row, column = np.argwhere(foreground).mean(axis=0).round().astype(int) + 1
    score = 0.0
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            inside = valid[rows, columns]
            pixels = np.count_nonzero(inside)
            if pixels:
                similarity = _ssim(values[rows, columns][inside], foreground[rows, columns][inside])
                score += pixels * similarity
    return score / np.count_nonzero(valid)


def _ssim(values: FloatArray, mask: BoolArray) -> float:
    """Structural similarity of two equally long lists of pixels, without stabilising constants."""
    mean, mask_mean = values.mean(), mask.mean()
    divisor = values.size - 1 + _TINY
    variance = ((values - mean) ** 2).sum() / divisor
    mask_variance = ((mask - mask_mean) ** 2).sum() / divisor
    covariance = ((values - mean) * (mask - mask_mean)).sum() / divisor
    numerator = 4 * mean * mask_mean * covariance
    denominator = (mean**2 + mask_mean**2) * (variance + mask_variance)
    if numerator != 0:
        return float(numerator / (denominator + _TINY))
    return 1.0 if denominator == 0 else 0.0
