"""Scores of maps that are made binary at one threshold, from their histograms: the columns that all tables share."""

import numpy as np

from saliency_core.scoring.histograms import LEVELS, FloatArray, HistogramArray, IntArray, at_level

HALF = 128
"""The first level that is at least half of the range."""


def overlap(
    foreground_histograms: HistogramArray, background_histograms: HistogramArray, levels: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Compare binary maps with their masks.

    Parameters
    ----------
    foreground_histograms, background_histograms
        Integer arrays (N, 256) of the 8-bit maps inside and outside the masks.
    levels : integer array (N,)
        A map's pixels of its level and above are its foreground; 256: none are.

    Returns
    -------
    iou, accuracy : float64 arrays (N,)
        Intersection over union of foreground and mask, 1 where both are empty; share of the pixels that are right.

    Examples
    --------
    >>> inside, outside = np.zeros((2, 1, 256), int)
    >>> inside[0, [0, 255]], outside[0, [0, 255]] = (1, 3), (5, 1)
    >>> iou, accuracy = overlap(inside, outside, np.array([HALF]))
    >>> iou.item(), accuracy.item()
    (0.6, 0.8)
    """
    counts = []
    for histograms in (foreground_histograms, background_histograms):
        # Pixels at each level and above, and none at the level behind the last.
        above = histograms[:, ::-1].cumsum(axis=1)[:, ::-1].astype(np.float64)
        counts.append(at_level(np.concatenate([above, np.zeros((len(above), 1))], axis=1), levels))
    hits, false = counts
    inside, pixels = foreground_histograms.sum(axis=1), (foreground_histograms + background_histograms).sum(axis=1)
    union = inside + false
    iou = np.divide(hits, union, out=np.ones(len(hits)), where=union > 0)
    right = pixels - inside - false + hits
    return iou, np.divide(right, pixels, out=np.full(len(hits), np.nan), where=pixels > 0)


def otsu_level(histograms: HistogramArray) -> IntArray:
    """Find the level from which on a map's pixels are its foreground by Otsu's criterion.

    Parameters
    ----------
    histograms
        Integer array (N, 256): the maps' valid pixels.

    Returns
    -------
    int64 array (N,)
        1..255; 256 where all pixels have one level: such a map has no foreground.

    References
    ----------
    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979: the largest variance between the two parts.
    """
    values = np.arange(LEVELS)
    below = histograms.cumsum(axis=1)[:, :-1].astype(np.float64)
    sums = (histograms * values).cumsum(axis=1)[:, :-1].astype(np.float64)
    pixels = histograms.sum(axis=1, keepdims=True).astype(np.float64)
    total = (histograms * values).sum(axis=1, keepdims=True).astype(np.float64)
    parts = below * (pixels - below)
    between = np.divide((total * below - pixels * sums) ** 2, parts, out=np.zeros_like(parts), where=parts > 0)
    found = between.argmax(axis=1) + 1
    return np.where(between.max(axis=1, initial=0.0) > 0, found, LEVELS).astype(np.int64)
