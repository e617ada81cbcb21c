"""All constants of the methods in typed objects. Nothing here needs numpy or torch: settings are checked without."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from saliency_core.errors import ArgumentError

WORKING_SIZE = 512
"""Longest side, in pixels, at which superpixels and maps are computed."""

SlicCode = Literal["compiled", "scikit-image"]
"""Whose SLIC: this project's own, or scikit-image's."""

STAGES = ("raw", "smoothed", "refined")
"""The maps that every method with a network has, in order."""


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
            raise ArgumentError(f"epsilon must be finite and above 0, not {self.epsilon}")
        if not 0 <= self.gamma < math.inf:
            raise ArgumentError(f"gamma must be finite and 0 or more, not {self.gamma}")
        if self.iterations < 1:
            raise ArgumentError(f"iterations must be 1 or more, not {self.iterations}")


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
            raise ArgumentError(f"segments must be 1 or more, not {self.segments}")
        if not 0 < self.compactness < math.inf:
            raise ArgumentError(f"compactness must be finite and above 0, not {self.compactness}")
        if self.slic not in get_args(SlicCode):
            raise ArgumentError(f"slic must be one of {', '.join(get_args(SlicCode))}, not {self.slic}")


@dataclass(frozen=True)
class LowLevelParameters:
    """Constants of the low-level saliency.

    The published stand-ins have 9 for the centre prior and 6 for the colour distribution; the defaults here are
    tuned on photographs (docs/parameters.md gives both figures).

    Parameters
    ----------
    centre_falloff : float
        Factor k of the centre prior exp(-k d^2), d in image sizes; 0 switches the prior off.
    colour_sigma : float
        Width of the colour kernel of the colour distribution, in Lab units.
    distribution_falloff : float
        Factor k of exp(-k D), D the colour distribution in [0, 1].
    """

    centre_falloff: float = 15.0
    colour_sigma: float = 20.0
    distribution_falloff: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.centre_falloff < math.inf:
            raise ArgumentError(f"centre_falloff must be finite and 0 or more, not {self.centre_falloff}")
        if not 0 < self.colour_sigma < math.inf:
            raise ArgumentError(f"colour_sigma must be finite and above 0, not {self.colour_sigma}")
        if not 0 <= self.distribution_falloff < math.inf:
            raise ArgumentError(f"distribution_falloff must be finite and 0 or more, not {self.distribution_falloff}")


@dataclass(frozen=True)
class RefinementParameters:
    """Constants that turn a raw map into a refined one.

    Parameters
    ----------
    theta : float
        Threshold that prunes the raw map, relative to its maximum, in [0, 1).
    alpha : float
        Added to the low-level saliency in [0, 1]; small values let colour contrast remove more. In (0, 1).
    theta_refined : float
        Threshold that prunes the refined map, relative to its maximum, in [0, 1).
    """

    theta: float = 0.05
    alpha: float = 0.1
    theta_refined: float = 0.1

    def __post_init__(self) -> None:
        for name in ("theta", "theta_refined"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if not 0 < self.alpha < 1:
            raise ArgumentError(f"alpha must be in (0, 1), not {self.alpha}")


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
