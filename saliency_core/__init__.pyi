from . import (
    colour,
    errors,
    imaging,
    methods,
    networks,
    parameters,
    refining,
    scoring,
    segmentation,
    superpixels,
)
from ._result import SaliencyResult
from ._saliency import saliency, saliency_batch
from .errors import ArgumentError, ClassifierError, NotFiniteError, SaliencyError
from .methods.clamped_erasure import erase_tensor
from .methods.gradient import input_gradient_tensor
from .methods.registry import METHODS
from .networks.classifier import Classifier, load_classifier
from .networks.placement import place
from .parameters import (
    ErasureParameters,
    LowLevelParameters,
    ObjectParameters,
    RefinementParameters,
    SaliencyParameters,
    SuperpixelParameters,
    ViewParameters,
)
from .scoring.localisation import Localisation
from .scoring.maps import MapScores

__all__ = [
    "METHODS",
    "ArgumentError",
    "Classifier",
    "ClassifierError",
    "ErasureParameters",
    "Localisation",
    "LowLevelParameters",
    "MapScores",
    "NotFiniteError",
    "ObjectParameters",
    "RefinementParameters",
    "SaliencyError",
    "SaliencyParameters",
    "SaliencyResult",
    "SuperpixelParameters",
    "ViewParameters",
    "colour",
    "erase_tensor",
    "errors",
    "imaging",
    "input_gradient_tensor",
    "load_classifier",
    "methods",
    "networks",
    "parameters",
    "place",
    "refining",
    "saliency",
    "saliency_batch",
    "scoring",
    "segmentation",
    "superpixels",
]
