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
    erased_classes : int
        How many of the largest logits are erased, by their mean, where no class is given. The paper erases one.
    """

    epsilon: float = 0.1
    gamma: float = 2e-3
    iterations: int = 10
    erased_classes: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise ArgumentError(f"epsilon must be finite and above 0, not {self.epsilon}")
        if not 0 <= self.gamma < math.inf:
            raise ArgumentError(f"gamma must be finite and 0 or more, not {self.gamma}")
        if self.iterations < 1:
            raise ArgumentError(f"iterations must be 1 or more, not {self.iterations}")
        if self.erased_classes < 1:
            raise ArgumentError(f"erased_classes must be 1 or more, not {self.erased_classes}")


@dataclass(frozen=True)
class ViewParameters:
    """How often, and how, a method looks at an image; every view costs all of its steps.

    Parameters
    ----------
    sizes : tuple of float
        Sides of the network's input, as parts of its own; sizes that a network does not take are left out.
    mirror : bool
        Whether the mirror image is looked at as well, at every size.
    depths : bool
        Whether the network is read at several depths in the same passes; `objects` needs it.
    """

    sizes: tuple[float, ...] = (1.0,)
    mirror: bool = False
    depths: bool = False

    def __post_init__(self) -> None:
        if not self.sizes or not all(0 < size <= 2 for size in self.sizes):
            raise ArgumentError(f"sizes must be one or more numbers above 0, at most 2, not {self.sizes}")


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
class ObjectParameters:
    """Constants of the map of whole objects.

    Parameters
    ----------
    object_segments : tuple of int
        Numbers of superpixels asked for, one a size; the maps of all sizes are added.
    raw_weight : float
        Weight of the raw map beside that of each layer.
    geodesic_sigma : float
        Lab distance, summed along the way, over which a region of background reaches.
    deep_scale, deep_background : float
        What a distance of deep features counts in Lab units there, and how far the background found so is believed.
    doubt : float
        Weight of missing evidence as background.
    evidence_power : float
        Power of the evidence as foreground.
    similarity_sigma, fine_scale, adjacency : float
        Lab distance over which superpixels are held together, what a distance of fine features counts there, and what
        is added for adjacent ones.
    look_colour_sigma, look_fine_sigma, look_ridge : float
        Widths of the kernel that learns the object's look, in Lab units and in distances of fine features, and its
        ridge.
    appearance_rounds : int
        How often the object's look corrects the map.
    """

    object_segments: tuple[int, ...] = (100, 200, 400)
    raw_weight: float = 1.0
    geodesic_sigma: float = 10.0
    deep_scale: float = 20.0
    deep_background: float = 0.5
    doubt: float = 0.2
    evidence_power: float = 1.5
    similarity_sigma: float = 10.0
    fine_scale: float = 10.0
    adjacency: float = 0.1
    look_colour_sigma: float = 30.0
    look_fine_sigma: float = 0.5
    look_ridge: float = 1.0
    appearance_rounds: int = 1

    def __post_init__(self) -> None:
        if not self.object_segments or min(self.object_segments) < 1:
            raise ArgumentError(f"object_segments must be one or more numbers from 1 on, not {self.object_segments}")
        for name in ("geodesic_sigma", "similarity_sigma", "look_colour_sigma", "look_fine_sigma", "look_ridge"):
            if not 0 < getattr(self, name) < math.inf:
                raise ArgumentError(f"{name} must be finite and above 0, not {getattr(self, name)}")
        for name in ("raw_weight", "deep_scale", "deep_background", "doubt", "fine_scale", "evidence_power"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ArgumentError(f"{name} must be finite and 0 or more, not {getattr(self, name)}")
        if not 0 < self.adjacency < math.inf:
            raise ArgumentError(f"adjacency must be finite and above 0, not {self.adjacency}")
        if self.appearance_rounds < 0:
            raise ArgumentError(f"appearance_rounds must be 0 or more, not {self.appearance_rounds}")


@dataclass(frozen=True)
class SaliencyParameters:
    """Everything that changes the value of a map, apart from the image and the classifier.

    Parameters
    ----------
    erasure : ErasureParameters
    superpixels : SuperpixelParameters
    low_level : LowLevelParameters
    refinement : RefinementParameters
    views : ViewParameters
    objects : ObjectParameters
    """

    erasure: ErasureParameters = field(default_factory=ErasureParameters)
    superpixels: SuperpixelParameters = field(default_factory=SuperpixelParameters)
    low_level: LowLevelParameters = field(default_factory=LowLevelParameters)
    refinement: RefinementParameters = field(default_factory=RefinementParameters)
    views: ViewParameters = field(default_factory=ViewParameters)
    objects: ObjectParameters = field(default_factory=ObjectParameters)
