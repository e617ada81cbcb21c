"""Scores of a saliency map against a mask, all of them from two histograms per image.

The histogram of the 8-bit map over the foreground pixels and the one over the background pixels determine
the precision-recall curve, every F-beta, the mean absolute error and the E-measure. So the histograms are
what is kept per image, and the curve of any set of images is a sum over its rows (see
`saliency_core.scoring.data_set`). Histogram arguments may carry leading axes, ``(..., 256)``: one call scores
one image or many.

An image whose mask is empty (no foreground among its valid pixels) has no recall. Functions that need it
return NaN for such an image, `image_scores` returns None, and no average counts it.

References
----------
.. [1] Achanta et al., Frequency-tuned Salient Region Detection, CVPR 2009 (F-beta, adaptive threshold).
.. [2] Borji et al., Salient Object Detection: A Benchmark, TIP 2015 (precision-recall protocol, MAE).
.. [3] Fan et al., Enhanced-alignment Measure for Binary Foreground Map Evaluation, IJCAI 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_core.errors import ArgumentError

LEVELS = 256
BETA_SQUARED = 0.3

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
HistogramArray = NDArray[np.integer[Any]]


def to_8bit(saliency_map: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch a saliency map to the whole 8-bit range.

    Parameters
    ----------
    saliency_map
        Real array (H, W), any range.

    Returns
    -------
    uint8 array (H, W): minimum 0, maximum 255, values between rounded to the nearest integer. A constant map
    has no salient part and gives all zeros.

    Raises
    ------
    ArgumentError
        If the map is not two-dimensional, is empty, or holds NaN or infinite values.

    Examples
    --------
    >>> to_8bit(np.array([[0.0, 0.5], [0.9, 2.0]]))
    array([[  0,  64],
           [115, 255]], dtype=uint8)
    """
    values = np.asarray(saliency_map, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ArgumentError(f"a saliency map must be a non-empty (H, W) array, but its shape is {values.shape}")
    low, high = values.min(), values.max()
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
    if not np.isfinite(spread):
        raise ArgumentError("the saliency map holds NaN or infinite values; mend the map before scoring it")
    if spread == 0:
        return np.zeros(values.shape, dtype=np.uint8)
    # Divide before multiplying: 255 / spread overflows for a map whose range is a denormal number.
    return np.rint((values - low) / spread * 255).astype(np.uint8)


def map_histograms(
    map_8bit: NDArray[np.uint8], foreground: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None
) -> tuple[IntArray, IntArray]:
    """Count the values of an 8-bit map over the foreground and over the background.

    Parameters
    ----------
    map_8bit
        uint8 array (H, W), see `to_8bit`.
    foreground
        bool array (H, W), True on the object.
    valid
        bool array (H, W), False on void pixels, which neither histogram counts. None: every pixel is valid.

    Returns
    -------
    foreground_histogram, background_histogram : int64 arrays (256,)

    Raises
    ------
    ArgumentError
        If a dtype is not the one named above or the shapes differ.

    Examples
    --------
    >>> inside, outside = map_histograms(np.array([[0, 7, 255]], np.uint8), np.array([[False, True, True]]))
    >>> np.flatnonzero(inside), np.flatnonzero(outside)
    (array([  7, 255]), array([0]))
    """
    if map_8bit.dtype != np.uint8:
        raise ArgumentError(f"the map must be uint8, not {map_8bit.dtype}; call to_8bit first")
    for name, mask in (("foreground", foreground), ("valid", valid)):
        if mask is None:
            continue
        if mask.dtype != np.bool_:
            raise ArgumentError(f"{name} must be a bool array, not {mask.dtype}")
        if mask.shape != map_8bit.shape:
            raise ArgumentError(f"{name} has shape {mask.shape}, but the map has shape {map_8bit.shape}")
    bins = map_8bit.astype(np.intp) + LEVELS * foreground
    counts = np.bincount(bins.ravel() if valid is None else bins[valid], minlength=2 * LEVELS).astype(np.int64)
    return counts[LEVELS:], counts[:LEVELS]


def precision_recall(
    foreground_histogram: HistogramArray, background_histogram: HistogramArray
) -> tuple[FloatArray, FloatArray]:
    """Precision and recall at every threshold.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (..., 256), see `map_histograms`.

    Returns
    -------
    precision, recall : float64 arrays (..., 256)
        At threshold t = 0..255 the prediction is ``map >= t``. An empty prediction has precision 1 (and
        recall 0); PySODMetrics gives it precision 0. The recall of an image with an empty mask is NaN at
        every threshold.

    Examples
    --------
    >>> inside, outside = np.zeros((2, 256), int)
    >>> inside[200], outside[[0, 200]] = 4, [10, 6]
    >>> precision, recall = precision_recall(inside, outside)
    >>> precision[[0, 200, 201]], recall[[0, 200, 201]]
    (array([0.2, 0.4, 1. ]), array([1., 1., 0.]))
    """
    true_positives, false_positives = _positives(foreground_histogram, background_histogram)
    predicted = true_positives + false_positives
    precision = np.divide(true_positives, predicted, out=np.ones(predicted.shape), where=predicted > 0)
    labelled = true_positives[..., :1]
    recall = np.divide(true_positives, labelled, out=np.full(predicted.shape, np.nan), where=labelled > 0)
    return precision, recall


def f_beta(precision: FloatArray, recall: FloatArray, beta_squared: float = BETA_SQUARED) -> FloatArray:
    """F-beta, the weighted harmonic mean of precision and recall; 0 where both are 0, NaN where one is NaN.

    Parameters
    ----------
    precision, recall
        float arrays of one shape, values in [0, 1].
    beta_squared
        Weight of recall; 0.3 is the custom in saliency detection.

    Returns
    -------
    float64 array: ``(1 + beta_squared) P R / (beta_squared P + R)``.

    References
    ----------
    Achanta et al., CVPR 2009, Eq. 6.

    Examples
    --------
    >>> f_beta(np.array([1.0, 0.5, 0.0]), np.array([1.0, 0.5, 0.0]))
    array([1. , 0.5, 0. ])
    """
    denominator = np.asarray(beta_squared * precision + recall)
    numerator = (1 + beta_squared) * precision * recall
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator != 0)


