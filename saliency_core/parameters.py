"""All constants of the method in one typed object."""

import math
from dataclasses import dataclass, field
from typing import get_args

from saliency_core.methods.low_level import LowLevelParameters
from saliency_core.refining.refinement import RefinementParameters
from saliency_core.superpixels.statistics import SlicCode

WORKING_SIZE = 512
"""Longest side, in pixels, at which superpixels and maps are computed."""


@dataclass(frozen=True)
class ErasureParameters:
    """Constants of the erasure, named as in the paper.

    Parameters
    ----------
    epsilon : float
        Learning rate of Eq. 2, in units of the network's normalised input.
    gamma : float
        Weight of the clamping term of Eq. 1. The term sums over all other classes: the same gamma is 50 times
        stronger on ImageNet's 1000 classes than on VOC's 20.
    iterations : int
        Number T of gradient steps.
    """

    epsilon: float = 0.1
    gamma: float = 2e-3
    iterations: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be finite and above 0, not {self.epsilon}")
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma must be finite and 0 or more, not {self.gamma}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be 1 or more, not {self.iterations}")


@dataclass(frozen=True)
class SuperpixelParameters:
    """Constants of the superpixels.

    Parameters
    ----------
    segments : int
        Number of SLIC superpixels asked for; fewer come out.
    compactness : float
        SLIC's weight of distance in the image plane against distance in Lab colour.
    slic : {"compiled", "scikit-image"}
        Whose code computes them: this project's own, or scikit-image's (about ten times slower; the reference).
    """

    segments: int = 100
    compactness: float = 10.0
    slic: SlicCode = "compiled"

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise ValueError(f"segments must be 1 or more, not {self.segments}")
        if not 0 < self.compactness < math.inf:
            raise ValueError(f"compactness must be finite and above 0, not {self.compactness}")
        if self.slic not in get_args(SlicCode):
            raise ValueError(f"slic must be one of {', '.join(get_args(SlicCode))}, not {self.slic}")


@dataclass(frozen=True)
class SaliencyParameters:
    """Everything that changes the value of a map, apart from the image and the classifier.

    Parameters
    ----------
    erasure : ErasureParameters
    superpixels : SuperpixelParameters
    low_level : LowLevelParameters
    refinement : RefinementParameters
    """

    erasure: ErasureParameters = field(default_factory=ErasureParameters)
    superpixels: SuperpixelParameters = field(default_factory=SuperpixelParameters)
    low_level: LowLevelParameters = field(default_factory=LowLevelParameters)
    refinement: RefinementParameters = field(default_factory=RefinementParameters)
