"""All constants of the method in one typed object."""

import math
from dataclasses import dataclass, field
from typing import get_args

from saliency_core.erasure import ErasureParameters
from saliency_core.low_level import LowLevelParameters
from saliency_core.refinement import RefinementParameters
from saliency_core.superpixels import SlicCode


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
