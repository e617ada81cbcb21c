"""Clamped-erasure saliency: arrays in, arrays out.

`saliency` is the one call from an image to its maps; `load_classifier` makes the network that it asks. The modules
hold the steps: `erasure`, `superpixels`, `low_level`, `refinement`, `scores`, and the other methods in `methods`.
"""

from saliency_core.api import SaliencyResult, saliency
from saliency_core.classifiers import Classifier, load_classifier
from saliency_core.parameters import SaliencyParameters

__all__ = ["Classifier", "SaliencyParameters", "SaliencyResult", "load_classifier", "saliency"]
