"""Scores of a segmentation against a mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliency_core.scoring.histograms import f_beta


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of a segmentation: F-beta and intersection over union."""

    f_beta: float
    iou: float


def segmentation_scores(
    segmented: NDArray[np.bool_], foreground: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> SegmentationScores | None:
    """Score a segmentation against a mask.

    Parameters
    ----------
    segmented, foreground, valid
        Bool arrays (H, W): the segmentation, the mask's foreground, and False on void pixels, which do not count.

    Returns
    -------
    The scores, or None if the mask is empty.

    Examples
    --------
    >>> mask = np.array([[True, True, False, False]])
    >>> segmentation_scores(np.array([[True, False, True, False]]), mask, np.ones_like(mask))
    SegmentationScores(f_beta=0.5, iou=0.3333333333333333)
    """
    inside = int(np.count_nonzero(foreground & valid))
    if inside == 0:
        return None
    found = int(np.count_nonzero(segmented & valid))
    shared = int(np.count_nonzero(segmented & foreground & valid))
    precision, recall = np.array(shared / found if found else 1.0), np.array(shared / inside)
    return SegmentationScores(f_beta=float(f_beta(precision, recall)), iou=shared / (inside + found - shared))
