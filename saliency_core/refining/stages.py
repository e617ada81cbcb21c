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
from saliency_core.methods.registry import NetworkMethod
from saliency_core.parameters import OBJECTS, STAGES, ObjectParameters, SaliencyParameters
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


def maps_of_method(
    method: NetworkMethod,
    raw: NDArray[np.float32],
    superpixels: Superpixels,
    parameters: SaliencyParameters,
    layers: Sequence[NDArray[np.float16]] = (),
    features: Sequence[Features] = (),
) -> dict[str, SaliencyMap]:
    """Turn what a method's network pass returns of an image into its maps; see the two functions below."""
    if method.is_of_superpixels:
        return maps_of_superpixels(raw, superpixels, parameters, features, method.stages)
    return chain_of_maps(raw, superpixels, parameters, layers, features, method.stages)


def chain_of_maps(
    raw: NDArray[np.float32],
    superpixels: Superpixels,
    parameters: SaliencyParameters,
    layers: Sequence[NDArray[np.float16]] = (),
    features: Sequence[Features] = (),
    stages: Sequence[str] = STAGES,
) -> dict[str, SaliencyMap]:
    """Turn a raw map at the network's size into the maps of all stages at the image's size.

    Parameters
    ----------
    raw : float32 array (S, S)
        Raw saliency as the network pass returns it, >= 0.
    superpixels : Superpixels
        Of the image (H, W).
    parameters : SaliencyParameters
    layers, features : sequences
        What the network's layers say, see `saliency_core.refining.objects.Evidence`.
    stages : sequence of str
        The method's own: `STAGES`, or one name for a map that needs no refining.

    Returns
    -------
    dict of str to float32 array (H, W)
        ``raw`` (resized bilinearly, pruned, unit L2 norm), ``smoothed`` (Eq. 4), ``refined`` (Eq. 6), or the one
        resized map under its name; ``objects`` where the superpixels have sizes for it: the raw map is then evidence of
        the object.

    References
    ----------
    Pan & Jiang, arXiv 1602.00577, Algorithm 1.
    """
    shape = superpixels.labels.shape
    resized = resize_map(raw, *shape)
    if len(stages) == 1:
        maps = {stages[0]: resized}
    else:
        pruned = prune_and_normalise(resized, parameters.refinement.theta)
        smoothed = smooth(pruned, superpixels.labels)
        refined = refine(smoothed, superpixels.low_level, superpixels.labels, parameters.refinement)
        maps = dict(zip(STAGES, (pruned, smoothed, refined), strict=True))
    if superpixels.sizes:
        described = superpixels.sizes[0].labels.shape
        evidence = resized if described == shape else resize_map(raw, *described)
        maps[OBJECTS] = _objects(Evidence(evidence, layers, features), superpixels, parameters.objects)
    return maps


def maps_of_superpixels(
    values: NDArray[np.float32],
    superpixels: Superpixels,
    parameters: SaliencyParameters,
    features: Sequence[Features] = (),
    stages: Sequence[str] = (),
) -> dict[str, SaliencyMap]:
    """Turn one value for each superpixel and stage into maps at the image's size.

    Parameters
    ----------
    values : float32 array (k, n)
        Of k stages, in [0, 1].
    superpixels : Superpixels
        Of the image (H, W).
    parameters : SaliencyParameters
    features : sequence
        As for `chain_of_maps`.
    stages : sequence of str
        k names.

    Returns
    -------
    dict of str to float32 array (H, W)
        The stages; ``objects`` where the superpixels have sizes for it: the last stage is then evidence of the object.
    """
    maps = {stage: own[superpixels.labels] for stage, own in zip(stages, values, strict=True)}
    if superpixels.sizes:
        evidence = nearest(maps[stages[-1]], *superpixels.sizes[0].labels.shape)
        maps[OBJECTS] = _objects(Evidence(evidence, (), features), superpixels, parameters.objects)
    return maps


def _objects(evidence: Evidence, superpixels: Superpixels, parameters: ObjectParameters) -> SaliencyMap:
    """Make the map of whole objects from evidence at the size at which the superpixels were described."""
    nodes = [Nodes.of(size.labels, size.lab) for size in superpixels.sizes]
    found = whole_objects(nodes, evidence, parameters)
    if superpixels.pixels is not None and parameters.edge_radius > 0:
        found = guided_filter(found, superpixels.pixels, parameters.edge_radius, parameters.edge_smoothness)
    found = drawn_apart(found, parameters.contrast)
    if superpixels.pixels is not None and parameters.cut_share > 0:
        found = with_cut_out(found, superpixels.pixels, parameters.cut_share)
    return resize_map(found, *superpixels.labels.shape)