def best_f_beta(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> FloatArray:
    """Each image's own best F-beta over the 256 thresholds.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (..., 256).

    Returns
    -------
    float64 array (...), NaN where the mask is empty.
    """
    return f_beta(*precision_recall(foreground_histogram, background_histogram)).max(axis=-1)


def adaptive_level(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> IntArray:
    """Find the adaptive threshold, twice the map's mean but at most its maximum, as an 8-bit level.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (..., 256).

    Returns
    -------
    int64 array (...): the least level t of 0..255 with ``t / 255 >= min(2 * mean, 1)``, where the mean is
    over the valid pixels of the map divided by 255. Integer arithmetic, so ties are exact.

    References
    ----------
    Achanta et al., CVPR 2009, Eq. 5.

    Examples
    --------
    >>> counts = np.zeros(256, int)
    >>> counts[[0, 25]] = 1
    >>> int(adaptive_level(counts, np.zeros(256, int)))
    25
    """
    inside, outside = _checked(foreground_histogram, background_histogram)
    counts = inside + outside
    pixels = counts.sum(axis=-1)
    total = (counts * np.arange(LEVELS)).sum(axis=-1)
    return np.minimum(-(-2 * total // np.maximum(pixels, 1)), LEVELS - 1)


def at_level(curves: FloatArray, level: IntArray) -> FloatArray:
    """Read each image's curve at that image's threshold.

    Parameters
    ----------
    curves
        float64 array (..., 256), values at thresholds 0..255.
    level
        int64 array (...), thresholds, see `adaptive_level`.

    Returns
    -------
    float64 array (...).
    """
    return np.take_along_axis(curves, np.expand_dims(level, -1), axis=-1)[..., 0]


def adaptive_f_beta(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> FloatArray:
    """F-beta at the adaptive threshold, ``min(2 * mean, 1)``.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (..., 256).

    Returns
    -------
    float64 array (...), NaN where the mask is empty.
    """
    precision, recall = precision_recall(foreground_histogram, background_histogram)
    level = adaptive_level(foreground_histogram, background_histogram)
    return at_level(f_beta(precision, recall), level)


def mean_absolute_error(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> FloatArray:
    """Mean absolute difference of map / 255 and mask over the valid pixels.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (..., 256).

    Returns
    -------
    float64 array (...) in [0, 1]. An empty mask is a mask of zeros here; NaN only where no pixel is valid.

    References
    ----------
    Perazzi et al., Saliency Filters, CVPR 2012, Eq. 9.
    """
    inside, outside = _checked(foreground_histogram, background_histogram)
    levels = np.arange(LEVELS)
    error = (outside * levels).sum(axis=-1) + (inside * levels[::-1]).sum(axis=-1)
    pixels = inside.sum(axis=-1) + outside.sum(axis=-1)
    return np.divide(error / 255, pixels, out=np.full(np.shape(pixels), np.nan), where=pixels > 0)


def e_measure(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> FloatArray:
    """E-measure (enhanced alignment) at every threshold.

    The alignment of a pixel depends only on whether it is predicted and whether it is labelled, so the sum
    over the image has four terms, one per kind of pixel.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (..., 256).

    Returns
    -------
    float64 array (..., 256), for t = 0..255. As in PySODMetrics the sum is divided by the number of valid
    pixels less one (so a perfect prediction scores slightly above 1), an empty mask scores the share of
    pixels not predicted and a full mask the share predicted. NaN where no pixel is valid. PySODMetrics
    divides by almost zero for an image of a single pixel; here the divisor is at least 1.

    References
    ----------
    Fan et al., IJCAI 2018, Eq. 2-5; PySODMetrics ``Emeasure``.
    """
    true_positives, false_positives = _positives(foreground_histogram, background_histogram)
    labelled = true_positives[..., :1]
    unlabelled = false_positives[..., :1]
    pixels = labelled + unlabelled
    false_negatives = labelled - true_positives
    true_negatives = unlabelled - false_positives
    safe_pixels = np.maximum(pixels, 1)
    predicted_share = (true_positives + false_positives) / safe_pixels
    labelled_share = labelled / safe_pixels
    total = (
        true_positives * _enhanced_alignment(1 - predicted_share, 1 - labelled_share)
        + false_positives * _enhanced_alignment(1 - predicted_share, -labelled_share)
        + false_negatives * _enhanced_alignment(-predicted_share, 1 - labelled_share)
        + true_negatives * _enhanced_alignment(-predicted_share, -labelled_share)
    )
    total = np.where(labelled == 0, true_negatives, np.where(unlabelled == 0, true_positives, total))
    return np.where(pixels == 0, np.nan, total / np.maximum(pixels - 1, 1))


def adaptive_e_measure(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> FloatArray:
    """E-measure at the adaptive threshold, ``min(2 * mean, 1)``.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (..., 256).

    Returns
    -------
    float64 array (...); an empty mask as in `e_measure`.
    """
    curve = e_measure(foreground_histogram, background_histogram)
    return at_level(curve, adaptive_level(foreground_histogram, background_histogram))


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image: its own best F-beta over thresholds, adaptive F-beta, mean absolute error."""

    f_beta: float
    f_beta_adaptive: float
    mae: float


def image_scores(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> ImageScores | None:
    """Score one image.

    Parameters
    ----------
    foreground_histogram, background_histogram
        Integer arrays (256,).

    Returns
    -------
    The scores, or None if the mask is empty: such an image has no share in any average, and a None in each of
    its columns gives averages over rows that agree with those of a data set.
    """
    if not foreground_histogram.any():
        return None
    return ImageScores(
        f_beta=float(best_f_beta(foreground_histogram, background_histogram)),
        f_beta_adaptive=float(adaptive_f_beta(foreground_histogram, background_histogram)),
        mae=float(mean_absolute_error(foreground_histogram, background_histogram)),
    )


def _checked(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> tuple[IntArray, IntArray]:
    inside, outside = np.asarray(foreground_histogram), np.asarray(background_histogram)
    if inside.shape != outside.shape or inside.ndim == 0 or inside.shape[-1] != LEVELS:
        raise ArgumentError(
            f"the two histograms must have one shape (..., 256), but they have {inside.shape} and {outside.shape}"
        )
    if inside.dtype.kind not in "iu" or outside.dtype.kind not in "iu":
        raise ArgumentError(f"histograms must hold integers, not {inside.dtype} and {outside.dtype}")
    return inside.astype(np.int64, copy=False), outside.astype(np.int64, copy=False)


def _positives(foreground_histogram: HistogramArray, background_histogram: HistogramArray) -> tuple[IntArray, IntArray]:
    """Count true and false positives at thresholds 0..255, the values >= t."""
    inside, outside = _checked(foreground_histogram, background_histogram)
    return (
        inside[..., ::-1].cumsum(axis=-1)[..., ::-1],
        outside[..., ::-1].cumsum(axis=-1)[..., ::-1],
    )


def _enhanced_alignment(prediction_deviation: FloatArray, mask_deviation: FloatArray) -> FloatArray:
    squares = prediction_deviation**2 + mask_deviation**2 + np.spacing(1)
    return (2 * prediction_deviation * mask_deviation / squares + 1) ** 2 / 4
