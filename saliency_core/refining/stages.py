"""The stages behind the network pass: superpixels with their low-level saliency, then the chain of maps."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliency_core.colour.lab import lab_planes
from saliency_core.imaging.resizing import nearest, resize_map
from saliency_core.methods.attribution import Features
from saliency_core.methods.low_level import low_level_saliency
from saliency_core.parameters import OBJECTS, STAGES, SaliencyParameters
from saliency_core.refining.cut_out import with_cut_out
from saliency_core.refining.edges import guided_filter
from saliency_core.refining.objects import Evidence, drawn_apart, whole_objects
from saliency_core.refining.refinement import SaliencyMap, prune_and_normalise, refine, smooth
from saliency_core.superpixels.graph import Nodes, mean_colours
from saliency_core.superpixels.statistics import LabelMap, slic_superpixels


@dataclass(frozen=True, eq=False)
class Coloured:
    """An image's superpixels at one size, with their mean colours.

    Parameters
    ----------
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.
    lab : float32 array (n, 3)
    """

    labels: LabelMap
    lab: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Superpixels:
    """What the refinement needs to know of an image; the pixels are not needed any more.

    Parameters
    ----------
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.
    low_level : float32 array (n,)
        Low-level saliency of every superpixel in [0, 1].
    sizes : tuple of Coloured
        Superpixels of the sizes at which whole objects are found; empty where they are not.
    pixels : uint8 array (H, W, 3), optional
        The image itself, where the map of whole objects is to take its edges.
    """

    labels: LabelMap
    low_level: NDArray[np.float32]
    sizes: tuple[Coloured, ...] = ()
    pixels: NDArray[np.uint8] | None = None

    def at_size(self, height: int, width: int) -> "Superpixels":
        """Return the same superpixels of the image at another size: each pixel takes the label at its place.

        Maps made from them keep one value a superpixel; a finished map that is resized does not. Whole objects are
        found at the size at which they were described: their map has no superpixels any longer.
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
    sizes = []
    for segments in parameters.objects.object_segments if parameters.objects.objects else ():
        same = segments == chosen.segments
        of_size = labels if same else slic_superpixels(image, segments, chosen.compactness, chosen.slic, lab)
        sizes.append(Coloured(of_size, mean_colours(lab, of_size)))
    low_level = low_level_saliency(image, labels, parameters.low_level, lab)
    return Superpixels(labels, low_level, tuple(sizes), image if parameters.objects.needs_pixels else None)


def chain_of_maps(
    raw: NDArray[np.float32],
    superpixels: Superpixels,
    parameters: SaliencyParameters,
    layers: Sequence[NDArray[np.float16]] = (),
    features: Sequence[Features] = (),
    stages: Sequence[str] = STAGES,
    is_of_superpixels: bool = False,
) -> dict[str, SaliencyMap]:
    """Turn a raw map at the network's size into the maps of all stages at the image's size.

    Parameters
    ----------
    raw : float32 array (S, S) or (k, n)
        Raw saliency as the network pass returns it, >= 0; where `is_of_superpixels` the maps of k stages.
    superpixels : Superpixels
        Of the image (H, W).
    parameters : SaliencyParameters
    layers, features : sequences
        What the network's layers say, see `saliency_core.refining.objects.Evidence`.
    stages : sequence of str
        The method's own: `STAGES`, or one name for a map that needs no refining, or k names.
    is_of_superpixels : bool
        Whether there is one value for each of the n superpixels.

    Returns
    -------
    dict of str to float32 array (H, W)
        ``raw`` (resized bilinearly, pruned, unit L2 norm), ``smoothed`` (Eq. 4), ``refined`` (Eq. 6), or the one
        resized map under its name, or those of superpixels; ``objects`` where the superpixels have sizes for it: the
        last map is then evidence of the object.

    References
    ----------
    Pan & Jiang, arXiv 1602.00577, Algorithm 1.
    """
    height, width = superpixels.labels.shape
    if is_of_superpixels:
        maps = {stage: values[superpixels.labels] for stage, values in zip(stages, raw, strict=True)}
        resized = maps[stages[-1]]
    else:
        resized = resize_map(raw, height, width)
        maps = {stages[0]: resized}
    if len(stages) > 1 and not is_of_superpixels:
        pruned = prune_and_normalise(resized, parameters.refinement.theta)
        smoothed = smooth(pruned, superpixels.labels)
        refined = refine(smoothed, superpixels.low_level, superpixels.labels, parameters.refinement)
        maps = dict(zip(STAGES, (pruned, smoothed, refined), strict=True))
    if superpixels.sizes:
        nodes = [Nodes.of(size.labels, size.lab) for size in superpixels.sizes]
        chosen = parameters.objects
        shape = nodes[0].labels.shape
        if shape == (height, width):
            own = resized
        else:
            own = nearest(resized, *shape) if is_of_superpixels else resize_map(raw, *shape)
        evidence = Evidence(own, layers, features)
        found = whole_objects(nodes, evidence, chosen)
        if superpixels.pixels is not None and chosen.edge_radius > 0:
            found = guided_filter(found, superpixels.pixels, chosen.edge_radius, chosen.edge_smoothness)
        found = drawn_apart(found, chosen.contrast)
        if superpixels.pixels is not None and chosen.cut_share > 0:
            found = with_cut_out(found, superpixels.pixels, chosen.cut_share)
        maps[OBJECTS] = resize_map(found, height, width)
    return maps
