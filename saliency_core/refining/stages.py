"""The stages behind the network pass: superpixels with their low-level saliency, then the chain of maps."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliency_core.colour.lab import lab_planes
from saliency_core.imaging.resizing import nearest, resize_map
from saliency_core.methods.low_level import low_level_saliency
from saliency_core.parameters import SaliencyParameters
from saliency_core.refining.refinement import SaliencyMap, prune_and_normalise, refine, smooth
from saliency_core.superpixels.statistics import LabelMap, slic_superpixels


@dataclass(frozen=True, eq=False)
class Superpixels:
    """What the refinement needs to know of an image; the pixels are not needed any more.

    Parameters
    ----------
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.
    low_level : float32 array (n,)
        Low-level saliency of every superpixel in [0, 1].
    """

    labels: LabelMap
    low_level: NDArray[np.float32]

    def at_size(self, height: int, width: int) -> "Superpixels":
        """Return the same superpixels of the image at another size: each pixel takes the label at its place.

        Maps made from them keep one value a superpixel; a finished map that is resized does not.
        """
        if self.labels.shape == (height, width):
            return self
        return dataclasses.replace(self, labels=nearest(self.labels, height, width))


def describe_superpixels(image: NDArray[np.uint8], parameters: SaliencyParameters) -> Superpixels:
    """Compute an image's superpixels and their low-level saliency.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image at working size.
    parameters : SaliencyParameters

    Returns
    -------
    Superpixels
    """
    chosen = parameters.superpixels
    lab = lab_planes(image)
    labels = slic_superpixels(image, chosen.segments, chosen.compactness, chosen.slic, lab)
    return Superpixels(labels, low_level_saliency(image, labels, parameters.low_level, lab))


def chain_of_maps(
    raw: NDArray[np.float32], superpixels: Superpixels, parameters: SaliencyParameters
) -> dict[str, SaliencyMap]:
    """Turn a raw map at the network's size into the raw, smoothed and refined map at the image's size.

    Parameters
    ----------
    raw : float32 array (S, S)
        Raw saliency as the network pass returns it, >= 0.
    superpixels : Superpixels
        Of the image (H, W).
    parameters : SaliencyParameters

    Returns
    -------
    dict of str to float32 array (H, W)
        ``raw`` (resized bilinearly, pruned, unit L2 norm), ``smoothed`` (Eq. 4), ``refined`` (Eq. 6).

    References
    ----------
    Pan & Jiang, arXiv 1602.00577, Algorithm 1.
    """
    height, width = superpixels.labels.shape
    resized = resize_map(raw, height, width)
    pruned = prune_and_normalise(resized, parameters.refinement.theta)
    smoothed = smooth(pruned, superpixels.labels)
    refined = refine(smoothed, superpixels.low_level, superpixels.labels, parameters.refinement)
    return {"raw": pruned, "smoothed": smoothed, "refined": refined}
