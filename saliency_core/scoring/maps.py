"""Scores of a set of maps against their masks, one pair after the other."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_core.errors import ArgumentError
from saliency_core.scoring.data_set import DataSetFigures, DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit
from saliency_core.scoring.structure import s_measure, weighted_f_beta


@dataclass(frozen=True)
class MapFigures:
    """Scores of a set of maps; every figure is NaN if no image was scored.

    Parameters
    ----------
    curves : DataSetFigures
        What follows from the histograms: the three F-betas, adaptive F-beta, MAE, E-measure.
    s_measure, weighted_f_beta : float
        Means of the images' scores.
    """

    curves: DataSetFigures
    s_measure: float
    weighted_f_beta: float


@dataclass(eq=False)
class MapScores:
    """Running sums over maps and masks, from which the scores of the whole set follow.

    Parameters
    ----------
    curves : DataSetScores
        Sums over the images' histograms; its mean curves can be plotted.

    Examples
    --------
    >>> mask = np.zeros((20, 30), bool)
    >>> mask[5:15, 5:20] = True
    >>> scorer = MapScores()
    >>> scorer.add(np.where(mask, 0.8, 0.1), mask)
    >>> figures = scorer.scores()
    >>> figures.curves.images, figures.curves.f_beta_of_mean_curve, round(figures.s_measure, 6)
    (1, 1.0, 1.0)
    """

    curves: DataSetScores = field(default_factory=DataSetScores)
    s_measure_sum: float = 0.0
    weighted_f_beta_sum: float = 0.0

    def add(
        self,
        saliency_map: NDArray[Any],
        mask: NDArray[np.bool_] | NDArray[np.uint8],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add an image.

        Parameters
        ----------
        saliency_map : real array (H, W)
            Any range; it is stretched to the whole 8-bit range first.
        mask : bool array (H, W), or uint8 array with values 0..255
            True, or above 127, on the object. An image whose mask is empty is counted apart, and has no share in the
            averages.
        valid : bool array (H, W), optional
            False on void pixels, which are left out of every count.

        Raises
        ------
        ArgumentError
            If an array cannot be used, or the shapes differ.
        """
        levels = to_8bit(np.asarray(saliency_map))
        foreground = _foreground(np.asarray(mask))
        void = None if valid is None else np.asarray(valid)
        inside, outside = map_histograms(levels, foreground, void)
        self.curves.add(inside, outside)
        if inside.any():
            self.s_measure_sum += s_measure(levels, foreground, void)
            self.weighted_f_beta_sum += weighted_f_beta(levels, foreground, void)

    def merge(self, other: "MapScores") -> None:
        """Take over the images of another one, which stays as it is."""
        self.curves.merge(other.curves)
        self.s_measure_sum += other.s_measure_sum
        self.weighted_f_beta_sum += other.weighted_f_beta_sum

    def scores(self) -> MapFigures:
        """Compute the scores of the images added so far."""
        count = self.curves.images or np.nan
        return MapFigures(self.curves.figures(), self.s_measure_sum / count, self.weighted_f_beta_sum / count)


def _foreground(mask: NDArray[Any]) -> NDArray[np.bool_]:
    if mask.dtype == np.bool_:
        return mask
    if mask.dtype != np.uint8:
        raise ArgumentError(f"a mask must be a bool array (H, W), or uint8 with values 0 and 255, not {mask.dtype}")
    if mask.size and mask.max() == 1:
        raise ArgumentError("the mask is uint8 with values 0 and 1: pass mask.astype(bool)")
    return mask > 127
