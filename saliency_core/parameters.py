"""All constants of the methods in typed objects. Nothing here needs numpy or torch: settings are checked without."""

import math
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Literal, get_args

from saliency_core.errors import ArgumentError

WORKING_SIZE = 512
"""Longest side, in pixels, at which superpixels and maps are computed."""

SlicCode = Literal["compiled", "scikit-image"]
"""Whose SLIC: this project's own, or scikit-image's."""

STAGES = ("raw", "smoothed", "refined")
OBJECTS = "objects"
"""The maps that every method with a network has, in order."""


def _check_number(name: str, value: object, least: float, most: float = math.inf, *, open_ends: bool) -> None:
    """Raise ArgumentError unless `value` is a finite number of an interval; `open_ends` leaves its ends out."""
    if isinstance(value, bool) or not isinstance(value, int | float | Real):
        raise ArgumentError(f"{name} must be a number, not {value!r}")
    number = float(value)
    inside = least < number < most if open_ends else least <= number < most
    if not (inside and math.isfinite(number)):
        if most == math.inf:
            bounds = f"finite and above {least:g}" if open_ends else f"finite and {least:g} or more"
        else:
            bounds = f"in {'(' if open_ends else '['}{least:g}, {most:g})"
        raise ArgumentError(f"{name} must be {bounds}, not {value}")


def _check_count(name: str, value: object) -> None:
    """Raise ArgumentError unless `value` is a whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ArgumentError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ArgumentError(f"{name} must be 1 or more, not {value}")


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
    iterations: int = 3
    erased_classes: int = 1

    def __post_init__(self) -> None:
        _check_number("epsilon", self.epsilon, 0, open_ends=True)
        _check_number("gamma", self.gamma, 0, open_ends=False)
        _check_count("iterations", self.iterations)
        _check_count("erased_classes", self.erased_classes)


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
        Whether the network is read at several depths in the same passes, for the map of whole objects; without, that
        has the raw map alone to go by.
    """

    sizes: tuple[float, ...] = (1.0,)
    mirror: bool = False
    depths: bool = True

    def __post_init__(self) -> None:
        if not self.sizes or not all(0 < size <= 2 for size in self.sizes):
            raise ArgumentError(f"sizes must be one or more numbers above 0, at most 2, not {self.sizes}")


ONE_VIEW = ViewParameters(depths=False)
"""The paper's: the image as it is, and nothing but its gradient."""


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
        _check_count("segments", self.segments)
        _check_number("compactness", self.compactness, 0, open_ends=True)
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
        _check_number("centre_falloff", self.centre_falloff, 0, open_ends=False)
        _check_number("colour_sigma", self.colour_sigma, 0, open_ends=True)
        _check_number("distribution_falloff", self.distribution_falloff, 0, open_ends=False)


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
            _check_number(name, getattr(self, name), 0, 1, open_ends=False)
        _check_number("alpha", self.alpha, 0, 1, open_ends=True)


@dataclass(frozen=True)
class ObjectParameters:
    """Constants of the map of whole objects.

    Parameters
    ----------
    objects : bool
        Whether the map is made at all.
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
    edge_radius, edge_smoothness : float
        Window, as a part of the image's longest side, and smoothness of the guided filter that gives the map the
        image's edges; a radius of 0 leaves it those of superpixels.
    contrast : float
        Steepness of the curve that draws a map's values apart around the threshold that splits them best; 0: none.
    cut_share : float
        Share of the map that is the object cut out with its help, in [0, 1]; 0: nothing is cut out.
    """

    objects: bool = True
    object_segments: tuple[int, ...] = (400,)
    raw_weight: float = 1.0
    geodesic_sigma: float = 10.0
    deep_scale: float = 20.0
    deep_background: float = 1.0
    doubt: float = 0.5
    evidence_power: float = 1.5
    similarity_sigma: float = 10.0
    fine_scale: float = 10.0
    adjacency: float = 0.1
    look_colour_sigma: float = 30.0
    look_fine_sigma: float = 0.5
    look_ridge: float = 2.0
    appearance_rounds: int = 1
    edge_radius: float = 0.02
    edge_smoothness: float = 1e-3
    contrast: float = 10.0
    cut_share: float = 0.0

    def __post_init__(self) -> None:
        if not self.object_segments or min(self.object_segments) < 1:
            raise ArgumentError(f"object_segments must be one or more numbers from 1 on, not {self.object_segments}")
        above = (
            "geodesic_sigma",
            "similarity_sigma",
            "adjacency",
            "look_colour_sigma",
            "look_fine_sigma",
            "look_ridge",
            "edge_smoothness",
        )
        for name in above:
            _check_number(name, getattr(self, name), 0, open_ends=True)
        for name in (
            "raw_weight",
            "deep_scale",
            "deep_background",
            "doubt",
            "fine_scale",
            "evidence_power",
            "contrast",
        ):
            _check_number(name, getattr(self, name), 0, open_ends=False)
        if self.appearance_rounds < 0:
            raise ArgumentError(f"appearance_rounds must be 0 or more, not {self.appearance_rounds}")
        for name, whole in (("edge_radius", "the image"), ("cut_share", "the map")):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(f"{name} must be a part of {whole} in 0..1, not {getattr(self, name)}")

    @property
    def needs_pixels(self) -> bool:
        """Whether the image itself is needed once its superpixels are known."""
        return self.objects and (self.edge_radius > 0 or self.cut_share > 0)


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


Preset = Literal["paper", "fast", "default", "best"]
"""Constants by name: the paper's own method alone, the quickest, the default, and the one of the best scores."""

_OTHERS: dict[str, dict[str, dict[str, object]]] = {
    "paper": {"erasure": {"iterations": 10}, "objects": {"objects": False}},
    "fast": {"erasure": {"iterations": 1}, "objects": {"object_segments": (300,)}},
    "default": {},
    "best": {
        "erasure": {"erased_classes": 5},
        "views": {"sizes": (0.86,), "mirror": True},
        "objects": {"object_segments": (600,), "similarity_sigma": 7.0, "contrast": 5.0, "cut_share": 0.5},
    },
}


def preset(name: str) -> SaliencyParameters:
    """Return the constants of a preset; docs/parameters.md says what each one costs and brings.

    Parameters
    ----------
    name : {"paper", "fast", "default", "best"}

    Raises
    ------
    ArgumentError
        If there is no such preset.

    Examples
    --------
    >>> preset("paper").erasure.iterations, preset("paper").objects.objects
    (10, False)
    >>> preset("default") == SaliencyParameters()
    True
    """
    if name not in _OTHERS:
        raise ArgumentError(f"there is no preset {name!r}: choose one of {', '.join(_OTHERS)}")
    defaults = SaliencyParameters()
    changed = {group: replace(getattr(defaults, group), **values) for group, values in _OTHERS[name].items()}
    return replace(defaults, **changed)


def preset_options(name: str) -> dict[str, object]:
    """Return what a preset has otherwise than the default, by the names of the constants."""
    return {key: value for group in _OTHERS[name].values() for key, value in group.items()}
