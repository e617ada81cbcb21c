"""Scores of a set of images, as running sums that parallel workers fill and merge."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from saliency_core.errors import ArgumentError
from saliency_core.scoring.binary import HALF, otsu_level, overlap
from saliency_core.scoring.histograms import (
    LEVELS,
    FloatArray,
    HistogramArray,
    adaptive_level,
    at_level,
    e_measure,
    f_beta,
    mean_absolute_error,
    precision_recall,
)

# Rows scored at once: the temporaries (128 KiB each) then stay in a core's own cache, which halves the time.
_BATCH_ROWS = 64


@dataclass(frozen=True)
class DataSetFigures:
    """Scores of a set of images; every figure is NaN if no image was scored.

    "Best F-beta" has three meanings in the literature, and all three are given. By the concavity of F-beta (a
    weighted harmonic mean) A >= B for any images; a mean of maxima is never below the maximum of the mean, so
    C >= B. Between A and C either may be the larger.

    Attributes
    ----------
    images
        Number of images averaged over.
    empty_masks
        Number of images left out for an empty mask.
    f_beta_of_mean_curve
        A, the headline: best F-beta of the mean precision and mean recall curve (Borji et al., Cheng et al.).
    f_beta_max_of_mean
        B: best over thresholds of the images' mean F-beta (PySODMetrics' maximum).
    f_beta_mean_of_max
        C: mean of each image's own best F-beta.
    f_beta_mean
        Mean over thresholds of the images' mean F-beta.
    f_beta_adaptive, mae
        Means of the images' scores.
    iou, accuracy
        Means of the images' intersection over union with the mask, and share of right pixels, of the map binarised at
        0.5 of its range (level 128 on).
    iou_otsu, accuracy_otsu
        The same, binarised above the map's own threshold of Otsu.
    e_measure_adaptive, e_measure_mean, e_measure_max
        Mean of the adaptive E-measures; mean and maximum over thresholds of the images' mean E-measure.
    """

    images: int
    empty_masks: int
    f_beta_of_mean_curve: float
    f_beta_max_of_mean: float
    f_beta_mean_of_max: float
    f_beta_mean: float
    f_beta_adaptive: float
    mae: float
    iou: float
    accuracy: float
    iou_otsu: float
    accuracy_otsu: float
    e_measure_adaptive: float
    e_measure_mean: float
    e_measure_max: float


def _zero_curve() -> FloatArray:
    return np.zeros(LEVELS)


@dataclass(eq=False)
class DataSetScores:
    """Running sums over images, from which the scores of the whole set follow.

    Add batches of histograms, merge accumulators filled elsewhere, read `figures` and the mean curves. The
    order of adding and merging matters only in the last bits of the floating-point sums.

    Examples
    --------
    >>> inside, outside = np.zeros((2, 3, 256), int)
    >>> inside[:2, 255], outside[:, 0] = 5, 15  # two perfect maps, and an image with an empty mask
    >>> total = DataSetScores()
    >>> total.add(inside, outside)
    >>> figures = total.figures()
    >>> figures.images, figures.empty_masks, figures.f_beta_of_mean_curve, figures.mae
    (2, 1, 1.0, 0.0)
    """

    images: int = 0
    empty_masks: int = 0
    precision_sum: FloatArray = field(default_factory=_zero_curve)
    recall_sum: FloatArray = field(default_factory=_zero_curve)
    f_beta_sum: FloatArray = field(default_factory=_zero_curve)
    e_measure_sum: FloatArray = field(default_factory=_zero_curve)
    best_f_beta_sum: float = 0.0
    adaptive_f_beta_sum: float = 0.0
    adaptive_e_measure_sum: float = 0.0
    mae_sum: float = 0.0
    iou_sum: float = 0.0
    accuracy_sum: float = 0.0
    iou_otsu_sum: float = 0.0
    accuracy_otsu_sum: float = 0.0

    def add(self, foreground_histograms: HistogramArray, background_histograms: HistogramArray) -> None:
        """Add images.

        Parameters
        ----------
        foreground_histograms, background_histograms
            Integer arrays (256,) for one image or (N, 256) for N. Rows with an empty mask are counted in
            `empty_masks` and otherwise left out.

        Raises
        ------
        ValueError
            If the arrays have another shape or do not hold integers.
        """
        inside, outside = np.atleast_2d(foreground_histograms), np.atleast_2d(background_histograms)
        if inside.shape != outside.shape or inside.shape[1:] != (LEVELS,):
            raise ArgumentError(f"histograms must have shape (N, 256), not {inside.shape} and {outside.shape}")
        for start in range(0, len(inside), _BATCH_ROWS):
            self._add_batch(inside[start : start + _BATCH_ROWS], outside[start : start + _BATCH_ROWS])

    def _add_batch(self, inside: HistogramArray, outside: HistogramArray) -> None:
        has_foreground = inside.any(axis=-1)
        self.empty_masks += int(np.count_nonzero(~has_foreground))
        inside, outside = inside[has_foreground], outside[has_foreground]
        if not len(inside):
            return
        precision, recall = precision_recall(inside, outside)
        f_curves = f_beta(precision, recall)
        e_curves = e_measure(inside, outside)
        level = adaptive_level(inside, outside)
        self.images += len(inside)
        # Not in place: the arrays of an accumulator that came from another process may be read-only.
        self.precision_sum = self.precision_sum + precision.sum(axis=0)
        self.recall_sum = self.recall_sum + recall.sum(axis=0)
        self.f_beta_sum = self.f_beta_sum + f_curves.sum(axis=0)
        self.e_measure_sum = self.e_measure_sum + e_curves.sum(axis=0)
        self.best_f_beta_sum += float(f_curves.max(axis=-1).sum())
        self.adaptive_f_beta_sum += float(at_level(f_curves, level).sum())
        self.adaptive_e_measure_sum += float(at_level(e_curves, level).sum())
        self.mae_sum += float(mean_absolute_error(inside, outside).sum())
        iou, accuracy = overlap(inside, outside, np.full(len(inside), HALF))
        self.iou_sum += float(iou.sum())
        self.accuracy_sum += float(accuracy.sum())
        iou, accuracy = overlap(inside, outside, otsu_level(inside + outside))
        self.iou_otsu_sum += float(iou.sum())
        self.accuracy_otsu_sum += float(accuracy.sum())

    def merge(self, other: DataSetScores) -> None:
        """Take over the images of another accumulator, which stays as it is."""
        self.images += other.images
        self.empty_masks += other.empty_masks
        self.precision_sum = self.precision_sum + other.precision_sum
        self.recall_sum = self.recall_sum + other.recall_sum
        self.f_beta_sum = self.f_beta_sum + other.f_beta_sum
        self.e_measure_sum = self.e_measure_sum + other.e_measure_sum
        self.best_f_beta_sum += other.best_f_beta_sum
        self.adaptive_f_beta_sum += other.adaptive_f_beta_sum
        self.adaptive_e_measure_sum += other.adaptive_e_measure_sum
        self.mae_sum += other.mae_sum
        self.iou_sum += other.iou_sum
        self.accuracy_sum += other.accuracy_sum
        self.iou_otsu_sum += other.iou_otsu_sum
        self.accuracy_otsu_sum += other.accuracy_otsu_sum

    @property
    def precision(self) -> FloatArray:
        """Mean precision over images at thresholds 0..255, float64 (256,); NaN without images."""
        return self.precision_sum / (self.images or np.nan)

    @property
    def recall(self) -> FloatArray:
        """Mean recall over images at thresholds 0..255, float64 (256,); NaN without images."""
        return self.recall_sum / (self.images or np.nan)

    def figures(self) -> DataSetFigures:
        """Compute the scores of the set of images added so far."""
        count = self.images or np.nan
        mean_f_curve = self.f_beta_sum / count
        mean_e_curve = self.e_measure_sum / count
        return DataSetFigures(
            images=self.images,
            empty_masks=self.empty_masks,
            f_beta_of_mean_curve=float(f_beta(self.precision, self.recall).max()),
            f_beta_max_of_mean=float(mean_f_curve.max()),
            f_beta_mean_of_max=self.best_f_beta_sum / count,
            f_beta_mean=float(mean_f_curve.mean()),
            f_beta_adaptive=self.adaptive_f_beta_sum / count,
            mae=self.mae_sum / count,
            iou=self.iou_sum / count,
            accuracy=self.accuracy_sum / count,
            iou_otsu=self.iou_otsu_sum / count,
            accuracy_otsu=self.accuracy_otsu_sum / count,
            e_measure_adaptive=self.adaptive_e_measure_sum / count,
            e_measure_mean=float(mean_e_curve.mean()),
            e_measure_max=float(mean_e_curve.max()),
        )
